#![doc = include_str!("../README.md")]

mod ask;
mod entry;
mod erase_subject;
pub mod export;
mod holds;
mod ingest;
mod keys;
mod ledger;
mod mirror;
pub mod note;
mod people;
mod policies;
mod record_act;
pub mod retention;
mod sequence;
pub mod settings;
mod store;
pub mod tree;

pub use settings::Settings;

use omnibus_runtime::{Cx, Fail, Worker};
use omnibus_schemas::auditor::{
    AcknowledgePolicy, ConsistencyProof, DOMAIN, DraftPolicy, EntryProof, EraseSubject, Erasures, ExportPage, Holds,
    LiftHold, LogEntries, LogHead, MovePolicy, PersonalFields, PlaceHold, Policies, Policy, Receipt, RecordAct,
};
use omnibus_schemas::{Catalogue, Encoding, Event, body};

use entry::{Draft, Marks};
use keys::Keys;
use ledger::Ledger;

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
            ],
        )
        .handles::<EraseSubject>()
        .handles::<PlaceHold>()
        .handles::<LiftHold>()
        .handles::<RecordAct>()
        .handles::<DraftPolicy>()
        .handles::<MovePolicy>()
        .handles::<AcknowledgePolicy>()
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
        .runs("ingest", ingest::run)
        .runs("sequencer", sequence::run)
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
}

impl Auditor {
    fn new(catalogue: Catalogue, settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        Ok(Auditor {
            marks: Marks::of(&catalogue),
            keys: Keys::new(&settings),
            ledger: Ledger::new(&settings.audit_dir),
            catalogue,
            settings,
        })
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
