//! Pays all partners of a program, a part at a time. A planned run carries the time it was planned for: only the one that
//! the program waits for is a run, so a schedule that fires twice, or one of an earlier plan, pays nobody.

use std::time::Duration;

use omnibus_runtime::{Cx, Events, Fail, Handle, Policy};
use omnibus_schemas::commissioner::{PartnerStatus, PayoutsRun, RunPayouts, RunPayoutsPart, SubmitPayout};
use uuid::Uuid;

use crate::Commissioner;
use crate::names::payout_id;
use crate::partner::Partner;
use crate::reservation::{available, minimum, reserve};
use crate::rules::Program;
use crate::set_program::next_run;
use crate::tree;

/// Partners in one part: one transaction, and one outbox of at most two messages for each payout.
const PART: i64 = 50;

impl Handle<RunPayouts> for Commissioner {
    const POLICY: Policy = PATIENT;

    async fn handle(&self, cx: &mut Cx<'_>, cmd: RunPayouts) -> Result<Events, Fail> {
        <Self as Handle<RunPayoutsPart>>::handle(
            self,
            cx,
            RunPayoutsPart { program: cmd.program, due: None, after: None },
        )
        .await
    }
}

/// A part reads all that its partners have ever earned.
const PATIENT: Policy = Policy { timeout: Duration::from_secs(300), ..Policy::DEFAULT };

impl Handle<RunPayoutsPart> for Commissioner {
    const POLICY: Policy = PATIENT;

    async fn handle(&self, cx: &mut Cx<'_>, cmd: RunPayoutsPart) -> Result<Events, Fail> {
        let (tenant, now, name) = (cx.tenant(), cx.now(), cmd.program.as_str());
        // One run at a time: two would meet at the same partners.
        tree::lock(cx.db(), tenant, name).await?;
        let program = Program::wanted(cx.db(), tenant, name).await?;
        let mut events = Events::none();
        let mut next = program.next_run_at;
        if let (Some(due), None) = (cmd.due, cmd.after) {
            if program.next_run_at != Some(due) {
                let idle = PayoutsRun { program: cmd.program.clone(), reserved: 0, more: false, next_run: next };
                return Ok(Events::none().about(name.to_owned(), idle));
            }
            let at = next_run(now.max(due), program.rules.payout_day);
            sqlx::query("update commissioner.programs set next_run_at = $3 where tenant = $1 and program = $2")
                .bind(tenant)
                .bind(name)
                .bind(at)
                .execute(cx.db())
                .await?;
            events = events.then_at(at, RunPayoutsPart { program: cmd.program.clone(), due: Some(at), after: None });
            next = Some(at);
        }
        let partners: Vec<Uuid> = sqlx::query_scalar(
            "select partner_id from commissioner.partners
             where tenant = $1 and program = $2 and status = 'approved' and payout_account is not null
                and partner_id > coalesce($3, '00000000-0000-0000-0000-000000000000')
             order by partner_id limit $4",
        )
        .bind(tenant)
        .bind(name)
        .bind(cmd.after)
        .bind(PART)
        .fetch_all(cx.db())
        .await?;
        let mut reserved = 0;
        for partner_id in &partners {
            let partner = Partner::locked(cx.db(), tenant, *partner_id).await?;
            // Looked at again under the lock: a suspension may have come between.
            if partner.status != PartnerStatus::Approved {
                continue;
            }
            for money in available(cx.db(), tenant, *partner_id, now).await? {
                if money.amount < minimum(&program.rules, money.currency) {
                    continue;
                }
                let payout_id = payout_id(cx.id(&format!("payout {partner_id} {}", money.currency)), tenant);
                let event = reserve(cx.db(), tenant, &partner, money, payout_id, now).await?;
                events = events.about(payout_id.to_string(), event).then(SubmitPayout { payout_id });
                reserved += 1;
            }
        }
        let more = partners.len() as i64 == PART;
        if more {
            let (due, after) = (cmd.due, partners.last().copied());
            events = events.then(RunPayoutsPart { program: cmd.program.clone(), due, after });
        }
        let run = PayoutsRun { program: cmd.program.clone(), reserved, more, next_run: next };
        Ok(events.about(name.to_owned(), run))
    }
}
