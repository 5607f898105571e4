//! Claims, proofs and takeovers, against a real authoritative DNS server.

use omnibus_brander::Settings;
use omnibus_dns::testing::Names;
use omnibus_runtime::Visit;
use omnibus_runtime::testing::Told;
use omnibus_schemas::brander::{
    AddDomain, ChallengeFile, DomainRow, DomainStatus, Domains, Finding, LoginPage, RecheckDomain, RemoveDomain,
    VerifyDomain,
};

use crate::scene::{PATIENCE, Scene, look, refusal};

/// The zone that the DNS server answers for.
pub(crate) const ZONE: &str = "northwind-coffee.com";
pub(crate) const HOST: &str = "portal.northwind-coffee.com";
pub(crate) const RECORD: &str = "_omnibus.portal.northwind-coffee.com";

pub(crate) async fn scene() -> (Scene, Names) {
    let names = Names::start(ZONE).await;
    let own = vec!["omnibus-cloud.com".to_owned()];
    let settings = Settings { dns_servers: vec![names.address], own_domains: own, ..Settings::defaults() };
    (Scene::with(settings).await, names)
}

fn host() -> String {
    HOST.to_owned()
}

/// Claims the host; what its record must say.
pub(crate) async fn add(scene: &Scene, tenant: &str) -> String {
    let told = scene.tell(tenant, &AddDomain { host: host() }).await;
    assert_eq!((told.name.as_str(), &told.data["record_name"]), ("domain_added", &RECORD.into()), "{}", told.data);
    told.data["record_value"].as_str().unwrap().to_owned()
}

pub(crate) async fn verify(scene: &Scene, tenant: &str) -> Told {
    scene.tell(tenant, &VerifyDomain { host: host() }).await
}

async fn recheck(scene: &Scene, tenant: &str) -> Told {
    scene.tell(tenant, &RecheckDomain { host: host() }).await
}

async fn row(scene: &Scene, tenant: &str) -> Option<DomainRow> {
    let page = scene.stage.ask("brander", tenant, &Domains { after: None, limit: 10 }).await.unwrap();
    page.domains.into_iter().find(|row| row.host == HOST)
}

pub(crate) async fn proved(scene: &Scene, names: &Names, tenant: &str) {
    let record = add(scene, tenant).await;
    names.write(RECORD, &record).await;
    let told = verify(scene, tenant).await;
    assert_eq!(told.name, "domain_verified", "{}", told.data);
}

/// The name on the login page of the host; `None` if nobody is at home there. What was committed is told to the worker's
/// memory within moments: `wanted` is waited for.
pub(crate) async fn at_home(scene: &Scene, wanted: Option<&str>) {
    let visit = Visit { method: "GET".into(), path: "/login".into(), host: host(), ..Visit::default() };
    let seen = async {
        loop {
            let found = match scene.stage.visit::<LoginPage>(&visit).await {
                Ok(reply) => Some(String::from_utf8(reply.into_body().0).unwrap()),
                Err((404, _)) => None,
                Err(other) => panic!("{other:?}"),
            };
            match (found, wanted) {
                (Some(page), Some(name)) if page.contains(&format!("Sign in to {name}")) => break,
                (None, None) => break,
                _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("not {wanted:?}"));
}

async fn backdate(scene: &Scene, tenant: &str, days: i32) {
    sqlx::query("update brander.domains set failing_since = now() - make_interval(days => $2) where tenant = $1")
        .bind(tenant)
        .bind(days)
        .execute(&scene.stage.db)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_host_serves_only_once_its_own_tenant_has_proved_it() {
    let (scene, names) = scene().await;
    let record = add(&scene, "acme").await;
    assert_eq!(add(&scene, "acme").await, record, "once more is the same claim");
    at_home(&scene, None).await;

    let told = verify(&scene, "acme").await;
    let (code, detail) = refusal(&told);
    assert_eq!(code, "proof_missing");
    assert!(detail.contains(RECORD) && detail.contains(&record) && detail.ends_with("there is none"), "{detail}");
    names.write(RECORD, "something else").await;
    assert!(refusal(&verify(&scene, "acme").await).1.ends_with("1 of other content are there"));
    at_home(&scene, None).await;

    names.write(RECORD, &record).await;
    assert_eq!(verify(&scene, "acme").await.name, "domain_verified");
    at_home(&scene, Some("acme")).await;
    let row = row(&scene, "acme").await.unwrap();
    assert_eq!((row.status, row.finding), (DomainStatus::Verified, Some(Finding::Proved)));

    assert_eq!(scene.tell("acme", &RemoveDomain { host: host() }).await.name, "domain_removed");
    at_home(&scene, None).await;
    assert_ne!(add(&scene, "acme").await, record, "a new claim wants a new proof");
    assert_eq!(refusal(&verify(&scene, "acme").await).0, "proof_missing");
}

#[tokio::test]
async fn a_claim_without_proof_keeps_nobody_from_what_is_theirs() {
    let (scene, names) = scene().await;
    let squatter = add(&scene, "globex").await;
    proved(&scene, &names, "acme").await;
    at_home(&scene, Some("acme")).await;
    assert_ne!(squatter, row(&scene, "acme").await.unwrap().record_value);
    // The owner's proof in DNS proves nothing for the squatter.
    assert_eq!(refusal(&verify(&scene, "globex").await).0, "proof_missing");
    assert_eq!(row(&scene, "globex").await.unwrap().status, DomainStatus::Pending);
    assert_eq!(
        refusal(&scene.tell("globex", &RemoveDomain { host: "portal.other-coffee.com".into() }).await).0,
        "domain_unknown"
    );
    at_home(&scene, Some("acme")).await;
}

#[tokio::test]
async fn a_host_changes_hands_only_with_a_new_proof_and_without_the_old_one() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    let theirs = add(&scene, "globex").await;
    names.write(RECORD, &theirs).await;
    assert_eq!(refusal(&verify(&scene, "globex").await).0, "held_by_another");
    at_home(&scene, Some("acme")).await;

    names.wipe(RECORD).await;
    names.write(RECORD, &theirs).await;
    assert_eq!(verify(&scene, "globex").await.name, "domain_verified");
    at_home(&scene, Some("globex")).await;
    assert_eq!(row(&scene, "acme").await.unwrap().status, DomainStatus::TakenDown);
    // The tenant who lost it hears of it by its own next check.
    let told = recheck(&scene, "acme").await;
    assert_eq!((told.name.as_str(), &told.data["why"]), ("domain_taken_down", &"proved_by_another".into()));
    assert_eq!(told.tenant, "acme");
}

#[tokio::test]
async fn a_host_that_was_left_dangling_is_nobodys_to_take() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    scene.tell("acme", &RemoveDomain { host: host() }).await;
    // The customer forgot the record in DNS: it names neither this tenant nor this claim.
    add(&scene, "globex").await;
    assert_eq!(refusal(&verify(&scene, "globex").await).0, "proof_missing");
    at_home(&scene, None).await;
}

#[tokio::test]
async fn silence_is_not_a_no() {
    let (scene, mut names) = scene().await;
    // Refused by the server: it is not its zone.
    let foreign = "portal.other-coffee.com".to_owned();
    scene.tell("acme", &AddDomain { host: foreign.clone() }).await;
    assert_eq!(refusal(&scene.tell("acme", &VerifyDomain { host: foreign }).await).0, "dns_unanswered");

    proved(&scene, &names, "acme").await;
    backdate(&scene, "acme", 400).await;
    names.fall_silent().await;
    let told = recheck(&scene, "acme").await;
    assert_eq!((told.name.as_str(), &told.data["finding"]), ("domain_checked", &"unanswered".into()));
    assert_eq!(told.data["status"], "verified");
    at_home(&scene, Some("acme")).await;

    names.speak().await;
    let told = recheck(&scene, "acme").await;
    assert_eq!((told.name.as_str(), &told.data["finding"]), ("domain_checked", &"proved".into()));
    assert_eq!(row(&scene, "acme").await.unwrap().failing_since, None);
}

#[tokio::test]
async fn a_missing_proof_warns_after_fourteen_days_and_takes_down_after_thirty() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    names.wipe(RECORD).await;
    let told = recheck(&scene, "acme").await;
    assert_eq!((told.name.as_str(), &told.data["warning"]), ("domain_failing", &false.into()));
    backdate(&scene, "acme", 13).await;
    assert_eq!(recheck(&scene, "acme").await.name, "domain_checked");
    backdate(&scene, "acme", 14).await;
    let told = recheck(&scene, "acme").await;
    assert_eq!((told.name.as_str(), &told.data["warning"]), ("domain_failing", &true.into()));
    assert_eq!(recheck(&scene, "acme").await.name, "domain_checked", "warned once");
    at_home(&scene, Some("acme")).await;

    // It comes back in time.
    let record = row(&scene, "acme").await.unwrap().record_value;
    names.write(RECORD, &record).await;
    assert_eq!(recheck(&scene, "acme").await.name, "domain_recovered");

    names.wipe(RECORD).await;
    assert_eq!(recheck(&scene, "acme").await.data["warning"], false);
    backdate(&scene, "acme", 30).await;
    let told = recheck(&scene, "acme").await;
    assert_eq!((told.name.as_str(), &told.data["why"]), ("domain_taken_down", &"proof_missing".into()));
    at_home(&scene, None).await;
    names.write(RECORD, &record).await;
    assert_eq!(verify(&scene, "acme").await.name, "domain_verified", "the owner brings it back");
}

#[tokio::test]
async fn what_can_not_be_claimed_is_refused_with_a_reason() {
    let (scene, _names) = scene().await;
    for (host, why) in [
        ("127.0.0.1", "IP address"),
        ("co.uk", "public suffix"),
        ("x.omnibus-cloud.com", "belongs to the platform"),
        ("https://portal.northwind-coffee.com", "without scheme"),
        ("portal.northwind-coffee.com:8080", "without scheme"),
    ] {
        let told = scene.tell("acme", &AddDomain { host: host.into() }).await;
        let (code, detail) = refusal(&told);
        assert!(
            code == "domain_not_claimable" && detail.starts_with("/host: ") && detail.contains(why),
            "{host}: {detail}"
        );
    }
    let told = scene.tell("acme", &AddDomain { host: "B\u{fc}cher.Northwind-Coffee.com".into() }).await;
    assert_eq!(told.data["host"], "xn--bcher-kva.northwind-coffee.com");
}

#[tokio::test]
async fn asking_often_does_not_put_off_the_next_look() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    names.wipe(RECORD).await;
    recheck(&scene, "acme").await;
    let before = row(&scene, "acme").await.unwrap().checked_at;
    assert_eq!(refusal(&verify(&scene, "acme").await).0, "proof_missing");
    let after = row(&scene, "acme").await.unwrap();
    assert_eq!((after.checked_at, after.status), (before, DomainStatus::Failing));
}

#[tokio::test]
async fn a_host_that_is_given_up_leaves_no_certificate_behind() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    for sql in [
        "insert into brander.certificates values ('acme', $1, 'chain', '', now() + interval '60 days', now())",
        "insert into brander.certificate_orders (tenant, order_id, host, registered, status, token, answer, opened_at)
         values ('acme', gen_random_uuid(), $1, 'x', 'checking', 'token', 'answer', now())",
    ] {
        sqlx::query(sql).bind(HOST).execute(&scene.stage.db).await.unwrap();
    }
    let mut visit = Visit { method: "GET".into(), host: host(), ..Visit::default() };
    visit.params.insert("token".into(), "token".into());
    assert_eq!(scene.stage.visit::<ChallengeFile>(&visit).await.unwrap().into_body().0, b"answer");
    scene.tell("acme", &RemoveDomain { host: host() }).await;
    assert_eq!(scene.stage.visit::<ChallengeFile>(&visit).await.unwrap_err().0, 404);
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from brander.certificates)
              + (select count(*) from brander.certificate_orders where status <> 'failed')",
    )
    .fetch_one(&scene.stage.db)
    .await
    .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_next_look_at_a_domain_comes_by_itself() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    names.wipe(RECORD).await;
    sqlx::query("update brander.domains set checked_at = now() - interval '7 hours'")
        .execute(&scene.stage.db)
        .await
        .unwrap();
    // The task looks when it starts; a second replica's waits for the first one's lock, so the first is stopped.
    let Scene { stage, _running } = scene;
    _running.stop().await;
    let settings = Settings { dns_servers: vec![names.address], ..Settings::defaults() };
    let _running = stage.run(omnibus_brander::worker(settings).unwrap()).await;
    let told = stage.event(|told| told.name == "domain_failing").await;
    assert_eq!((told.tenant.as_str(), &told.data["host"]), ("acme", &HOST.into()));
}

#[tokio::test]
async fn a_page_is_in_the_look_that_is_active() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    at_home(&scene, Some("acme")).await;
    for name in ["Northwind", "Northwind Spring"] {
        let version = scene.draft("acme", look(name)).await;
        scene.activate("acme", version).await;
        at_home(&scene, Some(name)).await;
    }
}
