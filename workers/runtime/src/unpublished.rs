//! What whole transactions have left to be published: written with them, taken away when the bus has it.

use sqlx::PgConnection;
use uuid::Uuid;

/// Forgets notes: the bus has all that they name.
pub(crate) async fn forget(db: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if !ids.is_empty() {
        sqlx::query("delete from bus.unpublished where id = any($1)").bind(ids).execute(db).await?;
    }
    Ok(())
}

/// Turns notes that are older than so many seconds into rows that stand unpublished, each by itself. In a transaction: the
/// rows are locked first, for none may be left out (see [`crate::inbox`]).
pub(crate) async fn break_up(db: &mut PgConnection, consumers: &[String], seconds: f64) -> Result<(), sqlx::Error> {
    let late: Vec<Uuid> = sqlx::query_scalar(
        "select id from bus.unpublished where consumer = any($1) and at <= now() - make_interval(secs => $2)
         for update skip locked",
    )
    .bind(consumers)
    .bind(seconds)
    .fetch_all(&mut *db)
    .await?;
    if late.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "select from (
             select n.consumer, x.tenant, x.id from bus.unpublished n, unnest(n.tenants, n.message_ids) as x(tenant, id)
             where n.id = any($1) order by n.consumer, x.tenant, x.id
         ) x
         cross join lateral (
             select from bus.inbox where consumer = x.consumer and tenant = x.tenant and message_id = x.id
             limit 1 for update
         ) i",
    )
    .bind(&late)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "with late as (delete from bus.unpublished where id = any($1) returning consumer, tenants, message_ids)
         update bus.inbox i set published_at = null
         from late cross join lateral unnest(late.tenants, late.message_ids) as x(tenant, id)
         cross join lateral (
             select ctid from bus.inbox where consumer = late.consumer and tenant = x.tenant and message_id = x.id limit 1
         ) row
         where i.ctid = row.ctid",
    )
    .bind(&late)
    .execute(db)
    .await?;
    Ok(())
}
