//! One real order, played through twice: over HTTP, and over plain NATS without a single header.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use omnibus_runtime::{Bus, BusSettings, Meta};
use omnibus_schemas::mailer::SendEmail;
use omnibus_schemas::{Command, subject};
use serde_json::Value;

use super::Facts;
use crate::home::Home;
use crate::outcome::Ear;
use crate::{reading, show};

/// The first body that people try.
pub(super) const FIRST_BODY: &str = r#"{"to": ["test@example.com"], "subject": "Test", "body": "Hello"}"#;
/// How long an email may take. One host on the way may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client for our own door, whose certificate may be for another name than 127.0.0.1.
fn client() -> anyhow::Result<reqwest::Client> {
    // A provider that somebody else chose is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build()?)
}

/// Returns when the door says that everything is there.
pub(super) async fn wait_until_ready(url: &str) -> anyhow::Result<()> {
    let (client, until) = (client()?, Instant::now() + Duration::from_secs(30));
    loop {
        let said = match client.get(format!("{url}/readyz")).timeout(Duration::from_secs(5)).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        ensure!(Instant::now() < until, "the HTTP door is not ready: {said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Plays it, and shows what happens.
pub(super) async fn play(facts: &Facts, home: &Home, nats_url: String) -> anyhow::Result<()> {
    let before = facts.mail.as_ref().map(|folder| mails(folder)).unwrap_or_default();
    over_http(facts).await.context("over HTTP")?;
    let between = shown_mails(facts, &before);
    over_nats(facts, home, nats_url).await.context("over NATS")?;
    let after = shown_mails(facts, &before.union(&between).cloned().collect());
    if facts.mail.is_ok() {
        ensure!(!between.is_empty() && !after.is_empty(), "an outcome said sent, but no mail landed");
    }
    Ok(())
}

async fn over_http(facts: &Facts) -> anyhow::Result<()> {
    let route = SendEmail::HTTP.context("the mailer's command has no route")?;
    show::text(&show::bold(&format!("\n1. POST {} {FIRST_BODY}\n", route.path)));
    let request = client()?
        .post(format!("{}{}", facts.url, route.path))
        .bearer_auth(&facts.key)
        .header("content-type", "application/json")
        .header("prefer", format!("wait={}", PATIENCE.as_secs().min(30)))
        .timeout(PATIENCE)
        .body(FIRST_BODY);
    let answer = request.send().await?;
    let status = answer.status();
    let body: Value = answer.json().await.context("the answer is not JSON")?;
    show::text(&format!("{status}\n{}", serde_json::to_string_pretty(&body)?));
    ensure!(status == 200 && body["outcome"] == "succeeded", "the email was not sent");
    Ok(())
}

async fn over_nats(facts: &Facts, home: &Home, nats_url: String) -> anyhow::Result<()> {
    let user = omnibus_bus::tenant_user(facts.tenant.as_str());
    let subject = subject::command(SendEmail::DOMAIN, SendEmail::LANE, SendEmail::NAME, facts.tenant.as_str());
    show::text(&show::bold(&format!("\n2. As the bus user {user}, without a header: {subject} {FIRST_BODY}\n")));
    let connect = |user: String| {
        let settings = BusSettings {
            nats_url: nats_url.clone().into(),
            nats_nkey_file: Some(home.seed(&user)),
            nats_ca_file: None,
        };
        async move { Bus::connect(&settings, &user).await }
    };
    let (tenant, operator) = tokio::try_join!(connect(user), connect("operator".to_owned()))?;
    let mut ear = Ear::open(&tenant, "*", facts.tenant.as_str()).await?;
    let stored = tenant.jetstream().publish(subject, FIRST_BODY.into()).await?.await?;
    show::text(&format!("stored in {} as number {}", stored.stream, stored.sequence));

    // Without an envelope, a command's identity is its place on the bus.
    let stream = operator.jetstream().get_stream_no_info(&stored.stream).await?;
    let message = stream.get_raw_message(stored.sequence).await?;
    let at = reading::stored_at(&message).context("the message has no time")?;
    let (meta, _) = Meta::at(&message.subject, Some(&message.headers), &stored.stream, stored.sequence, at);
    let Some(event) = ear.outcome(&meta.ce_id, PATIENCE).await else {
        bail!("no outcome within {} s; `omnibus trace {}` shows how far it came", PATIENCE.as_secs(), meta.id)
    };
    show::text(&event.line());
    ensure!(event.outcome.as_deref() == Some("succeeded"), "the email was not sent");
    Ok(())
}

/// Shows the mails that were not there before.
fn shown_mails(facts: &Facts, before: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    match &facts.mail {
        Err(server) => {
            show::text(&format!("\nThe mail left by SMTP through {server}."));
            BTreeSet::new()
        }
        Ok(folder) => {
            let new: BTreeSet<_> = mails(folder).difference(before).cloned().collect();
            for mail in &new {
                let text = std::fs::read_to_string(mail).unwrap_or_else(|error| error.to_string());
                let lines: String = text.lines().map(|line| format!("  | {line}\n")).collect();
                show::text(&format!("\nThe mail landed in {}:\n{lines}", mail.display()));
            }
            new
        }
    }
}

fn mails(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "eml")).collect()
}
