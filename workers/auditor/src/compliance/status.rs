//! How the controls stand, by replay of what was said about them: up to now, or up to a time.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError, clock};
use omnibus_schemas::auditor::{
    ComplianceStatus, ControlCatalogue, ControlStatus, Controls, EntryLink, Framework, FrameworkStatus, Standing,
    Standings, StatusReport, UnmetRequirement,
};
use sqlx::Row;

use super::book::{book, worst};
use crate::Auditor;
use crate::store::count;

impl Answer<Controls> for Auditor {
    async fn answer(&self, _: &mut Ask<'_>, query: Controls) -> Result<ControlCatalogue, AskError> {
        Ok(book().told(query.framework))
    }
}

impl Answer<ComplianceStatus> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: ComplianceStatus) -> Result<StatusReport, AskError> {
        self.head(ask).await?;
        let as_of = query.at.unwrap_or_else(clock::now);
        let wanted = |framework: Framework| query.framework.is_none_or(|wanted| wanted == framework);
        let said = said(ask, as_of).await?;
        let standing = |control: &str| said.get(control).map_or(Standing::Missing, |status| status.status);
        let frameworks = Framework::ALL.into_iter().filter(|framework| wanted(*framework));
        let frameworks = frameworks.map(|framework| stands(framework, &standing)).collect();
        let mut controls: Vec<ControlStatus> = book()
            .controls
            .iter()
            .filter(|control| Framework::ALL.into_iter().any(|f| wanted(f) && !control.serves(f).is_empty()))
            .map(|control| {
                said.get(control.control.as_str()).cloned().unwrap_or_else(|| ControlStatus {
                    control: control.control.clone(),
                    status: Standing::Missing,
                    since: None,
                    detail: "nothing has proved it yet".to_owned(),
                    revision: 0,
                    evidence: None,
                })
            })
            .collect();
        controls.sort_by(|a, b| a.control.as_str().cmp(b.control.as_str()));
        let watched_at = sqlx::query_scalar("select read_at from auditor.watched where tenant = $1")
            .bind(ask.tenant)
            .fetch_optional(&mut *ask.db)
            .await?;
        Ok(StatusReport { as_of, watched_at, frameworks, controls })
    }
}

/// The last that was said about each control up to a time.
async fn said(ask: &mut Ask<'_>, at: DateTime<Utc>) -> Result<HashMap<String, ControlStatus>, AskError> {
    let rows = sqlx::query(
        "select distinct on (control) * from auditor.control_changes where tenant = $1 and changed_at <= $2
         order by control, revision desc",
    )
    .bind(ask.tenant)
    .bind(at)
    .fetch_all(&mut *ask.db)
    .await?;
    let mut said = HashMap::with_capacity(rows.len());
    for row in rows {
        let (control, status): (String, String) = (row.try_get("control")?, row.try_get("status")?);
        let (log, index): (Option<String>, Option<i64>) = (row.try_get("evidence_log")?, row.try_get("evidence_idx")?);
        let unknown = || AskError::Failed(anyhow::anyhow!("the status {status} is not known"));
        let status = ControlStatus {
            control: control.parse().map_err(|_| AskError::Failed(anyhow::anyhow!("a control's name is a token")))?,
            status: Standing::parse(&status).ok_or_else(unknown)?,
            since: Some(row.try_get("changed_at")?),
            detail: row.try_get("detail")?,
            revision: count(row.try_get("revision")?),
            evidence: log.zip(index).map(|(log, index)| EntryLink { log, index: count(index) }),
        };
        said.insert(control, status);
    }
    Ok(said)
}

/// A framework, with its controls standing so.
fn stands(framework: Framework, standing: &impl Fn(&str) -> Standing) -> FrameworkStatus {
    let of = book().framework(framework);
    let mut requirements = Standings::default();
    let mut unmet = Vec::new();
    for requirement in &of.requirements {
        let controls = || book().of_requirement(framework, &requirement.requirement);
        let status = worst(controls().map(|control| standing(control.control.as_str())));
        requirements.count(status);
        if status != Standing::Met {
            let so = controls().filter(|control| standing(control.control.as_str()) == status);
            unmet.push(UnmetRequirement {
                requirement: requirement.requirement.clone(),
                status,
                controls: so.map(|control| control.control.clone()).collect(),
            });
        }
    }
    FrameworkStatus { framework, title: of.title.clone(), requirements, unmet }
}
