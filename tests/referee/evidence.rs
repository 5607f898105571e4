//! What there is to see when all is over: the streams, the shop's database, the provider's folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{headers, subject};
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

/// The shop's lanes.
const LANES: [&str; 2] = ["default", "calls"];
/// How often what gives no notice is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// A message on `CMD_SHOP`, `EVT` or `DLQ`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its subject.
    pub subject: String,
    /// The tenant in the subject.
    pub tenant: String,
    /// `ce-id`.
    pub id: String,
    /// `ce-causationid`.
    pub causation: String,
    /// `ce-outcome`.
    pub outcome: Option<Outcome>,
    /// The payload.
    pub body: Vec<u8>,
}

/// A row of `bus.inbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose command.
    pub tenant: String,
    /// Which.
    pub id: Uuid,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Are its messages known to be on the bus?
    pub published: bool,
}

/// A row of `bus.attempts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Whose command.
    pub tenant: String,
    /// Which.
    pub id: Uuid,
    /// `None` while it is open.
    pub result: Option<String>,
}

/// Everything that a judgement is made from.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What the bus has accepted, in order.
    pub accepted: Vec<Message>,
    /// What was said on `EVT`, in order.
    pub events: Vec<Message>,
    /// What lies on `DLQ`, in order.
    pub dead: Vec<Message>,
    /// The inbox.
    pub rows: Vec<Row>,
    /// The attempt ledger.
    pub attempts: Vec<Attempt>,
    /// Tenant and command of every row of `shop.things`.
    pub things: Vec<(String, Uuid)>,
    /// Tenant, command and status of every row of `shop.charges`.
    pub charges: Vec<(String, Uuid, String)>,
    /// How often the provider was called, by command.
    pub calls: BTreeMap<Uuid, u64>,
    /// Messages that the lanes still wait for, or for an acknowledgement of.
    pub pending: u64,
}

impl Evidence {
    /// Gathers what there is now.
    pub async fn gather(js: &Context, db: &PgPool, provider: &Path) -> anyhow::Result<Self> {
        let rows = sqlx::query(
            "select tenant, message_id, outcome, published_at is not null and not exists
             (select 1 from bus.unpublished u where u.consumer = i.consumer and i.message_id = any(u.message_ids))
             from bus.inbox i",
        );
        let rows = rows.fetch_all(db).await?.into_iter().map(|row| {
            let outcome: Option<String> = row.try_get(2)?;
            let outcome = outcome.as_deref().and_then(Outcome::parse);
            Ok(Row { tenant: row.try_get(0)?, id: row.try_get(1)?, outcome, published: row.try_get(3)? })
        });
        let attempts =
            sqlx::query("select tenant, message_id, case when closed_at is not null then result end from bus.attempts");
        let attempts = attempts.fetch_all(db).await?.into_iter();
        let attempts =
            attempts.map(|row| Ok(Attempt { tenant: row.try_get(0)?, id: row.try_get(1)?, result: row.try_get(2)? }));
        Ok(Evidence {
            accepted: read(js, &subject::command_stream("shop")).await?,
            events: read(js, "EVT").await?,
            dead: read(js, "DLQ").await?,
            rows: rows.collect::<Result<_, sqlx::Error>>()?,
            attempts: attempts.collect::<Result<_, sqlx::Error>>()?,
            things: sqlx::query_as("select tenant, command_id from shop.things").fetch_all(db).await?,
            charges: sqlx::query_as("select tenant, command_id, status from shop.charges").fetch_all(db).await?,
            calls: calls(provider)?,
            pending: pending(js).await?,
        })
    }

    /// Waits until nothing is under way any more: every row has ended and is published, and the lanes are empty.
    ///
    /// # Errors
    /// If it is not so after `patience`; says what is left.
    pub async fn settled(js: &Context, db: &PgPool, patience: Duration) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + patience;
        loop {
            // What rows that are published have caused stands in the lanes; so if the lanes are empty after that, and no
            // row has come in meanwhile, nothing will.
            let seen = async {
                let (before, pending, after) = (open(db).await?, pending(js).await?, open(db).await?);
                anyhow::Ok((before, pending, after))
            };
            let seen = seen.await;
            if let Ok((before, 0, after)) = &seen
                && before == after
                && before.1 == 0
            {
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < until, "(rows, open rows) and pending messages: {seen:?}");
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// All rows, and those that have not ended or are not published.
async fn open(db: &PgPool) -> sqlx::Result<(i64, i64)> {
    let counts = "select count(*), count(*) filter (where outcome is null or published_at is null)
                  + (select count(*) from bus.unpublished) from bus.inbox";
    sqlx::query_as(counts).fetch_one(db).await
}

async fn pending(js: &Context) -> anyhow::Result<u64> {
    let mut sum = 0;
    for lane in LANES {
        let (name, stream) = (subject::lane_consumer("shop", lane), subject::command_stream("shop"));
        let consumer: PullConsumer = js.get_consumer_from_stream(name, stream).await?;
        let info = consumer.cached_info();
        sum += info.num_pending + info.num_ack_pending as u64;
    }
    Ok(sum)
}

/// The provider's folder has a byte per call.
fn calls(provider: &Path) -> anyhow::Result<BTreeMap<Uuid, u64>> {
    let mut calls = BTreeMap::new();
    for entry in std::fs::read_dir(provider)? {
        let entry = entry?;
        if let Some(id) = entry.file_name().to_str().and_then(|name| name.strip_prefix("call-")) {
            calls.insert(id.parse()?, entry.metadata()?.len());
        }
    }
    Ok(calls)
}

/// A whole stream, as a reader who comes late would read it.
async fn read(js: &Context, stream: &str) -> anyhow::Result<Vec<Message>> {
    let mut stream = js.get_stream(stream).await?;
    let state = stream.info().await?.state.clone();
    let mut list = Vec::new();
    if state.messages == 0 {
        return Ok(list);
    }
    let consumer = stream.create_consumer(OrderedConfig::default()).await?;
    let mut messages = consumer.messages().await?;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), messages.next()).await;
        let message = next.context("a stream stopped before its end")?.context("a stream ended before its end")??;
        let sequence = message.info().map_err(|error| anyhow::anyhow!(error))?.stream_sequence;
        list.push(message_of(&message));
        if sequence >= state.last_sequence {
            return Ok(list);
        }
    }
}

fn message_of(message: &async_nats::Message) -> Message {
    let get = |name: &str| {
        let value = message.headers.as_ref().and_then(|map| map.get(name));
        value.map(|value| value.as_str().to_owned()).unwrap_or_default()
    };
    Message {
        subject: message.subject.to_string(),
        tenant: message.subject.rsplit('.').next().unwrap_or_default().to_owned(),
        id: get(headers::ID),
        causation: get(headers::CAUSATION),
        outcome: Outcome::parse(&get(headers::OUTCOME)),
        body: message.payload.to_vec(),
    }
}
