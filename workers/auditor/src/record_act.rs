//! An act of the operator: the command's acceptance is read off the bus as any other's, and this is its outcome, with the
//! act as its target.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{ActRecorded, RecordAct};

use crate::Auditor;

impl Handle<RecordAct> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RecordAct) -> Result<Events, Fail> {
        let event = ActRecorded { act: cmd.act.clone(), target: cmd.target.clone() };
        self.record(cx, format!("{} {}", cmd.act, cmd.target), &event).await?;
        Ok(Events::none().about(cmd.target, event))
    }
}
