//! What is done every night by itself, once among all replicas: ledgers are checked and tiers applied. And every hour it
//! is looked whether a planned payout run was missed. All of it is commands with ids of their occasion, so that looking
//! twice does nothing twice.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use omnibus_runtime::{Desk, clock};
use omnibus_schemas::commissioner::{ApplyTiers, CheckLedger, RunPayoutsPart};
use sqlx::Row;
use uuid::Uuid;

use crate::partner::token;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// A run that is planned is fired by its schedule; only one that is this late was missed.
const LATE: TimeDelta = TimeDelta::minutes(30);

pub(crate) async fn run(desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("nightly").await? else { return Ok(()) };
    loop {
        alone.still().await?;
        look(&desk, clock::now()).await?;
        if !desk.pause(LOOK).await {
            return Ok(());
        }
    }
}

/// Night falls at 02:00 UTC.
fn night(now: DateTime<Utc>) -> DateTime<Utc> {
    let two = NaiveTime::from_hms_opt(2, 0, 0).expect("a constant time of day");
    let today = now.date_naive().and_time(two).and_utc();
    if today <= now { today } else { today - TimeDelta::days(1) }
}

async fn look(desk: &Desk, now: DateTime<Utc>) -> anyhow::Result<()> {
    let night = night(now);
    let rows = sqlx::query(
        "select p.tenant, p.program, p.next_run_at, min(r.effective_from) as made
         from commissioner.programs p join commissioner.rules r using (tenant, program)
         group by p.tenant, p.program",
    )
    .fetch_all(&desk.db)
    .await?;
    for row in rows {
        let (tenant, name): (String, String) = (row.try_get("tenant")?, row.try_get("program")?);
        let program = token(name)?;
        let id = |what: &str, at: DateTime<Utc>| {
            let name = format!("commissioner/{what}/{tenant}/{program}/{}", at.timestamp_micros());
            Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
        };
        // A program that was made since has nothing of the night.
        if row.try_get::<DateTime<Utc>, _>("made")? < night {
            let check = CheckLedger { program: program.clone() };
            desk.publish(&tenant, id("check", night), &check).await?;
            desk.publish(&tenant, id("tiers", night), &ApplyTiers { program: program.clone() }).await?;
        }
        if let Some(due) = row.try_get::<Option<DateTime<Utc>>, _>("next_run_at")?
            && due + LATE < now
        {
            let run = RunPayoutsPart { program: program.clone(), due: Some(due), after: None };
            desk.publish(&tenant, id("run", due), &run).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_night_is_never_ahead() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(night(at("2026-11-22T02:00:00Z")), at("2026-11-22T02:00:00Z"));
        assert_eq!(night(at("2026-11-22T01:59:59Z")), at("2026-11-21T02:00:00Z"));
    }
}
