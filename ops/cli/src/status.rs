//! `omnibus status`: the house at a glance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::ConsumerErrorKind;
use clap::Args;
use futures_util::{Stream, StreamExt, stream};
use omnibus_bus::{Settings, Topology};
use omnibus_runtime::{Bus, clock};
use omnibus_schemas::Catalogue;
use serde::{Deserialize, Serialize};

use crate::connect::Connection;
use crate::home::Home;
use crate::query;
use crate::show::{self, Output};

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    connection: Connection,
}

/// A worker that answered. <https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Pong {
    /// The domain.
    pub(crate) name: String,
    /// The process.
    pub(crate) id: String,
    /// Its version.
    pub(crate) version: String,
}

/// For how much longer the first answer is waited for: on a busy machine nobody is quick, and "nobody" is a heavy word.
const FIRST: u32 = 6;

/// Asks who is there. Ends when nobody has answered for `quiet`.
pub(crate) async fn ping(bus: &Bus, quiet: Duration) -> anyhow::Result<impl Stream<Item = Pong>> {
    let inbox = bus.client().new_inbox();
    let answers = bus.client().subscribe(inbox.clone()).await?;
    bus.client().publish_with_reply("$SRV.PING", inbox, "".into()).await?;
    bus.client().flush().await?;
    Ok(stream::unfold((answers, quiet * FIRST), move |(mut answers, patience)| async move {
        loop {
            let message = tokio::time::timeout(patience, answers.next()).await.ok()??;
            // Nobody listens: the server says so with an empty message.
            if let Ok(pong) = serde_json::from_slice::<Pong>(&message.payload) {
                return Some((pong, (answers, quiet)));
            }
        }
    }))
}

/// A consumer that a worker reads.
#[derive(Debug, Serialize)]
struct Lane {
    stream: String,
    consumer: String,
    /// Not yet delivered.
    pending: u64,
    /// Delivered and not yet acknowledged.
    in_flight: usize,
    /// Of those in flight, how many were delivered more than once.
    redelivered: usize,
    /// Seconds since the oldest unfinished message was stored.
    oldest_seconds: Option<i64>,
}

/// A stream's size.
#[derive(Debug, Serialize)]
struct Size {
    stream: String,
    messages: u64,
    bytes: u64,
    /// `None` for no limit.
    max_bytes: Option<u64>,
}

/// Everything at a glance.
#[derive(Debug, Serialize)]
struct Report {
    lanes: Vec<Lane>,
    streams: Vec<Size>,
    workers: Vec<Pong>,
    /// Domains that nobody answers for.
    away: Vec<String>,
    /// `None` if the stream is missing.
    dead_letters: Option<u64>,
    /// `None` if not every worker could be asked.
    held: Option<usize>,
    /// Streams and consumers that are not there.
    missing: Vec<String>,
}

impl Status {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<()> {
        let bus = self.connection.open(home).await?;
        let report = report(&bus).await?;
        match output {
            Output::Json => show::json(&report),
            Output::Table => report.show(),
        }
        Ok(())
    }
}

async fn report(bus: &Bus) -> anyhow::Result<Report> {
    let catalogue = Catalogue::omnibus();
    let topology = Topology::of(&catalogue, &Settings::default());
    let (mut streams, mut lanes, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for spec in &topology.streams {
        let stream = match bus.jetstream().get_stream(&spec.name).await {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(words) if words.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    missing.push(format!("stream {}", spec.name));
                    continue;
                }
                _ => return Err(anyhow::Error::new(error).context(format!("the stream {}", spec.name))),
            },
        };
        let info = stream.cached_info();
        streams.push(Size {
            stream: spec.name.clone(),
            messages: info.state.messages,
            bytes: info.state.bytes,
            max_bytes: u64::try_from(info.config.max_bytes).ok().filter(|max| *max > 0),
        });
    }
    for spec in &topology.consumers {
        match lane(bus, &spec.stream, &spec.durable_name).await? {
            Some(lane) => lanes.push(lane),
            None => missing.push(format!("consumer {} > {}", spec.stream, spec.durable_name)),
        }
    }
    let mut workers: Vec<_> = ping(bus, Duration::from_millis(500)).await?.collect().await;
    workers.sort();
    let here: BTreeSet<_> = workers.iter().map(|worker| worker.name.as_str()).collect();
    let away = catalogue.domains().iter().map(|domain| domain.name).filter(|name| !here.contains(name));
    let away: Vec<_> = away.map(str::to_owned).collect();
    let dead_letters = streams.iter().find(|size| size.stream == "DLQ").map(|size| size.messages);
    let held = match missing.is_empty() && away.is_empty() {
        true => {
            let (held, away) = query::held(bus, None, None).await?;
            away.is_empty().then_some(held.len())
        }
        false => None,
    };
    Ok(Report { lanes, streams, away, workers, dead_letters, held, missing })
}

async fn lane(bus: &Bus, stream: &str, name: &str) -> anyhow::Result<Option<Lane>> {
    let consumer: PullConsumer = match bus.jetstream().get_consumer_from_stream(name, stream).await {
        Ok(consumer) => consumer,
        Err(error) => {
            return match error.kind() {
                ConsumerErrorKind::JetStream(words)
                    if [ErrorCode::STREAM_NOT_FOUND, ErrorCode::CONSUMER_NOT_FOUND].contains(&words.error_code()) =>
                {
                    Ok(None)
                }
                _ => Err(anyhow::Error::new(error).context(format!("the consumer {name} of {stream}"))),
            };
        }
    };
    let info = consumer.cached_info();
    let mut oldest_seconds = None;
    if info.num_pending + info.num_ack_pending as u64 > 0 {
        // The floor is the last message before which everything is done.
        let filters = [info.config.filter_subjects.clone(), vec![info.config.filter_subject.clone()]].concat();
        let of = bus.jetstream().get_stream_no_info(stream).await?;
        for filter in filters.iter().filter(|filter| !filter.is_empty()) {
            let next = of.get_first_raw_message_by_subject(filter, info.ack_floor.stream_sequence + 1).await;
            let age = next.ok().map(|message| clock::now().timestamp() - message.time.unix_timestamp());
            oldest_seconds = oldest_seconds.max(age);
        }
    }
    Ok(Some(Lane {
        stream: stream.to_owned(),
        consumer: name.to_owned(),
        pending: info.num_pending,
        in_flight: info.num_ack_pending,
        redelivered: info.num_redelivered,
        oldest_seconds,
    }))
}

impl Report {
    fn show(&self) {
        show::text(&show::table(
            ["lane", "pending", "in flight", "redelivered", "oldest"],
            self.lanes.iter().map(|lane| {
                [
                    lane.consumer.clone(),
                    lane.pending.to_string(),
                    lane.in_flight.to_string(),
                    lane.redelivered.to_string(),
                    show::or_dash(lane.oldest_seconds.map(show::age)),
                ]
            }),
        ));
        show::text(&show::table(
            ["stream", "messages", "size", "of"],
            self.streams.iter().map(|size| {
                let limit = size
                    .max_bytes
                    .map(|max| format!("{} ({:.1} %)", show::bytes(max), size.bytes as f64 * 100.0 / max as f64));
                [size.stream.clone(), size.messages.to_string(), show::bytes(size.bytes), show::or_dash(limit)]
            }),
        ));
        let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for worker in &self.workers {
            *seen.entry((&worker.name, &worker.version)).or_default() += 1;
        }
        let here = seen.into_iter().map(|((name, version), n)| [name.to_owned(), n.to_string(), version.to_owned()]);
        let away = self.away.iter().map(|name| [name.clone(), "none".to_owned(), "-".to_owned()]);
        show::text(&show::table(["worker", "seen", "version"], here.chain(away)));
        let or_unknown = |count: Option<String>| count.unwrap_or_else(|| "not known".to_owned());
        show::text(&format!(
            "dead letters: {}   held: {}",
            or_unknown(self.dead_letters.map(|count| count.to_string())),
            or_unknown(self.held.map(|count| count.to_string()))
        ));
        for item in &self.missing {
            show::text(&format!("missing: {item}; `omnibus bus apply` makes it"));
        }
    }
}
