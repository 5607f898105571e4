//! Sees people come and go: follows the bucket of connections, and makes a command of every change of a user's status.
//!
//! The database is what it compares with, so nothing hangs on a single sight: after a restart, or when a command got lost
//! among those that say otherwise, the next comparison says it again. Whether something has changed is decided where the
//! change is written, once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use omnibus_runtime::{Desk, Followed, clock, follow};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{BUCKET, Device, NotePresence, Status};
use tokio::sync::mpsc;

use crate::Presence;
use crate::note_presence::AHEAD;

/// How often the database is compared with the bucket.
const COMPARE_EVERY: Duration = Duration::from_secs(15);

/// Tenant and user.
type Name = (String, String);

/// Every user's connections, by slot.
#[derive(Default)]
struct Connections(HashMap<Name, BTreeMap<String, Device>>);

impl Connections {
    fn status(&self, name: &Name) -> Status {
        let Some(devices) = self.0.get(name).filter(|devices| !devices.is_empty()) else { return Status::Offline };
        // A device that has gone counts until its key ends: it may be back by then.
        match devices.values().all(|device| device.away) {
            true => Status::Away,
            false => Status::Online,
        }
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Option<Name> {
        let (name, slot) = read(key)?;
        let device = serde_json::from_slice(value).ok()?;
        self.0.entry(name.clone()).or_default().insert(slot, device);
        Some(name)
    }

    fn gone(&mut self, key: &str) -> Option<Name> {
        let (name, slot) = read(key)?;
        let devices = self.0.get_mut(&name)?;
        devices.remove(&slot);
        if devices.is_empty() {
            self.0.remove(&name);
        }
        Some(name)
    }
}

/// `<tenant>.<user>.<slot>`
fn read(key: &str) -> Option<(Name, String)> {
    let mut parts = key.split('.');
    let (Some(tenant), Some(user), Some(slot), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    Some(((tenant.to_owned(), user.to_owned()), slot.to_owned()))
}

/// One of all the replicas watches.
pub(crate) async fn people(_: Arc<Presence>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("people").await? else { return Ok(()) };
    let newest: Option<i64> = sqlx::query_scalar("select max(seen) from presence.people where seen <= $1")
        .bind((clock::now() + AHEAD).timestamp_micros())
        .fetch_one(&desk.db)
        .await?;
    let mut watch = Watch { desk: desk.clone(), seen: newest.unwrap_or(0), connections: None, told: HashMap::new() };
    let (tell, mut told) = mpsc::unbounded_channel();
    let following = follow(&desk.bus, BUCKET, move |followed| {
        // Nobody listens any more only when this task ends.
        let _ = tell.send(followed);
    });
    tokio::pin!(following);
    let mut compare = tokio::time::interval(COMPARE_EVERY);
    compare.reset();
    loop {
        tokio::select! {
            never = &mut following => match never {},
            followed = told.recv() => watch.take(followed.context("the watch ended")?).await?,
            _ = compare.tick() => {
                alone.still().await?;
                watch.compare().await?;
            }
            () = desk.stop.cancelled() => return Ok(()),
        }
    }
}

struct Watch {
    desk: Desk,
    /// Grows with every command, also from one replica to the next.
    seen: i64,
    connections: Option<Connections>,
    /// What was said of a user last.
    told: HashMap<Name, Status>,
}

impl Watch {
    async fn take(&mut self, followed: Followed) -> anyhow::Result<()> {
        if let Followed::Whole(all) = followed {
            let mut connections = Connections::default();
            for (key, value) in all {
                connections.put(&key, &value);
            }
            self.connections = Some(connections);
            return self.compare().await;
        }
        // Before everything was loaded once, a single change says nothing.
        let Some(connections) = &mut self.connections else { return Ok(()) };
        let name = match followed {
            Followed::Put(key, value) => connections.put(&key, &value),
            Followed::Gone(key) => connections.gone(&key),
            Followed::Whole(_) | Followed::Lost(_) => None,
        };
        let Some(name) = name else { return Ok(()) };
        let status = connections.status(&name);
        if self.told.get(&name) != Some(&status) {
            self.tell(name, status).await?;
        }
        Ok(())
    }

    /// Says again what the database does not have.
    async fn compare(&mut self) -> anyhow::Result<()> {
        let Some(connections) = &self.connections else { return Ok(()) };
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("select tenant, user_id, status from presence.people where status <> 'offline'")
                .fetch_all(&self.desk.db)
                .await?;
        let there: HashMap<Name, Status> = rows
            .into_iter()
            .filter_map(|(tenant, user, status)| Some(((tenant, user), Status::parse(&status)?)))
            .collect();
        let gone = there.keys().filter(|name| !connections.0.contains_key(*name));
        let differs = |name: &&Name| connections.status(name) != there.get(*name).copied().unwrap_or(Status::Offline);
        let changed = connections.0.keys().filter(differs);
        let due: Vec<(Name, Status)> =
            gone.chain(changed).map(|name| (name.clone(), connections.status(name))).collect();
        for (name, status) in due {
            self.tell(name, status).await?;
        }
        // What is offline and written down needs not be remembered.
        let connections = self.connections.as_ref();
        self.told.retain(|name, _| connections.is_some_and(|known| known.0.contains_key(name)));
        Ok(())
    }

    async fn tell(&mut self, name: Name, status: Status) -> anyhow::Result<()> {
        let (tenant, user) = &name;
        // Only doors write the bucket, and they write names.
        let (Ok(_), Ok(user)) = (tenant.parse::<Token>(), user.parse()) else { return Ok(()) };
        self.seen = clock::now().timestamp_micros().max(self.seen + 1);
        let command = NotePresence { user, status, seen: self.seen };
        self.desk.publish(tenant, clock::new_id(), &command).await?;
        self.told.insert(name, status);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(away: bool) -> Vec<u8> {
        let device = Device { client: "c".into(), node: "n".into(), away, leaving: false, channels: vec![] };
        serde_json::to_vec(&device).unwrap()
    }

    #[test]
    fn a_user_is_online_until_the_last_device_is_gone_and_away_when_all_are() {
        let mut connections = Connections::default();
        let name = connections.put("acme.ada.0", &device(false)).unwrap();
        connections.put("acme.ada.1", &device(true));
        connections.put("globex.ada.0", &device(false));
        assert_eq!(connections.status(&name), Status::Online);
        connections.gone("acme.ada.0");
        assert_eq!(connections.status(&name), Status::Away);
        connections.gone("acme.ada.1");
        assert_eq!(connections.status(&name), Status::Offline);
        assert_eq!(connections.status(&("globex".into(), "ada".into())), Status::Online);
    }

    #[test]
    fn keys_that_are_none_are_nobody() {
        let mut connections = Connections::default();
        for key in ["", "acme", "acme.ada", "acme.ada.0.1"] {
            assert_eq!(connections.put(key, &device(false)), None, "{key}");
        }
        assert_eq!(connections.put("acme.ada.0", b"garbage"), None);
    }
}
