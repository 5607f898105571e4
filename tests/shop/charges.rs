//! What a charge does: its row, the call, and what came of it.

use std::time::Duration;

use anyhow::anyhow;
use omnibus_runtime::{
    CallError, Cx, Effect, EffectMany, Events, Fail, Found, Meta, One, Policy, Prepared, Returned, Settled,
    WhenUncertain,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::workers::{Shop, number, policy};
use super::{Charge, ChargeSettled, Charged, PutDone};

/// What is about to leave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChargePlan {
    charge: Charge,
    number: u64,
}

impl<const SECONDS: u64> Effect<Charge> for Shop<SECONDS> {
    const POLICY: Policy = policy(SECONDS);
    const PROVIDER: Option<&'static str> = Some("bank");

    type Plan = ChargePlan;
    type Done = String;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: Charge) -> Result<Prepared<ChargePlan>, Fail> {
        if cmd.how == "skip" {
            return Ok(Prepared::Skip(Events::none()));
        }
        let (tenant, id) = (cx.tenant().to_owned(), cx.meta().id);
        sqlx::query(
            "insert into shop.charges (tenant, thing, command_id, status) values ($1, $2, $3, 'queued')
             on conflict (command_id) do nothing",
        )
        .bind(tenant)
        .bind(&cmd.thing)
        .bind(id)
        .execute(cx.db())
        .await?;
        let early = match cmd.how.as_str() {
            "early" => Events::of(PutDone { thing: cmd.thing.clone() }),
            _ => Events::none(),
        };
        Ok(Prepared::Go(ChargePlan { charge: cmd, number: self.times("prepare", id) }, early))
    }

    async fn perform(&self, meta: &Meta, plan: &ChargePlan) -> Result<String, CallError> {
        let how = plan.charge.how.as_str();
        let called = |shop: &Self| shop.times("call", meta.id);
        match how.split(':').next().unwrap_or_default() {
            "not_done" if how == "not_done" || self.times("refusal", meta.id) <= number(how) => {
                Err(CallError::NotDone(anyhow!("the line is busy")))
            }
            "refused" => Err(CallError::Refused { code: "no_funds", detail: "the account is empty".into() }),
            "unknown" => {
                called(self);
                Err(CallError::Unknown(anyhow!("the line was cut after the call")))
            }
            "unknown_not" => Err(CallError::Unknown(anyhow!("the line was cut"))),
            "hang" => {
                called(self);
                std::future::pending().await
            }
            "panic" => panic!("told to panic"),
            "slow" => {
                let calls = called(self);
                tokio::time::sleep(Duration::from_millis(number(how))).await;
                Ok(format!("receipt {calls}"))
            }
            "open" => {
                let calls = called(self);
                let answered = self.provider.join(format!("answered-{}", meta.id));
                while !answered.exists() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(format!("receipt {calls}"))
            }
            _ => Ok(format!("receipt {}", called(self))),
        }
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: ChargePlan, receipt: String) -> Result<Events, Fail> {
        let (tenant, id) = (cx.tenant().to_owned(), cx.meta().id);
        let how = plan.charge.how.as_str();
        if how.starts_with("unrecorded") && (how == "unrecorded" || self.times("record", id) <= number(how)) {
            sqlx::query("select 1/0").execute(cx.db()).await?;
        }
        sqlx::query("update shop.charges set status = 'charged', receipt = $3 where tenant = $1 and command_id = $2")
            .bind(tenant)
            .bind(id)
            .bind(&receipt)
            .execute(cx.db())
            .await?;
        Ok(Events::of(Charged { receipt }))
    }

    async fn reconcile(&self, meta: &Meta, plan: &ChargePlan) -> Result<Found<String>, Fail> {
        match plan.charge.reconcile.as_str() {
            "done" => Ok(Found::Done("receipt found".into())),
            "not_done" => Ok(Found::NotDone),
            "away" if self.times("asked", meta.id) == 1 => Err(Fail::Retry(anyhow!("the bank does not answer"))),
            "away" => Ok(Found::Done("receipt found later".into())),
            // What a real provider does: it knows its own calls.
            // (A file without its byte is a call that was cut off before it arrived.)
            "ask" => Ok(match std::fs::metadata(self.provider.join(format!("call-{}", meta.id))) {
                Ok(calls) if calls.len() > 0 => Found::Done("receipt found".into()),
                _ => Found::NotDone,
            }),
            _ => Ok(Found::CannotTell),
        }
    }

    fn when_uncertain(&self, plan: &ChargePlan) -> WhenUncertain {
        if plan.charge.resend { WhenUncertain::Resend } else { WhenUncertain::Hold }
    }

    async fn settle(&self, cx: &mut Cx<'_>, plan: Option<ChargePlan>, how: &Settled) -> Result<Events, Fail> {
        let told = plan.map(|plan| plan.charge.reconcile).unwrap_or_default();
        if told.starts_with("unsettled")
            && (told == "unsettled" || self.times("unsettled", cx.meta().id) <= number(&told))
        {
            sqlx::query("select 1/0").execute(cx.db()).await?;
        }
        let how = match how {
            Settled::Refused { .. } => "refused",
            Settled::GaveUp { .. } => "gave_up",
            Settled::Uncertain { .. } => "uncertain",
            Settled::Vouched { .. } => "vouched",
            Settled::Dropped { .. } => "dropped",
        };
        let (tenant, id) = (cx.tenant().to_owned(), cx.meta().id);
        sqlx::query("update shop.charges set status = $3 where tenant = $1 and command_id = $2")
            .bind(tenant)
            .bind(id)
            .bind(how)
            .execute(cx.db())
            .await?;
        Ok(Events::of(ChargeSettled { how: how.into() }))
    }
}

impl<const SECONDS: u64> EffectMany<Charge> for Shop<SECONDS> {
    async fn prepare_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, Charge>>,
    ) -> Result<Vec<Result<Prepared<ChargePlan>, Fail>>, Fail> {
        let leaving: Vec<_> = many.iter().filter(|one| one.command.how != "skip").collect();
        sqlx::query(
            "insert into shop.charges (tenant, thing, command_id, status)
             select tenant, thing, id, 'queued' from unnest($1::text[], $2::text[], $3::uuid[]) as x(tenant, thing, id)
             order by id on conflict (command_id) do nothing",
        )
        .bind(leaving.iter().map(|one| one.tenant()).collect::<Vec<_>>())
        .bind(leaving.iter().map(|one| one.command.thing.as_str()).collect::<Vec<_>>())
        .bind(leaving.iter().map(|one| one.meta().id).collect::<Vec<_>>())
        .execute(db)
        .await?;
        self.times(&format!("prepare-many-{}", many.len()), many[0].meta().id);
        let prepared = many.into_iter().map(|one| {
            let (id, charge) = (one.meta().id, one.command);
            Ok(match charge.how.as_str() {
                "skip" => Prepared::Skip(Events::none()),
                "early" => {
                    let early = Events::of(PutDone { thing: charge.thing.clone() });
                    Prepared::Go(ChargePlan { charge, number: self.times("prepare", id) }, early)
                }
                _ => Prepared::go(ChargePlan { charge, number: self.times("prepare", id) }),
            })
        });
        Ok(prepared.collect())
    }

    async fn record_many(
        &self,
        db: &mut PgConnection,
        many: Vec<Returned<'_, ChargePlan, String>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        if many.iter().any(|one| one.plan.charge.how.starts_with("unrecorded")) {
            return Err(Fail::Retry(anyhow!("told to fail")));
        }
        sqlx::query(
            "update shop.charges c set status = 'charged', receipt = x.receipt
             from unnest($1::text[], $2::uuid[], $3::text[]) as x(tenant, id, receipt)
             where c.tenant = x.tenant and c.command_id = x.id",
        )
        .bind(many.iter().map(Returned::tenant).collect::<Vec<_>>())
        .bind(many.iter().map(|one| one.meta().id).collect::<Vec<_>>())
        .bind(many.iter().map(|one| one.done.as_str()).collect::<Vec<_>>())
        .execute(db)
        .await?;
        self.times(&format!("record-many-{}", many.len()), many[0].meta().id);
        Ok(many.into_iter().map(|one| Ok(Events::of(Charged { receipt: one.done }))).collect())
    }
}
