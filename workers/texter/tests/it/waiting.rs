//! Texts that leave later: here or at their provider, seen while they wait, taken back while they do.

use chrono::{DateTime, Duration, Utc};
use omnibus_runtime::clock;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::texter::{
    CancelSms, CheckMessage, ClearQuietHours, Costs, PutOptOut, SendSms, SetQuietHours, SmsState, SmsStats,
    TwilioStatus, WaitsAt, WaitsFor,
};
use serde_json::json;

use crate::scene::{SERVICE, Scene, code, number, text};
use crate::webhooks::visit;

/// Long enough for what is to be done before a text leaves, on a busy machine too.
const HEAD_START: Duration = Duration::seconds(20);

fn later(n: u32, at: DateTime<Utc>, waits_at: WaitsAt) -> SendSms {
    text(|t| {
        t.to = number(n);
        t.send_at = Some(at);
        t.waits_at = waits_at;
    })
}

fn soon() -> DateTime<Utc> {
    clock::now() + Duration::hours(2)
}

/// A texter whose sender is a messaging service, and no number.
async fn of_a_service() -> Scene {
    Scene::with(|settings| {
        settings.twilio_phone_number = None;
        settings.twilio_messaging_service_sid = Some(SERVICE.into());
    })
    .await
}

#[tokio::test]
async fn a_text_for_later_is_seen_waiting_and_leaves_at_its_time_once() {
    let scene = Scene::new().await;
    let at = clock::now() + HEAD_START;
    let id = scene.stage.publish("acme", &later(8001, at, WaitsAt::Here)).await;
    let report = scene.waiting(id).await;
    assert_eq!((report.waits_for, report.estimate_micro, report.segments), (Some(WaitsFor::SendAt), 0, 1));
    assert_eq!(scene.spent().await, 0, "nothing is booked before it leaves");
    let told = scene.stage.outcome(id).await;
    assert_eq!(told.name, "sms_sent");
    assert!(clock::now() >= at);
    assert_eq!(scene.twilio.counts().await, (1, 1));
    let report = scene.status(id).await;
    assert_eq!((report.status, report.waits_for), (SmsState::Accepted, None));
    // Its cost is told as that of any other.
    let booked = scene.stage.caused_by(id).into_iter().filter(|told| told.name == "cost_booked");
    assert_eq!(booked.map(|told| told.data["amount_micro"].as_i64().unwrap()).sum::<i64>(), 7900);
    assert_eq!(scene.spent().await, 7900);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_text_that_waits_is_taken_back_by_its_tenant_alone() {
    let scene = Scene::new().await;
    let at = clock::now() + HEAD_START;
    let id = scene.stage.publish("acme", &later(8002, at, WaitsAt::Here)).await;
    scene.waiting(id).await;
    let cancel = CancelSms { message_id: id };
    let foreign = scene.stage.publish("globex", &cancel).await;
    assert_eq!(code(&scene.stage.outcome(foreign).await), "not_found");
    let (_, told) = scene.send(&cancel).await;
    assert_eq!(
        (told.name.as_str(), &told.data["status"], &told.data["previous"]),
        ("sms_status_changed", &json!("canceled"), &json!("waiting"))
    );
    assert_eq!(scene.status(id).await.status, SmsState::Canceled);
    // Taken back once more, nothing changes; and when its time comes, it does not leave.
    assert_eq!(scene.send(&cancel).await.1.outcome, Some(Outcome::Succeeded));
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, code(&told)), (Some(Outcome::Rejected), "canceled"));
    assert_eq!(scene.status(id).await.status, SmsState::Canceled);
    assert_eq!((scene.twilio.counts().await, scene.spent().await), ((0, 0), 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_has_left_or_never_was_is_not_taken_back() {
    let scene = Scene::new().await;
    let (id, _) = scene.send(&<SendSms as omnibus_schemas::Command>::example()).await;
    assert_eq!(code(&scene.send(&CancelSms { message_id: id }).await.1), "too_late");
    let unknown = CancelSms { message_id: uuid::Uuid::from_u128(7) };
    assert_eq!(code(&scene.send(&unknown).await.1), "not_found");
    assert_eq!(scene.spent().await, 7900);
    scene.running.stop().await;
}

#[tokio::test]
async fn who_opts_out_while_a_text_waits_does_not_get_it() {
    let scene = Scene::new().await;
    let at = clock::now() + HEAD_START;
    let id = scene.stage.publish("acme", &later(8003, at, WaitsAt::Here)).await;
    scene.waiting(id).await;
    scene.send(&PutOptOut { number: number(8003), ..omnibus_schemas::Command::example() }).await;
    let told = scene.stage.outcome(id).await;
    assert_eq!(code(&told), "opted_out");
    assert_eq!(scene.status(id).await.status, SmsState::Failed);
    assert_eq!((scene.twilio.counts().await, scene.spent().await), ((0, 0), 0));
    // Nothing had been booked for it, so nothing is given back.
    let lines: i64 = sqlx::query_scalar("select count(*) from texter.ledger").fetch_one(&scene.stage.db).await.unwrap();
    assert_eq!(lines, 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_messaging_service_sends_and_keeps_texts_for_later() {
    let scene = of_a_service().await;
    let (_, told) = scene.send(&<SendSms as omnibus_schemas::Command>::example()).await;
    assert_eq!(told.name, "sms_sent", "{}", told.data);
    let at = soon();
    let (id, told) = scene.send(&later(8004, at, WaitsAt::Provider)).await;
    assert_eq!((told.name.as_str(), &told.data["status"]), ("sms_sent", &json!("scheduled")), "{}", told.data);
    let taken = scene.twilio.messages().await;
    assert_eq!((&taken[1]["status"], &taken[1]["messaging_service_sid"]), (&json!("scheduled"), &json!(SERVICE)));
    assert_eq!(scene.spent().await, 2 * 7900, "it is booked when it is handed over");
    let (_, told) = scene.send(&CancelSms { message_id: id }).await;
    assert_eq!(
        (&told.data["status"], &told.data["previous"]),
        (&json!("canceled"), &json!("scheduled")),
        "{}",
        told.data
    );
    assert_eq!(scene.twilio.messages().await[1]["status"], "canceled");
    assert_eq!(scene.spent().await, 7900, "and given back when it is taken back");
    let costs = scene.stage.ask("texter", "acme", &Costs { from: None, to: None, country: None }).await.unwrap();
    assert_eq!((costs.totals[0].messages, costs.totals[0].amount_micro), (1, 7900));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_is_taken_back_counts_neither_as_sent_nor_as_failed_wherever_it_waited() {
    let scene = of_a_service().await;
    scene.send(&<SendSms as omnibus_schemas::Command>::example()).await;
    let (there, told) = scene.send(&later(8020, soon(), WaitsAt::Provider)).await;
    assert_eq!(told.name, "sms_sent", "{}", told.data);
    let here = scene.stage.publish("acme", &later(8021, soon(), WaitsAt::Here)).await;
    scene.waiting(here).await;
    for message_id in [there, here] {
        let (_, told) = scene.send(&CancelSms { message_id }).await;
        assert_eq!(told.data["status"], json!("canceled"), "{}", told.data);
    }
    let stats = scene.stage.ask("texter", "acme", &SmsStats { from: None, to: None }).await.unwrap();
    let counted = stats.days.iter().fold((0, 0), |sum, day| (sum.0 + day.sent, sum.1 + day.failed));
    assert_eq!(counted, (1, 0));
    // Twilio may have been faster: then it was sent, and costs.
    let sid = told.data["provider_id"].as_str().unwrap();
    let form = [("MessageSid", sid), ("MessageStatus", "delivered")];
    let delivered = visit("/webhooks/twilio/status", &format!("tenant=acme&message={there}"), &form);
    assert_eq!(scene.stage.visit::<TwilioStatus>(&delivered).await.unwrap().code(), 204);
    scene.stage.event(|told| told.name == "sms_status_changed" && told.data["status"] == "delivered").await;
    let stats = scene.stage.ask("texter", "acme", &SmsStats { from: None, to: None }).await.unwrap();
    let counted = stats.days.iter().fold((0, 0), |sum, day| (sum.0 + day.sent, sum.1 + day.delivered));
    assert_eq!((counted, scene.spent().await), ((2, 1), 2 * 7900));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_text_for_later_is_looked_up_too() {
    let scene = of_a_service().await;
    scene.twilio.next(json!([{ "lose": true }])).await;
    let (_, told) = scene.send(&later(8005, soon(), WaitsAt::Provider)).await;
    assert_eq!((told.name.as_str(), &told.data["status"]), ("sms_sent", &json!("scheduled")), "{}", told.data);
    assert_eq!(scene.twilio.counts().await, (1, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_its_provider_has_sent_meanwhile_is_not_taken_back() {
    let scene = of_a_service().await;
    let (id, told) = scene.send(&later(8006, soon(), WaitsAt::Provider)).await;
    scene.twilio.tell(json!({ "sid": told.data["provider_id"], "status": "delivered" })).await;
    assert_eq!(code(&scene.send(&CancelSms { message_id: id }).await.1), "too_late");
    assert_eq!(scene.send(&CheckMessage { message_id: id, round: 0 }).await.1.outcome, Some(Outcome::Succeeded));
    assert_eq!(scene.status(id).await.status, SmsState::Delivered);
    assert_eq!(scene.spent().await, 7900);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_time_that_no_one_can_keep_is_named_and_nothing_is_sent() {
    let scene = Scene::new().await;
    let in_ = |minutes| clock::now() + Duration::minutes(minutes);
    for (wrong, expected, word) in [
        (later(8007, in_(120), WaitsAt::Provider), "not_schedulable", "/waits_at"),
        (later(8007, in_(5), WaitsAt::Provider), "invalid", "/send_at"),
        (later(8007, in_(60 * 24 * 31), WaitsAt::Here), "invalid", "/send_at"),
        (text(|t| t.waits_at = WaitsAt::Provider), "invalid", "/waits_at"),
        // What can never leave is said now, and not in two hours.
        (
            SendSms { from: Some("+15005550007".into()), ..later(8007, in_(120), WaitsAt::Here) },
            "sender_not_allowed",
            "/from",
        ),
    ] {
        let (_, told) = scene.send(&wrong).await;
        assert_eq!((told.outcome, code(&told)), (Some(Outcome::Rejected), expected), "{}", told.data);
        assert!(told.data["detail"].as_str().unwrap().contains(word), "{}", told.data);
    }
    assert_eq!((scene.twilio.counts().await, scene.spent().await), ((0, 0), 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_text_that_is_handed_over_for_quiet_hours_comes_after_them() {
    let scene = of_a_service().await;
    // Quiet at the time it is for, wherever this runs.
    let at = soon();
    let minute = |at: DateTime<Utc>| at.format("%H:%M").to_string();
    let (from, to) = (minute(at - Duration::minutes(30)), minute(at + Duration::minutes(30)));
    scene.send(&SetQuietHours { from, to, timezone: "UTC".into() }).await;
    scene.send(&SendSms { timezone: Some("UTC".into()), ..later(8008, at, WaitsAt::Provider) }).await;
    let row: DateTime<Utc> =
        sqlx::query_scalar("select send_at from texter.messages").fetch_one(&scene.stage.db).await.unwrap();
    assert!(row > at + Duration::minutes(28) && row <= at + Duration::minutes(30), "{row} for {at}");
    scene.running.stop().await;
}

#[tokio::test]
async fn quiet_hours_are_on_the_clock_of_the_text_or_of_its_country_or_of_the_tenant() {
    let scene = Scene::new().await;
    // Half an hour to both sides of now in UTC: over, or yet to come, wherever clocks show another hour.
    let now = clock::now();
    let minute = |at: DateTime<Utc>| at.format("%H:%M").to_string();
    let (from, to) = (minute(now - Duration::minutes(30)), minute(now + Duration::minutes(30)));
    scene.send(&SetQuietHours { from, to, timezone: "UTC".into() }).await;
    let for_her = |to: &str, zone: Option<&str>| {
        text(|t| {
            t.to = to.into();
            t.timezone = zone.map(str::to_owned);
        })
    };
    // The United States have several zones, Germany has one: an hour or two ahead.
    let (american, german) = (number(8010), "+4915123456705");
    for waits in [for_her(&american, None), for_her(german, Some("UTC"))] {
        let id = scene.stage.publish("acme", &waits).await;
        assert_eq!(scene.waiting(id).await.waits_for, Some(WaitsFor::QuietHours), "{waits:?}");
    }
    for leaves in [for_her(&american, Some("Asia/Tokyo")), for_her(german, None)] {
        assert_eq!(scene.send(&leaves).await.1.name, "sms_sent", "{leaves:?}");
    }
    assert_eq!(scene.send(&ClearQuietHours {}).await.1.name, "quiet_hours_changed");
    assert_eq!(scene.send(&for_her(&number(8011), None)).await.1.name, "sms_sent");
    scene.running.stop().await;
}
