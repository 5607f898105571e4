//! Putting what is read on the record: batches of messages, each message once, acknowledged when the rows are committed.
//!
//! These are no reactions. A reaction has an inbox row and a handler's outcome event for each message; a record has to
//! take ten thousand a second, must not say anything about what it hears, and has a row for each message anyway: the
//! entry, whose key is what an inbox's would be.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use chrono::DateTime;
use omnibus_runtime::{Desk, Reader, acknowledge};
use sqlx::PgConnection;
use tokio::task::JoinSet;

use crate::Auditor;
use crate::entry::{Arrival, Draft};
use crate::people;

/// Messages in one transaction at most.
const BATCH: usize = 2000;
/// After the database was away.
const PAUSE: Duration = Duration::from_millis(500);

/// One loop for each stream, so that each stream's order is kept.
pub(crate) async fn run(auditor: Arc<Auditor>, desk: Desk) -> anyhow::Result<()> {
    auditor.ledger.replay(&desk.db).await?;
    let mut loops = JoinSet::new();
    for reader in desk.readers(&auditor.catalogue).await? {
        loops.spawn(follow(auditor.clone(), desk.clone(), reader));
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    Ok(())
}

async fn follow(auditor: Arc<Auditor>, desk: Desk, mut reader: Reader) -> anyhow::Result<()> {
    let stream = reader.stream().to_owned();
    let mut batch = reader.next(BATCH).await?;
    while !batch.is_empty() {
        // The next batch is on its way while this one is written.
        let (_, next) = tokio::join!(put(&auditor, &desk, &stream, batch), reader.next(BATCH));
        batch = next?;
    }
    Ok(())
}

/// Writes a batch until it is written, or the worker is to stop; then it comes again.
async fn put(auditor: &Auditor, desk: &Desk, stream: &str, batch: Vec<Message>) {
    while let Err(error) = write(auditor, desk, stream, &batch).await {
        // The database's words may quote a value; its code does not.
        let code = error.downcast_ref::<sqlx::Error>().and_then(|e| e.as_database_error()?.code());
        tracing::warn!(stream, ?code, "a batch is not on the record yet; it is tried again");
        if !desk.pause(PAUSE).await {
            return;
        }
    }
    acknowledge(&batch).await;
}

async fn write(auditor: &Auditor, desk: &Desk, stream: &str, batch: &[Message]) -> anyhow::Result<()> {
    let mut drafts = Vec::with_capacity(batch.len());
    let mut seen = HashSet::with_capacity(batch.len());
    for message in batch {
        let (sequence, stored) = match message.info() {
            Ok(info) => (info.stream_sequence, info.published),
            Err(error) => anyhow::bail!("a message of {stream} does not say where it stood: {error}"),
        };
        let stored = DateTime::from_timestamp(stored.unix_timestamp(), stored.nanosecond()).unwrap_or_default();
        let draft = Draft::read(&auditor.keys, &auditor.marks, message, stream, sequence, stored)?;
        if seen.insert(draft.key) {
            drafts.push(draft);
        }
    }
    let everybody = drafts.iter().flat_map(|d| d.people.all.iter().map(|person| (d.tenant.clone(), *person))).collect();
    let mut transaction = desk.db.begin().await?;
    let known = people::keys_of(&auditor.keys, &mut transaction, everybody).await?;
    let arrivals = drafts.into_iter().map(|draft| draft.finish(&known)).collect::<anyhow::Result<Vec<_>>>()?;
    insert(&mut transaction, &arrivals).await?;
    transaction.commit().await?;
    Ok(())
}

/// Adds those that are not on the record yet, in their order.
pub(crate) async fn insert(db: &mut PgConnection, arrivals: &[Arrival]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with fresh as (
             insert into auditor.ids (key) select key from unnest($1::uuid[]) as x(key) order by key
             on conflict do nothing returning key)
         insert into auditor.arrivals (key, tenant, body, salt, sealed)
         select key, tenant, body, salt, sealed
         from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[]) with ordinality
             as x(key, tenant, body, salt, sealed, n)
         where key in (select key from fresh) order by n",
    )
    .bind(arrivals.iter().map(|a| a.key).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| a.tenant.as_str()).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| a.body.as_str()).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| a.salt.as_slice()).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| a.sealed.as_deref()).collect::<Vec<_>>())
    .execute(db)
    .await
    .map(drop)
}
