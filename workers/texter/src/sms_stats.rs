//! Counts by day, as the handlers' transactions left them.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::texter::{DayStats, SmsStats, StatsReport};
use sqlx::Row;

use crate::Texter;
use crate::costs::days;

impl Answer<SmsStats> for Texter {
    async fn answer(&self, ask: &mut Ask<'_>, query: SmsStats) -> Result<StatsReport, AskError> {
        let (from, to) = days(query.from.as_deref(), query.to.as_deref())?;
        let rows = sqlx::query(
            "select day, what, sum(n)::bigint as n from (
                 select day, what, n from texter.tallies where tenant = $1 and day between $2 and $3 and what <> 'spend'
                 union all
                 select day, what, n from texter.deltas where tenant = $1 and day between $2 and $3 and what <> 'spend') s
             group by day, what order by day",
        )
        .bind(ask.tenant)
        .bind(from)
        .bind(to)
        .fetch_all(&mut *ask.db)
        .await?;
        let mut found: BTreeMap<NaiveDate, DayStats> = BTreeMap::new();
        for row in &rows {
            let day: NaiveDate = row.try_get("day")?;
            let stats = found.entry(day).or_insert_with(|| DayStats { day: day.to_string(), ..DayStats::default() });
            let n = u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or(0);
            match row.try_get("what")? {
                "sent" => stats.sent = n,
                "delivered" => stats.delivered = n,
                "failed" => stats.failed = n,
                "uncertain" => stats.uncertain = n,
                "received" => stats.received = n,
                "codes_sent" => stats.codes_sent = n,
                "codes_verified" => stats.codes_verified = n,
                "checks_failed" => stats.checks_failed = n,
                _ => {}
            }
        }
        Ok(StatsReport { days: found.into_values().collect() })
    }
}
