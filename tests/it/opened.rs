//! A door on a stage, with a key of acme's that may do everything.

use std::time::Duration;

use omnibus_ingest::{Door, DoorParts, Settings, keys};
use omnibus_runtime::Health;
use omnibus_runtime::testing::{PATIENCE, Stage};
use reqwest::{Method, RequestBuilder, StatusCode};
use tokio_util::sync::CancellationToken;

pub(crate) struct Opened {
    pub(crate) url: String,
    pub(crate) key: String,
    client: reqwest::Client,
    _stop: tokio_util::sync::DropGuard,
}

impl Opened {
    pub(crate) async fn on(stage: &Stage) -> Self {
        // A second test of this process finds the provider installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stop = CancellationToken::new();
        let settings = Settings {
            rate_limit_ip: 0,
            rate_limit_tenant: 0,
            // A busy machine is not a mute worker.
            query_timeout_seconds: 60,
            publish_timeout_seconds: 60,
            ..Settings::on_a_free_port()
        };
        let parts = DoorParts {
            bus: stage.connect("ingest").await,
            catalogue: stage.catalogue().clone(),
            settings,
            beside: None,
            health: Health::default(),
            stop: stop.clone(),
        };
        let door = Door::new(parts).await.unwrap();
        let url = door.url();
        tokio::spawn(door.serve());
        let (key, record) = keys::mint(&"acme".parse().unwrap(), "test", ["*"], None);
        keys::put(stage.operator.jetstream(), &key, &record).await.unwrap();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let opened = Opened { url, key: key.expose().to_owned(), client, _stop: stop.drop_guard() };
        let heard = async {
            while opened.ask(Method::GET, "/api/v1/commands/none").send().await.unwrap().status()
                == StatusCode::UNAUTHORIZED
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("the door hears of the key");
        opened
    }

    /// With the key.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.visit(method, path).bearer_auth(&self.key)
    }

    /// Without any credential.
    pub(crate) fn visit(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }
}
