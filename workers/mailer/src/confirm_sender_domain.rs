//! A domain that was asked for becomes one to send from: because DNS says so, or, where there is no DNS to be asked, because
//! whoever runs the installation does.

use std::time::Duration;

use hmac::{Hmac, Mac};
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, WhenUncertain};
use omnibus_schemas::mailer::{ConfirmSenderDomain, ConfirmedBy, SenderDomainConfirmed};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sqlx::Row;

use crate::Mailer;
use crate::sender_domains::record_name;

/// What is to be looked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proofs {
    domain: String,
    /// The claimant's.
    ours: String,
    /// That of the tenant who proved the domain before.
    theirs: Option<String>,
}

impl Effect<ConfirmSenderDomain> for Mailer {
    /// The resolver gives up sooner.
    const POLICY: Policy = Policy { timeout: Duration::from_secs(25), ..Policy::DEFAULT };

    type Plan = Proofs;
    type Done = ();

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: ConfirmSenderDomain) -> Result<Prepared<Proofs>, Fail> {
        let domain = cmd.domain.to_ascii_lowercase();
        if let Some(approval) = &cmd.approval {
            self.check_approval(cx.tenant(), &domain, approval)?;
        }
        lock(cx, &domain).await?;
        let Some((ours, confirmed)) = claim(cx, &domain).await? else {
            let detail = "the tenant has not asked for that domain: PUT /api/v1/email/domains/{domain}";
            return Err(Fail::reject("not_found", detail));
        };
        if let Some(by) = confirmed {
            return Ok(Prepared::Skip(told(domain, by)));
        }
        let rival = rival(cx, &domain).await?;
        match (rival, cmd.approval) {
            // DNS has the last word on what DNS has said. What the operator said, only the operator's tenant takes back.
            (Some((_, ConfirmedBy::Operator)), _) | (Some(_), Some(_)) => {
                Err(Fail::reject("domain_taken", "the domain is confirmed as another tenant's"))
            }
            (None, Some(_)) => {
                confirm(cx, &domain, &ours, ConfirmedBy::Operator).await?;
                Ok(Prepared::Skip(told(domain, ConfirmedBy::Operator)))
            }
            (rival, None) => Ok(Prepared::go(Proofs { domain, ours, theirs: rival.map(|(proof, _)| proof) })),
        }
    }

    async fn perform(&self, _: &Meta, proofs: &Proofs) -> Result<(), CallError> {
        let refused = |code, detail: String| Err(CallError::Refused { code, detail });
        let name = record_name(&proofs.domain);
        let Some(dns) = &self.dns else {
            let detail = "this worker knows no DNS server: set DNS_SERVERS; nothing was changed";
            return refused("dns_unanswered", detail.into());
        };
        let texts = match dns.texts(&name).await {
            Ok(texts) => texts,
            Err(silence) => return refused("dns_unanswered", format!("{silence}; nothing was changed, try again")),
        };
        if !texts.contains(&proofs.ours) {
            let found = match texts.len() {
                0 => "there is none".to_owned(),
                n => format!("{n} of other content are there"),
            };
            return refused("proof_missing", format!("the TXT record {name} must say {}; {found}", proofs.ours));
        }
        match &proofs.theirs {
            Some(theirs) if texts.contains(theirs) => refused(
                "domain_taken",
                "the domain is confirmed as another tenant's, whose record stands in DNS still: remove that one first"
                    .into(),
            ),
            _ => Ok(()),
        }
    }

    async fn record(&self, cx: &mut Cx<'_>, proofs: Proofs, (): ()) -> Result<Events, Fail> {
        let domain = proofs.domain;
        lock(cx, &domain).await?;
        // The one row that another tenant's command may touch: a domain is one tenant's, and DNS has said whose. Two whose
        // records both stand there were both let in by the domain's owner: the later one has it.
        sqlx::query(
            "update mailer.sender_domains set confirmed_at = null, confirmed_by = null
             where tenant <> $1 and domain = $2 and confirmed_by = 'dns'",
        )
        .bind(cx.tenant())
        .bind(&domain)
        .execute(cx.db())
        .await?;
        match confirm(cx, &domain, &proofs.ours, ConfirmedBy::Dns).await? {
            true => Ok(told(domain, ConfirmedBy::Dns)),
            // Given up while DNS was asked, or approved for another: there is nothing to be told.
            false => Ok(Events::none()),
        }
    }

    /// Looking changes nothing: it may always be done again.
    async fn reconcile(&self, _: &Meta, _: &Proofs) -> Result<Found<()>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Proofs) -> WhenUncertain {
        WhenUncertain::Resend
    }
}

fn told(domain: String, by: ConfirmedBy) -> Events {
    Events::none().about(domain.clone(), SenderDomainConfirmed { domain, by })
}

/// Those who confirm one domain come one after the other.
async fn lock(cx: &mut Cx<'_>, domain: &str) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('mailer.sender_domains/' || $1, 0))")
        .bind(domain)
        .execute(cx.db())
        .await?;
    Ok(())
}

/// The tenant's own claim: its proof, and by what it is confirmed.
async fn claim(cx: &mut Cx<'_>, domain: &str) -> Result<Option<(String, Option<ConfirmedBy>)>, sqlx::Error> {
    let row = sqlx::query(
        "select proof, confirmed_at is not null, confirmed_by from mailer.sender_domains
         where tenant = $1 and domain = $2",
    )
    .bind(cx.tenant())
    .bind(domain)
    .fetch_optional(cx.db())
    .await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get::<bool, _>(1)?.then_some(by(row.try_get(2)?))))).transpose()
}

/// The other tenant's proof by which, or beside which, the domain is confirmed as theirs. Beside `record`, the only
/// statement that looks beyond the own tenant.
async fn rival(cx: &mut Cx<'_>, domain: &str) -> Result<Option<(String, ConfirmedBy)>, sqlx::Error> {
    let row = sqlx::query(
        "select proof, confirmed_by from mailer.sender_domains
         where domain = $2 and tenant <> $1 and confirmed_at is not null",
    )
    .bind(cx.tenant())
    .bind(domain)
    .fetch_optional(cx.db())
    .await?;
    row.map(|row| Ok((row.try_get(0)?, by(row.try_get(1)?)))).transpose()
}

fn by(word: Option<String>) -> ConfirmedBy {
    match word.as_deref() {
        Some("dns") => ConfirmedBy::Dns,
        _ => ConfirmedBy::Operator,
    }
}

/// Writes it down, unless the claim is gone or the domain is somebody else's by now.
async fn confirm(cx: &mut Cx<'_>, domain: &str, proof: &str, by: ConfirmedBy) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update mailer.sender_domains set confirmed_at = $3, confirmed_by = $4
         where tenant = $1 and domain = $2 and proof = $5 and not exists (
             select from mailer.sender_domains o where o.domain = $2 and o.tenant <> $1 and o.confirmed_at is not null)",
    )
    .bind(cx.tenant())
    .bind(domain)
    .bind(cx.now())
    .bind(by.as_str())
    .bind(proof)
    .execute(cx.db())
    .await?;
    Ok(done.rows_affected() == 1)
}

impl Mailer {
    fn check_approval(&self, tenant: &str, domain: &str, approval: &str) -> Result<(), Fail> {
        match &self.sender_approval_secret {
            None => Err(Fail::reject(
                "not_set_up",
                "this installation approves no domains, for SENDER_APPROVAL_SECRET is not set: leave /approval out, and \
                 the TXT record is looked for in DNS",
            )),
            Some(secret) if !approved(secret, tenant, domain, approval) => {
                Err(Fail::reject("not_approved", "/approval is not the operator's for this tenant and domain"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Only whoever runs the installation can say so: no key of a tenant's is enough.
fn approved(secret: &SecretString, tenant: &str, domain: &str, approval: &str) -> bool {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes());
    let mut mac = mac.expect("HMAC takes keys of any length");
    mac.update(format!("{tenant} {domain}").as_bytes());
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let given: Option<Vec<u8>> = approval.as_bytes().chunks(2).map(digit).collect();
    given.is_some_and(|given| mac.verify_slice(&given).is_ok())
}
