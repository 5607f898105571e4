//! The least that the same work can cost: async-nats and sqlx with nothing between.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use futures_util::StreamExt;
use futures_util::future::join_all;
use omnibus_runtime::{Bus, clock};
use omnibus_schemas::subject;
use sqlx::PgPool;

type Result<T> = std::result::Result<T, async_nats::Error>;

/// How a bare consumer commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Not at all: consume and acknowledge.
    Not,
    /// A transaction for each message, this many at once.
    Each(usize),
    /// A transaction for each batch of at most this many, with multi-row inserts; two loops.
    Batch(usize),
}

/// Publishes `count` messages with ids, pipelined with a window of 1024.
pub(crate) async fn publish(bus: &Bus, count: usize, body: impl Fn(usize) -> Vec<u8>) -> Result<()> {
    let mut acks: Vec<PublishAckFuture> = Vec::with_capacity(1024);
    for n in 0..count {
        let publish = PublishMessage::build().payload(body(n).into()).message_id(clock::new_id().to_string());
        acks.push(bus.jetstream().send_publish("cmd.goods.default.store.acme", publish).await?);
        if acks.len() == 1024 || n + 1 == count {
            for ack in acks.drain(..) {
                ack.await?;
            }
        }
    }
    Ok(())
}

/// The tables that a bare consumer writes to.
pub(crate) const TABLES: [&str; 3] = [
    "create schema bare",
    "create table bare.inbox (message_id uuid primary key, at timestamptz default now())",
    "create table bare.rows (id uuid primary key, tenant text not null, body bytea not null)",
];

/// Takes `count` commands off the lane: one inbox row and one domain row each, one event, one ack.
pub(crate) async fn consume(bus: &Bus, db: &PgPool, count: usize, commit: Commit) -> Result<()> {
    let consumer: PullConsumer = bus
        .jetstream()
        .get_consumer_from_stream(subject::lane_consumer("goods", "default"), subject::command_stream("goods"))
        .await?;
    let left = Arc::new(AtomicI64::new(i64::try_from(count)?));
    let (loops, size) = match commit {
        Commit::Not => (1, 500),
        Commit::Each(at_once) => (1, at_once),
        Commit::Batch(size) => (2, size),
    };
    let tasks = (0..loops).map(|_| {
        let (consumer, bus, db, left) = (consumer.clone(), bus.clone(), db.clone(), left.clone());
        tokio::spawn(async move {
            while left.load(Ordering::Relaxed) > 0 {
                let mut fetched = consumer.fetch().max_messages(size).messages().await?;
                let mut batch = Vec::new();
                while let Some(message) = fetched.next().await {
                    batch.push(message?);
                }
                if batch.is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
                left.fetch_sub(i64::try_from(batch.len())?, Ordering::Relaxed);
                match commit {
                    Commit::Not => {
                        for message in &batch {
                            message.ack().await?;
                        }
                    }
                    Commit::Each(_) => {
                        for done in join_all(batch.iter().map(|message| each(&bus, &db, message))).await {
                            done?;
                        }
                    }
                    Commit::Batch(_) => all(&bus, &db, &batch).await?,
                }
            }
            Result::Ok(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    // Acknowledgements stand in the client's buffer.
    bus.client().flush().await?;
    Ok(())
}

async fn each(bus: &Bus, db: &PgPool, message: &async_nats::jetstream::Message) -> Result<()> {
    let id = clock::new_id();
    let mut tx = db.begin().await?;
    sqlx::query("insert into bare.inbox (message_id) values ($1) on conflict do nothing")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into bare.rows (id, tenant, body) values ($1, 'acme', $2)")
        .bind(id)
        .bind(&message.payload[..])
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    event(bus, id, message).await?.await?;
    message.ack().await
}

async fn all(bus: &Bus, db: &PgPool, batch: &[async_nats::jetstream::Message]) -> Result<()> {
    let ids: Vec<_> = batch.iter().map(|_| clock::new_id()).collect();
    let bodies: Vec<&[u8]> = batch.iter().map(|message| &message.payload[..]).collect();
    let mut tx = db.begin().await?;
    sqlx::query("insert into bare.inbox (message_id) select unnest($1::uuid[]) on conflict do nothing")
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into bare.rows (id, tenant, body) select id, 'acme', body from unnest($1::uuid[], $2::bytea[]) as x(id, body)")
        .bind(&ids)
        .bind(&bodies)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let mut acks = Vec::with_capacity(batch.len());
    for (id, message) in ids.iter().zip(batch) {
        acks.push(event(bus, *id, message).await?);
    }
    for ack in acks {
        ack.await?;
    }
    for message in batch {
        message.ack().await?;
    }
    Ok(())
}

async fn event(bus: &Bus, id: uuid::Uuid, message: &async_nats::jetstream::Message) -> Result<PublishAckFuture> {
    let publish = PublishMessage::build().payload(message.payload.clone()).message_id(id.to_string());
    Ok(bus.jetstream().send_publish("evt.goods.stored.acme", publish).await?)
}
