//! `Prefer: wait`: the terminal event of a command, for whoever asked to wait for it.
//!
//! All who wait share one plain subscription to every event, held only while somebody waits. It is not a promise: what
//! it misses (a lost connection, interest that has not travelled through a cluster yet) stands on the command's page,
//! which is asked before the wait ends empty-handed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_nats::Message;
use chrono::DateTime;
use futures_util::StreamExt;
use omnibus_runtime::Bus;
use omnibus_runtime::clock;
use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::generate::Happened;
use omnibus_schemas::platform::{CommandPage, CommandReport, Outcome};
use omnibus_schemas::subject::{self, EventSubject};
use omnibus_schemas::{Encoding, Query, Tenant, body, headers};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::ask::ask;
use crate::caller::Caller;
use crate::door::Shared;

/// How long a command's page may take.
const PAGE: Duration = Duration::from_secs(1);

/// How a command ended.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    pub(crate) event: Happened,
}

/// A command of a tenant. The tenant is part of it: no event of another may answer for it.
type Name = (Tenant, Uuid);
type Waiters = HashMap<Name, Vec<oneshot::Sender<Arc<Told>>>>;

/// Where to wait.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    ear: tokio::sync::Mutex<Weak<Ear>>,
}

/// The subscription; ends when the last who waits lets go of it.
#[derive(Debug)]
struct Ear {
    waiters: Arc<Mutex<Waiters>>,
    _stop: DropGuard,
}

/// A place in the queue of those who wait.
pub(crate) struct Waiting {
    name: Name,
    ear: Arc<Ear>,
    told: oneshot::Receiver<Arc<Told>>,
}

/// A server that is there takes a subscription in less. Without one, flushing would wait for it, and all who come
/// meanwhile for whoever flushes.
const SUBSCRIBE: Duration = Duration::from_secs(1);

impl Outcomes {
    /// Listens for a command's outcome from now on. `None` if the bus can't be listened to.
    pub(crate) async fn listen(&self, bus: &Bus, tenant: &Tenant, id: Uuid) -> Option<Waiting> {
        let ear = tokio::time::timeout(SUBSCRIBE, self.ear(bus)).await.ok()??;
        let (tell, told) = oneshot::channel();
        let name = (tenant.clone(), id);
        ear.waiters.lock().expect("no panic happens under this lock").entry(name.clone()).or_default().push(tell);
        Some(Waiting { name, ear, told })
    }

    async fn ear(&self, bus: &Bus) -> Option<Arc<Ear>> {
        let mut held = self.ear.lock().await;
        if let Some(ear) = held.upgrade() {
            return Some(ear);
        }
        if !*bus.connected().borrow() {
            return None;
        }
        // The server reads one connection in order: what we publish from here on, it hears after the subscription.
        let mut events = bus.client().subscribe(subject::event("*", "*", "*")).await.ok()?;
        bus.client().flush().await.ok()?;
        let stop = CancellationToken::new();
        let waiters = Arc::new(Mutex::new(Waiters::new()));
        let (stopped, to_tell) = (stop.clone(), waiters.clone());
        tokio::spawn(async move {
            while let Some(Some(event)) = stopped.run_until_cancelled(events.next()).await {
                tell(&to_tell, &event);
            }
        });
        let ear = Arc::new(Ear { waiters, _stop: stop.drop_guard() });
        *held = Arc::downgrade(&ear);
        Some(ear)
    }
}

impl Waiting {
    /// Waits. `page` is asked at once if the outcome may be past, and again before giving up.
    pub(crate) async fn told<F: Future<Output = Option<Told>>>(
        mut self,
        wait: Duration,
        stop: &CancellationToken,
        may_be_past: bool,
        page: impl Fn() -> F,
    ) -> Option<Told> {
        let end = tokio::time::sleep(wait);
        tokio::pin!(end);
        let past = async {
            match may_be_past {
                true => page().await,
                false => None,
            }
        };
        tokio::pin!(past);
        let mut asking = true;
        loop {
            tokio::select! {
                told = &mut self.told => return told.ok().map(Arc::unwrap_or_clone),
                told = &mut past, if asking => match told {
                    Some(told) => return Some(told),
                    None => asking = false,
                },
                () = &mut end => return page().await,
                () = stop.cancelled() => return None,
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Only those who still listen keep their place.
        self.told.close();
        let mut waiters = self.ear.waiters.lock().expect("no panic happens under this lock");
        if let Some(places) = waiters.get_mut(&self.name) {
            places.retain(|place| !place.is_closed());
            if places.is_empty() {
                waiters.remove(&self.name);
            }
        }
    }
}

fn tell(waiters: &Mutex<Waiters>, event: &Message) {
    let get = |name: &str| event.headers.as_ref()?.get(name).map(|value| value.as_str());
    let Some(outcome) = get(headers::OUTCOME).and_then(Outcome::parse) else { return };
    let Some(id) = get(headers::CAUSATION).and_then(|id| id.parse::<Uuid>().ok()) else { return };
    let Some(tenant) = EventSubject::parse(&event.subject).and_then(|subject| subject.tenant.parse().ok()) else {
        return;
    };
    let places = waiters.lock().expect("no panic happens under this lock").remove(&(tenant, id));
    let Some(places) = places else { return };
    let encoding = get(headers::CONTENT_TYPE).and_then(Encoding::from_content_type).unwrap_or_default();
    let time = get(headers::TIME).and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    let told = Arc::new(Told {
        outcome,
        event: Happened {
            id: get(headers::ID).unwrap_or_default().to_owned(),
            ce_type: get(headers::TYPE).unwrap_or_default().to_owned(),
            time: time.map_or_else(clock::now, |time| time.to_utc()),
            data: body::to_json(encoding, &event.payload).unwrap_or_default(),
        },
    });
    for place in places {
        // Who has gone meanwhile needs no answer.
        let _ = place.send(told.clone());
    }
}

/// The outcome on a command's page, if it has one already.
pub(crate) async fn on_page(
    door: &Shared,
    domain: &str,
    caller: &Caller,
    trace: &TraceParent,
    id: Uuid,
) -> Option<Told> {
    let subject = subject::query(domain, CommandPage::NAME);
    let question = body::encode(Encoding::Json, &CommandPage { command_id: id });
    let answer = ask(&door.bus, &subject, caller, trace, question.into(), PAGE).await.ok()?;
    let report: CommandReport = body::decode(Encoding::Json, &answer.payload).ok()?;
    let outcome = report.outcome?;
    // The outcome event is the last that a command causes.
    let last = report.events.into_iter().rev().find_map(|event| {
        let parsed = EventSubject::parse(&event.subject)?;
        let known = door.catalogue.events().find(|e| e.domain == parsed.domain && e.name == parsed.name);
        let ce_type = known.map_or_else(|| subject::ce_type(parsed.domain, parsed.name, 1), |entry| entry.ce_type());
        Some((event.id, ce_type, event.payload))
    });
    let (id, ce_type, data) = last?;
    let time = report.finished_at.unwrap_or(report.received_at);
    Some(Told { outcome, event: Happened { id, ce_type, time, data } })
}
