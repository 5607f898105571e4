//! What Prometheus finds where it looks.

use std::time::Duration;

use omnibus_runtime::Health;
use omnibus_runtime::metrics::recorder;
use tokio_util::sync::CancellationToken;

use crate::scene::Scene;

/// A line such as `omnibus_commands_total{domain="shop",command="put"} 3` that has all of these words, and its value.
fn sample(text: &str, words: &[&str]) -> Option<f64> {
    let of = |line: &&str| !line.starts_with('#') && words.iter().all(|word| line.contains(word));
    text.lines().find(of)?.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_metrics_tell_what_became_of_its_commands() {
    recorder();
    let scene = Scene::new().await;
    let _running = scene.run().await;
    for how in ["then", "reject", "fail"] {
        let id = scene.put(how).await;
        scene.stage.outcome(id).await;
    }
    let charge = scene.charge("unknown", "cannot_tell").await;
    scene.stage.outcome(charge).await;

    // Over HTTP, as a scraper does.
    let (stop, free) = (CancellationToken::new(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let at = free.local_addr().unwrap();
    drop(free);
    let serving = tokio::spawn(Health::default().serve(at, stop.clone()));
    let wanted: [&[&str]; 11] = [
        &["omnibus_commands_total{", "command=\"put\"", "domain=\"shop\"", "outcome=\"succeeded\""],
        &["omnibus_commands_total{", "command=\"put\"", "domain=\"shop\"", "outcome=\"rejected\""],
        &["omnibus_commands_total{", "command=\"put\"", "domain=\"shop\"", "outcome=\"dead_lettered\""],
        &["omnibus_commands_total{", "command=\"charge\"", "domain=\"shop\"", "outcome=\"held\""],
        &["omnibus_retries_total{", "command=\"put\"", "domain=\"shop\""],
        &["omnibus_handle_seconds_count{", "command=\"put\"", "domain=\"shop\""],
        &["omnibus_event_publish_seconds_count{", "domain=\"shop\""],
        &["omnibus_batch_size_count{", "domain=\"shop\"", "lane=\"default\""],
        &["omnibus_dlq_total{", "command=\"put\"", "code=\"attempts_used_up\"", "domain=\"shop\""],
        &["omnibus_uncertain_total{", "command=\"charge\"", "domain=\"shop\""],
        &["omnibus_up{", "part=\"nats\""],
    ];
    let told = async {
        loop {
            let Ok(answer) = reqwest::get(format!("http://{at}/metrics")).await else {
                tokio::task::yield_now().await;
                continue;
            };
            let text = answer.text().await.unwrap();
            let missing: Vec<_> = wanted.iter().filter(|words| sample(&text, words).is_none_or(|n| n < 1.0)).collect();
            let gauges = ["omnibus_queue_pending{", "omnibus_oldest_pending_seconds{"];
            let gauges =
                gauges.iter().all(|name| sample(&text, &[name, "domain=\"shop\"", "lane=\"default\""]).is_some());
            if missing.is_empty() && gauges {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("all are there");
    stop.cancel();
    serving.await.unwrap().unwrap();
}
