//! Orders a second through the commissioner, each with two levels of commission; the memory that takes; the books worked
//! out again afterwards; and how long an order takes to be a visible commission at light load.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::commissioner::{CheckLedger, LedgerHealth, OrderLine, RecordOrder, RegisterPartner, SetProgram};
use omnibus_schemas::{Catalogue, Command, headers};

use crate::figures::{Series, Table, percentile};

/// Sellers; each stands below a parent of its own.
const SELLERS: usize = 200;
/// Orders a second at light load.
const RATE: u64 = 100;

pub(crate) async fn run(postgres: &Postgres, rounds: usize, seconds: u64, orders: usize) -> anyhow::Result<Table> {
    let (mut speed, mut memory, mut grown, mut checked) =
        (Series::default(), Series::default(), Series::default(), Series::default());
    let (mut p50, mut p99) = (Series::default(), Series::default());
    for _ in 0..rounds.max(1) {
        // What is listened to would be kept: a million orders are three million events.
        let scenery = Scenery { deaf: true, ..Scenery::default() };
        let stage = Stage::set(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres, scenery).await;
        let dir = tempfile::tempdir()?;
        let running = stage.run(worker(dir.path())?).await;
        let codes = partners(&stage).await?;
        running.stop().await;
        let order = |n: usize| RecordOrder {
            order_id: format!("{n:09}"),
            customer_id: format!("c{n}"),
            code: Some(codes[n % codes.len()].clone()),
            lines: vec![OrderLine {
                line_id: "1".into(),
                amount: 1_000 + (n as i64 * 7919) % 100_000,
                tax: 0,
                shipping: 0,
                discount: 0,
            }],
            ..RecordOrder::example()
        };
        stage.backlog("acme", orders, order).await;
        let (began, before) = (Instant::now(), resident());
        let running = stage.run(worker(dir.path())?).await;
        let mut early = before;
        loop {
            let (pending, out) = stage.lane("commissioner", "orders").await;
            if pending == 0 && out == 0 {
                break;
            }
            if pending as usize > orders * 9 / 10 {
                early = resident();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        speed.push(orders as f64 / began.elapsed().as_secs_f64());
        memory.push(resident());
        grown.push(resident() - early);
        // What autovacuum does within a minute of that many rows.
        sqlx::query("analyze").execute(&stage.db).await?;
        checked.push(check(&stage, orders).await?);
        let mut times = visible(&stage, &codes, seconds).await?;
        p50.push(percentile(&mut times, 0.5));
        p99.push(percentile(&mut times, 0.99));
        running.stop().await;
    }
    Ok(Table {
        title: format!(
            "Orders with two levels of commission, {orders} waiting, then {RATE}/s, open loop: median (least..most) of {rounds} rounds"
        ),
        columns: vec![
            "orders/s",
            "MB at the end",
            "MB grown since the first tenth",
            "check, s",
            "order to commission p50 ms",
            "p99 ms",
        ],
        rows: vec![vec![
            speed.to_string(),
            memory.to_string(),
            grown.to_string(),
            checked.to_string(),
            p50.to_string(),
            p99.to_string(),
        ]],
    })
}

fn worker(dir: &std::path::Path) -> anyhow::Result<omnibus_runtime::Worker> {
    omnibus_commissioner::worker(omnibus_commissioner::Settings {
        partner_secret: Some("a secret of the bench, thirty-two characters".to_owned().into()),
        partner_secret_file: dir.join("unused"),
        payout_dir: dir.to_owned(),
        payout_url: None,
        payout_token: None,
        payout_timeout: 5,
    })
}

/// A program, and sellers each below a parent; gives back the sellers' codes.
async fn partners(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let program = SetProgram { auto_approve: true, payout_day: 0, ..SetProgram::example() };
    let named = |name: String, parent_code: Option<String>| RegisterPartner {
        email: format!("{name}@{name}.example"),
        name,
        parent_code,
        ..RegisterPartner::example()
    };
    let idle = || async {
        while stage.lane("commissioner", "default").await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    stage.backlog("acme", 1, |_| program.clone()).await;
    idle().await;
    stage.backlog("acme", SELLERS, |n| named(format!("parent{n}"), None)).await;
    idle().await;
    let codes = "select c.code from commissioner.codes c join commissioner.partners p using (tenant, partner_id)
        where (p.parent_id is null) = $1 order by c.code";
    let above: Vec<String> = sqlx::query_scalar(codes).bind(true).fetch_all(&stage.db).await?;
    ensure!(above.len() == SELLERS, "{} parents have registered", above.len());
    stage.backlog("acme", SELLERS, |n| named(format!("seller{n}"), Some(above[n].clone()))).await;
    idle().await;
    let sellers: Vec<String> = sqlx::query_scalar(codes).bind(false).fetch_all(&stage.db).await?;
    ensure!(sellers.len() == SELLERS, "{} sellers have registered", sellers.len());
    Ok(sellers)
}

/// Works everything out again; gives back how many seconds that took.
async fn check(stage: &Stage, orders: usize) -> anyhow::Result<f64> {
    let (began, program) = (Instant::now(), || omnibus_schemas::commissioner::SetProgram::example().program);
    let check = CheckLedger { program: program() };
    stage.backlog("acme", 1, |_| check.clone()).await;
    let report = loop {
        let asked = stage.ask("commissioner", "acme", &LedgerHealth { program: program() }).await;
        let report = asked.map_err(|(code, words)| anyhow::anyhow!("{code}: {words}"))?;
        if report.checked_at.is_some() {
            break report;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let took = began.elapsed().as_secs_f64();
    ensure!(report.orders == Some(orders as i64), "{:?} orders were checked, not {orders}", report.orders);
    ensure!(report.differences == Some(0), "the ledger has {:?} differences", report.differences);
    let commissions: i64 =
        sqlx::query_scalar("select count(*) from commissioner.commissions").fetch_one(&stage.db).await?;
    ensure!(commissions == 2 * orders as i64, "{commissions} commissions for {orders} orders with two levels");
    Ok(took)
}

/// From publishing an order to hearing of its commission.
async fn visible(stage: &Stage, codes: &[String], seconds: u64) -> anyhow::Result<Vec<Duration>> {
    let mut events = stage.operator.client().subscribe("evt.commissioner.commission_earned.acme").await?;
    stage.operator.client().flush().await?;
    let count = (RATE * seconds) as usize;
    let listener = tokio::spawn(async move {
        let mut seen = std::collections::HashMap::new();
        while seen.len() < count {
            let event = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
            let event = event.context("a commission was not told")?.context("the subscription ended")?;
            let cause = event.headers.as_ref().and_then(|map| map.get(headers::CAUSATION)).map(|id| id.to_string());
            seen.entry(cause.unwrap_or_default()).or_insert_with(Instant::now);
        }
        anyhow::Ok(seen)
    });
    let (began, mut sent) = (Instant::now(), Vec::with_capacity(count));
    for n in 0..count {
        let due = began + Duration::from_secs_f64(n as f64 / RATE as f64);
        tokio::time::sleep_until(due.into()).await;
        let order = RecordOrder {
            order_id: format!("light {n}"),
            customer_id: format!("light {n}"),
            code: Some(codes[n % codes.len()].clone()),
            ..RecordOrder::example()
        };
        sent.push((stage.publish("acme", &order).await, due));
    }
    let seen = listener.await??;
    sent.into_iter()
        .map(|(id, due)| {
            let at = seen.get(&id.to_string()).context("every order was heard of")?;
            Ok(at.saturating_duration_since(due))
        })
        .collect()
}

/// This process's resident memory, in MB. 0 where there is no /proc.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
