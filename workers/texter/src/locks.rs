//! Whoever writes the rows of several texts in one transaction locks them first, in one order: nobody waits in a
//! circle.

use sqlx::PgConnection;
use uuid::Uuid;

/// Locks these texts (tenant, id), as far as they have rows.
pub(crate) async fn take(db: &mut PgConnection, mut texts: Vec<(&str, Uuid)>) -> Result<(), sqlx::Error> {
    if texts.len() < 2 {
        return Ok(());
    }
    texts.sort_unstable();
    // Each is looked up by its key: of a table that was never analysed, a join would read all rows there are.
    sqlx::query(
        "select count(m.one) from unnest($1::text[], $2::uuid[]) as x(tenant, message_id)
         cross join lateral (
             select 1 as one from texter.messages where tenant = x.tenant and message_id = x.message_id
             limit 1 for update) m",
    )
    .bind(texts.iter().map(|(tenant, _)| *tenant).collect::<Vec<_>>())
    .bind(texts.iter().map(|(_, message_id)| *message_id).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
