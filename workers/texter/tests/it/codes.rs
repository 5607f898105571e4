//! One-time codes on their way: who gets one, in which words, and when nothing is sent.

use omnibus_runtime::testing::Told;
use omnibus_schemas::Command;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::texter::{SendCode, VerifyCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::checks::{check, sealed};
use crate::scene::{Scene, code, number};

pub(crate) fn ask(to: &str, change: impl FnOnce(&mut SendCode)) -> SendCode {
    let mut ask = SendCode { to: to.to_owned(), ..SendCode::example() };
    change(&mut ask);
    ask
}

/// As if the time of all that waits had run out.
pub(crate) async fn let_expire(scene: &Scene) {
    sqlx::query("update texter.verifications set expires_at = now() - interval '1 second' where status = 'waiting'")
        .execute(&scene.stage.db)
        .await
        .unwrap();
}

/// The code in a text: its run of digits of this length.
pub(crate) fn code_in(text: &str, digits: usize) -> String {
    let runs = text.split(|c: char| !c.is_ascii_digit());
    runs.filter(|run| run.len() == digits).map(str::to_owned).next().expect("the text holds a code")
}

fn verification(told: &Told) -> Uuid {
    told.data["verification_id"].as_str().unwrap().parse().unwrap()
}

/// Asks for a code and reads it off the text.
pub(crate) async fn code_for(scene: &Scene, command: &SendCode) -> (Uuid, String) {
    let (_, told) = scene.send(command).await;
    assert_eq!(told.name, "code_sent", "{}", told.data);
    let texts = scene.twilio.messages().await;
    let mine: Vec<&Value> = texts.iter().filter(|text| text["to"] == json!(command.to)).collect();
    let body = mine.last().unwrap()["body"].as_str().unwrap();
    (verification(&told), code_in(body, usize::from(command.digits.unwrap_or(6))))
}

#[tokio::test]
async fn digits_language_and_length_of_life_are_as_asked() {
    let scene = Scene::new().await;
    for digits in [4, 10] {
        let command = ask(&number(3010 + u32::from(digits)), |a| {
            a.digits = Some(digits);
            a.locale = Some("de-AT".into());
            a.ttl_seconds = Some(90);
        });
        let (id, right) = code_for(&scene, &command).await;
        assert_eq!(right.len(), usize::from(digits));
        let texts = scene.twilio.messages().await;
        let body = texts.last().unwrap()["body"].as_str().unwrap();
        assert!(body.starts_with("Acme: Ihr Code ist") && body.contains("2 Minuten"), "{body}");
        assert_eq!(check(&scene, id, &right).await.name, "code_verified");
    }
    scene.running.stop().await;
}

#[tokio::test]
async fn codes_that_nobody_types_in_raise_an_alarm() {
    let scene = Scene::with(|settings| settings.fraud_least_codes = 4).await;
    for n in 0..4 {
        code_for(&scene, &ask(&number(3400 + n), |_| ())).await;
    }
    // They had their time.
    sqlx::query("update texter.verifications set created_at = created_at - interval '5 minutes'")
        .execute(&scene.stage.db)
        .await
        .unwrap();
    assert!(scene.stage.told().iter().all(|told| told.name != "fraud_suspected"));
    code_for(&scene, &ask(&number(3410), |_| ())).await;
    let alarm = scene.event("fraud_suspected").await;
    assert_eq!((&alarm.data["kind"], &alarm.data["key"]), (&json!("conversion"), &json!("US")));
    assert_eq!((&alarm.data["sent"], &alarm.data["verified"]), (&json!(4), &json!(0)));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_code_is_looked_up_by_its_very_words() {
    let scene = Scene::new().await;
    scene.twilio.next(json!([{ "lose": true }])).await;
    let (id, right) = code_for(&scene, &ask(&number(3500), |_| ())).await;
    assert_eq!(scene.twilio.counts().await, (1, 1));
    assert_eq!(check(&scene, id, &right).await.name, "code_verified");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_code_that_was_asked_for_long_ago_is_not_sent() {
    let scene = Scene::new().await;
    let mut old = async_nats::HeaderMap::new();
    old.insert("ce-time", "2020-01-31T12:00:00Z");
    let body = serde_json::to_vec(&ask(&number(3901), |_| ())).unwrap();
    scene.stage.publish_raw("cmd.texter.codes.send_code.acme", old, body).await;
    let told = scene.stage.event(|told| told.outcome.is_some()).await;
    assert_eq!(code(&told), "stale");
    assert_eq!(scene.twilio.counts().await, (0, 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn bad_questions_are_named() {
    let scene = Scene::new().await;
    for (wrong, expected) in [
        (ask("nonsense", |_| ()), "invalid_number"),
        (ask(&number(3701), |a| a.purpose = Some("Log in".into())), "invalid"),
        (ask(&number(3701), |a| a.ip = Some("localhost".into())), "invalid"),
        (ask(&number(3701), |a| a.digits = Some(3)), "invalid"),
        (ask(&number(3701), |a| a.digits = Some(11)), "invalid"),
    ] {
        let (_, told) = scene.send(&wrong).await;
        assert_eq!((told.outcome, code(&told)), (Some(Outcome::Rejected), expected), "{wrong:?}");
    }
    let nobody = VerifyCode { verification_id: None, to: None, country: None, purpose: None, code: "1".into() };
    let nobody = sealed(&scene.stage, "acme", nobody).await;
    assert_eq!(code(&scene.send(&nobody).await.1), "invalid");
    assert_eq!(scene.twilio.counts().await, (0, 0));
    scene.running.stop().await;
}

/// What a question leaves open: six digits, ten minutes, five sends.
#[tokio::test]
async fn a_code_has_six_digits_and_ten_minutes_and_is_sent_five_times() {
    let scene = Scene::new().await;
    let command = ask(&number(3910), |_| ());
    let (_, told) = scene.send(&command).await;
    assert_eq!((told.name.as_str(), &told.data["digits"]), ("code_sent", &json!(6)));
    let good: f64 =
        sqlx::query_scalar("select extract(epoch from expires_at - created_at)::float8 from texter.verifications")
            .fetch_one(&scene.stage.db)
            .await
            .unwrap();
    assert!((good - 600.0).abs() < 0.001, "{good}");
    let body = scene.twilio.messages().await[0]["body"].as_str().unwrap().to_owned();
    assert!(body.contains("10 minutes"), "{body}");
    for _ in 1..5 {
        assert_eq!(scene.send(&command).await.1.name, "code_sent");
    }
    assert_eq!(code(&scene.send(&command).await.1), "too_many_sends");
    let again: Vec<String> =
        scene.twilio.messages().await.iter().map(|text| code_in(text["body"].as_str().unwrap(), 6)).collect();
    assert_eq!(again, vec![code_in(&body, 6); 5]);
    assert_eq!(scene.spent().await, 5 * 7900);
    scene.running.stop().await;
}

/// A later try says for how much longer the code is good. These words left, and no other text is to be taken for it.
#[tokio::test]
async fn a_code_whose_words_changed_between_two_tries_is_not_taken_for_the_next_one() {
    let scene = Scene::with(|settings| settings.sms_timeout = 20).await;
    let command = ask(&number(3911), |_| ());
    scene.twilio.next(json!([{ "hold": true, "status": 429 }])).await;
    let first = scene.stage.publish("acme", &command).await;
    scene.stage.event(|told| told.name == "cost_booked" && told.causation == first.to_string()).await;
    // Time passes while the first try is out.
    sqlx::query("update texter.verifications set expires_at = expires_at - interval '5 minutes'")
        .execute(&scene.stage.db)
        .await
        .unwrap();
    scene.twilio.release().await;
    let told = scene.stage.outcome(first).await;
    assert_eq!(told.name, "code_sent", "{}", told.data);
    // The next one says the same, and does not arrive at first.
    scene.twilio.next(json!([{ "status": 503 }])).await;
    let (_, told) = scene.send(&command).await;
    assert_eq!(told.name, "code_sent", "{}", told.data);
    let bodies: Vec<Value> = scene.twilio.messages().await.iter().map(|text| text["body"].clone()).collect();
    assert_eq!(bodies[0], bodies[1], "they were to be alike");
    assert_eq!(scene.twilio.counts().await, (4, 2));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_code_that_expires_before_it_could_be_sent_is_refused_and_costs_nothing() {
    let scene = Scene::with(|settings| settings.sms_timeout = 20).await;
    scene.twilio.next(json!([{ "hold": true, "status": 429 }])).await;
    let id = scene.stage.publish("acme", &ask(&number(3912), |_| ())).await;
    scene.stage.event(|told| told.name == "cost_booked" && told.causation == id.to_string()).await;
    let_expire(&scene).await;
    scene.twilio.release().await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, code(&told)), (Some(Outcome::Rejected), "expired"));
    assert_eq!((scene.twilio.counts().await, scene.spent().await), ((1, 0), 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn codes_that_are_typed_in_raise_no_alarm() {
    let scene = Scene::with(|settings| settings.fraud_least_codes = 4).await;
    for n in 0..4 {
        let (id, right) = code_for(&scene, &ask(&number(3420 + n), |_| ())).await;
        if n == 0 {
            assert_eq!(check(&scene, id, &right).await.name, "code_verified");
        }
    }
    sqlx::query("update texter.verifications set created_at = created_at - interval '5 minutes'")
        .execute(&scene.stage.db)
        .await
        .unwrap();
    // A quarter was typed in; the alarm is for less than a fifth. What it says would have come before this.
    let (_, told) = scene.send(&ask(&number(3430), |_| ())).await;
    assert_eq!(told.name, "code_sent");
    assert!(scene.stage.told().iter().all(|told| told.name != "fraud_suspected"));
    scene.running.stop().await;
}

/// Nobody asks again: the code goes all the same, and so does a lockout that counts for nothing any more.
#[tokio::test]
async fn what_has_expired_is_forgotten_by_itself() {
    let scene = Scene::new().await;
    code_for(&scene, &ask(&number(3913), |_| ())).await;
    let (waits, _) = code_for(&scene, &ask(&number(3914), |_| ())).await;
    sqlx::query("update texter.verifications set expires_at = now() - interval '1 second' where verification_id <> $1")
        .bind(waits)
        .execute(&scene.stage.db)
        .await
        .unwrap();
    sqlx::query(
        "insert into texter.lockouts (tenant, recipient, purpose, level, until) values
             ('acme', '+14155553913', 'login', 3, now() - interval '25 hours'),
             ('acme', '+14155553914', 'login', 3, now() - interval '1 hour')",
    )
    .execute(&scene.stage.db)
    .await
    .unwrap();
    // A texter looks when it starts, and from time to time.
    let Scene { stage, twilio, running } = scene;
    running.stop().await;
    let running = stage.run(omnibus_texter::worker(twilio.settings()).unwrap()).await;
    let kept = "select (select array_agg(verification_id) from texter.verifications where code_sealed is not null),
                       (select array_agg(recipient) from texter.lockouts)";
    let forgotten = async {
        loop {
            let (codes, lockouts): (Vec<Uuid>, Vec<String>) = sqlx::query_as(kept).fetch_one(&stage.db).await.unwrap();
            if (codes.as_slice(), lockouts.len()) == (&[waits][..], 1) {
                return lockouts;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let lockouts = tokio::time::timeout(std::time::Duration::from_secs(120), forgotten).await.expect("it is forgotten");
    assert_eq!(lockouts, [number(3914)]);
    running.stop().await;
}
