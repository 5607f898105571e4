//! The least that the same work can cost: axum, async-nats and sqlx with nothing between.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use futures_util::StreamExt;
use futures_util::future::join_all;
use omnibus_runtime::Bus;
use omnibus_runtime::clock;
use omnibus_schemas::subject;
use sqlx::PgPool;

/// An HTTP server that publishes what it is sent.
pub(crate) struct BareDoor {
    pub(crate) url: String,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

/// Publishes each body with a message id and answers 202 after the PubAck.
pub(crate) async fn door(bus: Bus) -> anyhow::Result<BareDoor> {
    let app = Router::new().route("/greetings", post(take)).with_state(bus);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            panic!("the bare door failed: {error}");
        }
    });
    Ok(BareDoor { url, task })
}

async fn take(State(bus): State<Bus>, body: Bytes) -> (StatusCode, String) {
    let id = clock::new_id().to_string();
    let publish = async_nats::jetstream::message::PublishMessage::build().payload(body).message_id(&id);
    let subject = subject::command("greeter", "default", "greet", "acme");
    let sent = async { bus.jetstream().send_publish(subject, publish).await?.await };
    match sent.await {
        Ok(_) => (StatusCode::ACCEPTED, id),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// How a bare consumer commits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Commit {
    /// A transaction for each message, this many at once.
    Each(usize),
    /// A transaction for each batch of at most this many, with multi-row inserts; two loops.
    Batch(usize),
}

/// Takes `count` commands off the greeter's lane: one inbox row and one domain row each, one event, one ack. Returns how
/// long that took.
pub(crate) async fn consume(bus: &Bus, db: &PgPool, count: usize, commit: Commit) -> anyhow::Result<Duration> {
    let consumer: async_nats::jetstream::consumer::PullConsumer = bus
        .jetstream()
        .get_consumer_from_stream(subject::lane_consumer("greeter", "default"), subject::command_stream("greeter"))
        .await?;
    let left = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(i64::try_from(count)?));
    let began = Instant::now();
    let (loops, size) = match commit {
        Commit::Each(at_once) => (1, at_once),
        Commit::Batch(size) => (2, size),
    };
    let tasks = (0..loops).map(|_| {
        let (consumer, bus, db, left) = (consumer.clone(), bus.clone(), db.clone(), left.clone());
        tokio::spawn(async move {
            while left.load(std::sync::atomic::Ordering::Relaxed) > 0 {
                let mut fetched = consumer.fetch().max_messages(size).messages().await?;
                let mut batch = Vec::new();
                while let Some(message) = fetched.next().await {
                    batch.push(message?);
                }
                if batch.is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
                left.fetch_sub(i64::try_from(batch.len())?, std::sync::atomic::Ordering::Relaxed);
                match commit {
                    Commit::Each(_) => {
                        for done in join_all(batch.iter().map(|message| each(&bus, &db, message))).await {
                            done?;
                        }
                    }
                    Commit::Batch(_) => all(&bus, &db, &batch).await?,
                }
            }
            Ok::<_, async_nats::Error>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await?.map_err(|error| anyhow::anyhow!(error))?;
    }
    Ok(began.elapsed())
}

async fn each(bus: &Bus, db: &PgPool, message: &async_nats::jetstream::Message) -> Result<(), async_nats::Error> {
    let id = clock::new_id();
    let mut tx = db.begin().await?;
    sqlx::query("insert into bare.inbox (message_id) values ($1) on conflict do nothing")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into bare.rows (id, body) values ($1, $2)")
        .bind(id)
        .bind(&message.payload[..])
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    event(bus, id, message).await?.await?;
    message.ack().await
}

async fn all(bus: &Bus, db: &PgPool, batch: &[async_nats::jetstream::Message]) -> Result<(), async_nats::Error> {
    let ids: Vec<_> = batch.iter().map(|_| clock::new_id()).collect();
    let bodies: Vec<Vec<u8>> = batch.iter().map(|message| message.payload.to_vec()).collect();
    let mut tx = db.begin().await?;
    sqlx::query("insert into bare.inbox (message_id) select unnest($1::uuid[]) on conflict do nothing")
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into bare.rows (id, body) select * from unnest($1::uuid[], $2::bytea[])")
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

async fn event(
    bus: &Bus,
    id: uuid::Uuid,
    message: &async_nats::jetstream::Message,
) -> Result<async_nats::jetstream::context::PublishAckFuture, async_nats::Error> {
    let publish = async_nats::jetstream::message::PublishMessage::build()
        .payload(message.payload.clone())
        .message_id(id.to_string());
    Ok(bus.jetstream().send_publish("evt.greeter.greeted.acme", publish).await?)
}
