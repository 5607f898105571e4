//! What the mailer's process holds while many mails pass through it. Flat is what it must be: nothing is kept of a mail that
//! has left.

use std::time::{Duration, Instant};

use anyhow::ensure;
use omnibus_runtime::local::Postgres;
use omnibus_schemas::Command as _;
use omnibus_schemas::mailer::SendEmail;

use super::process::Mailer;
use super::sink::Sink;
use super::stage;
use crate::figures::Table;

/// Rows of the table.
const STEPS: usize = 10;
/// Mails that are published before the last of them have left.
const AHEAD: usize = 5000;

pub(super) async fn run(postgres: &Postgres, mails: usize) -> anyhow::Result<Table> {
    let (stage, sink) = (stage(postgres).await, Sink::start().await?);
    let mailer = Mailer::start(&stage, sink.port).await?;
    let began = Instant::now();
    let (mut published, mut measured) = (0, vec![]);
    while measured.len() < STEPS {
        let (pending, out) = stage.lane("mailer", "default").await;
        let left = published - (pending as usize + out).min(published);
        while measured.len() < STEPS && left >= mails * (measured.len() + 1) / STEPS {
            measured.push((mails * (measured.len() + 1) / STEPS, began.elapsed(), mailer.resident()?));
        }
        let more = (mails - published).min(AHEAD.saturating_sub(published - left));
        if more >= AHEAD / 5 || (more > 0 && published + more == mails) {
            let to =
                |n: usize| SendEmail { to: vec![format!("r{}@example.com", published + n)], ..SendEmail::example() };
            stage.backlog("acme", more, to).await;
            published += more;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        ensure!(began.elapsed() < Duration::from_secs(1800), "{left} of {mails} mails have left in half an hour");
    }
    let sent: i64 =
        sqlx::query_scalar("select count(*) from mailer.recipients where state = 'sent'").fetch_one(&stage.db).await?;
    ensure!(sent == i64::try_from(mails)?, "{sent} of {mails} mails were sent");
    let second = measured.get(1).map_or(f64::NAN, |(_, _, mib)| *mib);
    let row = |(mails, took, mib): &(usize, Duration, f64)| {
        let rate = *mails as f64 / took.as_secs_f64();
        vec![mails.to_string(), format!("{rate:.0}"), format!("{mib:.1}"), format!("{:.2}", mib / second)]
    };
    Ok(Table {
        title: format!("Memory of the mailer's process while {mails} mails pass"),
        columns: vec!["mails that have left", "mails/s until then", "MiB resident", "of that at 20 %"],
        rows: measured.iter().map(row).collect(),
    })
}
