//! A claim becomes a domain that serves, if DNS says so.

use std::time::Duration;

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::brander::{DomainChecked, DomainStatus, DomainVerified, Finding, OrderCertificate, VerifyDomain};
use serde::{Deserialize, Serialize};

use crate::Brander;
use crate::certificates;
use crate::domains::{own, record_name};

/// What is to be looked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Proofs {
    host: String,
    /// The claimant's.
    ours: String,
    /// That of the tenant who serves there now.
    theirs: Option<String>,
}

impl Effect<VerifyDomain> for Brander {
    const POLICY: Policy = Policy { timeout: Duration::from_secs(25), ..Policy::DEFAULT };

    type Plan = Proofs;
    type Done = ();

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: VerifyDomain) -> Result<Prepared<Proofs>, Fail> {
        let host = self.host(&cmd.host);
        let claim = own(cx, &host).await?;
        if claim.status == DomainStatus::Verified {
            return Ok(Prepared::Skip(Events::none().about(host.clone(), DomainVerified { host })));
        }
        let theirs = rival(cx, &host).await?.map(|(_, proof)| proof);
        Ok(Prepared::go(Proofs { host, ours: claim.record_value, theirs }))
    }

    async fn perform(&self, _: &Meta, proofs: &Proofs) -> Result<(), CallError> {
        let refused = |code, detail: String| Err(CallError::Refused { code, detail });
        let texts = match self.dns.texts(&record_name(&proofs.host)).await {
            Ok(texts) => texts,
            Err(silence) => return refused("dns_unanswered", format!("{silence}; nothing was changed, try again")),
        };
        if !texts.contains(&proofs.ours) {
            let found = match texts.len() {
                0 => "there is none".to_owned(),
                n => format!("{n} of other content are there"),
            };
            let words = format!("the TXT record {} must say {}; {found}", record_name(&proofs.host), proofs.ours);
            return refused("proof_missing", words);
        }
        match &proofs.theirs {
            Some(theirs) if texts.contains(theirs) => refused(
                "held_by_another",
                "the proof of the tenant who serves there stands in DNS still; remove that record first".into(),
            ),
            _ => Ok(()),
        }
    }

    async fn record(&self, cx: &mut Cx<'_>, proofs: Proofs, (): ()) -> Result<Events, Fail> {
        let host = proofs.host;
        // Two tenants that proved one host at the same time come one after the other.
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('brander host ' || $1, 0))")
            .bind(&host)
            .execute(cx.db())
            .await?;
        if let Some((tenant, proof)) = rival(cx, &host).await? {
            if proofs.theirs.as_ref() != Some(&proof) {
                // Somebody else was proved in between; whose proof holds is for the next look to find out.
                let told =
                    DomainChecked { host: host.clone(), finding: Finding::Proved, status: DomainStatus::Pending };
                return Ok(Events::none().about(host, told));
            }
            // The one row that another tenant's command may touch: a host serves one tenant, and DNS has said whom.
            sqlx::query(
                "update brander.domains set status = 'taken_down', down_why = 'proved_by_another', untold = true
                 where tenant = $1 and host = $2",
            )
            .bind(&tenant)
            .bind(&host)
            .execute(cx.db())
            .await?;
            certificates::forget(cx.db(), &tenant, &host).await?;
        }
        let verified = sqlx::query(
            "update brander.domains set status = 'verified', verified_at = coalesce(verified_at, $3), checked_at = $3,
                    finding = 'proved', failing_since = null, warned_at = null, down_why = null, untold = false
             where tenant = $1 and host = $2 and record_value = $4",
        )
        .bind(cx.tenant())
        .bind(&host)
        .bind(cx.now())
        .bind(&proofs.ours)
        .execute(cx.db())
        .await?;
        match verified.rows_affected() {
            // Removed while DNS was asked: there is no claim any more to be proved.
            0 => Ok(Events::none()),
            _ => {
                let told = Events::none().about(host.clone(), DomainVerified { host: host.clone() });
                Ok(if self.authority.is_some() { told.then(OrderCertificate { host }) } else { told })
            }
        }
    }

    async fn reconcile(&self, _: &Meta, _: &Proofs) -> Result<Found<()>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Proofs) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, proofs: Option<Proofs>, how: &Settled) -> Result<Events, Fail> {
        let (Some(proofs), Settled::Refused { code, .. }) = (proofs, how) else { return Ok(Events::none()) };
        let finding = match *code {
            "proof_missing" => "missing",
            "held_by_another" => "proved",
            _ => "unanswered",
        };
        // A host that serves keeps its place in the round of checks: asking often must not put the next one off.
        sqlx::query(
            "update brander.domains set finding = $4,
                    checked_at = case when status in ('verified', 'failing') then checked_at else $3 end
             where tenant = $1 and host = $2",
        )
        .bind(cx.tenant())
        .bind(&proofs.host)
        .bind(cx.now())
        .bind(finding)
        .execute(cx.db())
        .await?;
        Ok(Events::none())
    }
}

/// The other tenant who serves there, with its proof. The only statement that looks beyond the own tenant.
async fn rival(cx: &mut Cx<'_>, host: &str) -> Result<Option<(String, String)>, Fail> {
    let found = sqlx::query_as(
        "select tenant, record_value from brander.domains
         where host = $2 and tenant <> $1 and status in ('verified', 'failing')",
    )
    .bind(cx.tenant())
    .bind(host)
    .fetch_optional(cx.db())
    .await?;
    Ok(found)
}
