//! What texts cost, who stops them, and whether the books add up.

use omnibus_runtime::clock;
use omnibus_schemas::Command;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::texter::{
    Budgets, Costs, EstimateSms, ResetFuse, SendBatch, SendSms, SendTemplate, SetBudget, SmsStats, SmsTemplates,
    WaitsFor,
};
use serde_json::json;

use crate::scene::{Scene, code, number, text};

fn to(n: u32) -> SendSms {
    text(|t| t.to = number(n))
}

#[tokio::test]
async fn a_blown_fuse_holds_texts_until_a_person_puts_it_in_again() {
    let scene = Scene::with(|settings| settings.sms_look_again_seconds = 1).await;
    let (_, told) = scene.send(&SetBudget { country: None, daily_micro: 20_000 }).await;
    assert_eq!(told.name, "budget_set");
    for n in 0..3 {
        assert_eq!(scene.send(&to(5001 + n)).await.1.name, "sms_sent");
    }
    let tripped = scene.event("spend_fuse_tripped").await;
    assert_eq!((&tripped.data["cap_micro"], &tripped.data["spent_micro"]), (&json!(20_000), &json!(23_700)));
    let held = [scene.stage.publish("acme", &to(5004)).await, scene.stage.publish("acme", &to(5005)).await];
    for id in held {
        let report = scene.waiting(id).await;
        assert_eq!((report.waits_for, report.estimate_micro), (Some(WaitsFor::SpendFuse), 0));
        assert!(report.waits_until.is_some());
    }
    // A code would be stale by the time it left.
    let ask = omnibus_schemas::texter::SendCode { to: number(5008), ..Command::example() };
    let (_, refused) = scene.send(&ask).await;
    assert_eq!((refused.outcome, code(&refused)), (Some(Outcome::Rejected), "spend_fuse"));
    assert_eq!((scene.twilio.counts().await.1, scene.spent().await), (3, 23_700));
    // Not for another tenant.
    let other = scene.stage.publish("globex", &to(5006)).await;
    assert_eq!(scene.stage.outcome(other).await.name, "sms_sent");

    let budgets = scene.stage.ask("texter", "acme", &Budgets {}).await.unwrap().budgets;
    assert!(budgets[0].fuse_blown && budgets[0].country.is_none() && budgets[0].spent_micro == 23_700, "{budgets:?}");
    assert!(budgets.iter().all(|budget| budget.held == 2), "{budgets:?}");
    let theirs = scene.stage.ask("texter", "globex", &Budgets {}).await.unwrap().budgets;
    assert!(theirs.iter().all(|budget| budget.held == 0), "{theirs:?}");
    // One of them is taken back: of two that are let go at the same moment both may leave before the fuse sees what they cost.
    let cancel = omnibus_schemas::texter::CancelSms { message_id: held[1] };
    assert_eq!(scene.send(&cancel).await.1.outcome, Some(Outcome::Succeeded));
    let reset = ResetFuse { country: None, more_micro: 7_900, note: "it is ours".into() };
    let (_, told) = scene.send(&reset).await;
    assert_eq!((told.name.as_str(), &told.data["cap_micro"]), ("spend_fuse_reset", &json!(31_600)));
    // The other leaves by itself, and the fuse blows again; the next one is let go tomorrow.
    assert_eq!(scene.stage.outcome(held[0]).await.name, "sms_sent");
    scene.count(2, |told| told.name == "spend_fuse_tripped").await;
    let other = scene.stage.publish("acme", &to(5007)).await;
    assert_eq!(scene.waiting(other).await.waits_for, Some(WaitsFor::SpendFuse));
    // What is counted moves from one to the next.
    let mut tx = scene.stage.db.begin().await.unwrap();
    // Sums are rolled up meanwhile.
    let alone = "lock table texter.deltas, texter.tallies, texter.fuses in access exclusive mode";
    sqlx::query(alone).execute(&mut *tx).await.unwrap();
    for table in ["deltas", "tallies", "fuses"] {
        let yesterday = format!("update texter.{table} set day = day - 1");
        sqlx::query(sqlx::AssertSqlSafe(yesterday)).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(scene.stage.outcome(other).await.name, "sms_sent");
    assert_eq!(scene.spent().await, 5 * 7_900);
    let booked = scene.stage.told().into_iter().filter(|told| told.name == "cost_booked" && told.tenant == "acme");
    assert_eq!(booked.map(|told| told.data["amount_micro"].as_i64().unwrap()).sum::<i64>(), 5 * 7_900);
    scene.running.stop().await;
}

#[tokio::test]
async fn what_a_fuse_has_held_for_a_week_is_refused() {
    let scene = Scene::new().await;
    scene.send(&SetBudget { country: None, daily_micro: 0 }).await;
    let mut old = async_nats::HeaderMap::new();
    old.insert("ce-time", "2020-01-31T12:00:00Z");
    let body = serde_json::to_vec(&to(5009)).unwrap();
    scene.stage.publish_raw("cmd.texter.default.send_sms.acme", old, body).await;
    let told = scene.stage.event(|told| told.outcome == Some(Outcome::Rejected)).await;
    assert_eq!(code(&told), "spend_fuse");
    assert_eq!((scene.twilio.counts().await, scene.spent().await), ((0, 0), 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_countrys_fuse_leaves_the_others_alone() {
    let scene = Scene::new().await;
    scene.send(&SetBudget { country: Some("de".into()), daily_micro: 75_000 }).await;
    let german = |n: u32| text(|t| t.to = format!("+49151234567{n:02}"));
    assert_eq!(scene.send(&german(1)).await.1.name, "sms_sent");
    let held = scene.stage.publish("acme", &german(2)).await;
    assert_eq!(scene.waiting(held).await.waits_for, Some(WaitsFor::SpendFuse));
    let ask = omnibus_schemas::texter::SendCode { to: "+4915123456703".into(), ..Command::example() };
    let (_, refused) = scene.send(&ask).await;
    assert!(refused.data["detail"].as_str().unwrap().contains("DE"), "{}", refused.data);
    assert_eq!(scene.send(&to(5101)).await.1.name, "sms_sent");
    let budgets = scene.stage.ask("texter", "acme", &Budgets {}).await.unwrap().budgets;
    let held: Vec<_> = budgets.iter().map(|budget| (budget.country.as_deref(), budget.held)).collect();
    assert_eq!(held, [(None, 1), (Some("DE"), 1), (Some("US"), 0)]);
    let not_blown = ResetFuse { country: Some("US".into()), more_micro: 1, note: "x".into() };
    assert_eq!(code(&scene.send(&not_blown).await.1), "not_blown");
    scene.running.stop().await;
}

/// Many at once: the fuse blows while they are under way, and what left is no more than was in flight.
#[tokio::test]
async fn a_flood_is_held_while_it_runs() {
    let scene = Scene::with(|settings| settings.sms_daily_cap = 7_900 * 100).await;
    for n in 0..600 {
        scene.stage.publish("acme", &text(|t| t.to = number(n))).await;
    }
    scene.event("spend_fuse_tripped").await;
    // Until each has left or is held.
    let budget = loop {
        let all = scene.stage.ask("texter", "acme", &Budgets {}).await.unwrap().budgets;
        let all = all.into_iter().find(|budget| budget.country.is_none()).unwrap();
        if all.spent_micro / 7_900 + i64::try_from(all.held).unwrap() == 600 {
            break all;
        }
        tokio::task::yield_now().await;
    };
    scene.count(600 - usize::try_from(budget.held).unwrap(), |told| told.name == "sms_sent").await;
    let (_, taken) = scene.twilio.counts().await;
    assert_eq!(taken + budget.held, 600);
    assert!((100..600).contains(&taken), "{taken}: it blew too early, or not at all");
    assert_eq!(scene.stage.told().iter().filter(|told| told.name == "spend_fuse_tripped").count(), 1);
    assert_eq!(scene.spent().await, 7_900 * i64::try_from(taken).unwrap());
    scene.running.stop().await;
}

#[tokio::test]
async fn a_cost_reports_lines_add_up_to_its_total_and_to_the_ledger() {
    let scene = Scene::new().await;
    scene.send(&to(5201)).await;
    scene.send(&text(|t| t.to = "+4915123456701".into())).await;
    scene.send(&text(|t| t.body = "a".repeat(161))).await;
    scene.send(&SendTemplate { to: number(5202), ..SendTemplate::example() }).await;
    scene.twilio.next(json!([{ "code": 21614 }])).await;
    scene.send(&to(5203)).await;
    let batch = SendBatch::example();
    let (_, told) = scene.send(&batch).await;
    assert_eq!((told.name.as_str(), &told.data["messages"]), ("batch_accepted", &json!(1)));
    scene.count(5, |told| told.name == "sms_sent").await;

    let costs = Costs { from: None, to: None, country: None };
    let report = scene.stage.ask("texter", "acme", &costs).await.unwrap();
    let sum: i64 = report.lines.iter().map(|line| line.amount_micro).sum();
    assert_eq!((report.totals.len(), report.totals[0].amount_micro), (1, sum));
    assert_eq!(sum, scene.spent().await);
    assert_eq!(sum, 7_900 + 75_000 + 2 * 7_900 + 7_900 + 7_900);
    assert_eq!((report.totals[0].messages, report.totals[0].segments), (5, 6));
    for line in &report.lines {
        assert_eq!(line.amount_micro, line.estimate_micro + line.difference_micro, "{line:?}");
    }
    let welcome = report.lines.iter().find(|line| line.template.as_deref() == Some("welcome")).unwrap();
    assert_eq!((welcome.messages, welcome.amount_micro), (2, 15_800));
    let german =
        scene.stage.ask("texter", "acme", &Costs { country: Some("de".into()), ..costs.clone() }).await.unwrap();
    assert_eq!((german.lines.len(), german.totals[0].amount_micro), (1, 75_000));
    assert_eq!(scene.stage.ask("texter", "globex", &costs).await.unwrap().lines, []);
    let wrong = Costs { from: Some("2026-13-01".into()), ..costs };
    assert_eq!(scene.stage.ask("texter", "acme", &wrong).await.unwrap_err().0, 422);

    let stats = scene.stage.ask("texter", "acme", &SmsStats { from: None, to: None }).await.unwrap();
    assert_eq!((stats.days.len(), stats.days[0].sent, stats.days[0].failed), (1, 5, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_row_of_a_batch_that_can_not_be_sent_costs_the_others_nothing() {
    let scene = Scene::new().await;
    let mut batch = SendBatch::example();
    batch.rows = (0..6)
        .map(|n| {
            let mut row = batch.rows[0].clone();
            row.to = if n == 2 { "nonsense".into() } else { number(5300 + n) };
            if n == 4 {
                row.variables.insert("brand".into(), "x".repeat(31));
            }
            row
        })
        .collect();
    let (id, told) = scene.send(&batch).await;
    assert_eq!(told.data["messages"], json!(6));
    scene.count(4, |told| told.name == "sms_sent").await;
    scene.count(2, |told| told.outcome == Some(Outcome::Rejected)).await;
    let theirs = |told: &&omnibus_runtime::testing::Told| told.header("ce-correlationid") == Some(&id.to_string());
    assert_eq!(scene.stage.told().iter().filter(theirs).filter(|told| told.name == "sms_sent").count(), 4);
    let unknown = SendBatch { template: "nothing".into(), ..batch };
    assert_eq!(code(&scene.send(&unknown).await.1), "unknown_template");
    scene.running.stop().await;
}

#[tokio::test]
async fn an_estimate_says_what_a_text_would_be_and_sends_nothing() {
    let scene = Scene::new().await;
    let ask = |body: &str, smart_encoding| EstimateSms {
        to: "030 1234567".into(),
        country: Some("DE".into()),
        body: body.into(),
        smart_encoding,
        ..omnibus_schemas::Query::example()
    };
    let quoted = format!("\u{201c}{}\u{201d}", "a".repeat(100));
    let plain = scene.stage.ask("texter", "acme", &ask(&quoted, false)).await.unwrap();
    assert_eq!((plain.segments, plain.estimate_micro, plain.country.as_str()), (2, 150_000, "DE"));
    let smart = scene.stage.ask("texter", "acme", &ask(&quoted, true)).await.unwrap();
    assert_eq!((smart.segments, smart.estimate_micro), (1, 75_000));
    let nobody = EstimateSms { to: "nonsense".into(), ..omnibus_schemas::Query::example() };
    assert_eq!(scene.stage.ask("texter", "acme", &nobody).await.unwrap_err().0, 422);
    assert_eq!(scene.twilio.counts().await, (0, 0));

    let templates = scene.stage.ask("texter", "acme", &SmsTemplates {}).await.unwrap().templates;
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    assert_eq!(names, ["alert", "invoice", "password_reset", "reminder", "two_factor", "welcome"]);
    scene.running.stop().await;
}

#[tokio::test]
async fn quiet_hours_put_texts_off_and_never_a_code_or_what_is_urgent() {
    let scene = Scene::new().await;
    // Half an hour to both sides of now.
    let minute = |minutes| (clock::now() + chrono::TimeDelta::minutes(minutes)).format("%H:%M").to_string();
    let quiet = omnibus_schemas::texter::SetQuietHours { from: minute(-30), to: minute(30), timezone: "UTC".into() };
    let wrong = omnibus_schemas::texter::SetQuietHours { from: "25:00".into(), ..quiet.clone() };
    assert_eq!(code(&scene.send(&wrong).await.1), "invalid");
    assert_eq!(scene.send(&quiet).await.1.name, "quiet_hours_changed");
    let waits = scene.stage.publish("acme", &to(5401)).await;
    let urgent = text(|t| {
        t.to = number(5402);
        t.category = omnibus_schemas::texter::Category::Urgent;
    });
    assert_eq!(scene.send(&urgent).await.1.name, "sms_sent");
    let ask = omnibus_schemas::texter::SendCode { to: number(5403), ..Command::example() };
    assert_eq!(scene.send(&ask).await.1.name, "code_sent");
    let report = scene.waiting(waits).await;
    assert_eq!(report.waits_for, Some(WaitsFor::QuietHours));
    assert!(report.waits_until.is_some());
    assert!(scene.stage.caused_by(waits).is_empty());
    let nowhere = text(|t| t.timezone = Some("Atlantis/Capital".into()));
    assert_eq!(code(&scene.send(&nowhere).await.1), "invalid");
    scene.running.stop().await;
}

#[tokio::test]
async fn the_next_provider_takes_over_and_the_cheaper_one_is_chosen() {
    use axum::{Json, Router, routing::post};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/send", listener.local_addr().unwrap());
    let (seen, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let gateway = Router::new().route(
        "/send",
        post(move |Json(body): Json<serde_json::Value>| {
            let id = body["reference"].clone();
            seen.send(body).unwrap();
            async move { Json(json!({ "id": id })) }
        }),
    );
    tokio::spawn(async move { axum::serve(listener, gateway).await });
    let scene = Scene::with(|settings| {
        settings.gateway_url = Some(url);
        settings.gateway_prices = vec![("US".into(), 9_000), ("DE".into(), 10_000)];
    })
    .await;
    // Twilio is cheaper for one country, the gateway for the other.
    let (_, told) = scene.send(&to(5501)).await;
    assert_eq!(told.data["provider"], "twilio");
    let (_, told) = scene.send(&text(|t| t.to = "+4915123456702".into())).await;
    assert_eq!((&told.data["provider"], &told.data["estimate_micro"]), (&json!("gateway"), &json!(10_000)));
    assert_eq!(taken.recv().await.unwrap()["to"], "+4915123456702");
    // Twilio is busy: the gateway takes it, at its own price.
    scene.twilio.next(json!([{ "status": 429 }])).await;
    let (_, told) = scene.send(&to(5502)).await;
    assert_eq!(told.data["provider"], "gateway");
    assert_eq!(scene.spent().await, 7_900 + 10_000 + 9_000);
    assert_eq!(scene.twilio.counts().await, (2, 1));
    assert_eq!(taken.recv().await.unwrap()["to"], number(5502));
    // Whether Twilio has it is not known at first: the gateway gets it only once Twilio's list says that it has not.
    for (lost, n) in [(json!({ "lose": true }), 5503), (json!({ "status": 503, "taken": true }), 5504)] {
        scene.twilio.next(json!([lost])).await;
        let (_, told) = scene.send(&to(n)).await;
        assert_eq!((&told.data["provider"], taken.is_empty()), (&json!("twilio"), true), "{n}");
    }
    scene.twilio.next(json!([{ "status": 503 }])).await;
    let (_, told) = scene.send(&to(5505)).await;
    assert_eq!(told.data["provider"], "gateway");
    // A refusal is no reason to try elsewhere.
    scene.twilio.next(json!([{ "code": 21614 }])).await;
    assert_eq!(code(&scene.send(&to(5506)).await.1), "invalid_number");
    assert_eq!(taken.recv().await.unwrap()["to"], number(5505));
    assert!(taken.is_empty());
    scene.running.stop().await;
}

#[tokio::test]
async fn a_budget_below_what_is_spent_blows_at_once() {
    let scene = Scene::new().await;
    scene.send(&to(5601)).await;
    scene.send(&SetBudget { country: None, daily_micro: 5_000 }).await;
    let tripped = scene.event("spend_fuse_tripped").await;
    assert_eq!(tripped.data["spent_micro"], json!(7_900));
    scene.running.stop().await;
}

/// The books that the events make are those of the ledger, whichever way a text took.
#[tokio::test]
async fn cost_events_add_up_to_the_ledger_whatever_was_tried() {
    // Held, so that nobody else is given it, and never listened at.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = held.local_addr().unwrap();
    let scene = Scene::with(|settings| {
        settings.gateway_url = Some(format!("http://{closed}/send"));
        settings.gateway_prices = vec![("US".into(), 9_000)];
    })
    .await;
    // Twilio is busy, nobody listens at the gateway, Twilio takes it.
    scene.twilio.next(json!([{ "status": 429 }])).await;
    let (_, told) = scene.send(&to(5701)).await;
    assert_eq!((&told.data["provider"], &told.data["estimate_micro"]), (&json!("twilio"), &json!(7_900)));
    scene.twilio.next(json!([{ "status": 429 }, { "code": 21614 }])).await;
    assert_eq!(code(&scene.send(&to(5702)).await.1), "invalid_number");
    let booked: i64 = scene
        .stage
        .told()
        .iter()
        .filter(|told| told.name == "cost_booked")
        .map(|told| told.data["amount_micro"].as_i64().unwrap())
        .sum();
    assert_eq!((booked, scene.spent().await), (7_900, 7_900));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_template_is_estimated_as_it_is_sent() {
    let scene = Scene::new().await;
    // In the small alphabet, and in the large one, where it takes two segments.
    for (n, name, segments) in [(5610, "Ada".to_owned(), 1), (5611, "\u{436}".repeat(30), 2)] {
        let mut filled = SendTemplate { to: number(n), ..SendTemplate::example() };
        filled.variables.insert("name".into(), name);
        let ask = EstimateSms {
            to: filled.to.clone(),
            body: String::new(),
            template: Some(filled.template.clone()),
            variables: filled.variables.clone(),
            ..omnibus_schemas::Query::example()
        };
        let estimate = scene.stage.ask("texter", "acme", &ask).await.unwrap();
        let (_, told) = scene.send(&filled).await;
        assert_eq!(told.name, "sms_sent", "{}", told.data);
        let texts = scene.twilio.messages().await;
        let body = texts.last().unwrap()["body"].as_str().unwrap();
        assert_eq!((estimate.characters as usize, estimate.segments), (body.chars().count(), segments));
        assert_eq!(json!(estimate.encoding), told.data["encoding"]);
        assert_eq!(json!(estimate.segments), told.data["segments"]);
        assert_eq!(json!(estimate.estimate_micro), told.data["estimate_micro"]);
    }
    let of = |template: Option<&str>, body: &str| EstimateSms {
        template: template.map(str::to_owned),
        body: body.into(),
        ..omnibus_schemas::Query::example()
    };
    for (wrong, word) in [
        (of(Some("welcome"), ""), "/variables/brand"),
        (of(Some("nothing"), ""), "/template"),
        (of(Some("two_factor"), ""), "/2fa"),
        (of(Some("welcome"), "Hello"), "not both"),
        (of(None, ""), "/body"),
    ] {
        let (status, words) = scene.stage.ask("texter", "acme", &wrong).await.unwrap_err();
        assert!(status == 422 && words.contains(word), "{status} {words}");
    }
    assert_eq!(scene.twilio.counts().await, (2, 2), "an estimate sends nothing");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_country_has_a_cap_though_nobody_has_set_a_budget() {
    let scene = Scene::with(|settings| settings.sms_country_cap = 7_900).await;
    assert_eq!(scene.send(&to(5621)).await.1.name, "sms_sent");
    let tripped = scene.event("spend_fuse_tripped").await;
    assert_eq!((&tripped.data["country"], &tripped.data["cap_micro"]), (&json!("US"), &json!(7_900)));
    let held = scene.stage.publish("acme", &to(5622)).await;
    assert_eq!(scene.waiting(held).await.waits_for, Some(WaitsFor::SpendFuse));
    assert_eq!(scene.send(&text(|t| t.to = "+4915123456704".into())).await.1.name, "sms_sent");
    scene.running.stop().await;
}
