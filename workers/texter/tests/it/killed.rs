//! `kill -9` of the texter at every point on a text's way. Afterwards the stand-in has taken no text twice, and every
//! command has ended.

use std::collections::BTreeMap;
use std::path::Path;

use omnibus_runtime::clock;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Life, Stage};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::texter::{PutOptOut, SendCode};
use omnibus_schemas::{Catalogue, Command};
use omnibus_texter::{Settings, worker};
use serde_json::json;
use uuid::Uuid;

use crate::checks::check_number;
use crate::codes::code_in;
use crate::scene::{ACCOUNT, FROM, SECRET, TOKEN, Twilio, number, text};

/// The texter as a process.
fn begin(stage: &Stage, twilio: &Twilio, folder: &Path, point: Option<&str>) -> Life {
    let mut texter = tokio::process::Command::new(env!("CARGO_BIN_EXE_texter"));
    texter
        .env("TWILIO_ACCOUNT_SID", ACCOUNT)
        .env("TWILIO_AUTH_TOKEN", TOKEN)
        .env("TWILIO_PHONE_NUMBER", FROM)
        .env("TWILIO_API_URL", &twilio.url)
        .env("SMS_SECRET", SECRET)
        // Long enough for a machine that is busy with something else: what takes longer counts as not arrived.
        .env("SMS_SETTLE_SECONDS", "3")
        .env("SMS_TIMEOUT", "10")
        .env("LEASE_SECONDS", "3")
        .current_dir(folder);
    Life::begin(texter, stage, "texter", point)
}

async fn killed_at(point: &str) -> BTreeMap<&'static str, usize> {
    let postgres = Postgres::shared().await.unwrap();
    let (stage, twilio) = tokio::join!(Stage::with(Catalogue::omnibus(), Life::limits(), postgres), Twilio::start());
    let folder = tempfile::tempdir().unwrap();
    let migrations = worker(Settings { sms_dir: folder.path().into(), ..Settings::defaults() }).unwrap().migrations();
    migrations.unwrap().apply(&stage.db).await.unwrap();
    // Whichever come first: one to be tried again, one refused, one whose answer is lost.
    twilio.next(json!([{ "status": 429 }, { "code": 21614 }, { "lose": true }])).await;
    let mut texts: Vec<(Uuid, String)> = Vec::new();
    for n in 0..6 {
        let to = number(6000 + n);
        texts.push((stage.publish("acme", &text(|t| t.to.clone_from(&to))).await, to));
    }
    // One that waits before it leaves.
    let (to, at) = (number(6050), clock::now() + chrono::Duration::seconds(1));
    let later = text(|t| (t.to, t.send_at) = (to.clone(), Some(at)));
    texts.push((stage.publish("acme", &later).await, to));
    let to = number(6100);
    let coded = to.clone();
    texts.push((stage.publish("acme", &SendCode { to: to.clone(), ..SendCode::example() }).await, to));
    let opt_out = stage.publish("acme", &PutOptOut { number: number(6200), ..PutOptOut::example() }).await;

    begin(&stage, &twilio, folder.path(), Some(point)).killed_at(point).await;
    let _second = begin(&stage, &twilio, folder.path(), None);
    stage.outcome(opt_out).await;
    let mut ended: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (id, to) in &texts {
        let told = stage.outcome(*id).await;
        let taken = twilio.messages().await.iter().filter(|message| message["to"] == json!(to)).count();
        match told.outcome {
            Some(Outcome::Succeeded) => assert_eq!(taken, 1, "{point}: {told:?}"),
            Some(Outcome::Rejected) => assert_eq!(taken, 0, "{point}: {told:?}"),
            _ => panic!("{point}: {told:?}"),
        }
        *ended.entry(if taken == 1 { "sent" } else { "refused" }).or_default() += 1;
    }
    let sum: i64 =
        sqlx::query_scalar("select sum(amount_micro)::bigint from texter.ledger").fetch_one(&stage.db).await.unwrap();
    assert_eq!(sum, 7900 * i64::try_from(ended["sent"]).unwrap(), "{point}: the books are wrong");
    // The books that the events make are the same.
    let told: BTreeMap<String, i64> = stage
        .told()
        .into_iter()
        .filter(|told| told.name == "cost_booked")
        .map(|told| (told.id, told.data["amount_micro"].as_i64().unwrap()))
        .collect();
    assert_eq!(told.values().sum::<i64>(), sum, "{point}: the events tell of other books");
    // The code that left, if it did, is the one that is good.
    let text = twilio.messages().await.into_iter().find(|message| message["to"] == json!(coded));
    if let Some(text) = text {
        let code = code_in(text["body"].as_str().unwrap(), 6);
        assert_eq!(check_number(&stage, "acme", &coded, Some("login"), &code).await.name, "code_verified", "{point}");
    }
    ended
}

macro_rules! points {
    ($($test:ident: $point:literal,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let ended = killed_at($point).await;
            assert_eq!(ended.values().sum::<usize>(), 8, "{ended:?}");
            assert!(ended["sent"] >= 7, "{ended:?}");
        }
    )* };
}

points! {
    no_text_is_sent_twice_when_it_dies_before_the_claim: "before_claim",
    no_text_is_sent_twice_when_it_dies_in_the_handler: "in_handler",
    no_text_is_sent_twice_when_it_dies_before_the_commit: "before_commit",
    no_text_is_sent_twice_when_it_dies_after_the_commit: "after_commit",
    no_text_is_sent_twice_when_it_dies_between_publishes: "between_publishes",
    no_text_is_sent_twice_when_it_dies_before_the_ack: "before_ack",
    no_text_is_sent_twice_when_it_dies_before_the_call: "between_prepare_and_perform",
    no_text_is_sent_twice_when_it_dies_after_the_call: "between_perform_and_record",
    no_text_is_sent_twice_when_it_dies_after_the_record: "after_record",
    no_text_is_sent_twice_when_it_dies_after_a_refusal: "after_refusal",
    no_text_is_sent_twice_when_it_dies_after_the_next_attempt_is_opened: "after_next_attempt",
}
