//! Approves, rejects or suspends a partner.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{DecidePartner, PartnerDecision, PartnerStatus, PartnerStatusChanged};

use crate::Commissioner;
use crate::partner::{Partner, revised};
use crate::words::word;

impl Handle<DecidePartner> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: DecidePartner) -> Result<Events, Fail> {
        use {PartnerDecision as Decision, PartnerStatus as Status};
        let tenant = cx.tenant();
        let partner = Partner::locked(cx.db(), tenant, cmd.partner_id).await?;
        let status = match (cmd.decision, partner.status) {
            (Decision::Approve, Status::Pending | Status::Rejected | Status::Suspended) => Status::Approved,
            (Decision::Reject, Status::Pending) => Status::Rejected,
            (Decision::Suspend, Status::Approved) => Status::Suspended,
            (decision, status) => {
                let (decision, status) = (word(&decision), word(&status));
                let detail = format!("decision: {decision} does not fit a partner who is {status}");
                return Err(Fail::reject("wrong_status", detail));
            }
        };
        sqlx::query("update commissioner.partners set status = $3 where tenant = $1 and partner_id = $2")
            .bind(tenant)
            .bind(cmd.partner_id)
            .bind(word(&status))
            .execute(cx.db())
            .await?;
        let revision = revised(cx.db(), tenant, cmd.partner_id).await?;
        let event = PartnerStatusChanged { partner_id: cmd.partner_id, status, note: cmd.note, revision };
        Ok(Events::none().about(cmd.partner_id.to_string(), event))
    }
}
