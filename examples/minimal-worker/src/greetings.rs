//! Tells how often a name was greeted.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::greeter::{GreetingCount, Greetings};

use crate::Greeter;

impl Answer<Greetings> for Greeter {
    async fn answer(&self, ask: &mut Ask<'_>, query: Greetings) -> Result<GreetingCount, AskError> {
        let count = sqlx::query_scalar("select count from greeter.greetings where tenant = $1 and name = $2")
            .bind(ask.tenant)
            .bind(&query.name)
            .fetch_optional(&mut *ask.db)
            .await?;
        Ok(GreetingCount { name: query.name, count: count.unwrap_or(0) })
    }
}
