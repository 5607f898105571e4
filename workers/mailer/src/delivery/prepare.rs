//! Before each attempt: the mail gets its rows if it has none, and what is about to leave is decided from what holds
//! now. Suppressions, the sender's domain and the route are looked at when the mail leaves, not when it is queued.

use chrono::{DateTime, Utc};
use lettre::Address;
use omnibus_runtime::{Cx, Events, Fail, Prepared};
use omnibus_schemas::mailer::{
    DeliverEmail, DeliveryCause, EmailQueued, EmailSent, EmailState, EmailSuppressed, Provider, RecipientKind,
    SendEmail, StreamKind,
};
use sqlx::Row;
use uuid::Uuid;

use super::rows::{Change, News, advance};
use super::{Addressee, Order, Plan, ledger, schedule, secret};
use crate::Mailer;
use crate::message::{self, From, Letter, Stamp, Unfit};

/// What holds for a tenant's mail of this stream, to these addresses, from this sender.
pub(super) struct Rules {
    pub(super) kind: StreamKind,
    /// The tenant's route; empty for the installation's.
    pub(super) providers: Vec<Provider>,
    /// Suppressed addresses in small letters, and why.
    pub(super) suppressed: Vec<(String, String)>,
    /// The tenant's own domains, as far as they matter here.
    pub(super) domains: Vec<String>,
}

/// The email's row.
pub(super) struct Known {
    fresh: bool,
    message_id: String,
    queued_at: DateTime<Utc>,
    /// Its `Date`: when it is to leave.
    date: DateTime<Utc>,
    way: Option<Provider>,
    cancelled: bool,
}

impl Mailer {
    pub(super) async fn prepare_order(&self, cx: &mut Cx<'_>, order: Order) -> Result<Prepared<Plan>, Fail> {
        let email = &order.email;
        let people = message::addressees(email).map_err(unfit)?;
        let rules = rules(cx, email, &people).await?;
        if rules.kind == StreamKind::Marketing && people.len() != 1 {
            let detail = "a mail of a marketing stream carries its one recipient's own unsubscribe link: address it to \
                          one, or use POST /api/v1/email/batch";
            return Err(Fail::reject("one_recipient", detail));
        }
        let from = message::sender(email, &self.senders, &rules.domains).map_err(unfit)?;
        let send_at = if order.begins { schedule::send_at(email, cx.now())? } else { None };
        if send_at.is_some() && email.confidential {
            let detail =
                "/send_at: a mail that holds a secret can't wait, for its text would have to be kept meanwhile";
            return Err(Fail::reject("invalid", detail));
        }
        fits(email)?;
        let stored = self.stored_files(cx, email).await?;
        let open = self.open_ways(&rules.providers);
        let first = open.first().copied().ok_or_else(no_way)?;
        let known = match order.begins {
            true => self.queue(cx, &order, &people, &from, first, send_at, &stored).await?,
            false => known(cx, &order).await?,
        };
        let unsubscribe = match rules.kind {
            StreamKind::Marketing => Some(self.links.unsubscribe(cx, order.email_id, 0).await?),
            StreamKind::Transactional => None,
        };
        let stamp =
            Stamp { message_id: &known.message_id, date: known.date, seed: super::parcel::seed(order.email_id) };
        try_composing(email, &from, &stored, unsubscribe.as_deref(), stamp)?;
        let queued = EmailQueued {
            email_id: order.email_id,
            message_id: known.message_id.clone(),
            recipients: u32::try_from(people.len())?,
            stream: email.stream.clone(),
            send_at,
        };
        let about = order.email_id.to_string();
        if let (Some(at), true) = (send_at, known.fresh) {
            let due =
                DeliverEmail { email_id: order.email_id, email: order.email, only: vec![], cause: DeliveryCause::Due };
            return Ok(Prepared::Skip(Events::none().about(about, queued).then_at(at, due)));
        }
        if known.cancelled {
            return Ok(Prepared::Skip(Events::none()));
        }
        if let Some(cancelled) = crate::cancel::retracted(cx, order.email_id, email, known.queued_at).await? {
            return Ok(Prepared::Skip(cancelled));
        }
        let events = if known.fresh { Events::none().about(about, queued) } else { Events::none() };
        let mut to = match known.fresh {
            true => fresh(&people),
            false => waiting(cx, &order).await?,
        };
        if email.confidential && !known.fresh {
            secret::note_later(cx, order.email_id, &mut to).await?;
        }
        let mut suppressed = Vec::new();
        to.retain(|addressee| {
            let address = addressee.address.to_lowercase();
            let hit = rules.suppressed.iter().find(|(suppressed, _)| *suppressed == address);
            suppressed.extend(hit.map(|(_, reason)| (addressee.recipient, reason.clone())));
            hit.is_none()
        });
        if to.is_empty() {
            let told = self.nobody_left(cx, &order, &known, people.len(), &suppressed).await?;
            return Ok(Prepared::Skip(events.join(told)));
        }
        let spent = if known.fresh { ledger::Spent::default() } else { ledger::spent(cx).await? };
        let way = match (order.unheard, known.way) {
            // What a person asks for again leaves by the way on which it was lost.
            (true, Some(way)) => way,
            _ => ledger::next_way(&open, spent, known.way).ok_or_else(no_way)?,
        };
        if known.way != Some(way) || !order.begins {
            sqlx::query("update mailer.emails set transport = $3, carrier = $4 where tenant = $1 and email_id = $2")
                .bind(cx.tenant())
                .bind(order.email_id)
                .bind(way.as_str())
                .bind(carrier(cx, &order))
                .execute(cx.db())
                .await?;
        }
        let plan = Plan {
            email_id: order.email_id,
            message_id: known.message_id,
            date: known.date,
            way,
            from: from.address.to_string(),
            from_name: from.name,
            total: u32::try_from(people.len())?,
            to,
            suppressed,
            unsubscribe,
            stored,
            // A person who looked at it may ask for another attempt; the first one only waits for them.
            unheard: order.unheard && spent == ledger::Spent::default(),
            unclear: spent.unclear,
            batch: order.batch,
            email: order.email,
        };
        Ok(Prepared::Go(plan, events))
    }

    #[expect(clippy::too_many_arguments, reason = "they are the columns of one row")]
    /// The email's rows, made on the first attempt. Its Message-ID stays what it was then, whatever the settings are now.
    async fn queue(
        &self,
        cx: &mut Cx<'_>,
        order: &Order,
        people: &[(RecipientKind, Address)],
        from: &From,
        way: Provider,
        send_at: Option<DateTime<Utc>>,
        stored: &[super::plan::Stored],
    ) -> Result<Known, Fail> {
        let email = &order.email;
        // What a secret stands in is not kept to be looked at; a batch's mails are made again from their row.
        let kept = (!email.confidential && order.batch.is_none()).then_some(email);
        let row = sqlx::query(
            "with e as (
                 insert into mailer.emails (tenant, email_id, message_id, transport, queued_at, stream, template, sender,
                     confidential, cancel_key, send_at, batch_id, batch_row, subject, body, html, attachments, carrier)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $20)
                 on conflict (tenant, email_id) do update set carrier = excluded.carrier
                 returning (xmax = 0) as fresh, message_id, queued_at, transport, cancelled_at is not null as cancelled,
                     coalesce(send_at, queued_at) as date),
             r as (
                 insert into mailer.recipients (tenant, email_id, recipient, address, kind, at)
                 select $1, $2, x.n - 1, x.address, x.kind, $5
                 from unnest($18::text[], $19::text[]) with ordinality as x(address, kind, n)
                 on conflict do nothing),
             d as (
                 insert into mailer.daily as d (tenant, day, stream, template, slot, queued)
                 select $1, ($5 at time zone 'UTC')::date, $6, coalesce($7, ''), pg_backend_pid() % 64, cardinality($18)
                 from e where e.fresh
                 on conflict (tenant, day, stream, template, slot) do update set queued = d.queued + excluded.queued)
             select fresh, message_id, queued_at, transport, cancelled, date from e",
        )
        .bind(cx.tenant())
        .bind(order.email_id)
        .bind(self.message_id(order.email_id, cx.tenant()))
        .bind(way.as_str())
        .bind(cx.now())
        .bind(&email.stream)
        .bind(&order.template)
        .bind(from.address.to_string())
        .bind(email.confidential)
        .bind(&email.cancel_key)
        .bind(send_at)
        .bind(order.batch.map(|(batch, _)| batch))
        .bind(order.batch.map(|(_, row)| row as i32))
        .bind(kept.map(|email| without_nul(&email.subject)))
        .bind(kept.map(|email| without_nul(&email.body)))
        .bind(kept.and_then(|email| email.html.as_deref().map(without_nul)))
        .bind(super::files::listed(email, stored))
        .bind(people.iter().map(|(_, address)| address.to_string()).collect::<Vec<_>>())
        .bind(people.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>())
        .bind(carrier(cx, order))
        .fetch_one(cx.db())
        .await?;
        read_known(&row).map_err(Fail::from)
    }

    /// The same for every attempt. The tenant is in it, as a hash: ids come from callers, and two tenants that choose
    /// the same one must not be taken for each other, be it by a receiving server or by the folder's file names.
    pub(super) fn message_id(&self, email_id: Uuid, tenant: &str) -> String {
        let tenant = Uuid::new_v5(&email_id, tenant.as_bytes()).as_fields().0;
        format!("<{email_id}-{tenant:08x}@{}>", self.senders.address.domain())
    }

    /// The tenant's route as far as this worker can follow it, else the installation's.
    pub(super) fn open_ways(&self, route: &[Provider]) -> Vec<Provider> {
        let open: Vec<_> = route.iter().copied().filter(|way| self.transport.has(*way)).collect();
        if open.is_empty() && route.is_empty() { self.transport.order().to_vec() } else { open }
    }

    /// Nobody is left to send to: they are suppressed, or have it already.
    async fn nobody_left(
        &self,
        cx: &mut Cx<'_>,
        order: &Order,
        known: &Known,
        people: usize,
        suppressed: &[(u32, String)],
    ) -> Result<Events, Fail> {
        let mut events = suppress(cx, order.email_id, suppressed, cx.now()).await?;
        if events.is_empty() && order.begins {
            let sent: i64 = sqlx::query_scalar(
                "select count(*) from mailer.recipients
                 where tenant = $1 and email_id = $2 and state = any ($3)",
            )
            .bind(cx.tenant())
            .bind(order.email_id)
            .bind([EmailState::Sent, EmailState::Delivered].map(EmailState::as_str).as_slice())
            .fetch_one(cx.db())
            .await?;
            if sent > 0 {
                let refused = u32::try_from(people)?.saturating_sub(u32::try_from(sent)?);
                let transport = known.way.map_or("smtp", Provider::as_str).to_owned();
                let (email_id, message_id) = (order.email_id, known.message_id.clone());
                let recipients = u32::try_from(people)?;
                events = events.about(
                    order.email_id.to_string(),
                    EmailSent { email_id, message_id, recipients, refused, transport },
                );
            }
        }
        Ok(events)
    }
}

/// Everything that could be wrong with a mail is found before it is accepted or scheduled, not when it leaves. Its
/// addresses have been read.
pub(super) fn try_composing(
    email: &SendEmail,
    from: &From,
    stored: &[super::plan::Stored],
    unsubscribe: Option<&str>,
    stamp: Stamp<'_>,
) -> Result<(), Fail> {
    let files = super::files::inline(email, stored)?;
    let letter = Letter { email, from, files: &files, unsubscribe, stamp };
    if !message::surely_fit(&letter) {
        message::compose(&letter, None).map_err(unfit)?;
    }
    Ok(())
}

/// Writes down that these recipients get no copy.
pub(super) async fn suppress(
    cx: &mut Cx<'_>,
    email_id: Uuid,
    suppressed: &[(u32, String)],
    at: DateTime<Utc>,
) -> Result<Events, Fail> {
    let changes: Vec<_> = suppressed
        .iter()
        .map(|(recipient, reason)| Change {
            recipient: *recipient,
            state: EmailState::Suppressed,
            detail: Some(format!("the address is suppressed: {reason}")),
        })
        .collect();
    let moved = advance(cx, email_id, &changes, News { at, attempt: false }).await?;
    Ok(moved.iter().fold(Events::none(), |events, moved| {
        let reason = suppressed.iter().find(|(recipient, _)| *recipient == moved.recipient);
        let reason = reason.map(|(_, reason)| reason.clone()).unwrap_or_default();
        events.about(email_id.to_string(), EmailSuppressed { email_id, recipient: moved.recipient, reason })
    }))
}

async fn rules(cx: &mut Cx<'_>, email: &SendEmail, people: &[(RecipientKind, Address)]) -> Result<Rules, Fail> {
    let domain = domain_of_sender(email);
    let row = sqlx::query(
        "select s.kind, s.providers,
             array(select p.address || ' ' || p.reason from mailer.suppressions p
                   where p.tenant = $1 and p.address = any ($3) and p.stream in ('', $2)) as suppressed,
             exists (select from mailer.sender_domains d
                     where d.tenant = $1 and d.domain = $4 and d.confirmed_at is not null) as own
         from (values (1)) as one(n) left join mailer.streams s on s.tenant = $1 and s.stream = $2",
    )
    .bind(cx.tenant())
    .bind(&email.stream)
    .bind(people.iter().map(|(_, address)| address.to_string().to_lowercase()).collect::<Vec<_>>())
    .bind(&domain)
    .fetch_one(cx.db())
    .await?;
    read_rules(&row, email)
}

/// The domain from which a mail is said to come, if it says so.
pub(super) fn domain_of_sender(email: &SendEmail) -> Option<String> {
    email.from.as_deref().and_then(|from| from.rsplit('@').next()).map(str::to_ascii_lowercase)
}

/// From a row of the stream's kind and its route, what is suppressed, and whether the sender's domain is the tenant's own.
pub(super) fn read_rules(row: &sqlx::postgres::PgRow, email: &SendEmail) -> Result<Rules, Fail> {
    let kind = match (row.try_get::<Option<String>, _>(0)?.as_deref(), email.stream.as_str()) {
        (Some("marketing"), _) | (None, "marketing") => StreamKind::Marketing,
        (Some(_), _) | (None, "transactional") => StreamKind::Transactional,
        (None, _) => {
            let detail = "/stream names no stream of this tenant: name it with PUT /api/v1/email/streams/{stream}";
            return Err(Fail::reject("unknown_stream", detail));
        }
    };
    let providers = row.try_get::<Option<Vec<String>>, _>(1)?.unwrap_or_default();
    let suppressed: Vec<String> = row.try_get(2)?;
    Ok(Rules {
        kind,
        providers: providers.iter().filter_map(|word| Provider::parse(word)).collect(),
        suppressed: suppressed
            .iter()
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(address, reason)| (address.to_owned(), reason.to_owned()))
            .collect(),
        domains: domain_of_sender(email).filter(|_| row.try_get(3).unwrap_or(false)).into_iter().collect(),
    })
}

/// The row of an email that began before, locked.
async fn known(cx: &mut Cx<'_>, order: &Order) -> Result<Known, Fail> {
    let row = sqlx::query(
        "select false, message_id, queued_at, transport, cancelled_at is not null, coalesce(send_at, queued_at)
         from mailer.emails where tenant = $1 and email_id = $2 for update",
    )
    .bind(cx.tenant())
    .bind(order.email_id)
    .fetch_optional(cx.db())
    .await?;
    match row {
        Some(row) => Ok(read_known(&row)?),
        None => Err(Fail::reject("not_found", "there is no such email")),
    }
}

fn read_known(row: &sqlx::postgres::PgRow) -> Result<Known, sqlx::Error> {
    Ok(Known {
        fresh: row.try_get(0)?,
        message_id: row.try_get(1)?,
        queued_at: row.try_get(2)?,
        way: row.try_get::<Option<String>, _>(3)?.as_deref().and_then(Provider::parse),
        cancelled: row.try_get(4)?,
        date: row.try_get(5)?,
    })
}

pub(super) fn fresh(people: &[(RecipientKind, Address)]) -> Vec<Addressee> {
    let one = |(recipient, (_, address)): (u32, &(RecipientKind, Address))| Addressee {
        recipient,
        address: address.to_string(),
        tries: 0,
    };
    (0..).zip(people).map(one).collect()
}

/// Those who have not got it. A copy of which nobody knows is among them: if this runs, its policy or a person has
/// decided to send it again.
async fn waiting(cx: &mut Cx<'_>, order: &Order) -> Result<Vec<Addressee>, sqlx::Error> {
    use EmailState::{Deferred, Failed, Queued, Uncertain};
    // A follow-up meets somebody given up only when a person takes its dead letter out again.
    let again = !order.begins || order.batch.is_some();
    let states = [Queued, Deferred, Uncertain, if again { Failed } else { Queued }];
    let rows = sqlx::query(
        "select recipient, address, tries from mailer.recipients
         where tenant = $1 and email_id = $2 and state = any ($3) and (cardinality($4::int[]) = 0 or recipient = any ($4))
         order by recipient",
    )
    .bind(cx.tenant())
    .bind(order.email_id)
    .bind(states.map(EmailState::as_str).as_slice())
    .bind(order.only.iter().map(|recipient| *recipient as i32).collect::<Vec<_>>())
    .fetch_all(cx.db())
    .await?;
    let read = |row: &sqlx::postgres::PgRow| {
        Ok(Addressee {
            recipient: row.try_get::<i32, _>(0)?.unsigned_abs(),
            address: row.try_get(1)?,
            tries: row.try_get::<i32, _>(2)?.unsigned_abs(),
        })
    };
    rows.iter().map(read).collect()
}

pub(super) fn unfit(error: Unfit) -> Fail {
    Fail::reject(error.code(), error.to_string())
}

fn no_way() -> Fail {
    let detail = "the tenant's route names no provider that this installation is set up for: change it with PUT \
                  /api/v1/email/routes/{stream}";
    Fail::reject("no_provider", detail)
}

/// The command that carries the mail, where that is not the one it is named after.
fn carrier(cx: &Cx<'_>, order: &Order) -> Option<Uuid> {
    Some(cx.meta().id).filter(|id| *id != order.email_id)
}

/// Bytes of a mail's text and inline files. A follow-up carries them, and must fit into a message of the bus.
const LARGEST: usize = 880 * 1024;

pub(super) fn fits(email: &SendEmail) -> Result<(), Fail> {
    let files: usize = email.attachments.iter().filter_map(|file| file.content.as_ref()).map(String::len).sum();
    let bytes = email.body.len() + email.html.as_ref().map_or(0, String::len) + files;
    match bytes > LARGEST {
        true => {
            let detail = format!(
                "text, HTML and inline files have {bytes} bytes in all, at most {LARGEST} are carried: upload the files \
                 with POST /api/v1/email/attachments"
            );
            Err(Fail::reject("message_too_large", detail))
        }
        false => Ok(()),
    }
}

/// PostgreSQL's text holds every character but this one.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
