//! One-time codes that are typed in: who is believed, how often, and where no code may ever stand.

use futures_util::future::join_all;
use omnibus_runtime::testing::{Stage, Told};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::texter::{SealCode, SealedCode, VerifyCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::codes::{ask, code_for, code_in, let_expire};
use crate::scene::{Scene, code, number};

/// What somebody typed, as the door passes it on: sealed.
pub(crate) async fn sealed(stage: &Stage, tenant: &str, typed: VerifyCode) -> VerifyCode {
    let VerifyCode { verification_id, to, country, purpose, code } = typed.clone();
    let seal = SealCode { verification_id, to, country, purpose, code };
    let SealedCode { code } = stage.ask("texter", tenant, &seal).await.unwrap();
    VerifyCode { code, ..typed }
}

fn unsealed(verification: Uuid, typed: &str) -> VerifyCode {
    VerifyCode { verification_id: Some(verification), to: None, country: None, purpose: None, code: typed.to_owned() }
}

pub(crate) async fn check(scene: &Scene, verification: Uuid, typed: &str) -> Told {
    let command = sealed(&scene.stage, "acme", unsealed(verification, typed)).await;
    scene.send(&command).await.1
}

/// As [`check`], by number.
pub(crate) async fn check_number(stage: &Stage, tenant: &str, to: &str, purpose: Option<&str>, typed: &str) -> Told {
    let purpose = purpose.map(str::to_owned);
    let typed = VerifyCode { verification_id: None, to: Some(to.into()), country: None, purpose, code: typed.into() };
    let command = sealed(stage, tenant, typed).await;
    let id = stage.publish(tenant, &command).await;
    stage.outcome(id).await
}

/// Waits until the lane has answered for everything: what is taken out of the stream is gone then.
async fn nothing_is_out(scene: &Scene) {
    while scene.stage.lane("texter", "checks").await.1 > 0 {
        tokio::task::yield_now().await;
    }
}

/// A code that is not this one.
fn wrong(right: &str) -> String {
    right.chars().map(|c| if c == '9' { '0' } else { (c as u8 + 1) as char }).collect()
}

#[tokio::test]
async fn a_code_is_good_once() {
    let scene = Scene::new().await;
    let (id, right) = code_for(&scene, &ask(&number(3001), |_| ())).await;
    let told = check(&scene, id, &right).await;
    assert_eq!((told.name.as_str(), &told.data["verified"]), ("code_verified", &json!(true)));
    assert_eq!(told.outcome, Some(Outcome::Succeeded));
    let again = check(&scene, id, &right).await;
    assert_eq!((again.name.as_str(), &again.data["verified"]), ("code_failed", &json!(false)));
    scene.running.stop().await;
}

#[tokio::test]
async fn by_number_too_and_for_its_purpose_and_tenant_only() {
    let scene = Scene::new().await;
    let to = number(3002);
    let (id, right) = code_for(&scene, &ask(&to, |a| a.purpose = Some("payout".into()))).await;
    assert_eq!(check_number(&scene.stage, "acme", &to, None, &right).await.name, "code_failed");
    assert_eq!(check(&scene, id, &right).await.name, "code_failed");
    assert_eq!(check_number(&scene.stage, "globex", &to, Some("payout"), &right).await.name, "code_failed");
    assert_eq!(check_number(&scene.stage, "acme", &to, Some("payout"), &right).await.name, "code_verified");
    scene.running.stop().await;
}

/// The outcomes of a thousand such checks at once.
async fn a_thousand(scene: &Scene, command: &VerifyCode) -> Vec<Told> {
    let sent = join_all((0..1000).map(|_| scene.stage.publish("acme", command))).await;
    let mut told = Vec::new();
    for id in sent {
        told.push(scene.stage.outcome(id).await);
    }
    told
}

#[tokio::test]
async fn of_a_thousand_checks_at_once_one_is_right_and_five_are_compared() {
    let scene = Scene::new().await;
    let (id, right) = code_for(&scene, &ask(&number(3003), |_| ())).await;
    let command = sealed(&scene.stage, "acme", unsealed(id, &right)).await;
    let told = a_thousand(&scene, &command).await;
    assert_eq!(told.iter().filter(|told| told.name == "code_verified").count(), 1);
    assert_eq!(told.iter().filter(|told| told.name == "code_failed").count(), 999);

    // The same with wrong ones and the right one last.
    let (id, right) = code_for(&scene, &ask(&number(3004), |_| ())).await;
    let command = sealed(&scene.stage, "acme", unsealed(id, &wrong(&right))).await;
    let told = a_thousand(&scene, &command).await;
    assert!(told.iter().all(|told| told.name == "code_failed"));
    assert_eq!(check(&scene, id, &right).await.name, "code_failed");
    let row: (i32, String) =
        sqlx::query_as("select checks, status from texter.verifications where verification_id = $1")
            .bind(id)
            .fetch_one(&scene.stage.db)
            .await
            .unwrap();
    assert_eq!(row, (5, "used_up".to_owned()));
    scene.running.stop().await;
}

#[tokio::test]
async fn sent_once_more_it_is_the_same_code_and_no_check_is_given_back() {
    let scene = Scene::new().await;
    let command = ask(&number(3005), |_| ());
    let (id, first) = code_for(&scene, &command).await;
    for _ in 0..3 {
        assert_eq!(check(&scene, id, &wrong(&first)).await.name, "code_failed");
    }
    let (again, second) = code_for(&scene, &command).await;
    assert_eq!((again, &second), (id, &first));
    for _ in 0..2 {
        assert_eq!(check(&scene, id, &wrong(&first)).await.name, "code_failed");
    }
    assert_eq!(check(&scene, id, &first).await.name, "code_failed", "five checks were used up before");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_number_whose_checks_are_used_up_waits_longer_each_time() {
    let scene = Scene::new().await;
    let command = ask(&number(3006), |_| ());
    for seconds in [60, 120, 240] {
        let (id, right) = code_for(&scene, &command).await;
        for _ in 0..5 {
            check(&scene, id, &wrong(&right)).await;
        }
        let (_, told) = scene.send(&command).await;
        assert_eq!(code(&told), "locked_out");
        let left: f64 = sqlx::query_scalar(
            "select extract(epoch from until - now())::float8 from texter.lockouts where tenant = 'acme'",
        )
        .fetch_one(&scene.stage.db)
        .await
        .unwrap();
        assert!((left - f64::from(seconds)).abs() < 20.0, "{left} instead of {seconds}");
        // Another purpose and another tenant don't wait.
        assert_eq!(
            scene.send(&ask(&command.to, |a| a.purpose = Some(format!("p{seconds}")))).await.1.name,
            "code_sent"
        );
        sqlx::query("update texter.lockouts set until = now()").execute(&scene.stage.db).await.unwrap();
    }
    scene.running.stop().await;
}

#[tokio::test]
async fn a_code_that_is_too_old_is_not_good() {
    let scene = Scene::new().await;
    let (id, right) = code_for(&scene, &ask(&number(3007), |_| ())).await;
    let_expire(&scene).await;
    assert_eq!(check(&scene, id, &right).await.name, "code_failed");
    // A new one begins.
    let (next, _) = code_for(&scene, &ask(&number(3007), |_| ())).await;
    assert_ne!(next, id);
    scene.running.stop().await;
}

#[tokio::test]
async fn an_answer_does_not_tell_whether_there_is_such_a_verification() {
    let scene = Scene::new().await;
    let (id, right) = code_for(&scene, &ask(&number(3008), |_| ())).await;
    let known = check_number(&scene.stage, "acme", &number(3008), None, &wrong(&right)).await;
    let unknown = check_number(&scene.stage, "acme", &number(3999), None, &wrong(&right)).await;
    assert_eq!((known.name, known.data), (unknown.name, unknown.data));
    let one = check(&scene, id, &wrong(&right)).await;
    let other = check(&scene, Uuid::from_u128(7), &wrong(&right)).await;
    let without_id = |mut data: Value| {
        data.as_object_mut().unwrap().remove("verification_id");
        data
    };
    assert_eq!(without_id(one.data), without_id(other.data));
    scene.running.stop().await;
}

#[tokio::test]
async fn who_lets_a_code_expire_gets_no_checks_back() {
    let scene = Scene::new().await;
    let command = ask(&number(3801), |_| ());
    let (first, right) = code_for(&scene, &command).await;
    for _ in 0..4 {
        assert_eq!(check(&scene, first, &wrong(&right)).await.name, "code_failed");
    }
    let_expire(&scene).await;
    let (second, right) = code_for(&scene, &command).await;
    assert_ne!(second, first);
    // The fifth of a day, though the first of this code.
    assert_eq!(check(&scene, second, &wrong(&right)).await.name, "code_failed");
    assert_eq!(check(&scene, second, &right).await.name, "code_failed");
    assert_eq!(code(&scene.send(&command).await.1), "locked_out");
    // What was wrong long ago is forgiven, and so is everything once somebody has typed the right one.
    let forgiven = ask(&number(3802), |_| ());
    let (old, right) = code_for(&scene, &forgiven).await;
    for _ in 0..4 {
        check(&scene, old, &wrong(&right)).await;
    }
    sqlx::query("update texter.verifications set expires_at = now() - interval '25 hours' where verification_id = $1")
        .bind(old)
        .execute(&scene.stage.db)
        .await
        .unwrap();
    let (new, right) = code_for(&scene, &forgiven).await;
    assert_eq!(check(&scene, new, &wrong(&right)).await.name, "code_failed");
    assert_eq!(check(&scene, new, &right).await.name, "code_verified");
    scene.running.stop().await;
}

/// With the secret alone nobody can tell a code, and with the rows alone neither.
#[tokio::test]
async fn a_code_is_drawn_and_not_worked_out_and_goes_with_its_verification() {
    let scene = Scene::new().await;
    let (id, right) = code_for(&scene, &ask(&number(3902), |_| ())).await;
    let kept = "select code_sealed from texter.verifications where verification_id = $1";
    let row: Option<String> = sqlx::query_scalar(kept).bind(id).fetch_one(&scene.stage.db).await.unwrap();
    assert!(row.is_some());
    assert_eq!(check(&scene, id, &right).await.name, "code_verified");
    let row: Option<String> = sqlx::query_scalar(kept).bind(id).fetch_one(&scene.stage.db).await.unwrap();
    assert_eq!(row, None);
    scene.running.stop().await;
}

#[tokio::test]
async fn what_is_typed_unsealed_is_refused_uncounted_and_taken_out_of_the_stream() {
    let scene = Scene::new().await;
    let (id, right) = code_for(&scene, &ask(&number(3903), |_| ())).await;
    for _ in 0..6 {
        let (_, told) = scene.send(&unsealed(id, &right)).await;
        assert_eq!((told.outcome, code(&told)), (Some(Outcome::Rejected), "code_not_sealed"));
        assert!(told.data["detail"].as_str().unwrap().contains("/2fa/seal"), "{}", told.data);
    }
    assert_eq!(check(&scene, id, &right).await.name, "code_verified");
    nothing_is_out(&scene).await;
    let kept = everything_kept(&scene).await;
    assert_eq!(
        kept.iter().filter(|(place, text)| place.starts_with("CMD_TEXTER") && text.contains("verify_code")).count(),
        1
    );
    scene.running.stop().await;
}

/// Everything that is kept anywhere: rows of every table, and every message of every stream.
async fn everything_kept(scene: &Scene) -> Vec<(String, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_schema || '.' || table_name from information_schema.tables where table_schema in ('bus', 'texter')",
    )
    .fetch_all(&scene.stage.db)
    .await
    .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let statement = format!(
            "select coalesce(string_agg(convert_from(t.r::text::bytea, 'UTF8'), ' '), '') from (select x::text as r from {table} x) t"
        );
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(&scene.stage.db).await.unwrap();
        // A bytea is written in hex.
        all.push((format!("{table} as text"), unhexed(&rows)));
        all.push((table, rows));
    }
    let js = scene.stage.operator.jetstream();
    for stream in ["CMD_TEXTER", "EVT", "DLQ", "SCHEDULE"] {
        let mut stream_of = js.get_stream(stream).await.unwrap();
        let last = stream_of.info().await.unwrap().state.last_sequence;
        for sequence in 1..=last {
            if let Ok(message) = stream_of.get_raw_message(sequence).await {
                let text = format!("{} {}", message.subject, String::from_utf8_lossy(&message.payload));
                all.push((format!("{stream} {sequence}"), text));
            }
        }
    }
    all
}

/// `\x4142` in a row's text is `AB`.
fn unhexed(rows: &str) -> String {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().take_while(u8::is_ascii_hexdigit).collect();
        digits.chunks_exact(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    };
    rows.split("\\x").skip(1).map(|hex| String::from_utf8_lossy(&bytes(hex)).into_owned()).collect()
}

#[tokio::test]
async fn a_code_stands_in_no_table_and_no_stream() {
    let scene = Scene::with(|settings| settings.sms_timeout = 20).await;
    // One is sent and waits, one is lost on the way, one is refused and gone.
    let command = |n| ask(&number(n), |a| a.digits = Some(10));
    let (_, waiting) = code_for(&scene, &command(3601)).await;
    scene.twilio.next(json!([{ "status": 429 }, { "lose": true }])).await;
    let (lost_id, lost) = code_for(&scene, &command(3602)).await;
    assert_eq!(check(&scene, lost_id, &lost).await.name, "code_verified");
    // And one is typed by somebody who writes to the bus as it is.
    let (bare_id, bare) = code_for(&scene, &command(3604)).await;
    assert_eq!(code(&scene.send(&unsealed(bare_id, &bare)).await.1), "code_not_sealed");
    let nonsense = format!(r#"{{"verification_id": "{bare_id}", "code": {bare}}}"#);
    scene.stage.publish_raw("cmd.texter.checks.verify_code.acme", Default::default(), nonsense).await;
    scene.stage.event(|told| told.outcome == Some(Outcome::DeadLettered)).await;
    nothing_is_out(&scene).await;
    // And one is out just now: its plan stands in the ledger.
    scene.twilio.next(json!([{ "hold": true }])).await;
    let out = scene.stage.publish("acme", &command(3603)).await;
    scene.stage.event(|told| told.name == "cost_booked" && told.causation == out.to_string()).await;
    let kept = everything_kept(&scene).await;
    let plans = kept.iter().find(|(place, _)| place == "bus.attempts as text").unwrap();
    assert!(plans.1.contains("two_factor"), "the plan was not looked at");
    scene.twilio.release().await;
    scene.stage.outcome(out).await;
    let texts = scene.twilio.messages().await;
    let out = code_in(texts.last().unwrap()["body"].as_str().unwrap(), 10);
    assert!(kept.iter().any(|(place, text)| place.starts_with("CMD_TEXTER") && text.contains("verify_code")));
    assert!(kept.iter().any(|(_, text)| text.contains("two_factor")), "nothing was looked through");
    for right in [waiting, lost, bare, out] {
        let place = kept.iter().find(|(_, text)| text.contains(&right));
        assert_eq!(place.map(|(place, _)| place), None, "{right}");
    }
    scene.running.stop().await;
}

/// A full stream of dead letters lets the command go without its letter, which follows when there is room.
#[tokio::test]
async fn what_is_typed_unsealed_is_taken_out_of_the_stream_also_while_its_dead_letter_finds_no_room() {
    let scene = Scene::new().await;
    let (id, right) = code_for(&scene, &ask(&number(3906), |_| ())).await;
    let js = scene.stage.operator.jetstream();
    let letters = js.get_stream("DLQ").await.unwrap().cached_info().config.clone();
    js.update_stream(async_nats::jetstream::stream::Config { max_messages: 1, ..letters }).await.unwrap();
    js.publish("dlq.texter.verify_code.acme", "the last that fits".into()).await.unwrap().await.unwrap();
    let subject = "cmd.texter.checks.verify_code.acme";
    let nonsense = format!(r#"{{"verification_id": "{id}", "code": {right}}}"#);
    scene.stage.publish_raw(subject, Default::default(), nonsense).await;
    let stream = js.get_stream("CMD_TEXTER").await.unwrap();
    assert!(stream.get_last_raw_message_by_subject(subject).await.is_ok());
    let gone = async {
        while stream.get_last_raw_message_by_subject(subject).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), gone).await.expect("it is taken out");
    scene.running.stop().await;
}
