//! Certificates of proved domains, by ACME (RFC 8555). Each step is a command of its own, so that a worker that is
//! killed between two of them has lost nothing.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BRANDER, OPERATE, WRITE, a_time, an_id};
use crate::contract::{Command, Event, Http};

/// The key-value bucket from which doors take the certificates that they serve tenants' hosts with. A key is a host, a
/// value the JSON of its [`HostCertificate`]; a host without an entry is not served over TLS.
pub const CERTIFICATES: &str = "certificates";

/// A host's certificate, as it travels to the doors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCertificate {
    /// Whose host it is.
    pub tenant: String,
    /// PEM, the host's own first.
    pub chain: String,
    /// The private key (PKCS #8), sealed for `<tenant>/<host>` with the key that brander and doors share; in base64.
    pub sealed_key: String,
    /// Until when it is good.
    pub until: DateTime<Utc>,
    /// When it was made.
    pub issued_at: DateTime<Utc>,
}

/// How a domain's certificate stands, whatever the host's own status is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateStatus {
    /// None was asked for.
    None,
    /// An order is open; the authority has yet to look.
    Ordered,
    /// The authority is looking at the host.
    Checking,
    /// There is one.
    Issued,
    /// The last order came to nothing. An older certificate stays in use until it ends.
    Failed,
}

impl CertificateStatus {
    /// As it is written in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            CertificateStatus::None => "none",
            CertificateStatus::Ordered => "ordered",
            CertificateStatus::Checking => "checking",
            CertificateStatus::Issued => "issued",
            CertificateStatus::Failed => "failed",
        }
    }

    /// The reverse of [`CertificateStatus::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        use CertificateStatus::{Checking, Failed, Issued, None, Ordered};
        [None, Ordered, Checking, Issued, Failed].into_iter().find(|status| status.as_str() == word)
    }
}

/// Orders a certificate for a proved domain. Put off while the authority's budget is used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct OrderCertificate {
    /// The host.
    #[garde(length(chars, min = 1, max = 253))]
    pub host: String,
}

impl Command for OrderCertificate {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "order_certificate";
    const LANE: &'static str = "certificates";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/whitelabel/domain/{host}/certificate"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        OrderCertificate { host: "portal.northwind-coffee.com".into() }
    }
}

/// Tells the authority that the challenge is answered, and waits for its verdict. The worker tells itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AnswerChallenge {
    /// The order.
    #[garde(skip)]
    pub order_id: Uuid,
}

impl Command for AnswerChallenge {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "answer_challenge";
    const LANE: &'static str = "certificates";
    const SCOPE: &'static str = OPERATE;

    fn example() -> Self {
        AnswerChallenge { order_id: an_id(3) }
    }
}

/// Has the certificate made and fetches it. The worker tells itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct FinishCertificate {
    /// The order.
    #[garde(skip)]
    pub order_id: Uuid,
}

impl Command for FinishCertificate {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "finish_certificate";
    const LANE: &'static str = "certificates";
    const SCOPE: &'static str = OPERATE;

    fn example() -> Self {
        FinishCertificate { order_id: an_id(3) }
    }
}

/// The authority has an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateOrdered {
    /// The host.
    pub host: String,
    /// The order.
    pub order_id: Uuid,
}

impl Event for CertificateOrdered {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "certificate_ordered";

    fn example() -> Self {
        CertificateOrdered { host: "portal.northwind-coffee.com".into(), order_id: an_id(3) }
    }
}

/// There is a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateIssued {
    /// The host.
    pub host: String,
    /// The order.
    pub order_id: Uuid,
    /// Until when it is good. A new one is ordered 30 days before.
    pub until: DateTime<Utc>,
}

impl Event for CertificateIssued {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "certificate_issued";

    fn example() -> Self {
        CertificateIssued { host: "portal.northwind-coffee.com".into(), order_id: an_id(3), until: a_time(90 * 24) }
    }
}

/// An order came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateFailed {
    /// The host.
    pub host: String,
    /// What the authority said.
    pub detail: String,
}

impl Event for CertificateFailed {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "certificate_failed";

    fn example() -> Self {
        CertificateFailed {
            host: "portal.northwind-coffee.com".into(),
            detail: "the authority found no answer at the host".into(),
        }
    }
}
