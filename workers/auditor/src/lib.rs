#![doc = include_str!("../README.md")]

mod append;
mod ask;
pub mod compliance;
mod cursor;
mod entry;
mod erase_subject;
pub mod export;
mod holds;
mod ingest;
mod keys;
mod ledger;
mod mirror;
pub mod note;
mod number;
mod people;
mod policies;
mod record_act;
pub mod retention;
mod sequence;
pub mod settings;
mod store;
pub mod tree;
mod words;

pub use settings::Settings;

use omnibus_runtime::{Cx, Desk, Fail, Worker};
use omnibus_schemas::auditor::{
    AccessReviewPage, AccessReviews, AcknowledgePolicy, AssessControl, AuditPage, Audits, CloseAudit,
    CompleteAccessReview, ComplianceReport, ComplianceReportPage, ComplianceStatus, ConsistencyProof, Controls, DOMAIN,
    DecideAccess, DraftPolicy, EntryProof, EraseSubject, Erasures, EvidenceContent, EvidenceDownload, EvidenceFile,
    ExportPage, FileEvidence, Holds, Incidents, LiftHold, LogEntries, LogHead, MoveFinding, MoveIncident, MovePolicy,
    OpenAccessReview, PersonalFields, PlaceHold, PlanAudit, Policies, Policy, Receipt, RecordAct, RecordFinding,
    RecordRisk, ReportIncident, Risks, TreatRisk, UploadEvidence, WithdrawEvidence,
};
use omnibus_schemas::{Catalogue, Encoding, Event, body};
use tokio::sync::{Mutex, watch};

use entry::{Draft, Marks};
use keys::Keys;
use ledger::Ledger;
use mirror::bucket::Bucket;

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    worker_of(Catalogue::omnibus(), settings)
}

/// As [`worker`], keeping a record of another catalogue.
pub fn worker_of(catalogue: Catalogue, settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new(DOMAIN, Auditor::new(catalogue, settings)?)
        .migrations(
            DOMAIN,
            &[
                ("0001_log", include_str!("../migrations/0001_log.sql")),
                ("0002_policies", include_str!("../migrations/0002_policies.sql")),
                ("0003_compliance", include_str!("../migrations/0003_compliance.sql")),
                ("0004_evidence_files", include_str!("../migrations/0004_evidence_files.sql")),
                ("0005_evidence_copies", include_str!("../migrations/0005_evidence_copies.sql")),
                ("0006_given_up_copies", include_str!("../migrations/0006_given_up_copies.sql")),
                ("0007_told_twice_early", include_str!("../migrations/0007_told_twice_early.sql")),
            ],
        )
        .handles::<EraseSubject>()
        .handles::<PlaceHold>()
        .handles::<LiftHold>()
        .handles::<RecordAct>()
        .handles::<DraftPolicy>()
        .handles::<MovePolicy>()
        .handles::<AcknowledgePolicy>()
        .handles::<AssessControl>()
        .handles::<FileEvidence>()
        .effects::<UploadEvidence>()
        .handles::<WithdrawEvidence>()
        .handles::<PlanAudit>()
        .handles::<RecordFinding>()
        .handles::<MoveFinding>()
        .handles::<CloseAudit>()
        .handles::<RecordRisk>()
        .handles::<TreatRisk>()
        .handles::<OpenAccessReview>()
        .handles::<DecideAccess>()
        .handles::<CompleteAccessReview>()
        .handles::<ReportIncident>()
        .handles::<MoveIncident>()
        .answers::<LogHead>()
        .answers::<LogEntries>()
        .answers::<EntryProof>()
        .answers::<ConsistencyProof>()
        .answers::<Receipt>()
        .answers::<PersonalFields>()
        .answers::<ExportPage>()
        .answers::<Holds>()
        .answers::<Erasures>()
        .answers::<Policies>()
        .answers::<Policy>()
        .answers::<Controls>()
        .answers::<ComplianceStatus>()
        .answers::<ComplianceReport>()
        .answers::<ComplianceReportPage>()
        .answers::<EvidenceFile>()
        .answers::<EvidenceDownload>()
        .answers::<Audits>()
        .answers::<AuditPage>()
        .answers::<Risks>()
        .answers::<AccessReviews>()
        .answers::<AccessReviewPage>()
        .answers::<Incidents>()
        .receives::<EvidenceContent>()
        .runs("desk", |auditor, desk| async move {
            auditor.desk.send_replace(Some(desk));
            Ok(())
        })
        .runs("ingest", ingest::run)
        .runs("sequencer", sequence::run)
        .runs("mirror", mirror::follow::run)
        .runs("evidence", compliance::evidence::keep::run)
        .runs("watch", compliance::watch::run)
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Auditor {
    settings: Settings,
    catalogue: Catalogue,
    marks: Marks,
    keys: Keys,
    ledger: Ledger,
    /// Where tiles and checkpoints go instead of into a folder.
    bucket: Option<Bucket>,
    desk: watch::Sender<Option<Desk>>,
    /// Who has it may wait for the log's turn: one of this process at a time, so that the others hold no connection.
    turn: Mutex<()>,
}

impl Auditor {
    fn new(catalogue: Catalogue, settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        Ok(Auditor {
            marks: Marks::of(&catalogue),
            keys: Keys::new(&settings),
            ledger: Ledger::new(&settings.audit_dir),
            bucket: settings.s3.bucket()?.map(Bucket::of).transpose()?,
            desk: watch::Sender::new(None),
            turn: Mutex::new(()),
            catalogue,
            settings,
        })
    }

    /// The worker's connections, as soon as it runs.
    async fn desk(&self) -> Desk {
        let mut desks = self.desk.subscribe();
        let found = desks.wait_for(Option::is_some).await.expect("the sender lives as long as this");
        found.clone().expect("it was waited for")
    }

    /// Puts the worker's own event on the record, in the transaction of the command that caused it: the worker does not
    /// read its own on the bus.
    async fn record<E: Event>(&self, cx: &mut Cx<'_>, target: String, event: &E) -> Result<(), Fail> {
        let draft = Draft::own(cx.meta(), E::NAME, Some(target), body::encode(Encoding::Json, event));
        let arrival = draft.finish(&Default::default()).map_err(Fail::Retry)?;
        ingest::insert(cx.db(), &[arrival]).await?;
        Ok(())
    }
}
