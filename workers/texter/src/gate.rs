//! Everything that speaks for or against a text, read in one statement.

use chrono::NaiveDate;
use omnibus_runtime::{Cx, Fail};
use sqlx::Row;

use crate::ledger::{Caps, Purse};
use crate::quiet::QuietHours;

/// For how long texts like this one are kept apart: a provider lists a day's.
const MEMORY_HOURS: i32 = 48;

/// What is asked.
pub(crate) struct Question<'a> {
    pub(crate) recipient: &'a str,
    pub(crate) country: &'a str,
    pub(crate) day: NaiveDate,
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

pub(crate) async fn read(cx: &mut Cx<'_>, caps: &Caps, asked: &Question<'_>) -> Result<Gate, Fail> {
    let (tenant, message_id) = (cx.tenant(), cx.meta().id);
    let row = sqlx::query(
        "select m.status, m.provider, m.day, q.begins, q.ends, q.timezone,
             array(select sender from texter.opt_outs
                   where tenant = $1 and recipient = $3 and (covers = 'all' or $6)) as opted_out,
             array(select provider from texter.stops where tenant in ('', $1) and until > now()) as stopped,
             array(select provider from texter.stops where tenant in ('', $1) and until <= now()) as paused,
             coalesce(b.daily_micro, $7) + coalesce(f.more_micro, 0) as cap,
             coalesce(bc.daily_micro, $8) + coalesce(fc.more_micro, 0) as country_cap,
             coalesce(f.blown, false) as blown, coalesce(fc.blown, false) as country_blown,
             coalesce(s.spent, 0)::bigint as spent, coalesce(s.country_spent, 0)::bigint as country_spent
         from (select sum(n) as spent, sum(n) filter (where country = $4) as country_spent from (
                   select n, country from texter.tallies where tenant = $1 and day = $5 and what = 'spend'
                   union all
                   select n, country from texter.deltas where tenant = $1 and day = $5 and what = 'spend') sums) s
         left join texter.messages m on m.tenant = $1 and m.message_id = $2
         left join texter.quiet_hours q on q.tenant = $1
         left join texter.budgets b on b.tenant = $1 and b.country = ''
         left join texter.budgets bc on bc.tenant = $1 and bc.country = $4
         left join texter.fuses f on f.tenant = $1 and f.country = '' and f.day = $5
         left join texter.fuses fc on fc.tenant = $1 and fc.country = $4 and fc.day = $5",
    )
    .bind(tenant)
    .bind(message_id)
    .bind(asked.recipient)
    .bind(asked.country)
    .bind(asked.day)
    .bind(asked.marketing)
    .bind(caps.daily)
    .bind(caps.country)
    .fetch_one(cx.db())
    .await?;
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

/// Texts that a look-up must not take for this one: those of the same words to the same recipient that the provider is
/// known to have, and whether there is one of which nobody knows, or for which a person alone has vouched. To be asked
/// once this one's row is written: that keeps others from leaving meanwhile, and whatever left before is in the table
/// by then.
pub(crate) async fn others(
    cx: &mut Cx<'_>,
    recipient: &str,
    likeness: &[u8],
) -> Result<(Vec<String>, bool), sqlx::Error> {
    let (tenant, message_id) = (cx.tenant(), cx.meta().id);
    sqlx::query_as(
        "select coalesce(array_agg(provider_id) filter (where provider_id is not null), '{}'),
                coalesce(bool_or(status in ('uncertain', 'accepted') and provider_id is null), false)
         from texter.messages
         where recipient = $3 and likeness = $4 and not (tenant = $1 and message_id = $2)
           and coalesce(sent_at, queued_at) > now() - make_interval(hours => $5)",
    )
    .bind(tenant)
    .bind(message_id)
    .bind(recipient)
    .bind(likeness)
    .bind(MEMORY_HOURS)
    .fetch_one(cx.db())
    .await
}
