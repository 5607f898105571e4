//! After many attempts at once. Most of them brought every copy to the next server, and that is written by one statement for
//! all. Every other goes by [`record`](super::record) alone, which comes to the same.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Each, Events, Returned};
use omnibus_schemas::mailer::{EmailSent, EmailState};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Plan;
use crate::Mailer;
use crate::transport::{Receipt, Verdict};

impl Mailer {
    pub(super) async fn record_receipts(
        &self,
        db: &mut PgConnection,
        many: Vec<Returned<'_, Plan, Receipt>>,
    ) -> Each<Events> {
        let mut seen = HashSet::new();
        let common: Vec<bool> = many
            .iter()
            .map(|one| all_sent(&one.plan, &one.done) && seen.insert((one.tenant(), one.plan.email_id)))
            .collect();
        let together = many.iter().zip(&common).filter(|(_, common)| **common).map(|(one, _)| one);
        write(db, together.map(|one| Mail { tenant: one.tenant(), plan: &one.plan, at: one.done.at }).collect())
            .await?;
        let mut answers = Vec::with_capacity(many.len());
        for (one, common) in many.into_iter().zip(common) {
            let meta = one.meta();
            answers.push(match common {
                true => Ok(told(one.plan)),
                false => self.record_receipt(&mut Cx::new(meta, &mut *db), one.plan, one.done).await,
            });
        }
        Ok(answers)
    }
}

/// A mail of which the next server took every copy.
struct Mail<'a> {
    tenant: &'a str,
    plan: &'a Plan,
    at: DateTime<Utc>,
}

fn all_sent(plan: &Plan, done: &Receipt) -> bool {
    let sent = done.verdicts.iter().all(|verdict| *verdict == Verdict::Sent);
    sent && done.verdicts.len() == plan.to.len() && plan.suppressed.is_empty()
}

/// The command's outcome.
fn told(plan: Plan) -> Events {
    let Plan { email_id, message_id, total, way, .. } = plan;
    let transport = way.as_str().to_owned();
    let sent = EmailSent { email_id, message_id, recipients: total, refused: 0, transport };
    Events::none().about(email_id.to_string(), sent)
}

/// The emails' rows, their recipients', and the counters. Who changes a mail's recipients holds its row: once all of those are
/// locked, what the second statement finds does not move, and may be written where it was found.
async fn write(db: &mut PgConnection, mut mails: Vec<Mail<'_>>) -> Result<(), sqlx::Error> {
    if mails.is_empty() {
        return Ok(());
    }
    // In one order everywhere, so that nobody waits in a circle.
    mails.sort_by_key(|mail| (mail.tenant, mail.plan.email_id));
    let tenants: Vec<&str> = mails.iter().map(|mail| mail.tenant).collect();
    let ids: Vec<Uuid> = mails.iter().map(|mail| mail.plan.email_id).collect();
    sqlx::query(
        "select count(e.one) from unnest($1::text[], $2::uuid[]) as x(tenant, email_id)
         cross join lateral (
             select 1 as one from mailer.emails where tenant = x.tenant and email_id = x.email_id limit 1 for update) e",
    )
    .bind(&tenants)
    .bind(&ids)
    .execute(&mut *db)
    .await?;
    let copies: Vec<(&Mail<'_>, i32)> = mails
        .iter()
        .flat_map(|mail| mail.plan.to.iter().map(move |addressee| (mail, addressee.recipient as i32)))
        .collect();
    // Each row is looked up by its key before it is joined: of a table that was never analysed the planner would read all.
    sqlx::query(
        "with x as (
             select * from unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::text[]) as x(tenant, email_id, at, way)),
         y as (
             select * from unnest($5::text[], $6::uuid[], $7::int[], $8::timestamptz[])
                 as y(tenant, email_id, recipient, at)),
         e as (
             update mailer.emails m set sent_at = coalesce(m.sent_at, x.at), transport = x.way, detail = null
             from x cross join lateral (
                 select ctid from mailer.emails where tenant = x.tenant and email_id = x.email_id limit 1) found
             where m.ctid = found.ctid
             returning m.tenant, m.email_id, m.stream, m.template, x.at),
         moved as (
             update mailer.recipients r
             set state = case when found.below then $9 else r.state end, at = case when found.below then y.at else r.at end,
                 tries = r.tries + 1
             from y cross join lateral (
                 select ctid, state = any ($10) as below from mailer.recipients
                 where tenant = y.tenant and email_id = y.email_id and recipient = y.recipient limit 1) found
             where r.ctid = found.ctid
             returning r.tenant, r.email_id, found.below)
         insert into mailer.daily as d (tenant, day, stream, template, slot, sent)
         select e.tenant, (e.at at time zone 'UTC')::date, e.stream, coalesce(e.template, ''), pg_backend_pid() % 64, count(*)
         from moved join e on e.tenant = moved.tenant and e.email_id = moved.email_id
         where moved.below
         group by 1, 2, 3, 4 order by 1, 2, 3, 4
         on conflict (tenant, day, stream, template, slot) do update set sent = d.sent + excluded.sent",
    )
    .bind(&tenants)
    .bind(&ids)
    .bind(mails.iter().map(|mail| mail.at).collect::<Vec<_>>())
    .bind(mails.iter().map(|mail| mail.plan.way.as_str()).collect::<Vec<_>>())
    .bind(copies.iter().map(|(mail, _)| mail.tenant).collect::<Vec<_>>())
    .bind(copies.iter().map(|(mail, _)| mail.plan.email_id).collect::<Vec<_>>())
    .bind(copies.iter().map(|(_, recipient)| *recipient).collect::<Vec<_>>())
    .bind(copies.iter().map(|(mail, _)| mail.at).collect::<Vec<_>>())
    .bind(EmailState::Sent.as_str())
    .bind(EmailState::Sent.reached_from().map(EmailState::as_str).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
