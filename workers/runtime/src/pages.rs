//! The queries every worker answers about its own commands.

use omnibus_schemas::platform::{
    Account, Accounts, AccountsReport, AttemptReport, CausedMessage, CommandPage, CommandReport, HeldCommand,
    HeldCommands, HeldList, Outcome,
};
use omnibus_schemas::{Encoding, body};
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::events::Outgoing;
use crate::handler::{Answer, Ask, AskError};
use crate::inbox::Outbox;
use crate::publish::caused_id;

/// Answers from the runtime's own tables, for the consumers of one domain.
pub(crate) struct Pages {
    /// The domain's lanes.
    pub(crate) consumers: Vec<String>,
}

impl Answer<CommandPage> for Pages {
    async fn answer(&self, ask: &mut Ask<'_>, query: CommandPage) -> Result<CommandReport, AskError> {
        let row = sqlx::query(
            "select i.name, i.outcome, i.received_at, i.finished_at,
                    case when i.outcome is null or exists (select 1 from bus.unpublished u
                                      where u.consumer = i.consumer and i.message_id = any(u.message_ids))
                         then null else i.published_at end,
                    i.messages, i.detail,
                    r.spent, r.last_error, i.deliveries
             from bus.inbox i
             left join lateral (
                 select spent, last_error from bus.retries
                 where consumer = i.consumer and tenant = i.tenant and message_id = i.message_id limit 1
             ) r on true
             where i.consumer = any($1) and i.tenant = $2 and i.message_id = $3",
        )
        .bind(&self.consumers)
        .bind(ask.tenant)
        .bind(query.command_id)
        .fetch_optional(&mut *ask.db)
        .await?;
        let Some(row) = row else { return self.retried(ask, &query).await };
        let attempts = sqlx::query(
            "select number, started_at, closed_at, result, detail, takeovers from bus.attempts
             where consumer = any($1) and tenant = $2 and message_id = $3 order by number",
        )
        .bind(&self.consumers)
        .bind(ask.tenant)
        .bind(query.command_id)
        .fetch_all(&mut *ask.db)
        .await?;
        let outbox = row.try_get::<Option<Vec<u8>>, _>(5)?.as_deref().map(Outbox::decode).transpose()?;
        let outcome: Option<String> = row.try_get(1)?;
        let (last_error, detail): (Option<String>, Option<String>) = (row.try_get(8)?, row.try_get(6)?);
        Ok(CommandReport {
            command_id: query.command_id,
            command: row.try_get(0)?,
            outcome: outcome.as_deref().and_then(Outcome::parse),
            received_at: row.try_get(2)?,
            deliveries: row.try_get::<i32, _>(9)?.unsigned_abs(),
            finished_at: row.try_get(3)?,
            published_at: row.try_get(4)?,
            retries: row.try_get::<Option<i32>, _>(7)?.unwrap_or(0).unsigned_abs(),
            last_error: last_error.or(detail),
            attempts: attempts.iter().map(attempt).collect::<Result<_, _>>()?,
            events: outbox.map(|outbox| caused(query.command_id, &outbox)).unwrap_or_default(),
        })
    }
}

impl Pages {
    /// A command that has only failed so far has no inbox row yet.
    async fn retried(&self, ask: &mut Ask<'_>, query: &CommandPage) -> Result<CommandReport, AskError> {
        let row = sqlx::query(
            "select spent, last_error, at from bus.retries
             where consumer = any($1) and tenant = $2 and message_id = $3",
        )
        .bind(&self.consumers)
        .bind(ask.tenant)
        .bind(query.command_id)
        .fetch_optional(&mut *ask.db)
        .await?
        .ok_or_else(|| AskError::NotFound("no worker has seen such a command yet".into()))?;
        Ok(CommandReport {
            command_id: query.command_id,
            command: String::new(),
            outcome: None,
            received_at: row.try_get(2)?,
            deliveries: row.try_get::<i32, _>(0)?.unsigned_abs(),
            finished_at: None,
            published_at: None,
            retries: row.try_get::<i32, _>(0)?.unsigned_abs(),
            last_error: row.try_get(1)?,
            attempts: vec![],
            events: vec![],
        })
    }
}

fn attempt(row: &PgRow) -> Result<AttemptReport, sqlx::Error> {
    Ok(AttemptReport {
        number: row.try_get::<i32, _>(0)?.unsigned_abs(),
        started_at: row.try_get(1)?,
        closed_at: row.try_get(2)?,
        result: row.try_get(3)?,
        detail: row.try_get(4)?,
        takeovers: row.try_get::<i32, _>(5)?.unsigned_abs(),
    })
}

fn caused(command: uuid::Uuid, outbox: &Outbox) -> Vec<CausedMessage> {
    let encoding = |msgpack| if msgpack { Encoding::MessagePack } else { Encoding::Json };
    // Whoever may read of a command may not read of every room; and what was taken back there stands in the row yet.
    let payload = |message: &Outgoing| match message.subject.starts_with("rooms.") {
        true => Value::Null,
        false => body::to_json(encoding(message.msgpack), &message.body).unwrap_or_default(),
    };
    outbox
        .list
        .iter()
        .enumerate()
        .map(|(n, message)| CausedMessage {
            id: caused_id(command, n, &message.subject),
            subject: message.subject.clone(),
            payload: payload(message),
        })
        .collect()
}

impl Answer<HeldCommands> for Pages {
    async fn answer(&self, ask: &mut Ask<'_>, query: HeldCommands) -> Result<HeldList, AskError> {
        let rows = sqlx::query(
            "select i.message_id, i.name, i.finished_at, i.detail
             from bus.attempts a
             cross join lateral (
                 select message_id, name, outcome, finished_at, detail from bus.inbox
                 where consumer = a.consumer and tenant = a.tenant and message_id = a.message_id limit 1
             ) i
             where a.held and i.outcome = 'held' and a.consumer = any($1) and a.tenant = $2
               and a.number = (select max(l.number) from bus.attempts l where l.consumer = a.consumer
                               and l.tenant = a.tenant and l.message_id = a.message_id)
             order by i.finished_at limit $3",
        )
        .bind(&self.consumers)
        .bind(ask.tenant)
        .bind(i64::from(query.limit))
        .fetch_all(&mut *ask.db)
        .await?;
        let held = rows.iter().map(|row| {
            Ok(HeldCommand {
                command_id: row.try_get(0)?,
                command: row.try_get(1)?,
                since: row.try_get(2)?,
                detail: row.try_get(3)?,
            })
        });
        Ok(HeldList { held: held.collect::<Result<_, sqlx::Error>>()? })
    }
}

impl Answer<Accounts> for Pages {
    async fn answer(&self, ask: &mut Ask<'_>, _: Accounts) -> Result<AccountsReport, AskError> {
        let rows = sqlx::query(
            "select name,
                    count(*) filter (where outcome = 'succeeded'), count(*) filter (where outcome = 'rejected'),
                    count(*) filter (where outcome = 'dead_lettered'), count(*) filter (where outcome = 'held'),
                    count(*) filter (where outcome is null)
             from bus.inbox where consumer = any($1) and tenant = $2 group by name order by name",
        )
        .bind(&self.consumers)
        .bind(ask.tenant)
        .fetch_all(&mut *ask.db)
        .await?;
        let commands = rows.iter().map(|row| {
            let count = |at: usize| row.try_get::<i64, _>(at).map(i64::unsigned_abs);
            Ok(Account {
                command: row.try_get(0)?,
                succeeded: count(1)?,
                rejected: count(2)?,
                dead_lettered: count(3)?,
                held: count(4)?,
                under_way: count(5)?,
            })
        });
        Ok(AccountsReport { commands: commands.collect::<Result<_, sqlx::Error>>()? })
    }
}
