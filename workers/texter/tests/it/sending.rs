//! One text on its way: accepted, refused, lost, repeated.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::Command;
use omnibus_schemas::platform::{Outcome, Resolution};
use omnibus_schemas::texter::{SendSms, SmsState, SmsStats, SmsStatus};
use omnibus_texter::{Settings, worker};
use serde_json::json;

use crate::scene::{FROM, Scene, code, number, text};

#[tokio::test]
async fn a_text_is_sent_and_its_cost_is_booked() {
    let scene = Scene::new().await;
    let body = r#"{"to": "+1 (415) 555-2671", "body": "Hello"}"#;
    scene.stage.publish_raw("cmd.texter.default.send_sms.acme", Default::default(), body).await;
    let sent = scene.event("sms_sent").await;
    assert_eq!((sent.tenant.as_str(), sent.outcome), ("acme", Some(Outcome::Succeeded)));
    let messages = scene.twilio.messages().await;
    assert_eq!(messages.len(), 1);
    let leaves = |name: &str| messages[0][name].as_str().unwrap();
    assert_eq!((leaves("to"), leaves("from"), leaves("body")), ("+14155552671", FROM, "Hello"));
    assert_eq!(sent.data["provider_id"], messages[0]["sid"]);
    assert_eq!((&sent.data["segments"], &sent.data["encoding"]), (&json!(1), &json!("GSM-7")));
    assert_eq!((&sent.data["estimate_micro"], &sent.data["country"]), (&json!(7900), &json!("US")));
    let booked = scene.event("cost_booked").await;
    assert_eq!((&booked.data["kind"], &booked.data["amount_micro"]), (&json!("estimate"), &json!(7900)));

    let id = sent.data["message_id"].as_str().unwrap().parse().unwrap();
    let report = scene.status(id).await;
    assert_eq!((report.status, report.to.as_str()), (SmsState::Accepted, "+1415*****71"));
    let foreign = scene.stage.ask("texter", "globex", &SmsStatus { message_id: id }).await;
    assert_eq!(foreign.unwrap_err().0, 404);
    scene.running.stop().await;
}

#[tokio::test]
async fn without_a_provider_a_text_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new(Catalogue::omnibus()).await;
    let settings = Settings { sms_dir: dir.path().join("sms"), ..Settings::defaults() };
    let running = stage.run(worker(settings).unwrap()).await;
    let id = stage.publish("acme", &SendSms::example()).await;
    let sent = stage.outcome(id).await;
    assert_eq!((sent.name.as_str(), &sent.data["provider"]), ("sms_sent", &json!("folder")));
    let file = std::fs::read_to_string(dir.path().join(format!("sms/acme-{id}.txt"))).unwrap();
    assert_eq!(file, "To: +14155552671\nFrom: +15005550006\n\nHello\n");
    running.stop().await;
}

#[tokio::test]
async fn bad_input_is_named_and_nothing_is_sent_or_charged() {
    let scene = Scene::with(|settings| settings.sms_prices = vec![("US".into(), 7900)]).await;
    for (wrong, expected) in [
        (text(|t| t.to = "nonsense".into()), "invalid_number"),
        (text(|t| t.to = "+1415555267".into()), "invalid_number"),
        (text(|t| t.country = Some("XX".into())), "invalid_number"),
        (text(|t| t.to = "+870773111632".into()), "unknown_country"),
        (text(|t| t.to = "+19002345678".into()), "number_not_allowed"),
        (text(|t| t.to = "+4915123456789".into()), "no_route"),
        (text(|t| t.from = Some("+15005550007".into())), "sender_not_allowed"),
        (text(|t| t.body = String::new()), "invalid"),
        (text(|t| t.body = "a".repeat(1601)), "invalid"),
        (text(|t| t.body = "a\0b".into()), "invalid"),
    ] {
        let (id, told) = scene.send(&wrong).await;
        assert_eq!((told.outcome, code(&told)), (Some(Outcome::Rejected), expected), "{wrong:?}");
        assert!(!told.data.to_string().contains(&wrong.to), "the number is repeated: {}", told.data);
        assert_eq!(scene.status(id).await.status, SmsState::Failed);
    }
    assert_eq!(scene.twilio.counts().await, (0, 0));
    assert_eq!(scene.spent().await, 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_nothing_is_sent_twice() {
    let scene = Scene::new().await;
    scene.twilio.next(json!([{ "lose": true }])).await;
    let (id, told) = scene.send(&SendSms::example()).await;
    assert_eq!(told.name, "sms_sent");
    assert_eq!(scene.twilio.counts().await, (1, 1));
    assert_eq!(told.data["provider_id"], scene.twilio.messages().await[0]["sid"]);
    assert_eq!(scene.status(id).await.status, SmsState::Accepted);
    // Whoever traces it reads what was heard and how it was cleared up.
    let heard: String = sqlx::query_scalar("select detail from bus.attempts where message_id = $1 and result = 'done'")
        .bind(id)
        .fetch_one(&scene.stage.db)
        .await
        .unwrap();
    assert!(heard.ends_with("looked up: it happened") && !heard.contains("555"), "{heard}");
    scene.running.stop().await;
}

#[tokio::test]
async fn what_is_taken_late_is_waited_for_before_anything_repeats() {
    let scene = Scene::with(|settings| settings.sms_settle_seconds = 3).await;
    scene.twilio.next(json!([{ "late_ms": 1500 }])).await;
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!(told.name, "sms_sent");
    assert_eq!(scene.twilio.counts().await, (1, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_a_look_up_finds_delivered_counts_as_delivered() {
    let scene = Scene::with(|settings| settings.sms_settle_seconds = 20).await;
    scene.twilio.next(json!([{ "late_ms": 1000 }])).await;
    let id = scene.stage.publish("acme", &SendSms::example()).await;
    let sid = loop {
        if let Some(taken) = scene.twilio.messages().await.first() {
            break taken["sid"].clone();
        }
        tokio::task::yield_now().await;
    };
    scene.twilio.tell(json!({ "sid": sid, "status": "delivered" })).await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.name.as_str(), &told.data["status"]), ("sms_sent", &json!("delivered")), "{}", told.data);
    let stats = scene.stage.ask("texter", "acme", &SmsStats { from: None, to: None }).await.unwrap();
    assert_eq!((stats.days[0].sent, stats.days[0].delivered), (1, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_certainly_did_not_arrive_is_sent_again() {
    let scene = Scene::new().await;
    // 429 says so itself; of a 503 the list does.
    scene.twilio.next(json!([{ "status": 429 }, { "status": 503 }])).await;
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!(told.name, "sms_sent");
    assert_eq!(scene.twilio.counts().await, (3, 1));
    assert_eq!(scene.spent().await, 7900, "one text is booked once, however often it was tried");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_503_after_taking_it_is_no_reason_to_send_again() {
    let scene = Scene::new().await;
    scene.twilio.next(json!([{ "status": 503, "taken": true }])).await;
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!(told.name, "sms_sent");
    assert_eq!(scene.twilio.counts().await, (1, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn the_same_words_twice_are_two_texts_even_if_both_answers_are_lost() {
    let scene = Scene::new().await;
    scene.twilio.next(json!([{ "lose": true }, { "lose": true }])).await;
    let [one, two] = [
        scene.stage.publish("acme", &SendSms::example()).await,
        scene.stage.publish("globex", &SendSms::example()).await,
    ];
    let (one, two) = (scene.stage.outcome(one).await, scene.stage.outcome(two).await);
    assert_eq!((one.name.as_str(), two.name.as_str()), ("sms_sent", "sms_sent"));
    assert_ne!(one.data["provider_id"], two.data["provider_id"]);
    assert_eq!(scene.twilio.counts().await, (2, 2));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_refusal_is_final_and_gives_the_estimate_back() {
    let scene = Scene::new().await;
    for error in [21211, 21614, 21602] {
        scene.twilio.next(json!([{ "code": error }])).await;
        let (id, told) = scene.send(&text(|t| t.body = format!("{error}"))).await;
        assert_eq!(told.outcome, Some(Outcome::Rejected));
        assert!(told.data["detail"].as_str().unwrap().starts_with(&format!("twilio {error}")), "{}", told.data);
        let report = scene.status(id).await;
        assert_eq!(report.status, SmsState::Failed);
        assert!(!format!("{report:?}").contains("14155552671"));
    }
    assert_eq!(scene.spent().await, 0);
    assert_eq!(scene.twilio.counts().await, (3, 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn an_opted_out_recipient_of_the_provider_is_on_our_list_then() {
    let scene = Scene::new().await;
    scene.twilio.next(json!([{ "code": 21610 }])).await;
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!(code(&told), "opted_out");
    let changed = scene.event("consent_changed").await;
    assert_eq!((&changed.data["source"], &changed.data["state"]), (&json!("provider"), &json!("opted_out")));
    // The next one is not even tried.
    let (_, told) = scene.send(&text(|t| t.body = "Again".into())).await;
    assert_eq!(code(&told), "opted_out");
    assert_eq!(scene.twilio.counts().await, (1, 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn credentials_that_are_not_taken_stop_the_provider_and_burn_no_text() {
    let scene = Scene::with(|settings| settings.twilio_auth_token = Some("anothertoken".into())).await;
    let mut waiting = Vec::new();
    for n in 0..4 {
        let tenant = if n % 2 == 0 { "acme" } else { "globex" };
        waiting.push(scene.stage.publish(tenant, &text(|t| t.to = number(2001 + n))).await);
    }
    let stopped = scene.event("provider_stopped").await;
    assert_eq!((&stopped.data["error_code"], &stopped.data["tenant_only"]), (&json!(20003), &json!(false)));
    // A tenant can't lift what holds for all.
    let resume = omnibus_schemas::texter::ResumeProvider { provider: "twilio".into(), note: "renewed".into() };
    assert_eq!(code(&scene.send(&resume).await.1), "not_stopped");
    let ended = |id| scene.stage.caused_by(id).iter().any(|told| told.outcome.is_some());
    assert!(waiting.iter().all(|id| !ended(*id)));
    // A code does not wait, and nothing was charged but what waits.
    let ask = omnibus_schemas::texter::SendCode { to: number(2010), ..Command::example() };
    assert_eq!(code(&scene.send(&ask).await.1), "provider_stopped");
    assert_eq!(scene.stage.told().iter().filter(|told| told.name == "provider_stopped").count(), 1);
    assert_eq!(scene.twilio.counts().await.1, 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn after_the_pause_one_text_tries_the_provider_and_lifts_the_stop() {
    let scene = Scene::new().await;
    sqlx::query("insert into texter.stops values ('', 'twilio', 20003, now() - interval '1 second')")
        .execute(&scene.stage.db)
        .await
        .unwrap();
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!(told.name, "sms_sent");
    let left: i64 = sqlx::query_scalar("select count(*) from texter.stops").fetch_one(&scene.stage.db).await.unwrap();
    assert_eq!(left, 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn another_text_with_the_same_end_is_not_taken_for_this_one() {
    let scene = Scene::new().await;
    scene.send(&text(|t| t.body = "Your order is OK".into())).await;
    scene.twilio.next(json!([{ "status": 503 }])).await;
    let (_, told) = scene.send(&text(|t| t.body = "OK".into())).await;
    assert_eq!(told.name, "sms_sent");
    assert_eq!(scene.twilio.counts().await, (3, 2));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_success_that_is_no_201_is_looked_up() {
    let scene = Scene::new().await;
    scene.twilio.next(json!([{ "status": 200, "taken": true }])).await;
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!(told.name, "sms_sent");
    assert_eq!(scene.twilio.counts().await, (1, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_a_person_decides_about_a_held_text_is_done() {
    // A gateway that can't be looked into: what it may have taken is held.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/send", free.local_addr().unwrap());
    let taken = tokio::spawn(async move {
        let (first, _) = free.accept().await.unwrap();
        drop(first);
        free.accept().await.map(drop)
    });
    let scene = Scene::with(|settings| {
        settings.twilio_account_sid = None;
        settings.gateway_url = Some(url);
    })
    .await;
    let (id, held) = scene.send(&SendSms::example()).await;
    assert_eq!((held.name.as_str(), held.outcome), ("command_held", Some(Outcome::Held)));
    assert_eq!(scene.status(id).await.status, SmsState::Uncertain);
    assert!(!taken.is_finished(), "it was sent again");
    assert_eq!(scene.spent().await, 50_000, "it may cost, so it stands in the books");
    scene.resolve(id, Resolution::Drop).await;
    let failed = scene.event("sms_failed").await;
    assert_eq!(code(&failed), "dropped");
    assert_eq!(scene.status(id).await.status, SmsState::Failed);
    assert_eq!(scene.spent().await, 0);
    let stats = scene.stage.ask("texter", "acme", &SmsStats { from: None, to: None }).await.unwrap();
    assert_eq!((stats.days[0].sent, stats.days[0].uncertain, stats.days[0].failed), (0, 0, 1));
    taken.abort();
    scene.running.stop().await;
}

/// A person's word does not say under which id the provider has it.
#[tokio::test]
async fn a_text_that_a_person_has_vouched_for_is_not_taken_for_another() {
    let scene = Scene::new().await;
    scene.send(&SendSms::example()).await;
    // As it stands once somebody has said that it left.
    sqlx::query("update texter.messages set provider_id = null").execute(&scene.stage.db).await.unwrap();
    scene.twilio.next(json!([{ "status": 503 }])).await;
    let (id, told) = scene.send(&SendSms::example()).await;
    assert_eq!(told.outcome, Some(Outcome::Held), "{}", told.data);
    assert_eq!(scene.status(id).await.status, SmsState::Uncertain);
    assert_eq!(scene.twilio.counts().await, (2, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_suspended_account_stops_the_provider_for_everybody() {
    let scene = Scene::new().await;
    // A try may follow before the first one's trouble is written down.
    scene.twilio.next(json!(vec![json!({ "code": 30002 }); 6])).await;
    let id = scene.stage.publish("acme", &SendSms::example()).await;
    let stopped = scene.event("provider_stopped").await;
    assert_eq!((&stopped.data["error_code"], &stopped.data["tenant_only"]), (&json!(30002), &json!(false)));
    let ask = omnibus_schemas::texter::SendCode { to: number(2020), ..Command::example() };
    let theirs = scene.stage.publish("globex", &ask).await;
    assert_eq!(code(&scene.stage.outcome(theirs).await), "provider_stopped");
    assert!(scene.stage.caused_by(id).iter().all(|told| told.outcome.is_none()), "the text was not put off");
    assert_eq!(scene.twilio.counts().await.1, 0);
    scene.running.stop().await;
}
