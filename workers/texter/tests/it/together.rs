//! Texts that come together are written down together, by few statements. In what is written that is to be seen nowhere.

use omnibus_runtime::clock;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::texter::{Category, SendSms, SendTemplate, SetBudget, SmsStats};
use omnibus_schemas::{Catalogue, Command};
use omnibus_texter::worker;
use serde_json::json;
use uuid::Uuid;

use crate::scene::{Scene, Twilio, number, text};

/// Of the texts below, those that leave, and those that wait.
const LEAVE: usize = 10;
const WAIT: usize = 2;

/// Texts of many kinds, and one more than a budget of two texts and a half lets through.
fn texts() -> Vec<(&'static str, SendSms)> {
    let to = |n: u32, change: fn(&mut SendSms)| {
        text(|t| {
            t.to = number(n);
            change(t);
        })
    };
    let acme = [
        to(9401, |_| ()),
        to(9402, |t| t.to = "+4915123456791".into()),
        to(9403, |t| t.body = "a".repeat(161)),
        to(9404, |t| t.category = Category::Marketing),
        to(9405, |t| (t.body, t.smart_encoding) = ("\u{201c}Hello\u{201d}".into(), true)),
        to(9406, |t| t.category = Category::Urgent),
        to(9407, |t| t.send_at = Some(clock::now() + chrono::Duration::hours(2))),
    ];
    let globex = (9411..9415).map(|n| ("globex", to(n, |_| ())));
    acme.into_iter().map(|text| ("acme", text)).chain(globex).collect()
}

async fn rows(stage: &Stage, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query).fetch_all(&stage.db).await.unwrap()
}

/// What is left of all of them: their rows, the ledger, the counts, and what Twilio was handed. Not the times, and not the
/// day, which may end meanwhile.
async fn left_by(settings: WorkSettings) -> [Vec<String>; 4] {
    let (stage, twilio) = tokio::join!(Stage::new(Catalogue::omnibus()), Twilio::start());
    let running = stage.run(worker(twilio.settings()).unwrap()).await;
    let budget = stage.publish("globex", &SetBudget { country: None, daily_micro: 20_000 }).await;
    stage.outcome(budget).await;
    running.stop().await;

    for (n, (tenant, text)) in (1..).zip(texts()) {
        stage.publish_as(Uuid::from_u128(n), tenant, &text).await;
    }
    let template = SendTemplate { to: number(9408), ..SendTemplate::example() };
    stage.publish_as(Uuid::from_u128(100), "acme", &template).await;
    // Those that are out together come back together.
    twilio.next(json!(vec![json!({ "delay_ms": 100 }); LEAVE])).await;
    let running = stage.run_with(worker(twilio.settings()).unwrap(), settings).await;
    let scene = Scene { stage, twilio, running };
    scene.count(LEAVE, |told| told.name == "sms_sent").await;
    while rows(&scene.stage, "select status from texter.messages where status = 'waiting'").await.len() < WAIT {
        tokio::task::yield_now().await;
    }
    let tripped = scene.stage.told().iter().filter(|told| told.name == "spend_fuse_tripped").count();
    assert_eq!(tripped, 1);
    let mut handed: Vec<String> =
        scene.twilio.messages().await.iter().map(|m| format!("{} {} {}", m["to"], m["from"], m["body"])).collect();
    handed.sort();
    let stage = scene.stage;
    scene.running.stop().await;
    let messages = rows(
        &stage,
        "select (to_jsonb(m) - array['queued_at', 'sent_at', 'waits_until', 'provider_id', 'day'])::text
         from texter.messages m order by tenant, message_id",
    )
    .await;
    let ledger = rows(
        &stage,
        "select (to_jsonb(l) - array['booked_at', 'day'])::text from texter.ledger l order by tenant, message_id, number",
    )
    .await;
    let counts = rows(
        &stage,
        "select concat_ws(' ', tenant, country, what, sum(n))
         from (select tenant, country, what, n from texter.deltas
               union all select tenant, country, what, n from texter.tallies) all_of_them
         group by tenant, country, what order by tenant, country, what",
    )
    .await;
    [messages, ledger, counts, handed]
}

#[tokio::test]
async fn texts_that_come_together_leave_what_those_leave_that_come_alone() {
    let together = WorkSettings { loops: 1, ..WorkSettings::defaults() };
    let alone = WorkSettings { batch: 1, loops: 1, in_flight: 1, ..WorkSettings::defaults() };
    let (together, alone) = tokio::join!(left_by(together), left_by(alone));
    for (together, alone) in together.iter().zip(&alone) {
        assert_eq!(together, alone);
    }
    let [messages, ledger, counts, handed] = &together;
    assert_eq!((messages.len(), ledger.len(), handed.len()), (LEAVE + WAIT, LEAVE, LEAVE), "{messages:#?}");
    // A German text and six that went to the United States, one of them in two segments; three of another tenant.
    for line in ["acme DE spend 75000", "acme US spend 55300", "globex US sent 3", "globex US spend 23700"] {
        assert!(counts.iter().any(|count| count == line), "{line}: {counts:#?}");
    }
}

#[tokio::test]
async fn the_rows_of_texts_that_come_at_once_are_written_by_few_statements() {
    const TEXTS: u32 = 20;
    let (stage, twilio) = tokio::join!(Stage::new(Catalogue::omnibus()), Twilio::start());
    // What is out stays out meanwhile, and its rows as they were written first.
    twilio.next(json!(vec![json!({ "delay_ms": 60_000 }); TEXTS as usize])).await;
    for n in 0..TEXTS {
        stage.publish("acme", &text(|t| t.to = number(9430 + n))).await;
    }
    let running = stage.run(worker(twilio.settings()).unwrap()).await;
    // Rows that one statement wrote bear the same numbers.
    let written = loop {
        let (rows, written): (i64, i64) = sqlx::query_as(
            "select count(*), count(distinct xmin::text || '/' || cmin::text)
             from texter.messages",
        )
        .fetch_one(&stage.db)
        .await
        .unwrap();
        if rows == i64::from(TEXTS) {
            break written;
        }
        tokio::task::yield_now().await;
    };
    assert!(written <= i64::from(TEXTS / 2), "{written} statements wrote {TEXTS} texts");
    running.abort().await;
}

#[tokio::test]
async fn what_was_told_meanwhile_of_one_of_many_is_not_overwritten() {
    let (stage, twilio) = tokio::join!(Stage::new(Catalogue::omnibus()), Twilio::start());
    let running = stage.run(worker(twilio.settings()).unwrap()).await;
    running.stop().await;
    // A callback may be quicker than the answer: the row stands further on by then, and is counted.
    sqlx::query(
        "create function texter.meanwhile() returns trigger language plpgsql as $$
         begin
             new.status := 'delivered'; new.provider_id := 'SM1'; new.sent_at := now();
             return new;
         end $$",
    )
    .execute(&stage.db)
    .await
    .unwrap();
    sqlx::query(
        "create trigger meanwhile before insert on texter.messages for each row
         when (new.recipient = '+14155559453') execute function texter.meanwhile()",
    )
    .execute(&stage.db)
    .await
    .unwrap();
    for n in 0..8 {
        stage.publish("acme", &text(|t| t.to = number(9450 + n))).await;
    }
    twilio.next(json!(vec![json!({ "delay_ms": 100 }); 8])).await;
    let running = stage.run(worker(twilio.settings()).unwrap()).await;
    stage.drain().await;
    let told: Vec<String> = stage
        .told()
        .iter()
        .filter(|told| told.name == "sms_sent")
        .map(|told| told.data["status"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told.iter().filter(|status| *status == "delivered").count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|status| *status == "accepted").count(), 7, "{told:?}");
    let delivered: Vec<(String, Option<String>)> =
        sqlx::query_as("select recipient, provider_id from texter.messages where status = 'delivered'")
            .fetch_all(&stage.db)
            .await
            .unwrap();
    assert_eq!(delivered, [(number(9453), Some("SM1".to_owned()))]);
    let stats = stage.ask("texter", "acme", &SmsStats { from: None, to: None }).await.unwrap();
    assert_eq!(stats.days.iter().map(|day| day.sent).sum::<u64>(), 7, "the eighth was counted with its callback");
    running.stop().await;
}
