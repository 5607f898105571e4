//! Two nets. The republishing sweeper finds rows whose events never reached the bus. The advisory sweeper turns messages
//! that the server gave up on (`max_deliver`) into dead letters, so that nothing is ever just gone.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::RawMessageErrorKind;
use chrono::DateTime;
use futures_util::StreamExt;
use omnibus_schemas::platform::Outcome;
use serde::Deserialize;
use sqlx::Row;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::attempts;
use crate::bus::PublishError;
use crate::delivery::Delivery;
use crate::ending::{End, Why, passed_on};
use crate::engine::{self, Engine, PATIENCE};
use crate::inbox::{self, Ended, Key, Outbox};
use crate::lane::Lane;
use crate::metrics::Metric;
use crate::publish::{due, publish_all};
use crate::unpublished;

const REPUBLISH_BATCH: i64 = 200;

impl Engine {
    /// Publishes what stands unpublished for longer than it should, and writes `published_at` while no batch comes by.
    pub(crate) async fn sweep(self: Arc<Self>, consumers: Vec<String>) {
        let every = Duration::from_secs(self.settings.republish_after_seconds.clamp(1, 15));
        let (mut flush, mut sweep) = (tokio::time::interval(Duration::from_secs(1)), tokio::time::interval(every));
        // A database that is away makes each take seconds; then they must not crowd each other out.
        for tick in [&mut flush, &mut sweep] {
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = flush.tick() => self.flush_published().await,
                _ = sweep.tick() => {
                    self.limits.forget();
                    let swept = self.republish(&consumers).await;
                    match &swept {
                        Ok(()) => self.health.well("postgres"),
                        Err(error) => self.notice_away(engine::of_the_database(error)),
                    }
                    if let Err(error) = swept {
                        tracing::warn!(domain = self.domain, %error, "unpublished rows could not be swept");
                    }
                }
            }
        }
    }

    async fn republish(&self, consumers: &[String]) -> anyhow::Result<()> {
        // Goes on behind what could not be published: one full stream must not keep the others' rows waiting.
        let late = self.settings.republish_after_seconds as f64;
        let mut tx = self.db.begin().await?;
        unpublished::break_up(&mut tx, consumers, late).await?;
        tx.commit().await?;
        let (mut since, mut behind) = (DateTime::UNIX_EPOCH, Uuid::nil());
        let mut failed = None;
        loop {
            let mut tx = self.db.begin().await?;
            // What is unpublished has an index in this order, where the next step goes on behind this one. A planner
            // that takes it for few rows would rather read and sort all that is left, for each step.
            sqlx::query("set local enable_sort = off").execute(&mut *tx).await?;
            let rows = sqlx::query(
                "select consumer, tenant, message_id, messages, received_at, finished_at from bus.inbox
                 where published_at is null and outcome is not null and consumer = any($1)
                   and finished_at < now() - make_interval(secs => $2) and (received_at, message_id) > ($4, $5)
                 order by received_at, message_id limit $3 for update skip locked",
            )
            .bind(consumers)
            .bind(self.settings.republish_after_seconds as f64)
            .bind(REPUBLISH_BATCH)
            .bind(since)
            .bind(behind)
            .fetch_all(&mut *tx)
            .await?;
            let (mut rows_of, mut ends) = (Vec::new(), Vec::new());
            for row in &rows {
                let key = Key { tenant: row.try_get(1)?, id: row.try_get(2)? };
                let outbox: Option<Vec<u8>> = row.try_get(3)?;
                (since, behind) = (row.try_get(4)?, key.id);
                let outbox = match outbox.as_deref().map(Outbox::decode).transpose() {
                    Ok(outbox) => outbox.unwrap_or_default(),
                    Err(error) => {
                        failed = Some(anyhow::Error::from(error));
                        continue;
                    }
                };
                let ended = Ended { consumer: row.try_get(0)?, key, at: row.try_get(5)? };
                rows_of.push((ended.clone(), due(self.domain, &ended.key, &Arc::new(outbox), 0).collect::<Vec<_>>()));
                ends.push(ended);
            }
            let found = rows.len() as i64;
            let mut told = Vec::new();
            let all = rows_of.iter().flat_map(|(_, messages)| messages.clone()).collect();
            match publish_all(&self.bus, &self.pace, &self.gather, all, PATIENCE).await {
                Ok(()) => told = ends,
                Err(error @ PublishError::Away(_)) => return Err(error.into()),
                // One row that the bus does not take must not stand in the way of the others.
                Err(_) => {
                    for (row, messages) in rows_of {
                        match publish_all(&self.bus, &self.pace, &self.gather, messages, Duration::ZERO).await {
                            Ok(()) => told.push(row),
                            Err(error @ PublishError::Away(_)) => return Err(error.into()),
                            Err(error) => failed = Some(error.into()),
                        }
                    }
                }
            }
            inbox::published(&mut tx, &told).await?;
            tx.commit().await?;
            if !told.is_empty() {
                Metric::Republished.add(told.len() as u64, &[("domain", self.domain)]);
                tracing::warn!(domain = self.domain, rows = told.len(), "published what had been left unpublished");
            }
            if found < REPUBLISH_BATCH {
                return failed.map_or(Ok(()), Err);
            }
        }
    }
}

/// What the server says when it gives up on a message.
#[derive(Debug, Deserialize)]
struct MaxDeliveries {
    stream: String,
    consumer: String,
    stream_seq: u64,
    deliveries: u64,
}

/// Reads the domain's advisories and ends the messages they name.
pub(crate) async fn advisories(engine: Arc<Engine>, consumer: PullConsumer, lanes: Vec<Arc<Lane>>) {
    while !engine.stop.is_cancelled() {
        let pulled = async {
            let mut batch = consumer.batch().max_messages(16).expires(Duration::from_secs(2)).messages().await?;
            let mut messages = Vec::new();
            while let Some(message) = batch.next().await {
                messages.push(message?);
            }
            Ok::<_, async_nats::Error>(messages)
        };
        match pulled.await {
            Ok(messages) => {
                for message in messages {
                    let swept = async {
                        match serde_json::from_slice::<MaxDeliveries>(&message.payload) {
                            Ok(advisory) => sweep_one(&engine, &lanes, &advisory).await,
                            Err(error) => Err(anyhow::anyhow!("an advisory can't be read: {error}")),
                        }
                    };
                    let answer = match swept.await {
                        Ok(()) => AckKind::Ack,
                        Err(error) => {
                            tracing::warn!(domain = engine.domain, %error, "an advisory waits");
                            AckKind::Nak(Some(Duration::from_secs(10)))
                        }
                    };
                    let _ = message.ack_with(answer).await;
                }
            }
            Err(error) => {
                tracing::debug!(domain = engine.domain, %error, "advisories can't be read");
                tokio::select! {
                    () = engine.stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_secs(5)) => {}
                }
            }
        }
    }
}

async fn sweep_one(engine: &Arc<Engine>, lanes: &[Arc<Lane>], advisory: &MaxDeliveries) -> anyhow::Result<()> {
    let Some(lane) = lanes.iter().find(|lane| lane.consumer == advisory.consumer && lane.stream == advisory.stream)
    else {
        // A lane that this process does not run, but another of the domain may: leave it to that one.
        anyhow::bail!("{} is not consumed here", advisory.consumer);
    };
    let js = engine.bus.jetstream();
    let stream = js.get_stream_no_info(&advisory.stream).await?;
    let stored = match stream.get_raw_message(advisory.stream_seq).await {
        Ok(stored) => stored,
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let deliveries = u32::try_from(advisory.deliveries).unwrap_or(u32::MAX);
    let Some(delivery) = Delivery::stored(stored, &advisory.stream, js.clone(), deliveries) else { return Ok(()) };
    let delivery = Arc::new(delivery);
    let key = delivery.key();
    let (row, latest) = {
        let mut db = engine.db.acquire().await?;
        let row = inbox::find(&mut db, &lane.consumer, std::slice::from_ref(&key), false).await?;
        (row.into_iter().next(), attempts::latest(&mut db, &lane.consumer, &key).await?)
    };
    let mut outcome = row.and_then(|row| row.outcome);
    if outcome.is_none() {
        let detail = format!("the server gave up after {} deliveries", advisory.deliveries);
        let end = match latest {
            // A call may be out: whether it happened is not for the net to guess.
            Some(latest) if !latest.closed => End::closing(Why::Held { detail }, latest.attempt, "held"),
            _ => End::of(Why::dead("deliveries_used_up", detail, deliveries)),
        };
        lane.end(&delivery, end).await;
        let mut db = engine.db.acquire().await?;
        let ended = inbox::find(&mut db, &lane.consumer, std::slice::from_ref(&key), false).await?;
        outcome = ended.first().and_then(|row| row.outcome);
        anyhow::ensure!(outcome.is_some(), "it could not be ended yet");
    }
    if !lane.reaction {
        if outcome == Some(Outcome::Held) {
            move_up(engine, &lane.consumer, &delivery).await?;
        }
        // It lies in the dead letters now; nobody will acknowledge it here.
        stream.delete_message(advisory.stream_seq).await?;
    }
    Ok(())
}

/// A held command is needed in its stream, to be performed once a person says so: it is stored again, as itself, behind
/// the others. Delivered there, it is found held and acknowledged.
async fn move_up(engine: &Engine, consumer: &str, delivery: &Delivery) -> anyhow::Result<()> {
    let stored = engine.bus.publish(delivery.subject(), passed_on(delivery), delivery.body().clone()).await?;
    sqlx::query("update bus.inbox set sequence = $4 where consumer = $1 and tenant = $2 and message_id = $3")
        .bind(consumer)
        .bind(&delivery.meta.tenant)
        .bind(delivery.meta.id)
        .bind(stored.sequence as i64)
        .execute(&engine.db)
        .await?;
    Ok(())
}
