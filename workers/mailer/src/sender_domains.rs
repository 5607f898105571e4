//! The domains from which a tenant sends. A mail from any other is refused.

use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{
    AddSenderDomain, RemoveSenderDomain, SenderDomain, SenderDomainAdded, SenderDomainList, SenderDomainRemoved,
    SenderDomains,
};
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::Mailer;

/// Domains of one tenant, at most.
const MOST: i64 = 500;

/// The name of the TXT record that proves a domain.
pub(crate) fn record_name(domain: &str) -> String {
    format!("_omnibus.{domain}")
}

impl Handle<AddSenderDomain> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AddSenderDomain) -> Result<Events, Fail> {
        let domain = cmd.domain.to_ascii_lowercase();
        let others: i64 =
            sqlx::query_scalar("select count(*) from mailer.sender_domains where tenant = $1 and domain <> $2")
                .bind(cx.tenant())
                .bind(&domain)
                .fetch_one(cx.db())
                .await?;
        if others >= MOST {
            return Err(Fail::reject("too_many_domains", format!("a tenant has at most {MOST} domains")));
        }
        // Asked for once more, it is the same claim: its record is in DNS by now, perhaps.
        let record_value: String = sqlx::query_scalar(
            "insert into mailer.sender_domains (tenant, domain, proof, added_at) values ($1, $2, $3, $4)
             on conflict (tenant, domain) do update set domain = excluded.domain returning proof",
        )
        .bind(cx.tenant())
        .bind(&domain)
        .bind(proof(cx, &domain))
        .bind(cx.now())
        .fetch_one(cx.db())
        .await?;
        let record_name = record_name(&domain);
        Ok(Events::none().about(domain.clone(), SenderDomainAdded { domain, record_name, record_value }))
    }
}

/// Bound to the tenant, the domain and this claim: ids come from callers, and what another tenant put into DNS must prove
/// nothing for whoever chooses the same one. It needs not be secret.
fn proof(cx: &Cx<'_>, domain: &str) -> String {
    let digest = Sha256::digest(format!("omnibus sender\0{}\0{domain}\0{}", cx.tenant(), cx.meta().id));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("omnibus-sender={hex}")
}

impl Handle<RemoveSenderDomain> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RemoveSenderDomain) -> Result<Events, Fail> {
        let domain = cmd.domain.to_ascii_lowercase();
        let done = sqlx::query("delete from mailer.sender_domains where tenant = $1 and domain = $2")
            .bind(cx.tenant())
            .bind(&domain)
            .execute(cx.db())
            .await?;
        match done.rows_affected() {
            0 => Err(Fail::reject("not_found", "the tenant has no such domain")),
            _ => Ok(Events::none().about(domain.clone(), SenderDomainRemoved { domain })),
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
