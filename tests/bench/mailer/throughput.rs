//! Mails a second, with ledger and rows, beside a bare loop over as many connections of lettre's, made as the mailer makes
//! them, and beside lettre's own pool as it is: that leaves Nagle's algorithm on, so each mail's final dot waits for what
//! stands before it to be acknowledged, 40 ms. All send the same text from this process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use omnibus_runtime::local::Postgres;
use omnibus_schemas::Command as _;
use omnibus_schemas::mailer::SendEmail;
use tokio::net::TcpStream;

use super::process::{resident_mib, settings};
use super::sink::Sink;
use super::{POOL, stage};
use crate::figures::{Series, Table};

pub(super) async fn run(postgres: &Postgres, rounds: usize, mails: usize) -> anyhow::Result<Table> {
    let (mut omnibus, mut bare, mut memory) = (Series::default(), Series::default(), Series::default());
    let mut pooled = Series::default();
    for round in 0..=rounds {
        let sink = Sink::start().await?;
        let took = through_the_mailer(postgres, sink.port, mails).await?;
        let alone = with_connections(sink.port, mails).await?;
        // A tenth is enough of what takes longest.
        let of_pool = with_lettre(sink.port, mails / 10).await?;
        if round > 0 {
            pooled.push((mails / 10) as f64 / of_pool.as_secs_f64());
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
            vec!["bare: lettre's connections".into(), bare.to_string(), "1.00".into(), String::new()],
            vec![
                "lettre's pool as it is".into(),
                pooled.to_string(),
                format!("{:.2}", pooled.median() / bare.median()),
                String::new(),
            ],
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

fn mail(n: usize) -> anyhow::Result<Message> {
    let builder = Message::builder().from("office@example.com".parse()?).to(format!("r{n}@example.com").parse()?);
    Ok(builder.subject("Test").body("Hello".to_owned())?)
}

async fn with_connections(port: u16, mails: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let connections = (0..POOL).map(|_| async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut connection =
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &ClientId::default()).await?;
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= mails {
                break;
            }
            let mail = mail(n)?;
            connection.send(mail.envelope(), &mail.formatted()).await?;
        }
        connection.quit().await?;
        anyhow::Ok(())
    });
    try_join_all(connections).await?;
    Ok(began.elapsed())
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
            transport.send(mail(n)?).await?;
            anyhow::Ok(())
        }
    });
    let mut sending = sending.buffer_unordered(POOL as usize);
    while let Some(sent) = sending.next().await {
        sent?;
    }
    Ok(began.elapsed())
}
