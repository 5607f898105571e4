//! Evidence that is a file: brought through the door, copied into a store of the auditor's own, and fetched by a link.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, ONE_LINE, example_id, one_line};
use crate::Token;
use crate::contract::{Command, Http, Query};
use crate::hook::Hook;
use crate::upload::{Object, Upload};

/// The object store in which evidence is kept, as `<tenant>/<evidence id>`.
pub const EVIDENCE: &str = "evidence";

/// What is taken as evidence: documents, sheets, pictures, mails and archives of them.
const TYPES: &[&str] = &[
    "application/gzip",
    "application/json",
    "application/pdf",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/xml",
    "application/zip",
    "image/*",
    "message/rfc822",
    "text/csv",
    "text/markdown",
    "text/plain",
];

/// A file's name as it may stand in a header and in somebody's folder.
fn file_name(name: &str, _: &()) -> garde::Result {
    match name.chars().any(|c| c.is_control() || c == '/' || c == '\\') || name == "." || name == ".." {
        true => Err(garde::Error::new("must be a file's name without folders and control characters")),
        false => Ok(()),
    }
}

/// Files evidence for a control that is a file: the body is the file itself, at most 50 MiB. It is kept with the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct UploadEvidence {
    /// For which control.
    #[garde(skip)]
    pub control: Token,
    /// What it is. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub title: String,
    /// The file's name, 1 to 200 characters, without folders.
    #[garde(length(chars, min = 1, max = 200), custom(file_name))]
    #[schemars(regex(pattern = r"^[^\u0000-\u001F\u007F-\u009F/\\]*$"))]
    pub filename: String,
    /// SHA-256 that the file must have, in hexadecimal. Absent: whatever it has is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(bytes, min = 64, max = 64)))]
    #[schemars(length(min = 64, max = 64))]
    pub sha256: Option<String>,
    /// From when it holds, such as the day of the test that it reports; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub effective_from: Option<DateTime<Utc>>,
    /// Until when it holds. Nothing proves for ever: at most two years after it takes effect, and a year if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub expires_at: Option<DateTime<Utc>>,
    /// The file.
    #[garde(dive)]
    pub object: Object,
}

impl Command for UploadEvidence {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "upload_evidence";
    const LANE: &'static str = "files";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/evidence/files"));
    const SCOPE: &'static str = "compliance:write";
    const UPLOAD: Option<Upload> = Some(Upload { max_bytes: 50 << 20, types: TYPES });

    fn example() -> Self {
        UploadEvidence {
            control: "training".parse().expect("a constant that is a token"),
            title: "Attendance of the security course".into(),
            filename: "course.pdf".into(),
            sha256: None,
            effective_from: None,
            expires_at: None,
            object: Object::example("acme", "application/pdf"),
        }
    }
}

/// The file that a piece of evidence is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceUpload {
    /// Its name.
    pub filename: String,
    /// The media type that the uploader said.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// When it was removed, its retention being over. Its hash stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<DateTime<Utc>>,
}

/// Asks where a piece of evidence that is a file is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EvidenceDownload {
    /// Which.
    #[garde(skip)]
    pub evidence_id: Uuid,
}

impl EvidenceDownload {
    /// The path at which this is asked.
    pub fn address(evidence_id: Uuid) -> String {
        format!("/api/v1/compliance/evidence/{evidence_id}/file")
    }
}

/// Where a piece of evidence is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceLink {
    /// Which.
    pub evidence_id: Uuid,
    /// The file's name.
    pub filename: String,
    /// The media type that the uploader said.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// The path at the HTTP door. Whoever has it may fetch the file, without a credential.
    pub path: String,
    /// Until when the path is good.
    pub until: DateTime<Utc>,
}

impl Query for EvidenceDownload {
    type Answer = EvidenceLink;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "evidence_download";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/evidence/{evidence_id}/file"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        EvidenceDownload { evidence_id: example_id(0x11) }
    }
}

/// The file itself, for whoever was given its link.
#[derive(Debug)]
pub struct EvidenceContent;

impl Hook for EvidenceContent {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "evidence_content";
    const HTTP: Http = Http::get("/evidence-files/{link}");
    const MAX_BODY: usize = 0;
    const SUMMARY: &'static str = "A file of evidence. The link is signed and good for five minutes.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_folder_in_it_is_none() {
        for name in ["a/b", "a\\b", "..", ".", "a\nb"] {
            let upload = UploadEvidence { filename: name.into(), ..UploadEvidence::example() };
            assert!(upload.validate().is_err(), "{name:?}");
        }
        assert!(UploadEvidence::example().validate().is_ok());
    }
}
