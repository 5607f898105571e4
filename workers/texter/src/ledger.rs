//! What texts cost: lines that are only ever added, and the fuses that they blow.

use chrono::NaiveDate;
use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::texter::{CostBooked, SmsState, SpendFuseTripped};
use sqlx::Row;
use uuid::Uuid;

use crate::status;

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Account {
    /// The day on which the text was accepted, UTC.
    pub(crate) day: NaiveDate,
    pub(crate) country: String,
    /// Empty if it came from none.
    pub(crate) template: String,
    pub(crate) provider: String,
    pub(crate) currency: String,
    pub(crate) segments: i32,
}

impl Account {
    /// The event of a line.
    pub(crate) fn booked(&self, message_id: Uuid, kind: &str, amount_micro: i64) -> Events {
        Events::none().about(
            message_id.to_string(),
            CostBooked {
                message_id,
                kind: kind.to_owned(),
                amount_micro,
                currency: self.currency.clone(),
                day: self.day.to_string(),
                country: self.country.clone(),
                template: Some(self.template.clone()).filter(|name| !name.is_empty()),
                provider: self.provider.clone(),
            },
        )
    }
}

/// Adds a line to a text that has its estimate already. `counts` is -1 for a release: the text is taken out.
pub(crate) async fn book(
    cx: &mut Cx<'_>,
    message_id: Uuid,
    account: &Account,
    kind: &str,
    amount_micro: i64,
    counts: i32,
) -> Result<Events, Fail> {
    let (tenant, now) = (cx.tenant(), cx.now());
    sqlx::query(
        "with line as (
             insert into texter.ledger (tenant, message_id, number, kind, amount_micro, currency, messages, segments, day,
                                        country, template, provider, booked_at)
             select $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $6 * $7, $8, $9, $10, $11, $12
             from texter.ledger where tenant = $1 and message_id = $2
         )
         insert into texter.deltas (tenant, day, country, what, n) values ($1, $8, $9, 'spend', $4)",
    )
    .bind(tenant)
    .bind(message_id)
    .bind(kind)
    .bind(amount_micro)
    .bind(&account.currency)
    .bind(counts)
    .bind(account.segments)
    .bind(account.day)
    .bind(&account.country)
    .bind(&account.template)
    .bind(&account.provider)
    .bind(now)
    .execute(cx.db())
    .await?;
    Ok(account.booked(message_id, kind, amount_micro))
}

/// Counts something of a tenant's day.
pub(crate) async fn count(cx: &mut Cx<'_>, day: NaiveDate, country: &str, what: &str, n: i64) -> Result<(), Fail> {
    let tenant = cx.tenant();
    sqlx::query("insert into texter.deltas (tenant, day, country, what, n) values ($1, $2, $3, $4, $5)")
        .bind(tenant)
        .bind(day)
        .bind(country)
        .bind(what)
        .bind(n)
        .execute(cx.db())
        .await?;
    Ok(())
}

/// Counts a text that has moved: no more under what it was, but under what it is.
pub(crate) async fn moved(
    cx: &mut Cx<'_>,
    day: NaiveDate,
    country: &str,
    before: SmsState,
    after: SmsState,
) -> Result<(), Fail> {
    let (before, after) = (status::counts_as(before), status::counts_as(after));
    if before == after {
        return Ok(());
    }
    for (what, n) in [(before, -1), (after, 1)] {
        if let Some(what) = what {
            count(cx, day, country, what, n).await?;
        }
    }
    Ok(())
}

/// More texts than are ever under way at once.
const UNDER_WAY: i64 = 2048;

/// A day's budget of all countries together (an empty country) or of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purse {
    /// The cap, what was added by hand included.
    pub(crate) cap: i64,
    pub(crate) spent: i64,
    pub(crate) blown: bool,
}

impl Purse {
    /// Nothing more may be sent from it.
    pub(crate) fn is_shut(&self) -> bool {
        self.blown || self.spent >= self.cap
    }

    /// Close enough that texts under way could empty it.
    pub(crate) fn is_low(&self, price: i64) -> bool {
        self.cap - self.spent <= price.saturating_mul(UNDER_WAY)
    }
}

/// The default caps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    pub(crate) daily: i64,
    pub(crate) country: i64,
}

impl Caps {
    fn of(&self, country: &str) -> i64 {
        if country.is_empty() { self.daily } else { self.country }
    }
}

/// Reads a purse as it stands, with what this transaction has booked.
pub(crate) async fn purse(cx: &mut Cx<'_>, caps: &Caps, day: NaiveDate, country: &str) -> Result<Purse, Fail> {
    let tenant = cx.tenant();
    let row = sqlx::query(
        "select coalesce((select daily_micro from texter.budgets where tenant = $1 and country = $3), $4)
              + coalesce((select more_micro from texter.fuses where tenant = $1 and country = $3 and day = $2), 0),
             coalesce((select sum(n) from (
                 select n from texter.tallies where tenant = $1 and day = $2 and what = 'spend' and ($3 = '' or country = $3)
                 union all
                 select n from texter.deltas where tenant = $1 and day = $2 and what = 'spend' and ($3 = '' or country = $3)
             ) s), 0)::bigint,
             exists (select 1 from texter.fuses where tenant = $1 and country = $3 and day = $2 and blown)",
    )
    .bind(tenant)
    .bind(day)
    .bind(country)
    .bind(caps.of(country))
    .fetch_one(cx.db())
    .await?;
    Ok(Purse { cap: row.try_get(0)?, spent: row.try_get(1)?, blown: row.try_get(2)? })
}

/// Blows the fuse of a purse that is spent. Told once, by whoever was first.
pub(crate) async fn blow(
    cx: &mut Cx<'_>,
    day: NaiveDate,
    country: &str,
    purse: Purse,
    currency: &str,
) -> Result<Events, Fail> {
    if purse.blown || purse.spent < purse.cap {
        return Ok(Events::none());
    }
    let (tenant, now) = (cx.tenant(), cx.now());
    let blown = sqlx::query(
        "insert into texter.fuses (tenant, country, day, blown, changed_at) values ($1, $2, $3, true, $4)
         on conflict (tenant, country, day) do update set blown = true, changed_at = excluded.changed_at
         where not fuses.blown",
    )
    .bind(tenant)
    .bind(country)
    .bind(day)
    .bind(now)
    .execute(cx.db())
    .await?;
    if blown.rows_affected() == 0 {
        return Ok(Events::none());
    }
    Ok(Events::of(SpendFuseTripped {
        country: Some(country.to_owned()).filter(|country| !country.is_empty()),
        day: day.to_string(),
        cap_micro: purse.cap,
        spent_micro: purse.spent,
        currency: currency.to_owned(),
    }))
}

/// Looks at both purses of a country after something was booked, and blows what is spent.
pub(crate) async fn watch(
    cx: &mut Cx<'_>,
    caps: &Caps,
    day: NaiveDate,
    country: &str,
    currency: &str,
) -> Result<Events, Fail> {
    let mut events = Events::none();
    for of in ["", country] {
        let purse = purse(cx, caps, day, of).await?;
        events = events.join(blow(cx, day, of, purse, currency).await?);
    }
    Ok(events)
}
