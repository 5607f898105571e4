//! What Twilio tells afterwards: signed or not believed, in any order, any number of times.

use std::collections::BTreeMap;

use base64::Engine;
use omnibus_runtime::Visit;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::PATIENCE;
use omnibus_schemas::Command;
use omnibus_schemas::Hook;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::texter::{
    CheckMessage, Costs, NoteStatus, ResumeProvider, RetrySms, SendSms, SmsState, SmsStats, TwilioInbound, TwilioStatus,
};
use serde_json::json;
use uuid::Uuid;

use crate::scene::{PUBLIC, SECRET, Scene, TOKEN, code, number, text};

/// A signed visit, as Twilio makes it.
pub(crate) fn visit(path: &str, query: &str, form: &[(&str, &str)]) -> Visit {
    let question = if query.is_empty() { "" } else { "?" };
    let mut sorted = form.to_vec();
    sorted.sort_unstable();
    let said = sorted.iter().fold(format!("{PUBLIC}{path}{question}{query}"), |said, (a, b)| said + a + b);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TOKEN.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(ring::hmac::sign(&key, said.as_bytes()));
    let encoded: Vec<String> = form
        .iter()
        .map(|(name, value)| {
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("{name}={value}")
        })
        .collect();
    Visit {
        method: "POST".into(),
        path: path.into(),
        query: query.into(),
        host: "somewhere.else".into(),
        headers: BTreeMap::from([
            ("x-twilio-signature".to_owned(), signature),
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ]),
        body: encoded.join("&").into_bytes(),
        ..Visit::default()
    }
}

pub(crate) async fn visited<H: Hook>(scene: &Scene, visit: &Visit) -> u16 {
    scene.stage.visit::<H>(visit).await.unwrap().code()
}

fn told(message: Uuid, sid: &str, status: &str, error: Option<&str>) -> Visit {
    let mut form = vec![("MessageSid", sid), ("MessageStatus", status), ("AccountSid", "AC1")];
    form.extend(error.map(|error| ("ErrorCode", error)));
    visit("/webhooks/twilio/status", &format!("tenant=acme&message={message}"), &form)
}

pub(crate) async fn sent(scene: &Scene, command: &SendSms) -> (Uuid, String) {
    let (id, told) = scene.send(command).await;
    assert_eq!(told.name, "sms_sent", "{}", told.data);
    (id, told.data["provider_id"].as_str().unwrap().to_owned())
}

/// The address that a text asked to be told at is the one that the texter believes.
#[tokio::test]
async fn a_callback_moves_a_text_forward_and_never_back() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    for status in ["delivered", "sent", "queued", "sending", "delivered"] {
        assert_eq!(visited::<TwilioStatus>(&scene, &told(id, &sid, status, None)).await, 204);
    }
    let changed = scene.event("sms_status_changed").await;
    assert_eq!((&changed.data["status"], &changed.data["previous"]), (&json!("delivered"), &json!("accepted")));
    // A text after all of these: what they had to say has been said.
    let (other, other_sid) = sent(&scene, &text(|t| t.to = number(4001))).await;
    visited::<TwilioStatus>(&scene, &told(other, &other_sid, "sent", None)).await;
    scene.stage.event(|told| told.name == "sms_status_changed" && told.data["message_id"] == other.to_string()).await;
    assert_eq!(scene.status(id).await.status, SmsState::Delivered);
    let changes = scene.stage.told().iter().filter(|told| told.name == "sms_status_changed").count();
    assert_eq!(changes, 2);
    scene.running.stop().await;
}

#[tokio::test]
async fn in_order_every_status_is_an_event_with_a_rising_revision() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    for status in ["sending", "sent", "delivered", "read"] {
        visited::<TwilioStatus>(&scene, &told(id, &sid, status, None)).await;
        scene.stage.event(|told| told.name == "sms_status_changed" && told.data["status"] == status).await;
    }
    let revisions: Vec<u64> = scene
        .stage
        .told()
        .iter()
        .filter(|told| told.name == "sms_status_changed")
        .map(|told| told.data["revision"].as_u64().unwrap())
        .collect();
    assert_eq!(revisions, [3, 4, 5, 6]);
    scene.running.stop().await;
}

#[tokio::test]
async fn what_is_told_of_several_texts_is_written_in_one_order_whatever_order_it_comes_in() {
    let scene = Scene::new().await;
    let mut texts = vec![];
    for n in 9601..9603 {
        texts.push(sent(&scene, &text(|t| t.to = number(n))).await);
    }
    texts.sort();
    let Scene { stage, twilio, running } = scene;
    running.stop().await;
    let secret = omnibus_texter::secret::Secret::new(SECRET.as_bytes());
    let mut notes = vec![];
    for (message_id, sid) in texts.iter().rev() {
        let note = NoteStatus {
            message_id: *message_id,
            provider: "twilio".into(),
            provider_id: sid.clone(),
            status: "delivered".into(),
            error_code: None,
            proof: secret.proof(&["status", "acme", &message_id.to_string(), sid, "delivered", ""]),
        };
        notes.push(stage.publish("acme", &note).await);
    }
    let [first, last] = [texts[0].0, texts[1].0];
    let mut other = stage.db.begin().await.unwrap();
    let lock = "select from texter.messages where message_id = $1 for update";
    sqlx::query(lock).bind(first).execute(&mut *other).await.unwrap();
    let work = WorkSettings { loops: 1, ..WorkSettings::defaults() };
    let running = stage.run_with(omnibus_texter::worker(twilio.settings()).unwrap(), work).await;
    let waits = "select exists (select from pg_stat_activity
                                where datname = current_database() and wait_event_type = 'Lock')";
    let waiting = async {
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&stage.db).await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the notes want the first text");
    // Whoever waits for the first has not locked the last.
    let lock = "select from texter.messages where message_id = $1 for update nowait";
    sqlx::query(lock).bind(last).execute(&mut *other).await.unwrap();
    other.rollback().await.unwrap();
    for note in notes {
        assert_eq!(stage.outcome(note).await.outcome, Some(Outcome::Succeeded));
    }
    running.stop().await;
}

#[tokio::test]
async fn what_twilio_did_not_sign_is_not_believed() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    let right = told(id, &sid, "delivered", None);
    let changed = |change: &dyn Fn(&mut Visit)| {
        let mut visit = right.clone();
        change(&mut visit);
        visit
    };
    let forged = [
        changed(&|v| drop(v.headers.remove("x-twilio-signature"))),
        changed(&|v| drop(v.headers.insert("x-twilio-signature".into(), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()))),
        changed(&|v| v.query = v.query.replace("acme", "globex")),
        changed(&|v| v.body.extend_from_slice(b"&ErrorCode=30007")),
        changed(&|v| v.path = "/webhooks/twilio/inbound".into()),
        changed(&|v| drop(v.headers.insert("content-type".into(), "application/json".into()))),
    ];
    for visit in &forged {
        assert_eq!(visited::<TwilioStatus>(&scene, visit).await, 403, "{visit:?}");
    }
    assert_eq!(visited::<TwilioInbound>(&scene, &forged[4]).await, 403);
    // A tenant that writes the command itself is not believed either.
    let note = NoteStatus {
        message_id: id,
        provider: "twilio".into(),
        provider_id: sid.clone(),
        status: "delivered".into(),
        error_code: None,
        proof: "guess".into(),
    };
    assert_eq!(code(&scene.send(&note).await.1), "forged");
    assert_eq!(scene.status(id).await.status, SmsState::Accepted);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_status_of_another_tenants_or_an_unknown_text_changes_nothing() {
    let scene = Scene::new().await;
    let (id, _) = sent(&scene, &SendSms::example()).await;
    for visit in
        [told(id, "SMffffffffffffffffffffffffffffffff", "delivered", None), told(Uuid::nil(), "SM1", "sent", None)]
    {
        assert_eq!(visited::<TwilioStatus>(&scene, &visit).await, 204);
    }
    let refused = |told: &omnibus_runtime::testing::Told| told.outcome == Some(Outcome::Rejected);
    scene.stage.event(refused).await;
    assert_eq!(scene.status(id).await.status, SmsState::Accepted);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_callback_that_overtakes_the_answer_wins() {
    let scene = Scene::with(|settings| settings.sms_timeout = 60).await;
    scene.twilio.next(json!([{ "hold": true }])).await;
    let id = scene.stage.publish("acme", &SendSms::example()).await;
    scene.event("cost_booked").await;
    visited::<TwilioStatus>(&scene, &told(id, &format!("SM{:032x}", 1), "delivered", None)).await;
    scene.event("sms_status_changed").await;
    scene.twilio.release().await;
    let sent = scene.stage.outcome(id).await;
    assert_eq!((sent.name.as_str(), &sent.data["status"]), ("sms_sent", &json!("delivered")));
    scene.running.stop().await;
}

#[tokio::test]
async fn the_price_is_asked_for_and_the_difference_is_booked_once() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    scene.twilio.tell(json!({ "sid": sid, "status": "delivered", "price": "-0.00830" })).await;
    for round in [0, 1, 0] {
        let check = CheckMessage { message_id: id, round };
        assert_eq!(scene.send(&check).await.1.outcome, Some(Outcome::Succeeded));
    }
    let report = scene.status(id).await;
    assert_eq!((report.estimate_micro, report.actual_micro, report.status), (7900, Some(8300), SmsState::Delivered));
    assert_eq!(scene.spent().await, 8300);
    let difference = scene.stage.event(|told| told.name == "cost_booked" && told.data["kind"] == "difference").await;
    assert_eq!(difference.data["amount_micro"], json!(400));
    scene.running.stop().await;
}

#[tokio::test]
async fn carriers_that_filter_stop_the_provider_for_that_tenant() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    visited::<TwilioStatus>(&scene, &told(id, &sid, "undelivered", Some("30007"))).await;
    let stopped = scene.event("provider_stopped").await;
    assert_eq!((&stopped.data["error_code"], &stopped.data["tenant_only"]), (&json!(30007), &json!(true)));
    // Another tenant's leave.
    let other = scene.stage.publish("globex", &text(|t| t.to = number(4002))).await;
    assert_eq!(scene.stage.outcome(other).await.name, "sms_sent");
    // A code does not wait for the provider to come back: it is refused.
    let ask = omnibus_schemas::texter::SendCode { to: number(4003), ..Command::example() };
    assert_eq!(code(&scene.send(&ask).await.1), "provider_stopped");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_tenant_lifts_a_stop_that_holds_for_it_alone() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    visited::<TwilioStatus>(&scene, &told(id, &sid, "undelivered", Some("30007"))).await;
    scene.event("provider_stopped").await;
    let waits = scene.stage.publish("acme", &text(|t| t.to = number(4030))).await;
    assert_eq!(scene.waiting(waits).await.waits_for, Some(omnibus_schemas::texter::WaitsFor::Provider));
    let resume = ResumeProvider { provider: "twilio".into(), note: "the words are others now".into() };
    let foreign = scene.stage.publish("globex", &resume).await;
    assert_eq!(code(&scene.stage.outcome(foreign).await), "not_stopped");
    assert_eq!(scene.send(&resume).await.1.name, "provider_resumed");
    sent(&scene, &text(|t| t.to = number(4031))).await;
    scene.running.stop().await;
}

#[tokio::test]
async fn a_text_that_was_given_up_and_arrived_after_all_is_in_the_books_again() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    // As if a person had dropped it while nobody knew.
    sqlx::query("update texter.messages set status = 'failed', provider_id = null")
        .execute(&scene.stage.db)
        .await
        .unwrap();
    sqlx::query(
        "insert into texter.ledger select tenant, message_id, 2, 'release', -amount_micro, currency, -1, -segments, day, country,
             template, provider, booked_at from texter.ledger",
    )
    .execute(&scene.stage.db)
    .await
    .unwrap();
    assert_eq!(scene.spent().await, 0);
    visited::<TwilioStatus>(&scene, &told(id, &sid, "delivered", None)).await;
    scene.event("sms_status_changed").await;
    assert_eq!(scene.spent().await, 7900);
    scene.running.stop().await;
}

/// Carriers say of some failures that they pass: the text is sent once more, and not a third time.
#[tokio::test]
async fn what_could_not_be_delivered_for_now_is_sent_once_more() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    let retry = RetrySms { message_id: id, number: 2 };
    assert_eq!(code(&scene.send(&retry).await.1), "not_failed");
    visited::<TwilioStatus>(&scene, &told(id, &sid, "undelivered", Some("30003"))).await;
    scene.event("sms_status_changed").await;
    let foreign = scene.stage.publish("globex", &retry).await;
    assert_eq!(code(&scene.stage.outcome(foreign).await), "not_found");
    let (again, told_again) = scene.send(&retry).await;
    assert_eq!(told_again.name, "sms_sent", "{}", told_again.data);
    assert_eq!((scene.twilio.counts().await, scene.spent().await), ((2, 2), 2 * 7900));
    // Neither of the two is kept for a third.
    let again_sid = told_again.data["provider_id"].as_str().unwrap();
    visited::<TwilioStatus>(&scene, &told(again, again_sid, "undelivered", Some("30003"))).await;
    scene.count(2, |told| told.name == "sms_status_changed").await;
    for message_id in [id, again] {
        assert_eq!(code(&scene.send(&RetrySms { message_id, number: 2 }).await.1), "not_found");
    }
    assert_eq!(scene.twilio.counts().await, (2, 2));
    scene.running.stop().await;
}

/// Commands that stand in the schedule.
async fn scheduled(scene: &Scene, command: &str) -> usize {
    let mut schedule = scene.stage.operator.jetstream().get_stream("SCHEDULE").await.unwrap();
    let last = schedule.info().await.unwrap().state.last_sequence;
    let mut found = 0;
    for sequence in 1..=last {
        let Ok(message) = schedule.get_raw_message(sequence).await else { continue };
        let target = message.headers.get(async_nats::header::NATS_SCHEDULE_TARGET);
        found += usize::from(target.is_some_and(|target| target.as_str().contains(command)));
    }
    found
}

#[tokio::test]
async fn what_could_not_be_delivered_is_put_on_the_schedule_again_only_if_the_reason_passes() {
    let scene = Scene::new().await;
    for (n, error, again) in [(4010, "30005", 0), (4011, "30006", 0), (4012, "30003", 1), (4013, "30008", 2)] {
        let (id, sid) = sent(&scene, &text(|t| t.to = number(n))).await;
        visited::<TwilioStatus>(&scene, &told(id, &sid, "undelivered", Some(error))).await;
        scene.stage.event(|told| told.name == "sms_status_changed" && told.data["message_id"] == id.to_string()).await;
        assert_eq!(scheduled(&scene, "retry_sms").await, again, "{error}");
    }
    scene.running.stop().await;
}

/// What a callback tells of a text before its own answer is no text that was given up.
#[tokio::test]
async fn a_failure_that_overtakes_the_answer_is_booked_and_counted_once() {
    let scene = Scene::with(|settings| settings.sms_timeout = 20).await;
    // The answer is late; and of another text it is lost.
    for (n, manner) in [(1, json!([{ "hold": true }])), (2, json!([{ "lose": true, "hold": true }]))] {
        scene.twilio.next(manner).await;
        let id = scene.stage.publish("acme", &text(|t| t.to = number(4020 + n))).await;
        scene.stage.event(|told| told.name == "cost_booked" && told.causation == id.to_string()).await;
        let failed = told(id, &format!("SM{n:032x}"), "failed", Some("30005"));
        visited::<TwilioStatus>(&scene, &failed).await;
        scene.stage.event(|told| told.name == "sms_status_changed" && told.data["message_id"] == id.to_string()).await;
        scene.twilio.release().await;
        let told = scene.stage.outcome(id).await;
        assert_eq!((told.name.as_str(), &told.data["status"]), ("sms_sent", &json!("failed")));
        assert_eq!(scene.spent().await, i64::from(n) * 7900);
    }
    let costs = scene.stage.ask("texter", "acme", &Costs { from: None, to: None, country: None }).await.unwrap();
    assert_eq!((costs.totals[0].messages, costs.totals[0].amount_micro), (2, 2 * 7900));
    let stats = scene.stage.ask("texter", "acme", &SmsStats { from: None, to: None }).await.unwrap();
    assert_eq!((stats.days[0].sent, stats.days[0].failed), (2, 2));
    scene.running.stop().await;
}

/// A callback tells of a held text that it was sent; a worker that had been overtaken does so once more, late.
#[tokio::test]
async fn a_held_text_that_a_callback_has_moved_on_counts_as_sent_once() {
    let scene = Scene::with(|settings| settings.sms_timeout = 60).await;
    scene.twilio.next(json!([{ "hold": true }])).await;
    let id = scene.stage.publish("acme", &SendSms::example()).await;
    scene.event("cost_booked").await;
    // As it stands when another worker could not tell whether it left, while this one's call is out still.
    sqlx::query(
        "with held as (update texter.messages set status = 'uncertain' returning tenant, day, country)
         insert into texter.deltas (tenant, day, country, what, n) select tenant, day, country, 'uncertain', 1 from held",
    )
    .execute(&scene.stage.db)
    .await
    .unwrap();
    visited::<TwilioStatus>(&scene, &told(id, &format!("SM{:032x}", 1), "delivered", None)).await;
    let changed = scene.event("sms_status_changed").await;
    assert_eq!(changed.data["previous"], json!("uncertain"));
    scene.twilio.release().await;
    let sent = scene.stage.outcome(id).await;
    assert_eq!((sent.name.as_str(), &sent.data["status"]), ("sms_sent", &json!("delivered")));
    let stats = scene.stage.ask("texter", "acme", &SmsStats { from: None, to: None }).await.unwrap();
    assert_eq!((stats.days[0].sent, stats.days[0].delivered, stats.days[0].uncertain), (1, 1, 0));
    scene.running.stop().await;
}

/// Of JSON, the address alone is signed, and the address carries the body's hash.
#[tokio::test]
async fn a_status_in_json_is_believed_by_the_hash_in_its_address() {
    let scene = Scene::new().await;
    let (id, sid) = sent(&scene, &SendSms::example()).await;
    let body = json!({ "AccountSid": "AC1", "MessageSid": sid, "MessageStatus": "delivered" }).to_string();
    let hash = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let query = format!("tenant=acme&message={id}&bodySHA256={hex}");
    let mut right = visit("/webhooks/twilio/status", &query, &[]);
    right.headers.insert("content-type".into(), "application/json".into());
    let forged = Visit { body: body.replace("delivered", "failed").into_bytes(), ..right.clone() };
    assert_eq!(visited::<TwilioStatus>(&scene, &forged).await, 403);
    right.body = body.into_bytes();
    assert_eq!(visited::<TwilioStatus>(&scene, &right).await, 204);
    assert_eq!(scene.event("sms_status_changed").await.data["status"], json!("delivered"));
    scene.running.stop().await;
}
