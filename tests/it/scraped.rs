//! What Prometheus finds where it looks.

use std::time::Duration;

use omnibus_runtime::metrics::recorder;
use omnibus_runtime::testing::{PATIENCE, Stage};
use omnibus_runtime::{Cx, Events, Fail, Handle, Health, Worker};
use omnibus_schemas::{Catalogue, Command, Domain};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
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
    scraped(|text| wanted.iter().all(|words| sample(text, words).is_some_and(|n| n >= 1.0))).await;
}

/// Weighs a thing: in a domain of this file's own, whose gauges no other test moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
struct Weigh {
    #[garde(skip)]
    thing: String,
}

impl Command for Weigh {
    const DOMAIN: &'static str = "scale";
    const NAME: &'static str = "weigh";
    const SCOPE: &'static str = "scale:weigh";

    fn example() -> Self {
        Weigh { thing: "apple".into() }
    }
}

struct Scale;

impl Handle<Weigh> for Scale {
    async fn handle(&self, _cx: &mut Cx<'_>, _cmd: Weigh) -> Result<Events, Fail> {
        Err(Fail::Snooze(Duration::from_secs(50)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_lane_and_for_how_long_is_told() {
    recorder();
    let stage = Stage::new(Catalogue::new(vec![Domain::new("scale", "Scale").command::<Weigh>()])).await;
    let worker = Worker::new("scale", Scale).handles::<Weigh>().build();
    let running = stage.run(worker).await;
    for thing in ["apple", "pear"] {
        stage.publish("acme", &Weigh { thing: thing.into() }).await;
    }
    let lane = ["domain=\"scale\"", "lane=\"default\""];
    let of = |text: &str, name: &str| sample(text, &[&[name][..], &lane].concat());
    scraped(|text| {
        of(text, "omnibus_queue_pending{") == Some(2.0)
            && of(text, "omnibus_oldest_pending_seconds{").is_some_and(|age| age > 0.0)
            && sample(text, &["omnibus_snoozes_total{", "domain=\"scale\""]).is_some_and(|n| n >= 2.0)
    })
    .await;
    running.stop().await;
}

/// Waits until the page holds what is wanted. Over HTTP, as a scraper looks.
async fn scraped(wanted: impl Fn(&str) -> bool) {
    // A second test of this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stop, page) = (CancellationToken::new(), format!("http://{}/metrics", listener.local_addr().unwrap()));
    let serving = tokio::spawn(Health::default().serve(listener, stop.clone()));
    let told = async {
        while !wanted(&reqwest::get(&page).await.unwrap().text().await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("all are there");
    stop.cancel();
    serving.await.unwrap().unwrap();
}
