//! What the counters say: by tenant, stream, template and day.

use std::collections::BTreeMap;

use omnibus_runtime::clock;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Command;
use omnibus_schemas::mailer::{EmailStats, SendTemplate, StatsRow};
use serde_json::json;

use crate::scene::{done, email, run, stage};
use crate::server::SmtpServer;

fn ask() -> EmailStats {
    EmailStats { from: None, to: None, stream: None, template: None }
}

async fn rows(stage: &Stage, tenant: &str, ask: EmailStats) -> Vec<StatsRow> {
    stage.ask("mailer", tenant, &ask).await.unwrap().rows
}

/// Queued, sent and bounced, by stream and template.
fn sums(rows: &[StatsRow]) -> BTreeMap<(String, String), [u64; 3]> {
    let mut sums = BTreeMap::<_, [u64; 3]>::new();
    for row in rows {
        let key = (row.stream.clone(), row.template.clone().unwrap_or_default());
        let sum = sums.entry(key).or_default();
        for (sum, count) in sum.iter_mut().zip([row.queued, row.sent, row.bounced]) {
            *sum += count;
        }
    }
    sums
}

#[tokio::test]
async fn mails_are_counted_by_tenant_stream_template_and_day() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let welcome = |stream: &str| SendTemplate {
        template: "welcome".into(),
        variables: json!({ "action_url": "https://example.com/" }).as_object().unwrap().clone(),
        stream: stream.into(),
        ..SendTemplate::example()
    };
    let today = clock::now().date_naive();
    for stream in ["marketing", "marketing", "transactional"] {
        done(&stage, "acme", &welcome(stream)).await;
    }
    let both = email(|e| e.to = vec!["a@example.com".into(), "refuse@example.com".into()]);
    done(&stage, "acme", &both).await;
    done(&stage, "globex", &welcome("marketing")).await;

    let key = |stream: &str, template: &str| (stream.to_owned(), template.to_owned());
    let all = rows(&stage, "acme", ask()).await;
    let expected = BTreeMap::from([
        (key("marketing", "welcome"), [2, 2, 0]),
        (key("transactional", "welcome"), [1, 1, 0]),
        (key("transactional", ""), [2, 1, 1]),
    ]);
    assert_eq!(sums(&all), expected);
    // The night may have fallen meanwhile.
    assert!(all.iter().all(|row| row.day == today || row.day == today.succ_opt().unwrap()));
    let foreign = rows(&stage, "globex", ask()).await;
    assert_eq!(sums(&foreign), BTreeMap::from([(key("marketing", "welcome"), [1, 1, 0])]));

    let marketing = EmailStats { stream: Some("marketing".into()), ..ask() };
    assert_eq!(
        sums(&rows(&stage, "acme", marketing).await),
        BTreeMap::from([(key("marketing", "welcome"), [2, 2, 0])])
    );
    let of_template = EmailStats { template: Some("welcome".into()), ..ask() };
    assert_eq!(sums(&rows(&stage, "acme", of_template).await).len(), 2);
    let before = EmailStats { to: today.pred_opt(), ..ask() };
    assert!(rows(&stage, "acme", before).await.is_empty());
    let since = EmailStats { from: Some(today), ..ask() };
    assert_eq!(sums(&rows(&stage, "acme", since).await), expected);
    running.stop().await;
}
