//! Streams, consumers and buckets as the JetStream API writes them. What is left out is the server's default and
//! nobody's business; what stands here is compared field by field.

use std::collections::BTreeMap;
use std::time::Duration;

use omnibus_schemas::bucket::Kind;
use serde::{Serialize, Serializer};

/// Key of a command stream's metadata: whole seconds that done commands are kept. The worker's trimmer reads it there.
pub const KEEP_DONE_SECONDS: &str = "omnibus.keep_done_seconds";

/// Long enough for a reader that was away to hear of an expiry when it is back.
const MARKER: Duration = Duration::from_secs(15 * 60);

/// When messages leave a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// By age, size and number.
    Limits,
    /// Once acknowledged.
    WorkQueue,
}

/// What a full stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// Refuses what is new: the publisher hears of it.
    New,
    /// Drops what is oldest.
    Old,
}

/// Where messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On disk.
    File,
}

/// A stream, with the fields of `$JS.API.STREAM.CREATE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamSpec {
    /// Upper case: `CMD_MAILER`.
    pub name: String,
    /// For people who list streams.
    pub description: String,
    /// What it captures.
    pub subjects: Vec<String>,
    /// When messages leave.
    pub retention: Retention,
    /// Where they are kept.
    pub storage: Storage,
    /// What happens when it is full.
    pub discard: Discard,
    /// Most messages; -1 for no limit.
    pub max_msgs: i64,
    /// Largest size in bytes; -1 for no limit.
    pub max_bytes: i64,
    /// Most messages of one subject; -1 for no limit.
    pub max_msgs_per_subject: i64,
    /// Oldest message; zero for no limit. Nanoseconds on the wire.
    #[serde(serialize_with = "nanoseconds")]
    pub max_age: Duration,
    /// How long a `Nats-Msg-Id` is remembered. Nanoseconds on the wire.
    #[serde(serialize_with = "nanoseconds")]
    pub duplicate_window: Duration,
    /// Copies.
    pub num_replicas: u8,
    /// Single messages can be read without a consumer, from any replica.
    pub allow_direct: bool,
    /// Takes batches that are stored whole or not at all.
    #[serde(rename = "allow_atomic")]
    pub allow_atomic_publish: bool,
    /// Messages may carry `Nats-Schedule`.
    #[serde(rename = "allow_msg_schedules")]
    pub allow_message_schedules: bool,
    /// Messages may carry `Nats-Rollup`, which replaces those before.
    pub allow_rollup_hdrs: bool,
    /// Messages may carry `Nats-TTL`.
    pub allow_msg_ttl: bool,
    /// How long the marker lives that tells of an expiry or a purge; zero for no markers. Nanoseconds on the wire.
    #[serde(serialize_with = "nanoseconds")]
    pub subject_delete_marker_ttl: Duration,
    /// Single messages can't be deleted.
    pub deny_delete: bool,
    /// Streams it copies from.
    pub sources: Vec<SourceSpec>,
    /// Where it repeats what it has stored, with the sequence in a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish: Option<RepublishSpec>,
    /// Notes for programs.
    pub metadata: BTreeMap<String, String>,
}

/// Where a stream repeats what it has stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepublishSpec {
    /// What of it.
    pub src: String,
    /// Where to.
    pub dest: String,
}

/// A stream that is copied from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceSpec {
    /// Its name.
    pub name: String,
    /// Which subjects, and what they become; all as they are if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_transforms: Vec<SubjectTransform>,
}

/// What a subject becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubjectTransform {
    /// Matches.
    pub src: String,
    /// Becomes.
    pub dest: String,
}

/// A durable pull consumer, with the fields of `$JS.API.CONSUMER.CREATE`'s `config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsumerSpec {
    /// The domain whose worker reads it. Not part of the configuration on the wire.
    #[serde(skip)]
    pub domain: String,
    /// The stream it reads. Not part of the configuration on the wire.
    #[serde(skip)]
    pub stream: String,
    /// Lower case: `mailer_default`.
    pub durable_name: String,
    /// For people who list consumers.
    pub description: String,
    /// What it reads of the stream; never empty, never overlapping.
    pub filter_subjects: Vec<String>,
    /// Where it starts.
    pub deliver_policy: &'static str,
    /// Every message is acknowledged by itself.
    pub ack_policy: &'static str,
    /// As fast as asked for.
    pub replay_policy: &'static str,
    /// When an unacknowledged message comes again. Nanoseconds on the wire.
    #[serde(serialize_with = "nanoseconds")]
    pub ack_wait: Duration,
    /// After how many deliveries the server gives up and says so in an advisory.
    pub max_deliver: i64,
    /// Most messages out at once.
    pub max_ack_pending: u32,
    /// Delays between deliveries; empty, because workers delay by themselves and the two would add up.
    #[serde(serialize_with = "no_delays")]
    pub backoff: (),
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSpec {
    /// Lower case: `keys`.
    pub name: String,
    /// Values by key, or files.
    pub kind: Kind,
    /// For people who list buckets.
    pub description: String,
    /// Values kept per key: 1 to 64. Of no meaning for files.
    pub history: u8,
    /// How long a value lives; zero for ever.
    pub max_age: Duration,
    /// Values may have a time to live of their own, whose end is told to those who watch.
    pub expiring: bool,
    /// Copies.
    pub num_replicas: u8,
}

impl BucketSpec {
    /// The stream that holds it, configured as every NATS client configures a bucket.
    pub fn stream(&self) -> StreamSpec {
        match self.kind {
            Kind::Values => self.values(),
            Kind::Objects => StreamSpec {
                name: format!("OBJ_{}", self.name),
                subjects: vec![format!("$O.{0}.C.>", self.name), format!("$O.{0}.M.>", self.name)],
                max_msgs_per_subject: -1,
                deny_delete: false,
                ..self.values()
            },
        }
    }

    fn values(&self) -> StreamSpec {
        let two_minutes = Duration::from_secs(120);
        let short_lived = !self.max_age.is_zero() && self.max_age < two_minutes;
        StreamSpec {
            name: format!("KV_{}", self.name),
            description: self.description.clone(),
            subjects: vec![format!("$KV.{}.>", self.name)],
            retention: Retention::Limits,
            storage: Storage::File,
            discard: Discard::New,
            max_msgs: -1,
            max_bytes: -1,
            max_msgs_per_subject: self.history.into(),
            max_age: self.max_age,
            duplicate_window: if short_lived { self.max_age } else { two_minutes },
            num_replicas: self.num_replicas,
            allow_direct: true,
            allow_atomic_publish: false,
            allow_message_schedules: false,
            allow_rollup_hdrs: true,
            allow_msg_ttl: self.expiring,
            subject_delete_marker_ttl: if self.expiring { MARKER } else { Duration::ZERO },
            deny_delete: true,
            sources: Vec::new(),
            republish: None,
            metadata: BTreeMap::new(),
        }
    }
}

fn nanoseconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

fn no_delays<S: Serializer>(_: &(), to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(std::iter::empty::<u64>())
}
