//! The tenant's domains, by host.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::brander::{CertificateStatus, DomainRow, DomainStatus, Domains, DomainsPage, Finding};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::Brander;
use crate::domains::record_name;

impl Answer<Domains> for Brander {
    async fn answer(&self, ask: &mut Ask<'_>, query: Domains) -> Result<DomainsPage, AskError> {
        let rows = sqlx::query(
            "select host, status, certificate, certificate_until, certificate_detail, record_value, added_at,
                    verified_at, checked_at, finding, failing_since
             from brander.domains where tenant = $1 and host > $2 order by host limit $3",
        )
        .bind(ask.tenant)
        .bind(query.after.unwrap_or_default())
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        let limit = query.limit as usize;
        let domains = rows.iter().take(limit).map(read).collect::<Result<Vec<_>, _>>()?;
        let next = if rows.len() > limit { domains.last().map(|row| row.host.clone()) } else { None };
        Ok(DomainsPage { domains, next })
    }
}

fn read(row: &PgRow) -> Result<DomainRow, sqlx::Error> {
    let host: String = row.try_get("host")?;
    let finding = row.try_get::<Option<&str>, _>("finding")?.map(|word| match word {
        "proved" => Finding::Proved,
        "missing" => Finding::Missing,
        _ => Finding::Unanswered,
    });
    Ok(DomainRow {
        record_name: record_name(&host),
        host,
        status: DomainStatus::parse(row.try_get("status")?).unwrap_or(DomainStatus::Pending),
        certificate: CertificateStatus::parse(row.try_get("certificate")?).unwrap_or(CertificateStatus::None),
        certificate_until: row.try_get("certificate_until")?,
        certificate_detail: row.try_get("certificate_detail")?,
        record_value: row.try_get("record_value")?,
        added_at: row.try_get("added_at")?,
        verified_at: row.try_get("verified_at")?,
        checked_at: row.try_get("checked_at")?,
        finding,
        failing_since: row.try_get("failing_since")?,
    })
}
