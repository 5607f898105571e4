//! Policies: nobody approves their own, and nobody signs what is not in force.

use omnibus_runtime::testing::Told;
use omnibus_schemas::Encoding;
use omnibus_schemas::auditor::{AcknowledgePolicy, DraftPolicy, MovePolicy, Policies, Policy, PolicyState, PolicyStep};
use omnibus_schemas::{Command, Token, body, subject};

use crate::scene::{Scene, headers};

fn name() -> Token {
    "access".parse().unwrap()
}

fn draft(text: &str) -> DraftPolicy {
    DraftPolicy { policy: name(), title: "Access".into(), text: text.into() }
}

/// As somebody in particular asks it.
async fn does<C: Command>(scene: &Scene, tenant: &str, actor: &str, command: &C) -> Told {
    let id = omnibus_runtime::clock::new_id();
    let map = headers(&[("ce-id", &id.to_string()), ("ce-actor", actor), ("Content-Type", "application/json")]);
    let subject = subject::command(C::DOMAIN, C::LANE, C::NAME, tenant);
    scene.stage.publish_raw(&subject, map, body::encode(Encoding::Json, command)).await;
    scene.stage.outcome(id).await
}

async fn step(scene: &Scene, actor: &str, hash: &str, step: PolicyStep) -> String {
    let command = MovePolicy { policy: name(), hash: hash.into(), step, note: String::new() };
    let told = does(scene, "acme", actor, &command).await;
    told.data["state"].as_str().or(told.data["code"].as_str()).unwrap().to_owned()
}

async fn drafted(scene: &Scene, text: &str) -> String {
    does(scene, "acme", "ada", &draft(text)).await.data["hash"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_is_of_a_contents_hash_and_by_somebody_other_than_the_author() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let hash = drafted(&scene, "Keys end.").await;
    assert_eq!(does(&scene, "acme", "bob", &draft("Keys end.")).await.data["code"], "same_content");
    assert_eq!(step(&scene, "bob", &hash, PolicyStep::Approve).await, "wrong_state");
    assert_eq!(step(&scene, "ada", &hash, PolicyStep::Submit).await, "review");
    assert_eq!(step(&scene, "ada", &hash, PolicyStep::Approve).await, "own_work");
    assert_eq!(step(&scene, "bob", &"0".repeat(64), PolicyStep::Approve).await, "no_such_version");
    assert_eq!(step(&scene, "bob", &hash, PolicyStep::Publish).await, "wrong_state");
    assert_eq!(step(&scene, "bob", &hash, PolicyStep::Approve).await, "approved");
    assert_eq!(step(&scene, "ada", &hash, PolicyStep::Publish).await, "published");
    let policy = scene.asks("acme", &Policy { policy: name(), hash: None }).await.unwrap();
    assert_eq!((policy.version.author.as_str(), policy.version.approver.as_deref()), ("ada", Some("bob")));
    assert_eq!(policy.text, "Keys end.");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_version_in_force_can_be_acknowledged() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let first = drafted(&scene, "One.").await;
    let acknowledge =
        |hash: &str| AcknowledgePolicy { policy: name(), hash: hash.into(), person: "Eve@example.com".into() };
    assert_eq!(does(&scene, "acme", "eve", &acknowledge(&first)).await.data["code"], "not_in_force");
    for (actor, what) in [("ada", PolicyStep::Submit), ("bob", PolicyStep::Approve), ("bob", PolicyStep::Publish)] {
        step(&scene, actor, &first, what).await;
    }
    for _ in 0..2 {
        let told = does(&scene, "acme", "eve", &acknowledge(&first)).await;
        assert_eq!(told.name, "policy_acknowledged");
        assert!(!told.data.to_string().contains("example.com"));
    }
    let second = drafted(&scene, "Two.").await;
    for (actor, what) in [("ada", PolicyStep::Submit), ("bob", PolicyStep::Refuse), ("ada", PolicyStep::Submit)] {
        step(&scene, actor, &second, what).await;
    }
    assert_eq!(step(&scene, "bob", &second, PolicyStep::Approve).await, "approved");
    assert_eq!(does(&scene, "acme", "eve", &acknowledge(&second)).await.data["code"], "not_in_force");
    assert_eq!(step(&scene, "bob", &second, PolicyStep::Publish).await, "published");
    assert_eq!(does(&scene, "acme", "eve", &acknowledge(&first)).await.data["code"], "not_in_force");

    let versions = scene.asks("acme", &Policies {}).await.unwrap().versions;
    let stand: Vec<_> = versions.iter().map(|v| (v.version, v.state, v.acknowledgements)).collect();
    assert_eq!(stand, [(2, PolicyState::Published, 0), (1, PolicyState::Superseded, 1)]);
    assert_eq!(step(&scene, "bob", &second, PolicyStep::Retire).await, "retired");
    assert_eq!(scene.asks("acme", &Policy { policy: name(), hash: None }).await.unwrap_err().0, 404);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_policies_can_be_neither_read_nor_moved() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let hash = drafted(&scene, "Keys end.").await;
    let command = MovePolicy { policy: name(), hash: hash.clone(), step: PolicyStep::Submit, note: String::new() };
    assert_eq!(does(&scene, "globex", "bob", &command).await.data["code"], "no_such_version");
    let person = "eve@example.com".into();
    let acknowledge = AcknowledgePolicy { policy: name(), hash: hash.clone(), person };
    assert_eq!(does(&scene, "globex", "bob", &acknowledge).await.data["code"], "no_such_version");
    assert_eq!(scene.asks("globex", &Policies {}).await.unwrap().versions, []);
    assert_eq!(scene.asks("globex", &Policy { policy: name(), hash: Some(hash) }).await.unwrap_err().0, 404);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_malformed_is_refused_by_field_and_harms_no_log() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let subject = subject::command(DraftPolicy::DOMAIN, DraftPolicy::LANE, DraftPolicy::NAME, "acme");
    let said = async |body: &str| {
        let id = omnibus_runtime::clock::new_id();
        let map = headers(&[("ce-id", &id.to_string()), ("ce-actor", "ada"), ("Content-Type", "application/json")]);
        scene.stage.publish_raw(&subject, map, body.to_owned()).await;
        scene.stage.outcome(id).await
    };
    for body in [
        "not json \0 at all",
        "{}",
        "[]",
        r#"{"policy":"Not A Token","title":"Access","text":"Keys end."}"#,
        r#"{"policy":"access","title":7,"text":"Keys end."}"#,
    ] {
        let told = said(body).await;
        assert_eq!(told.data["code"], "undecodable", "{body}: {:?}", told.data);
        assert!(!told.data["detail"].as_str().unwrap().is_empty());
    }
    for (field, body) in [
        ("/title", r#"{"policy":"access","title":"","text":"Keys end."}"#),
        ("/text", r#"{"policy":"access","title":"Access","text":""}"#),
    ] {
        let told = said(body).await;
        assert_eq!(told.data["faults"][0]["pointer"], field, "{:?}", told.data);
    }
    // Each is on the record as asked for, none as done, and the log goes on.
    drafted(&scene, "Keys end.").await;
    scene.grown("acme", 9).await;
    let leaves = scene.leaves("acme").await;
    let of = |what: &str| leaves.iter().filter(|leaf| leaf["what"] == what).count();
    assert_eq!((of("auditor.draft_policy"), of("auditor.policy_moved")), (8, 1));
    assert!(scene.checked("acme", None).await.is_ok());
    running.stop().await;
}
