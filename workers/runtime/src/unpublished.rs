//! What whole transactions have left to be published: written with them, taken away when the bus has it.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::inbox::Key;

/// Notes that the messages of these rows may not be on the bus.
pub(crate) async fn note(db: &mut PgConnection, id: Uuid, consumer: &str, keys: &[Key]) -> Result<(), sqlx::Error> {
    sqlx::query("insert into bus.unpublished (id, consumer, tenants, message_ids) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(consumer)
        .bind(keys.iter().map(|key| key.tenant.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.id).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets notes: the bus has all that they name.
pub(crate) async fn forget(db: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if !ids.is_empty() {
        sqlx::query("delete from bus.unpublished where id = any($1)").bind(ids).execute(db).await?;
    }
    Ok(())
}

/// Turns notes that are older than so many seconds into rows that stand unpublished, each by itself.
pub(crate) async fn break_up(db: &mut PgConnection, consumers: &[String], seconds: f64) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query(
        "with late as (delete from bus.unpublished
                       where consumer = any($1) and at <= now() - make_interval(secs => $2)
                       returning consumer, tenants, message_ids)
         update bus.inbox i set published_at = null
         from late, unnest(late.tenants, late.message_ids) as x(tenant, id)
         where i.consumer = late.consumer and i.tenant = x.tenant and i.message_id = x.id",
    )
    .bind(consumers)
    .bind(seconds)
    .execute(db)
    .await?;
    Ok(rows.rows_affected())
}
