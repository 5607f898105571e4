//! What is known of a tenant at one moment: all that its controls are judged by.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use omnibus_schemas::auditor::{AcceptedRisk, LogCounts};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::entry::HOUSE;
use crate::store::count;

/// Of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Size of the log.
    pub(crate) head: Option<u64>,
    /// Since when the oldest entry waits to be put into a tree; of all tenants.
    pub(crate) waits_since: Option<DateTime<Utc>>,
    pub(crate) watch: Option<Watched>,
    /// By what: the last entry's index and time. Of the tenant's log, and of the house's.
    pub(crate) seen: HashMap<String, (u64, DateTime<Utc>)>,
    pub(crate) house_seen: HashMap<String, (u64, DateTime<Utc>)>,
    pub(crate) keys: Vec<Key>,
    pub(crate) keys_read_at: Option<DateTime<Utc>>,
    pub(crate) policies: Vec<PolicyFact>,
    /// By control.
    pub(crate) evidence: HashMap<String, EvidenceFact>,
    /// When the last review of access was completed.
    pub(crate) reviewed_at: Option<DateTime<Utc>>,
    pub(crate) risks: RiskFact,
    pub(crate) incidents: IncidentFact,
    pub(crate) audits: AuditFact,
    /// By control.
    pub(crate) accepted: HashMap<String, AcceptedRisk>,
}

/// How far the log was read, and the conservation law up to there.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) read_at: DateTime<Utc>,
    pub(crate) counts: LogCounts,
    pub(crate) oldest_open: Option<DateTime<Utc>>,
    /// The last outcome whose acceptance is missing, and the last that came twice.
    pub(crate) unaccounted_at: Option<DateTime<Utc>>,
    pub(crate) doubled_at: Option<DateTime<Utc>>,
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: Uuid,
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// A policy in force.
#[derive(Debug)]
pub(crate) struct PolicyFact {
    pub(crate) policy: String,
    pub(crate) acknowledged_at: Option<DateTime<Utc>>,
}

#[derive(Debug)]
pub(crate) struct EvidenceFact {
    /// Until when what is in force holds.
    pub(crate) until: Option<DateTime<Utc>>,
    /// When the last of what is past ended.
    pub(crate) expired_at: Option<DateTime<Utc>>,
    /// An entry of the log among what is in force.
    pub(crate) entry: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct RiskFact {
    pub(crate) open: u64,
    pub(crate) untreated: u64,
    pub(crate) due: u64,
}

#[derive(Debug, Default)]
pub(crate) struct IncidentFact {
    pub(crate) open: u64,
    /// Noticed when, of the oldest that is not contained.
    pub(crate) uncontained_since: Option<DateTime<Utc>>,
    /// People should have been told of so many.
    pub(crate) told_too_late: u64,
}

#[derive(Debug, Default)]
pub(crate) struct AuditFact {
    pub(crate) closed_at: Option<DateTime<Utc>>,
    pub(crate) overdue_findings: u64,
}

impl Facts {
    /// Of this tenant, at this time.
    pub(crate) async fn gather(db: &mut PgConnection, tenant: &str, now: DateTime<Utc>) -> Result<Self, sqlx::Error> {
        let head: Option<i64> = sqlx::query_scalar("select size from auditor.heads where tenant = $1")
            .bind(tenant)
            .fetch_optional(&mut *db)
            .await?;
        let waits_since = sqlx::query_scalar(
            "select i.seen_at from auditor.arrivals a join auditor.ids i using (key) order by a.txid, a.pos limit 1",
        )
        .fetch_optional(&mut *db)
        .await?;
        Ok(Facts {
            head: head.map(count),
            waits_since,
            watch: watched(db, tenant).await?,
            seen: sightings(db, tenant).await?,
            house_seen: sightings(db, HOUSE).await?,
            keys: keys(db, tenant).await?,
            keys_read_at: sqlx::query_scalar("select read_at from auditor.keys_read").fetch_optional(&mut *db).await?,
            policies: policies(db, tenant).await?,
            evidence: evidence(db, tenant, now).await?,
            reviewed_at: sqlx::query_scalar("select max(completed_at) from auditor.access_reviews where tenant = $1")
                .bind(tenant)
                .fetch_one(&mut *db)
                .await?,
            risks: risks(db, tenant, now).await?,
            incidents: incidents(db, tenant, now).await?,
            audits: audits(db, tenant, now).await?,
            accepted: accepted(db, tenant, now).await?,
        })
    }
}

async fn watched(db: &mut PgConnection, tenant: &str) -> Result<Option<Watched>, sqlx::Error> {
    let row = sqlx::query(
        "select w.*, o.* from auditor.watched w cross join lateral (
             select count(*) filter (where accepted_at is not null and outcome is null) as open,
                 count(*) filter (where accepted_at is not null and outcome is not null) as held,
                 min(accepted_at) filter (where outcome is null) as oldest_open,
                 count(*) filter (where accepted_at is null and outcome_at > w.first_accepted_at) as unaccounted,
                 max(outcome_at) filter (where accepted_at is null and outcome_at > w.first_accepted_at) as unaccounted_at
             from auditor.open_commands c where c.tenant = w.tenant) o
         where w.tenant = $1",
    )
    .bind(tenant)
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let number = |name: &str| row.try_get::<i64, _>(name).map(count);
    Ok(Some(Watched {
        read_at: row.try_get("read_at")?,
        counts: LogCounts {
            entries: number("next_idx")?,
            accepted: number("accepted")?,
            succeeded: number("succeeded")?,
            rejected: number("rejected")?,
            dead_lettered: number("dead_lettered")?,
            held: number("held")?,
            open: number("open")?,
            unaccounted: number("unaccounted")?,
            doubled: number("doubled")?,
        },
        oldest_open: row.try_get("oldest_open")?,
        unaccounted_at: row.try_get("unaccounted_at")?,
        doubled_at: row.try_get("doubled_at")?,
    }))
}

async fn sightings(db: &mut PgConnection, tenant: &str) -> Result<HashMap<String, (u64, DateTime<Utc>)>, sqlx::Error> {
    let rows: Vec<(String, i64, DateTime<Utc>)> =
        sqlx::query_as("select what, idx, seen_at from auditor.sightings where tenant = $1")
            .bind(tenant)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(what, idx, at)| (what, (count(idx), at))).collect())
}

async fn keys(db: &mut PgConnection, tenant: &str) -> Result<Vec<Key>, sqlx::Error> {
    type Row = (Uuid, Vec<String>, DateTime<Utc>, Option<DateTime<Utc>>);
    let rows: Vec<Row> = sqlx::query_as(
        "select key_id, scopes, created_at, expires_at from auditor.keys where tenant = $1 order by created_at, key_id",
    )
    .bind(tenant)
    .fetch_all(db)
    .await?;
    let key = |(id, scopes, created_at, expires_at): Row| Key { id, scopes, created_at, expires_at };
    Ok(rows.into_iter().map(key).collect())
}

async fn policies(db: &mut PgConnection, tenant: &str) -> Result<Vec<PolicyFact>, sqlx::Error> {
    let rows: Vec<(String, Option<DateTime<Utc>>)> = sqlx::query_as(
        "select p.policy, (select max(a.acknowledged_at) from auditor.acknowledgements a
             where a.tenant = p.tenant and a.policy = p.policy and a.version = p.version)
         from auditor.policies p where p.tenant = $1 and p.state = 'published' order by p.policy",
    )
    .bind(tenant)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(policy, acknowledged_at)| PolicyFact { policy, acknowledged_at }).collect())
}

async fn evidence(
    db: &mut PgConnection,
    tenant: &str,
    now: DateTime<Utc>,
) -> Result<HashMap<String, EvidenceFact>, sqlx::Error> {
    type Evidence = (String, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<i64>);
    let rows: Vec<Evidence> = sqlx::query_as(
        "select control, max(expires_at) filter (where effective_from <= $2 and expires_at > $2),
             max(expires_at) filter (where expires_at <= $2),
             max(entry) filter (where effective_from <= $2 and expires_at > $2)
         from auditor.evidence where tenant = $1 and withdrawn_at is null group by control",
    )
    .bind(tenant)
    .bind(now)
    .fetch_all(db)
    .await?;
    let fact = |(control, until, expired_at, entry): Evidence| {
        (control, EvidenceFact { until, expired_at, entry: entry.map(count) })
    };
    Ok(rows.into_iter().map(fact).collect())
}

async fn risks(db: &mut PgConnection, tenant: &str, now: DateTime<Utc>) -> Result<RiskFact, sqlx::Error> {
    let (open, untreated, due): (i64, i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where treatment is null), count(*) filter (where review_by <= $2)
         from auditor.risks where tenant = $1 and treatment is distinct from 'close'",
    )
    .bind(tenant)
    .bind(now)
    .fetch_one(db)
    .await?;
    Ok(RiskFact { open: count(open), untreated: count(untreated), due: count(due) })
}

async fn incidents(db: &mut PgConnection, tenant: &str, now: DateTime<Utc>) -> Result<IncidentFact, sqlx::Error> {
    let (open, uncontained_since, late): (i64, Option<DateTime<Utc>>, i64) = sqlx::query_as(
        "select count(*) filter (where state <> 'closed'), min(noticed_at) filter (where state = 'open'),
             count(*) filter (where tell_by <= $2 and told_at is null)
         from auditor.incidents where tenant = $1",
    )
    .bind(tenant)
    .bind(now)
    .fetch_one(db)
    .await?;
    Ok(IncidentFact { open: count(open), uncontained_since, told_too_late: count(late) })
}

async fn audits(db: &mut PgConnection, tenant: &str, now: DateTime<Utc>) -> Result<AuditFact, sqlx::Error> {
    let (closed_at, overdue): (Option<DateTime<Utc>>, i64) = sqlx::query_as(
        "select (select max(closed_at) from auditor.audits where tenant = $1),
             (select count(*) from auditor.findings where tenant = $1 and state <> 'verified' and due_at <= $2)",
    )
    .bind(tenant)
    .bind(now)
    .fetch_one(db)
    .await?;
    Ok(AuditFact { closed_at, overdue_findings: count(overdue) })
}

async fn accepted(
    db: &mut PgConnection,
    tenant: &str,
    now: DateTime<Utc>,
) -> Result<HashMap<String, AcceptedRisk>, sqlx::Error> {
    let rows: Vec<(String, Uuid, String, DateTime<Utc>, String)> = sqlx::query_as(
        "select distinct on (control) control, risk_id, treated_by, review_by, note from auditor.risks
         where tenant = $1 and control is not null and treatment = 'accept' and review_by > $2
         order by control, review_by desc",
    )
    .bind(tenant)
    .bind(now)
    .fetch_all(db)
    .await?;
    let risk = |(control, risk_id, by, until, note)| (control, AcceptedRisk { risk_id, by, until, note });
    Ok(rows.into_iter().map(risk).collect())
}
