//! Putting what is read on the record: batches of messages, each message once, acknowledged when their entries have places.
//!
//! While a batch waits for its turn and is written, the next is fetched, and made into entries as far as that goes without
//! knowing their places: the log's one line of writers has nothing to do but write.
//!
//! These are no reactions. A reaction has an inbox row and a handler's outcome event for each message; a record has to
//! take ten thousand a second, must not say anything about what it hears, and has a row for each message anyway: the
//! entry, whose key is what an inbox's would be.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use async_nats::jetstream::Message;
use chrono::DateTime;
use omnibus_runtime::{Desk, Reader, acknowledge};
use sqlx::PgConnection;
use tokio::task::JoinSet;

use crate::entry::{Arrival, Draft};
use crate::{Auditor, append, people};

/// Messages in one transaction at most.
const BATCH: usize = 2000;
/// How long a batch may take to be written: while it is, nobody else writes. PostgreSQL gives up before.
const PATIENCE: Duration = Duration::from_secs(150);
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
    let mut next = read(&auditor, &desk, &mut reader).await?;
    while let Some(batch) = next.take() {
        // A task of its own, so that it goes on while the next batch is hashed.
        let mut writing = JoinSet::new();
        writing.spawn(put(auditor.clone(), desk.clone(), batch));
        let (written, read) = tokio::join!(writing.join_next(), read(&auditor, &desk, &mut reader));
        written.transpose()?;
        next = read?;
    }
    Ok(())
}

/// Messages, and what they are on the record, without repetitions.
struct Batch {
    stream: String,
    messages: Vec<Message>,
    arrivals: Vec<Arrival>,
}

/// The next batch. `None` if the worker is to stop.
async fn read(auditor: &Auditor, desk: &Desk, reader: &mut Reader) -> anyhow::Result<Option<Batch>> {
    let messages = reader.next(BATCH).await?;
    if messages.is_empty() {
        return Ok(None);
    }
    let stream = reader.stream().to_owned();
    loop {
        match arrivals(auditor, desk, &stream, &messages).await {
            Ok(arrivals) => return Ok(Some(Batch { stream, messages, arrivals })),
            Err(error) => say(desk, &stream, &error),
        }
        if !desk.pause(PAUSE).await {
            return Ok(None);
        }
    }
}

async fn arrivals(auditor: &Auditor, desk: &Desk, stream: &str, batch: &[Message]) -> anyhow::Result<Vec<Arrival>> {
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
    let everybody: BTreeSet<_> =
        drafts.iter().flat_map(|d| d.people.all.iter().map(|person| (d.tenant.clone(), *person))).collect();
    // Before the batch's transaction: who is erased between the two has a key no more, whatever was sealed with it.
    let known = match everybody.is_empty() {
        true => people::Known::new(),
        false => people::keys_of(&auditor.keys, &mut *desk.db.acquire().await?, everybody).await?,
    };
    drafts.into_iter().map(|draft| draft.finish(&known)).collect()
}

/// Writes a batch until it is written, or the worker is to stop; then it comes again.
async fn put(auditor: Arc<Auditor>, desk: Desk, batch: Batch) {
    let Batch { stream, messages, arrivals: made } = batch;
    let mut made = Some(made);
    loop {
        // What was sealed with keys that the database may have lost since, as one that was restored has, is sealed anew.
        let written = async {
            let arrivals = match made.take() {
                Some(made) => made,
                None => arrivals(&auditor, &desk, &stream, &messages).await?,
            };
            write(&auditor, &desk, &arrivals).await
        };
        match tokio::time::timeout(PATIENCE, written).await.unwrap_or_else(|_| Err(anyhow!("no answer"))) {
            Ok(()) => break,
            Err(error) => say(&desk, &stream, &error),
        }
        if !desk.pause(PAUSE).await {
            return;
        }
    }
    desk.health.well(&part(&stream));
    acknowledge(&messages).await;
}

/// What readiness calls it.
fn part(stream: &str) -> String {
    format!("log of {stream}")
}

fn say(desk: &Desk, stream: &str, error: &anyhow::Error) {
    // The database's words may quote a value; its code does not.
    let why = match error.downcast_ref::<sqlx::Error>() {
        Some(error) => match error.as_database_error().and_then(|error| error.code()) {
            Some(code) => format!("PostgreSQL says {code}"),
            None => "PostgreSQL is away".to_owned(),
        },
        None => format!("{error:#}"),
    };
    tracing::warn!(stream, why, "a batch is not on the record yet; it is tried again");
    desk.health.ill(&part(stream), why);
}

async fn write(auditor: &Auditor, desk: &Desk, arrivals: &[Arrival]) -> anyhow::Result<()> {
    // Who waits in this process for its turn waits without a connection.
    let _ours = auditor.turn.lock().await;
    let mut transaction = desk.db.begin().await?;
    let now = append::turn(&mut transaction).await?;
    let before = append::note(&mut transaction, arrivals).await?;
    if before.is_empty() {
        append::append(auditor, &mut transaction, arrivals, now).await?;
    } else {
        let fresh: Vec<_> = arrivals.iter().filter(|a| !before.contains(&a.key)).cloned().collect();
        append::append(auditor, &mut transaction, &fresh, now).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// For handlers: adds those that are not on the record yet, in their order, in the transaction of the command. They get
/// their places after it (see `sequence`).
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
