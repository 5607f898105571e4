//! Evidence: what a person brings to show that a control is done. A file that is uploaded, a file by its hash and where it
//! lies, or an entry of the log. When it takes effect and when it expires are apart from when it was filed.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, EvidenceUpload, ONE_LINE, a_page, example_control, example_id, example_time, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// Files evidence for a control. It names a file by its hash, or an entry of the tenant's log. The file itself is brought to
/// `/api/v1/compliance/evidence/files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct FileEvidence {
    /// For which control.
    #[garde(skip)]
    pub control: Token,
    /// What it is. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub title: String,
    /// SHA-256 of the file, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(bytes, min = 64, max = 64)))]
    #[schemars(length(min = 64, max = 64))]
    pub sha256: Option<String>,
    /// Where the file lies: an address, a ticket, a shelf. At most 500 characters.
    #[serde(default)]
    #[garde(length(chars, max = 500), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub place: String,
    /// An entry of the tenant's log, by its index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub entry: Option<u64>,
    /// From when it holds, such as the day of the test that it reports; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub effective_from: Option<DateTime<Utc>>,
    /// Until when it holds. Nothing proves for ever: at most two years after it takes effect, and a year if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub expires_at: Option<DateTime<Utc>>,
}

impl Command for FileEvidence {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "file_evidence";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/evidence"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        FileEvidence {
            control: "training".parse().expect("a constant that is a token"),
            title: "Attendance of the security course".into(),
            sha256: Some("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into()),
            place: "https://files.example.com/course.pdf".into(),
            entry: None,
            effective_from: None,
            expires_at: None,
        }
    }
}

/// Evidence is on file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceFiled {
    /// Its id, which is the command's.
    pub evidence_id: Uuid,
    /// For which control.
    pub control: Token,
    /// SHA-256 of the file, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The file, if it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<EvidenceUpload>,
    /// The entry of the log, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// From when it holds.
    pub effective_from: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

impl Event for EvidenceFiled {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "evidence_filed";

    fn example() -> Self {
        EvidenceFiled {
            evidence_id: example_id(0x11),
            control: example_control(),
            sha256: None,
            file: None,
            entry: Some(4711),
            effective_from: example_time("2026-01-02T00:00:00Z"),
            expires_at: example_time("2027-01-02T00:00:00Z"),
        }
    }
}

/// Takes evidence back. It stays on file, and counts no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct WithdrawEvidence {
    /// Which.
    #[garde(skip)]
    pub evidence_id: Uuid,
    /// Why. 1 to 500 characters.
    #[garde(length(chars, min = 1, max = 500), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub reason: String,
}

impl Command for WithdrawEvidence {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "withdraw_evidence";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/evidence/{evidence_id}/withdraw"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        WithdrawEvidence { evidence_id: example_id(0x11), reason: "the wrong year's list".into() }
    }
}

/// Evidence counts no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceWithdrawn {
    /// Which.
    pub evidence_id: Uuid,
    /// For which control it was.
    pub control: Token,
    /// Why.
    pub reason: String,
}

impl Event for EvidenceWithdrawn {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "evidence_withdrawn";

    fn example() -> Self {
        EvidenceWithdrawn {
            evidence_id: example_id(0x11),
            control: example_control(),
            reason: "the wrong year's list".into(),
        }
    }
}

/// Lists evidence, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EvidenceFile {
    /// Only for this control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub control: Option<Token>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 100), custom(one_line)))]
    #[schemars(length(max = 100), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Items at most.
    #[serde(default = "a_page")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u16,
}

/// A page of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceItems {
    /// The evidence.
    pub items: Vec<EvidenceItem>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceItem {
    /// Its id.
    pub evidence_id: Uuid,
    /// For which control.
    pub control: Token,
    /// What it is.
    pub title: String,
    /// SHA-256 of the file, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The file, if it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<EvidenceUpload>,
    /// Where the file lies, if it was not.
    pub place: String,
    /// The entry of the log, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Who filed it; absent if the message did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was filed.
    pub filed_at: DateTime<Utc>,
    /// From when it holds.
    pub effective_from: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// When it was taken back, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<DateTime<Utc>>,
}

impl Query for EvidenceFile {
    type Answer = EvidenceItems;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "evidence_file";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/evidence"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        EvidenceFile { control: None, after: None, limit: 50 }
    }
}
