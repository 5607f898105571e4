//! Domains of a tenant's own: claimed, proved by DNS, looked at again for as long as they serve.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BRANDER, OPERATE, READ, WRITE, a_time, fifty};
use crate::contract::{Command, Event, Http, Query};

/// How a domain stands. What it means for a certificate is told apart ([`super::CertificateStatus`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DomainStatus {
    /// Claimed, not proved: it serves nothing and keeps nobody else from it.
    Pending,
    /// Proved: it serves.
    Verified,
    /// Proved once, and the proof is missing now. It serves still: for 30 days at most.
    Failing,
    /// The proof was missing for 30 days, or another tenant has proved the host: it serves nothing.
    TakenDown,
}

impl DomainStatus {
    /// As it is written in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            DomainStatus::Pending => "pending",
            DomainStatus::Verified => "verified",
            DomainStatus::Failing => "failing",
            DomainStatus::TakenDown => "taken_down",
        }
    }

    /// The reverse of [`DomainStatus::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [DomainStatus::Pending, DomainStatus::Verified, DomainStatus::Failing, DomainStatus::TakenDown]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// Claims a domain for the tenant's pages. It serves only once it is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AddDomain {
    /// The host, without scheme and port. Letters beyond ASCII are taken in their `xn--` form. 1 to 253 characters.
    #[garde(length(chars, min = 1, max = 253))]
    pub host: String,
}

impl Command for AddDomain {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "add_domain";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/whitelabel/domain"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        AddDomain { host: "portal.northwind-coffee.com".into() }
    }
}

/// A domain was claimed; this record in its DNS proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainAdded {
    /// The host, in ASCII.
    pub host: String,
    /// The name of the TXT record.
    pub record_name: String,
    /// What the record says. Another tenant's is another.
    pub record_value: String,
}

impl Event for DomainAdded {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "domain_added";

    fn example() -> Self {
        DomainAdded {
            host: "portal.northwind-coffee.com".into(),
            record_name: "_omnibus.portal.northwind-coffee.com".into(),
            record_value: "omnibus-verify=4f9d0e0b51f66a7c0a2f0f0c8a3c57d2".into(),
        }
    }
}

/// Looks for the proof in DNS. Found: the domain serves from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct VerifyDomain {
    /// The host, as it was added.
    #[garde(length(chars, min = 1, max = 253))]
    pub host: String,
}

impl Command for VerifyDomain {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "verify_domain";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/whitelabel/domain/{host}/verify"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        VerifyDomain { host: "portal.northwind-coffee.com".into() }
    }
}

/// The proof is there: the domain serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainVerified {
    /// The host.
    pub host: String,
}

impl Event for DomainVerified {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "domain_verified";

    fn example() -> Self {
        DomainVerified { host: "portal.northwind-coffee.com".into() }
    }
}

/// Gives a domain back. It serves nothing from then on, and another tenant may prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RemoveDomain {
    /// The host.
    #[garde(length(chars, min = 1, max = 253))]
    pub host: String,
}

impl Command for RemoveDomain {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "remove_domain";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/whitelabel/domain/{host}"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        RemoveDomain { host: "portal.northwind-coffee.com".into() }
    }
}

/// A domain was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainRemoved {
    /// The host.
    pub host: String,
}

impl Event for DomainRemoved {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "domain_removed";

    fn example() -> Self {
        DomainRemoved { host: "portal.northwind-coffee.com".into() }
    }
}

/// Looks again whether a domain is proved still. The worker tells itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RecheckDomain {
    /// The host.
    #[garde(length(chars, min = 1, max = 253))]
    pub host: String,
}

impl Command for RecheckDomain {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "recheck_domain";
    const LANE: &'static str = "checks";
    const SCOPE: &'static str = OPERATE;

    fn example() -> Self {
        RecheckDomain { host: "portal.northwind-coffee.com".into() }
    }
}

/// What a look into DNS found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The proof is there.
    Proved,
    /// DNS says that it is not.
    Missing,
    /// DNS did not answer, which says nothing: SERVFAIL, a refusal, a time-out.
    Unanswered,
}

/// A domain was looked at again, and stands as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainChecked {
    /// The host.
    pub host: String,
    /// What was found.
    pub finding: Finding,
    /// How the domain stands.
    pub status: DomainStatus,
}

impl Event for DomainChecked {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "domain_checked";

    fn example() -> Self {
        DomainChecked {
            host: "portal.northwind-coffee.com".into(),
            finding: Finding::Proved,
            status: DomainStatus::Verified,
        }
    }
}

/// A domain's proof is missing: told when that is first seen, and once more as a warning after 14 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainFailing {
    /// The host.
    pub host: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it will be taken down, should nothing change.
    pub down_at: DateTime<Utc>,
    /// Whether this is the warning.
    pub warning: bool,
}

impl Event for DomainFailing {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "domain_failing";

    fn example() -> Self {
        DomainFailing {
            host: "portal.northwind-coffee.com".into(),
            since: a_time(0),
            down_at: a_time(30 * 24),
            warning: true,
        }
    }
}

/// A domain whose proof was missing has it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainRecovered {
    /// The host.
    pub host: String,
}

impl Event for DomainRecovered {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "domain_recovered";

    fn example() -> Self {
        DomainRecovered { host: "portal.northwind-coffee.com".into() }
    }
}

/// A domain serves no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainTakenDown {
    /// The host.
    pub host: String,
    /// `proof_missing` for 30 days, or `proved_by_another` tenant.
    pub why: String,
}

impl Event for DomainTakenDown {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "domain_taken_down";

    fn example() -> Self {
        DomainTakenDown { host: "portal.northwind-coffee.com".into(), why: "proof_missing".into() }
    }
}

/// Lists the tenant's domains, by host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Domains {
    /// Only hosts after this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 253)))]
    #[schemars(length(max = 253))]
    pub after: Option<String>,
    /// At most this many, 1 to 200.
    #[serde(default = "fifty")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u32,
}

/// A page of domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainsPage {
    /// By host.
    pub domains: Vec<DomainRow>,
    /// What to ask for as `after` to go on; absent at the end.
    pub next: Option<String>,
}

/// One domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainRow {
    /// The host, in ASCII.
    pub host: String,
    /// How the host stands.
    pub status: DomainStatus,
    /// How its certificate stands.
    pub certificate: super::CertificateStatus,
    /// Until when its certificate is good, where it has one.
    pub certificate_until: Option<DateTime<Utc>>,
    /// What went wrong with the certificate, where something did.
    pub certificate_detail: Option<String>,
    /// The name of the TXT record that proves it.
    pub record_name: String,
    /// What that record says.
    pub record_value: String,
    /// When it was claimed.
    pub added_at: DateTime<Utc>,
    /// When it was proved first.
    pub verified_at: Option<DateTime<Utc>>,
    /// When DNS was last asked.
    pub checked_at: Option<DateTime<Utc>>,
    /// What DNS said then.
    pub finding: Option<Finding>,
    /// Since when the proof is missing.
    pub failing_since: Option<DateTime<Utc>>,
}

impl Query for Domains {
    type Answer = DomainsPage;
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "domains";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/whitelabel/domains"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        Domains { after: None, limit: 50 }
    }
}
