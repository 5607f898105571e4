//! The register of risks.

use chrono::TimeDelta;
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{RecordRisk, Risk, RiskItems, RiskRecorded, RiskTreated, Risks, TreatRisk};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::book::book;
use super::evidence::token;
use super::{actor, fault};
use crate::Auditor;
use crate::cursor::Page;
use crate::words::{read, word};

/// A decision holds for so long at most.
const HOLDS: TimeDelta = TimeDelta::days(366);

impl Handle<RecordRisk> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RecordRisk) -> Result<Events, Fail> {
        if cmd.control.as_ref().is_some_and(|control| book().control(control).is_none()) {
            return Err(fault("/control", "there is no such control"));
        }
        let (tenant, now, risk_id) = (cx.tenant(), cx.now(), cx.meta().id);
        sqlx::query(
            "insert into auditor.risks (tenant, risk_id, title, control, likelihood, impact, owner, recorded_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(tenant)
        .bind(risk_id)
        .bind(&cmd.title)
        .bind(cmd.control.as_ref().map(Token::as_str))
        .bind(i16::from(cmd.likelihood))
        .bind(i16::from(cmd.impact))
        .bind(&cmd.owner)
        .bind(now)
        .execute(cx.db())
        .await?;
        let score = u32::from(cmd.likelihood) * u32::from(cmd.impact);
        self.told(cx, risk_id.to_string(), RiskRecorded { risk_id, control: cmd.control, score }).await
    }
}

impl Handle<TreatRisk> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: TreatRisk) -> Result<Events, Fail> {
        let (tenant, now, by) = (cx.tenant(), cx.now(), actor(cx)?);
        if cmd.review_by <= now || cmd.review_by > now + HOLDS {
            return Err(fault("/review_by", "must be ahead, and at most a year"));
        }
        let done = sqlx::query(
            "update auditor.risks set treatment = $3, note = $4, treated_by = $5, review_by = $6
             where tenant = $1 and risk_id = $2",
        )
        .bind(tenant)
        .bind(cmd.risk_id)
        .bind(word(&cmd.treatment))
        .bind(&cmd.note)
        .bind(&by)
        .bind(cmd.review_by)
        .execute(cx.db())
        .await?;
        if done.rows_affected() == 0 {
            return Err(Fail::reject("no_such_risk", "risk_id: the register has no risk of this id"));
        }
        let event = RiskTreated { risk_id: cmd.risk_id, treatment: cmd.treatment, review_by: cmd.review_by, by };
        self.told(cx, cmd.risk_id.to_string(), event).await
    }
}

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
