//! Splits a batch into commands, one for each row, in the lane for bulk. A row that can't be sent is a rejection of its own
//! and costs no other row anything.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::texter::{BatchAccepted, SendBatch, SendTemplate};

use crate::{Texter, templates};

/// The lane that waits behind single texts.
const LANE: &str = "bulk";

impl Handle<SendBatch> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SendBatch) -> Result<Events, Fail> {
        templates::exists(&cmd.template)?;
        let messages = u32::try_from(cmd.rows.len())?;
        let mut events = Events::none();
        for row in cmd.rows {
            let mut variables = cmd.variables.clone();
            variables.extend(row.variables);
            let text = SendTemplate {
                to: row.to,
                country: row.country,
                template: cmd.template.clone(),
                variables,
                locale: cmd.locale.clone(),
                from: None,
                category: cmd.category,
                timezone: None,
            };
            events = events.then_in(LANE, text);
        }
        Ok(events.and(BatchAccepted { batch_id: cx.meta().id, messages }))
    }
}
