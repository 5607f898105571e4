//! From what is due to what has arrived.

use std::time::Duration;

use async_nats::HeaderMap;
use chrono::{TimeDelta, Utc};
use omnibus_runtime::clock;
use omnibus_schemas::commissioner::{
    PartnerPage, PayoutResult, PayoutStatus, Payouts, RecordOrder, RequestPayout, RunPayouts, RunPayoutsPart,
    SetPayoutAccount, SetProgram, SettlePayout,
};
use omnibus_schemas::{Command, headers};
use serde_json::json;
use uuid::Uuid;

use crate::scene::{Scene, line, of, order, program, registration};

fn pay(partner_id: Uuid) -> RequestPayout {
    RequestPayout { partner_id, currency: "EUR".parse().unwrap() }
}

fn id(told: &omnibus_runtime::testing::Told) -> Uuid {
    told.data["payout_id"].as_str().unwrap().parse().unwrap()
}

async fn account(scene: &Scene, partner_id: Uuid) {
    scene.does(&SetPayoutAccount { partner_id, account: "DE02120300000000202051".into() }).await;
}

#[tokio::test]
async fn a_payout_is_reserved_handed_over_once_and_confirmed() {
    let scene = Scene::new().await;
    scene.program(|p| p.minimum_payout = 600).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&order("1", Some(&code))).await;
    assert_eq!(scene.does(&pay(ada)).await.data["code"], "no_account");
    account(&scene, ada).await;
    let early = scene.does(&pay(ada)).await;
    assert_eq!(early.data["code"], "below_minimum");
    assert!(early.data["detail"].as_str().unwrap().contains("EUR 5.00 can be paid now, and payouts begin at EUR 6.00"));
    scene.does(&order("2", Some(&code))).await;

    let before = Utc::now_date();
    let reserved = scene.does(&pay(ada)).await;
    assert_eq!((reserved.name.as_str(), &reserved.data["amount"]), ("payout_reserved", &json!(1_000)));
    let payout_id = id(&reserved);
    let submitted = scene.stage.event(|told| told.name == "payout_submitted").await;
    assert_eq!((&submitted.data["provider"], &submitted.data["revision"]), (&json!("file"), &json!(2)));
    let file = scene.dir.path().join(submitted.data["reference"].as_str().unwrap());
    let text = std::fs::read_to_string(file).unwrap();
    let row = |date: &str| format!("{payout_id},{ada},ada,DE02120300000000202051,10.00,EUR,main,{date}");
    // The night may have fallen meanwhile.
    let rows = [row(&before), row(&Utc::now_date())];
    assert!(text.lines().nth(1).is_some_and(|line| rows.iter().any(|row| row == line)), "{text}");
    // Nothing is left to be paid, and the balance says where it is.
    assert_eq!(scene.does(&pay(ada)).await.data["code"], "below_minimum");
    let balance = scene.asks(&PartnerPage { partner_id: ada }).await.unwrap().balances[0].clone();
    assert_eq!((balance.balance.amount, balance.available.amount, balance.in_payouts.amount), (0, 0, 1_000));

    let settle = |result| SettlePayout { payout_id, result, note: "statement of May".into() };
    let confirmed = scene.does(&settle(PayoutResult::Confirmed)).await;
    assert_eq!((&confirmed.data["status"], &confirmed.data["revision"]), (&json!("confirmed"), &json!(3)));
    assert_eq!(scene.does(&settle(PayoutResult::Failed)).await.data["code"], "wrong_status");
    let list = Payouts { program: "main".parse().unwrap(), partner_id: Some(ada), after: None, limit: 1 };
    let list = scene.asks(&list).await.unwrap();
    assert_eq!((list.items.len(), list.items[0].status, list.next), (1, PayoutStatus::Confirmed, None));
    // The money that came back is owed again, and paid by another payout.
    assert_eq!(scene.does(&settle(PayoutResult::Returned)).await.data["status"], "returned");
    assert_eq!(scene.balance(ada, "EUR").await, 1_000);
    assert_ne!(id(&scene.does(&pay(ada)).await), payout_id);
    scene.running.stop().await;
}

/// The date of a file that is written now.
trait Today {
    fn now_date() -> String;
}

impl Today for Utc {
    fn now_date() -> String {
        clock::now().format("%Y-%m-%d").to_string()
    }
}

#[tokio::test]
async fn what_is_on_hold_is_not_paid_and_the_parents_part_waits_as_long() {
    let scene = Scene::new().await;
    scene.program(|p| p.hold_days = 30).await;
    let (ada, a) = scene.partner("ada", None).await;
    let (bob, b) = scene.partner("bob", Some(&a)).await;
    for partner in [ada, bob] {
        account(&scene, partner).await;
    }
    scene.does(&order("1", Some(&b))).await;
    let past = RecordOrder {
        ordered_at: Some(clock::now() - TimeDelta::days(31)),
        lines: vec![line("1", 1_000)],
        ..order("2", Some(&b))
    };
    // Ordered before bob was ada's: hers is none of it.
    scene.does(&past).await;
    assert_eq!(scene.does(&pay(ada)).await.data["code"], "below_minimum");
    assert_eq!(scene.does(&pay(bob)).await.data["amount"], 50);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_run_pays_every_partner_once_and_plans_the_next() {
    let scene = Scene::new().await;
    scene.program(|p| p.minimum_payout = 500).await;
    let mut partners = vec![];
    for name in ["ada", "bob", "cleo"] {
        let (partner, code) = scene.partner(name, None).await;
        account(&scene, partner).await;
        partners.push((partner, code));
    }
    for (n, (_, code)) in partners.iter().enumerate().take(2) {
        scene.does(&order(&n.to_string(), Some(code))).await;
    }
    scene.does(&RecordOrder { lines: vec![line("1", 100)], ..order("9", Some(&partners[2].1)) }).await;
    let run = RunPayouts { program: "main".parse().unwrap() };
    let told = scene.does(&run).await;
    assert_eq!(
        (told.name.as_str(), &told.data["reserved"], &told.data["more"]),
        ("payouts_run", &json!(2), &json!(false))
    );
    assert_eq!(of(&scene, &told, "payout_reserved").len(), 2);
    assert_eq!(scene.does(&run).await.data["reserved"], 0);
    // A planned run that is not the one the program waits for is none.
    let stray = RunPayoutsPart { program: run.program, due: Some(clock::now()), after: None };
    scene.does(&RecordOrder { lines: vec![line("1", 10_000)], ..order("10", Some(&partners[0].1)) }).await;
    assert_eq!(scene.does(&stray).await.data["reserved"], 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_program_with_a_payout_day_runs_by_itself_and_goes_on_from_month_to_month() {
    let scene = Scene::new().await;
    let told = scene.does(&program(|p| p.payout_day = 28)).await;
    let planned = told.data["next_payout_run"].as_str().unwrap().to_owned();
    // The same day again plans nothing new; the schedule is on the bus once.
    let again = scene.does(&program(|p| p.payout_day = 28)).await;
    assert_eq!(again.data["next_payout_run"], planned.as_str());
    let mut schedule = scene.stage.operator.jetstream().get_stream("SCHEDULE").await.unwrap();
    let until = tokio::time::Instant::now() + Duration::from_secs(120);
    while schedule.info().await.unwrap().state.messages != 1 {
        assert!(tokio::time::Instant::now() < until, "{:?}", schedule.info().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let last = schedule.info().await.unwrap().state.last_sequence;
    let waiting = schedule.get_raw_message(last).await.unwrap();
    let time: chrono::DateTime<Utc> = waiting.headers.get("ce-time").unwrap().as_str().parse().unwrap();
    assert_eq!(time, planned.parse::<chrono::DateTime<Utc>>().unwrap(), "the run happens at its own time");
    // The day comes: as it will on the bus, under the planned time.
    let (ada, code) = scene.partner("ada", None).await;
    account(&scene, ada).await;
    scene.does(&order("1", Some(&code))).await;
    let due = Some(planned.parse().unwrap());
    let run = RunPayoutsPart { program: "main".parse().unwrap(), due, after: None };
    let ran = scene.does(&run).await;
    assert_eq!(ran.data["reserved"], 1);
    let next = ran.data["next_run"].as_str().unwrap();
    assert!(next > planned.as_str(), "{next} follows {planned}");
    assert_eq!(scene.does(&run).await.data["reserved"], 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn the_schedule_itself_brings_the_planned_run_and_each_after_it() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    account(&scene, ada).await;
    let long_ago = clock::now() - TimeDelta::days(40);
    scene.does(&RecordOrder { ordered_at: Some(long_ago), ..order("1", Some(&code)) }).await;
    // A day is set as of then: the next such day is past, and what the schedule holds for the past it brings at once.
    let mut map = HeaderMap::new();
    map.insert(headers::ID, "set-long-ago");
    map.insert(headers::TIME, long_ago.to_rfc3339().as_str());
    map.insert(headers::CONTENT_TYPE, "application/json");
    let entry = scene.stage.catalogue().command(SetProgram::DOMAIN, SetProgram::NAME).unwrap();
    let body = serde_json::to_vec(&program(|p| p.payout_day = 28)).unwrap();
    scene.stage.publish_raw(&entry.subject("acme"), map, body).await;
    let time = |text: &serde_json::Value| text.as_str().unwrap().parse::<chrono::DateTime<Utc>>().unwrap();
    let set = scene.stage.event(|told| told.name == "program_set" && told.data["version"] == 2).await;
    let planned = time(&set.data["next_payout_run"]);
    assert!(planned < clock::now());

    let reserved = scene.stage.event(|told| told.name == "payout_reserved").await;
    assert_eq!((&reserved.data["partner_id"], &reserved.data["amount"]), (&json!(ada), &json!(500)));
    let runs = |told: &omnibus_runtime::testing::Told| told.name == "payouts_run";
    // The first pays, the others find nothing, and the last one is followed by a day to come.
    let last = scene.stage.event(|told| runs(told) && time(&told.data["next_run"]) > clock::now()).await;
    let first = scene.stage.event(|told| runs(told) && told.causation == reserved.causation).await;
    assert_eq!(time(&json!(first.header(headers::TIME).unwrap())), planned, "a run has the time it was planned for");
    let plan: chrono::DateTime<Utc> =
        sqlx::query_scalar("select next_run_at from commissioner.programs").fetch_one(scene.db()).await.unwrap();
    assert_eq!(plan, time(&last.data["next_run"]));
    assert_eq!((scene.count("payouts").await, scene.balance(ada, "EUR").await), (1, 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn two_tenants_whose_commands_have_one_id_have_two_payouts() {
    let scene = Scene::new().await;
    let (chosen, mut payouts) = (clock::new_id().to_string(), vec![]);
    for tenant in ["acme", "globex"] {
        scene.does_as(tenant, &program(|_| {})).await;
        let ada = scene.does_as(tenant, &registration("ada", None)).await.data;
        let partner_id: Uuid = ada["partner_id"].as_str().unwrap().parse().unwrap();
        scene.does_as(tenant, &SetPayoutAccount { partner_id, account: "DE1".into() }).await;
        scene.does_as(tenant, &order("1", ada["code"].as_str())).await;
        // As a tenant's own bus user may: with an id of its choice.
        let mut map = HeaderMap::new();
        map.insert(headers::ID, chosen.as_str());
        map.insert(headers::CONTENT_TYPE, "application/json");
        let entry = scene.stage.catalogue().command(RequestPayout::DOMAIN, RequestPayout::NAME).unwrap();
        let body = serde_json::to_vec(&pay(partner_id)).unwrap();
        scene.stage.publish_raw(&entry.subject(tenant), map, body).await;
        payouts.push(id(&scene.stage.event(|told| told.name == "payout_reserved" && told.tenant == tenant).await));
    }
    assert_ne!(payouts[0], payouts[1], "a provider tells payouts apart by their ids alone");
    scene.running.stop().await;
}
