//! What people write back: words that stop and start, answers, and whose text it is.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use omnibus_runtime::{Visit, clock};
use omnibus_schemas::Command;
use omnibus_schemas::texter::{OptOuts, PutOptOut, ReceiveSms, SendSms, TwilioInbound};
use serde_json::json;

use crate::scene::{FROM, SECRET, Scene, code, number, text};
use crate::webhooks::{sent, visit, visited};

fn inbound(body: &str, sid: &str) -> Visit {
    let from = SendSms::example().to;
    visit("/webhooks/twilio/inbound", "", &[("From", &from), ("To", FROM), ("Body", body), ("MessageSid", sid)])
}

#[tokio::test]
async fn stop_and_start_are_obeyed_and_told_to_every_channel() {
    let scene = Scene::new().await;
    sent(&scene, &SendSms::example()).await;
    assert_eq!(visited::<TwilioInbound>(&scene, &inbound(" Stop. ", "SM9")).await, 200);
    let out = scene.event("consent_changed").await;
    assert_eq!((&out.data["channel"], &out.data["state"]), (&json!("sms"), &json!("opted_out")));
    assert_eq!((&out.data["sender"], &out.data["source"]), (&json!(FROM), &json!("word")));
    // Once more, and again: a word that came before changes nothing.
    visited::<TwilioInbound>(&scene, &inbound(" Stop. ", "SM9")).await;
    assert_eq!(code(&scene.send(&text(|t| t.body = "After".into())).await.1), "opted_out");
    let list = scene.stage.ask("texter", "acme", &OptOuts { number: None, after: None, limit: None }).await.unwrap();
    assert_eq!((list.opt_outs.len(), list.opt_outs[0].number.as_str()), (1, "+14155552671"));
    let foreign =
        scene.stage.ask("texter", "globex", &OptOuts { number: None, after: None, limit: None }).await.unwrap();
    assert_eq!(foreign.opt_outs, []);

    visited::<TwilioInbound>(&scene, &inbound("please stop", "SM10")).await;
    visited::<TwilioInbound>(&scene, &inbound("START", "SM11")).await;
    scene.stage.event(|told| told.name == "consent_changed" && told.data["state"] == "opted_in").await;
    sent(&scene, &text(|t| t.body = "After".into())).await;
    let received = scene.stage.told().iter().filter(|told| told.name == "sms_received").count();
    assert_eq!(received, 3);
    scene.running.stop().await;
}

#[tokio::test]
async fn words_are_answered_where_the_provider_does_not() {
    let scene = Scene::with(|settings| settings.sms_replies = true).await;
    sent(&scene, &SendSms::example()).await;
    for (n, word) in ["AIDE", "STOP"].into_iter().enumerate() {
        visited::<TwilioInbound>(&scene, &inbound(word, &format!("SM2{n}"))).await;
        scene.count(n + 2, |told| told.name == "sms_sent").await;
    }
    let bodies: Vec<String> =
        scene.twilio.messages().await.iter().map(|m| m["body"].as_str().unwrap().to_owned()).collect();
    assert!(bodies[1].starts_with("Envoyez ARRET") && bodies[2].starts_with("You will get no more"), "{bodies:?}");
    scene.running.stop().await;
}

/// A text that comes in at this time, as the webhook passes it on.
async fn received(scene: &Scene, at: DateTime<Utc>, body: &str, sid: &str) {
    let from = SendSms::example().to;
    let secret = omnibus_texter::secret::Secret::new(SECRET.as_bytes());
    let text = ReceiveSms {
        provider: "twilio".into(),
        provider_id: sid.into(),
        proof: secret.proof(&["inbound", "acme", sid, &from, FROM, body]),
        from,
        to: FROM.into(),
        body: body.into(),
        answered: false,
        word_only: false,
    };
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-time", at.to_rfc3339());
    let entry = scene.stage.catalogue().command(ReceiveSms::DOMAIN, ReceiveSms::NAME).unwrap();
    scene.stage.publish_raw(&entry.subject("acme"), headers, serde_json::to_vec(&text).unwrap()).await;
}

/// Whoever pays for the answers is not whoever writes the words.
#[tokio::test]
async fn a_word_is_answered_once_a_day_for_each_number_that_writes_it() {
    let scene = Scene::with(|settings| settings.sms_replies = true).await;
    sent(&scene, &SendSms::example()).await;
    // A day that is over, whatever the clock says now, and not forgotten yet.
    let day = (clock::now().date_naive() - Days::new(3)).and_time(NaiveTime::MIN).and_utc();
    let next_day = day + Days::new(1);
    let last_second = next_day - TimeDelta::seconds(1);
    // In whatever language, it is the one word.
    let texts = [(day, "HELP"), (day, "help"), (last_second, "INFO"), (last_second, "AIDE"), (last_second, "HELP")];
    for (n, (at, word)) in texts.into_iter().enumerate() {
        received(&scene, at, word, &format!("SM6{n}")).await;
    }
    scene.count(5, |told| told.name == "sms_received").await;
    let other = number(4050);
    sent(&scene, &text(|t| t.to.clone_from(&other))).await;
    let other = [("From", other.as_str()), ("To", FROM), ("Body", "HELP"), ("MessageSid", "SM65")];
    visited::<TwilioInbound>(&scene, &visit("/webhooks/twilio/inbound", "", &other)).await;
    // Two that were asked for, and two answers.
    scene.count(4, |told| told.name == "sms_sent").await;
    received(&scene, next_day, "HELP", "SM66").await;
    scene.count(5, |told| told.name == "sms_sent").await;
    assert_eq!(scene.twilio.counts().await, (5, 5));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_text_in_the_words_of_the_farewell_is_none_and_does_not_get_past_an_opt_out() {
    let scene = Scene::with(|settings| settings.sms_replies = true).await;
    sent(&scene, &SendSms::example()).await;
    visited::<TwilioInbound>(&scene, &inbound("STOP", "SM67")).await;
    scene.count(2, |told| told.name == "sms_sent").await;
    let farewell = scene.twilio.messages().await[1]["body"].as_str().unwrap().to_owned();
    assert!(omnibus_texter::words::is_farewell(&farewell), "{farewell}");
    for _ in 0..2 {
        assert_eq!(code(&scene.send(&text(|t| t.body.clone_from(&farewell))).await.1), "opted_out");
    }
    assert_eq!(scene.twilio.counts().await, (2, 2));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_text_that_comes_in_belongs_to_those_who_have_written_or_own_the_number() {
    let scene = Scene::with(|settings| settings.sms_numbers = vec![("+15005550009".into(), "globex".into())]).await;
    // Nobody has written to it.
    let stranger = visit(
        "/webhooks/twilio/inbound",
        "",
        &[("From", "+14155559999"), ("To", FROM), ("Body", "hi"), ("MessageSid", "SM30")],
    );
    assert_eq!(visited::<TwilioInbound>(&scene, &stranger).await, 200);
    let owned = visit(
        "/webhooks/twilio/inbound",
        "",
        &[("From", "+14155559999"), ("To", "+15005550009"), ("Body", "hi"), ("MessageSid", "SM31")],
    );
    assert_eq!(visited::<TwilioInbound>(&scene, &owned).await, 200);
    let received = scene.event("sms_received").await;
    assert_eq!((received.tenant.as_str(), &received.data["provider_id"]), ("globex", &json!("SM31")));
    assert_eq!(scene.stage.told().iter().filter(|told| told.name == "sms_received").count(), 1);
    scene.running.stop().await;
}

#[tokio::test]
async fn what_she_writes_is_for_whoever_wrote_last_and_her_stop_is_for_all() {
    let scene = Scene::new().await;
    let other = scene.stage.publish("globex", &text(|t| t.body = "Spam".into())).await;
    assert_eq!(scene.stage.outcome(other).await.name, "sms_sent");
    sent(&scene, &SendSms::example()).await;
    visited::<TwilioInbound>(&scene, &inbound("my PIN is 1", "SM40")).await;
    visited::<TwilioInbound>(&scene, &inbound("STOP", "SM41")).await;
    scene.count(2, |told| told.name == "consent_changed").await;
    scene.count(2, |told| told.name == "sms_received").await;
    let received: Vec<String> =
        scene.stage.told().iter().filter(|told| told.name == "sms_received").map(|told| told.tenant.clone()).collect();
    assert_eq!(received, ["acme", "acme"]);
    let again = scene.stage.publish("globex", &text(|t| t.body = "Spam".into())).await;
    assert_eq!(code(&scene.stage.outcome(again).await), "opted_out");
    scene.running.stop().await;
}

#[tokio::test]
async fn start_takes_back_an_opt_out_by_command_too() {
    let scene = Scene::new().await;
    sent(&scene, &SendSms::example()).await;
    scene.send(&PutOptOut { number: SendSms::example().to, ..PutOptOut::example() }).await;
    assert_eq!(code(&scene.send(&text(|t| t.body = "After".into())).await.1), "opted_out");
    visited::<TwilioInbound>(&scene, &inbound("START", "SM50")).await;
    scene.stage.event(|told| told.name == "consent_changed" && told.data["state"] == "opted_in").await;
    sent(&scene, &text(|t| t.body = "After".into())).await;
    scene.running.stop().await;
}
