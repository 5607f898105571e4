//! The suppression list: addresses that get no mail, by tenant and stream.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::consent::{Channel, Consent, ConsentSource, ConsentState, Covers};
use omnibus_schemas::mailer::{
    AddSuppression, ConsentChanged, RemoveSuppression, Suppression, SuppressionList, SuppressionReason, Suppressions,
};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::Mailer;

/// Puts an address on the list; for every stream if none is named. Tells what its owner wants, if that was not known: what
/// stands there already keeps its reason, but a bounce, which is nobody's wish.
pub(crate) async fn add(
    cx: &mut Cx<'_>,
    address: &str,
    stream: Option<&str>,
    reason: SuppressionReason,
    since: DateTime<Utc>,
) -> Result<Events, sqlx::Error> {
    let row = sqlx::query(
        "with put as (
             insert into mailer.suppressions as s (tenant, address, stream, reason, since)
             values ($1, lower($2), $3, $4, $5)
             on conflict (tenant, address, stream) do update set reason = excluded.reason, since = excluded.since
                 where s.reason = 'bounced' and excluded.reason <> 'bounced'
             returning address, stream)
         select put.address, put.stream, coalesce(k.kind, put.stream) = 'marketing' as advertising
         from put left join mailer.streams k on k.tenant = $1 and k.stream = put.stream",
    )
    .bind(cx.tenant())
    .bind(address)
    .bind(stream.unwrap_or_default())
    .bind(reason.as_str())
    .bind(since)
    .fetch_optional(cx.db())
    .await?;
    match (row, source(reason)) {
        (Some(row), Some(source)) => told(&row, ConsentState::OptedOut, source),
        _ => Ok(Events::none()),
    }
}

/// How it became known what somebody wants. A bounce says nothing of it.
fn source(reason: SuppressionReason) -> Option<ConsentSource> {
    match reason {
        SuppressionReason::Bounced => None,
        SuppressionReason::Complained => Some(ConsentSource::Complaint),
        SuppressionReason::Unsubscribed => Some(ConsentSource::Link),
        SuppressionReason::Manual => Some(ConsentSource::Command),
    }
}

/// Of a row with address, stream, and whether the stream is for advertising.
fn told(row: &PgRow, state: ConsentState, source: ConsentSource) -> Result<Events, sqlx::Error> {
    let (stream, advertising): (String, bool) = (row.try_get("stream")?, row.try_get("advertising")?);
    Ok(Events::of(ConsentChanged(Consent {
        channel: Channel::Email,
        recipient: row.try_get("address")?,
        sender: None,
        stream: Some(stream).filter(|stream| !stream.is_empty()),
        covers: if advertising { Covers::Marketing } else { Covers::All },
        state,
        source,
    })))
}

impl Handle<AddSuppression> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AddSuppression) -> Result<Events, Fail> {
        let now = cx.now();
        Ok(add(cx, &cmd.address, cmd.stream.as_deref(), SuppressionReason::Manual, now).await?)
    }
}

impl Handle<RemoveSuppression> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RemoveSuppression) -> Result<Events, Fail> {
        let row = sqlx::query(
            "with gone as (
                 delete from mailer.suppressions where tenant = $1 and address = lower($2) and stream = $3
                 returning address, stream, reason)
             select gone.*, coalesce(k.kind, gone.stream) = 'marketing' as advertising
             from gone left join mailer.streams k on k.tenant = $1 and k.stream = gone.stream",
        )
        .bind(cx.tenant())
        .bind(&cmd.address)
        .bind(cmd.stream.as_deref().unwrap_or_default())
        .fetch_optional(cx.db())
        .await?;
        let row = row.ok_or_else(|| Fail::reject("not_found", "the address is not suppressed for that stream"))?;
        match SuppressionReason::parse(row.try_get("reason")?).and_then(source) {
            Some(_) => Ok(told(&row, ConsentState::OptedIn, ConsentSource::Command)?),
            None => Ok(Events::none()),
        }
    }
}

impl Answer<Suppressions> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: Suppressions) -> Result<SuppressionList, AskError> {
        let rows = sqlx::query(
            "select address, stream, reason, since from mailer.suppressions
             where tenant = $1 and address in (
                 select distinct address from mailer.suppressions
                 where tenant = $1 and ($2::text is null or address = lower($2))
                   and ($3::text is null or address > lower($3))
                 order by address limit $4)
             order by address, stream",
        )
        .bind(ask.tenant)
        .bind(&query.address)
        .bind(&query.after)
        .bind(i64::from(query.limit))
        .fetch_all(&mut *ask.db)
        .await?;
        let read = |row: &PgRow| {
            let (stream, reason): (String, String) = (row.try_get(1)?, row.try_get(2)?);
            Ok(Suppression {
                address: row.try_get(0)?,
                stream: Some(stream).filter(|stream| !stream.is_empty()),
                reason: SuppressionReason::parse(&reason)
                    .ok_or_else(|| sqlx::Error::Decode("no such reason".into()))?,
                since: row.try_get(3)?,
            })
        };
        Ok(SuppressionList { suppressions: rows.iter().map(read).collect::<Result<_, sqlx::Error>>()? })
    }
}
