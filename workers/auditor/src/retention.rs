//! Months: a partition of entries for each, made before it is needed, and removed as a whole when its retention is over,
//! unless somebody's log is held. A signed note for each tenant says what was removed. The tree's hashes stay, so every
//! proof of what remains still holds.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, SecondsFormat, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::Auditor;
use crate::note;

const PREFIX: &str = "entries_";

fn month(at: DateTime<Utc>) -> NaiveDate {
    at.date_naive().with_day(1).expect("every month has a first day")
}

fn after(month: NaiveDate) -> NaiveDate {
    month.checked_add_months(Months::new(1)).expect("the calendar goes on")
}

fn name(month: NaiveDate) -> String {
    format!("{PREFIX}{}", month.format("%Y_%m"))
}

/// Makes sure that entries of this moment have a partition.
pub(crate) async fn partition_for(db: &mut PgConnection, at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let month = month(at);
    let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(format!("auditor.{}", name(month)))
        .fetch_one(&mut *db)
        .await?;
    if !there {
        make(db, month).await?;
    }
    Ok(())
}

async fn make(db: &mut PgConnection, month: NaiveDate) -> Result<(), sqlx::Error> {
    let statement = format!(
        "create table if not exists auditor.{} partition of auditor.entries
         for values from ('{month} 00:00:00Z') to ('{} 00:00:00Z')",
        name(month),
        after(month)
    );
    sqlx::query(AssertSqlSafe(statement)).execute(db).await.map(drop)
}

/// Makes the next month's partition, and removes what is past its retention.
pub(crate) async fn upkeep(auditor: &Auditor, db: &PgPool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let mut connection = db.acquire().await?;
    partition_for(&mut connection, now).await?;
    make(&mut connection, after(month(now))).await?;
    drop(connection);

    let Some(until) = now.checked_sub_days(Days::new(auditor.settings.audit_retention_days.into())) else {
        return Ok(());
    };
    let partitions: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'auditor.entries'::regclass order by c.relname",
    )
    .fetch_all(db)
    .await?;
    // What stays must be known again if it comes again, so ids go only as far as no older month stays.
    let mut stays: Option<NaiveDate> = None;
    for partition in partitions {
        let first = partition
            .strip_prefix(PREFIX)
            .and_then(|month| NaiveDate::parse_from_str(&format!("{month}_01"), "%Y_%m_%d").ok());
        let Some(first) = first else { continue };
        if after(first).and_time(chrono::NaiveTime::MIN).and_utc() <= until {
            let removed = remove(auditor, db, first, stays.unwrap_or(first), now).await?;
            if !removed {
                stays.get_or_insert(first);
            }
        }
    }
    Ok(())
}

/// Removes a month, and the ids of what came before `oldest`. `false` if the month stays: it is held, or not whole.
async fn remove(
    auditor: &Auditor,
    db: &PgPool,
    month: NaiveDate,
    oldest: NaiveDate,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let partition = name(month);
    let mut transaction = db.begin().await?;
    // Nobody places a hold meanwhile.
    sqlx::query("lock table auditor.holds in share mode").execute(&mut *transaction).await?;
    let held = format!(
        "select exists (select from auditor.holds h where h.lifted_at is null
             and exists (select from auditor.{partition} e where e.tenant = h.tenant))"
    );
    if sqlx::query_scalar::<_, bool>(AssertSqlSafe(held)).fetch_one(&mut *transaction).await? {
        tracing::info!(partition, "kept past its retention: it is held");
        return Ok(false);
    }
    let ranges = format!(
        "select e.tenant, min(e.idx), max(e.idx), count(*), h.size from auditor.{partition} e
         join auditor.heads h using (tenant) group by e.tenant, h.size order by e.tenant"
    );
    let ranges: Vec<(String, i64, i64, i64, i64)> =
        sqlx::query_as(AssertSqlSafe(ranges)).fetch_all(&mut *transaction).await?;
    for (tenant, first, last, count, size) in ranges {
        if last >= size || count != last - first + 1 {
            // Somebody took of it what a tombstone would cover up. Other tenants' logs go on.
            tracing::error!(partition, tenant, "kept past its retention: it is not whole under its head");
            return Ok(false);
        }
        let origin = auditor.settings.origin(&tenant);
        let removed = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        let text = format!("{}\n{origin}\n{first} {last}\n{month}\n{removed}\n", Tombstone::TITLE);
        sqlx::query("insert into auditor.tombstones (tenant, first_idx, last_idx, note) values ($1, $2, $3, $4)")
            .bind(&tenant)
            .bind(first)
            .bind(last)
            .bind(note::sign(&text, &origin, auditor.keys.pair()?))
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query(AssertSqlSafe(format!("drop table auditor.{partition}"))).execute(&mut *transaction).await?;
    let since = oldest.and_time(chrono::NaiveTime::MIN).and_utc();
    sqlx::query("delete from auditor.ids where seen_at < $1").bind(since).execute(&mut *transaction).await?;
    transaction.commit().await?;
    tracing::info!(partition, "removed: its retention is over");
    Ok(true)
}

/// Which entries were removed, as a signed note says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Tombstone {
    const TITLE: &str = "omnibus audit tombstone";

    /// Reads one that `key` has signed for its own log.
    pub fn open(note: &str, key: &note::VerifierKey) -> Option<Self> {
        let mut lines = key.open(note).ok()?.lines();
        if lines.next()? != Self::TITLE || lines.next()? != key.name() {
            return None;
        }
        let (first, last) = lines.next()?.split_once(' ')?;
        Some(Tombstone { first: first.parse().ok()?, last: last.parse().ok()? })
    }
}
