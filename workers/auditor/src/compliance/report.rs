//! A framework's report, made at this moment: what was found is judged anew, not read from what was said last.

use std::collections::HashMap;

use omnibus_runtime::{Answer, Ask, AskError, clock};
use omnibus_schemas::auditor::{
    CheckReport, ComplianceReport, ComplianceReportPage, ControlReport, EvidenceItem, Framework, HtmlPage,
    ReportDocument, ReportException, RequirementReport, Standing, Standings,
};

use super::book::{book, worst};
use super::facts::Facts;
use super::judge::Judge;
use super::{evidence, page};
use crate::Auditor;

impl Answer<ComplianceReport> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: ComplianceReport) -> Result<ReportDocument, AskError> {
        self.report(ask, query.framework).await
    }
}

impl Answer<ComplianceReportPage> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: ComplianceReportPage) -> Result<HtmlPage, AskError> {
        let report = self.report(ask, query.framework).await?;
        Ok(HtmlPage { html: page::page(&report) })
    }
}

impl Auditor {
    async fn report(&self, ask: &mut Ask<'_>, framework: Framework) -> Result<ReportDocument, AskError> {
        let head = self.head(ask).await?;
        let now = clock::now();
        let facts = Facts::gather(ask.db, ask.tenant, now).await?;
        let judge =
            Judge { tenant: ask.tenant, now, retention_days: self.settings.audit_retention_days, facts: &facts };
        let on_file = evidence::in_force(ask.db, ask.tenant, now).await.map_err(AskError::Failed)?;
        let controls = controls(framework, &judge, on_file);
        let standing: HashMap<&str, Standing> = controls.iter().map(|c| (c.control.as_str(), c.status)).collect();
        let of = book().framework(framework);
        let requirements: Vec<_> = of
            .requirements
            .iter()
            .map(|requirement| {
                let serving: Vec<_> = book().of_requirement(framework, &requirement.requirement).collect();
                RequirementReport {
                    requirement: requirement.requirement.clone(),
                    title: requirement.title.clone(),
                    text: requirement.text.clone(),
                    status: worst(serving.iter().map(|control| standing[control.control.as_str()])),
                    controls: serving.iter().map(|control| control.control.clone()).collect(),
                }
            })
            .collect();
        let exceptions = exceptions(&controls, &facts);
        Ok(ReportDocument {
            framework,
            title: of.title.clone(),
            source: of.source.clone(),
            made_at: now,
            watched_at: facts.watch.as_ref().map(|watch| watch.read_at),
            head,
            log: facts.watch.as_ref().map(|watch| watch.counts).unwrap_or_default(),
            requirement_counts: counted(requirements.iter().map(|requirement| requirement.status)),
            control_counts: counted(controls.iter().map(|control| control.status)),
            requirements,
            controls,
            exceptions,
        })
    }
}

fn counted(all: impl Iterator<Item = Standing>) -> Standings {
    all.fold(Standings::default(), |mut counts, standing| {
        counts.count(standing);
        counts
    })
}

fn controls(framework: Framework, judge: &Judge<'_>, on_file: Vec<EvidenceItem>) -> Vec<ControlReport> {
    let mut by_control: HashMap<String, Vec<EvidenceItem>> = HashMap::new();
    for item in on_file {
        by_control.entry(item.control.to_string()).or_default().push(item);
    }
    let mut controls: Vec<_> = book()
        .serving(framework)
        .map(|control| {
            let checks: Vec<_> = control
                .checks(book())
                .map(|check| {
                    let verdict = judge.check(check, control);
                    CheckReport {
                        check: check.check.clone(),
                        title: check.title.clone(),
                        status: verdict.standing,
                        detail: verdict.detail,
                        evidence: verdict.evidence,
                    }
                })
                .collect();
            ControlReport {
                control: control.control.clone(),
                title: control.title.clone(),
                omnibus: control.omnibus.clone(),
                operator: control.operator.clone(),
                status: worst(checks.iter().map(|check| check.status)),
                checks,
                evidence: by_control.remove(control.control.as_str()).unwrap_or_default(),
            }
        })
        .collect();
    controls.sort_by(|a, b| a.control.as_str().cmp(b.control.as_str()));
    controls
}

fn exceptions(controls: &[ControlReport], facts: &Facts) -> Vec<ReportException> {
    let unmet = controls.iter().filter(|control| control.status != Standing::Met);
    unmet
        .map(|control| ReportException {
            control: control.control.clone(),
            status: control.status,
            detail: control
                .checks
                .iter()
                .find(|check| check.status == control.status)
                .map(|check| check.detail.clone())
                .unwrap_or_default(),
            accepted: facts.accepted.get(control.control.as_str()).cloned(),
        })
        .collect()
}
