//! The names of all metrics, in one place. The raw macros are banned, so a name can't drift.

use std::sync::OnceLock;

use metrics::{Label, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Every metric there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Commands that ended, by `domain`, `command`, `outcome`.
    Commands,
    /// Tries that failed and are repeated, by `domain`, `command`.
    Retries,
    /// Commands put off without spending an attempt, by `domain`, `reason`.
    Snoozes,
    /// Seconds a handler took, by `domain`, `command`.
    HandleSeconds,
    /// Seconds from commit to the last PubAck of a batch, by `domain`.
    EventPublishSeconds,
    /// Commands in a batch, by `domain`, `lane`.
    BatchSize,
    /// Commands waiting in a lane, by `domain`, `lane`.
    QueuePending,
    /// Age of the oldest command that waits in a lane, in seconds, by `domain`, `lane`.
    OldestPendingSeconds,
    /// Dead letters written, by `domain`, `command`, `code`.
    Dlq,
    /// Calls of which it is not known whether they went out, by `domain`, `command`.
    Uncertain,
    /// Effects that ended while their own rows could not be brought into line, by `domain`, `command`.
    Unsettled,
    /// Rows whose events a sweeper published, by `domain`.
    Republished,
    /// HTTP requests, by `route`, `status`.
    HttpRequests,
    /// Seconds an HTTP request took, by `route`.
    HttpSeconds,
    /// Sockets that are open and authenticated.
    Sockets,
    /// Channels that somebody on this node listens to.
    Channels,
    /// Messages handed to sockets.
    Pushed,
    /// Messages thrown away with the queue of a socket that was too slow.
    Dropped,
    /// Bytes waiting in the queues of all sockets.
    QueueBytes,
    /// Sockets that were closed by the door, by `code`.
    SocketsClosed,
    /// Requests to get what was missed, by `result`: `whole` or `not_whole`.
    Recoveries,
    /// Holes that were found in what the bus said live, and filled from its log.
    GapsFilled,
    /// 1 while the part (`postgres`, `nats`) answers.
    Up,
}

impl Metric {
    /// As Prometheus sees it.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::Commands => "omnibus_commands_total",
            Metric::Retries => "omnibus_retries_total",
            Metric::Snoozes => "omnibus_snoozes_total",
            Metric::HandleSeconds => "omnibus_handle_seconds",
            Metric::EventPublishSeconds => "omnibus_event_publish_seconds",
            Metric::BatchSize => "omnibus_batch_size",
            Metric::QueuePending => "omnibus_queue_pending",
            Metric::OldestPendingSeconds => "omnibus_oldest_pending_seconds",
            Metric::Dlq => "omnibus_dlq_total",
            Metric::Uncertain => "omnibus_uncertain_total",
            Metric::Unsettled => "omnibus_unsettled_total",
            Metric::Republished => "omnibus_republished_total",
            Metric::HttpRequests => "omnibus_http_requests_total",
            Metric::HttpSeconds => "omnibus_http_seconds",
            Metric::Sockets => "omnibus_sockets",
            Metric::Channels => "omnibus_channels",
            Metric::Pushed => "omnibus_pushed_total",
            Metric::Dropped => "omnibus_dropped_total",
            Metric::QueueBytes => "omnibus_queue_bytes",
            Metric::SocketsClosed => "omnibus_sockets_closed_total",
            Metric::Recoveries => "omnibus_recoveries_total",
            Metric::GapsFilled => "omnibus_gaps_filled_total",
            Metric::Up => "omnibus_up",
        }
    }

    /// Counts one more.
    pub fn count(self, labels: &[(&'static str, &str)]) {
        self.add(1, labels);
    }

    /// Counts `n` more.
    #[expect(clippy::disallowed_macros, reason = "the single place with raw names")]
    pub fn add(self, n: u64, labels: &[(&'static str, &str)]) {
        metrics::counter!(self.name(), owned(labels)).increment(n);
    }

    /// Observes a duration in seconds, or a size.
    #[expect(clippy::disallowed_macros, reason = "the single place with raw names")]
    pub fn observe(self, value: f64, labels: &[(&'static str, &str)]) {
        metrics::histogram!(self.name(), owned(labels)).record(value);
    }

    /// Sets a gauge.
    #[expect(clippy::disallowed_macros, reason = "the single place with raw names")]
    pub fn set(self, value: f64, labels: &[(&'static str, &str)]) {
        metrics::gauge!(self.name(), owned(labels)).set(value);
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label::new(*name, SharedString::from((*value).to_owned()))).collect()
}

/// The process's metrics in Prometheus's text format. The first call installs the recorder.
pub fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Full(Metric::BatchSize.name().into()), &sizes))
            .expect("the bucket lists are not empty")
            .install_recorder()
            .expect("only this function installs a recorder, once")
    })
}
