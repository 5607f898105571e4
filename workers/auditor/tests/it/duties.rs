//! What people do: evidence, audits, risks, access reviews, incidents. Each tenant's own, and nobody judges their own work.

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::clock;
use omnibus_schemas::auditor::{
    AccessDecision, AccessReviewPage, AccessReviews, AssessControl, AuditPage, Audits, CloseAudit,
    CompleteAccessReview, DecideAccess, EvidenceFile, FileEvidence, FindingState, FindingStep, Framework,
    IncidentState, IncidentStep, Incidents, MoveFinding, MoveIncident, OpenAccessReview, PlanAudit, RecordFinding,
    RecordRisk, ReportIncident, RiskTreatment, Risks, Severity, TreatRisk, WithdrawEvidence,
};
use omnibus_schemas::{Command, Token};
use uuid::Uuid;

use crate::scene::Scene;

fn token(name: &str) -> Token {
    name.parse().unwrap()
}

fn ahead(days: i64) -> DateTime<Utc> {
    clock::now() + TimeDelta::days(days)
}

async fn id<C: Command>(scene: &Scene, actor: &str, command: &C, field: &str) -> Uuid {
    let told = scene.does_as("acme", actor, command).await;
    told.data[field].as_str().unwrap_or_else(|| panic!("{:?}", told.data)).parse().unwrap()
}

async fn fault<C: Command>(scene: &Scene, command: &C) -> String {
    let told = scene.does_as("acme", "ada", command).await;
    told.data["faults"][0]["pointer"].as_str().unwrap_or_else(|| panic!("{:?}", told.data)).to_owned()
}

async fn assessed(scene: &Scene, control: &str) -> String {
    let told = scene.does_as("acme", "ada", &AssessControl { control: token(control) }).await;
    told.data["status"].as_str().unwrap_or("as before").to_owned()
}

fn evidence() -> FileEvidence {
    FileEvidence { effective_from: Some(clock::now() - TimeDelta::days(1)), ..FileEvidence::example() }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_counts_from_its_day_until_it_expires_or_is_taken_back() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.greeted("acme", "e-1").await;
    scene.grown("acme", 1).await;
    assert_eq!(assessed(&scene, "training").await, "as before");
    let later = FileEvidence { effective_from: Some(ahead(10)), ..evidence() };
    id(&scene, "ada", &later, "evidence_id").await;
    assert_eq!(assessed(&scene, "training").await, "as before", "it has not taken effect yet");
    let filed = id(&scene, "ada", &evidence(), "evidence_id").await;
    assert_eq!(assessed(&scene, "training").await, "met");
    scene.sql("update auditor.evidence set expires_at = now() where effective_from < now()").await;
    assert_eq!(assessed(&scene, "training").await, "stale");
    let entry = FileEvidence { sha256: None, entry: Some(0), ..evidence() };
    let entry = id(&scene, "ada", &entry, "evidence_id").await;
    assert_eq!(assessed(&scene, "training").await, "met");
    let withdraw = |evidence_id| WithdrawEvidence { evidence_id, reason: "wrong year".into() };
    assert_eq!(scene.code("globex", "bob", &withdraw(entry)).await, "no_such_evidence");
    assert_eq!(scene.code("acme", "bob", &withdraw(entry)).await, "evidence_withdrawn");
    assert_eq!(scene.code("acme", "bob", &withdraw(entry)).await, "no_such_evidence");
    assert_eq!(assessed(&scene, "training").await, "stale");

    assert_eq!(fault(&scene, &FileEvidence { control: token("nonsense"), ..evidence() }).await, "/control");
    assert_eq!(fault(&scene, &FileEvidence { sha256: None, ..evidence() }).await, "/sha256");
    assert_eq!(fault(&scene, &FileEvidence { entry: Some(0), ..evidence() }).await, "/sha256");
    assert_eq!(fault(&scene, &FileEvidence { sha256: Some("x".repeat(64)), ..evidence() }).await, "/sha256");
    assert_eq!(fault(&scene, &FileEvidence { sha256: None, entry: Some(1_000_000), ..evidence() }).await, "/entry");
    assert_eq!(fault(&scene, &FileEvidence { expires_at: Some(ahead(-2)), ..evidence() }).await, "/expires_at");
    assert_eq!(fault(&scene, &FileEvidence { expires_at: Some(ahead(800)), ..evidence() }).await, "/expires_at");

    let list = EvidenceFile { control: Some(token("training")), after: None, limit: 50 };
    let items = scene.asks("acme", &list).await.unwrap().items;
    assert_eq!(items.len(), 3);
    assert_eq!((items[0].evidence_id, items[0].entry, items[0].by.as_deref()), (entry, Some(0), Some("ada")));
    assert!(items[0].withdrawn_at.is_some() && items[1].evidence_id == filed);
    assert_eq!(scene.asks("globex", &list).await.unwrap().items, []);
    running.stop().await;
}

fn plan() -> PlanAudit {
    PlanAudit { scope: vec![token("training"), token("access-review")], ..PlanAudit::example() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_closes_once_somebody_else_has_verified_what_was_remedied() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let audit_id = id(&scene, "lead", &plan(), "audit_id").await;
    let found = RecordFinding { audit_id, due_at: ahead(30), ..RecordFinding::example() };
    let finding_id = id(&scene, "lead", &found, "finding_id").await;
    assert_eq!(fault(&scene, &RecordFinding { control: token("backup"), ..found.clone() }).await, "/control");
    let step = |step| MoveFinding { audit_id, finding_id, step, note: "done".into() };
    let close = CloseAudit { audit_id, conclusion: "well".into() };
    assert_eq!(scene.code("acme", "lead", &close).await, "open_findings");
    assert_eq!(scene.code("acme", "eve", &step(FindingStep::Verify)).await, "wrong_state");
    assert_eq!(scene.code("acme", "ada", &step(FindingStep::Remedy)).await, "finding_moved");
    assert_eq!(scene.code("acme", "ada", &step(FindingStep::Verify)).await, "own_work");
    assert_eq!(scene.code("acme", "eve", &step(FindingStep::Reopen)).await, "finding_moved");
    assert_eq!(scene.code("acme", "ada", &step(FindingStep::Remedy)).await, "finding_moved");
    assert_eq!(scene.code("acme", "lead", &close).await, "open_findings");
    assert_eq!(scene.code("acme", "eve", &step(FindingStep::Verify)).await, "finding_moved");

    assert_eq!(scene.code("globex", "eve", &close).await, "no_such_audit");
    assert_eq!(scene.code("globex", "eve", &step(FindingStep::Reopen)).await, "no_such_audit");
    assert_eq!(scene.code("globex", "eve", &found).await, "no_such_audit");
    assert_eq!(scene.asks("globex", &AuditPage { audit_id }).await.unwrap_err().0, 404);
    assert_eq!(scene.asks("globex", &Audits { after: None, limit: 50 }).await.unwrap().items, []);

    let closed = scene.does_as("acme", "lead", &close).await;
    assert_eq!((closed.name.as_str(), &closed.data["findings"]), ("audit_closed", &1.into()));
    assert_eq!(scene.code("acme", "lead", &close).await, "audit_closed");
    assert_eq!(scene.code("acme", "lead", &found).await, "audit_closed");
    let page = scene.asks("acme", &AuditPage { audit_id }).await.unwrap();
    assert_eq!((page.audit.open_findings, page.audit.lead.as_str()), (0, "lead"));
    assert_eq!(
        (page.findings[0].state, page.findings[0].remedied_by.as_deref()),
        (FindingState::Verified, Some("ada"))
    );
    assert_eq!(assessed(&scene, "internal-audit").await, "met");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_makes_no_sense_is_refused_by_field() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let scope = vec![token("training"), token("nonsense")];
    assert_eq!(fault(&scene, &PlanAudit { scope, ..plan() }).await, "/scope/1");
    let scope = vec![token("privacy")];
    assert_eq!(fault(&scene, &PlanAudit { framework: Framework::Hipaa, scope, ..plan() }).await, "/scope/0");
    let period_to = plan().period_from;
    assert_eq!(fault(&scene, &PlanAudit { period_to, ..plan() }).await, "/period_to");
    let all = scene.does_as("acme", "lead", &PlanAudit { scope: vec![], ..plan() }).await;
    assert!(all.data["scope"].as_array().unwrap().len() > 30);
    assert_eq!(scene.code("acme", "  ", &plan()).await, "no_actor");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_risk_is_decided_about_until_it_is_looked_at_again_and_lists_come_in_pages() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let risk = RecordRisk { title: format!("risk {n}"), ..RecordRisk::example() };
        ids.push(id(&scene, "ada", &risk, "risk_id").await);
    }
    assert_eq!(assessed(&scene, "risk-management").await, "failing");
    let treat = |risk_id, days| TreatRisk { risk_id, review_by: ahead(days), ..TreatRisk::example() };
    assert_eq!(fault(&scene, &treat(ids[0], -1)).await, "/review_by");
    assert_eq!(fault(&scene, &treat(ids[0], 400)).await, "/review_by");
    assert_eq!(scene.code("globex", "eve", &treat(ids[0], 10)).await, "no_such_risk");
    for risk_id in &ids {
        assert_eq!(scene.code("acme", "eve", &treat(*risk_id, 10)).await, "risk_treated");
    }
    assert_eq!(assessed(&scene, "risk-management").await, "met");
    scene.sql("update auditor.risks set review_by = now() where title = 'risk 3'").await;
    assert_eq!(assessed(&scene, "risk-management").await, "stale");
    let close = TreatRisk { treatment: RiskTreatment::Close, ..treat(ids[3], 10) };
    assert_eq!(scene.code("acme", "eve", &close).await, "risk_treated");
    assert_eq!(assessed(&scene, "risk-management").await, "met");
    assert_eq!(
        fault(&scene, &RecordRisk { control: Some(token("nonsense")), ..RecordRisk::example() }).await,
        "/control"
    );

    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = scene.asks("acme", &Risks { after, limit: 2 }).await.unwrap();
        seen.extend(page.items.iter().map(|risk| risk.risk_id));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ids.reverse();
    assert_eq!((seen, pages), (ids, 3));
    let nonsense = Risks { after: Some("nonsense".into()), limit: 2 };
    assert_eq!(scene.asks("acme", &nonsense).await.unwrap_err().0, 422);
    assert_eq!(scene.asks("globex", &Risks { after: None, limit: 2 }).await.unwrap().items, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_access_ends_when_every_key_is_decided_about_and_the_revoked_are_gone() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let open = OpenAccessReview { title: "third quarter".into(), due_at: ahead(14) };
    assert_eq!(scene.code("acme", "ada", &open).await, "no_keys");
    let (kept, gone, others) = (clock::new_id(), clock::new_id(), clock::new_id());
    for (tenant, key) in [("acme", kept), ("acme", gone), ("globex", others)] {
        scene
            .sql(&format!("insert into auditor.keys values ('{tenant}', '{key}', '{{email:send}}', now(), null)"))
            .await;
    }
    assert_eq!(fault(&scene, &OpenAccessReview { due_at: ahead(-1), ..open.clone() }).await, "/due_at");
    let opened = scene.does_as("acme", "ada", &open).await;
    assert_eq!(opened.data["keys"], 2);
    let review_id: Uuid = opened.data["review_id"].as_str().unwrap().parse().unwrap();
    let decide = |key_id, decision| DecideAccess { review_id, key_id, decision, note: String::new() };
    let complete = CompleteAccessReview { review_id };
    assert_eq!(scene.code("acme", "eve", &complete).await, "undecided");
    let own = format!("key:{kept}");
    assert_eq!(scene.code("acme", &own, &decide(kept, AccessDecision::Keep)).await, "own_work");
    assert_eq!(scene.code("acme", "eve", &decide(others, AccessDecision::Keep)).await, "no_such_key");
    assert_eq!(scene.code("globex", "eve", &decide(kept, AccessDecision::Keep)).await, "no_such_review");
    assert_eq!(scene.code("acme", "eve", &decide(kept, AccessDecision::Keep)).await, "access_decided");
    assert_eq!(scene.code("acme", "eve", &decide(gone, AccessDecision::Revoke)).await, "access_decided");
    assert_eq!(scene.code("acme", "eve", &complete).await, "not_revoked");
    scene.sql(&format!("delete from auditor.keys where key_id = '{gone}'")).await;
    assert_eq!(scene.code("globex", "eve", &complete).await, "no_such_review");
    let completed = scene.does_as("acme", "eve", &complete).await;
    assert_eq!((&completed.data["kept"], &completed.data["revoked"]), (&1.into(), &1.into()));
    assert_eq!(scene.code("acme", "eve", &complete).await, "review_completed");
    assert_eq!(assessed(&scene, "access-review").await, "met");
    scene.sql("update auditor.access_reviews set completed_at = completed_at - interval '91 days'").await;
    assert_eq!(assessed(&scene, "access-review").await, "stale");

    let all = scene.asks("acme", &AccessReviews { after: None, limit: 50 }).await.unwrap().items;
    assert_eq!(all.iter().map(|review| review.review_id).collect::<Vec<_>>(), [review_id], "a refusal leaves nothing");
    let page = scene.asks("acme", &AccessReviewPage { review_id }).await.unwrap();
    assert_eq!((page.review.keys, page.review.undecided, page.keys.len()), (2, 0, 2));
    assert_eq!(scene.asks("globex", &AccessReviewPage { review_id }).await.unwrap_err().0, 404);
    assert_eq!(scene.asks("globex", &AccessReviews { after: None, limit: 50 }).await.unwrap().items, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_about_people_is_not_closed_before_they_were_told() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let report = ReportIncident { personal_data: true, severity: Severity::Critical, ..ReportIncident::example() };
    let told = scene.does_as("acme", "ada", &report).await;
    let incident_id: Uuid = told.data["incident_id"].as_str().unwrap().parse().unwrap();
    let at = |field: &str| told.data[field].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!(at("tell_by") - at("noticed_at"), TimeDelta::days(60));
    let step = |step| MoveIncident { incident_id, step, note: "done".into() };
    assert_eq!(scene.code("acme", "ada", &step(IncidentStep::Resolve)).await, "wrong_state");
    assert_eq!(scene.code("globex", "ada", &step(IncidentStep::Contain)).await, "no_such_incident");
    scene.sql("update auditor.incidents set noticed_at = noticed_at - interval '73 hours'").await;
    assert_eq!(assessed(&scene, "incident-response").await, "failing");
    for what in [IncidentStep::Contain, IncidentStep::Resolve] {
        assert_eq!(scene.code("acme", "ada", &step(what)).await, "incident_moved");
    }
    assert_eq!(assessed(&scene, "incident-response").await, "met");
    assert_eq!(scene.code("acme", "ada", &step(IncidentStep::Close)).await, "not_told");
    scene.sql("update auditor.incidents set tell_by = now() - interval '1 second'").await;
    assert_eq!(assessed(&scene, "breach-notice").await, "failing");
    assert_eq!(scene.code("acme", "ada", &step(IncidentStep::Tell)).await, "incident_moved");
    assert_eq!(scene.code("acme", "ada", &step(IncidentStep::Close)).await, "incident_moved");
    assert_eq!(scene.code("acme", "ada", &step(IncidentStep::Tell)).await, "wrong_state");
    let items = scene.asks("acme", &Incidents { after: None, limit: 50 }).await.unwrap().items;
    assert_eq!((items[0].state, items[0].told_at.is_some()), (IncidentState::Closed, true));
    assert_eq!(scene.asks("globex", &Incidents { after: None, limit: 50 }).await.unwrap().items, []);

    let other = id(&scene, "ada", &ReportIncident::example(), "incident_id").await;
    let tell = MoveIncident { incident_id: other, ..step(IncidentStep::Tell) };
    assert_eq!(scene.code("acme", "ada", &tell).await, "nobody_to_tell");
    assert_eq!(fault(&scene, &ReportIncident { noticed_at: Some(ahead(1)), ..report }).await, "/noticed_at");
    running.stop().await;
}
