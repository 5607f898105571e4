//! What an authority gives: 300 orders in three hours for the account, 50 certificates a week for each registered domain
//! (Let's Encrypt's limits). Beyond it an order waits; it is neither refused nor sent to be refused.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::{Cx, Fail, clock};

/// Orders of the whole platform within [`ORDERS_WITHIN`].
const ORDERS: i64 = 300;
const ORDERS_WITHIN: TimeDelta = TimeDelta::hours(3);
/// Of those, one tenant's at most.
const SHARE: i64 = 50;
/// Orders of one host that came to nothing within an hour, at most: the authority counts them too.
const TRIES: i64 = 3;
/// Certificates of one registered domain within [`CERTIFICATES_WITHIN`], those under way included.
const CERTIFICATES: i64 = 50;
const CERTIFICATES_WITHIN: TimeDelta = TimeDelta::days(7);
/// Between two looks whether there is room again.
const LOOK: Duration = Duration::from_secs(3600);

/// `Err(Snooze)` while there is no room. One order is let through at a time, so that two can't take the last place.
pub(super) async fn room(cx: &mut Cx<'_>, registered: &str, host: &str) -> Result<(), Fail> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('brander certificate budget', 0))")
        .execute(cx.db())
        .await?;
    let now = clock::now();
    // The account's limit is the platform's, so this counts every tenant's orders; nothing of them is shown.
    let (orders, oldest): (i64, Option<DateTime<Utc>>) =
        sqlx::query_as("select count(*), min(opened_at) from brander.certificate_orders where opened_at > $1")
            .bind(now - ORDERS_WITHIN)
            .fetch_one(cx.db())
            .await?;
    if orders >= ORDERS {
        return Err(Fail::Snooze(until(oldest.map(|oldest| oldest + ORDERS_WITHIN), now)));
    }
    // Nobody may use up what is everybody's.
    let (orders, oldest): (i64, Option<DateTime<Utc>>) = sqlx::query_as(
        "select count(*), min(opened_at) from brander.certificate_orders where tenant = $1 and opened_at > $2",
    )
    .bind(cx.tenant())
    .bind(now - ORDERS_WITHIN)
    .fetch_one(cx.db())
    .await?;
    if orders >= SHARE {
        return Err(Fail::Snooze(until(oldest.map(|oldest| oldest + ORDERS_WITHIN), now)));
    }
    let (tries, oldest): (i64, Option<DateTime<Utc>>) = sqlx::query_as(
        "select count(*), min(opened_at) from brander.certificate_orders
         where tenant = $1 and host = $2 and opened_at > $3 and status = 'failed'",
    )
    .bind(cx.tenant())
    .bind(host)
    .bind(now - TimeDelta::hours(1))
    .fetch_one(cx.db())
    .await?;
    if tries >= TRIES {
        return Err(Fail::Snooze(until(oldest.map(|oldest| oldest + TimeDelta::hours(1)), now)));
    }
    let (certificates, oldest): (i64, Option<DateTime<Utc>>) = sqlx::query_as(
        "select count(*), min(opened_at) from brander.certificate_orders
         where registered = $1 and opened_at > $2 and status <> 'failed'",
    )
    .bind(registered)
    .bind(now - CERTIFICATES_WITHIN)
    .fetch_one(cx.db())
    .await?;
    if certificates >= CERTIFICATES {
        return Err(Fail::Snooze(until(oldest.map(|oldest| oldest + CERTIFICATES_WITHIN), now)));
    }
    Ok(())
}

fn until(then: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
    let wait = then.and_then(|then| (then - now).to_std().ok()).unwrap_or(LOOK);
    wait.clamp(Duration::from_secs(1), LOOK)
}
