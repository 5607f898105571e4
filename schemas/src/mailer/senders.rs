//! From which domains a tenant sends, in which streams, and by which providers.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{DOMAIN_NAME, TOKEN, domain_name, token};
use crate::contract::{Command, Event, Http, Query};

/// Asks for a domain to send from. Until it is confirmed, mails from it are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AddSenderDomain {
    /// Such as `example.com`, in its `xn--` form if beyond ASCII.
    #[garde(custom(domain_name))]
    #[schemars(regex(pattern = DOMAIN_NAME), extend("examples" = ["example.com"]))]
    pub domain: String,
}

impl Command for AddSenderDomain {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "add_sender_domain";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/email/domains/{domain}"));
    const SCOPE: &'static str = "email:admin";

    fn example() -> Self {
        AddSenderDomain { domain: "example.com".into() }
    }
}

/// Confirms that a domain is the tenant's: by the TXT record that `sender_domain_added` named, which is looked for now; or
/// with an approval of whoever runs the installation, where there is no DNS to be asked. A domain is one tenant's at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ConfirmSenderDomain {
    /// As it was asked for.
    #[garde(custom(domain_name))]
    #[schemars(regex(pattern = DOMAIN_NAME), extend("examples" = ["example.com"]))]
    pub domain: String,
    /// HMAC-SHA-256 of `<tenant> <domain>` under the installation's secret, 64 hexadecimal digits. With it, DNS is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 64, max = 64)))]
    #[schemars(length(min = 64, max = 64))]
    pub approval: Option<String>,
}

impl Command for ConfirmSenderDomain {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "confirm_sender_domain";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/domains/{domain}/confirm"));
    const SCOPE: &'static str = "email:admin";

    fn example() -> Self {
        ConfirmSenderDomain { domain: "example.com".into(), approval: None }
    }
}

/// Gives a domain up: mails from it are refused from now on, those that are queued too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RemoveSenderDomain {
    /// As it was asked for.
    #[garde(custom(domain_name))]
    #[schemars(regex(pattern = DOMAIN_NAME), extend("examples" = ["example.com"]))]
    pub domain: String,
}

impl Command for RemoveSenderDomain {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "remove_sender_domain";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/email/domains/{domain}"));
    const SCOPE: &'static str = "email:admin";

    fn example() -> Self {
        RemoveSenderDomain { domain: "example.com".into() }
    }
}

/// A domain was asked for. Until it is confirmed, mails from it are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SenderDomainAdded {
    /// The domain, in small letters.
    pub domain: String,
    /// The name at which a TXT record is to stand.
    pub record_name: String,
    /// What it is to say.
    pub record_value: String,
}

impl Event for SenderDomainAdded {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "sender_domain_added";

    fn example() -> Self {
        SenderDomainAdded {
            domain: "example.com".into(),
            record_name: "_omnibus.example.com".into(),
            record_value: "omnibus-sender=6f0c1b7a5d3e4c2f9a8b7c6d5e4f3a2b".into(),
        }
    }
}

/// A domain is the tenant's: it may send from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SenderDomainConfirmed {
    /// The domain, in small letters.
    pub domain: String,
    /// By what it was confirmed.
    pub by: ConfirmedBy,
}

impl Event for SenderDomainConfirmed {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "sender_domain_confirmed";

    fn example() -> Self {
        SenderDomainConfirmed { domain: "example.com".into(), by: ConfirmedBy::Dns }
    }
}

/// The tenant gave a domain up: mails from it are refused from now on, those that are queued too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SenderDomainRemoved {
    /// The domain, in small letters.
    pub domain: String,
}

impl Event for SenderDomainRemoved {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "sender_domain_removed";

    fn example() -> Self {
        SenderDomainRemoved { domain: "example.com".into() }
    }
}

/// What shows that a domain is a tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmedBy {
    /// The record stood in DNS.
    Dns,
    /// Whoever runs the installation said so.
    Operator,
}

impl ConfirmedBy {
    /// As it stands in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            ConfirmedBy::Dns => "dns",
            ConfirmedBy::Operator => "operator",
        }
    }
}

/// Asks for the tenant's sender domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SenderDomains {}

/// A domain to send from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SenderDomain {
    /// The domain.
    pub domain: String,
    /// A TXT record with this text at `_omnibus.<domain>` shows that the domain is the tenant's.
    pub proof: String,
    /// When it was asked for.
    pub added_at: DateTime<Utc>,
    /// When it was confirmed; absent until then.
    pub confirmed_at: Option<DateTime<Utc>>,
}

/// The tenant's sender domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SenderDomainList {
    /// In the order of their names.
    pub domains: Vec<SenderDomain>,
}

impl Query for SenderDomains {
    type Answer = SenderDomainList;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "sender_domains";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/domains"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        SenderDomains {}
    }
}

/// What a stream's mails are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// Somebody waits for them.
    #[default]
    Transactional,
    /// Nobody asked for just this one: each carries an unsubscribe link. RFC 8058.
    Marketing,
}

impl StreamKind {
    /// As it stands in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            StreamKind::Transactional => "transactional",
            StreamKind::Marketing => "marketing",
        }
    }
}

/// Names a stream of the tenant's own, such as `reminders`. `transactional` and `marketing` are there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PutMailStream {
    /// Its name.
    #[garde(custom(token))]
    #[schemars(regex(pattern = TOKEN))]
    pub stream: String,
    /// What its mails are.
    #[garde(skip)]
    pub kind: StreamKind,
}

impl Command for PutMailStream {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "put_mail_stream";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/email/streams/{stream}"));
    const SCOPE: &'static str = "email:admin";

    fn example() -> Self {
        PutMailStream { stream: "reminders".into(), kind: StreamKind::Marketing }
    }
}

/// Who takes mails over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The mail server of `SMTP_HOST`.
    Smtp,
    /// SendGrid's v3 API.
    Sendgrid,
    /// A folder of `.eml` files.
    File,
}

impl Provider {
    /// As it stands in rows and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Provider::Smtp => "smtp",
            Provider::Sendgrid => "sendgrid",
            Provider::File => "file",
        }
    }

    /// The reverse of [`Provider::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Provider::Smtp, Provider::Sendgrid, Provider::File].into_iter().find(|provider| provider.as_str() == word)
    }
}

/// Says by which providers a stream's mails leave. The next one is tried only when it is certain that a mail has not
/// left by the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PutMailRoute {
    /// The stream.
    #[garde(custom(token))]
    #[schemars(regex(pattern = TOKEN))]
    pub stream: String,
    /// In the order in which they are tried, at most 3; empty to follow the installation's again.
    #[garde(length(max = 3))]
    pub providers: Vec<Provider>,
}

impl Command for PutMailRoute {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "put_mail_route";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/email/routes/{stream}"));
    const SCOPE: &'static str = "email:admin";

    fn example() -> Self {
        PutMailRoute { stream: "marketing".into(), providers: vec![Provider::File] }
    }
}

/// Asks for the tenant's streams and routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct MailRoutes {}

/// A stream with its route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MailRoute {
    /// The stream.
    pub stream: String,
    /// What its mails are.
    pub kind: StreamKind,
    /// The tenant's own route; empty while it follows the installation's.
    pub providers: Vec<Provider>,
}

/// The streams that the tenant has named or routed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MailRouteList {
    /// In the order of their names.
    pub routes: Vec<MailRoute>,
}

impl Query for MailRoutes {
    type Answer = MailRouteList;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "mail_routes";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/routes"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        MailRoutes {}
    }
}
