//! The attempt ledger: what was about to leave, and what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use omnibus_schemas::platform::Outcome;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock;
use crate::delivery::Delivery;
use crate::inbox::{self, Key, Outbox};

/// An attempt that this worker holds.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) key: Key,
    pub(crate) number: u32,
    /// Compare-and-set on this: it changes when somebody else takes over.
    pub(crate) id: Uuid,
    pub(crate) plan: Vec<u8>,
    /// How many messages of the command's row are known to be on the bus.
    pub(crate) told: Told,
    /// What stands in the command's row, if it is the first attempt and this worker opened it.
    pub(crate) row: Row,
    /// When its lease began, on this machine's clock.
    pub(crate) opened: Instant,
}

/// How much of what a command has to tell is on the bus while its call is out.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// Nothing that is known of.
    Unknown,
    /// So many messages are on their way. Whether the bus has them is said here.
    OnTheirWay(usize, watch::Receiver<Option<bool>>),
    /// So many.
    All(usize),
}

impl Told {
    /// How many messages the bus is known to have, once that can be said.
    pub(crate) async fn count(&self) -> usize {
        match self {
            Told::Unknown => 0,
            Told::OnTheirWay(count, arrived) => {
                // Whoever was to say it may have been stopped.
                let arrived = arrived.clone().wait_for(Option::is_some).await.is_ok_and(|said| *said == Some(true));
                if arrived { *count } else { 0 }
            }
            Told::All(count) => *count,
        }
    }
}

/// What is known of a command's row without asking the database.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    /// Nothing: others have been here.
    Unknown,
    /// It was claimed by this worker, with these messages.
    Holds(Option<Arc<Outbox>>),
}

/// The latest attempt of a command, as a redelivery finds it.
#[derive(Debug)]
pub(crate) struct Latest {
    pub(crate) attempt: Attempt,
    /// What is left of the lease.
    pub(crate) lease: Duration,
    pub(crate) closed: bool,
    pub(crate) detail: Option<String>,
    /// Attempts that failed. One that was held and then resolved is not among them: a person asked for the next.
    pub(crate) spent: u32,
}

/// Opens attempts. A number that exists already means that another worker was faster: an error that passes.
///
/// `lease` is how long they are their worker's alone without being renewed. It is counted on the database's clock:
/// workers' clocks jump.
pub(crate) async fn open(
    db: &mut PgConnection,
    consumer: &str,
    attempts: &[&Attempt],
    lease: Duration,
) -> Result<(), sqlx::Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into bus.attempts (consumer, tenant, message_id, number, attempt_id, plan, started_at, lease_until)
         select $1, x.tenant, x.id, x.number, x.attempt, x.plan, now(), clock_timestamp() + make_interval(secs => $7)
         from unnest($2::text[], $3::uuid[], $4::int[], $5::uuid[], $6::bytea[]) as x(tenant, id, number, attempt, plan)",
    )
    .bind(consumer)
    .bind(attempts.iter().map(|a| a.key.tenant.clone()).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| a.key.id).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| a.number as i32).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| a.id).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| a.plan.clone()).collect::<Vec<_>>())
    .bind(lease.as_secs_f64())
    .execute(db)
    .await?;
    Ok(())
}

/// A command that is claimed while its first attempt is opened.
#[derive(Debug)]
pub(crate) struct First<'a> {
    pub(crate) delivery: &'a Delivery,
    pub(crate) attempt: &'a Attempt,
    /// What is told while the call is out.
    pub(crate) early: Option<&'a Outbox>,
}

/// Claims rows and opens their first attempts, all at once. `false` if one of them was claimed before: then this
/// transaction must be rolled back. Blocks while another transaction claims the same.
pub(crate) async fn claim_and_open(
    db: &mut PgConnection,
    consumer: &str,
    mut firsts: Vec<First<'_>>,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    if firsts.is_empty() {
        return Ok(true);
    }
    // In one order everywhere, as in `inbox::claim`.
    firsts.sort_by(|a, b| a.attempt.key.cmp(&b.attempt.key));
    let metas = || firsts.iter().map(|first| &first.delivery.meta);
    // They are counted so that claims come first, as everywhere.
    let written = sqlx::query(
        "with x as (
             select * from unnest($2::text[], $3::uuid[], $4::text[], $5::bigint[], $6::int[], $7::bytea[], $8::uuid[],
                                  $9::bytea[]) as x(tenant, id, name, sequence, deliveries, messages, attempt, plan)
         ), claimed as (
             insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, messages, received_at,
                                    published_at)
             select $1, x.tenant, x.id, x.name, x.sequence, x.deliveries, x.messages, now(), now() from x
             returning 1
         ), opened as (
             insert into bus.attempts (consumer, tenant, message_id, number, attempt_id, plan, started_at, lease_until)
             select $1, x.tenant, x.id, 1, x.attempt, x.plan, now(), clock_timestamp() + make_interval(secs => $10) from x
             returning 1
         )
         select (select count(*) from claimed), (select count(*) from opened)",
    )
    .bind(consumer)
    .bind(metas().map(|meta| meta.tenant.as_str()).collect::<Vec<_>>())
    .bind(metas().map(|meta| meta.id).collect::<Vec<_>>())
    .bind(metas().map(|meta| meta.name.as_str()).collect::<Vec<_>>())
    .bind(metas().map(|meta| meta.sequence as i64).collect::<Vec<_>>())
    .bind(firsts.iter().map(|first| i32::try_from(first.delivery.delivered).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .bind(firsts.iter().map(|first| first.early.map(Outbox::encode)).collect::<Vec<_>>())
    .bind(firsts.iter().map(|first| first.attempt.id).collect::<Vec<_>>())
    .bind(firsts.iter().map(|first| first.attempt.plan.as_slice()).collect::<Vec<_>>())
    .bind(lease.as_secs_f64())
    .execute(db)
    .await;
    inbox::unless_claimed(written)
}

/// A success that ends an attempt and its command in one go.
#[derive(Debug)]
pub(crate) struct Closing<'a> {
    pub(crate) attempt: &'a Attempt,
    pub(crate) outbox: &'a Outbox,
}

/// Closes attempts as done, ends their commands and notes (under `note`) that their messages are not on the bus, all at
/// once. `false` if one of the attempts is not ours any more, or one of the commands has ended: then this transaction must
/// be rolled back.
///
/// Each row is looked up by its key before it is joined: of a table that was never analysed the planner would read all rows
/// of the consumer, for every batch. A row that somebody writes meanwhile is not found again, which counts as not ours.
pub(crate) async fn close_and_finish(
    db: &mut PgConnection,
    consumer: &str,
    mut all: Vec<Closing<'_>>,
    note: Uuid,
) -> Result<bool, sqlx::Error> {
    all.sort_by(|a, b| a.attempt.key.cmp(&b.attempt.key));
    let (closed, finished): (i64, i64) = sqlx::query_as(
        "with closed as (
             update bus.attempts set closed_at = now(), result = 'done', plan = ''
             where attempt_id = any($2) and closed_at is null returning 1
         ), finished as (
             update bus.inbox i
             set outcome = $6, messages = x.messages, finished_at = now(), published_at = coalesce(published_at, now())
             from unnest($3::text[], $4::uuid[], $5::bytea[]) as x(tenant, id, messages)
             cross join lateral (
                 select ctid from bus.inbox where consumer = $1 and tenant = x.tenant and message_id = x.id limit 1
             ) row
             where i.ctid = row.ctid and i.outcome is null
             returning 1
         ), noted as (
             insert into bus.unpublished (id, consumer, tenants, message_ids) values ($7, $1, $3, $4)
         )
         select (select count(*) from closed), (select count(*) from finished)",
    )
    .bind(consumer)
    .bind(all.iter().map(|one| one.attempt.id).collect::<Vec<_>>())
    .bind(all.iter().map(|one| one.attempt.key.tenant.as_str()).collect::<Vec<_>>())
    .bind(all.iter().map(|one| one.attempt.key.id).collect::<Vec<_>>())
    .bind(all.iter().map(|one| one.outbox.encode()).collect::<Vec<_>>())
    .bind(Outcome::Succeeded.as_str())
    .bind(note)
    .fetch_one(db)
    .await?;
    Ok((closed, finished) == (all.len() as i64, all.len() as i64))
}

/// Says of a call that is open what was heard of it. That stays with the attempt, however it ends.
pub(crate) async fn note(db: &mut PgConnection, id: Uuid, detail: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update bus.attempts set detail = $2 where attempt_id = $1 and closed_at is null")
        .bind(id)
        .bind(inbox::text(detail))
        .execute(db)
        .await?;
    Ok(())
}

/// Closes attempts that are still ours; returns the ids of those that were. What was about to leave is forgotten, unless
/// a person is yet to decide on it: it may hold what nobody should find here later.
pub(crate) async fn close(
    db: &mut PgConnection,
    ids: &[Uuid],
    result: &str,
    detail: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(format!(
        "update bus.attempts set closed_at = $4, result = $2, detail = coalesce($3, detail),
             plan = case when $2 = 'held' then plan else ''::bytea end
         where attempt_id {} and closed_at is null returning attempt_id",
        among(ids)
    )))
    .bind(ids)
    .bind(result)
    .bind(detail.map(inbox::text))
    .bind(now)
    .fetch_all(db)
    .await
}

/// What is kept of a held attempt's plan, in the transaction that closes it.
pub(crate) async fn keep(db: &mut PgConnection, id: Uuid, plan: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("update bus.attempts set plan = $2 where attempt_id = $1").bind(id).bind(plan).execute(db).await?;
    Ok(())
}

/// Says of an attempt, whoever holds it now, that its call is known to have happened. Nobody has to decide on it any
/// more.
pub(crate) async fn book_late(
    db: &mut PgConnection,
    consumer: &str,
    attempt: &Attempt,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update bus.attempts set closed_at = coalesce(closed_at, $5), result = 'done', plan = '',
             detail = concat_ws('; ', detail, 'a worker that had been overtaken reported late that it was done')
         where consumer = $1 and tenant = $2 and message_id = $3 and number = $4",
    )
    .bind(consumer)
    .bind(&attempt.key.tenant)
    .bind(attempt.key.id)
    .bind(attempt.number as i32)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Closes a held attempt with what a person found.
pub(crate) async fn resolve(
    db: &mut PgConnection,
    consumer: &str,
    key: &Key,
    result: &str,
    detail: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update bus.attempts set result = $4, detail = concat_ws('; ', detail, $5::text), plan = ''
         where consumer = $1 and tenant = $2 and message_id = $3 and result = 'held'
           and number = (select max(number) from bus.attempts l
                         where l.consumer = $1 and l.tenant = $2 and l.message_id = $3)",
    )
    .bind(consumer)
    .bind(&key.tenant)
    .bind(key.id)
    .bind(result)
    .bind(detail)
    .execute(db)
    .await?;
    Ok(())
}

/// The latest attempt of a command.
pub(crate) async fn latest(db: &mut PgConnection, consumer: &str, key: &Key) -> Result<Option<Latest>, sqlx::Error> {
    let row = sqlx::query(
        "select number, attempt_id, plan,
             greatest(0, extract(epoch from lease_until - clock_timestamp()))::float8, closed_at is not null, detail,
             (select count(*) from bus.attempts f where f.consumer = $1 and f.tenant = $2 and f.message_id = $3
              and f.result in ('not_done', 'unknown'))
         from bus.attempts
         where consumer = $1 and tenant = $2 and message_id = $3 order by number desc limit 1",
    )
    .bind(consumer)
    .bind(&key.tenant)
    .bind(key.id)
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Latest {
            attempt: Attempt {
                key: key.clone(),
                number: row.try_get::<i32, _>(0)?.unsigned_abs(),
                id: row.try_get(1)?,
                plan: row.try_get(2)?,
                told: Told::Unknown,
                row: Row::Unknown,
                opened: Instant::now(),
            },
            lease: Duration::from_secs_f64(row.try_get(3)?),
            closed: row.try_get(4)?,
            detail: row.try_get(5)?,
            spent: u32::try_from(row.try_get::<i64, _>(6)?).unwrap_or(u32::MAX),
        })
    })
    .transpose()
}

/// Takes over an open attempt whose lease ran out. `None` if somebody else was faster, or it was closed meanwhile.
pub(crate) async fn take_over(
    db: &mut PgConnection,
    attempt: &Attempt,
    lease: Duration,
) -> Result<Option<Attempt>, sqlx::Error> {
    let id = clock::new_id();
    let done = sqlx::query(
        "update bus.attempts set attempt_id = $2, takeovers = takeovers + 1,
             lease_until = clock_timestamp() + make_interval(secs => $3)
         where attempt_id = $1 and closed_at is null and lease_until < clock_timestamp()",
    )
    .bind(attempt.id)
    .bind(id)
    .bind(lease.as_secs_f64())
    .execute(db)
    .await?;
    Ok((done.rows_affected() == 1).then(|| Attempt {
        id,
        opened: Instant::now(),
        row: Row::Unknown,
        ..attempt.clone()
    }))
}

/// How an id is found among those that `$1` holds. Of several the planner expects ten, and reads a table for them that looks
/// small; so it is told of one.
fn among(ids: &[Uuid]) -> &'static str {
    match ids {
        [_] => "= ($1::uuid[])[1]",
        _ => "= any($1)",
    }
}

/// Renews the leases of open attempts. Returns how many are still ours and open.
pub(crate) async fn renew(db: &mut PgConnection, ids: &[Uuid], lease: Duration) -> Result<u64, sqlx::Error> {
    let renewed = sqlx::query(AssertSqlSafe(format!(
        "update bus.attempts set lease_until = clock_timestamp() + make_interval(secs => $2)
         where attempt_id {} and closed_at is null",
        among(ids)
    )))
    .bind(ids)
    .bind(lease.as_secs_f64())
    .execute(db)
    .await?;
    Ok(renewed.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn how_much_was_told_is_waited_for_and_is_nothing_if_nobody_says_it_any_more() {
        assert_eq!((Told::Unknown.count().await, Told::All(2).count().await), (0, 2));
        for (said, count) in [(Some(true), 3), (Some(false), 0), (None, 0)] {
            let (say, arrived) = watch::channel(None);
            let told = Told::OnTheirWay(3, arrived);
            let mut counting = Box::pin(told.count());
            assert!(futures_util::poll!(&mut counting).is_pending());
            if said.is_some() {
                say.send_replace(said);
            }
            drop(say);
            assert_eq!(counting.await, count, "{said:?}");
        }
    }
}
