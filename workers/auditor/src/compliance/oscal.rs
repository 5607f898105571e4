//! A report as OSCAL 1.1 assessment results (NIST). A requirement is a control of OSCAL's, a check of ours an observation,
//! and what is not met a finding and a risk. Ids are derived from what they name, so that the same report is the same file.

use chrono::{DateTime, SecondsFormat, Utc};
use omnibus_schemas::auditor::{
    CheckReport, ControlReport, EvidenceDownload, EvidenceItem, Framework, ReportDocument, ReportException,
    RequirementReport, Standing,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// The version whose shape is written.
pub const VERSION: &str = "1.1.2";
/// Names of ours in OSCAL's properties.
const NS: &str = "https://omnibus.invalid/ns/oscal";

/// The document.
pub fn assessment_results(report: &ReportDocument, tenant: &str) -> Value {
    let ids = Ids { root: format!("{tenant}/{}/{}", report.framework.as_str(), report.head.root) };
    let made = time(report.made_at);
    let observations: Vec<_> = report.controls.iter().flat_map(|control| observations(&ids, control, report)).collect();
    let findings: Vec<_> = report.requirements.iter().map(|requirement| finding(&ids, requirement, report)).collect();
    let risks: Vec<_> = report.exceptions.iter().map(|exception| risk(&ids, exception)).collect();
    let included: Vec<_> = report
        .requirements
        .iter()
        .map(|r| json!({ "control-id": control_id(report.framework, &r.requirement) }))
        .collect();
    let mut resources = vec![
        json!({ "uuid": ids.of("plan"), "title": "Controls that watch", "rlinks": [{ "href": "/api/v1/compliance/controls" }] }),
        json!({ "uuid": ids.of("source"), "title": report.title, "rlinks": [{ "href": report.source }] }),
    ];
    let items = report.controls.iter().flat_map(|control| &control.evidence);
    resources.extend(items.filter_map(|item| resource(&ids, item)));
    let mut result = json!({
        "uuid": ids.of("result"),
        "title": format!("{} of {tenant}", report.title),
        "description": "How the controls stood, as watched by the audit log and as evidence on file shows.",
        "start": made,
        "end": made,
        "props": [
            prop("log-size", &report.head.size.to_string()),
            prop("log-root", &report.head.root),
        ],
        "reviewed-controls": { "control-selections": [{ "include-controls": included }] },
        "attestations": [{
            "parts": [{
                "name": "authorization-statement",
                "ns": NS,
                "prose": report.head.checkpoint.clone(),
            }],
        }],
        "observations": observations,
        "findings": findings,
    });
    if !risks.is_empty() {
        result["risks"] = Value::Array(risks);
    }
    json!({
        "assessment-results": {
            "uuid": ids.of("document"),
            "metadata": {
                "title": format!("{}: assessment results of {tenant}", report.title),
                "last-modified": made,
                "version": report.head.size.to_string(),
                "oscal-version": VERSION,
                "roles": [{ "id": "assessor", "title": "Assessor" }],
                "parties": [{ "uuid": ids.of("party"), "type": "organization", "name": tenant }],
            },
            "import-ap": { "href": format!("#{}", ids.of("plan")) },
            "results": [result],
            "back-matter": {
                "resources": resources,
            },
        }
    })
}

struct Ids {
    root: String,
}

impl Ids {
    fn of(&self, what: &str) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("omnibus/oscal/{}/{what}", self.root).as_bytes()).to_string()
    }

    fn file(&self, item: &EvidenceItem) -> String {
        self.of(&format!("evidence/{}", item.evidence_id))
    }

    fn check(&self, control: &ControlReport, check: &CheckReport) -> String {
        self.of(&format!("check/{}/{}", control.control, check.check))
    }
}

/// OSCAL's ids are tokens: letters, digits, `-`, `_` and `.`, beginning with a letter.
fn control_id(framework: Framework, requirement: &str) -> String {
    let number = requirement.to_ascii_lowercase().replace('(', ".").replace(')', "");
    format!("{}-{number}", framework.as_str())
}

fn prop(name: &str, value: &str) -> Value {
    json!({ "name": name, "ns": NS, "value": value })
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn observations(ids: &Ids, control: &ControlReport, report: &ReportDocument) -> Vec<Value> {
    let observation = |check: &CheckReport| {
        let mut one = json!({
            "uuid": ids.check(control, check),
            "title": format!("{}: {}", control.title, check.title),
            "description": check.detail,
            "props": [prop("control", control.control.as_str()), prop("standing", check.status.as_str())],
            "methods": [if check.check.as_str() == "evidence-on-file" { "EXAMINE" } else { "TEST" }],
            "types": ["control-objective"],
            "collected": time(report.made_at),
        });
        let mut relevant: Vec<Value> = Vec::new();
        if let Some(link) = &check.evidence {
            relevant.push(json!({
                "href": format!("/api/v1/audit/entries/{}/proof", link.index),
                "description": format!("entry {} of the log of {}", link.index, link.log),
            }));
        }
        if check.check.as_str() == "evidence-on-file" {
            for item in &control.evidence {
                let place = match (&item.file, item.place.is_empty()) {
                    (Some(_), _) => format!("#{}", ids.file(item)),
                    (None, true) => "#".to_owned(),
                    (None, false) => item.place.clone(),
                };
                let hash = item.sha256.as_deref().unwrap_or("an entry of the log");
                relevant.push(json!({ "href": place, "description": format!("{}: {hash}", item.title) }));
            }
        }
        if !relevant.is_empty() {
            one["relevant-evidence"] = Value::Array(relevant);
        }
        one
    };
    control.checks.iter().map(observation).collect()
}

/// A file of evidence, with where a link to it is to be had and the hash that it then must have.
fn resource(ids: &Ids, item: &EvidenceItem) -> Option<Value> {
    let (file, hash) = (item.file.as_ref()?, item.sha256.as_ref()?);
    Some(json!({
        "uuid": ids.file(item),
        "title": item.title,
        "description": file.filename,
        "props": [prop("evidence", &item.evidence_id.to_string()), prop("bytes", &file.size.to_string())],
        "rlinks": [{
            "href": EvidenceDownload::address(item.evidence_id),
            "media-type": file.content_type,
            "hashes": [{ "algorithm": "SHA-256", "value": hash }],
        }],
    }))
}

fn finding(ids: &Ids, requirement: &RequirementReport, report: &ReportDocument) -> Value {
    let id = control_id(report.framework, &requirement.requirement);
    let (state, reason) = match requirement.status {
        Standing::Met => ("satisfied", "pass"),
        Standing::Failing => ("not-satisfied", "fail"),
        Standing::Stale | Standing::Missing => ("not-satisfied", "other"),
    };
    let serving = || report.controls.iter().filter(|control| requirement.controls.contains(&control.control));
    let related: Vec<_> = serving()
        .flat_map(|control| control.checks.iter().map(|check| json!({ "observation-uuid": ids.check(control, check) })))
        .collect();
    let risks: Vec<_> = serving()
        .filter(|control| control.status != Standing::Met)
        .map(|control| json!({ "risk-uuid": ids.of(&format!("risk/{}", control.control)) }))
        .collect();
    let mut finding = json!({
        "uuid": ids.of(&format!("finding/{}", requirement.requirement)),
        "title": format!("{} {}", requirement.requirement, requirement.title),
        "description": requirement.text,
        "target": {
            "type": "objective-id",
            "target-id": id,
            "status": { "state": state, "reason": reason },
        },
        "related-observations": related,
    });
    if !risks.is_empty() {
        finding["related-risks"] = Value::Array(risks);
    }
    finding
}

fn risk(ids: &Ids, exception: &ReportException) -> Value {
    let mut risk = json!({
        "uuid": ids.of(&format!("risk/{}", exception.control)),
        "title": format!("The control {} is {}", exception.control, exception.status.as_str()),
        "description": exception.detail,
        "statement": "What this control guards against is not shown to be guarded against.",
        "status": if exception.accepted.is_some() { "deviation-approved" } else { "open" },
    });
    if let Some(accepted) = &exception.accepted {
        risk["deadline"] = time(accepted.until).into();
        risk["props"] = json!([prop("accepted-by", &accepted.by)]);
        risk["remediations"] = json!([{
            "uuid": ids.of(&format!("response/{}", exception.control)),
            "lifecycle": "planned",
            "title": "Accepted for a time",
            "description": accepted.note,
        }]);
    }
    risk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirements_number_becomes_a_token() {
        assert_eq!(control_id(Framework::Hipaa, "164.308(a)(1)(ii)(A)"), "hipaa-164.308.a.1.ii.a");
        assert_eq!(control_id(Framework::Soc2, "CC6.1"), "soc2-cc6.1");
        assert_eq!(control_id(Framework::Iso27001, "A.5.1"), "iso27001-a.5.1");
    }
}
