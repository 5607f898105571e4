//! Caps of a day, and fuses that are put in again.

use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle, clock};
use omnibus_schemas::texter::{Budget, BudgetList, BudgetSet, Budgets, ResetFuse, SetBudget, SpendFuseReset};
use phonenumber::country::Id;
use sqlx::Row;

use crate::{Texter, ledger};

/// Two letters, in capitals; empty for all countries together.
fn place(country: Option<&str>) -> Result<String, Fail> {
    let Some(country) = country else { return Ok(String::new()) };
    let id = country.to_ascii_uppercase().parse::<Id>();
    let id = id.map_err(|_| Fail::reject("invalid", "/country is not a country's two letters, such as US"))?;
    Ok(id.as_ref().to_owned())
}

impl Handle<SetBudget> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SetBudget) -> Result<Events, Fail> {
        let (tenant, country) = (cx.tenant(), place(cmd.country.as_deref())?);
        sqlx::query(
            "insert into texter.budgets (tenant, country, daily_micro) values ($1, $2, $3)
             on conflict (tenant, country) do update set daily_micro = excluded.daily_micro",
        )
        .bind(tenant)
        .bind(&country)
        .bind(i64::try_from(cmd.daily_micro)?)
        .execute(cx.db())
        .await?;
        // One that is spent already blows now: nothing will be booked under it that could.
        let day = clock::now().date_naive();
        let purse = ledger::purse(cx, &self.caps, day, &country).await?;
        let blown = ledger::blow(cx, day, &country, purse, &self.currency).await?;
        let country = Some(country).filter(|country| !country.is_empty());
        Ok(blown.and(BudgetSet { country, daily_micro: cmd.daily_micro }))
    }
}

impl Handle<ResetFuse> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ResetFuse) -> Result<Events, Fail> {
        let (tenant, now, day) = (cx.tenant(), cx.now(), clock::now().date_naive());
        let country = place(cmd.country.as_deref())?;
        let purse = ledger::purse(cx, &self.caps, day, &country).await?;
        if !purse.is_shut() {
            return Err(Fail::reject("not_blown", "the fuse is in: its budget is not spent today"));
        }
        // The cap becomes what is spent and so much more.
        let more = purse.spent - purse.cap + i64::try_from(cmd.more_micro)?;
        sqlx::query(
            "insert into texter.fuses (tenant, country, day, blown, more_micro, changed_at)
             values ($1, $2, $3, false, $4, $5)
             on conflict (tenant, country, day) do update
                 set blown = false, more_micro = fuses.more_micro + excluded.more_micro, changed_at = excluded.changed_at",
        )
        .bind(tenant)
        .bind(&country)
        .bind(day)
        .bind(more)
        .bind(now)
        .execute(cx.db())
        .await?;
        Ok(Events::of(SpendFuseReset {
            country: Some(country).filter(|country| !country.is_empty()),
            cap_micro: purse.cap + more,
            note: cmd.note,
        }))
    }
}

impl Answer<Budgets> for Texter {
    async fn answer(&self, ask: &mut Ask<'_>, _: Budgets) -> Result<BudgetList, AskError> {
        let day = clock::now().date_naive();
        let rows = sqlx::query(
            "with spent as (
                 select country, sum(n)::bigint as n from (
                     select country, n from texter.tallies where tenant = $1 and day = $2 and what = 'spend'
                     union all
                     select country, n from texter.deltas where tenant = $1 and day = $2 and what = 'spend') s
                 group by country),
             sums as (select country, n from spent union all select '', sum(n)::bigint from spent having count(*) > 0),
             places as (
                 select country from sums
                 union select country from texter.budgets where tenant = $1
                 union select country from texter.fuses where tenant = $1 and day = $2),
             held as (
                 select country, count(*) as n from texter.messages
                 where tenant = $1 and status = 'waiting' and waits_for = 'spend_fuse' group by country)
             select p.country,
                    coalesce((select sum(n) from held h where p.country in ('', h.country)), 0)::bigint as held, coalesce(s.n, 0) as spent, coalesce(f.blown, false) as blown,
                    coalesce(b.daily_micro, case when p.country = '' then $3 else $4 end) + coalesce(f.more_micro, 0) as cap
             from places p
             left join sums s using (country)
             left join texter.budgets b on b.tenant = $1 and b.country = p.country
             left join texter.fuses f on f.tenant = $1 and f.country = p.country and f.day = $2
             order by p.country",
        )
        .bind(ask.tenant)
        .bind(day)
        .bind(self.caps.daily)
        .bind(self.caps.country)
        .fetch_all(&mut *ask.db)
        .await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let (cap_micro, spent_micro): (i64, i64) = (row.try_get("cap")?, row.try_get("spent")?);
            Ok::<_, sqlx::Error>(Budget {
                country: Some(row.try_get("country")?).filter(|country: &String| !country.is_empty()),
                cap_micro,
                spent_micro,
                fuse_blown: row.try_get("blown")?,
                held: row.try_get::<i64, _>("held")?.unsigned_abs(),
            })
        };
        Ok(BudgetList { budgets: rows.iter().map(read).collect::<Result<_, _>>()? })
    }
}
