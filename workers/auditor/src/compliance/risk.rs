//! The register of risks.

mod record_risk;
mod treat_risk;

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::auditor::{Risk, RiskItems, Risks};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::evidence::token;
use crate::Auditor;
use crate::cursor::Page;
use crate::words::read;

fn risk(row: &PgRow) -> anyhow::Result<Risk> {
    let small = |name: &str| row.try_get::<i16, _>(name).map(|n| u8::try_from(n).unwrap_or_default());
    let control: Option<String> = row.try_get("control")?;
    let treatment: Option<String> = row.try_get("treatment")?;
    Ok(Risk {
        risk_id: row.try_get("risk_id")?,
        title: row.try_get("title")?,
        control: control.as_deref().map(token).transpose()?,
        likelihood: small("likelihood")?,
        impact: small("impact")?,
        owner: row.try_get("owner")?,
        recorded_at: row.try_get("recorded_at")?,
        treatment: treatment.as_deref().map(read).transpose()?,
        note: row.try_get("note")?,
        treated_by: row.try_get("treated_by")?,
        review_by: row.try_get("review_by")?,
    })
}

impl Answer<Risks> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: Risks) -> Result<RiskItems, AskError> {
        let page = Page::of(query.after.as_deref(), query.limit)?;
        let rows = sqlx::query(
            "select * from auditor.risks
             where tenant = $1 and ($2::timestamptz is null or (recorded_at, risk_id) < ($2, $3))
             order by recorded_at desc, risk_id desc limit $4",
        )
        .bind(ask.tenant)
        .bind(page.at)
        .bind(page.id)
        .bind(page.rows())
        .fetch_all(&mut *ask.db)
        .await?;
        let mut items = rows.iter().map(risk).collect::<anyhow::Result<Vec<_>>>().map_err(AskError::Failed)?;
        let next = page.cut(&mut items, |item| (item.recorded_at, item.risk_id));
        Ok(RiskItems { items, next })
    }
}
