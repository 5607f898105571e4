//! Gives partners the tier that the program's rule gives: by what they sold in the last 90 days, without refunds and
//! without orders that are held or refused, since nobody may rise by buying from themselves. A tier given by hand stays
//! until a hand changes it.

use std::time::Duration;

use omnibus_runtime::{Cx, Events, Fail, Handle, Policy};
use omnibus_schemas::commissioner::{ApplyTiers, TierChanged, TierSource, TiersApplied};
use sqlx::Row;

use crate::Commissioner;
use crate::partner::revised;
use crate::rules::Program;
use crate::words::read;

/// Partners changed by one command; what is left follows in the next.
const CHUNK: i64 = 500;

impl Handle<ApplyTiers> for Commissioner {
    const POLICY: Policy = Policy { timeout: Duration::from_secs(300), ..Policy::DEFAULT };

    async fn handle(&self, cx: &mut Cx<'_>, cmd: ApplyTiers) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        let program = Program::wanted(cx.db(), tenant, cmd.program.as_str()).await?;
        let from = &program.rules.tiers_from;
        if from.silver == 0 && from.gold == 0 && from.platinum == 0 {
            return Ok(
                Events::none().about(cmd.program.as_str(), TiersApplied { program: cmd.program.clone(), changed: 0 })
            );
        }
        let rows = sqlx::query(
            "with sold as (
                select p.partner_id, coalesce(sum(case when o.review in ('held', 'refused') then 0
                    when l.amount = 0 then l.base else l.base - l.base::numeric * l.refunded / l.amount end), 0) as sales
                from commissioner.partners p
                left join (
                    commissioner.commissions c
                    join commissioner.lines l using (tenant, program, order_id, line_id)
                    join commissioner.orders o using (tenant, program, order_id)
                ) on c.tenant = p.tenant and c.partner_id = p.partner_id and c.level = 0 and c.currency = $7
                    and c.ordered_at > $3::timestamptz - interval '90 days' and c.ordered_at <= $3
                where p.tenant = $1 and p.program = $2 and p.status = 'approved'
                group by p.partner_id
             ), wanted as (
                select partner_id, case
                    when $6 > 0 and sales >= $6 then 'platinum' when $5 > 0 and sales >= $5 then 'gold'
                    when $4 > 0 and sales >= $4 then 'silver' else 'bronze' end as tier
                from sold
             )
             insert into commissioner.tiers (tenant, partner_id, effective_from, tier, given_by)
             select $1, w.partner_id, $3, w.tier, 'rule' from wanted w
             cross join lateral (
                select tier, given_by from commissioner.tiers t
                where t.tenant = $1 and t.partner_id = w.partner_id order by effective_from desc limit 1
             ) latest
             where latest.given_by = 'rule' and latest.tier <> w.tier
             order by w.partner_id limit $8
             on conflict do nothing returning partner_id, tier",
        )
        .bind(tenant)
        .bind(cmd.program.as_str())
        .bind(now)
        .bind(from.silver)
        .bind(from.gold)
        .bind(from.platinum)
        .bind(program.rules.currency.code())
        .bind(CHUNK)
        .fetch_all(cx.db())
        .await?;
        let mut events = Events::none();
        for row in &rows {
            let (partner_id, tier) = (row.try_get("partner_id")?, read(row.try_get("tier")?)?);
            let revision = revised(cx.db(), tenant, partner_id).await?;
            let changed = TierChanged { partner_id, tier, effective_from: now, by: TierSource::Rule, revision };
            events = events.about(partner_id.to_string(), changed);
        }
        if rows.len() as i64 == CHUNK {
            events = events.then(cmd.clone());
        }
        let about = cmd.program.as_str().to_owned();
        Ok(events.about(about, TiersApplied { program: cmd.program, changed: u32::try_from(rows.len())? }))
    }
}
