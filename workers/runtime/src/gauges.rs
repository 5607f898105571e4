//! What a scaler and an alert want to know of the lanes.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;

use crate::engine::Engine;
use crate::lane::Lane;
use crate::metrics::Metric;

/// Measures how much waits, and for how long, until it is dropped.
pub(crate) async fn measure(engine: Arc<Engine>, lanes: Vec<Arc<Lane>>) {
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    loop {
        tick.tick().await;
        for lane in &lanes {
            let js = engine.bus.jetstream();
            let measured = async {
                let consumer: PullConsumer =
                    js.get_consumer_from_stream(lane.consumer.as_str(), lane.stream.as_str()).await?;
                let info = consumer.cached_info();
                let pending = info.num_pending + info.num_ack_pending as u64;
                let oldest = match pending {
                    0 => None,
                    _ if lane.reaction => None,
                    _ => {
                        let stream = js.get_stream_no_info(&lane.stream).await?;
                        let filter = info.config.filter_subject.clone();
                        let filter = if filter.is_empty() {
                            info.config.filter_subjects.first().cloned().unwrap_or_else(|| ">".into())
                        } else {
                            filter
                        };
                        let next = info.ack_floor.stream_sequence + 1;
                        stream.get_first_raw_message_by_subject(filter.as_str(), next).await.ok()
                    }
                };
                let age = oldest.map_or(0.0, |message| {
                    let since = crate::clock::now().timestamp_millis() as f64 / 1000.0;
                    since - message.time.unix_timestamp_nanos() as f64 / 1e9
                });
                Ok::<_, async_nats::Error>((pending, age))
            };
            if let Ok((pending, age)) = measured.await {
                let labels = [("domain", engine.domain), ("lane", lane.name.as_str())];
                Metric::QueuePending.set(pending as f64, &labels);
                Metric::OldestPendingSeconds.set(age.max(0.0), &labels);
            }
        }
    }
}
