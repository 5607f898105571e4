//! One socket's side of the conversation: who it is, and what it listens to.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use omnibus_bus::BUCKET_TICKETS;
use omnibus_ingest::caller::{Caller, by_credential};
use omnibus_runtime::bus::PublishError;
use omnibus_runtime::clock;
use omnibus_runtime::envelope::Envelope;
use omnibus_runtime::metrics::Metric;
use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::presence::{CONNECT, Device};
use omnibus_schemas::{Command, Encoding, Query, Tenant, Token, body, headers, subject};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::channel::scopes_of;
use crate::codes::{
    Close, FORBIDDEN, INTERNAL, INVALID_TOKEN, PERMISSION_DENIED, Refusal, SERVER_ERROR, TOKEN_EXPIRED,
    TOO_MANY_CONNECTIONS,
};
use crate::door::Shared;
use crate::hub::Seat;
use crate::link::Link;
use crate::rates::SocketRates;
use crate::slots::{NoSlot, Slot, Wanted};

/// `ce-source` of everything that comes in by this door.
const SOURCE: &str = "omnibus/fanout";
/// How long a worker has for an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// A socket's state.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) link: Arc<Link>,
    pub(crate) client: Uuid,
    /// The ticket that stood in the address.
    pub(crate) ticket: Option<String>,
    pub(crate) who: Option<Who>,
    /// What it listens to, by channel.
    pub(crate) seats: HashMap<String, Seat>,
    /// Channels whose listening ended by itself.
    pub(crate) ended: Arc<Mutex<Vec<String>>>,
    pub(crate) away: bool,
    /// Whether others know less of the connection than there is to know.
    pub(crate) untold: bool,
    /// Whether they are being told.
    telling: Arc<AtomicBool>,
    pub(crate) rates: SocketRates,
    /// Messages that nobody had decided when they were answered: each is told when it stands in its log.
    pub(crate) unheard: VecDeque<oneshot::Receiver<()>>,
    changes: watch::Receiver<()>,
}

/// Whose socket it is.
pub(crate) struct Who {
    pub(crate) caller: Caller,
    pub(crate) tenant: Tenant,
    pub(crate) user: Token,
    pub(crate) name: Arc<str>,
    /// Domains whose events it may read.
    pub(crate) domains: Arc<Vec<String>>,
    slot: Slot,
}

/// How a socket's credential was taken.
pub(crate) enum Admitted {
    Yes,
    /// A no that passes, or that a newer token mends.
    Refused(Refusal),
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, link: Arc<Link>, ticket: Option<String>) -> Self {
        let (changes, rates) = (shared.ring.changes(), SocketRates::new(&shared.settings));
        Session {
            shared,
            link,
            client: clock::new_id(),
            ticket,
            who: None,
            seats: HashMap::new(),
            ended: Arc::default(),
            away: false,
            untold: false,
            telling: Arc::default(),
            rates,
            unheard: VecDeque::new(),
            changes,
        }
    }

    /// Takes a credential: an API key, a token, a ticket.
    pub(crate) async fn admit(&mut self, token: &str) -> Result<Admitted, Close> {
        let (caller, user) = match self.identify(token).await? {
            Ok(identified) => identified,
            Err(refusal) => return Ok(Admitted::Refused(refusal)),
        };
        let shared = &self.shared;
        if !shared.is_known().await {
            return Err(SERVER_ERROR);
        }
        let tenant = caller.tenant.clone();
        let device = self.device(false);
        let wanted = Wanted {
            tenant: tenant.as_str(),
            user: user.as_str(),
            most: shared.settings.websocket_per_user,
            device: &device,
            ttl: shared.settings.ttl(),
            grace: shared.settings.grace(),
        };
        let slot = match Slot::take(&shared.places, &shared.people, &shared.tasks, wanted).await {
            Ok(slot) => slot,
            // Some of them may be of sockets that have gone and are not missed yet: later there may be room.
            Err(NoSlot::All | NoSlot::Taken) => return Ok(Admitted::Refused(TOO_MANY_CONNECTIONS)),
            Err(NoSlot::Away(why)) => {
                tracing::warn!(why, "a socket could not be counted");
                return Err(SERVER_ERROR);
            }
        };
        let domains = readable(shared, &caller);
        let name = user.as_str().into();
        tracing::debug!(tenant = tenant.as_str(), client = %self.client, "a socket is open");
        self.who = Some(Who { caller, tenant, user, name, domains, slot });
        Ok(Admitted::Yes)
    }

    /// Takes a newer credential of the same user. What it does not allow any more ends.
    pub(crate) async fn renew(&mut self, token: &str) -> Result<Admitted, Close> {
        let (caller, user) = match self.identify(token).await? {
            Ok(identified) => identified,
            Err(refusal) => return Ok(Admitted::Refused(refusal)),
        };
        match &mut self.who {
            Some(who) if who.tenant == caller.tenant && who.user == user => {
                who.domains = readable(&self.shared, &caller);
                who.caller = caller;
            }
            _ => return Err(INVALID_TOKEN),
        }
        self.narrow();
        Ok(Admitted::Yes)
    }

    async fn identify(&self, token: &str) -> Result<Result<(Caller, Token), Refusal>, Close> {
        let shared = &self.shared;
        if !token.starts_with("omk_") {
            match shared.tokens.read(token) {
                Err(bad) if bad.has_expired() => return Ok(Err(TOKEN_EXPIRED)),
                Err(_) => return Err(INVALID_TOKEN),
                Ok(_) => {}
            }
        } else if shared.ring.has(Uuid::nil()).is_none() {
            // The keys are not loaded yet; that passes.
            return Err(SERVER_ERROR);
        }
        let caller = by_credential(token, &shared.ring, &shared.tokens).map_err(|_| INVALID_TOKEN)?;
        if let Some(key) = caller.key()
            && caller.ticket().is_some()
            && shared.ring.has(key) == Some(false)
        {
            return Err(INVALID_TOKEN);
        }
        let user = match (caller.user(), caller.key()) {
            (Some(user), _) => user.parse().map_err(|_| INVALID_TOKEN)?,
            (None, Some(key)) => format!("key-{key}").parse().map_err(|_| INVALID_TOKEN)?,
            (None, None) => return Err(INVALID_TOKEN),
        };
        match caller.ticket() {
            None if !caller.may(CONNECT) => Err(FORBIDDEN),
            None => Ok(Ok((caller, user))),
            Some(ticket) => match self.use_up(ticket.id).await? {
                true => Ok(Ok((caller, user))),
                false => Ok(Err(TOKEN_EXPIRED)),
            },
        }
    }

    /// `false` if somebody was quicker, on whichever node.
    async fn use_up(&self, ticket: Uuid) -> Result<bool, Close> {
        let mut map = HeaderMap::new();
        map.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        let _turn = self.shared.places.turn().await;
        match self.shared.bus.publish(&format!("$KV.{BUCKET_TICKETS}.{ticket}"), map, Bytes::new()).await {
            Ok(_) => Ok(true),
            Err(PublishError::Other(_)) => Ok(false),
            Err(error) => {
                tracing::warn!(%error, "a ticket could not be used up");
                Err(SERVER_ERROR)
            }
        }
    }

    /// When the socket must close, unless it is renewed before.
    pub(crate) fn until(&self) -> Option<DateTime<Utc>> {
        self.who.as_ref()?.caller.until()
    }

    /// Waits until the key behind the socket's credential is gone.
    pub(crate) async fn revoked(changes: &mut watch::Receiver<()>, shared: &Shared, key: Option<Uuid>) {
        let Some(key) = key else { return std::future::pending().await };
        while changes.changed().await.is_ok() {
            if shared.ring.has(key) == Some(false) {
                return;
            }
        }
        std::future::pending().await
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.clone()
    }

    /// Lets go of what has ended by itself.
    pub(crate) fn tidy(&mut self) {
        let ended = std::mem::take(&mut *self.ended.lock().expect("no panic happens under this lock"));
        for channel in ended {
            self.untold |= self.seats.remove(&channel).is_some();
        }
    }

    fn device(&self, leaving: bool) -> Device {
        let mut channels: Vec<_> = self.seats.keys().filter(|name| name.starts_with("room:")).cloned().collect();
        channels.sort_unstable();
        Device { client: self.client.to_string(), node: self.shared.node.clone(), away: self.away, leaving, channels }
    }

    /// Tells all nodes that the connection is there, and what of it there is to know. `false` if what was told before
    /// is on its way yet: then this is to be told soon. Where the bus is slow, what is to be told must not pile up.
    pub(crate) fn tell(&mut self) -> bool {
        self.tidy();
        let Some(who) = &self.who else { return true };
        if self.telling.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.untold = false;
        let (device, ttl, telling) = (self.device(false), self.shared.settings.ttl(), self.telling.clone());
        let (slot, places, link) = (who.slot.clone(), self.shared.places.clone(), self.link.clone());
        tokio::spawn(async move {
            let told = slot.put(&places, &device, ttl).await;
            telling.store(false, Ordering::SeqCst);
            match told {
                Ok(()) => {}
                // The client comes back, and is counted anew.
                Err(NoSlot::Taken) => link.close(SERVER_ERROR),
                Err(error) => tracing::warn!(%error, "a connection could not be refreshed"),
            }
        });
        true
    }

    /// A command in the user's name. Returns its id once the bus has it.
    pub(crate) async fn publish<C: Command>(&self, command: &C) -> Result<Uuid, Refusal> {
        self.publish_as(clock::new_id(), command).await
    }

    /// As [`Session::publish`], under an id that is known before.
    pub(crate) async fn publish_as<C: Command>(&self, id: Uuid, command: &C) -> Result<Uuid, Refusal> {
        let who = self.who.as_ref().ok_or(PERMISSION_DENIED)?;
        if !who.caller.may(C::SCOPE) {
            return Err(PERMISSION_DENIED);
        }
        self.shared.rates.publish(&who.tenant)?;
        let (id_text, actor, tenant) = (id.to_string(), format!("ws:{}", who.user), who.tenant.as_str());
        let map = Envelope {
            id: &id_text,
            kind: &subject::ce_type(C::DOMAIN, C::NAME, C::VERSION),
            source: SOURCE,
            time: clock::now(),
            tenant,
            actor: Some(&actor),
            correlation: &id_text,
            causation: None,
            trace: &TraceParent::start(),
            encoding: Encoding::MessagePack,
        }
        .headers();
        let to = subject::command(C::DOMAIN, C::LANE, C::NAME, tenant);
        let sent = self.shared.bus.publish(&to, map, body::encode(Encoding::MessagePack, command).into());
        match tokio::time::timeout(ANSWER, sent).await {
            Ok(Ok(_)) => Ok(id),
            Ok(Err(error)) => {
                tracing::warn!(%error, command = C::NAME, "a command from a socket was not stored");
                Err(INTERNAL)
            }
            Err(_) => Err(INTERNAL),
        }
    }

    /// A question in the user's name. `None` for "there is no such thing".
    pub(crate) async fn ask<Q: Query>(&self, domain: &str, query: &Q) -> Result<Option<Q::Answer>, Refusal> {
        let who = self.who.as_ref().ok_or(PERMISSION_DENIED)?;
        let mut map = HeaderMap::new();
        map.insert(headers::TENANT, who.tenant.as_str());
        map.insert(headers::ACTOR, format!("ws:{}", who.user).as_str());
        map.insert(headers::SOURCE, SOURCE);
        map.insert(headers::CONTENT_TYPE, Encoding::Json.content_type());
        let question = body::encode(Encoding::Json, query).into();
        let answer = self.shared.bus.ask(subject::query(domain, Q::NAME), map, question, ANSWER).await;
        let answer = answer.map_err(|_| INTERNAL)?.ok_or(INTERNAL)?;
        let code = answer.headers.as_ref().and_then(|map| map.get(async_nats::service::NATS_SERVICE_ERROR_CODE));
        match code.map(|code| code.as_str().to_owned()).as_deref() {
            None => serde_json::from_slice(&answer.payload).map(Some).map_err(|_| INTERNAL),
            Some("404") => Ok(None),
            Some(_) => Err(INTERNAL),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(who) = &self.who {
            who.slot.leave();
            Metric::Sockets.set(crate::socket::open_now(-1), &[]);
            // The user may be back before anybody notices.
            let (slot, places) = (who.slot.clone(), self.shared.places.clone());
            let (device, grace) = (self.device(true), self.shared.settings.grace());
            self.shared.tasks.spawn(async move { slot.let_go(&places, &device, grace).await });
        }
    }
}

/// The domains whose events somebody may read.
fn readable(shared: &Shared, caller: &Caller) -> Arc<Vec<String>> {
    let may_read = |domain: &str| {
        scopes_of(&shared.catalogue, domain).is_some_and(|scopes| scopes.iter().all(|scope| caller.may(scope)))
    };
    let names = shared.catalogue.domains().iter().map(|domain| domain.name);
    Arc::new(names.filter(|name| may_read(name)).map(str::to_owned).collect())
}
