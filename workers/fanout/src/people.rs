//! Every connection there is, on all nodes, as the bucket of connections tells it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use omnibus_runtime::{Bus, Followed, Health, follow};
use omnibus_schemas::presence::{BUCKET, Device};

/// The part of [`Health`] that this module speaks for.
pub(crate) const PART: &str = "fanout.people";

/// Connections by tenant, then by user and slot.
type Tenants = HashMap<String, BTreeMap<(String, String), Device>>;

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
        let Some(devices) = tenants.get(tenant) else { return vec![] };
        let of_user = devices.range((user.to_owned(), String::new())..).take_while(|((of, _), _)| of == user);
        of_user.filter(|(_, device)| !device.leaving).map(|((_, slot), _)| slot.clone()).collect()
    }

    /// Users and connections that listen to a channel: connection by user.
    pub(crate) fn on(&self, tenant: &str, channel: &str) -> Vec<(String, String)> {
        let tenants = self.tenants.lock().expect("no panic happens under this lock");
        let devices = tenants.get(tenant).into_iter().flatten();
        devices
            .filter(|(_, device)| !device.leaving && device.channels.iter().any(|name| name == channel))
            .map(|((user, _), device)| (user.clone(), device.client.clone()))
            .collect()
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
        tenants.entry(tenant.to_owned()).or_default().insert((user.to_owned(), slot.to_owned()), device);
    }
}

fn gone(tenants: &mut Tenants, key: &str) {
    let Some((tenant, user, slot)) = read(key) else { return };
    if let Some(devices) = tenants.get_mut(tenant) {
        devices.remove(&(user.to_owned(), slot.to_owned()));
        if devices.is_empty() {
            tenants.remove(tenant);
        }
    }
}
