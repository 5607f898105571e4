//! Who may connect, and the least that each must be allowed.
//!
//! Every set is tried against a real server by this crate's tests, in both directions. What a permission can't
//! express is said where it is granted.

use omnibus_schemas::bucket::{Bucket, Kind, UPLOADS};
use omnibus_schemas::catalogue::Domain;
use omnibus_schemas::{Catalogue, subject};
use serde::Serialize;

use crate::settings::{Settings, TenantUser};
use crate::spec::{ConsumerSpec, StreamSpec};
use crate::topology::{BUCKET_IDEMPOTENCY, BUCKET_KEYS, BUCKET_TICKETS, ROOM_HEADS, ROOMS};

/// NATS accounts: worlds that don't hear each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Account {
    /// Everything of ours.
    #[serde(rename = "OMNIBUS")]
    Omnibus,
    /// The server's own: advisories about servers and connections, used by operators.
    #[serde(rename = "SYS")]
    System,
}

impl Account {
    /// As the server's configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Account::Omnibus => "OMNIBUS",
            Account::System => "SYS",
        }
    }
}

/// A user of the bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserSpec {
    /// A domain's name for its worker, `ingest`, `fanout`, `operator`, `sys`, `tenant_<id>`.
    pub name: String,
    /// Where it lives.
    pub account: Account,
    /// What it may do; `None` for everything in its account.
    pub permissions: Option<Permissions>,
}

/// Subjects, wildcards allowed, sorted. What is not listed is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    /// May be published to.
    pub publish: Vec<String>,
    /// May be subscribed to.
    pub subscribe: Vec<String>,
    /// May answer, once and within a minute, whoever sent it a request.
    pub allow_responses: bool,
}

impl UserSpec {
    /// Prefix of its private inbox, for `ConnectOptions::custom_inbox_prefix`.
    pub fn inbox_prefix(&self) -> String {
        inbox_prefix(&self.name)
    }
}

/// Prefix of a user's private inbox: `_INBOX_mailer`. One for all would let everybody read everybody's answers.
pub fn inbox_prefix(user: &str) -> String {
    format!("_INBOX_{user}")
}

/// The bus user of a tenant: `tenant_acme`.
pub fn tenant_user(tenant: &str) -> String {
    format!("tenant_{tenant}")
}

pub(crate) fn users(
    catalogue: &Catalogue,
    settings: &Settings,
    streams: &[StreamSpec],
    consumers: &[ConsumerSpec],
) -> Vec<UserSpec> {
    let everything = |name: &str, account| UserSpec { name: name.to_owned(), account, permissions: None };
    let within = |name: String, grants: Grants| UserSpec {
        account: Account::Omnibus,
        permissions: Some(grants.finished(&name)),
        name,
    };
    let mut users = vec![
        everything("sys", Account::System),
        everything("operator", Account::Omnibus),
        within("ingest".to_owned(), ingest(catalogue, streams)),
    ];
    if let Some(domain) = catalogue.domains().iter().find(|domain| domain.posts) {
        users.push(within("fanout".to_owned(), fanout(catalogue, domain)));
    }
    users.extend(
        catalogue.domains().iter().map(|domain| within(domain.name.to_owned(), worker(catalogue, domain, consumers))),
    );
    users.extend(
        settings.tenants.iter().map(|tenant| within(tenant_user(tenant.tenant.as_str()), publisher(catalogue, tenant))),
    );
    users
}

/// The door's own bucket of files.
fn uploads() -> Bucket {
    Bucket::objects(UPLOADS, "")
}

#[derive(Default)]
struct Grants {
    publish: Vec<String>,
    subscribe: Vec<String>,
    allow_responses: bool,
}

impl Grants {
    fn publish(&mut self, subject: impl Into<String>) {
        self.publish.push(subject.into());
    }

    fn subscribe(&mut self, subject: impl Into<String>) {
        self.subscribe.push(subject.into());
    }

    fn api(&mut self, call: impl AsRef<str>) {
        self.publish(format!("$JS.API.{}", call.as_ref()));
    }

    /// Single messages of a stream, by number or last of a subject.
    fn read_messages(&mut self, stream: &str) {
        self.api(format!("STREAM.MSG.GET.{stream}"));
        self.api(format!("DIRECT.GET.{stream}"));
        self.api(format!("DIRECT.GET.{stream}.>"));
    }

    /// A pull consumer. Acknowledgements in both formats: the second becomes the server's default in 2.16.
    fn consume(&mut self, stream: &str, consumer: &str) {
        self.api(format!("CONSUMER.INFO.{stream}.{consumer}"));
        self.api(format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"));
        self.publish(format!("$JS.ACK.{stream}.{consumer}.>"));
        self.publish(format!("$JS.ACK.*.*.{stream}.{consumer}.>"));
    }

    /// A bucket that is read and followed.
    fn read_bucket(&mut self, bucket: &Bucket) {
        let stream = bucket.stream();
        let subjects = match bucket.kind {
            Kind::Values => format!("$KV.{}.>", bucket.name),
            Kind::Objects => format!("$O.{}.>", bucket.name),
        };
        self.watch(&stream, &subjects);
    }

    /// A bucket of one's own. What is overwritten or removed is purged by the client; a purge can't be held to a subject.
    fn write_bucket(&mut self, bucket: &Bucket) {
        self.read_bucket(bucket);
        match bucket.kind {
            Kind::Values => self.publish(format!("$KV.{}.>", bucket.name)),
            Kind::Objects => {
                self.publish(format!("$O.{}.>", bucket.name));
                self.api(format!("STREAM.PURGE.{}", bucket.stream()));
            }
        }
    }

    /// A stream that is read and watched. A watch is an ordered consumer with flow control; some clients name it, some
    /// leave that to the server.
    fn watch(&mut self, stream: &str, subjects: &str) {
        self.api(format!("STREAM.INFO.{stream}"));
        self.read_messages(stream);
        self.api(format!("CONSUMER.CREATE.{stream}"));
        self.api(format!("CONSUMER.CREATE.{stream}.*.{subjects}"));
        self.api(format!("CONSUMER.INFO.{stream}.*"));
        self.api(format!("CONSUMER.DELETE.{stream}.*"));
        self.publish(format!("$JS.FC.{stream}.>"));
        self.publish(format!("$JS.FC.*.*.{stream}.>"));
    }

    fn finished(mut self, user: &str) -> Permissions {
        self.subscribe(format!("{}.>", inbox_prefix(user)));
        for subjects in [&mut self.publish, &mut self.subscribe] {
            subjects.sort();
            subjects.dedup();
        }
        Permissions { publish: self.publish, subscribe: self.subscribe, allow_responses: self.allow_responses }
    }
}

/// One domain's worker: its own commands, events, dead letters and queries.
fn worker(catalogue: &Catalogue, domain: &Domain, consumers: &[ConsumerSpec]) -> Grants {
    let name = domain.name;
    let stream = subject::command_stream(name);
    let mut may = Grants { allow_responses: true, ..Grants::default() };

    for kind in ["evt", "dlq", "cmd"] {
        may.publish(format!("{kind}.{name}.>"));
    }
    // The target of a schedule is a header, so no permission reaches it; nor the filter of a purge, which is a body.
    may.publish("sched.at.>");
    may.api("STREAM.PURGE.SCHEDULE");

    for consumer in consumers.iter().filter(|consumer| consumer.domain == name) {
        may.consume(&consumer.stream, &consumer.durable_name);
    }

    // The trimmer asks for sizes and ack floors and purges below; the sweeper reads what an advisory names, and takes it
    // out once it is accounted for.
    may.api(format!("STREAM.INFO.{stream}"));
    may.api(format!("CONSUMER.LIST.{stream}"));
    may.api(format!("STREAM.PURGE.{stream}"));
    may.api(format!("STREAM.MSG.DELETE.{stream}"));
    may.read_messages(&stream);
    if !domain.reacts.is_empty() {
        may.read_messages("EVT");
    }
    if domain.posts {
        may.publish("rooms.>");
    }

    for bucket in &domain.owns {
        may.write_bucket(bucket);
    }
    for bucket in domain.reads.iter().filter_map(|name| catalogue.bucket(name)) {
        may.read_bucket(bucket);
    }
    if domain.commands.iter().any(|command| command.upload.is_some()) {
        may.read_bucket(&uploads());
    }
    // Whoever keeps the record also watches the age of keys and has them reviewed. The bucket holds their hashes.
    if domain.records {
        may.watch(&format!("KV_{BUCKET_KEYS}"), &format!("$KV.{BUCKET_KEYS}.>"));
    }

    may.subscribe(format!("qry.{name}.>"));
    for verb in ["PING", "INFO", "STATS"] {
        may.subscribe(format!("$SRV.{verb}"));
        may.subscribe(format!("$SRV.{verb}.{name}"));
        may.subscribe(format!("$SRV.{verb}.{name}.*"));
    }
    may
}

/// The HTTP door: every command and query of the catalogue for every tenant, and events to wait for.
fn ingest(catalogue: &Catalogue, streams: &[StreamSpec]) -> Grants {
    let mut may = Grants::default();
    for command in catalogue.commands() {
        may.publish(command.subject("*"));
    }
    for query in catalogue.queries() {
        may.publish(query.subject());
    }
    for hook in catalogue.hooks() {
        may.publish(hook.subject());
    }
    may.subscribe("evt.>");

    // How many wait in a lane that may be shed.
    for command in catalogue.commands().filter(|command| command.http.is_some() && command.lane != subject::BULK) {
        let (stream, consumer) =
            (subject::command_stream(command.domain), subject::lane_consumer(command.domain, command.lane));
        may.api(format!("CONSUMER.INFO.{stream}.{consumer}"));
    }

    // Files that callers bring; files that a domain has the door hand out, and values that it needs itself.
    may.write_bucket(&uploads());
    for bucket in catalogue.buckets().filter(|bucket| bucket.doors) {
        may.read_bucket(bucket);
    }

    // Readiness: is JetStream there, are the streams.
    may.api("INFO");
    for stream in streams {
        may.api(format!("STREAM.INFO.{}", stream.name));
    }

    may.watch(&format!("KV_{BUCKET_KEYS}"), &format!("$KV.{BUCKET_KEYS}.>"));
    may.api(format!("STREAM.INFO.KV_{BUCKET_IDEMPOTENCY}"));
    may.read_messages(&format!("KV_{BUCKET_IDEMPOTENCY}"));
    may.publish(format!("$KV.{BUCKET_IDEMPOTENCY}.>"));
    may
}

/// The WebSocket door: what people listen to, and what they say there. `domain` is the one whose logs they follow.
fn fanout(catalogue: &Catalogue, domain: &Domain) -> Grants {
    let mut may = Grants::default();
    // In people's names: what the HTTP door takes of this domain too.
    for command in domain.commands.iter().filter(|command| command.http.is_some()) {
        may.publish(command.subject("*"));
    }
    for query in &domain.queries {
        may.publish(query.subject());
    }
    // How a command ended that was over before somebody listened.
    for of in catalogue.domains() {
        may.publish(subject::query(of.name, "command"));
    }
    // What is never stored, such as that somebody is typing.
    may.publish("live.>");
    may.subscribe("live.>");
    may.subscribe("evt.>");
    for stream in [ROOMS, ROOM_HEADS] {
        may.api(format!("STREAM.INFO.{stream}"));
        may.read_messages(stream);
    }
    // Who is connected. The files that the domain keeps are its worker's alone.
    for bucket in domain.owns.iter().filter(|bucket| bucket.kind == Kind::Values) {
        may.write_bucket(bucket);
    }
    may.watch(&format!("KV_{BUCKET_KEYS}"), &format!("$KV.{BUCKET_KEYS}.>"));
    may.api(format!("STREAM.INFO.KV_{BUCKET_TICKETS}"));
    may.publish(format!("$KV.{BUCKET_TICKETS}.>"));
    may
}

/// A tenant without the door: the commands that the door takes, and its own events, for itself alone. What a worker tells
/// itself is not among them: its handler trusts it.
fn publisher(catalogue: &Catalogue, user: &TenantUser) -> Grants {
    let tenant = user.tenant.as_str();
    let mut may = Grants::default();
    for command in catalogue.commands().filter(|command| command.http.is_some() && user.may(&command.scope)) {
        for name in std::iter::once(&command.name).chain(command.aliases) {
            may.publish(subject::command(command.domain, command.lane, name, tenant));
        }
    }
    may.subscribe(subject::event("*", "*", tenant));
    may
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Topology;

    fn published(user: &str) -> Vec<String> {
        let tenant = TenantUser::of_every_command("acme".parse().unwrap());
        let settings = Settings { tenants: vec![tenant], ..Settings::default() };
        let topology = Topology::of(&Catalogue::omnibus(), &settings);
        topology.user(user).unwrap().permissions.clone().unwrap().publish
    }

    #[test]
    fn a_tenant_says_what_the_door_takes_and_nothing_that_a_worker_tells_itself() {
        let published = published("tenant_acme");
        for command in Catalogue::omnibus().commands() {
            assert_eq!(published.contains(&command.subject("acme")), command.http.is_some(), "{}", command.name);
        }
    }

    #[test]
    fn the_door_for_people_writes_who_is_connected_and_no_file() {
        let published = published("fanout");
        assert!(published.iter().any(|subject| subject == "$KV.presence.>"));
        let files = published.iter().find(|subject| subject.contains("$O.") || subject.contains("OBJ_"));
        assert_eq!(files, None);
    }
}
