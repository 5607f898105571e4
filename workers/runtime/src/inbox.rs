//! The inbox table: what is claimed, how it ended, what it caused. Its times are the database's: a worker's clock may be
//! wrong by weeks, and by these times it is decided what may be forgotten.
//!
//! Many rows are looked up one by one, each by its whole key, in a lateral subquery that the planner can't take apart. Of a
//! table that was never analysed it knows nothing, and it would rather read all rows of the consumer, for every batch.
//! What is then written is found by its place: a row that somebody else writes meanwhile moves, and is left out.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use omnibus_schemas::platform::Outcome;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::delivery::Delivery;
use crate::envelope::Meta;
use crate::events::Outgoing;

/// A row's key within one consumer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) tenant: String,
    pub(crate) id: Uuid,
}

impl Key {
    pub(crate) fn of(meta: &Meta) -> Self {
        Key { tenant: meta.tenant.clone(), id: meta.id }
    }
}

/// What a row's messages have in common, and the messages. Written with its fields' names and read with defaults: rows
/// outlive the version that wrote them by weeks, and in a roll-out the version before reads them too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outbox {
    pub(crate) causation: String,
    pub(crate) correlation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    pub(crate) trace: String,
    /// Microseconds since 1970: the command's own time, which is its messages' time.
    pub(crate) time: i64,
    pub(crate) list: Vec<Outgoing>,
}

impl Outbox {
    pub(crate) fn of(meta: &Meta, list: Vec<Outgoing>) -> Self {
        Outbox {
            causation: meta.ce_id.clone(),
            correlation: meta.correlation.clone(),
            actor: meta.actor.clone(),
            trace: meta.trace.to_string(),
            time: meta.time.timestamp_micros(),
            list,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let bodies: usize = self.list.iter().map(|message| message.body.len() + 128).sum();
        let mut out = Vec::with_capacity(256 + bodies);
        rmp_serde::encode::write_named(&mut out, self).expect("plain data with known lengths");
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, sqlx::Error> {
        rmp_serde::from_slice(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

/// How a row is finished.
#[derive(Debug, Clone)]
pub(crate) struct Finish {
    pub(crate) key: Key,
    /// `None` leaves the command under way (an effect whose call is about to go out).
    pub(crate) outcome: Option<Outcome>,
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) detail: Option<String>,
}

/// One end of a row, told from a later one by its time: what is held may end once more, with more messages. That the
/// bus has those of the first end says nothing about those of the second.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) consumer: String,
    pub(crate) key: Key,
    pub(crate) at: DateTime<Utc>,
}

/// A row as a redelivery finds it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) outcome: Option<Outcome>,
    /// When it ended.
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) outbox: Option<Outbox>,
}

/// Inserts a row per message; what is returned is fresh, the rest was claimed before. Blocks while another
/// transaction claims the same.
pub(crate) async fn claim(
    db: &mut PgConnection,
    consumer: &str,
    deliveries: &[&Delivery],
) -> Result<HashSet<Key>, sqlx::Error> {
    // In one order everywhere, so that two workers that claim the same rows wait for each other in a line.
    let mut sorted = deliveries.to_vec();
    sorted.sort_by(|a, b| (&a.meta.tenant, a.meta.id).cmp(&(&b.meta.tenant, b.meta.id)));
    let rows = sqlx::query(
        "insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, received_at)
         select $1, x.tenant, x.id, x.name, x.sequence, x.deliveries, now()
         from unnest($2::text[], $3::uuid[], $4::text[], $5::bigint[], $6::int[])
              as x(tenant, id, name, sequence, deliveries)
         on conflict do nothing
         returning tenant, message_id",
    )
    .bind(consumer)
    .bind(sorted.iter().map(|d| d.meta.tenant.clone()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|d| d.meta.id).collect::<Vec<_>>())
    .bind(sorted.iter().map(|d| d.meta.name.clone()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|d| d.meta.sequence as i64).collect::<Vec<_>>())
    .bind(sorted.iter().map(|d| i32::try_from(d.delivered).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(Key { tenant: row.try_get(0)?, id: row.try_get(1)? })).collect()
}

/// A success that is written in one go.
#[derive(Debug)]
pub(crate) struct Success<'a> {
    pub(crate) delivery: &'a Delivery,
    pub(crate) outbox: &'a Outbox,
}

/// Claims rows, ends them and notes (under `note`) that their messages are not on the bus, all at once. `false` if one of
/// them was claimed before: then this transaction must be rolled back, for what was decided in it is not for it to decide.
/// Blocks while another transaction claims the same.
pub(crate) async fn claim_finished(
    db: &mut PgConnection,
    consumer: &str,
    mut successes: Vec<Success<'_>>,
    note: Uuid,
) -> Result<bool, sqlx::Error> {
    if successes.is_empty() {
        return Ok(true);
    }
    // As in `claim`.
    successes.sort_by(|a, b| {
        let (a, b) = (&a.delivery.meta, &b.delivery.meta);
        (&a.tenant, a.id).cmp(&(&b.tenant, b.id))
    });
    let metas = || successes.iter().map(|success| &success.delivery.meta);
    let done = sqlx::query(
        "with noted as (
             insert into bus.unpublished (id, consumer, tenants, message_ids) values ($9, $1, $2, $3)
         )
         insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, outcome, messages,
                                received_at, finished_at, published_at)
         select $1, x.tenant, x.id, x.name, x.sequence, x.deliveries, $7, x.messages, now(), now(), now()
         from unnest($2::text[], $3::uuid[], $4::text[], $5::bigint[], $6::int[], $8::bytea[])
              as x(tenant, id, name, sequence, deliveries, messages)",
    )
    .bind(consumer)
    .bind(metas().map(|meta| meta.tenant.as_str()).collect::<Vec<_>>())
    .bind(metas().map(|meta| meta.id).collect::<Vec<_>>())
    .bind(metas().map(|meta| meta.name.as_str()).collect::<Vec<_>>())
    .bind(metas().map(|meta| meta.sequence as i64).collect::<Vec<_>>())
    .bind(successes.iter().map(|s| i32::try_from(s.delivery.delivered).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .bind(Outcome::Succeeded.as_str())
    .bind(successes.iter().map(|success| success.outbox.encode()).collect::<Vec<_>>())
    .bind(note)
    .execute(db)
    .await;
    unless_claimed(done)
}

/// Was it written? `false` if what was to be claimed is claimed. An `on conflict` clause would say that without an error,
/// but it costs every row half as much again, and hardly ever is there a conflict.
pub(crate) fn unless_claimed<T>(written: Result<T, sqlx::Error>) -> Result<bool, sqlx::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error))
            if error.is_unique_violation()
                && error.constraint().is_some_and(|key| ["inbox_pkey", "attempts_pkey"].contains(&key)) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Notes how often messages of claimed rows have been delivered by now: what a kill leaves behind is a redelivery, and
/// whoever traces a command wants to see it. A row that is being written by another just now keeps its number.
pub(crate) async fn delivered(
    db: &mut PgConnection,
    consumer: &str,
    deliveries: &[&Delivery],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update bus.inbox i set deliveries = x.deliveries
         from unnest($2::text[], $3::uuid[], $4::int[]) as x(tenant, id, deliveries)
         cross join lateral (
             select ctid from bus.inbox where consumer = $1 and tenant = x.tenant and message_id = x.id limit 1
         ) row
         where i.ctid = row.ctid and i.deliveries < x.deliveries",
    )
    .bind(consumer)
    .bind(deliveries.iter().map(|d| d.meta.tenant.clone()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|d| d.meta.id).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|d| i32::try_from(d.delivered).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Writes outcomes and messages into rows that this transaction has claimed or locked. A row that has a terminal outcome
/// already is left as it is. Returns when those that ended have ended.
pub(crate) async fn finish(
    db: &mut PgConnection,
    consumer: &str,
    rows: &[Finish],
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(None);
    }
    let ended: Vec<Option<DateTime<Utc>>> = sqlx::query_scalar(
        "update bus.inbox i
         set outcome = x.outcome, messages = x.messages, detail = x.detail, published_at = null,
             finished_at = case when x.outcome is null then null else now() end
         from unnest($2::text[], $3::uuid[], $4::text[], $5::bytea[], $6::text[]) as x(tenant, id, outcome, messages, detail)
         cross join lateral (
             select ctid from bus.inbox where consumer = $1 and tenant = x.tenant and message_id = x.id limit 1
         ) row
         where i.ctid = row.ctid and (i.outcome is null or i.outcome = 'held')
         returning i.finished_at",
    )
    .bind(consumer)
    .bind(rows.iter().map(|r| r.key.tenant.clone()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.key.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.outcome.map(Outcome::as_str)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.outbox.as_deref().map(Outbox::encode)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.detail.as_deref().map(text)).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(ended.into_iter().flatten().next())
}

/// Reads rows; locked until the transaction's end if `lock`, in the order in which everybody does so.
pub(crate) async fn find(
    db: &mut PgConnection,
    consumer: &str,
    keys: &[Key],
    lock: bool,
) -> Result<Vec<Found>, sqlx::Error> {
    let (read, read_locked) = (
        "select i.* from unnest($2::text[], $3::uuid[]) as x(tenant, id)
         cross join lateral (
             select tenant, message_id, outcome, messages, finished_at from bus.inbox
             where consumer = $1 and tenant = x.tenant and message_id = x.id limit 1
         ) i",
        "select i.* from (
             select * from unnest($2::text[], $3::uuid[]) as x(tenant, id) order by tenant, id
         ) x
         cross join lateral (
             select tenant, message_id, outcome, messages, finished_at from bus.inbox
             where consumer = $1 and tenant = x.tenant and message_id = x.id limit 1 for update
         ) i",
    );
    let rows = sqlx::query(if lock { read_locked } else { read })
        .bind(consumer)
        .bind(keys.iter().map(|k| k.tenant.clone()).collect::<Vec<_>>())
        .bind(keys.iter().map(|k| k.id).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    rows.iter()
        .map(|row| {
            let outcome: Option<String> = row.try_get(2)?;
            let messages: Option<Vec<u8>> = row.try_get(3)?;
            Ok(Found {
                key: Key { tenant: row.try_get(0)?, id: row.try_get(1)? },
                outcome: outcome.as_deref().and_then(Outcome::parse),
                at: row.try_get(4)?,
                outbox: messages.as_deref().map(Outbox::decode).transpose()?,
            })
        })
        .collect()
}

/// Notes that the messages with which these rows ended have reached the bus. What is left out is published once more by
/// the sweeper.
pub(crate) async fn published(db: &mut PgConnection, rows: &[Ended]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update bus.inbox i set published_at = now()
         from unnest($1::text[], $2::text[], $3::uuid[], $4::timestamptz[]) as x(consumer, tenant, id, at)
         cross join lateral (
             select ctid from bus.inbox
             where consumer = x.consumer and tenant = x.tenant and message_id = x.id and finished_at = x.at limit 1
         ) row
         where i.ctid = row.ctid and i.published_at is null",
    )
    .bind(rows.iter().map(|row| row.consumer.clone()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.key.tenant.clone()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.key.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// PostgreSQL stores no zero byte in a text, and words may hold whatever a body or a provider said.
pub(crate) fn text(words: &str) -> String {
    words.replace('\0', " ")
}

/// Counts one more failed try; returns how many there are now.
pub(crate) async fn spend(db: &mut PgConnection, consumer: &str, key: &Key, error: &str) -> Result<u32, sqlx::Error> {
    let spent: i32 = sqlx::query_scalar(
        "insert into bus.retries (consumer, tenant, message_id, spent, last_error, at) values ($1, $2, $3, 1, $4, now())
         on conflict (consumer, tenant, message_id)
         do update set spent = bus.retries.spent + 1, last_error = excluded.last_error, at = excluded.at
         returning spent",
    )
    .bind(consumer)
    .bind(&key.tenant)
    .bind(key.id)
    .bind(text(error))
    .fetch_one(db)
    .await?;
    Ok(spent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_another_version_is_read_with_its_unknown_fields_ignored_and_its_missing_ones_empty() {
        #[derive(Serialize)]
        struct Newer {
            correlation: &'static str,
            priority: u8,
            list: Vec<()>,
        }
        let newer = Newer { correlation: "c", priority: 9, list: vec![] };
        let read = Outbox::decode(&rmp_serde::to_vec_named(&newer).unwrap()).unwrap();
        assert_eq!(read, Outbox { correlation: "c".into(), ..Outbox::default() });
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let message = Outgoing { subject: "evt.shop.put_done.acme".into(), body: vec![1, 2], ..Outgoing::default() };
        let outbox = Outbox { causation: "a".into(), time: 7, list: vec![message], ..Outbox::default() };
        let bytes = outbox.encode();
        assert_eq!(Outbox::decode(&bytes).unwrap(), outbox);
        assert_eq!(bytes[0] >> 4, 0x8, "a map with names: by position, no field could ever be added");
    }
}
