//! Moving recipients upwards in the lattice, and counting that they moved.

use chrono::{DateTime, Utc};
use omnibus_runtime::Cx;
use omnibus_schemas::mailer::{EmailState, Provider};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// What is newly known of one recipient.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) recipient: u32,
    pub(crate) state: EmailState,
    /// A server's words, without addresses.
    pub(crate) detail: Option<String>,
}

/// What else is known with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    /// When it happened.
    pub(crate) at: DateTime<Utc>,
    /// Was this the end of an attempt?
    pub(crate) attempt: bool,
}

/// A recipient that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) recipient: u32,
    pub(crate) state: EmailState,
}

/// What an attempt says of the mail as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Attempted {
    /// Did anybody's copy leave?
    pub(crate) sent: bool,
    pub(crate) way: Provider,
    /// What the server said to the first who was not taken.
    pub(crate) detail: Option<String>,
}

/// One statement: the email's row, its recipients', and the counters. `$email` makes the email's row known as `e`.
macro_rules! moving {
    ($email:literal) => {
        concat!(
            "with e as (",
            $email,
            "),
             x as (select * from unnest($3::int[], $4::text[], $5::text[], $6::text[])
                   as x(recipient, state, reached_from, detail)),
             moved as (
                 update mailer.recipients r
                 set state = x.state, at = $7, detail = coalesce(x.detail, r.detail), tries = r.tries + $8
                 from x, e
                 where r.tenant = $1 and r.email_id = $2 and r.recipient = x.recipient
                   and r.state = any (string_to_array(x.reached_from, ','))
                 returning r.recipient, r.state),
             stayed as (
                 update mailer.recipients r set tries = r.tries + $8 from x
                 where $8 > 0 and r.tenant = $1 and r.email_id = $2 and r.recipient = x.recipient
                   and not exists (select from moved where moved.recipient = r.recipient)),
             counted as (
                 insert into mailer.daily as d (tenant, day, stream, template, slot, deferred, uncertain, cancelled,
                                                suppressed, failed, sent, delivered, bounced, complained)
                 select $1, ($7 at time zone 'UTC')::date, e.stream, coalesce(e.template, ''), pg_backend_pid() % 64,
                        count(*) filter (where m.state = 'deferred'), count(*) filter (where m.state = 'uncertain'),
                        count(*) filter (where m.state = 'cancelled'), count(*) filter (where m.state = 'suppressed'),
                        count(*) filter (where m.state = 'failed'), count(*) filter (where m.state = 'sent'),
                        count(*) filter (where m.state = 'delivered'), count(*) filter (where m.state = 'bounced'),
                        count(*) filter (where m.state = 'complained')
                 from moved m cross join e group by e.stream, e.template
                 on conflict (tenant, day, stream, template, slot) do update
                 set deferred = d.deferred + excluded.deferred, uncertain = d.uncertain + excluded.uncertain,
                     cancelled = d.cancelled + excluded.cancelled, suppressed = d.suppressed + excluded.suppressed,
                     failed = d.failed + excluded.failed, sent = d.sent + excluded.sent,
                     delivered = d.delivered + excluded.delivered, bounced = d.bounced + excluded.bounced,
                     complained = d.complained + excluded.complained)
             select recipient, state from moved order by recipient"
        )
    };
}

/// Writes down what is new, and says what was. News that come late change nothing. Whoever calls holds the lock on the
/// email's row, so two that know something of one mail take turns.
pub(crate) async fn advance(
    cx: &mut Cx<'_>,
    email_id: Uuid,
    changes: &[Change],
    news: News,
) -> Result<Vec<Moved>, sqlx::Error> {
    if changes.is_empty() {
        return Ok(vec![]);
    }
    let statement =
        sqlx::query(moving!("select stream, template from mailer.emails where tenant = $1 and email_id = $2"));
    let rows = bound(statement, cx, email_id, changes, news).fetch_all(cx.db()).await?;
    rows.iter().map(moved).collect()
}

/// The same at the end of an attempt, with what it says of the mail as a whole. Its first part takes the lock on the email's
/// row; a recipient's row that somebody else has changed while it waited is looked at anew before it is written.
pub(crate) async fn advance_attempted(
    cx: &mut Cx<'_>,
    email_id: Uuid,
    changes: &[Change],
    at: DateTime<Utc>,
    attempted: &Attempted,
) -> Result<Vec<Moved>, sqlx::Error> {
    let statement = sqlx::query(moving!(
        "update mailer.emails set sent_at = case when $9 then coalesce(sent_at, $7) else sent_at end, transport = $10,
             detail = $11
         where tenant = $1 and email_id = $2 returning stream, template"
    ));
    let rows = bound(statement, cx, email_id, changes, News { at, attempt: true })
        .bind(attempted.sent)
        .bind(attempted.way.as_str())
        .bind(&attempted.detail)
        .fetch_all(cx.db())
        .await?;
    rows.iter().map(moved).collect()
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bound<'q>(statement: Statement<'q>, cx: &Cx<'_>, email_id: Uuid, changes: &[Change], news: News) -> Statement<'q> {
    let from = |change: &Change| {
        let mut from: Vec<_> = change.state.reached_from().map(EmailState::as_str).collect();
        if change.state == EmailState::Deferred && news.attempt {
            // Another "later" is news, though no other state.
            from.push(EmailState::Deferred.as_str());
        }
        from.join(",")
    };
    statement
        .bind(cx.tenant().to_owned())
        .bind(email_id)
        .bind(changes.iter().map(|change| change.recipient as i32).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.state.as_str()).collect::<Vec<_>>())
        .bind(changes.iter().map(from).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.detail.clone()).collect::<Vec<_>>())
        .bind(news.at)
        .bind(i32::from(news.attempt))
}

fn moved(row: &PgRow) -> Result<Moved, sqlx::Error> {
    let word: String = row.try_get(1)?;
    let state = EmailState::parse(&word).ok_or_else(|| sqlx::Error::Decode("no such state".into()))?;
    Ok(Moved { recipient: row.try_get::<i32, _>(0)?.unsigned_abs(), state })
}
