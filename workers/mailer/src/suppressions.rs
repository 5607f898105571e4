//! The suppression list: addresses that get no mail, by tenant and stream.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{
    AddSuppression, RemoveSuppression, Suppression, SuppressionList, SuppressionReason, Suppressions,
};
use sqlx::Row;

use crate::Mailer;

/// Puts an address on the list; for every stream if none is named. What stands there already keeps its reason.
pub(crate) async fn add(
    cx: &mut Cx<'_>,
    address: &str,
    stream: Option<&str>,
    reason: SuppressionReason,
    since: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into mailer.suppressions (tenant, address, stream, reason, since) values ($1, lower($2), $3, $4, $5)
         on conflict do nothing",
    )
    .bind(cx.tenant())
    .bind(address)
    .bind(stream.unwrap_or_default())
    .bind(reason.as_str())
    .bind(since)
    .execute(cx.db())
    .await?;
    Ok(done.rows_affected() == 1)
}

impl Handle<AddSuppression> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AddSuppression) -> Result<Events, Fail> {
        let now = cx.now();
        add(cx, &cmd.address, cmd.stream.as_deref(), SuppressionReason::Manual, now).await?;
        Ok(Events::none())
    }
}

impl Handle<RemoveSuppression> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RemoveSuppression) -> Result<Events, Fail> {
        let done =
            sqlx::query("delete from mailer.suppressions where tenant = $1 and address = lower($2) and stream = $3")
                .bind(cx.tenant())
                .bind(&cmd.address)
                .bind(cmd.stream.as_deref().unwrap_or_default())
                .execute(cx.db())
                .await?;
        match done.rows_affected() {
            0 => Err(Fail::reject("not_found", "the address is not suppressed for that stream")),
            _ => Ok(Events::none()),
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
        let read = |row: &sqlx::postgres::PgRow| {
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
