//! Programs and their rules.

use omnibus_runtime::{Answer, Ask, AskError, clock};
use omnibus_schemas::commissioner::{
    ProgramReport, ProgramRules, Programs, ProgramsPage, SetProgram, WebhookReport, WebhookSecret,
};
use sqlx::Row;
use sqlx::types::Json;

use crate::Commissioner;
use crate::cursor::{cut, one_more};
use crate::rules::Program;
use crate::webhook::{SIGNATURE, Webhook};

fn no_program() -> AskError {
    AskError::NotFound("there is no such program".into())
}

/// Is there such a program?
pub(super) async fn known(ask: &mut Ask<'_>, program: &str) -> Result<(), AskError> {
    sqlx::query("select 1 from commissioner.programs where tenant = $1 and program = $2")
        .bind(ask.tenant)
        .bind(program)
        .fetch_optional(&mut *ask.db)
        .await?
        .map(drop)
        .ok_or_else(no_program)
}

impl Answer<ProgramRules> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: ProgramRules) -> Result<ProgramReport, AskError> {
        let program = Program::find(ask.db, ask.tenant, query.program.as_str()).await?.ok_or_else(no_program)?;
        Ok(ProgramReport {
            version: program.version,
            effective_from: program.effective_from,
            rules: program.rules,
            next_payout_run: program.next_run_at,
        })
    }
}

impl Answer<Programs> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: Programs) -> Result<ProgramsPage, AskError> {
        let rows = sqlx::query(
            "select p.version, p.next_run_at, r.effective_from, r.rules
             from commissioner.programs p
             join commissioner.rules r on (r.tenant, r.program, r.version) = (p.tenant, p.program, p.version)
             where p.tenant = $1 and p.program > coalesce($2, '') order by p.program limit $3",
        )
        .bind(ask.tenant)
        .bind(&query.after)
        .bind(one_more(query.limit))
        .fetch_all(&mut *ask.db)
        .await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            items.push(ProgramReport {
                version: row.try_get("version")?,
                effective_from: row.try_get("effective_from")?,
                rules: row.try_get::<Json<SetProgram>, _>("rules")?.0,
                next_payout_run: row.try_get("next_run_at")?,
            });
        }
        let next = cut(&mut items, query.limit, |item| item.rules.program.as_str().to_owned());
        Ok(ProgramsPage { items, next })
    }
}

impl Answer<WebhookSecret> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: WebhookSecret) -> Result<WebhookReport, AskError> {
        let (tenant, program) = (ask.tenant, query.program.as_str());
        let Webhook { generation, previous_until } =
            Webhook::find(ask.db, tenant, program, clock::now()).await?.ok_or_else(no_program)?;
        Ok(WebhookReport {
            path: format!("/hooks/partners/{tenant}/{program}/orders"),
            refunds_path: format!("/hooks/partners/{tenant}/{program}/refunds"),
            header: SIGNATURE.to_owned(),
            secret: self.secrets.webhook(tenant, program, generation).map_err(AskError::Failed)?,
            generation,
            previous_until,
        })
    }
}
