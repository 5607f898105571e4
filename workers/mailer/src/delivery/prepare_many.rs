//! Before the first attempts of many mails at once. Most of them begin here, leave now, and nothing speaks against them: of
//! those, what holds is read by one statement and their rows are written by another. Every other goes by
//! [`prepare`](super::prepare) alone, which comes to the same.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use lettre::Address;
use omnibus_runtime::{Cx, Each, Events, Fail, Meta, One, Prepared};
use omnibus_schemas::mailer::{EmailQueued, Provider, RecipientKind, StreamKind};
use sqlx::PgConnection;
use uuid::Uuid;

use super::prepare::{Rules, domain_of_sender, fits, fresh, read_rules, try_composing, without_nul};
use super::{Dispatch, Order, Plan, parcel};
use crate::Mailer;
use crate::message::{self, From, Stamp};

/// A mail that begins here, as far as it alone can say.
struct Draft<'a> {
    meta: &'a Meta,
    order: Order,
    people: Vec<(RecipientKind, Address)>,
}

/// One against which nothing speaks.
struct Ready<'a> {
    draft: Draft<'a>,
    from: From,
    way: Provider,
    message_id: String,
    unsubscribe: Option<String>,
}

/// How one of many goes on.
enum Going<'a> {
    Together(Box<Ready<'a>>),
    Alone(&'a Meta, Box<Order>),
    /// What there was to say instead of an order.
    Answered(Result<Events, Fail>),
}

impl Mailer {
    pub(super) async fn prepare_orders<C: Dispatch>(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, C>>,
    ) -> Each<Prepared<Plan>> {
        let metas: Vec<&Meta> = many.iter().map(One::meta).collect();
        let orders = C::orders(self, db, many).await?;
        let (mut all, mut drafts, mut seen) = (Vec::with_capacity(metas.len()), Vec::new(), HashSet::new());
        for (meta, order) in metas.into_iter().zip(orders) {
            match order {
                Ok(Ok(order)) => match people_of(&order) {
                    Some(people) if seen.insert((meta.tenant.as_str(), order.email_id)) => {
                        // What comes in its place stands in `all` once its rules are known.
                        drafts.push((all.len(), Draft { meta, order: *order, people }));
                        all.push(None);
                    }
                    _ => all.push(Some(Going::Alone(meta, order))),
                },
                Ok(Err(instead)) => all.push(Some(Going::Answered(Ok(instead)))),
                Err(fail) => all.push(Some(Going::Answered(Err(fail)))),
            }
        }
        let rules = rules_of(db, &drafts).await?;
        for ((place, draft), rules) in drafts.into_iter().zip(rules) {
            all[place] = Some(self.ready(db, draft, rules).await?);
        }
        let all: Vec<Going<'_>> = all.into_iter().flatten().collect();
        let mut queued = queue_all(db, &all).await?;
        let mut answers = Vec::with_capacity(all.len());
        for going in all {
            answers.push(match going {
                Going::Answered(answer) => answer.map(Prepared::Skip),
                Going::Together(ready)
                    if queued.remove(&(ready.draft.meta.tenant.clone(), ready.draft.order.email_id)) =>
                {
                    goes(*ready)
                }
                // Its rows are there already.
                Going::Together(ready) => {
                    let Draft { meta, order, .. } = ready.draft;
                    self.prepare_or_refuse(&mut Cx::new(meta, db), order).await
                }
                Going::Alone(meta, order) => self.prepare_or_refuse(&mut Cx::new(meta, db), *order).await,
            });
        }
        Ok(answers)
    }

    /// Does nothing speak against it? If anything does, it is said, or done, where each goes alone.
    async fn ready<'a>(
        &self,
        db: &mut PgConnection,
        draft: Draft<'a>,
        rules: Result<Rules, Fail>,
    ) -> Result<Going<'a>, Fail> {
        let Draft { meta, order, people } = &draft;
        let email = &order.email;
        let fit = rules.ok().filter(|rules| {
            let to_one_if_marketing = rules.kind == StreamKind::Transactional || people.len() == 1;
            to_one_if_marketing && rules.suppressed.is_empty() && fits(email).is_ok()
        });
        let fit = fit.and_then(|rules| {
            let from = message::sender(email, &self.senders, &rules.domains).ok()?;
            Some((from, self.open_ways(&rules.providers).first().copied()?, rules.kind))
        });
        let Some((from, way, kind)) = fit else { return Ok(draft.alone()) };
        let message_id = self.message_id(order.email_id, &meta.tenant);
        let unsubscribe = match kind {
            StreamKind::Marketing => Some(self.links.unsubscribe(&mut Cx::new(meta, db), order.email_id, 0).await?),
            StreamKind::Transactional => None,
        };
        let stamp = Stamp { message_id: &message_id, date: meta.time, seed: parcel::seed(order.email_id) };
        if try_composing(email, &from, &[], unsubscribe.as_deref(), stamp).is_err() {
            return Ok(draft.alone());
        }
        Ok(Going::Together(Box::new(Ready { draft, from, way, message_id, unsubscribe })))
    }
}

impl<'a> Draft<'a> {
    fn alone(self) -> Going<'a> {
        Going::Alone(self.meta, Box::new(self.order))
    }
}

/// To whom it goes, if it begins here, leaves now, and nothing else has to be looked up for it.
fn people_of(order: &Order) -> Option<Vec<(RecipientKind, Address)>> {
    let email = &order.email;
    let now = email.send_at.is_none() && email.send_at_local.is_none() && email.time_zone.is_none();
    let plain = now && email.attachments.is_empty() && email.cancel_key.is_none();
    let begins = order.begins && order.only.is_empty() && !order.unheard;
    (plain && begins).then(|| message::addressees(email).ok()).flatten()
}

/// As of one mail, for each of these. No address has a line break.
async fn rules_of(
    db: &mut PgConnection,
    drafts: &[(usize, Draft<'_>)],
) -> Result<Vec<Result<Rules, Fail>>, sqlx::Error> {
    if drafts.is_empty() {
        return Ok(vec![]);
    }
    let small = |(_, draft): &(usize, Draft<'_>)| {
        let people = draft.people.iter();
        people.map(|(_, address)| address.to_string().to_lowercase()).collect::<Vec<_>>().join("\n")
    };
    let emails = || drafts.iter().map(|(_, draft)| &draft.order.email);
    let rows = sqlx::query(
        "select s.kind, s.providers,
             array(select p.address || ' ' || p.reason from mailer.suppressions p
                   where p.tenant = x.tenant and p.address = any (string_to_array(x.addresses, chr(10)))
                     and p.stream in ('', x.stream)) as suppressed,
             exists (select from mailer.sender_domains d
                     where d.tenant = x.tenant and d.domain = x.domain and d.confirmed_at is not null) as own
         from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality
             as x(tenant, stream, addresses, domain, n)
         left join lateral (
             select kind, providers from mailer.streams where tenant = x.tenant and stream = x.stream limit 1) s on true
         order by x.n",
    )
    .bind(drafts.iter().map(|(_, draft)| draft.meta.tenant.as_str()).collect::<Vec<_>>())
    .bind(emails().map(|email| email.stream.as_str()).collect::<Vec<_>>())
    .bind(drafts.iter().map(small).collect::<Vec<_>>())
    .bind(emails().map(domain_of_sender).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(rows.iter().zip(emails()).map(|(row, email)| read_rules(row, email)).collect())
}

/// Writes the rows of those that go together, and says whose were not there before. In one order everywhere: who writes the
/// same at the same time waits, and nobody waits in a circle.
async fn queue_all(db: &mut PgConnection, all: &[Going<'_>]) -> Result<HashSet<(String, Uuid)>, sqlx::Error> {
    let together = |going: &Going<'_>| matches!(going, Going::Together(_));
    if !all.iter().any(together) {
        return Ok(HashSet::new());
    }
    let mails = || {
        all.iter().filter_map(|going| match going {
            Going::Together(ready) => Some(&**ready),
            Going::Alone(..) | Going::Answered(_) => None,
        })
    };
    let orders = || mails().map(|ready| (ready.draft.meta, &ready.draft.order));
    // What a secret stands in is not kept to be looked at; a batch's mails are made again from their row.
    let kept =
        || orders().map(|(_, order)| (!order.email.confidential && order.batch.is_none()).then_some(&order.email));
    let people: Vec<(&str, Uuid, i32, String, &str)> = mails()
        .flat_map(|ready| {
            let Draft { meta, order, people } = &ready.draft;
            (0i32..).zip(people).map(move |(recipient, (kind, address))| {
                (meta.tenant.as_str(), order.email_id, recipient, address.to_string(), kind.as_str())
            })
        })
        .collect();
    let rows: Vec<(String, Uuid)> = sqlx::query_as(
        "with x as (
             select * from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[],
                                  $8::text[], $9::bool[], $10::uuid[], $11::int[], $12::text[], $13::text[], $14::text[],
                                  $15::uuid[])
                 as x(tenant, email_id, message_id, transport, queued_at, stream, template, sender, confidential, batch_id,
                      batch_row, subject, body, html, carrier)),
         y as (
             select * from unnest($16::text[], $17::uuid[], $18::int[], $19::text[], $20::text[])
                 as y(tenant, email_id, recipient, address, kind)),
         e as (
             insert into mailer.emails (tenant, email_id, message_id, transport, queued_at, stream, template, sender,
                 confidential, batch_id, batch_row, subject, body, html, carrier)
             select tenant, email_id, message_id, transport, queued_at, stream, template, sender, confidential, batch_id,
                 batch_row, subject, body, html, carrier
             from x order by tenant, email_id
             on conflict (tenant, email_id) do nothing
             returning tenant, email_id, queued_at, stream, template),
         r as (
             insert into mailer.recipients (tenant, email_id, recipient, address, kind, at)
             select y.tenant, y.email_id, y.recipient, y.address, y.kind, e.queued_at
             from y join e on e.tenant = y.tenant and e.email_id = y.email_id
             on conflict do nothing),
         d as (
             insert into mailer.daily as d (tenant, day, stream, template, slot, queued)
             select e.tenant, (e.queued_at at time zone 'UTC')::date, e.stream, coalesce(e.template, ''),
                    pg_backend_pid() % 64, count(*)
             from y join e on e.tenant = y.tenant and e.email_id = y.email_id
             group by 1, 2, 3, 4 order by 1, 2, 3, 4
             on conflict (tenant, day, stream, template, slot) do update set queued = d.queued + excluded.queued)
         select tenant, email_id from e",
    )
    .bind(orders().map(|(meta, _)| meta.tenant.as_str()).collect::<Vec<_>>())
    .bind(orders().map(|(_, order)| order.email_id).collect::<Vec<_>>())
    .bind(mails().map(|ready| ready.message_id.as_str()).collect::<Vec<_>>())
    .bind(mails().map(|ready| ready.way.as_str()).collect::<Vec<_>>())
    .bind(orders().map(|(meta, _)| meta.time).collect::<Vec<DateTime<Utc>>>())
    .bind(orders().map(|(_, order)| order.email.stream.as_str()).collect::<Vec<_>>())
    .bind(orders().map(|(_, order)| order.template.as_deref()).collect::<Vec<_>>())
    .bind(mails().map(|ready| ready.from.address.to_string()).collect::<Vec<_>>())
    .bind(orders().map(|(_, order)| order.email.confidential).collect::<Vec<_>>())
    .bind(orders().map(|(_, order)| order.batch.map(|(batch, _)| batch)).collect::<Vec<_>>())
    .bind(orders().map(|(_, order)| order.batch.map(|(_, row)| row as i32)).collect::<Vec<_>>())
    .bind(kept().map(|email| email.map(|email| without_nul(&email.subject))).collect::<Vec<_>>())
    .bind(kept().map(|email| email.map(|email| without_nul(&email.body))).collect::<Vec<_>>())
    .bind(kept().map(|email| email.and_then(|email| email.html.as_deref().map(without_nul))).collect::<Vec<_>>())
    .bind(orders().map(|(meta, order)| Some(meta.id).filter(|id| *id != order.email_id)).collect::<Vec<_>>())
    .bind(people.iter().map(|(tenant, ..)| *tenant).collect::<Vec<_>>())
    .bind(people.iter().map(|(_, email_id, ..)| *email_id).collect::<Vec<_>>())
    .bind(people.iter().map(|(_, _, recipient, ..)| *recipient).collect::<Vec<_>>())
    .bind(people.iter().map(|(_, _, _, address, _)| address.as_str()).collect::<Vec<_>>())
    .bind(people.iter().map(|(.., kind)| *kind).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().collect())
}

/// What leaves, and what is told before.
fn goes(ready: Ready<'_>) -> Result<Prepared<Plan>, Fail> {
    let Ready { draft: Draft { meta, order, people }, from, way, message_id, unsubscribe } = ready;
    let Order { email_id, email, batch, .. } = order;
    let recipients = u32::try_from(people.len())?;
    let queued = EmailQueued {
        email_id,
        message_id: message_id.clone(),
        recipients,
        stream: email.stream.clone(),
        send_at: None,
    };
    let plan = Plan {
        email_id,
        message_id,
        date: meta.time,
        way,
        from: from.address.to_string(),
        from_name: from.name,
        total: recipients,
        to: fresh(&people),
        suppressed: vec![],
        unsubscribe,
        stored: vec![],
        unheard: false,
        unclear: 0,
        batch,
        email,
    };
    Ok(Prepared::Go(plan, Events::none().about(email_id.to_string(), queued)))
}
