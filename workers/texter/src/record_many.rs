//! After many calls at once. Most of them are first tries that their provider took over and nobody has said anything of since:
//! that is written by one statement for all. Every other goes by [`took_over`](Texter::took_over) alone, which comes to the
//! same.

use std::collections::{HashMap, HashSet};

use omnibus_runtime::{Cx, Each, Events, Fail, Returned};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::draft::Plan;
use crate::outcome::{COLUMNS, Sent};
use crate::provider::Receipt;
use crate::{Texter, ledger, locks, status};

type Many<'a> = Returned<'a, Plan, Receipt>;

impl Texter {
    /// As [`took_over`](Texter::took_over), for texts of any tenants. What there is to tell of each, in their order.
    pub(crate) async fn took_over_all(&self, db: &mut PgConnection, many: Vec<Many<'_>>) -> Each<Events> {
        if !many.iter().all(is_common) {
            locks::take(db, many.iter().map(|one| (one.tenant(), one.meta().id)).collect()).await?;
        }
        let mut written = write(db, many.iter().filter(|one| is_common(one)).collect()).await?;
        let (mut answers, mut watched) = (Vec::with_capacity(many.len()), HashSet::new());
        for one in many {
            let meta = one.meta();
            let (plan, done) = (one.plan, one.done);
            let mut cx = Cx::new(meta, &mut *db);
            let (sent, events) = match written.remove(&(meta.tenant.clone(), meta.id)) {
                None => self.took_over(&mut cx, &plan, &done).await?,
                // What all of them have cost is in the sums by now: they are looked at once.
                Some(sent) if plan.low => {
                    let account = &plan.account;
                    let (day, country) = (account.day, account.country.clone());
                    let watch = watched.insert((meta.tenant.as_str(), day, country.clone()));
                    let events = match watch {
                        true => ledger::watch(&mut cx, &self.caps, day, &country, &account.currency).await?,
                        false => Events::none(),
                    };
                    (sent, events)
                }
                Some(sent) => (sent, Events::none()),
            };
            answers.push(Ok(events.join(sent.event(meta.id))));
        }
        Ok(answers)
    }
}

/// Is there nothing to write but that it was taken over, as far as the call can say?
fn is_common(one: &Many<'_>) -> bool {
    let (plan, done) = (&one.plan, &one.done);
    !plan.probes && done.price_micro.is_none() && status::counts_as(done.status).is_none()
}

/// Writes down that a provider has these, where their rows still stand as their first try left them: those that it says.
///
/// In one order, as everywhere: two that write the same at the same time do not wait in a circle. Each row is looked up by its
/// key before it is written: of a table that was never analysed the planner would read all. Once it is locked it does not
/// move; one that somebody wrote just before is not seen by the update, and goes alone.
async fn write(db: &mut PgConnection, mut texts: Vec<&Many<'_>>) -> Result<HashMap<(String, Uuid), Sent>, Fail> {
    if texts.is_empty() {
        return Ok(HashMap::new());
    }
    texts.sort_by_key(|one| (one.tenant(), one.meta().id));
    let statement = format!(
        "with x as (
             select * from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[])
                 as x(tenant, message_id, provider, provider_id, status, at, estimate)
         ), moved as (
             update texter.messages m
             set provider_id = x.provider_id, provider = x.provider, detail = null, status = x.status, sent_at = x.at,
                 revision = m.revision + 1
             from x cross join lateral (
                 select ctid as place, status = 'queued' and provider_id is null and sent_at is null
                     and estimate_micro = x.estimate as untouched
                 from texter.messages where tenant = x.tenant and message_id = x.message_id limit 1 for update) found
             where m.ctid = found.place and found.untouched
             returning m.*
         ), counted as (
             insert into texter.deltas (tenant, day, country, what, n)
             select tenant, day, country, 'sent', count(*) from moved group by tenant, day, country
         )
         select tenant, message_id, {COLUMNS} from moved"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(texts.iter().map(|one| one.tenant()).collect::<Vec<_>>())
        .bind(texts.iter().map(|one| one.meta().id).collect::<Vec<_>>())
        .bind(texts.iter().map(|one| one.plan.provider.as_str()).collect::<Vec<_>>())
        .bind(texts.iter().map(|one| one.done.provider_id.as_str()).collect::<Vec<_>>())
        .bind(texts.iter().map(|one| status::word(one.done.status)).collect::<Vec<_>>())
        .bind(texts.iter().map(|one| one.done.at).collect::<Vec<_>>())
        .bind(texts.iter().map(|one| one.plan.estimate).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| Ok::<_, Fail>((key(row)?, Sent::read(row)?))).collect()
}

fn key(row: &PgRow) -> Result<(String, Uuid), sqlx::Error> {
    Ok((row.try_get("tenant")?, row.try_get("message_id")?))
}
