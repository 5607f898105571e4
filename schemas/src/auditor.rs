//! The log: everything that happens, as entries of a Merkle tree for each tenant, with the proofs of it; erasure of a
//! person's data; legal holds; acts of the operator. And compliance, which stands on it: policies, controls and how they
//! stand, reports, audits, evidence, risks, access reviews, incidents.

mod access_review;
mod act;
mod audit;
mod control;
mod erasure;
mod evidence;
mod evidence_upload;
mod export;
mod hold;
mod incident;
mod log;
mod policy;
mod report;
mod risk;

pub use access_review::*;
pub use act::*;
pub use audit::*;
pub use control::*;
pub use erasure::*;
pub use evidence::*;
pub use evidence_upload::*;
pub use export::*;
pub use hold::*;
pub use incident::*;
pub use log::*;
pub use policy::*;
pub use report::*;
pub use risk::*;

use uuid::Uuid;

use crate::catalogue::Domain;
use crate::{Bucket, Token};

/// The domain's name on the bus.
pub const DOMAIN: &str = "auditor";

/// The domain's catalogue.
pub fn domain() -> Domain {
    Domain::new(DOMAIN, "Audit log")
        .command::<EraseSubject>()
        .command::<PlaceHold>()
        .command::<LiftHold>()
        .command::<RecordAct>()
        .command::<DraftPolicy>()
        .command::<MovePolicy>()
        .command::<AcknowledgePolicy>()
        .command::<AssessControl>()
        .command::<FileEvidence>()
        .command::<UploadEvidence>()
        .command::<WithdrawEvidence>()
        .command::<PlanAudit>()
        .command::<RecordFinding>()
        .command::<MoveFinding>()
        .command::<CloseAudit>()
        .command::<RecordRisk>()
        .command::<TreatRisk>()
        .command::<OpenAccessReview>()
        .command::<DecideAccess>()
        .command::<CompleteAccessReview>()
        .command::<ReportIncident>()
        .command::<MoveIncident>()
        .event::<SubjectErased>()
        .event::<HoldPlaced>()
        .event::<HoldLifted>()
        .event::<ActRecorded>()
        .event::<PolicyMoved>()
        .event::<PolicyAcknowledged>()
        .event::<ControlStatusChanged>()
        .event::<EvidenceFiled>()
        .event::<EvidenceWithdrawn>()
        .event::<AuditPlanned>()
        .event::<FindingRecorded>()
        .event::<FindingMoved>()
        .event::<AuditClosed>()
        .event::<RiskRecorded>()
        .event::<RiskTreated>()
        .event::<AccessReviewOpened>()
        .event::<AccessDecided>()
        .event::<AccessReviewCompleted>()
        .event::<IncidentReported>()
        .event::<IncidentMoved>()
        .query::<LogHead>()
        .query::<LogEntries>()
        .query::<EntryProof>()
        .query::<ConsistencyProof>()
        .query::<Receipt>()
        .query::<PersonalFields>()
        .query::<ExportPage>()
        .query::<Holds>()
        .query::<Erasures>()
        .query::<Policies>()
        .query::<Policy>()
        .query::<Controls>()
        .query::<ComplianceStatus>()
        .query::<ComplianceReport>()
        .query::<ComplianceReportPage>()
        .query::<EvidenceFile>()
        .query::<EvidenceDownload>()
        .query::<Audits>()
        .query::<AuditPage>()
        .query::<Risks>()
        .query::<AccessReviews>()
        .query::<AccessReviewPage>()
        .query::<Incidents>()
        .hook::<EvidenceContent>()
        .owns(Bucket::objects(EVIDENCE, "Files of evidence, by tenant"))
        .records()
}

fn a_page() -> u16 {
    50
}

/// What [`one_line`] holds, in the JSON Schema.
const ONE_LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// A control character in a line of text is a mistake, and the database takes no NUL.
fn one_line(text: &str, _: &()) -> garde::Result {
    match text.chars().any(char::is_control) {
        true => Err(garde::Error::new("must be one line without control characters")),
        false => Ok(()),
    }
}

/// For examples.
fn example_id(n: u128) -> Uuid {
    Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_00a0_0000_0000 + n)
}

/// For examples.
fn example_time(text: &str) -> chrono::DateTime<chrono::Utc> {
    text.parse().expect("a constant that is a time")
}

/// For examples.
fn example_control() -> Token {
    "access-review".parse().expect("a constant that is a token")
}
