//! Which host is whose, in memory. The table is the truth, and each of its changes is told by the database to every
//! replica with its commit; so a look-up costs a lock and a hash, and a host that was taken down is gone at once.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use omnibus_runtime::Desk;
use sqlx::postgres::PgListener;

use crate::Brander;

/// The longest that memory may differ from the table, should the database's word not come through.
const AFRESH: Duration = Duration::from_secs(30);

/// The hosts that serve.
#[derive(Debug, Default)]
pub struct Hosts {
    tenants: RwLock<HashMap<String, Arc<str>>>,
}

impl Hosts {
    /// Whose host is it?
    pub fn tenant(&self, host: &str) -> Option<Arc<str>> {
        self.tenants.read().expect("no panic happens under this lock").get(host).cloned()
    }

    /// A host serves a tenant, or nobody.
    pub fn set(&self, host: &str, tenant: Option<&str>) {
        let mut tenants = self.tenants.write().expect("no panic happens under this lock");
        match tenant {
            Some(tenant) => drop(tenants.insert(host.to_owned(), tenant.into())),
            None => drop(tenants.remove(host)),
        }
    }

    fn replace(&self, all: Vec<(String, String)>) {
        let all = all.into_iter().map(|(host, tenant)| (host, tenant.into())).collect();
        *self.tenants.write().expect("no panic happens under this lock") = all;
    }
}

/// Follows the table until the worker stops.
pub(crate) async fn follow(brander: Arc<Brander>, desk: Desk) -> anyhow::Result<()> {
    let mut listener = PgListener::connect_with(&desk.db).await?;
    listener.listen("brander_hosts").await?;
    'afresh: loop {
        // Listening began before this reading, so nothing falls between the two.
        let all = sqlx::query_as("select host, tenant from brander.domains where status in ('verified', 'failing')")
            .fetch_all(&desk.db)
            .await?;
        brander.shelf.hosts.replace(all);
        loop {
            let told = tokio::select! {
                told = tokio::time::timeout(AFRESH, listener.try_recv()) => told,
                () = desk.stop.cancelled() => return Ok(()),
            };
            // A connection that died without a word tells nothing: after a while the table is read again.
            let Ok(told) = told else { continue 'afresh };
            let told = told?;
            // The connection was lost and made again: what was told in between is not known.
            let Some(told) = told else { continue 'afresh };
            let tenant: Option<String> = sqlx::query_scalar(
                "select tenant from brander.domains where host = $1 and status in ('verified', 'failing')",
            )
            .bind(told.payload())
            .fetch_optional(&desk.db)
            .await?;
            brander.shelf.hosts.set(told.payload(), tenant.as_deref());
            // Nobody listens where another replica hands the certificates out.
            let _ = brander.told.send(told.payload().to_owned());
        }
    }
}
