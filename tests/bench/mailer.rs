//! Mails a second to Postfix's `smtp-sink`, with ledger and rows, beside a bare loop over lettre's own pool with as many
//! connections. Both send the same text.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use futures_util::StreamExt;
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::mailer::SendEmail;
use omnibus_schemas::{Catalogue, Command as _};
use tokio::process::{Child, Command};

use crate::figures::{Series, Table};

/// Connections of both.
const POOL: u32 = 10;

pub(crate) async fn run(postgres: &Postgres, rounds: usize, mails: usize) -> anyhow::Result<Table> {
    let (mut omnibus, mut bare, mut memory) = (Series::default(), Series::default(), Series::default());
    for round in 0..=rounds {
        let sink = Sink::start().await?;
        let took = through_the_mailer(postgres, sink.port, mails).await?;
        let alone = with_lettre(sink.port, mails).await?;
        if round > 0 {
            omnibus.push(mails as f64 / took.as_secs_f64());
            bare.push(mails as f64 / alone.as_secs_f64());
            memory.push(resident_mib());
        }
    }
    let share = format!("{:.2}", omnibus.median() / bare.median());
    Ok(Table {
        title: format!("Mails a second to smtp-sink, {mails} waiting, {POOL} connections: median (least..most) of {rounds} rounds"),
        columns: vec!["", "mails/s", "of bare", "MiB resident"],
        rows: vec![
            vec!["Omnibus, with ledger and rows".into(), omnibus.to_string(), share, memory.to_string()],
            vec!["bare lettre, pooled".into(), bare.to_string(), "1.00".into(), String::new()],
        ],
    })
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    mailer: omnibus_mailer::Settings,
}

/// On a fresh bus and database: the backlog first, then the clock.
async fn through_the_mailer(postgres: &Postgres, port: u16, mails: usize) -> anyhow::Result<Duration> {
    let stage = Stage::with(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres).await;
    stage
        .backlog("acme", mails, |n| SendEmail { to: vec![format!("r{n}@example.com")], ..SendEmail::example() })
        .await;
    let (port, pool) = (port.to_string(), POOL.to_string());
    let settings = Line::parse_from([
        "mailer", "--smtp-host", "127.0.0.1", "--smtp-port", &port, "--smtp-tls", "none", "--smtp-pool", &pool,
        "--from-email", "office@example.com",
    ]);
    let worker = omnibus_mailer::worker(settings.mailer)?;
    let began = Instant::now();
    let running = stage.run(worker).await;
    loop {
        let (pending, out) = stage.lane("mailer", "default").await;
        if pending == 0 && out == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    running.stop().await;
    let sent: i64 = sqlx::query_scalar("select count(*) from mailer.recipients where state = 'sent'")
        .fetch_one(&stage.db)
        .await?;
    anyhow::ensure!(sent == i64::try_from(mails)?, "{sent} of {mails} mails were sent");
    Ok(took)
}

async fn with_lettre(port: u16, mails: usize) -> anyhow::Result<Duration> {
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(port)
        .pool_config(PoolConfig::new().max_size(POOL))
        .build();
    let began = Instant::now();
    let sending = futures_util::stream::iter(0..mails).map(|n| {
        let transport = transport.clone();
        async move {
            let mail = Message::builder()
                .from("office@example.com".parse()?)
                .to(format!("r{n}@example.com").parse()?)
                .subject("Test")
                .body("Hello".to_owned())?;
            transport.send(mail).await?;
            anyhow::Ok(())
        }
    });
    let mut sending = sending.buffer_unordered(POOL as usize);
    while let Some(sent) = sending.next().await {
        sent?;
    }
    Ok(began.elapsed())
}

/// Takes mails and forgets them.
struct Sink {
    port: u16,
    _process: Child,
}

impl Sink {
    async fn start() -> anyhow::Result<Self> {
        let program = program().context(
            "the case `mailer` needs Postfix's smtp-sink: `apt-get install postfix` (it need not run), or put the \
             program on the PATH",
        )?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // As root it wants to be told whom to become.
        let root = nix::unistd::geteuid().is_root();
        let user: &[&str] = if root { &["-u", "nobody"] } else { &[] };
        let process = Command::new(program)
            .args(user)
            .args([&format!("127.0.0.1:{port}"), "1000"])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(Sink { port, _process: process });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("smtp-sink does not listen")
    }
}

/// On the PATH, or where distributions put what only root is thought to need.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join("smtp-sink")).find(|program| program.is_file())
}

/// Of this process, with the worker in it.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(|rest| rest.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}
