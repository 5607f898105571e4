//! Who stands above whom. The tree of a program is changed by one at a time, so that what is checked still holds when it
//! is written: no cycles, no more levels than the program has.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Waits until nobody else changes this program's tree; holds until the transaction ends.
pub(crate) async fn lock(db: &mut PgConnection, tenant: &str, program: &str) -> Result<(), sqlx::Error> {
    sqlx::query("select 1 from commissioner.programs where tenant = $1 and program = $2 for no key update")
        .bind(tenant)
        .bind(program)
        .execute(db)
        .await?;
    Ok(())
}

/// The partner and all above, nearest first.
pub(crate) async fn line_up(db: &mut PgConnection, tenant: &str, partner: Uuid) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "with recursive up as (
            select partner_id, parent_id, 0 as level from commissioner.partners where tenant = $1 and partner_id = $2
            union all
            select p.partner_id, p.parent_id, up.level + 1
            from up join commissioner.partners p on p.tenant = $1 and p.partner_id = up.parent_id
            where up.level < 100
         )
         select partner_id from up order by level",
    )
    .bind(tenant)
    .bind(partner)
    .fetch_all(db)
    .await
}

/// How many levels stand below the partner.
pub(crate) async fn height(db: &mut PgConnection, tenant: &str, partner: Uuid) -> Result<usize, sqlx::Error> {
    let height: i32 = sqlx::query_scalar(
        "with recursive down as (
            select partner_id, 0 as level from commissioner.partners where tenant = $1 and partner_id = $2
            union all
            select p.partner_id, down.level + 1
            from down join commissioner.partners p on p.tenant = $1 and p.parent_id = down.partner_id
            where down.level < 100
         )
         select coalesce(max(level), 0) from down",
    )
    .bind(tenant)
    .bind(partner)
    .fetch_one(db)
    .await?;
    Ok(usize::try_from(height).unwrap_or_default())
}

/// Writes that `partner` stands below `parent` from `now` on; gives back from when exactly. Changes of one program follow
/// each other in time as they do in the lock, so the tree of any moment is one that was checked.
pub(crate) async fn put_below(
    db: &mut PgConnection,
    tenant: &str,
    program: &str,
    partner: Uuid,
    parent: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, sqlx::Error> {
    let from: DateTime<Utc> = sqlx::query_scalar(
        "update commissioner.programs
         set tree_changed_at = greatest($3, tree_changed_at + interval '1 microsecond')
         where tenant = $1 and program = $2 returning tree_changed_at",
    )
    .bind(tenant)
    .bind(program)
    .bind(now)
    .fetch_one(&mut *db)
    .await?;
    sqlx::query(
        "insert into commissioner.parents (tenant, partner_id, effective_from, parent_id) values ($1, $2, $3, $4)",
    )
    .bind(tenant)
    .bind(partner)
    .bind(from)
    .bind(parent)
    .execute(db)
    .await?;
    Ok(from)
}
