//! The report, as JSON, as a page and as OSCAL; and what a control that is not met blocks where compliance is strict.

use std::path::PathBuf;

use omnibus_auditor::compliance::oscal;
use omnibus_auditor::settings::ComplianceMode;
use omnibus_runtime::clock;
use omnibus_schemas::auditor::{
    CloseAudit, ComplianceReport, ComplianceReportPage, DraftPolicy, FileEvidence, Framework, MovePolicy, PlanAudit,
    PolicyStep, RecordRisk, ReportDocument, Standing, TreatRisk,
};
use omnibus_schemas::{Command, Token};
use serde_json::Value;
use uuid::Uuid;

use crate::scene::{Scene, eventually};

fn token(name: &str) -> Token {
    name.parse().unwrap()
}

async fn report(scene: &Scene, framework: Framework) -> ReportDocument {
    scene.asks("acme", &ComplianceReport { framework }).await.unwrap()
}

fn status(report: &ReportDocument, control: &str) -> Standing {
    report.controls.iter().find(|c| c.control.as_str() == control).unwrap().status
}

async fn id<C: Command>(scene: &Scene, command: &C, field: &str) -> Uuid {
    let told = scene.does_as("acme", "ada", command).await;
    told.data[field].as_str().unwrap_or_else(|| panic!("{:?}", told.data)).parse().unwrap()
}

fn accept(risk_id: Uuid) -> TreatRisk {
    let review_by = clock::now() + chrono::TimeDelta::days(30);
    TreatRisk { risk_id, review_by, note: "<b>until then</b>".into(), ..TreatRisk::example() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_counts_what_it_lists_and_names_its_evidence_and_the_head_it_was_made_at() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    for n in 0..9 {
        scene.accepted("acme", &format!("c-{n}")).await;
        let outcome = if n == 7 { "rejected" } else { "succeeded" };
        scene.ended("acme", &format!("o-{n}"), &format!("c-{n}"), outcome).await;
    }
    for control in ["governance", "people", "physical", "devices", "suppliers", "network", "encryption-rest"] {
        let evidence = FileEvidence {
            control: token(control),
            title: format!("Record of {control}, reviewed"),
            place: format!("https://files.example.com/{control}.pdf"),
            ..FileEvidence::example()
        };
        id(&scene, &evidence, "evidence_id").await;
    }
    // One has expired since, one was never brought.
    scene.sql("update auditor.evidence set effective_from = now() - interval '400 days', expires_at = now() - interval '35 days' where control = 'physical'").await;
    let evidence = FileEvidence {
        title: "<script>alert(1)</script>".into(),
        place: "https://files.example.com/\"x".into(),
        ..FileEvidence::example()
    };
    id(&scene, &evidence, "evidence_id").await;
    let risk = RecordRisk { control: Some(token("physical")), ..RecordRisk::example() };
    let risk_id = id(&scene, &risk, "risk_id").await;
    assert_eq!(scene.code("acme", "boss", &accept(risk_id)).await, "risk_treated");
    let head = scene.grown("acme", 1).await;
    eventually("the log is read", || async { report(&scene, Framework::Soc2).await.log.succeeded == 8 }).await;
    for framework in Framework::ALL {
        let report = report(&scene, framework).await;
        assert_eq!((report.log.accepted, report.log.rejected, report.log.open), (9, 1, 0));
        assert_eq!(status(&report, "physical"), Standing::Stale);
        assert!(report.head.size >= head.size && report.head.key == head.key);
        let counts = report.requirement_counts;
        let sum = counts.met + counts.missing + counts.stale + counts.failing;
        assert_eq!(sum, report.requirements.len() as u64);
        assert_eq!(
            report.control_counts.met,
            report.controls.iter().filter(|c| c.status == Standing::Met).count() as u64
        );
        let unmet = report.controls.iter().filter(|c| c.status != Standing::Met).count();
        assert_eq!(report.exceptions.len(), unmet);
        let physical = report.exceptions.iter().find(|e| e.control.as_str() == "physical").unwrap();
        assert_eq!(physical.accepted.as_ref().map(|risk| (risk.risk_id, risk.by.as_str())), Some((risk_id, "boss")));
        let training = report.controls.iter().find(|c| c.control.as_str() == "training").unwrap();
        assert_eq!((training.status, training.evidence.len()), (Standing::Met, 1));

        let page = scene.asks("acme", &ComplianceReportPage { framework }).await.unwrap().html;
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;") && page.contains("&lt;b&gt;until then"));
        assert!(page.contains(&head.key) && page.contains(evidence.sha256.as_deref().unwrap()));
        for requirement in &report.requirements {
            assert!(page.contains(&requirement.requirement), "{}", requirement.requirement);
        }
        assert!(page.contains("@media print") && !page.contains("http-equiv") && !page.contains("<link"));
        assert!(page.len() < 500_000, "{}", page.len());
        if let Some(folder) = std::env::var_os("REPORT_PAGES").map(PathBuf::from) {
            std::fs::write(folder.join(format!("{}.html", framework.as_str())), &page).unwrap();
            let oscal = oscal::assessment_results(&report, "acme").to_string();
            std::fs::write(folder.join(format!("{}.oscal.json", framework.as_str())), oscal).unwrap();
        }
        right(&oscal::assessment_results(&report, "acme"), &report);
    }
    running.stop().await;
}

/// As the OSCAL 1.1 schema of assessment results wants it, where it wants something.
fn right(document: &Value, report: &ReportDocument) {
    let results = &document["assessment-results"];
    let uuid = |value: &Value| value.as_str().unwrap().parse::<Uuid>().unwrap();
    uuid(&results["uuid"]);
    for field in ["title", "last-modified", "version", "oscal-version"] {
        assert!(results["metadata"][field].is_string(), "{field}");
    }
    let plan = results["import-ap"]["href"].as_str().unwrap().strip_prefix('#').unwrap();
    let resources = results["back-matter"]["resources"].as_array().unwrap();
    assert!(resources.iter().any(|resource| resource["uuid"] == plan));
    let result = &results["results"][0];
    for field in ["uuid", "title", "description", "start"] {
        assert!(result[field].is_string(), "{field}");
    }
    let (observations, findings) = (result["observations"].as_array().unwrap(), result["findings"].as_array().unwrap());
    assert_eq!(findings.len(), report.requirements.len());
    let known: Vec<&Value> = observations.iter().map(|observation| &observation["uuid"]).collect();
    for observation in observations {
        uuid(&observation["uuid"]);
        assert!(observation["description"].is_string() && observation["collected"].is_string());
        assert!(["EXAMINE", "TEST"].contains(&observation["methods"][0].as_str().unwrap()));
    }
    let risks: Vec<&Value> = result["risks"].as_array().into_iter().flatten().map(|risk| &risk["uuid"]).collect();
    for finding in findings {
        uuid(&finding["uuid"]);
        assert_eq!(finding["target"]["type"], "objective-id");
        let state = finding["target"]["status"]["state"].as_str().unwrap();
        assert!(["satisfied", "not-satisfied"].contains(&state));
        let id = finding["target"]["target-id"].as_str().unwrap();
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{id}");
        for related in finding["related-observations"].as_array().unwrap() {
            assert!(known.contains(&&related["observation-uuid"]));
        }
        for related in finding["related-risks"].as_array().into_iter().flatten() {
            assert!(risks.contains(&&related["risk-uuid"]));
        }
        assert_eq!(state == "satisfied", finding.get("related-risks").is_none());
    }
}

fn policy(step: PolicyStep, hash: &str) -> MovePolicy {
    MovePolicy { policy: token("access"), hash: hash.into(), step, note: String::new() }
}

async fn approved(scene: &Scene) -> String {
    let draft = DraftPolicy { policy: token("access"), title: "Access".into(), text: "Keys end.".into() };
    let told = scene.does_as("acme", "ada", &draft).await;
    let hash = told.data["hash"].as_str().unwrap().to_owned();
    for (actor, step) in [("ada", PolicyStep::Submit), ("bob", PolicyStep::Approve)] {
        assert_eq!(scene.code("acme", actor, &policy(step, &hash)).await, "policy_moved");
    }
    hash
}

#[tokio::test(flavor = "multi_thread")]
async fn where_compliance_is_strict_a_broken_log_keeps_policies_from_being_published() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Strict).await;
    let hash = approved(&scene).await;
    scene.accepted("acme", "c-1").await;
    scene.ended("acme", "o-1", "c-1", "succeeded").await;
    scene.ended("acme", "o-2", "c-1", "succeeded").await;
    scene.grown("acme", 3).await;
    eventually("the breach is seen", || async {
        status(&report(&scene, Framework::Hipaa).await, "audit-log") == Standing::Failing
    })
    .await;
    let refused = scene.does_as("acme", "bob", &policy(PolicyStep::Publish, &hash)).await;
    assert_eq!(refused.data["code"], "control_not_met");
    assert!(refused.data["detail"].as_str().unwrap().contains("audit-log is failing"), "{:?}", refused.data);
    running.stop().await;
    // Where it is not, the same is done.
    let running = scene.run_as(ComplianceMode::Watch).await;
    assert_eq!(scene.code("acme", "bob", &policy(PolicyStep::Publish, &hash)).await, "policy_moved");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_compliance_is_strict_an_audit_closes_on_met_controls_or_accepted_risks() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Strict).await;
    let plan = PlanAudit { scope: vec![token("training"), token("physical")], ..PlanAudit::example() };
    let audit_id = id(&scene, &plan, "audit_id").await;
    let close = CloseAudit { audit_id, conclusion: "well".into() };
    let refused = scene.does_as("acme", "ada", &close).await;
    let detail = refused.data["detail"].as_str().unwrap();
    assert!(detail.contains("training is missing") && detail.contains("physical is missing"), "{detail}");
    id(&scene, &FileEvidence::example(), "evidence_id").await;
    let refused = scene.does_as("acme", "ada", &close).await;
    assert!(!refused.data["detail"].as_str().unwrap().contains("training"), "{:?}", refused.data);
    let risk = RecordRisk { control: Some(token("physical")), ..RecordRisk::example() };
    let risk_id = id(&scene, &risk, "risk_id").await;
    assert_eq!(scene.code("acme", "ada", &close).await, "control_not_met", "nobody has accepted the risk yet");
    assert_eq!(scene.code("acme", "boss", &accept(risk_id)).await, "risk_treated");
    assert_eq!(scene.code("acme", "ada", &close).await, "audit_closed");
    running.stop().await;
}
