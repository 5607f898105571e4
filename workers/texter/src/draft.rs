//! A text before it leaves: what somebody wants sent, and exactly what is about to go out.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use omnibus_runtime::{Events, Fail, Prepared};
use omnibus_schemas::texter::{Category, SmsEncoding, WaitsAt};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

use crate::ledger::Account;
use crate::number::Number;
use crate::outcome::Sent;
use crate::secret::Bound;

/// Stands in a text where its code will. A private character: no template and no caller writes it.
pub(crate) const HOLE: char = '\u{e000}';

/// A text that somebody wants sent.
pub(crate) struct Draft {
    pub(crate) number: Number,
    pub(crate) from: Option<String>,
    pub(crate) body: String,
    /// The code that belongs where the hole is.
    pub(crate) code: Option<Code>,
    pub(crate) category: Category,
    pub(crate) template: Option<String>,
    pub(crate) timezone: Option<String>,
    pub(crate) send_at: Option<DateTime<Utc>>,
    pub(crate) waits_at: WaitsAt,
}

impl Draft {
    /// The recipient's zone, if the caller names it.
    pub(crate) fn zone(&self) -> Result<Option<Tz>, Fail> {
        let zone = self.timezone.as_deref().map(str::parse::<Tz>).transpose();
        zone.map_err(|_| Fail::reject("invalid", "/timezone is not an IANA zone such as Europe/Berlin"))
    }
}

/// Which code stands in a text. The code itself is sealed until the text leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) verification_id: Uuid,
    pub(crate) purpose: String,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) sealed: String,
}

impl Code {
    /// What the code is bound to.
    pub(crate) fn bound<'a>(&'a self, tenant: &'a str, recipient: &'a str) -> Bound<'a> {
        Bound { tenant, recipient, purpose: &self.purpose, verification: self.verification_id }
    }
}

/// Exactly what is about to leave; a code stands in it as a hole.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    pub(crate) provider: String,
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) body: String,
    pub(crate) code: Option<Code>,
    /// When this attempt began, by our clock: what the provider took over later may be it.
    pub(crate) since: DateTime<Utc>,
    /// The provider's ids of texts like this one, which it is not.
    pub(crate) others: Vec<String>,
    /// Of another text like this one nobody knows whether it left, or by which id its provider has it.
    pub(crate) other_uncertain: bool,
    /// Its budget is nearly spent.
    pub(crate) low: bool,
    /// It tries a provider that was left alone.
    pub(crate) probes: bool,
    pub(crate) account: Account,
    pub(crate) encoding: SmsEncoding,
    pub(crate) estimate: i64,
    pub(crate) category: Category,
    pub(crate) timezone: Option<String>,
    /// When the provider is to send it; at once if absent.
    #[serde(default)]
    pub(crate) send_at: Option<DateTime<Utc>>,
    /// The text that could not be delivered, if this is its second try.
    #[serde(default)]
    pub(crate) retry_of: Option<Uuid>,
}

/// A text is not for logs: neither its number nor its words.
impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("provider", &self.provider).field("account", &self.account).finish_non_exhaustive()
    }
}

/// What a text needs next.
pub(crate) enum Step {
    /// It is to leave.
    Go(Box<Plan>, Events),
    /// A provider has it already.
    Done(Sent),
    /// It waits, and is looked at again after this.
    Later(Duration),
}

impl Step {
    /// The same for the runtime, where nothing else is to be told of the text.
    pub(crate) fn prepared(self, message_id: Uuid) -> Prepared<Plan> {
        match self {
            Step::Go(plan, events) => Prepared::Go(*plan, events),
            Step::Done(sent) => Prepared::Skip(sent.event(message_id)),
            Step::Later(wait) => Prepared::Later(wait),
        }
    }
}

pub(crate) fn encoding_word(encoding: SmsEncoding) -> &'static str {
    match encoding {
        SmsEncoding::Gsm7 => "GSM-7",
        SmsEncoding::Ucs2 => "UCS-2",
    }
}

/// The reverse of [`encoding_word`].
pub(crate) fn encoding(word: &str) -> SmsEncoding {
    if word == "GSM-7" { SmsEncoding::Gsm7 } else { SmsEncoding::Ucs2 }
}

pub(crate) fn category_word(category: Category) -> &'static str {
    match category {
        Category::Marketing => "marketing",
        Category::Transactional => "transactional",
        Category::Urgent => "urgent",
    }
}

/// The reverse of [`category_word`].
pub(crate) fn category(word: &str) -> Category {
    match word {
        "marketing" => Category::Marketing,
        "urgent" => Category::Urgent,
        _ => Category::Transactional,
    }
}
