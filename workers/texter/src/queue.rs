//! The rows of texts that are about to leave for the first time: each text's own, its estimate in the ledger, and what that
//! adds to what its tenant has spent today. One statement for one text or for many.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::draft::{Plan, category_word, encoding_word};

/// A text that is to be written down.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) message_id: Uuid,
    /// The command's own time.
    pub(crate) queued_at: DateTime<Utc>,
    pub(crate) plan: &'a Plan,
    pub(crate) likeness: &'a [u8],
}

/// Writes them. `false` if one could not be, because the same words are on their way to the same recipient; then the
/// transaction must be rolled back. In one order everywhere: who writes the same at the same time waits, and nobody waits in
/// a circle.
///
/// What they cost is counted in one row for each day and country: every text that leaves adds up what is not rolled up yet.
pub(crate) async fn write(db: &mut PgConnection, rows: &[Row<'_>]) -> Result<bool, sqlx::Error> {
    let plans = || rows.iter().map(|row| row.plan);
    let accounts = || plans().map(|plan| &plan.account);
    let written: i64 = sqlx::query_scalar(
        "with x as (
             select * from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                  $8::int[], $9::text[], $10::text[], $11::bytea[], $12::uuid[], $13::text[],
                                  $14::bigint[], $15::date[], $16::timestamptz[], $17::text[], $18::text[],
                                  $19::timestamptz[])
                 as x(tenant, message_id, recipient, country, sender, provider, encoding, segments, template, body,
                      likeness, verification_id, currency, estimate, day, queued_at, category, timezone, send_at)
         ), written as (
             insert into texter.messages (tenant, message_id, recipient, country, sender, provider, status, encoding,
                 segments, template, body, likeness, verification_id, currency, estimate_micro, day, queued_at,
                 category, timezone, send_at)
             select tenant, message_id, recipient, country, sender, provider, 'queued', encoding, segments, template, body,
                 likeness, verification_id, currency, estimate, day, queued_at, category, timezone, send_at
             from x order by recipient, likeness
             on conflict do nothing
             returning tenant, message_id, country, provider, segments, template, currency, estimate_micro, day, queued_at
         ), line as (
             insert into texter.ledger (tenant, message_id, number, kind, amount_micro, currency, messages, segments,
                                        day, country, template, provider, booked_at)
             select tenant, message_id, 1, 'estimate', estimate_micro, currency, 1, segments, day, country, template,
                 provider, queued_at
             from written
         ), counted as (
             insert into texter.deltas (tenant, day, country, what, n)
             select tenant, day, country, 'spend', sum(estimate_micro)::bigint from written group by tenant, day, country
         )
         select count(*) from written",
    )
    .bind(rows.iter().map(|row| row.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.message_id).collect::<Vec<_>>())
    .bind(plans().map(|plan| plan.to.as_str()).collect::<Vec<_>>())
    .bind(accounts().map(|account| account.country.as_str()).collect::<Vec<_>>())
    .bind(plans().map(|plan| plan.from.as_str()).collect::<Vec<_>>())
    .bind(plans().map(|plan| plan.provider.as_str()).collect::<Vec<_>>())
    .bind(plans().map(|plan| encoding_word(plan.encoding)).collect::<Vec<_>>())
    .bind(accounts().map(|account| account.segments).collect::<Vec<_>>())
    .bind(accounts().map(|account| account.template.as_str()).collect::<Vec<_>>())
    // Never the words of a code.
    .bind(plans().map(|plan| Some(plan.body.as_str()).filter(|_| plan.code.is_none())).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.likeness).collect::<Vec<_>>())
    .bind(plans().map(|plan| plan.code.as_ref().map(|code| code.verification_id)).collect::<Vec<_>>())
    .bind(accounts().map(|account| account.currency.as_str()).collect::<Vec<_>>())
    .bind(plans().map(|plan| plan.estimate).collect::<Vec<_>>())
    .bind(accounts().map(|account| account.day).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.queued_at).collect::<Vec<_>>())
    .bind(plans().map(|plan| category_word(plan.category)).collect::<Vec<_>>())
    .bind(plans().map(|plan| plan.timezone.as_deref()).collect::<Vec<_>>())
    .bind(plans().map(|plan| plan.send_at).collect::<Vec<_>>())
    .fetch_one(db)
    .await?;
    Ok(written == rows.len() as i64)
}
