//! What the texter does beside its lanes: counts are rolled up, old rows go, and texts of which nothing was heard are asked
//! for. Each by one replica at a time.

use std::sync::Arc;
use std::time::Duration;

use omnibus_runtime::Desk;
use omnibus_schemas::texter::CheckMessage;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::Texter;

/// How often counts are rolled up, while there are any and while there are none. What is not yet is added up anew for every
/// text that leaves.
const ROLL_UP: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// How often texts are looked for of which nothing was heard, and after how long that is too long.
const LISTEN: Duration = Duration::from_secs(60);
const UNHEARD_MINUTES: i32 = 15;
/// No more than these at a time: what is left comes in the next round.
const BATCH: i64 = 500;

/// Adds up what was counted since the last time. Nobody else writes the sums, so nobody waits for them.
pub(crate) async fn roll_up(_: Arc<Texter>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("roll_up").await? else { return Ok(()) };
    let (busy, idle) = ROLL_UP;
    let mut pause = idle;
    while desk.pause(pause).await {
        alone.still().await?;
        pause = if roll_up_once(&desk.db).await? > 0 { busy } else { idle };
    }
    Ok(())
}

pub(crate) async fn roll_up_once(db: &PgPool) -> sqlx::Result<u64> {
    let rolled = sqlx::query(
        "with gone as (delete from texter.deltas returning tenant, day, country, what, n)
         insert into texter.tallies as t (tenant, day, country, what, n)
         select tenant, day, country, what, sum(n)::bigint from gone group by tenant, day, country, what
         on conflict (tenant, day, what, country) do update set n = t.n + excluded.n",
    )
    .execute(db)
    .await?;
    Ok(rolled.rows_affected())
}

/// Asks for texts whose provider has told nothing for long, or no price; forgets what no limit counts any more.
pub(crate) async fn listen(texter: Arc<Texter>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("listen").await? else { return Ok(()) };
    // At once, too: a texter that is started again and again forgets as well.
    loop {
        alone.still().await?;
        forget(&desk.db).await?;
        ask(&texter, &desk).await?;
        if !desk.pause(LISTEN).await {
            return Ok(());
        }
    }
}

async fn ask(texter: &Texter, desk: &Desk) -> anyhow::Result<()> {
    let askable: Vec<&str> =
        texter.providers.iter().filter(|provider| provider.can_be_asked()).map(|provider| provider.name()).collect();
    if askable.is_empty() {
        return Ok(());
    }
    for row in unheard(&desk.db, &askable).await? {
        let (tenant, message_id): (String, Uuid) = (row.try_get(0)?, row.try_get(1)?);
        // The first question is one command however often this looks; it sees to those that follow.
        let id = Uuid::new_v5(&message_id, b"unheard");
        desk.publish(&tenant, id, &CheckMessage { message_id, round: 0 }).await?;
        sqlx::query("update texter.messages set asked_at = now() where tenant = $1 and message_id = $2")
            .bind(&tenant)
            .bind(message_id)
            .execute(&desk.db)
            .await?;
    }
    Ok(())
}

async fn unheard(db: &PgPool, askable: &[&str]) -> sqlx::Result<Vec<sqlx::postgres::PgRow>> {
    sqlx::query(
        "select tenant, message_id from texter.messages
         where provider = any($1) and provider_id is not null and actual_micro is null
           and status in ('accepted', 'scheduled', 'sending', 'sent')
           and asked_at is null and coalesce(send_at, sent_at) < now() - make_interval(mins => $2)
         order by sent_at limit $3",
    )
    .bind(askable)
    .bind(UNHEARD_MINUTES)
    .bind(BATCH)
    .fetch_all(db)
    .await
}

/// Each of these has an index of its own (0006 and 0007): what stays is not read.
async fn forget(db: &PgPool) -> sqlx::Result<()> {
    sqlx::query("delete from texter.code_requests where at < now() - interval '2 days'").execute(db).await?;
    // A farewell may wait under a blown fuse, for seven days.
    sqlx::query("delete from texter.replies where day < (now() - interval '10 days')::date").execute(db).await?;
    sqlx::query("delete from texter.alarms where window_start < now() - interval '2 days'").execute(db).await?;
    sqlx::query("delete from texter.verifications where created_at < now() - interval '30 days'").execute(db).await?;
    // What has expired is not sent again. The row stays: its checks count against the next code.
    sqlx::query(
        "update texter.verifications set code_sealed = null where code_sealed is not null and expires_at < now()",
    )
    .execute(db)
    .await?;
    // A lockout that ended a day ago makes the next one no longer.
    sqlx::query("delete from texter.lockouts where until < now() - interval '1 day'").execute(db).await?;
    sqlx::query(
        "update texter.messages set body = null
         where body is not null and coalesce(send_at, sent_at, queued_at) < now() - interval '7 days'",
    )
    .execute(db)
    .await?;
    Ok(())
}
