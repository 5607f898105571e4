//! Greets someone: one more on the count, and an event.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::greeter::{Greet, Greeted};

use crate::Greeter;

impl Handle<Greet> for Greeter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: Greet) -> Result<Events, Fail> {
        let revision = sqlx::query_scalar(
            "insert into greeter.greetings (tenant, name, count) values ($1, $2, 1)
             on conflict (tenant, name) do update set count = greetings.count + 1
             returning count",
        )
        .bind(cx.tenant())
        .bind(&cmd.name)
        .fetch_one(cx.db())
        .await?;
        Ok(Events::of(Greeted { greeting_id: cx.meta().id, name: cmd.name, revision }))
    }
}
