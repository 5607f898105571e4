//! The catalogue: every contract, as data. Routes, streams, permissions, schemas and documentation are read off it.
//!
//! A catalogue is a value, so a test can make one of its own; [`Catalogue::omnibus`] is the one in production.

use std::any::type_name;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body::{self, Encoding, Fault};
use crate::bucket::Bucket;
use crate::contract::{Command, Event, Http, Method, Query, Sealed};
use crate::hook::{self, Hook};
use crate::upload::{self, Upload};
use crate::{platform, subject};

/// Everything that is said on the bus.
#[derive(Clone, Debug)]
pub struct Catalogue {
    domains: Vec<Domain>,
}

/// One worker's contracts.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The domain's token: `mailer`.
    pub name: &'static str,
    /// For headings: `Email`.
    pub title: &'static str,
    /// What it takes.
    pub commands: Vec<CommandEntry>,
    /// What it says.
    pub events: Vec<EventEntry>,
    /// What it answers.
    pub queries: Vec<QueryEntry>,
    /// Events of other domains that it acts upon, as (domain, event).
    pub reacts: Vec<(&'static str, &'static str)>,
    /// Plain HTTP that it answers itself.
    pub hooks: Vec<HookEntry>,
    /// Buckets that it writes.
    pub owns: Vec<Bucket>,
    /// Buckets of others that it reads and follows.
    pub reads: Vec<&'static str>,
    /// Does it keep a record of every command and of every other domain's events?
    pub records: bool,
    /// Whether it writes logs that people's clients follow: the stream `ROOMS`.
    pub posts: bool,
}

/// A route with its path written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// With `{name}` where a field of the contract stands.
    pub path: String,
}

impl Route {
    fn of(http: Http, domain: &str) -> Self {
        Route { method: http.method, path: http.path.replace("{domain}", domain) }
    }

    /// The names between braces, in order.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// Reads a body by the contract's rules and writes it again for the bus.
type Accept = fn(Encoding, &[u8]) -> Result<Vec<u8>, Vec<Fault>>;
/// Checks that a stored body is still understood. The version is the one it was written in.
type Understand = fn(u16, Encoding, &[u8]) -> Result<Value, Vec<Fault>>;

/// A [`Command`] as data.
#[derive(Clone, Debug)]
pub struct CommandEntry {
    /// [`Command::DOMAIN`].
    pub domain: &'static str,
    /// [`Command::NAME`].
    pub name: &'static str,
    /// [`Command::VERSION`].
    pub version: u16,
    /// [`Command::LANE`].
    pub lane: &'static str,
    /// [`Command::HTTP`].
    pub http: Option<Route>,
    /// [`Command::SCOPE`].
    pub scope: String,
    /// [`Command::STATUS`], with `{id}` for the command's id.
    pub status: String,
    /// [`Command::UPLOAD`].
    pub upload: Option<Upload>,
    /// [`Command::SEALED`].
    pub sealed: Option<Sealed>,
    /// [`Command::ALIASES`].
    pub aliases: &'static [&'static str],
    /// JSON Schema (2020-12) of the payload.
    pub schema: fn() -> Schema,
    /// [`Command::example`].
    pub example: fn() -> Value,
    /// The door's reading: unknown fields refused, MessagePack out.
    pub accept: Accept,
    /// The worker's reading, for compatibility tests.
    pub understand: Understand,
}

/// An [`Event`] as data.
#[derive(Clone, Debug)]
pub struct EventEntry {
    /// The domain that says it.
    pub domain: &'static str,
    /// [`Event::NAME`].
    pub name: &'static str,
    /// [`Event::VERSION`].
    pub version: u16,
    /// JSON Schema of the payload.
    pub schema: fn() -> Schema,
    /// [`Event::example`].
    pub example: fn() -> Value,
    /// A reader's reading, for compatibility tests.
    pub understand: Understand,
}

/// A [`Query`] as data.
#[derive(Clone, Debug)]
pub struct QueryEntry {
    /// The domain that answers.
    pub domain: &'static str,
    /// [`Query::NAME`].
    pub name: &'static str,
    /// [`Query::HTTP`].
    pub http: Option<Route>,
    /// [`Query::SCOPE`].
    pub scope: String,
    /// [`Query::SHEET`].
    pub sheet: bool,
    /// [`Query::PAGE`].
    pub page: bool,
    /// JSON Schema of the request.
    pub schema: fn() -> Schema,
    /// JSON Schema of the answer.
    pub answer: fn() -> Schema,
    /// [`Query::example`].
    pub example: fn() -> Value,
    /// The door's reading: unknown fields refused, JSON in and out.
    pub accept: Accept,
}

/// A [`Hook`] as data.
#[derive(Clone, Debug)]
pub struct HookEntry {
    /// The domain that answers.
    pub domain: &'static str,
    /// [`Hook::NAME`].
    pub name: &'static str,
    /// [`Hook::HTTP`].
    pub http: Route,
    /// [`Hook::HEADERS`].
    pub headers: &'static [&'static str],
    /// [`Hook::MAX_BODY`].
    pub max_body: usize,
    /// [`Hook::SUMMARY`].
    pub summary: &'static str,
}

impl HookEntry {
    /// The subject; only doors may publish on it.
    pub fn subject(&self) -> String {
        subject::query(self.domain, self.name)
    }
}

fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

fn accept<T: Command>(encoding: Encoding, body: &[u8]) -> Result<Vec<u8>, Vec<Fault>> {
    let command: T = body::decode_strict(encoding, body)?;
    body::validate(&command)?;
    Ok(body::encode(Encoding::MessagePack, &command))
}

fn accept_query<T: Query>(encoding: Encoding, body: &[u8]) -> Result<Vec<u8>, Vec<Fault>> {
    let query: T = body::decode_strict(encoding, body)?;
    body::validate(&query)?;
    Ok(body::encode(Encoding::Json, &query))
}

fn understand<T: Command>(version: u16, encoding: Encoding, body: &[u8]) -> Result<Value, Vec<Fault>> {
    let command: T = read_command(version, encoding, body).map_err(|fault| vec![fault])?;
    body::validate(&command)?;
    Ok(body::value_of(&command))
}

fn understand_event<T: Event>(version: u16, encoding: Encoding, body: &[u8]) -> Result<Value, Vec<Fault>> {
    if version > T::VERSION {
        return Err(vec![Fault::new("", format!("version {version} is not known; known: {}", T::VERSION))]);
    }
    body::decode::<T>(encoding, body).map(|event| body::value_of(&event)).map_err(|fault| vec![fault])
}

/// Reads a command written in `version`, upgrading it step by step to today's.
pub fn read_command<T: Command>(version: u16, encoding: Encoding, body: &[u8]) -> Result<T, Fault> {
    if version == T::VERSION {
        return body::decode(encoding, body);
    }
    if version == 0 || version > T::VERSION {
        let known = (1..=T::VERSION).map(|v| v.to_string()).collect::<Vec<_>>().join(", ");
        return Err(Fault::new("", format!("version {version} of {} is not known; known: {known}", T::NAME)));
    }
    let old = body::to_json(encoding, body)?;
    let new = (version..T::VERSION)
        .try_fold(old, |value, from| T::upgrade(from, value))
        .map_err(|reason| Fault::new("", reason))?;
    read_json(new)
}

fn read_json<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    body::decode(Encoding::Json, &body::encode(Encoding::Json, &value))
}

impl CommandEntry {
    fn of<C: Command>(domain: &'static str) -> Self {
        CommandEntry {
            domain,
            name: C::NAME,
            version: C::VERSION,
            lane: C::LANE,
            http: C::HTTP.map(|http| Route::of(http, domain)),
            scope: C::SCOPE.replace("{domain}", domain),
            status: C::STATUS.unwrap_or(platform::COMMAND_PAGE).replace("{domain}", domain),
            upload: C::UPLOAD,
            sealed: C::SEALED,
            aliases: C::ALIASES,
            schema: schema_of::<C>,
            example: || body::value_of(&C::example()),
            accept: accept::<C>,
            understand: understand::<C>,
        }
    }

    /// The CloudEvents type.
    pub fn ce_type(&self) -> String {
        subject::ce_type(self.domain, self.name, self.version)
    }

    /// The subject for one tenant.
    pub fn subject(&self, tenant: &str) -> String {
        subject::command(self.domain, self.lane, self.name, tenant)
    }
}

impl EventEntry {
    fn of<E: Event>(domain: &'static str) -> Self {
        EventEntry {
            domain,
            name: E::NAME,
            version: E::VERSION,
            schema: schema_of::<E>,
            example: || body::value_of(&E::example()),
            understand: understand_event::<E>,
        }
    }

    /// The CloudEvents type.
    pub fn ce_type(&self) -> String {
        subject::ce_type(self.domain, self.name, self.version)
    }
}

impl QueryEntry {
    fn of<Q: Query>(domain: &'static str) -> Self {
        QueryEntry {
            domain,
            name: Q::NAME,
            http: Q::HTTP.map(|http| Route::of(http, domain)),
            scope: Q::SCOPE.replace("{domain}", domain),
            sheet: Q::SHEET,
            page: Q::PAGE,
            schema: schema_of::<Q>,
            answer: schema_of::<Q::Answer>,
            example: || body::value_of(&Q::example()),
            accept: accept_query::<Q>,
        }
    }

    /// The subject; the tenant travels in a header, which only the doors may write.
    pub fn subject(&self) -> String {
        subject::query(self.domain, self.name)
    }
}

impl Domain {
    /// A domain with the contracts every worker has (see [`platform`]).
    pub fn new(name: &'static str, title: &'static str) -> Self {
        let bare = Domain {
            name,
            title,
            commands: vec![],
            events: vec![],
            queries: vec![],
            reacts: vec![],
            hooks: vec![],
            owns: vec![],
            reads: vec![],
            records: false,
            posts: false,
        };
        platform::declare(bare)
    }

    /// Adds a command.
    ///
    /// # Panics
    /// If the type says it belongs to another domain.
    pub fn command<C: Command>(self) -> Self {
        assert_eq!(C::DOMAIN, self.name, "{} is of another domain", type_name::<C>());
        self.shared_command::<C>()
    }

    /// Adds an event.
    ///
    /// # Panics
    /// If the type says it belongs to another domain.
    pub fn event<E: Event>(self) -> Self {
        assert_eq!(E::DOMAIN, self.name, "{} is of another domain", type_name::<E>());
        self.shared_event::<E>()
    }

    /// Adds a query.
    ///
    /// # Panics
    /// If the type says it belongs to another domain.
    pub fn query<Q: Query>(self) -> Self {
        assert_eq!(Q::DOMAIN, self.name, "{} is of another domain", type_name::<Q>());
        self.shared_query::<Q>()
    }

    /// Says that this domain's worker acts upon another domain's event.
    pub fn reacts<E: Event>(mut self) -> Self {
        self.reacts.push((E::DOMAIN, E::NAME));
        self
    }

    /// Adds a hook.
    ///
    /// # Panics
    /// If the type says it belongs to another domain, or takes more than a message can carry.
    pub fn hook<H: Hook>(mut self) -> Self {
        assert_eq!(H::DOMAIN, self.name, "{} is of another domain", type_name::<H>());
        assert!(H::MAX_BODY <= hook::MOST, "{} takes more than {} bytes", type_name::<H>(), hook::MOST);
        self.hooks.push(HookEntry {
            domain: H::DOMAIN,
            name: H::NAME,
            http: Route::of(H::HTTP, H::DOMAIN),
            headers: H::HEADERS,
            max_body: H::MAX_BODY,
            summary: H::SUMMARY,
        });
        self
    }

    /// Adds a bucket that this domain's worker writes.
    pub fn owns(mut self, bucket: Bucket) -> Self {
        self.owns.push(bucket);
        self
    }

    /// Says that this domain's worker keeps a record of all that happens: every domain's commands, and every event but its
    /// own.
    pub fn records(mut self) -> Self {
        self.records = true;
        self
    }

    /// Says that this domain's worker reads another domain's bucket.
    pub fn reads(mut self, bucket: &'static str) -> Self {
        self.reads.push(bucket);
        self
    }

    /// Says that this domain's worker writes logs that people's clients follow.
    pub fn posts(mut self) -> Self {
        self.posts = true;
        self
    }

    pub(crate) fn shared_command<C: Command>(mut self) -> Self {
        self.commands.push(CommandEntry::of::<C>(self.name));
        self
    }

    pub(crate) fn shared_event<E: Event>(mut self) -> Self {
        self.events.push(EventEntry::of::<E>(self.name));
        self
    }

    pub(crate) fn shared_query<Q: Query>(mut self) -> Self {
        self.queries.push(QueryEntry::of::<Q>(self.name));
        self
    }

    /// The lanes its commands name, sorted.
    pub fn lanes(&self) -> Vec<&'static str> {
        let mut lanes: Vec<_> = self.commands.iter().map(|command| command.lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }
}

impl Catalogue {
    /// The product's catalogue.
    pub fn omnibus() -> Self {
        Catalogue::new(vec![
            crate::mailer::domain(),
            crate::texter::domain(),
            crate::commissioner::domain(),
            crate::brander::domain(),
            crate::auditor::domain(),
            crate::presence::domain(),
            crate::greeter::domain(),
        ])
    }

    /// A catalogue of these domains.
    ///
    /// # Panics
    /// If a name or a route is said twice, or a name can't be a token on the bus.
    pub fn new(domains: Vec<Domain>) -> Self {
        let catalogue = Catalogue { domains };
        let mut seen = std::collections::BTreeSet::new();
        let mut once = |what: String| assert!(seen.insert(what.clone()), "declared twice: {what}");
        for domain in &catalogue.domains {
            once(format!("domain {}", domain.name));
        }
        for command in catalogue.commands() {
            for name in std::iter::once(&command.name).chain(command.aliases) {
                once(format!("command {}.{name}", command.domain));
            }
            for token in [command.domain, command.lane, command.name] {
                assert!(token.parse::<subject::Token>().is_ok(), "not a token: {token}");
            }
        }
        for event in catalogue.events() {
            once(format!("event {}.{}", event.domain, event.name));
        }
        for query in catalogue.queries() {
            once(format!("query {}.{}", query.domain, query.name));
        }
        for hook in catalogue.hooks() {
            // Both are answered on `qry.<domain>.<name>`.
            once(format!("query {}.{}", hook.domain, hook.name));
        }
        for route in catalogue
            .commands()
            .filter_map(|c| c.http.as_ref())
            .chain(catalogue.queries().filter_map(|q| q.http.as_ref()))
            .chain(catalogue.hooks().map(|hook| &hook.http))
        {
            once(format!("{} {}", route.method.as_str(), route.path));
        }
        for bucket in catalogue.buckets() {
            once(format!("bucket {}", bucket.name));
            assert!(bucket.name.parse::<subject::Token>().is_ok(), "not a token: {}", bucket.name);
        }
        for command in catalogue.commands().filter(|command| command.upload.is_some()) {
            let schema = (command.schema)();
            let has = schema.as_value().pointer(&format!("/properties/{}", upload::FIELD)).is_some();
            assert!(has, "{}.{} takes an upload and has no field `object`", command.domain, command.name);
        }
        catalogue
    }

    /// All domains.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// One domain.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.name == name)
    }

    /// All commands.
    pub fn commands(&self) -> impl Iterator<Item = &CommandEntry> {
        self.domains.iter().flat_map(|domain| &domain.commands)
    }

    /// All events.
    pub fn events(&self) -> impl Iterator<Item = &EventEntry> {
        self.domains.iter().flat_map(|domain| &domain.events)
    }

    /// All queries.
    pub fn queries(&self) -> impl Iterator<Item = &QueryEntry> {
        self.domains.iter().flat_map(|domain| &domain.queries)
    }

    /// All hooks.
    pub fn hooks(&self) -> impl Iterator<Item = &HookEntry> {
        self.domains.iter().flat_map(|domain| &domain.hooks)
    }

    /// All buckets that domains own.
    pub fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.domains.iter().flat_map(|domain| &domain.owns)
    }

    /// One of them.
    pub fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets().find(|bucket| bucket.name == name)
    }

    /// One command, by name or by a name it had before.
    pub fn command(&self, domain: &str, name: &str) -> Option<&CommandEntry> {
        self.domain(domain)?.commands.iter().find(|command| command.name == name || command.aliases.contains(&name))
    }

    /// Every scope there is, sorted.
    pub fn scopes(&self) -> Vec<String> {
        let mut scopes: Vec<_> =
            self.commands().map(|c| c.scope.clone()).chain(self.queries().map(|q| q.scope.clone())).collect();
        // The doors' own: who may open a socket to follow logs.
        if self.domains.iter().any(|domain| domain.posts) {
            scopes.push(crate::presence::CONNECT.to_owned());
        }
        scopes.sort();
        scopes.dedup();
        scopes
    }
}
