//! Forgetting, in small steps: inbox rows after `keep_inbox`, done commands on the bus after `keep_done`. The bus is
//! purged below every consumer's ack floor only; what may be unread is never touched, however old it is.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use omnibus_schemas::subject;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row};

use crate::engine::Engine;

const EVERY: Duration = Duration::from_secs(15 * 60);
/// How many rows are deleted at once.
const STEP: usize = 1000;
/// How many are found at once. To find them may mean to read all rows that there are: too much for each step.
const FOUND: usize = 100 * STEP;
/// How often it is looked whether the stream runs full.
const WATCH: Duration = Duration::from_secs(10);
/// Of the stream's limits: above the first, done commands are purged down to the second, whatever their age. Those who
/// send come before those who may want to replay.
const CROWDED: f64 = 0.8;
const RELIEVED: f64 = 0.5;

/// On whose account something is kept.
#[derive(Debug)]
pub(crate) struct Keeps {
    /// This worker's consumers, whose rows it forgets.
    pub(crate) mine: Vec<String>,
    /// The domain's lanes, of whichever worker.
    pub(crate) lanes: Vec<String>,
    /// Everybody who is to read the command stream.
    pub(crate) all: Vec<String>,
}

impl Engine {
    /// Trims now and then, one worker of the domain at a time.
    pub(crate) async fn trimmer(self: Arc<Self>, keeps: Keeps) {
        let (mut tick, mut watch) = (tokio::time::interval(EVERY), tokio::time::interval(WATCH));
        loop {
            let trimmed = tokio::select! {
                () = self.stop.cancelled() => return,
                _ = tick.tick() => self.trim(&keeps).await,
                _ = watch.tick() => self.relieve(&keeps).await,
                () = self.crowded.notified() => self.relieve(&keeps).await,
            };
            if let Err(error) = trimmed {
                tracing::warn!(domain = self.domain, %error, "trimming goes on later");
            }
        }
    }

    pub(crate) async fn trim(&self, keeps: &Keeps) -> anyhow::Result<()> {
        let mut db = self.db.acquire().await?;
        let alone: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtext('omnibus trim'), hashtext($1))")
            .bind(self.domain)
            .fetch_one(&mut *db)
            .await?;
        if !alone {
            return Ok(());
        }
        let trimmed = self.trim_alone(&mut db, keeps).await;
        sqlx::query("select pg_advisory_unlock(hashtext('omnibus trim'), hashtext($1))")
            .bind(self.domain)
            .execute(&mut *db)
            .await?;
        trimmed
    }

    async fn trim_alone(&self, db: &mut PgConnection, keeps: &Keeps) -> anyhow::Result<()> {
        // The database's clock, as in the rows: a worker's may be wrong by weeks.
        let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&mut *db).await?;
        let inbox_before = now - TimeDelta::days(self.settings.keep_inbox_days.into());
        let done_before = now - TimeDelta::days(self.settings.keep_done_days.into());
        self.trim_stream(done_before, keeps).await?;
        let stream = self.bus.jetstream().get_stream(subject::command_stream(self.domain)).await?;
        let state = &stream.cached_info().state;
        let (first, last) = (i64::try_from(state.first_sequence)?, i64::try_from(state.last_sequence)?);
        for (table, age, rest) in [
            (
                // What a stream still holds may be delivered again, however old it is: to a consumer that was deleted and
                // made anew, all of it.
                "inbox",
                "received_at",
                "published_at is not null and outcome is not null and outcome <> 'held'
                and not (t.consumer = any($3) and t.sequence between $4 and $5)
                and not exists (select 1 from bus.unpublished u
                where u.consumer = t.consumer and t.message_id = any(u.message_ids))",
            ),
            ("retries", "at", "true"),
            (
                "attempts",
                "started_at",
                "closed_at is not null and not exists (select 1 from bus.inbox i
                where i.consumer = t.consumer and i.tenant = t.tenant and i.message_id = t.message_id)",
            ),
        ] {
            let bound = |statement: &str, which: &[String]| {
                let query = sqlx::query::<Postgres>(AssertSqlSafe(statement.to_owned()))
                    .bind(inbox_before)
                    .bind(which.to_vec());
                match table {
                    "inbox" => query.bind(keeps.lanes.clone()).bind(first).bind(last),
                    _ => query,
                }
            };
            let find = format!(
                "select t.ctid::text from bus.{table} t
                 where t.consumer = any($2) and {age} < $1 and {rest} limit {FOUND}"
            );
            // It is asked again whether a row is old: it may have changed, or another may stand in its place by now. In
            // words that no index answers: one that is taken for few old rows would be read in full for each step.
            let delete = format!(
                "delete from bus.{table} t where t.ctid = any(array(select unnest($2::text[])::tid))
                 and {age} + interval '0' < $1 and {rest}"
            );
            loop {
                let found = bound(&find, &keeps.mine).fetch_all(&mut *db).await?;
                let places = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
                for step in places.chunks(STEP) {
                    bound(&delete, step).execute(&mut *db).await?;
                    if self.stop.is_cancelled() {
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                if places.len() < FOUND {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The stream, and the highest sequence that every consumer is through with. `None` if that can't be said now.
    async fn done(&self, keeps: &Keeps) -> anyhow::Result<Option<(Stream, u64)>> {
        let js = self.bus.jetstream();
        let sweeper: PullConsumer =
            js.get_consumer_from_stream(subject::sweeper_consumer(self.domain), "ADVISORY").await?;
        let advisories = sweeper.cached_info();
        if advisories.num_pending > 0 || advisories.num_ack_pending > 0 {
            // What the server gave up on holds no floor back, and has to be read from the stream yet.
            return Ok(None);
        }
        let stream = js.get_stream(subject::command_stream(self.domain)).await?;
        let last = stream.cached_info().state.last_sequence;
        let consumers: Vec<_> = stream.consumers().try_collect().await?;
        if let Some(gone) = keeps.all.iter().find(|name| !consumers.iter().any(|consumer| consumer.name == **name)) {
            // What it had not read looks like done to everybody else.
            tracing::warn!(
                domain = self.domain,
                consumer = gone,
                "nothing is trimmed while a consumer is gone; run `omnibus bus apply`"
            );
            return Ok(None);
        }
        let floor = consumers.iter().map(|consumer| {
            // The server moves a floor only with an acknowledgement: a lane that nobody uses stands at the beginning
            // for ever, though it is through with everything. What it was given up on, it has not acknowledged.
            let idle = consumer.num_pending == 0
                && consumer.num_ack_pending == 0
                && consumer.ack_floor.consumer_sequence == consumer.delivered.consumer_sequence;
            if idle { last } else { consumer.ack_floor.stream_sequence }
        });
        Ok(floor.min().map(|floor| (stream, floor)))
    }

    /// Purges done commands of any age if the stream is about to refuse new ones.
    async fn relieve(&self, keeps: &Keeps) -> anyhow::Result<()> {
        let stream = self.bus.jetstream().get_stream(subject::command_stream(self.domain)).await?;
        let info = stream.cached_info();
        let share = |used: u64, limit: i64| if limit > 0 { used as f64 / limit as f64 } else { 0.0 };
        let full =
            share(info.state.bytes, info.config.max_bytes).max(share(info.state.messages, info.config.max_messages));
        if full < CROWDED {
            return Ok(());
        }
        let Some((stream, floor)) = self.done(keeps).await? else { return Ok(()) };
        let surplus = (info.state.messages as f64 * (1.0 - RELIEVED / full)).ceil() as u64;
        let purged = purge(&stream, (info.state.first_sequence + surplus).min(floor + 1)).await?;
        tracing::warn!(domain = self.domain, full, purged, "the command stream runs full: trimmed done commands early");
        Ok(())
    }

    /// Purges the domain's command stream up to the last message that every consumer is through with and that is older
    /// than `before`.
    async fn trim_stream(&self, before: DateTime<Utc>, keeps: &Keeps) -> anyhow::Result<()> {
        let Some((stream, floor)) = self.done(keeps).await? else { return Ok(()) };
        let (mut low, mut high) = (stream.cached_info().state.first_sequence, floor + 1);
        // The first message at or above `low` that must stay; sequences have gaps, so each probe asks for "at or above".
        while low < high {
            let middle = low + (high - low) / 2;
            match stream.get_first_raw_message_by_subject(">", middle).await {
                Ok(message) => {
                    let nanos = message.time.unix_timestamp_nanos();
                    let old = i64::try_from(nanos).is_ok_and(|nanos| DateTime::from_timestamp_nanos(nanos) < before);
                    match old && message.sequence < high {
                        true => low = message.sequence + 1,
                        false => high = middle,
                    }
                }
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => high = middle,
                Err(error) => return Err(error.into()),
            }
        }
        let purged = purge(&stream, low).await?;
        if purged > 0 {
            tracing::info!(domain = self.domain, purged, "trimmed done commands");
        }
        Ok(())
    }
}

/// Purges what stands below `sequence`; returns how many messages that were.
async fn purge(stream: &Stream, sequence: u64) -> anyhow::Result<u64> {
    match sequence > stream.cached_info().state.first_sequence {
        true => Ok(stream.purge().sequence(sequence).await?.purged),
        false => Ok(0),
    }
}
