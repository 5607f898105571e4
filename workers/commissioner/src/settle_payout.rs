//! Says what became of a payout that the provider has.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{PayoutResult, PayoutStatus, SettlePayout};

use crate::Commissioner;
use crate::payout::Payout;
use crate::words::word;

impl Handle<SettlePayout> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SettlePayout) -> Result<Events, Fail> {
        use {PayoutResult as Became, PayoutStatus as Status};
        let (tenant, now) = (cx.tenant(), cx.now());
        let mut payout = Payout::locked(cx.db(), tenant, cmd.payout_id).await?;
        match (cmd.result, payout.status) {
            (Became::Confirmed, Status::Submitted | Status::Uncertain) => {
                payout.arrives(cx.db(), tenant, &cmd.note, now).await
            }
            (Became::Failed, Status::Submitted | Status::Uncertain) => {
                payout.fails(cx.db(), tenant, &cmd.note, now).await
            }
            (Became::Returned, was @ (Status::Submitted | Status::Confirmed)) => {
                payout.becomes(cx.db(), tenant, Status::Returned, &cmd.note).await?;
                let from = if was == Status::Confirmed { "bank" } else { "clearing" };
                payout.book(cx.db(), tenant, ("returned", from, "partner"), now).await?;
                payout.let_go(cx.db(), tenant).await?;
                Ok(payout.settled(&cmd.note))
            }
            (Became::Confirmed, Status::Failed) => match payout.revives(cx.db(), tenant, now).await? {
                true => payout.arrives(cx.db(), tenant, &cmd.note, now).await,
                false => {
                    let detail = "payout_id: what it settles was paid again by another payout, so it was paid twice";
                    Err(Fail::reject("paid_again", detail))
                }
            },
            (result, status) => {
                let (result, status) = (word(&result), word(&status));
                Err(Fail::reject("wrong_status", format!("result: {result} does not fit a payout that is {status}")))
            }
        }
    }
}
