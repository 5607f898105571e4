//! From a catalogue to everything the bus needs.

use std::collections::BTreeMap;
use std::time::Duration;

use omnibus_schemas::bucket::{Bucket, UPLOADS};
use omnibus_schemas::catalogue::Domain;
use omnibus_schemas::{Catalogue, subject};

use crate::permissions::{self, UserSpec};
use crate::settings::Settings;
use crate::spec::{
    BucketSpec, ConsumerSpec, Discard, KEEP_DONE_SECONDS, RepublishSpec, Retention, SourceSpec, Storage, StreamSpec,
    SubjectTransform,
};

/// The bucket of API keys, by the hash of the secret.
pub const BUCKET_KEYS: &str = "keys";
/// The bucket of body hashes, by the command id that an `Idempotency-Key` makes.
pub const BUCKET_IDEMPOTENCY: &str = "idempotency";
/// The bucket of tickets that were used, by their id.
pub const BUCKET_TICKETS: &str = "tickets";
/// The stream of logs that people's clients follow.
pub const ROOMS: &str = "ROOMS";
/// The stream of each log's last entry.
pub const ROOM_HEADS: &str = "ROOM_HEADS";
/// Prefix of the advisories that say a message was delivered `max_deliver` times; stream and consumer follow.
pub const MAX_DELIVERIES: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES";

/// A ticket is good for less.
const KEEP_TICKETS: Duration = Duration::from_secs(5 * 60);
/// Longer than a worker usually takes to come back.
const ROOMS_DUPLICATES: Duration = Duration::from_secs(10 * 60);
/// So long does whoever saw a log's last entry know that it missed nothing, when the log itself has forgotten that entry.
/// Without an end, every log that was ever written to would be one message for ever.
const HEADS_MAX_AGE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Advisories are small; a sweeper that is away longer than this is not coming back.
const ADVISORY_MAX_AGE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// So long a record waits at most for what a reader that is gone had in hand.
const LOG_ACK_WAIT: Duration = Duration::from_secs(5);

/// Everything on the bus, in the order in which it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// `SCHEDULE`, `EVT`, `DLQ`, `ADVISORY`, `ROOMS` and `ROOM_HEADS` if a domain writes logs, and a `CMD_` stream per domain.
    pub streams: Vec<StreamSpec>,
    /// Per domain: its lanes, its reactions, its record of all the others, its sweeper.
    pub consumers: Vec<ConsumerSpec>,
    /// Buckets of values and of files.
    pub buckets: Vec<BucketSpec>,
    /// Who may connect, and what they may do.
    pub users: Vec<UserSpec>,
}

impl Topology {
    /// What `catalogue` needs under `settings`.
    ///
    /// # Panics
    /// If two domains would share a stream or a user (`a-b` and `a_b`), or a domain has a door's name.
    pub fn of(catalogue: &Catalogue, settings: &Settings) -> Self {
        let domains = catalogue.domains();
        let mut streams = vec![schedule(settings), events(settings), dead_letters(settings), advisories(settings)];
        if domains.iter().any(|domain| domain.posts) {
            streams.extend([rooms(settings), room_heads(settings)]);
        }
        streams.extend(domains.iter().map(|domain| commands(domain, settings)));
        let consumers: Vec<_> = domains.iter().flat_map(|domain| domain_consumers(domain, domains, settings)).collect();
        let buckets = buckets(catalogue, settings);
        let users = permissions::users(catalogue, settings, &streams, &consumers);

        let mut names: Vec<_> = streams.iter().map(|s| &s.name).chain(users.iter().map(|u| &u.name)).collect();
        names.sort_unstable();
        let mut held: Vec<_> = buckets.iter().map(|bucket| &bucket.name).collect();
        held.sort_unstable();
        assert!(held.windows(2).all(|pair| pair[0] != pair[1]), "a domain's bucket has the name of another: {held:?}");
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            panic!("two domains, or a domain and a door, share the name {}", twice[0]);
        }
        Topology { streams, consumers, buckets, users }
    }

    /// The consumer of a lane.
    pub fn lane(&self, domain: &str, lane: &str) -> Option<&ConsumerSpec> {
        self.consumer(&subject::command_stream(domain), &subject::lane_consumer(domain, lane))
    }

    /// The consumer of a domain's reactions, if it reacts to anything.
    pub fn reacts(&self, domain: &str) -> Option<&ConsumerSpec> {
        self.consumer("EVT", &subject::reacts_consumer(domain))
    }

    /// The consumers of a domain that keeps a record: one of each stream of commands, and one of the events.
    pub fn logs<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a ConsumerSpec> {
        let name = subject::log_consumer(domain);
        self.consumers_of(domain).filter(move |consumer| consumer.durable_name == name)
    }

    /// The consumer of a domain's sweeper.
    pub fn sweeper(&self, domain: &str) -> Option<&ConsumerSpec> {
        self.consumer("ADVISORY", &subject::sweeper_consumer(domain))
    }

    /// Every consumer that a domain's worker reads.
    pub fn consumers_of<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a ConsumerSpec> {
        self.consumers.iter().filter(move |consumer| consumer.domain == domain)
    }

    /// A user.
    pub fn user(&self, name: &str) -> Option<&UserSpec> {
        self.users.iter().find(|user| user.name == name)
    }

    fn consumer(&self, stream: &str, name: &str) -> Option<&ConsumerSpec> {
        self.consumers.iter().find(|consumer| consumer.stream == stream && consumer.durable_name == name)
    }
}

/// A stream without limits; each kind states what it adds.
fn stream(name: &str, description: &str, subjects: &[&str], settings: &Settings) -> StreamSpec {
    StreamSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
        retention: Retention::Limits,
        storage: Storage::File,
        discard: Discard::Old,
        max_msgs: -1,
        max_bytes: -1,
        max_msgs_per_subject: -1,
        max_age: Duration::ZERO,
        duplicate_window: settings.duplicate_window,
        num_replicas: settings.replicas,
        allow_direct: true,
        allow_atomic_publish: false,
        allow_message_schedules: false,
        allow_rollup_hdrs: false,
        allow_msg_ttl: false,
        subject_delete_marker_ttl: Duration::ZERO,
        deny_delete: false,
        sources: Vec::new(),
        republish: None,
        metadata: BTreeMap::new(),
    }
}

fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Commands of one domain. A full queue pushes back, and there is no `max_age`: age says nothing of what is still unread.
///
/// The stream has its lanes' subjects and no others: what is published into a lane that nobody consumes gets no PubAck,
/// instead of lying there undecided.
fn commands(domain: &Domain, settings: &Settings) -> StreamSpec {
    let name = subject::command_stream(domain.name);
    let subjects: Vec<_> = domain.lanes().iter().map(|lane| lane_subjects(domain.name, lane)).collect();
    StreamSpec {
        discard: Discard::New,
        max_bytes: bytes(settings.cmd_max_bytes),
        max_msgs: settings.cmd_max_msgs.map_or(-1, bytes),
        allow_atomic_publish: true,
        // Schedules can't live in a stream that discards what is new, so they fire next door.
        sources: vec![SourceSpec {
            name: "SCHEDULE".to_owned(),
            subject_transforms: subjects
                .iter()
                .map(|subjects| SubjectTransform { src: subject::due(subjects), dest: subjects.clone() })
                .collect(),
        }],
        metadata: [(KEEP_DONE_SECONDS.to_owned(), settings.keep_done.as_secs().to_string())].into(),
        ..stream(
            &name,
            &format!("Commands of {}", domain.name),
            &subjects.iter().map(String::as_str).collect::<Vec<_>>(),
            settings,
        )
    }
}

/// `cmd.<domain>.<lane>.>`
fn lane_subjects(domain: &str, lane: &str) -> String {
    format!("cmd.{domain}.{lane}.>")
}

fn schedule(settings: &Settings) -> StreamSpec {
    StreamSpec {
        retention: Retention::WorkQueue,
        allow_message_schedules: true,
        // The server switches it on with schedules: a cron schedule replaces what it fired before.
        allow_rollup_hdrs: true,
        ..stream("SCHEDULE", "Commands that wait for their time", &["sched.>"], settings)
    }
}

fn events(settings: &Settings) -> StreamSpec {
    StreamSpec {
        max_age: settings.evt_max_age,
        max_bytes: bytes(settings.evt_max_bytes),
        allow_atomic_publish: true,
        ..stream("EVT", "What happened", &["evt.>"], settings)
    }
}

/// What people's clients follow, and recover from. The server repeats each entry on the channel's live subject with its
/// sequence and that of the entry before it, so whoever listens there knows whether something is missing.
fn rooms(settings: &Settings) -> StreamSpec {
    StreamSpec {
        max_age: settings.rooms_max_age,
        max_bytes: bytes(settings.rooms_max_bytes),
        max_msgs_per_subject: settings.rooms_max_entries.into(),
        // A worker that died between storing an entry and noting that it did stores it again when it is back.
        duplicate_window: settings.duplicate_window.max(ROOMS_DUPLICATES).min(settings.rooms_max_age),
        republish: Some(RepublishSpec {
            src: "rooms.*.*.*".to_owned(),
            dest: "live.{{wildcard(3)}}.{{wildcard(1)}}.{{wildcard(2)}}".to_owned(),
        }),
        ..stream(ROOMS, "Logs that people's clients follow", &["rooms.>"], settings)
    }
}

/// The last entry of each log, kept when the log itself has forgotten it: whoever has seen that one has missed nothing.
fn room_heads(settings: &Settings) -> StreamSpec {
    StreamSpec {
        max_msgs_per_subject: 1,
        max_age: settings.rooms_max_age.max(HEADS_MAX_AGE),
        sources: vec![SourceSpec { name: ROOMS.to_owned(), subject_transforms: Vec::new() }],
        ..stream(ROOM_HEADS, "The last entry of each log", &[], settings)
    }
}

/// Refuses when it is full: a dead letter that pushed out an older one would be a loss without a word.
fn dead_letters(settings: &Settings) -> StreamSpec {
    StreamSpec {
        discard: Discard::New,
        max_bytes: bytes(settings.dlq_max_bytes),
        ..stream("DLQ", "What could not be done, with why", &["dlq.>"], settings)
    }
}

/// The server sends these once, to whoever listens; a stream always listens.
fn advisories(settings: &Settings) -> StreamSpec {
    StreamSpec {
        max_age: ADVISORY_MAX_AGE,
        ..stream(
            "ADVISORY",
            "Messages the server gave up on, for the sweepers",
            &[&format!("{MAX_DELIVERIES}.>")],
            settings,
        )
    }
}

fn buckets(catalogue: &Catalogue, settings: &Settings) -> Vec<BucketSpec> {
    let ours = [
        Bucket::values(BUCKET_KEYS, "API keys, by the hash of their secret"),
        Bucket::values(BUCKET_IDEMPOTENCY, "Hashes of bodies, by Idempotency-Key").max_age(settings.keep_idempotency),
        Bucket::values(BUCKET_TICKETS, "Tickets that were used, by their id").max_age(KEEP_TICKETS),
        Bucket::objects(UPLOADS, "Files that callers brought, by tenant").max_age(settings.keep_uploads),
    ];
    let spec = |bucket: &Bucket| BucketSpec {
        name: bucket.name.to_owned(),
        kind: bucket.kind,
        description: bucket.description.to_owned(),
        history: 1,
        max_age: bucket.max_age,
        expiring: bucket.expiring,
        num_replicas: settings.replicas,
    };
    ours.iter().chain(catalogue.buckets()).map(spec).collect()
}

fn domain_consumers(domain: &Domain, all: &[Domain], settings: &Settings) -> Vec<ConsumerSpec> {
    let name = domain.name;
    let commands = subject::command_stream(name);
    let consumer = |stream: &str, durable_name: String, description: String, filter_subjects: Vec<String>| {
        ConsumerSpec {
            domain: name.to_owned(),
            stream: stream.to_owned(),
            durable_name,
            description,
            filter_subjects,
            // From the beginning of what is kept: a lane made after its first command must not miss it.
            deliver_policy: "all",
            ack_policy: "explicit",
            replay_policy: "instant",
            ack_wait: settings.ack_wait,
            max_deliver: i64::from(settings.max_deliver),
            max_ack_pending: settings.max_ack_pending,
            backoff: (),
        }
    };

    let mut consumers: Vec<_> = domain
        .lanes()
        .into_iter()
        .map(|lane| {
            let filter = lane_subjects(name, lane);
            consumer(&commands, subject::lane_consumer(name, lane), format!("Lane {lane} of {name}"), vec![filter])
        })
        .collect();
    let mut given_up = vec![format!("{MAX_DELIVERIES}.{commands}.>")];
    if !domain.reacts.is_empty() {
        let mut filters: Vec<_> = domain.reacts.iter().map(|(of, event)| subject::event(of, event, "*")).collect();
        filters.sort();
        filters.dedup();
        let reacts = subject::reacts_consumer(name);
        given_up.push(format!("{MAX_DELIVERIES}.EVT.{reacts}"));
        consumers.push(consumer("EVT", reacts, format!("Events that {name} acts upon"), filters));
    }
    if domain.records {
        let log = |stream: &str, filters: Vec<String>| {
            let recorded = format!("What {name} keeps a record of");
            let log = consumer(stream, subject::log_consumer(name), recorded, filters);
            // A record has no net beneath it either. It waits for what was out with a reader that is gone, since it keeps the
            // order, and what comes again too soon does it no harm.
            ConsumerSpec { max_deliver: -1, ack_wait: log.ack_wait.min(LOG_ACK_WAIT), ..log }
        };
        consumers.extend(all.iter().map(|of| {
            let filters = of.lanes().iter().map(|lane| lane_subjects(of.name, lane)).collect();
            log(&subject::command_stream(of.name), filters)
        }));
        // What it says itself is not among what it reads: that would be a loop.
        let others = all.iter().filter(|of| of.name != name).map(|of| format!("evt.{}.>", of.name));
        consumers.push(log("EVT", others.collect()));
    }
    let sweeper = consumer(
        "ADVISORY",
        subject::sweeper_consumer(name),
        format!("What the server gave up on for {name}"),
        given_up,
    );
    // The last net has none beneath it: it never gives up.
    consumers.push(ConsumerSpec { max_deliver: -1, ..sweeper });
    consumers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "share the name CMD_A_B")]
    fn two_domains_never_share_a_stream() {
        let catalogue = Catalogue::new(vec![Domain::new("a-b", "One"), Domain::new("a_b", "Two")]);
        Topology::of(&catalogue, &Settings::default());
    }

    #[test]
    #[should_panic(expected = "share the name operator")]
    fn no_domain_has_the_name_of_another_user() {
        Topology::of(&Catalogue::new(vec![Domain::new("operator", "Me")]), &Settings::default());
    }

    #[test]
    fn a_command_stream_takes_what_a_lane_consumes_and_nothing_else() {
        let topology = Topology::of(&Catalogue::omnibus(), &Settings::default());
        for stream in topology.streams.iter().filter(|stream| stream.name.starts_with("CMD_")) {
            let log = subject::log_consumer("auditor");
            let (logs, consumers): (Vec<_>, Vec<_>) = topology
                .consumers
                .iter()
                .filter(|consumer| consumer.stream == stream.name)
                .partition(|consumer| consumer.durable_name == log);
            assert_eq!(logs.iter().map(|log| log.filter_subjects.len()).sum::<usize>(), consumers.len());
            let consumers = consumers.into_iter();
            let mut consumed: Vec<_> = consumers.flat_map(|consumer| consumer.filter_subjects.clone()).collect();
            let mut taken = stream.subjects.clone();
            consumed.sort();
            taken.sort();
            assert_eq!(taken, consumed, "{}", stream.name);
        }
    }

    #[test]
    fn the_last_entry_of_a_log_is_kept_longer_than_the_log_and_not_for_ever() {
        let age = |name: &str, settings: &Settings| {
            let topology = Topology::of(&Catalogue::omnibus(), settings);
            topology.streams.iter().find(|stream| stream.name == name).unwrap().max_age
        };
        let long = Settings { rooms_max_age: 2 * HEADS_MAX_AGE, ..Settings::default() };
        for settings in [Settings::default(), long] {
            assert!(age(ROOM_HEADS, &settings) >= age(ROOMS, &settings));
            assert!(!age(ROOM_HEADS, &settings).is_zero());
        }
    }

    #[test]
    fn the_last_net_never_gives_up() {
        let topology = Topology::of(&Catalogue::omnibus(), &Settings::default());
        let sweepers: Vec<_> = topology.consumers.iter().filter(|consumer| consumer.stream == "ADVISORY").collect();
        assert_eq!(sweepers.len(), Catalogue::omnibus().domains().len());
        assert!(sweepers.iter().all(|consumer| consumer.max_deliver == -1));
    }

    #[test]
    fn the_record_has_every_command_and_every_event_but_what_its_keeper_says() {
        let topology = Topology::of(&Catalogue::omnibus(), &Settings::default());
        let logs: Vec<_> = topology.consumers.iter().filter(|c| c.durable_name == "auditor_log").collect();
        assert_eq!(logs.len(), Catalogue::omnibus().domains().len() + 1);
        assert!(logs.iter().all(|log| log.max_deliver == -1 && log.domain == "auditor"));
        let events = logs.iter().find(|log| log.stream == "EVT").unwrap();
        for domain in Catalogue::omnibus().domains() {
            let told = subject::event(domain.name, "anything", "acme");
            let read = events.filter_subjects.iter().any(|filter| crate::subjects::overlap(filter, &told));
            assert_eq!(read, domain.name != "auditor", "{}", domain.name);
        }
    }

    #[test]
    fn command_streams_never_forget_by_age_and_no_filters_overlap() {
        let topology = Topology::of(&Catalogue::omnibus(), &Settings::default());
        let commands: Vec<_> = topology.streams.iter().filter(|stream| stream.name.starts_with("CMD_")).collect();
        assert_eq!(commands.len(), Catalogue::omnibus().domains().len());
        assert!(commands.iter().all(|stream| stream.max_age.is_zero() && stream.discard == Discard::New));
        for consumer in &topology.consumers {
            for (n, a) in consumer.filter_subjects.iter().enumerate() {
                let mut others = consumer.filter_subjects[n + 1..].iter();
                assert!(!others.any(|b| crate::subjects::overlap(a, b)), "{}", consumer.durable_name);
            }
        }
    }
}
