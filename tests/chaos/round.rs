//! One round: a house is built, commands are said, faults strike, everything is put right, and the referee judges.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use omnibus_schemas::subject;
use omnibus_tests::referee::{Evidence, Message, Sent, Verdict, judge};
use uuid::Uuid;

use crate::house::{House, Size};
use crate::plan::{Kind, Plan};
use crate::say::say;

/// How long everything may take to come to an end after the last fault is over.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came of a round.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) faults: Vec<String>,
    /// Ends of workers that the round's faults ask for.
    pub(crate) by_design: Vec<String>,
    /// Transactions that waited for each other.
    pub(crate) deadlocks: i64,
    /// The most that a worker held at the end.
    pub(crate) size: Size,
    pub(crate) took: Duration,
    /// What the workers said, if something was wrong.
    pub(crate) logs: String,
}

pub(crate) async fn run(plan: &Plan, program: &Path) -> Outcome {
    let began = Instant::now();
    let house = match House::build(plan, program).await {
        Ok(house) => house,
        Err(error) => {
            let faults = vec![format!("the house could not be built: {error:#}")];
            return Outcome { faults, took: began.elapsed(), ..Outcome::default() };
        }
    };
    let tending = tokio::spawn(house.clone().tend_for_ever());
    let mut faults = play(&house, plan).await;
    let mut verdict = Verdict::default();
    if faults.is_empty() {
        match judged(&house, plan).await {
            Ok(found) => verdict = found,
            Err(found) => faults = found,
        }
    }
    tending.abort();
    let _ = tending.await;
    let (size, found) = house.close().await;
    faults.extend(found);
    let ends = house.ends().await;
    faults.extend(ends.violations);
    let logs = if faults.is_empty() { String::new() } else { house.logs() };
    let deadlocks = house.deadlocks().await;
    Outcome { verdict, faults, by_design: ends.by_design, deadlocks, size, took: began.elapsed(), logs }
}

/// Says what is to be said and strikes what is to be struck. What can't be put right again is told.
async fn play(house: &Arc<House>, plan: &Plan) -> Vec<String> {
    let began = tokio::time::Instant::now();
    let saying = plan.sayings.iter().map(|saying| async move {
        tokio::time::sleep_until(began + saying.at).await;
        say(&house.stage.operator, saying).await.map_err(|error| format!("{saying:?} is not taken by the bus: {error}"))
    });
    let striking = plan.faults.iter().map(|fault| async move {
        tokio::time::sleep_until(began + fault.at).await;
        house.strike(*fault).await.map_err(|error| format!("{fault:?} could not be put right: {error:#}"))
    });
    let (said, struck) = tokio::join!(join_all(saying), join_all(striking));
    said.into_iter().chain(struck).filter_map(Result::err).collect()
}

async fn judged(house: &House, plan: &Plan) -> Result<Verdict, Vec<String>> {
    let js = house.stage.operator.jetstream();
    // Whatever was struck twice at once, and put right in the wrong order.
    house.provision().await.map_err(|error| vec![format!("the bus can't be put right: {error:#}")])?;
    Evidence::settled(js, &house.stage.db, PATIENCE)
        .await
        .map_err(|left| vec![format!("not everything came to an end: {left:#}")])?;
    let mut evidence = Evidence::gather(js, &house.stage.db, house.provider.path())
        .await
        .map_err(|error| vec![format!("the evidence can't be read: {error:#}")])?;
    let sent: Vec<_> = plan
        .sayings
        .iter()
        .map(|saying| Sent { id: saying.id, tenant: saying.tenant.to_owned(), order: saying.order.clone() })
        .collect();
    if plan.faults.iter().any(|fault| fault.kind == Kind::CommandsFull) {
        purged(plan, &mut evidence);
    }
    let verdict = judge(&sent, plan.faults.len() as u64 * 2, &evidence);
    let leaked = match consumers(house).await {
        Ok(strangers) if strangers.is_empty() => return verdict,
        Ok(strangers) => format!("consumers that nobody ordered: {strangers:?}"),
        Err(error) => format!("the consumers can't be listed: {error:#}"),
    };
    let mut faults = verdict.err().unwrap_or_default();
    faults.push(leaked);
    Err(faults)
}

/// A stream that runs full is relieved of commands that are done: they are not there to be read any more. That they were
/// accepted is known from their publisher, and of follow-ups from their ids.
fn purged(plan: &Plan, evidence: &mut Evidence) {
    let nobody = Uuid::nil();
    let said = plan.sayings.iter().map(|saying| (saying.tenant, saying.id, nobody));
    let followed = plan.sayings.iter().map(|saying| (saying.tenant, Uuid::new_v5(&saying.id, b"0"), saying.id));
    for (tenant, id, parent) in said.chain(followed) {
        let known = evidence.accepted.iter().any(|message| message.tenant == tenant && message.id == id.to_string());
        if !known && evidence.rows.iter().any(|row| row.tenant == tenant && row.id == id && row.outcome.is_some()) {
            evidence.accepted.push(Message {
                subject: format!("cmd.shop.purged.{tenant}"),
                tenant: tenant.to_owned(),
                id: id.to_string(),
                causation: if parent == nobody { String::new() } else { parent.to_string() },
                outcome: None,
                body: vec![],
            });
        }
    }
}

/// Consumers of the shop's stream beyond its lanes.
async fn consumers(house: &House) -> anyhow::Result<BTreeSet<String>> {
    let stream = house.stage.operator.jetstream().get_stream(subject::command_stream("shop")).await?;
    let mut names: BTreeSet<String> = stream.consumer_names().try_collect().await?;
    for lane in ["default", "calls"] {
        names.remove(&subject::lane_consumer("shop", lane));
    }
    // The referee's own readers go when they are idle for a while.
    let mut leaked = BTreeSet::new();
    for name in names {
        if stream.consumer_info(&name).await.is_ok_and(|info| info.config.durable_name.is_some()) {
            leaked.insert(name);
        }
    }
    Ok(leaked)
}
