//! The API key that is made at the first start.

use omnibus_bus::BUCKET_KEYS;
use omnibus_ingest::keys::{self, KeyHash};
use omnibus_runtime::Bus;
use omnibus_schemas::Tenant;

use crate::act;
use crate::home::{self, Home};

/// The key kept in the home folder, if the bus still knows it and it is the tenant's; else a new one, kept there.
pub(super) async fn first_key(operator: &Bus, home: &Home, tenant: &Tenant) -> anyhow::Result<String> {
    let js = operator.jetstream();
    if let Some(key) = home::read_secret(&home.demo_key())? {
        let store = js.get_key_value(BUCKET_KEYS).await?;
        let known = store.get(KeyHash::of(&key).to_string()).await?.is_some();
        let ours = key
            .strip_prefix("omk_")
            .and_then(|rest| rest.rsplit_once('_'))
            .is_some_and(|(of, _)| of == tenant.as_str());
        if known && ours {
            return Ok(key);
        }
    }
    let (key, record) = keys::mint(tenant, "made by omnibus up", ["*"], None);
    keys::put(js, &key, &record).await?;
    home::write_private(&home.demo_key(), key.expose())?;
    act::record(operator, tenant.as_str(), "key.minted", &record.id.to_string(), "scopes *").await?;
    Ok(key.expose().to_owned())
}
