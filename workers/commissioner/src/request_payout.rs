//! Pays a partner what is due in one currency.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{Money, PartnerStatus, RequestPayout, SubmitPayout};

use crate::Commissioner;
use crate::names::payout_id;
use crate::partner::Partner;
use crate::reservation::{available, minimum, reserve};
use crate::rules::Program;

impl Handle<RequestPayout> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RequestPayout) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        let partner = Partner::locked(cx.db(), tenant, cmd.partner_id).await?;
        if partner.status != PartnerStatus::Approved {
            return Err(Fail::reject("not_approved", "partner_id: only approved partners are paid"));
        }
        if !partner.has_account {
            let detail = "partner_id: no account to pay to is known; POST it to the partner's payout-account";
            return Err(Fail::reject("no_account", detail));
        }
        let rules = Program::wanted(cx.db(), tenant, partner.program.as_str()).await?.rules;
        let all = available(cx.db(), tenant, cmd.partner_id, now).await?;
        let money = all.into_iter().find(|money| money.currency == cmd.currency);
        let money = money.unwrap_or(Money { amount: 0, currency: cmd.currency });
        let least = Money { amount: minimum(&rules, cmd.currency), currency: cmd.currency };
        if money.amount < least.amount {
            let detail = format!("currency: {money} can be paid now, and payouts begin at {least}");
            return Err(Fail::reject("below_minimum", detail));
        }
        let payout_id = payout_id(cx.id("payout"), tenant);
        let reserved = reserve(cx.db(), tenant, &partner, money, payout_id, now).await?;
        Ok(Events::none().about(payout_id.to_string(), reserved).then(SubmitPayout { payout_id }))
    }
}
