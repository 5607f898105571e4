//! Reading each tenant's log, in its order, for two things: the conservation law, and the entries that checks wait for. The
//! log is what is proved, so what is found here can be shown with a proof.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use omnibus_schemas::platform::Outcome;
use serde::Deserialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::book::book;
use crate::entry;

/// Entries in one transaction at most.
const BATCH: i64 = 5000;
/// The auditor's own commands: it does not read their outcomes.
const OWN: &str = "auditor.";
const ACT: &str = "auditor.act_recorded";

/// What of a leaf is of interest here.
#[derive(Deserialize)]
struct Leaf<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    what: Cow<'a, str>,
    received_at: DateTime<Utc>,
    #[serde(borrow, default)]
    target: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    causation: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    outcome: Option<Cow<'a, str>>,
}

/// One side of a command, or both.
#[derive(Debug, Clone, Default, PartialEq)]
struct Open {
    accepted_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    outcome_at: Option<DateTime<Utc>>,
    /// Final outcomes after the first.
    again: i32,
}

/// What a batch adds to the counts.
#[derive(Debug, Default)]
struct Added {
    accepted: i64,
    /// In the order of [`FINAL`].
    ended: [i64; 3],
    doubled: i64,
    doubled_at: Option<DateTime<Utc>>,
    first_accepted_at: Option<DateTime<Utc>>,
}

impl Added {
    fn double(&mut self, times: i32, at: Option<DateTime<Utc>>) {
        if times > 0 {
            self.doubled += i64::from(times);
            self.doubled_at = self.doubled_at.max(at);
        }
    }
}

const FINAL: [Outcome; 3] = [Outcome::Succeeded, Outcome::Rejected, Outcome::DeadLettered];

/// The place of an outcome that is final in [`FINAL`].
fn ended(outcome: &str) -> Option<usize> {
    FINAL.iter().position(|of| of.as_str() == outcome)
}

/// Reads on in a tenant's log, which had `size` entries at `now`. `false` once it has read those.
pub(super) async fn follow(db: &PgPool, tenant: &str, size: i64, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let mut transaction = db.begin().await?;
    // Of tables that were never analysed all seem small enough to be read whole, batch by batch.
    sqlx::query("set local enable_seqscan = off").execute(&mut *transaction).await?;
    sqlx::query("insert into auditor.watched (tenant, read_at) values ($1, $2) on conflict do nothing")
        .bind(tenant)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    let from: i64 = sqlx::query_scalar("select next_idx from auditor.watched where tenant = $1 for update")
        .bind(tenant)
        .fetch_one(&mut *transaction)
        .await?;
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "select idx, leaf from auditor.entries where tenant = $1 and idx >= $2 and idx < $3 order by idx limit $4",
    )
    .bind(tenant)
    .bind(from)
    .bind(size)
    .bind(BATCH)
    .fetch_all(&mut *transaction)
    .await?;
    let more = rows.len() as i64 == BATCH;
    if let Some((last, _)) = rows.last() {
        let next = last + 1;
        read(&mut transaction, tenant, next, &rows).await?;
    }
    if !more {
        sqlx::query("update auditor.watched set read_at = $2 where tenant = $1 and read_at < $2")
            .bind(tenant)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(more)
}

async fn read(db: &mut PgConnection, tenant: &str, next: i64, rows: &[(i64, String)]) -> anyhow::Result<()> {
    let awaited: HashSet<&str> = book().awaited().collect();
    let mut sightings: HashMap<String, (i64, DateTime<Utc>)> = HashMap::new();
    let mut sides: Vec<(String, Side)> = Vec::new();
    for (idx, text) in rows {
        let Ok(leaf) = serde_json::from_str::<Leaf<'_>>(text) else {
            tracing::warn!(idx, "an entry can't be read; the watch passes over it");
            continue;
        };
        let act = leaf.target.as_deref().and_then(|target| target.split(' ').next());
        let sight = match act {
            Some(act) if leaf.what == ACT => format!("act:{act}"),
            _ => leaf.what.to_string(),
        };
        if leaf.kind == "event" && awaited.contains(sight.as_str()) {
            let seen = sightings.entry(sight).or_insert((*idx, leaf.received_at));
            if leaf.received_at > seen.1 {
                *seen = (*idx, leaf.received_at);
            }
        }
        if leaf.what.starts_with(OWN) {
            continue;
        }
        match (leaf.kind.as_ref(), leaf.outcome, leaf.causation) {
            ("command", ..) => sides.push((leaf.id.into_owned(), Side::Accepted(leaf.received_at))),
            (_, Some(outcome), Some(of)) => {
                sides.push((of.into_owned(), Side::Outcome(outcome.into_owned(), leaf.received_at)));
            }
            _ => {}
        }
    }
    let (added, open, gone) = weigh(db, tenant, next, sides).await?;
    write(db, tenant, next, &added, open, gone).await?;
    sight(db, tenant, sightings).await?;
    Ok(())
}

/// What an entry says about a command.
enum Side {
    Accepted(DateTime<Utc>),
    Outcome(String, DateTime<Utc>),
}

type Weighed = (Added, BTreeMap<String, Open>, Vec<String>);

async fn weigh(
    db: &mut PgConnection,
    tenant: &str,
    next: i64,
    sides: Vec<(String, Side)>,
) -> Result<Weighed, sqlx::Error> {
    let ids: Vec<&str> = sides.iter().map(|(id, _)| id.as_str()).collect();
    type Row = (String, Option<DateTime<Utc>>, Option<String>, Option<DateTime<Utc>>, i32);
    let rows: Vec<Row> = sqlx::query_as(
        "select message_id, accepted_at, outcome, outcome_at, again from auditor.open_commands
         where tenant = $1 and message_id = any($2)",
    )
    .bind(tenant)
    .bind(ids)
    .fetch_all(&mut *db)
    .await?;
    let row = |(id, accepted_at, outcome, outcome_at, again)| (id, Open { accepted_at, outcome, outcome_at, again });
    let before: BTreeMap<String, Open> = rows.into_iter().map(row).collect();
    let mut open = before.clone();
    let mut added = Added::default();
    // Both sides of most commands stand in one batch, and leave no row.
    let mut closed: HashSet<String> = HashSet::new();
    for (id, side) in sides {
        let entry = open.entry(id.clone()).or_default();
        match side {
            Side::Accepted(at) => {
                added.accepted += 1;
                added.first_accepted_at = Some(added.first_accepted_at.map_or(at, |first| first.min(at)));
                entry.accepted_at = Some(at);
            }
            Side::Outcome(_, at) if closed.contains(&id) => {
                open.remove(&id);
                added.double(1, Some(at));
                continue;
            }
            // Whether that is one too many shows when the acceptance is read, if it was a command at all.
            Side::Outcome(outcome, at) if entry.outcome.as_deref().and_then(ended).is_some() => {
                if ended(&outcome).is_some() {
                    entry.again += 1;
                    entry.outcome_at = entry.outcome_at.max(Some(at));
                }
            }
            Side::Outcome(outcome, at) => {
                entry.outcome_at = Some(at);
                entry.outcome = Some(outcome);
            }
        }
        if entry.accepted_at.is_some()
            && let Some(place) = entry.outcome.as_deref().and_then(ended)
        {
            added.ended[place] += 1;
            added.double(entry.again, entry.outcome_at);
            open.remove(&id);
            closed.insert(id);
        }
    }
    settle_strangers(db, tenant, next, &before, &mut open, &mut added).await?;
    let gone = before.keys().filter(|id| !open.contains_key(*id)).cloned().collect();
    open.retain(|id, now| before.get(id) != Some(&*now));
    Ok((added, open, gone))
}

/// Outcomes without an acceptance among the open: of an event that somebody acted upon, which is no command; of a command
/// that was closed before; or of one whose acceptance is still to be read.
async fn settle_strangers(
    db: &mut PgConnection,
    tenant: &str,
    next: i64,
    before: &BTreeMap<String, Open>,
    open: &mut BTreeMap<String, Open>,
    added: &mut Added,
) -> Result<(), sqlx::Error> {
    let strangers: Vec<String> = open
        .iter()
        .filter(|(id, open)| open.accepted_at.is_none() && !before.contains_key(*id))
        .map(|(id, _)| id.clone())
        .collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let key = |kind: &str| strangers.iter().map(|id| entry::key(kind, tenant, id)).collect::<Vec<Uuid>>();
    let (commands, events) = (key("command"), key("event"));
    let known: HashSet<Uuid> = sqlx::query_scalar("select key from auditor.ids where key = any($1)")
        .bind(&events)
        .fetch_all(&mut *db)
        .await?
        .into_iter()
        .collect();
    // By the key alone, which is the tenant's own: asked for the tenant and the place too, the planner may read all of the
    // log that lies before, each time.
    let entries: Vec<(Uuid, i64)> = sqlx::query_as("select key, idx from auditor.entries where key = any($1)")
        .bind(&commands)
        .fetch_all(db)
        .await?;
    let read: HashSet<Uuid> = entries.into_iter().filter(|(_, idx)| *idx < next).map(|(key, _)| key).collect();
    for (n, id) in strangers.iter().enumerate() {
        if read.contains(&commands[n]) {
            let open = open.remove(id).unwrap_or_default();
            added.double(1 + open.again, open.outcome_at);
        } else if known.contains(&events[n]) {
            open.remove(id);
        }
    }
    Ok(())
}

async fn write(
    db: &mut PgConnection,
    tenant: &str,
    next: i64,
    added: &Added,
    open: BTreeMap<String, Open>,
    gone: Vec<String>,
) -> Result<(), sqlx::Error> {
    let [succeeded, rejected, dead_lettered] = added.ended;
    sqlx::query(
        "update auditor.watched set next_idx = $2, accepted = accepted + $3, succeeded = succeeded + $4,
             rejected = rejected + $5, dead_lettered = dead_lettered + $6, doubled = doubled + $7,
             doubled_at = greatest(doubled_at, $8), first_accepted_at = least(first_accepted_at, $9)
         where tenant = $1",
    )
    .bind(tenant)
    .bind(next)
    .bind(added.accepted)
    .bind(succeeded)
    .bind(rejected)
    .bind(dead_lettered)
    .bind(added.doubled)
    .bind(added.doubled_at)
    .bind(added.first_accepted_at)
    .execute(&mut *db)
    .await?;
    if !gone.is_empty() {
        sqlx::query("delete from auditor.open_commands where tenant = $1 and message_id = any($2)")
            .bind(tenant)
            .bind(gone)
            .execute(&mut *db)
            .await?;
    }
    if open.is_empty() {
        return Ok(());
    }
    let (ids, open): (Vec<String>, Vec<Open>) = open.into_iter().unzip();
    sqlx::query(
        "insert into auditor.open_commands (tenant, message_id, accepted_at, outcome, outcome_at, again)
         select $1, * from unnest($2::text[], $3::timestamptz[], $4::text[], $5::timestamptz[], $6::int[])
         on conflict (tenant, message_id) do update set accepted_at = excluded.accepted_at,
             outcome = excluded.outcome, outcome_at = excluded.outcome_at, again = excluded.again",
    )
    .bind(tenant)
    .bind(ids)
    .bind(open.iter().map(|o| o.accepted_at).collect::<Vec<_>>())
    .bind(open.iter().map(|o| o.outcome.clone()).collect::<Vec<_>>())
    .bind(open.iter().map(|o| o.outcome_at).collect::<Vec<_>>())
    .bind(open.iter().map(|o| o.again).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// The newest of each: what came again after a kill stands behind what is newer.
async fn sight(
    db: &mut PgConnection,
    tenant: &str,
    sightings: HashMap<String, (i64, DateTime<Utc>)>,
) -> Result<(), sqlx::Error> {
    for (what, (idx, at)) in sightings {
        sqlx::query(
            "insert into auditor.sightings (tenant, what, idx, seen_at) values ($1, $2, $3, $4)
             on conflict (tenant, what) do update set idx = excluded.idx, seen_at = excluded.seen_at
             where sightings.seen_at < excluded.seen_at",
        )
        .bind(tenant)
        .bind(what)
        .bind(idx)
        .bind(at)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}
