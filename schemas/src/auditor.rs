//! The log: everything that happens, as entries of a Merkle tree for each tenant, with the proofs of it; erasure of a
//! person's data; legal holds; acts of the operator; policies.

mod act;
mod erasure;
mod export;
mod hold;
mod log;
mod policy;

pub use act::*;
pub use erasure::*;
pub use export::*;
pub use hold::*;
pub use log::*;
pub use policy::*;

use crate::catalogue::Domain;

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
        .event::<SubjectErased>()
        .event::<HoldPlaced>()
        .event::<HoldLifted>()
        .event::<ActRecorded>()
        .event::<PolicyMoved>()
        .event::<PolicyAcknowledged>()
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
        .records()
}
