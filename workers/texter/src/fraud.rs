//! Who asks for codes as people don't: limits by recipient, address, range of numbers and country, and the share of codes
//! that anybody ever types in.

use chrono::{DateTime, Duration, DurationRound, Utc};
use omnibus_runtime::{Cx, Events, Fail, clock};
use omnibus_schemas::texter::{FraudKind, FraudSuspected};
use sqlx::Row;

use crate::Settings;
use crate::number::{Number, masked};

/// Limits and the share are counted over the last hour.
const WINDOW_SECONDS: i32 = 3600;
/// A code that was sent less long ago may still be typed in.
const TIME_TO_TYPE_SECONDS: i32 = 120;

/// Lets a tenant's requests be counted one after the other: until this transaction ends, no other counts one. Whoever waits
/// has no such turn yet, so nobody waits in a circle; where a batch has another tenant's already and would have to wait, it
/// is given up and tried command by command.
pub(crate) async fn turn(cx: &mut Cx<'_>) -> Result<(), Fail> {
    let ours: bool = sqlx::query_scalar(
        "with one (key) as (select hashtextextended('texter code limits ' || $1, 0))
         select case when coalesce(current_setting('texter.has_turn', true), '') = ''
                     then (select true from pg_advisory_xact_lock(key))
                     else pg_try_advisory_xact_lock(key)
                end and set_config('texter.has_turn', 'yes', true) is not null
         from one",
    )
    .bind(cx.tenant())
    .fetch_one(cx.db())
    .await?;
    match ours {
        true => Ok(()),
        false => Err(Fail::Snooze(std::time::Duration::from_millis(100))),
    }
}

/// Counts what was asked for, this request included. Refuses it if a limit is passed, raises an alarm if it is reached.
pub(crate) async fn limits(cx: &mut Cx<'_>, settings: &Settings, number: &Number, ip: &str) -> Result<Events, Fail> {
    let (tenant, now) = (cx.tenant(), clock::now());
    let row = sqlx::query(
        "select (select count(*) from texter.code_requests where tenant = $1 and recipient = $2 and at > $6),
                (select count(*) from texter.code_requests where tenant = $1 and recipient = $2 and at > $7),
                (select count(*) from texter.code_requests where tenant = $1 and ip = $3 and ip <> '' and at > $6),
                (select count(*) from texter.code_requests where tenant = $1 and prefix = $4 and at > $6),
                (select count(*) from texter.code_requests where tenant = $1 and country = $5 and at > $6)",
    )
    .bind(tenant)
    .bind(&number.e164)
    .bind(ip)
    .bind(&number.prefix)
    .bind(&number.country)
    .bind(now - Duration::seconds(WINDOW_SECONDS.into()))
    .bind(now - Duration::days(1))
    .fetch_one(cx.db())
    .await?;
    let (blotted, network) = (masked(&number.e164), part(ip));
    let mut events = Events::none();
    for (column, kind, most, key, whose) in [
        (0, FraudKind::Recipient, settings.codes_per_recipient, blotted.as_str(), "this number"),
        (1, FraudKind::Recipient, settings.codes_per_recipient * 3, blotted.as_str(), "this number today"),
        (2, FraudKind::Ip, settings.codes_per_ip, network.as_str(), "this address"),
        (3, FraudKind::Prefix, settings.codes_per_prefix, number.prefix.as_str(), "numbers like this one"),
        (4, FraudKind::Country, settings.codes_per_country, number.country.as_str(), "this country"),
    ] {
        let asked: i64 = row.try_get(column)?;
        if asked > i64::from(most) {
            let detail = format!("too many codes for {whose} ({most}); nothing was sent, try again later");
            return Err(Fail::reject("too_many_codes", detail));
        }
        if asked == i64::from(most) {
            events = events.join(alarm(cx, kind, key, asked, 0).await?);
        }
    }
    Ok(events)
}

/// A part of an address: enough to look for it in one's own logs.
fn part(ip: &str) -> String {
    match ip.rsplit_once('.') {
        Some((network, _)) => format!("{network}.0/24"),
        None => ip.to_owned(),
    }
}

/// Looks at the share of a country's codes that were verified.
pub(crate) async fn conversion(cx: &mut Cx<'_>, settings: &Settings, country: &str) -> Result<Events, Fail> {
    let (tenant, now) = (cx.tenant(), clock::now());
    let row = sqlx::query(
        "select count(*), count(*) filter (where status = 'verified') from texter.verifications
         where tenant = $1 and country = $2 and created_at > $3 and (created_at < $4 or status = 'verified')",
    )
    .bind(tenant)
    .bind(country)
    .bind(now - Duration::seconds(WINDOW_SECONDS.into()))
    .bind(now - Duration::seconds(TIME_TO_TYPE_SECONDS.into()))
    .fetch_one(cx.db())
    .await?;
    let (sent, verified): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let low = verified * 100 < sent * i64::from(settings.fraud_conversion_percent);
    match sent >= i64::from(settings.fraud_least_codes) && low {
        true => alarm(cx, FraudKind::Conversion, country, sent, verified).await,
        false => Ok(Events::none()),
    }
}

/// Once in an hour for each reason.
async fn alarm(cx: &mut Cx<'_>, kind: FraudKind, key: &str, sent: i64, verified: i64) -> Result<Events, Fail> {
    let word = match kind {
        FraudKind::Conversion => "conversion",
        FraudKind::Recipient => "recipient",
        FraudKind::Ip => "ip",
        FraudKind::Prefix => "prefix",
        FraudKind::Country => "country",
    };
    let (tenant, now): (_, DateTime<Utc>) = (cx.tenant(), clock::now());
    let hour = now.duration_trunc(Duration::hours(1))?;
    let raised = sqlx::query(
        "insert into texter.alarms (tenant, kind, key, window_start) values ($1, $2, $3, $4) on conflict do nothing",
    )
    .bind(tenant)
    .bind(word)
    .bind(key)
    .bind(hour)
    .execute(cx.db())
    .await?;
    if raised.rows_affected() == 0 {
        return Ok(Events::none());
    }
    Ok(Events::of(FraudSuspected {
        kind,
        key: key.to_owned(),
        sent: u32::try_from(sent)?,
        verified: u32::try_from(verified)?,
        window_seconds: WINDOW_SECONDS.unsigned_abs(),
    }))
}
