//! Is a domain proved still? Missing for 14 days: a warning. For 30: it is taken down. Silence changes nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, WhenUncertain};
use omnibus_schemas::brander::{
    DomainChecked, DomainFailing, DomainRecovered, DomainStatus, DomainTakenDown, Finding, RecheckDomain,
};
use serde::{Deserialize, Serialize};

use crate::Brander;
use crate::certificates;
use crate::domains::{Claim, claim, record_name};

/// After so many days without a proof, the tenant is warned.
const WARN: TimeDelta = TimeDelta::days(14);
/// After so many, the domain serves no more.
const DOWN: TimeDelta = TimeDelta::days(30);

/// What is to be looked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Proof {
    host: String,
    ours: String,
}

impl Effect<RecheckDomain> for Brander {
    const POLICY: Policy = Policy { timeout: Duration::from_secs(25), ..Policy::DEFAULT };

    type Plan = Proof;
    type Done = Finding;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: RecheckDomain) -> Result<Prepared<Proof>, Fail> {
        let host = self.host(&cmd.host);
        let Some(claim) = claim(cx, &host).await? else { return Ok(Prepared::Skip(Events::none())) };
        if claim.untold {
            sqlx::query("update brander.domains set untold = false where tenant = $1 and host = $2")
                .bind(cx.tenant())
                .bind(&host)
                .execute(cx.db())
                .await?;
            let why = claim.down_why.unwrap_or_else(|| "proved_by_another".into());
            return Ok(Prepared::Skip(Events::none().about(host.clone(), DomainTakenDown { host, why })));
        }
        match claim.status {
            DomainStatus::Verified | DomainStatus::Failing => {
                Ok(Prepared::go(Proof { host, ours: claim.record_value }))
            }
            DomainStatus::Pending | DomainStatus::TakenDown => Ok(Prepared::Skip(Events::none())),
        }
    }

    async fn perform(&self, _: &Meta, proof: &Proof) -> Result<Finding, CallError> {
        Ok(match self.dns.texts(&record_name(&proof.host)).await {
            Ok(texts) if texts.contains(&proof.ours) => Finding::Proved,
            Ok(_) => Finding::Missing,
            Err(silence) => {
                tracing::warn!(%silence, "a domain could not be looked at; it stands as before");
                Finding::Unanswered
            }
        })
    }

    async fn record(&self, cx: &mut Cx<'_>, proof: Proof, finding: Finding) -> Result<Events, Fail> {
        let host = proof.host;
        let now = cx.now();
        let Some(claim) = claim(cx, &host).await? else { return Ok(Events::none()) };
        if !matches!(claim.status, DomainStatus::Verified | DomainStatus::Failing) || claim.record_value != proof.ours {
            return Ok(Events::none());
        }
        let next = Next::of(&claim, finding, now);
        sqlx::query(
            "update brander.domains set status = $3, finding = $4, checked_at = $5, failing_since = $6,
                    warned_at = case when $7 then coalesce(warned_at, $5) end, down_why = $8
             where tenant = $1 and host = $2",
        )
        .bind(cx.tenant())
        .bind(&host)
        .bind(next.status.as_str())
        .bind(word(finding))
        .bind(now)
        .bind(next.failing_since)
        .bind(next.warned)
        .bind((next.status == DomainStatus::TakenDown).then_some("proof_missing"))
        .execute(cx.db())
        .await?;
        if next.status == DomainStatus::TakenDown {
            let tenant = cx.tenant();
            certificates::forget(cx.db(), tenant, &host).await?;
        }
        let about = host.clone();
        let events = match (claim.status, next.status) {
            (_, DomainStatus::TakenDown) => {
                Events::none().about(about, DomainTakenDown { host, why: "proof_missing".into() })
            }
            (DomainStatus::Failing, DomainStatus::Verified) => Events::none().about(about, DomainRecovered { host }),
            (before, DomainStatus::Failing) if before == DomainStatus::Verified || next.warned != claim.warned => {
                let since = next.failing_since.unwrap_or(now);
                let told = DomainFailing { host, since, down_at: since + DOWN, warning: next.warned };
                Events::none().about(about, told)
            }
            (_, status) => Events::none().about(about, DomainChecked { host, finding, status }),
        };
        Ok(events)
    }

    async fn reconcile(&self, _: &Meta, _: &Proof) -> Result<Found<Finding>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Proof) -> WhenUncertain {
        WhenUncertain::Resend
    }
}

fn word(finding: Finding) -> &'static str {
    match finding {
        Finding::Proved => "proved",
        Finding::Missing => "missing",
        Finding::Unanswered => "unanswered",
    }
}

/// How a domain stands after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Next {
    status: DomainStatus,
    failing_since: Option<DateTime<Utc>>,
    warned: bool,
}

impl Next {
    fn of(claim: &Claim, finding: Finding, now: DateTime<Utc>) -> Self {
        match finding {
            Finding::Proved => Next { status: DomainStatus::Verified, failing_since: None, warned: false },
            // Silence neither begins nor ends anything, and takes nothing down, however long ago the failing began.
            Finding::Unanswered => {
                Next { status: claim.status, failing_since: claim.failing_since, warned: claim.warned }
            }
            Finding::Missing => {
                let since = claim.failing_since.unwrap_or(now);
                let status = if now - since >= DOWN { DomainStatus::TakenDown } else { DomainStatus::Failing };
                Next { status, failing_since: Some(since), warned: now - since >= WARN }
            }
        }
    }
}
