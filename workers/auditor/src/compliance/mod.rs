//! Compliance: controls that watch themselves, and what people do beside them. The texts are data (`catalogue/`); what is
//! watched is the log itself and the auditor's own tables; a change of status is an event, one for each change.

mod access_review;
mod assess_control;
mod audit;
pub mod book;
pub mod docs;
pub(crate) mod evidence;
mod facts;
mod follow;
mod incident;
mod judge;
pub mod oscal;
pub(crate) mod page;
mod report;
mod risk;
mod roster;
mod status;
mod strict;
pub(crate) mod watch;

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::{Event, Fault};

use crate::Auditor;

/// Who asks. Without an actor, nobody can be told apart from anybody.
pub(crate) fn actor(cx: &Cx<'_>) -> Result<String, Fail> {
    let no_actor = || Fail::reject("no_actor", "ce-actor: it must be known who does this");
    cx.meta().actor.clone().filter(|actor| !actor.trim().is_empty()).ok_or_else(no_actor)
}

/// A field is at fault, by what only the auditor knows.
fn fault(pointer: &str, words: impl Into<String>) -> Fail {
    Fail::Invalid(vec![Fault::new(pointer, words.into())])
}

impl Auditor {
    /// On the record and on the bus.
    async fn told<E: Event>(&self, cx: &mut Cx<'_>, about: String, event: E) -> Result<Events, Fail> {
        self.record(cx, about.clone(), &event).await?;
        Ok(Events::none().about(about, event))
    }
}
