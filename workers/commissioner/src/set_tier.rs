//! Gives a partner a tier by hand, from now or later. What was ordered before keeps its rate.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{SetTier, TierChanged, TierSource};

use crate::Commissioner;
use crate::partner::{Partner, revised};
use crate::words::word;

impl Handle<SetTier> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SetTier) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        Partner::locked(cx.db(), tenant, cmd.partner_id).await?;
        let effective_from = cmd.effective_from.unwrap_or(now);
        if effective_from < now {
            let detail = "effective_from: lies in the past, and what was earned is not rewritten; leave it out for now";
            return Err(Fail::reject("in_the_past", detail));
        }
        // Two changes for one moment: the later command is the one that was meant.
        sqlx::query(
            "insert into commissioner.tiers (tenant, partner_id, effective_from, tier, given_by)
             values ($1, $2, $3, $4, 'hand')
             on conflict (tenant, partner_id, effective_from)
             do update set tier = excluded.tier, given_by = excluded.given_by",
        )
        .bind(tenant)
        .bind(cmd.partner_id)
        .bind(effective_from)
        .bind(word(&cmd.tier))
        .execute(cx.db())
        .await?;
        let revision = revised(cx.db(), tenant, cmd.partner_id).await?;
        let (partner_id, tier, by) = (cmd.partner_id, cmd.tier, TierSource::Hand);
        let event = TierChanged { partner_id, tier, effective_from, by, revision };
        Ok(Events::none().about(partner_id.to_string(), event))
    }
}
