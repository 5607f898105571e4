//! The door as a whole: what all sockets share, and where they come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use omnibus_ingest::jwt::{JwtKeysError, Verifier};
use omnibus_ingest::{KeyRing, Settings as Credentials};
use omnibus_runtime::metrics::Metric;
use omnibus_runtime::{Bus, Health, clock};
use omnibus_schemas::Catalogue;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::Hub;
use crate::people::{self, People};
use crate::rates::TenantRates;
use crate::settings::Settings;
use crate::slots::Places;
use crate::{link, slots, socket};

/// How long a socket waits for this node to be known to the others.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions who sits in which room that are out at the same time, at most. The workers answer a few at once: what
/// waits there grows too old to be heard, what waits here does not.
const ASKED_AT_ONCE: usize = 64;
/// How long a door that stops waits for its sockets to be closed, and for others to hear of it.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a door is made of.
pub struct FanoutParts {
    /// The connection of the bus user `fanout`.
    pub bus: Bus,
    /// What there is to call.
    pub catalogue: Catalogue,
    /// How it is set up.
    pub settings: Settings,
    /// What is taken for a credential: as at the HTTP door.
    pub credentials: Credentials,
    /// Where it says whether it is ready.
    pub health: Health,
    /// Cancelled when it shall stop.
    pub stop: CancellationToken,
}

/// The WebSocket door. Cheap to clone.
#[derive(Clone)]
pub struct Fanout {
    shared: Arc<Shared>,
}

/// What all sockets share.
pub(crate) struct Shared {
    pub(crate) bus: Bus,
    pub(crate) catalogue: Catalogue,
    pub(crate) settings: Settings,
    pub(crate) hub: Arc<Hub>,
    pub(crate) people: People,
    pub(crate) places: Places,
    /// Turns to ask who sits in which room.
    pub(crate) questions: Semaphore,
    pub(crate) ring: KeyRing,
    pub(crate) tokens: Verifier,
    pub(crate) rates: TenantRates,
    pub(crate) node: String,
    /// Every socket, and what is still to be said of those that have gone.
    pub(crate) tasks: TaskTracker,
    /// Whether the others know that this node is alive. Before that, they take its sockets' places for free.
    alive: watch::Sender<bool>,
    pub(crate) stop: CancellationToken,
    health: Health,
    next: AtomicU64,
}

impl Shared {
    /// A number that nothing else in this process has.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits until the others know of this node. `false` if that takes too long.
    pub(crate) async fn is_known(&self) -> bool {
        let mut alive = self.alive.subscribe();
        tokio::time::timeout(PATIENCE, alive.wait_for(|alive| *alive)).await.is_ok_and(|known| known.is_ok())
    }
}

impl Fanout {
    /// Checks the settings. Sockets can come in as soon as [`Fanout::run`] is polled.
    pub fn new(parts: FanoutParts) -> Result<Self, JwtKeysError> {
        let FanoutParts { bus, catalogue, settings, credentials, health, stop } = parts;
        let shared = Shared {
            hub: Hub::new(bus.clone(), settings.websocket_queue_bytes),
            people: People::default(),
            places: Places::new(bus.clone()),
            questions: Semaphore::new(ASKED_AT_ONCE),
            ring: KeyRing::default(),
            tokens: Verifier::of(&credentials)?,
            rates: TenantRates::new(&settings),
            node: clock::new_id().to_string(),
            tasks: TaskTracker::new(),
            alive: watch::Sender::new(false),
            bus,
            catalogue,
            settings,
            stop,
            health,
            next: AtomicU64::new(1),
        };
        shared.health.ill(people::PART, "loading");
        Ok(Fanout { shared: Arc::new(shared) })
    }

    /// `/ws`.
    pub fn routes(&self) -> Router {
        Router::new().route("/ws", get(come_in).with_state(self.shared.clone()))
    }

    /// Follows what sockets depend on, until it is to stop and they are closed: a server that ends its connections knows
    /// nothing of those that have become sockets.
    pub async fn run(&self) {
        let shared = &self.shared;
        let keys = shared.ring.follow(shared.bus.clone(), shared.health.clone(), shared.stop.clone());
        let people = shared.people.follow(&shared.bus, &shared.health);
        let alive = async {
            let mut beat = tokio::time::interval(slots::NODE_BEAT);
            loop {
                beat.tick().await;
                match slots::beat(&shared.bus, &shared.node).await {
                    Ok(()) => drop(shared.alive.send_replace(true)),
                    Err(error) => tracing::warn!(%error, "this node could not say that it is alive"),
                }
            }
        };
        let gauges = async {
            let mut tick = tokio::time::interval(Duration::from_secs(5));
            loop {
                tick.tick().await;
                Metric::QueueBytes.set(link::waiting() as f64, &[]);
                shared.rates.tidy();
            }
        };
        let stopped = shared.stop.clone();
        tokio::select! {
            () = keys => {}
            () = people => {}
            () = alive => {}
            () = gauges => {}
            () = stopped.cancelled() => {}
        }
        shared.tasks.close();
        if tokio::time::timeout(FAREWELL, shared.tasks.wait()).await.is_err() {
            tracing::warn!(left = shared.tasks.len(), "not every socket could be closed in time");
        }
        if let Err(error) = slots::bye(&shared.bus, &shared.node).await {
            tracing::warn!(%error, "this node could not say that it is gone");
        }
    }

    /// How many bus subscriptions this node has for all its sockets.
    pub fn topics(&self) -> usize {
        self.shared.hub.count()
    }
}

#[derive(Deserialize)]
struct Address {
    ticket: Option<String>,
}

async fn come_in(
    State(shared): State<Arc<Shared>>,
    Query(address): Query<Address>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    if !origin_fits(&headers, &shared.settings.websocket_origins) {
        return (StatusCode::FORBIDDEN, "This page's origin may not connect; see WEBSOCKET_ORIGINS.\n").into_response();
    }
    let (most, queue) = (shared.settings.websocket_max_message, shared.settings.websocket_queue_bytes);
    let tasks = shared.tasks.clone();
    upgrade
        .read_buffer_size(2 * 1024)
        .write_buffer_size(0)
        // One text may be as long as all that may wait, and is written whole.
        .max_write_buffer_size(queue.saturating_mul(2).max(1024 * 1024))
        .max_message_size(most)
        .max_frame_size(most)
        .on_upgrade(move |socket| tasks.track_future(socket::run(shared, socket, address.ticket)))
}

/// Programs name no origin. A page is let in from the address that it asks, and from those that were set.
fn origin_fits(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let of_page = origin.split_once("://").map(|(_, host)| host);
    matches!((of_page, host), (Some(page), Some(host)) if page.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_connect_to_its_own_host_and_from_those_that_were_set() {
        let fits = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "shop.example:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            origin_fits(&headers, &["https://app.example/".to_owned()])
        };
        for good in [None, Some("http://shop.example:8080"), Some("https://app.example")] {
            assert!(fits(good), "{good:?}");
        }
        for bad in
            ["https://evil.example", "null", "http://shop.example", "https://app.example.evil", "shop.example:8080"]
        {
            assert!(!fits(Some(bad)), "{bad}");
        }
    }
}
