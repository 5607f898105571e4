//! What configuration says in place of a handler: how soon a failed try is repeated, and how long one may take.

use std::time::Duration;

use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::Stage;
use omnibus_runtime::{Cx, Events, Fail, Handle, Policy, Worker};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Catalogue, Command, Domain};
use serde::{Deserialize, Serialize};

use crate::scene::Scene;

/// Tries something, to no avail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
struct Try {
    /// Does it hang? Else it fails.
    #[garde(skip)]
    hang: bool,
}

impl Command for Try {
    const DOMAIN: &'static str = "patience";
    const NAME: &'static str = "try";
    const SCOPE: &'static str = "patience:try";

    fn example() -> Self {
        Try { hang: false }
    }
}

struct Patience;

const HOUR: Duration = Duration::from_secs(3600);

impl Handle<Try> for Patience {
    /// Longer than any test waits, unless configuration says otherwise.
    const POLICY: Policy = Policy { attempts: 4, backoff: HOUR, backoff_cap: HOUR, timeout: HOUR };

    async fn handle(&self, _cx: &mut Cx<'_>, cmd: Try) -> Result<Events, Fail> {
        match cmd.hang {
            true => std::future::pending().await,
            false => Err(Fail::Retry(anyhow::anyhow!("it never works"))),
        }
    }
}

async fn stage() -> Stage {
    Stage::new(Catalogue::new(vec![Domain::new("patience", "Patience").command::<Try>()])).await
}

fn worker() -> Worker {
    Worker::new("patience", Patience).handles::<Try>().build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backoff_of_nothing_brings_back_at_once_what_its_handler_would_let_wait() {
    let stage = stage().await;
    for settings in [
        WorkSettings { backoff_seconds: Some(0), ..WorkSettings::defaults() },
        WorkSettings { backoff_cap_seconds: Some(0), ..WorkSettings::defaults() },
    ] {
        let running = stage.run_with(worker(), settings).await;
        let told = stage.outcome(stage.publish("acme", &Try { hang: false }).await).await;
        assert_eq!((told.outcome, told.data["attempts"].as_u64()), (Some(Outcome::DeadLettered), Some(4)));
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_takes_no_longer_than_configuration_lets_it() {
    let stage = stage().await;
    let settings = WorkSettings { attempts: Some(1), timeout_seconds: Some(1), ..WorkSettings::defaults() };
    let running = stage.run_with(worker(), settings).await;
    let told = stage.outcome(stage.publish("acme", &Try { hang: true }).await).await;
    let detail = told.data["detail"].as_str();
    assert_eq!((told.outcome, detail), (Some(Outcome::DeadLettered), Some("the handler took longer than 1s")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_a_call() {
    let scene = Scene::new().await;
    // The shop would wait for two minutes.
    let _running = scene.run_with(|settings| settings.timeout_seconds = Some(1)).await;
    let id = scene.charge("hang", "").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.data["detail"].as_str()), (Some(Outcome::Held), Some("no result within 1s")));
}
