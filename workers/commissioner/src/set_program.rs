//! Makes a program, or gives it new rules from now on. What was, keeps the rules it was made under.

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{ProgramSet, RunPayoutsPart, SetProgram};
use sqlx::Row;
use sqlx::types::Json;

use crate::Commissioner;

impl Handle<SetProgram> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SetProgram) -> Result<Events, Fail> {
        let cmd = SetProgram { sites: sites(&cmd.sites)?, ..cmd };
        let (tenant, now) = (cx.tenant(), cx.now());
        // The row is locked from here on: versions follow each other.
        let row = sqlx::query(
            "insert into commissioner.programs as p (tenant, program, version, currency) values ($1, $2, 1, $3)
             on conflict (tenant, program) do update set version = p.version + 1
             returning version, currency, next_run_at,
                (select max(effective_from) from commissioner.rules r where r.tenant = $1 and r.program = $2) as latest",
        )
        .bind(tenant)
        .bind(cmd.program.as_str())
        .bind(cmd.currency.code())
        .fetch_one(cx.db())
        .await?;
        let currency: String = row.try_get("currency")?;
        if currency != cmd.currency.code() {
            let detail =
                format!("currency: the program's is {currency}, and its ledger keeps it; make another program");
            return Err(Fail::reject("currency_is_fixed", detail));
        }
        let (version, latest) = (row.try_get("version")?, row.try_get::<Option<DateTime<Utc>>, _>("latest")?);
        let effective_from = latest.map_or(now, |latest| now.max(latest));
        sqlx::query(
            "insert into commissioner.rules (tenant, program, version, effective_from, window_days, rules)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(tenant)
        .bind(cmd.program.as_str())
        .bind(version)
        .bind(effective_from)
        .bind(i32::try_from(cmd.window_days)?)
        .bind(Json(&cmd))
        .execute(cx.db())
        .await?;

        let planned: Option<DateTime<Utc>> = row.try_get("next_run_at")?;
        // One that is planned and due stays: it is the run that moves the plan on.
        let next_run = match cmd.payout_day {
            0 => None,
            day => planned.filter(|at| at.day() == day).or_else(|| Some(next_run(now, day))),
        };
        let mut events = Events::none();
        if next_run != planned {
            sqlx::query("update commissioner.programs set next_run_at = $3 where tenant = $1 and program = $2")
                .bind(tenant)
                .bind(cmd.program.as_str())
                .bind(next_run)
                .execute(cx.db())
                .await?;
            if let Some(at) = next_run {
                let run = RunPayoutsPart { program: cmd.program.clone(), due: Some(at), after: None };
                events = events.then_at(at, run);
            }
        }
        let about = cmd.program.as_str().to_owned();
        Ok(events.about(about, ProgramSet { program: cmd.program, version, effective_from, next_payout_run: next_run }))
    }
}

/// 06:00 UTC on the next such day of a month.
pub(crate) fn next_run(after: DateTime<Utc>, day: u32) -> DateTime<Utc> {
    let first = after.date_naive() - Days::new(u64::from(after.day0()));
    let morning = NaiveTime::from_hms_opt(6, 0, 0).expect("a constant time of day");
    (0..)
        .map(|months| (first + Months::new(months) + Days::new(u64::from(day) - 1)).and_time(morning).and_utc())
        .find(|at| *at > after)
        .expect("months do not end")
}

/// Host names, in lower case.
fn sites(given: &[String]) -> Result<Vec<String>, Fail> {
    given
        .iter()
        .enumerate()
        .map(|(n, site)| {
            let host = site.trim().to_ascii_lowercase();
            let label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            match host.len() <= 253 && host.contains('.') && host.split('.').all(label) {
                true => Ok(host),
                false => Err(Fail::reject(
                    "bad_site",
                    format!("sites/{n}: must be a host name such as shop.example.com, without scheme, port or path"),
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_is_the_next_such_day_and_never_now() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(next_run(at("2026-10-31T23:00:00Z"), 1), at("2026-11-01T06:00:00Z"));
        assert_eq!(next_run(at("2026-11-01T05:59:59Z"), 1), at("2026-11-01T06:00:00Z"));
        assert_eq!(next_run(at("2026-11-01T06:00:00Z"), 1), at("2026-12-01T06:00:00Z"));
        assert_eq!(next_run(at("2026-12-29T00:00:00Z"), 28), at("2027-01-28T06:00:00Z"));
        assert_eq!(next_run(at("2026-01-31T00:00:00Z"), 28), at("2026-02-28T06:00:00Z"));
    }

    #[test]
    fn a_site_is_a_host_and_nothing_more() {
        assert_eq!(sites(&["Shop.Example.com".into()]).unwrap(), ["shop.example.com"]);
        for bad in ["localhost", "https://a.example", "a.example:443", "a.example/x", "a..example", "-a.example", ""] {
            assert!(sites(&[bad.into()]).is_err(), "{bad}");
        }
    }
}
