//! Reads a stream from where one likes to its end.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use omnibus_runtime::Bus;

/// A stream that has more to tell does so within this, and the next time within twice as long.
const QUIET: Duration = Duration::from_secs(5);
/// One that has told nothing so many times in a row, and says that there is more, will not tell it.
const IN_VAIN: u32 = 5;

/// What to read of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Listing<'a> {
    pub(crate) stream: &'a str,
    /// Subjects, wildcards allowed, that don't overlap; all if empty.
    pub(crate) subjects: Vec<String>,
    /// From when on; everything if absent.
    pub(crate) since: Option<DateTime<Utc>>,
    /// Leaves the bodies where they are.
    pub(crate) headers_only: bool,
    /// Goes on with what comes, for ever.
    pub(crate) follow: bool,
}

impl<'a> Listing<'a> {
    /// A whole stream.
    pub(crate) fn of(stream: &'a str) -> Self {
        Listing { stream, subjects: vec![], since: None, headers_only: false, follow: false }
    }

    /// Shows every message to `see`, until it has seen enough. `progress` moves along.
    pub(crate) async fn read(
        self,
        bus: &Bus,
        progress: Option<&ProgressBar>,
        mut see: impl FnMut(StreamMessage) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let context = || format!("the stream {} can't be read", self.stream);
        let stream = bus.jetstream().get_stream_no_info(self.stream).await.with_context(context)?;
        let mut from = match self.since {
            None => DeliverPolicy::All,
            Some(since) => {
                let at = async_nats::datetime::from_nanos(i128::from(since.timestamp_micros()) * 1000);
                DeliverPolicy::ByStartTime { start_time: at.map_err(|error| anyhow::anyhow!("{error}"))? }
            }
        };
        let mut consumer = self.consumer(&stream, from).await.with_context(context)?;
        if let Some(progress) = progress {
            progress.inc_length(consumer.cached_info().num_pending);
        }
        let mut in_vain = 0;
        while self.follow || consumer.cached_info().num_pending > 0 {
            let left = consumer.cached_info().num_pending;
            anyhow::ensure!(in_vain < IN_VAIN, "{}: {left} messages are left, and none comes", context());
            in_vain += 1;
            let quiet = if self.follow { Duration::MAX } else { QUIET * in_vain };
            let mut messages = consumer.messages().await.with_context(context)?;
            while let Ok(message) = tokio::time::timeout(quiet, messages.next()).await {
                let Some(message) = message else { return Ok(()) };
                let message = message.with_context(context)?;
                in_vain = 0;
                let info = message.info().map_err(|error| anyhow::anyhow!("{error}")).with_context(context)?;
                let (sequence, time, left) = (info.stream_sequence, info.published, info.pending);
                let message = message.message;
                let (subject, headers) = (message.subject, message.headers.unwrap_or_default());
                let stored = StreamMessage { subject, sequence, headers, payload: message.payload, time };
                if let Some(progress) = progress {
                    progress.inc(1);
                }
                if see(stored).is_break() || (left == 0 && !self.follow) {
                    return Ok(());
                }
                from = DeliverPolicy::ByStartSequence { start_sequence: sequence + 1 };
            }
            // What was left may have gone meanwhile, and then nothing says that it was the end. Another consumer knows.
            consumer = self.consumer(&stream, from).await.with_context(context)?;
        }
        Ok(())
    }

    async fn consumer(&self, stream: &Stream<()>, from: DeliverPolicy) -> anyhow::Result<Consumer<OrderedConfig>> {
        let config = OrderedConfig {
            description: Some("omnibus, the operator's program".to_owned()),
            filter_subjects: self.subjects.clone(),
            headers_only: self.headers_only,
            replay_policy: ReplayPolicy::Instant,
            deliver_policy: from,
            ..Default::default()
        };
        Ok(stream.create_consumer(config).await?)
    }
}

/// A bar for long work, on standard error and at terminals only.
pub(crate) fn progress(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}");
    ProgressBar::new(length)
        .with_style(style.expect("the template is a constant that is well formed"))
        .with_message(what)
}
