//! Gives a program's webhook another secret. What is kept is a number: the secret is derived from it.

use chrono::TimeDelta;
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{RotateWebhookSecret, WebhookSecretRotated};

use crate::Commissioner;
use crate::rules::no_program;

impl Handle<RotateWebhookSecret> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RotateWebhookSecret) -> Result<Events, Fail> {
        let (tenant, program) = (cx.tenant(), cmd.program.as_str());
        let previous_until = (cmd.overlap_hours > 0).then(|| cx.now() + TimeDelta::hours(cmd.overlap_hours.into()));
        let generation: Option<i32> = sqlx::query_scalar(
            "update commissioner.programs set webhook_generation = webhook_generation + 1, webhook_previous_until = $3
             where tenant = $1 and program = $2 returning webhook_generation",
        )
        .bind(tenant)
        .bind(program)
        .bind(previous_until)
        .fetch_optional(cx.db())
        .await?;
        let generation = generation.ok_or_else(|| no_program(program))?.unsigned_abs();
        let about = program.to_owned();
        Ok(Events::none().about(about, WebhookSecretRotated { program: cmd.program, generation, previous_until }))
    }
}
