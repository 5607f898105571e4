//! Hosts, brands and finished pages, in memory. A page is kept under its host, its kind and its brand's revision, so no
//! page of one host or one revision can be given out for another.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use omnibus_schemas::brand::Brand;
use omnibus_schemas::brander::Page;

use super::html::{Dressed, page};
use crate::domains::hosts::Hosts;

/// What visits are answered from.
#[derive(Debug, Default)]
pub struct Shelf {
    /// Whose host is whose.
    pub hosts: Hosts,
    brands: RwLock<HashMap<String, Arc<Brand>>>,
    pages: RwLock<HashMap<(String, Page), Kept>>,
}

/// A page, with the revision and the tenant it was made for.
type Kept = (u64, Arc<str>, Arc<Dressed>);

impl Shelf {
    /// A tenant has a brand, or has it no more. One that is older than what is known changes nothing.
    pub fn dress(&self, tenant: &str, brand: Option<Brand>) {
        let mut brands = self.brands.write().expect("no panic happens under this lock");
        match brand {
            None => drop(brands.remove(tenant)),
            Some(brand) => {
                if brands.get(tenant).is_none_or(|known| known.revision <= brand.revision) {
                    brands.insert(tenant.to_owned(), Arc::new(brand));
                }
            }
        }
    }

    /// Only these tenants have brands.
    pub fn undress_all_but(&self, tenants: &BTreeSet<String>) {
        self.brands.write().expect("no panic happens under this lock").retain(|tenant, _| tenants.contains(tenant));
    }

    /// The brand of a host's tenant, plain if it has none of its own; `None` where no tenant serves.
    pub fn brand(&self, host: &str) -> Option<(Arc<str>, Arc<Brand>)> {
        let tenant = self.hosts.tenant(host)?;
        let known = self.brands.read().expect("no panic happens under this lock").get(&*tenant).cloned();
        let brand = known.unwrap_or_else(|| Arc::new(Brand::plain(&*tenant)));
        Some((tenant, brand))
    }

    /// The finished page of a host.
    pub fn page(&self, host: &str, kind: Page) -> Option<Arc<Dressed>> {
        let (tenant, brand) = self.brand(host)?;
        let key = (host.to_owned(), kind);
        if let Some((revision, whose, done)) = self.pages.read().expect("no panic happens under this lock").get(&key)
            && *revision == brand.revision
            && *whose == tenant
        {
            return Some(done.clone());
        }
        let done = Arc::new(page(&brand, kind, host, None));
        let mut pages = self.pages.write().expect("no panic happens under this lock");
        // As many hosts as serve, two pages each; those that serve no more go when there are far more.
        if pages.len() > 50_000 {
            pages.clear();
        }
        pages.insert(key, (brand.revision, tenant, done.clone()));
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brand(name: &str, revision: u64) -> Brand {
        Brand { revision, ..Brand::plain(name) }
    }

    #[test]
    fn a_page_is_its_hosts_and_its_revisions_own() {
        let shelf = Shelf::default();
        assert!(shelf.page("a.com", Page::Login).is_none());
        shelf.hosts.set("a.com", Some("acme"));
        shelf.hosts.set("b.com", Some("globex"));
        assert!(shelf.page("a.com", Page::Login).unwrap().html.contains("acme"));
        shelf.dress("acme", Some(brand("Acme One", 1)));
        shelf.dress("globex", Some(brand("Globex", 1)));
        assert!(shelf.page("a.com", Page::Login).unwrap().html.contains("Acme One"));
        assert!(shelf.page("b.com", Page::Login).unwrap().html.contains("Globex"));
        shelf.dress("acme", Some(brand("Acme Two", 2)));
        assert!(shelf.page("a.com", Page::Login).unwrap().html.contains("Acme Two"));
        shelf.dress("acme", Some(brand("Acme One", 1)));
        assert!(shelf.page("a.com", Page::Login).unwrap().html.contains("Acme Two"), "older news change nothing");

        // The host changes hands: nothing of the one before it is left, though the revisions are the same.
        shelf.dress("globex", Some(brand("Globex", 2)));
        shelf.hosts.set("a.com", Some("globex"));
        assert!(shelf.page("a.com", Page::Login).unwrap().html.contains("Globex"));
        shelf.hosts.set("a.com", None);
        assert!(shelf.page("a.com", Page::Login).is_none());
    }
}
