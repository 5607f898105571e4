//! Texts a second through the texter, beside a bare reqwest loop that makes the same POSTs at the same concurrency to the
//! same stand-in for Twilio, which takes its time over each. The backlog is there before the clock starts.

use std::time::{Duration, Instant};

use omnibus_runtime::local::Postgres;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::texter::SendSms;
use omnibus_schemas::{Catalogue, Command};
use omnibus_texter::Settings;

use crate::fake;
use crate::figures::{Series, Table, percentile};

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "token";
const FROM: &str = "+15005550006";
/// Calls at once, for both.
const AT_ONCE: usize = 64;
/// What the stand-in takes for an answer; Twilio takes longer.
const DELAY_MS: u64 = 50;

struct Round {
    rate: f64,
    p99: Option<f64>,
}

pub(crate) async fn run(postgres: &Postgres, rounds: usize, commands: usize) -> anyhow::Result<Table> {
    let (mut omnibus, mut bare, mut p99) = (Series::default(), Series::default(), Series::default());
    for round in 0..=rounds {
        let ours = texter(postgres, commands).await?;
        let theirs = loops(commands).await?;
        if round > 0 {
            omnibus.push(ours.rate);
            bare.push(theirs.rate);
            p99.push(ours.p99.unwrap_or(f64::NAN));
        }
    }
    let row = |name: &str, rate: &Series, p99: String, share: f64| {
        vec![name.to_owned(), rate.to_string(), p99, format!("{share:.2}")]
    };
    let share = omnibus.median() / bare.median();
    Ok(Table {
        title: format!(
            "Texts a second, {commands} waiting, {AT_ONCE} calls at once, {DELAY_MS} ms each: median (least..most) of \
             {rounds} rounds"
        ),
        columns: vec!["", "texts/s", "accepted to 201 at light load, p99 ms", "of bare"],
        rows: vec![
            row("Omnibus", &omnibus, p99.to_string(), share),
            row("bare reqwest loop", &bare, String::new(), 1.0),
        ],
    })
}

/// A stand-in on a free port.
async fn twilio(client: &reqwest::Client) -> anyhow::Result<(String, tokio::task::JoinHandle<std::io::Result<()>>)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(fake::serve(listener, ACCOUNT.to_owned(), TOKEN.to_owned()));
    let slow = serde_json::json!({ "delay_ms": DELAY_MS });
    client.post(format!("{url}/_/always")).json(&slow).send().await?.error_for_status()?;
    Ok((url, task))
}

async fn taken(client: &reqwest::Client, url: &str) -> anyhow::Result<usize> {
    let counts: serde_json::Value = client.get(format!("{url}/_/counts")).send().await?.json().await?;
    Ok(usize::try_from(counts["taken"].as_u64().unwrap_or(0))?)
}

fn number(n: usize) -> String {
    format!("+1{}{:04}", 415_200 + n / 10_000, n % 10_000)
}

async fn texter(postgres: &Postgres, commands: usize) -> anyhow::Result<Round> {
    let client = reqwest::Client::new();
    let (url, task) = twilio(&client).await?;
    let settings = Settings {
        twilio_account_sid: Some(ACCOUNT.into()),
        twilio_auth_token: Some(TOKEN.into()),
        twilio_phone_number: Some(FROM.into()),
        twilio_api_url: url.clone(),
        sms_secret: Some("a secret of the bench, as long as secrets have to be".into()),
        sms_daily_cap: i64::MAX / 20,
        sms_country_cap: i64::MAX / 20,
        ..Settings::defaults()
    };
    let stage = Stage::with(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres).await;
    stage.backlog("acme", commands, |n| SendSms { to: number(n), ..SendSms::example() }).await;
    let work = WorkSettings { in_flight: AT_ONCE as u32, ..WorkSettings::defaults() };
    let worker = omnibus_texter::worker(settings)?;
    let began = Instant::now();
    let running = stage.run_with(worker, work).await;
    loop {
        let (pending, out) = stage.lane("texter", "default").await;
        if pending == 0 && out == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    let counted = taken(&client, &url).await?;
    anyhow::ensure!(counted == commands, "{counted} of {commands} texts were taken");
    // At light load: from the PubAck to the outcome.
    let mut times = Vec::new();
    for n in 0..100 {
        let text = SendSms { to: number(commands + n), ..SendSms::example() };
        let id = stage.publish("acme", &text).await;
        let began = Instant::now();
        stage.outcome(id).await;
        times.push(began.elapsed());
    }
    running.stop().await;
    task.abort();
    Ok(Round { rate: commands as f64 / took.as_secs_f64(), p99: Some(percentile(&mut times, 0.99)) })
}

async fn loops(commands: usize) -> anyhow::Result<Round> {
    let client = reqwest::Client::new();
    let (url, task) = twilio(&client).await?;
    let place = format!("{url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json");
    let next = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let began = Instant::now();
    let loops = (0..AT_ONCE).map(|_| {
        let (client, place, next) = (client.clone(), place.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if n >= commands {
                    return anyhow::Ok(());
                }
                let form = [("To", number(n)), ("From", FROM.to_owned()), ("Body", "Hello".to_owned())];
                let answer = client.post(&place).basic_auth(ACCOUNT, Some(TOKEN)).form(&form).send().await?;
                anyhow::ensure!(answer.status() == reqwest::StatusCode::CREATED, "answered {}", answer.status());
                answer.bytes().await?;
            }
        })
    });
    for one in loops.collect::<Vec<_>>() {
        one.await??;
    }
    let took = began.elapsed();
    task.abort();
    Ok(Round { rate: commands as f64 / took.as_secs_f64(), p99: None })
}
