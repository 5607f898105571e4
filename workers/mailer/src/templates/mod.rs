//! A tenant's own templates: saved, activated, put out of use, listed, shown and tried on what was sent.

mod activate;
mod delete;
mod list;
mod look;
mod page;
mod preview;
mod replay;
mod save;

use omnibus_runtime::AskError;
use omnibus_schemas::Fault;
use omnibus_schemas::mailer::TemplateDraft;
use omnibus_templates::{Source, Template};
use serde::Serialize;

use crate::content::{self, ContentError};

impl From<ContentError> for AskError {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::NoTemplate(words) => AskError::NotFound(words),
            ContentError::Faults(faults) => AskError::Faults(faults),
            ContentError::Database(error) => error.into(),
        }
    }
}

/// An answer has to fit into one message on the bus.
const LARGEST: usize = 900 * 1024;

/// The answer, if it fits.
fn fitting<T: Serialize>(answer: T) -> Result<T, AskError> {
    match serde_json::to_vec(&answer).is_ok_and(|written| written.len() <= LARGEST) {
        true => Ok(answer),
        false => Err(AskError::Invalid(format!("the answer is too large to be shown: more than {LARGEST} bytes"))),
    }
}

/// A template that is not saved. Its faults point into the field `draft`.
fn of_draft(name: &str, draft: TemplateDraft) -> Result<Template, AskError> {
    let source = Source { subject: Some(draft.subject), text: draft.text, html: draft.html };
    content::make(name, 0, &source, draft.variables).map_err(|faults| {
        let below = |fault: Fault| Fault::new(format!("/draft{}", fault.pointer), fault.reason);
        AskError::Faults(faults.into_iter().map(below).collect())
    })
}
