//! Mails a second, with ledger and rows, beside a bare loop over lettre's own pool with as many connections. Both send the
//! same text from this process.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use omnibus_runtime::local::Postgres;
use omnibus_schemas::Command as _;
use omnibus_schemas::mailer::SendEmail;

use super::process::{resident_mib, settings};
use super::sink::Sink;
use super::{POOL, stage};
use crate::figures::{Series, Table};

pub(super) async fn run(postgres: &Postgres, rounds: usize, mails: usize) -> anyhow::Result<Table> {
    let (mut omnibus, mut bare, mut memory) = (Series::default(), Series::default(), Series::default());
    for round in 0..=rounds {
        let sink = Sink::start().await?;
        let took = through_the_mailer(postgres, sink.port, mails).await?;
        let alone = with_lettre(sink.port, mails).await?;
        if round > 0 {
            omnibus.push(mails as f64 / took.as_secs_f64());
            bare.push(mails as f64 / alone.as_secs_f64());
            memory.push(resident_mib("self"));
        }
    }
    let share = format!("{:.2} (goal 0.6)", omnibus.median() / bare.median());
    Ok(Table {
        title: format!(
            "Mails a second to smtp-sink, {mails} waiting, {POOL} connections: median (least..most) of {rounds} rounds"
        ),
        columns: vec!["", "mails/s", "of bare", "MiB resident"],
        rows: vec![
            vec!["Omnibus, with ledger and rows".into(), omnibus.to_string(), share, memory.to_string()],
            vec!["bare lettre, pooled".into(), bare.to_string(), "1.00".into(), String::new()],
        ],
    })
}

/// On a fresh bus and database: the backlog first, then the clock.
async fn through_the_mailer(postgres: &Postgres, port: u16, mails: usize) -> anyhow::Result<Duration> {
    let stage = stage(postgres).await;
    stage.backlog("acme", mails, |n| SendEmail { to: vec![format!("r{n}@example.com")], ..SendEmail::example() }).await;
    let worker = omnibus_mailer::worker(settings(port))?;
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
    let sent: i64 =
        sqlx::query_scalar("select count(*) from mailer.recipients where state = 'sent'").fetch_one(&stage.db).await?;
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
