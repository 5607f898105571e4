//! Everything that speaks for or against a text, read in one statement, for one text or for many.

use anyhow::Context;
use chrono::NaiveDate;
use omnibus_runtime::Fail;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::ledger::{Caps, Purse};
use crate::quiet::QuietHours;

/// For how long texts like this one are kept apart: a provider lists a day's.
const MEMORY_HOURS: i32 = 48;

/// What is asked about a text.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) message_id: Uuid,
    pub(crate) recipient: &'a str,
    pub(crate) country: &'a str,
    /// Does an opt-out of advertising hold?
    pub(crate) marketing: bool,
}

/// What stands in the tables.
pub(crate) struct Gate {
    /// The text's own row, from an earlier try.
    pub(crate) before: Option<Before>,
    /// It has a row that says that it waits, and none that it left.
    pub(crate) waits: bool,
    /// Senders for whom the recipient has opted out; an empty one is all.
    pub(crate) opted_out: Vec<String>,
    /// Providers that are left alone.
    pub(crate) stopped: Vec<String>,
    /// Providers that were, and that one text may try.
    pub(crate) paused: Vec<String>,
    pub(crate) quiet: Option<QuietHours>,
    /// Of all countries together.
    pub(crate) all: Purse,
    /// Of the recipient's.
    pub(crate) country: Purse,
}

/// An earlier try.
pub(crate) struct Before {
    pub(crate) status: String,
    pub(crate) provider: String,
    /// The day it counts for.
    pub(crate) day: NaiveDate,
}

impl Gate {
    /// A first try, against which nothing stands but, perhaps, its budget.
    pub(crate) fn is_open(&self) -> bool {
        self.before.is_none()
            && !self.waits
            && self.opted_out.is_empty()
            && self.stopped.is_empty()
            && self.paused.is_empty()
    }

    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let status: Option<String> = row.try_get("status")?;
        let waits = status.as_deref() == Some("waiting");
        let before = match status.filter(|_| !waits) {
            Some(status) => Some(Before { status, provider: row.try_get("provider")?, day: row.try_get("day")? }),
            None => None,
        };
        let quiet = match row.try_get::<Option<i32>, _>("begins")? {
            Some(begins) => Some(QuietHours { begins, ends: row.try_get("ends")?, timezone: row.try_get("timezone")? }),
            None => None,
        };
        Ok(Gate {
            before,
            waits,
            quiet,
            opted_out: row.try_get("opted_out")?,
            stopped: row.try_get("stopped")?,
            paused: row.try_get("paused")?,
            all: Purse { cap: row.try_get("cap")?, spent: row.try_get("spent")?, blown: row.try_get("blown")? },
            country: Purse {
                cap: row.try_get("country_cap")?,
                spent: row.try_get("country_spent")?,
                blown: row.try_get("country_blown")?,
            },
        })
    }
}

/// What stands in the tables about one text. `day` is that on which it leaves.
pub(crate) async fn read(
    db: &mut PgConnection,
    caps: &Caps,
    day: NaiveDate,
    asked: Question<'_>,
) -> Result<Gate, Fail> {
    let gate = read_all(db, caps, day, &[asked]).await?.pop();
    gate.context("the tables say nothing about a text").map_err(Fail::Retry)
}

/// The same about many, in their order. What their tenants have spent is added up once for all of them. Each row is looked
/// up by its key before it is joined: of a table that was never analysed the planner would read all.
pub(crate) async fn read_all(
    db: &mut PgConnection,
    caps: &Caps,
    day: NaiveDate,
    asked: &[Question<'_>],
) -> Result<Vec<Gate>, sqlx::Error> {
    let rows = sqlx::query(
        "with x as (
             select * from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bool[]) with ordinality
                 as x(tenant, message_id, recipient, country, marketing, n)
         ), sums as materialized (
             select s.tenant, s.country, sum(s.n) as spent from (
                 select t.tenant, t.country, t.n from texter.tallies t
                 where t.tenant = any($1) and t.day = $6 and t.what = 'spend'
                 union all
                 select d.tenant, d.country, d.n from texter.deltas d
                 where d.tenant = any($1) and d.day = $6 and d.what = 'spend') s
             group by s.tenant, s.country
         ), totals as materialized (
             select tenant, sum(spent) as spent from sums group by tenant
         )
         select m.status, m.provider, m.day, q.begins, q.ends, q.timezone,
             array(select o.sender from texter.opt_outs o
                   where o.tenant = x.tenant and o.recipient = x.recipient
                     and (o.covers = 'all' or x.marketing)) as opted_out,
             array(select p.provider from texter.stops p
                   where p.tenant in ('', x.tenant) and p.until > now()) as stopped,
             array(select p.provider from texter.stops p
                   where p.tenant in ('', x.tenant) and p.until <= now()) as paused,
             coalesce(b.daily_micro, $7) + coalesce(f.more_micro, 0) as cap,
             coalesce(bc.daily_micro, $8) + coalesce(fc.more_micro, 0) as country_cap,
             coalesce(f.blown, false) as blown, coalesce(fc.blown, false) as country_blown,
             coalesce(t.spent, 0)::bigint as spent, coalesce(c.spent, 0)::bigint as country_spent
         from x
         left join totals t on t.tenant = x.tenant
         left join sums c on c.tenant = x.tenant and c.country = x.country
         left join lateral (
             select status, provider, day from texter.messages
             where tenant = x.tenant and message_id = x.message_id limit 1) m on true
         left join lateral (
             select begins, ends, timezone from texter.quiet_hours where tenant = x.tenant limit 1) q on true
         left join lateral (
             select daily_micro from texter.budgets where tenant = x.tenant and country = '' limit 1) b on true
         left join lateral (
             select daily_micro from texter.budgets where tenant = x.tenant and country = x.country limit 1) bc on true
         left join lateral (
             select more_micro, blown from texter.fuses
             where tenant = x.tenant and country = '' and day = $6 limit 1) f on true
         left join lateral (
             select more_micro, blown from texter.fuses
             where tenant = x.tenant and country = x.country and day = $6 limit 1) fc on true
         order by x.n",
    )
    .bind(asked.iter().map(|one| one.tenant).collect::<Vec<_>>())
    .bind(asked.iter().map(|one| one.message_id).collect::<Vec<_>>())
    .bind(asked.iter().map(|one| one.recipient).collect::<Vec<_>>())
    .bind(asked.iter().map(|one| one.country).collect::<Vec<_>>())
    .bind(asked.iter().map(|one| one.marketing).collect::<Vec<_>>())
    .bind(day)
    .bind(caps.daily)
    .bind(caps.country)
    .fetch_all(db)
    .await?;
    rows.iter().map(Gate::read).collect()
}

/// Texts that a look-up must not take for this one: those of the same words to the same recipient that the provider is
/// known to have, and whether there is one of which nobody knows, or for which a person alone has vouched.
pub(crate) type Others = (Vec<String>, bool);

/// A text that was written down, and what others like it are found by.
#[derive(Clone, Copy)]
pub(crate) struct Like<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) message_id: Uuid,
    pub(crate) recipient: &'a str,
    pub(crate) likeness: &'a [u8],
}

/// Texts like this one. To be asked once its row is written: that keeps others from leaving meanwhile, and whatever left
/// before is in the table by then.
pub(crate) async fn others(db: &mut PgConnection, text: Like<'_>) -> Result<Others, Fail> {
    let others = others_all(db, &[text]).await?.pop();
    others.context("the tables say nothing about texts like one").map_err(Fail::Retry)
}

/// The same of many, in their order.
pub(crate) async fn others_all(db: &mut PgConnection, texts: &[Like<'_>]) -> Result<Vec<Others>, sqlx::Error> {
    sqlx::query_as(
        "select o.known, o.uncertain
         from unnest($1::text[], $2::uuid[], $3::text[], $4::bytea[]) with ordinality
             as x(tenant, message_id, recipient, likeness, n)
         cross join lateral (
             select coalesce(array_agg(m.provider_id) filter (where m.provider_id is not null), '{}') as known,
                    coalesce(bool_or(m.status in ('uncertain', 'accepted') and m.provider_id is null), false) as uncertain
             from texter.messages m
             where m.recipient = x.recipient and m.likeness = x.likeness
               and not (m.tenant = x.tenant and m.message_id = x.message_id)
               and coalesce(m.sent_at, m.queued_at) > now() - make_interval(hours => $5)) o
         order by x.n",
    )
    .bind(texts.iter().map(|text| text.tenant).collect::<Vec<_>>())
    .bind(texts.iter().map(|text| text.message_id).collect::<Vec<_>>())
    .bind(texts.iter().map(|text| text.recipient).collect::<Vec<_>>())
    .bind(texts.iter().map(|text| text.likeness).collect::<Vec<_>>())
    .bind(MEMORY_HOURS)
    .fetch_all(db)
    .await
}
