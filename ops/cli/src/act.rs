//! What this program does to the house goes on the record: a command to the auditor, sent after the act.

use anyhow::Context;
use omnibus_runtime::trace::TraceParent;
use omnibus_runtime::{Bus, clock};
use omnibus_schemas::auditor::RecordAct;
use omnibus_schemas::{Command, Encoding, body, subject};

use crate::order::Order;

/// The log of what belongs to no tenant.
pub(crate) const HOUSE: &str = "_";

/// Says that it was done. `target` and `detail` hold no secret and no body.
pub(crate) async fn record(bus: &Bus, tenant: &str, act: &str, target: &str, detail: &str) -> anyhow::Result<()> {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let command = RecordAct { act: act.to_owned(), target: cut(target, 200), detail: cut(detail, 1000) };
    let order = Order {
        id: clock::new_id(),
        subject: subject::command(RecordAct::DOMAIN, RecordAct::LANE, RecordAct::NAME, tenant),
        kind: &subject::ce_type(RecordAct::DOMAIN, RecordAct::NAME, RecordAct::VERSION),
        tenant,
        correlation: None,
        causation: None,
        trace: TraceParent::start(),
        encoding: Encoding::MessagePack,
        body: body::encode(Encoding::MessagePack, &command).into(),
    };
    order.publish(bus).await.with_context(|| format!("{act} {target} is done, and not on the record"))?;
    Ok(())
}
