//! Every connection there is, on all nodes, as the bucket of connections tells it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use omnibus_runtime::{Bus, Followed, Health, follow};
use omnibus_schemas::presence::{BUCKET, Device};

/// The part of [`Health`] that this module speaks for.
pub(crate) const PART: &str = "fanout.people";

/// A user and one of his slots.
type Place = (String, String);

/// Connections by tenant.
type Tenants = HashMap<String, Connections>;

/// A tenant's connections.
#[derive(Debug, Default)]
struct Connections {
    devices: BTreeMap<Place, Device>,
    /// Who listens to what, so that nobody who asks for one channel has all connections looked through.
    listeners: HashMap<String, BTreeSet<Place>>,
}

impl Connections {
    fn put(&mut self, place: Place, device: Device) {
        self.remove(&place);
        // Who is about to go is not there for others.
        if !device.leaving {
            for channel in &device.channels {
                self.listeners.entry(channel.clone()).or_default().insert(place.clone());
            }
        }
        self.devices.insert(place, device);
    }

    fn remove(&mut self, place: &Place) {
        let Some(device) = self.devices.remove(place) else { return };
        for channel in &device.channels {
            if let Some(places) = self.listeners.get_mut(channel) {
                places.remove(place);
                if places.is_empty() {
                    self.listeners.remove(channel);
                }
            }
        }
    }
}

/// The connections of all nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct People {
    tenants: Arc<Mutex<Tenants>>,
}

impl People {
    /// Follows the bucket for as long as it is polled.
    pub(crate) async fn follow(&self, bus: &Bus, health: &Health) {
        health.ill(PART, "loading");
        let take = |followed: Followed| {
            let mut tenants = self.tenants.lock().expect("no panic happens under this lock");
            match followed {
                Followed::Whole(all) => {
                    *tenants = Tenants::new();
                    for (key, value) in all {
                        put(&mut tenants, &key, &value);
                    }
                    health.well(PART);
                }
                Followed::Put(key, value) => put(&mut tenants, &key, &value),
                Followed::Gone(key) => gone(&mut tenants, &key),
                // What is known is served until it is loaded anew.
                Followed::Lost(_) => {}
            }
        };
        match follow(bus, BUCKET, take).await {}
    }

    /// The slots that a user's connections hold, as far as it is known here.
    pub(crate) fn slots(&self, tenant: &str, user: &str) -> Vec<String> {
        let tenants = self.tenants.lock().expect("no panic happens under this lock");
        let Some(connections) = tenants.get(tenant) else { return vec![] };
        let of_user =
            connections.devices.range((user.to_owned(), String::new())..).take_while(|((of, _), _)| of == user);
        of_user.filter(|(_, device)| !device.leaving).map(|((_, slot), _)| slot.clone()).collect()
    }

    /// Users and connections that listen to a channel, by user. `None` if they are more than `most`.
    pub(crate) fn on(&self, tenant: &str, channel: &str, most: usize) -> Option<Vec<(String, String)>> {
        let tenants = self.tenants.lock().expect("no panic happens under this lock");
        let Some(connections) = tenants.get(tenant) else { return Some(vec![]) };
        let Some(places) = connections.listeners.get(channel) else { return Some(vec![]) };
        let client = |place: &Place| Some((place.0.clone(), connections.devices.get(place)?.client.clone()));
        (places.len() <= most).then(|| places.iter().filter_map(client).collect())
    }

    /// How many connections listen to a channel, and of how many users they are.
    pub(crate) fn count(&self, tenant: &str, channel: &str) -> (usize, usize) {
        let tenants = self.tenants.lock().expect("no panic happens under this lock");
        let Some(places) = tenants.get(tenant).and_then(|connections| connections.listeners.get(channel)) else {
            return (0, 0);
        };
        let mut users: Vec<_> = places.iter().map(|(user, _)| user).collect();
        users.dedup();
        (places.len(), users.len())
    }
}

/// `<tenant>.<user>.<slot>`
fn read(key: &str) -> Option<(&str, &str, &str)> {
    let mut parts = key.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(tenant), Some(user), Some(slot), None) => Some((tenant, user, slot)),
        _ => None,
    }
}

fn put(tenants: &mut Tenants, key: &str, value: &[u8]) {
    if let (Some((tenant, user, slot)), Ok(device)) = (read(key), serde_json::from_slice(value)) {
        tenants.entry(tenant.to_owned()).or_default().put((user.to_owned(), slot.to_owned()), device);
    }
}

fn gone(tenants: &mut Tenants, key: &str) {
    let Some((tenant, user, slot)) = read(key) else { return };
    if let Some(connections) = tenants.get_mut(tenant) {
        connections.remove(&(user.to_owned(), slot.to_owned()));
        if connections.devices.is_empty() {
            tenants.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_as(people: &People, key: &str, leaving: bool, channels: &[&str]) {
        let channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
        let device = Device { client: key.to_owned(), node: "n".to_owned(), away: false, leaving, channels };
        put(&mut people.tenants.lock().unwrap(), key, &serde_json::to_vec(&device).unwrap());
    }

    #[test]
    fn who_listens_to_a_channel_is_known_as_connections_come_change_and_go() {
        let people = People::default();
        put_as(&people, "acme.ada.0", false, &["room:a", "room:b"]);
        put_as(&people, "acme.ada.1", false, &["room:a"]);
        put_as(&people, "acme.bob.0", false, &["room:a"]);
        put_as(&people, "globex.eve.0", false, &["room:a"]);
        assert_eq!((people.count("acme", "room:a"), people.count("acme", "room:b")), ((3, 2), (1, 1)));
        assert_eq!(people.on("acme", "room:a", 2), None, "more than are wanted");
        let on: Vec<_> = people.on("acme", "room:a", 3).unwrap().into_iter().map(|(_, client)| client).collect();
        assert_eq!(on, ["acme.ada.0", "acme.ada.1", "acme.bob.0"]);
        put_as(&people, "acme.ada.0", false, &["room:b"]);
        put_as(&people, "acme.bob.0", true, &["room:a"]);
        assert_eq!(people.count("acme", "room:a"), (1, 1));
        assert_eq!(people.slots("acme", "bob"), [""; 0], "who is about to go holds nothing");
        for key in ["acme.ada.0", "acme.ada.1", "acme.bob.0"] {
            gone(&mut people.tenants.lock().unwrap(), key);
        }
        assert_eq!((people.count("acme", "room:a"), people.count("globex", "room:a")), ((0, 0), (1, 1)));
        assert!(!people.tenants.lock().unwrap().contains_key("acme"));
    }
}
