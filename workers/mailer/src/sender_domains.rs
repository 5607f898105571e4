//! The domains from which a tenant sends. A mail from any other is refused.

use hmac::{Hmac, Mac};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{
    AddSenderDomain, ConfirmSenderDomain, RemoveSenderDomain, SenderDomain, SenderDomainList, SenderDomains,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use sqlx::Row;

use crate::Mailer;

impl Handle<AddSenderDomain> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AddSenderDomain) -> Result<Events, Fail> {
        // It proves that whoever writes it into the DNS has heard it from this tenant; it needs not be secret.
        let proof = format!("omnibus-sender={}", cx.id("sender-domain").simple());
        sqlx::query(
            "insert into mailer.sender_domains (tenant, domain, proof, added_at) values ($1, lower($2), $3, $4)
             on conflict do nothing",
        )
        .bind(cx.tenant())
        .bind(&cmd.domain)
        .bind(proof)
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        Ok(Events::none())
    }
}

impl Handle<ConfirmSenderDomain> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ConfirmSenderDomain) -> Result<Events, Fail> {
        let Some(secret) = &self.sender_approval_secret else {
            return Err(Fail::reject(
                "not_set_up",
                "this installation confirms no domains: SENDER_APPROVAL_SECRET is not set",
            ));
        };
        if !approved(secret, cx.tenant(), &cmd) {
            return Err(Fail::reject("not_approved", "/approval is not the operator's for this tenant and domain"));
        }
        // Two confirmations of one domain at once: the second waits for the first and then sees it.
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('mailer.sender_domains/' || lower($1), 0))")
            .bind(&cmd.domain)
            .execute(cx.db())
            .await?;
        let taken: bool = sqlx::query_scalar(
            "select exists (select from mailer.sender_domains
                            where domain = lower($2) and tenant <> $1 and confirmed_at is not null)",
        )
        .bind(cx.tenant())
        .bind(&cmd.domain)
        .fetch_one(cx.db())
        .await?;
        if taken {
            return Err(Fail::reject("domain_taken", "the domain is confirmed as another tenant's"));
        }
        let done = sqlx::query(
            "update mailer.sender_domains set confirmed_at = coalesce(confirmed_at, $3)
             where tenant = $1 and domain = lower($2)",
        )
        .bind(cx.tenant())
        .bind(&cmd.domain)
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        match done.rows_affected() {
            0 => Err(Fail::reject("not_found", "the tenant has not asked for that domain")),
            _ => Ok(Events::none()),
        }
    }
}

/// Only whoever runs the installation can say that a domain is a tenant's: no key of a tenant's is enough.
fn approved(secret: &SecretString, tenant: &str, cmd: &ConfirmSenderDomain) -> bool {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes());
    let mut mac = mac.expect("HMAC takes keys of any length");
    mac.update(format!("{tenant} {}", cmd.domain.to_ascii_lowercase()).as_bytes());
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let given: Option<Vec<u8>> = cmd.approval.as_bytes().chunks(2).map(digit).collect();
    given.is_some_and(|given| mac.verify_slice(&given).is_ok())
}

impl Handle<RemoveSenderDomain> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RemoveSenderDomain) -> Result<Events, Fail> {
        let done = sqlx::query("delete from mailer.sender_domains where tenant = $1 and domain = lower($2)")
            .bind(cx.tenant())
            .bind(&cmd.domain)
            .execute(cx.db())
            .await?;
        match done.rows_affected() {
            0 => Err(Fail::reject("not_found", "the tenant has no such domain")),
            _ => Ok(Events::none()),
        }
    }
}

impl Answer<SenderDomains> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, _: SenderDomains) -> Result<SenderDomainList, AskError> {
        let rows = sqlx::query(
            "select domain, proof, added_at, confirmed_at from mailer.sender_domains where tenant = $1 order by domain",
        )
        .bind(ask.tenant)
        .fetch_all(&mut *ask.db)
        .await?;
        let read = |row: &sqlx::postgres::PgRow| {
            Ok(SenderDomain {
                domain: row.try_get(0)?,
                proof: row.try_get(1)?,
                added_at: row.try_get(2)?,
                confirmed_at: row.try_get(3)?,
            })
        };
        Ok(SenderDomainList { domains: rows.iter().map(read).collect::<Result<_, sqlx::Error>>()? })
    }
}
