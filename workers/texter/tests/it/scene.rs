//! A stage with the texter at work, and a Twilio that counts.

use std::process::Stdio;

use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Running, Stage, Told};
use omnibus_schemas::platform::{Resolution, ResolveHeld};
use omnibus_schemas::texter::{SendSms, SmsReport, SmsState, SmsStatus};
use omnibus_schemas::{Catalogue, Command};
use omnibus_texter::{Settings, worker};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use uuid::Uuid;

pub(crate) const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
pub(crate) const TOKEN: &str = "quiettoken0123456789";
pub(crate) const SECRET: &str = "quietsecret0123456789abcdef0123456789";
pub(crate) const FROM: &str = "+15005550006";
/// A messaging service.
pub(crate) const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";
pub(crate) const PUBLIC: &str = "https://api.example.com/base";

/// A running fake. It ends with this.
pub(crate) struct Twilio {
    pub(crate) url: String,
    http: reqwest::Client,
    _process: Child,
}

impl Twilio {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Examples are built beside the tests: target/<profile>/deps/it-... and target/<profile>/examples/twilio-fake.
        let here = std::env::current_exe().unwrap();
        let program = here.ancestors().nth(2).unwrap().join("examples/twilio-fake");
        let mut process = tokio::process::Command::new(&program)
            .args([ACCOUNT, TOKEN])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo test` builds it", program.display()));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines.next_line().await.unwrap().expect("the fake prints its address");
        Twilio { url, http: reqwest::Client::new(), _process: process }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or_default()
    }

    /// How the next POSTs go.
    pub(crate) async fn next(&self, manners: Value) {
        self.post("/_/next", &manners).await;
    }

    /// A POST that is held goes on.
    pub(crate) async fn release(&self) {
        self.post("/_/release", &json!({})).await;
    }

    /// A message moves on; the receiver's answers to the callbacks.
    pub(crate) async fn tell(&self, told: Value) -> Value {
        self.post("/_/tell", &told).await
    }

    pub(crate) async fn inbound(&self, text: Value) -> Value {
        self.post("/_/inbound", &text).await
    }

    pub(crate) async fn messages(&self) -> Vec<Value> {
        self.http.get(format!("{}/_/messages", self.url)).send().await.unwrap().json().await.unwrap()
    }

    /// POSTs that came, messages that were taken.
    pub(crate) async fn counts(&self) -> (u64, u64) {
        let counts: Value = self.http.get(format!("{}/_/counts", self.url)).send().await.unwrap().json().await.unwrap();
        (counts["posts"].as_u64().unwrap(), counts["taken"].as_u64().unwrap())
    }

    /// Settings that lead here, with short waits.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            twilio_account_sid: Some(ACCOUNT.into()),
            twilio_auth_token: Some(TOKEN.into()),
            twilio_phone_number: Some(FROM.into()),
            twilio_api_url: self.url.clone(),
            sms_secret: Some(SECRET.into()),
            sms_public_url: Some(PUBLIC.into()),
            sms_settle_seconds: 1,
            sms_timeout: 3,
            ..Settings::defaults()
        }
    }
}

/// A stage, the fake, and the texter at work between them.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) twilio: Twilio,
    pub(crate) running: Running,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Scene::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let (stage, twilio) = tokio::join!(Stage::new(Catalogue::omnibus()), Twilio::start());
        let mut settings = twilio.settings();
        change(&mut settings);
        // A call whose end nobody saw is taken up again after the lease. One loop: of a lane, commands are decided in the
        // order in which they are published.
        let work = WorkSettings { loops: 1, lease_seconds: 1, ..WorkSettings::defaults() };
        let running = stage.run_with(worker(settings).unwrap(), work).await;
        Scene { stage, twilio, running }
    }

    /// Sends, and waits for the outcome.
    pub(crate) async fn send<C: Command>(&self, command: &C) -> (Uuid, Told) {
        let id = self.stage.publish("acme", command).await;
        (id, self.stage.outcome(id).await)
    }

    /// Waits for an event of this name that this command or message is about.
    pub(crate) async fn event(&self, name: &str) -> Told {
        self.stage.event(|told| told.name == name).await
    }

    /// Waits until so many of these were told.
    pub(crate) async fn count(&self, times: usize, wanted: impl Fn(&Told) -> bool) {
        let mut seen: Vec<String> = Vec::new();
        while seen.len() < times {
            let told = self.stage.event(|told| wanted(told) && !seen.contains(&told.id)).await;
            seen.push(told.id);
        }
    }

    pub(crate) async fn status(&self, id: Uuid) -> SmsReport {
        self.stage.ask("texter", "acme", &SmsStatus { message_id: id }).await.unwrap()
    }

    /// The report of a text, once it says that it waits.
    pub(crate) async fn waiting(&self, id: Uuid) -> SmsReport {
        loop {
            match self.stage.ask("texter", "acme", &SmsStatus { message_id: id }).await {
                Ok(report) if report.status == SmsState::Waiting => return report,
                Ok(report) => assert_eq!(report.status, SmsState::Queued, "it waits no longer"),
                Err((404, _)) => {}
                Err(error) => panic!("{error:?}"),
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn resolve(&self, id: Uuid, resolution: Resolution) {
        let decision = ResolveHeld { command_id: id, resolution, note: "looked into the console".into() };
        let commands = self.stage.catalogue().clone();
        let entry = commands.commands().find(|c| c.domain == "texter" && c.name == "resolve_held").unwrap();
        let body = serde_json::to_vec(&decision).unwrap();
        self.stage.publish_raw(&entry.subject("acme"), Default::default(), body).await;
    }

    /// Everything that was ever booked for acme.
    pub(crate) async fn spent(&self) -> i64 {
        let sums = "select coalesce(sum(amount_micro), 0)::bigint from texter.ledger where tenant = 'acme'";
        sqlx::query_scalar(sums).fetch_one(&self.stage.db).await.unwrap()
    }
}

/// A text, changed.
pub(crate) fn text(change: impl FnOnce(&mut SendSms)) -> SendSms {
    let mut text = SendSms::example();
    change(&mut text);
    text
}

/// A number of the United States that nobody else in this test uses.
pub(crate) fn number(n: u32) -> String {
    format!("+1415555{n:04}")
}

/// The code of a rejection.
pub(crate) fn code(told: &Told) -> &str {
    told.data["code"].as_str().unwrap_or_default()
}
