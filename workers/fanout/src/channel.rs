//! Names of channels, as clients say them. None holds a tenant: that is the credential's.

use omnibus_schemas::presence::{Kind, TENANT_CHANNEL};
use omnibus_schemas::{Catalogue, Token, subject};
use uuid::Uuid;

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Channel {
    /// `room:<id>`, `user:<id>`, `tenant`: a log.
    Log(Kind, Token),
    /// `events:<domain>`: what a domain says.
    Events(Token),
    /// `cmd:<id>`: how a command ends.
    Command(Uuid),
}

impl Channel {
    /// `None` for what is no channel.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name == "tenant" {
            return Some(Channel::Log(Kind::Tenant, TENANT_CHANNEL.parse().ok()?));
        }
        let (kind, id) = name.split_once(':')?;
        match kind {
            "room" => Some(Channel::Log(Kind::Room, id.parse().ok()?)),
            "user" => Some(Channel::Log(Kind::User, id.parse().ok()?)),
            "events" => Some(Channel::Events(id.parse().ok()?)),
            // In one spelling only: the name is what clients are answered by.
            "cmd" => id.parse::<Uuid>().ok().filter(|parsed| parsed.to_string() == id).map(Channel::Command),
            _ => None,
        }
    }

    /// The bus subject that one subscription of this node listens to for everybody.
    pub(crate) fn subject(&self, tenant: &str) -> String {
        match self {
            Channel::Log(kind, id) => subject::live(tenant, kind.as_str(), id.as_str()),
            Channel::Events(domain) => subject::event(domain.as_str(), "*", tenant),
            Channel::Command(_) => subject::event("*", "*", tenant),
        }
    }

    /// The subject of its log, if it has one.
    pub(crate) fn log(&self, tenant: &str) -> Option<String> {
        match self {
            Channel::Log(kind, id) => Some(subject::log(kind.as_str(), id.as_str(), tenant)),
            _ => None,
        }
    }
}

/// The scopes that reading a domain's events takes: all that its queries ask for to read. `None` for a domain that there
/// isn't, or that nobody may read.
pub(crate) fn scopes_of(catalogue: &Catalogue, domain: &str) -> Option<Vec<String>> {
    let domain = catalogue.domain(domain)?;
    let mut scopes: Vec<_> = domain.queries.iter().map(|query| query.scope.clone()).collect();
    scopes.retain(|scope| scope.ends_with(":read"));
    scopes.sort();
    scopes.dedup();
    (!scopes.is_empty()).then_some(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_holds_a_tenant_or_a_wildcard() {
        for bad in [
            "",
            "room:",
            "room:*",
            "room:>",
            "room:a.b",
            "acme",
            "tenant:acme",
            "live.acme.room.a",
            "room:A",
            "cmd:1",
            "cmd:01979F6E-5A00-7000-8000-000000000001",
            "events:*",
            "$room:a",
            "room:a:b",
        ] {
            assert_eq!(Channel::parse(bad), None, "{bad}");
        }
        let room = Channel::parse("room:a-b_9").unwrap();
        assert_eq!(room.subject("acme"), "live.acme.room.a-b_9");
        assert_eq!(room.log("acme").unwrap(), "rooms.room.a-b_9.acme");
        assert_eq!(Channel::parse("tenant").unwrap().subject("acme"), "live.acme.tenant.all");
    }

    #[test]
    fn every_domain_of_the_product_can_be_read_by_somebody() {
        let catalogue = Catalogue::omnibus();
        for domain in catalogue.domains() {
            assert!(scopes_of(&catalogue, domain.name).is_some(), "{}", domain.name);
        }
        assert_eq!(scopes_of(&catalogue, "nowhere"), None);
    }
}
