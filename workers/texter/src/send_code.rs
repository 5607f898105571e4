//! Sends a one-time code. It is drawn once for each verification and kept sealed, in the verification's row and in the plan
//! of the text that carries it, until the text leaves; a keyed hash is what checks are compared with. So a text that is
//! sent once more, after a crash or because somebody asks again, carries the code that verifies.

use chrono::Duration;
use omnibus_runtime::{
    CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain, clock,
};
use omnibus_schemas::texter::{Category, CodeSent, SendCode, WaitsAt};
use sqlx::Row;
use std::net::{IpAddr, Ipv6Addr};
use uuid::Uuid;

use crate::draft::{Code, Draft, HOLE, Plan, Step};
use crate::number::Number;
use crate::outcome::Sent;
use crate::provider::Receipt;
use crate::secret::{Bound, Secret};
use crate::send_sms::POLICY;
use crate::templates;
use crate::{Texter, fraud, ledger, number};

/// What the question left open.
const DIGITS: u8 = 6;
const TTL_SECONDS: u32 = 600;
/// How often a code may be checked, and sent.
const CHECKS: i32 = 5;
const SENDS: i32 = 5;

/// Whoever asked so long ago has asked again, or gone.
const STALE_MINUTES: i64 = 10;
/// For how long after its end a verification's checks count against the next one.
const CHECKS_COUNT_HOURS: i64 = 24;

/// What a code is for if nobody says.
pub(crate) const PURPOSE: &str = "login";

/// `login`, `payout-2`: lower case letters, digits, `-` and `_`.
pub(crate) fn purpose(given: Option<String>) -> Result<String, Fail> {
    let purpose = given.unwrap_or_else(|| PURPOSE.to_owned());
    let fits = purpose.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    match fits {
        true => Ok(purpose),
        false => Err(Fail::reject("invalid", "/purpose may hold a-z, 0-9, '-' and '_' only")),
    }
}

/// What one person has of addresses: one of version 4, a network of 64 bits of version 6.
fn network(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(_) => ip.to_string(),
        IpAddr::V6(v6) => format!("{}/64", Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

impl Effect<SendCode> for Texter {
    const POLICY: Policy = POLICY;
    const PROVIDER: Option<&'static str> = Some("sms");

    type Plan = Plan;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: SendCode) -> Result<Prepared<Plan>, Fail> {
        let number = number::read("/to", &cmd.to, cmd.country.as_deref())
            .map_err(|error| Fail::reject(error.code(), error.to_string()))?;
        let purpose = purpose(cmd.purpose)?;
        let ip = match cmd.ip.as_deref() {
            None => String::new(),
            Some(text) => {
                let ip: IpAddr = text.parse().map_err(|_| Fail::reject("invalid", "/ip is not an IP address"))?;
                network(ip.to_canonical())
            }
        };
        if cx.now() + Duration::minutes(STALE_MINUTES) < clock::now() {
            let detail = format!("the code was asked for more than {STALE_MINUTES} minutes ago; nothing was sent");
            return Err(Fail::reject("stale", detail));
        }
        let ttl = cmd.ttl_seconds.unwrap_or(TTL_SECONDS);
        let (asked, mut events) = self.ask_for(cx, &number, &ip).await?;
        let code = match asked {
            // A later try of the same command sends what the first would have sent.
            Asked::Before => self.code_of(cx).await?,
            Asked::Now => {
                let digits = i32::from(cmd.digits.unwrap_or(DIGITS));
                self.begin(cx, &number, &purpose, digits, Duration::seconds(ttl.into())).await?
            }
        };
        // Sent once more, it is good for what is left.
        let left = (code.expires_at - clock::now()).num_seconds().max(1).unsigned_abs();
        let minutes = left.div_ceil(60).to_string();
        let hole = HOLE.to_string();
        let brand: String = cmd.brand.unwrap_or_default().replace(HOLE, "");
        let body = templates::two_factor(cmd.locale.as_deref(), &brand, &hole, &minutes)?;
        let draft = Draft {
            number,
            from: None,
            body,
            code: Some(code),
            category: Category::Urgent,
            template: Some("two_factor".to_owned()),
            timezone: None,
            send_at: None,
            waits_at: WaitsAt::Here,
        };
        Ok(match self.plan(cx, draft).await? {
            Step::Go(plan, booked) => {
                events = events.join(booked);
                Prepared::Go(*plan, events)
            }
            Step::Done(sent) => Prepared::Skip(self.code_sent(cx, &sent).await?),
            Step::Later(wait) => Prepared::Later(wait),
        })
    }

    async fn perform(&self, meta: &Meta, plan: &Plan) -> Result<Receipt, CallError> {
        self.leave(meta, plan).await
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: Plan, done: Receipt) -> Result<Events, Fail> {
        let message_id = cx.meta().id;
        let (sent, events) = self.took_over(cx, &plan, &done).await?;
        let (day, country) = (cx.now().date_naive(), sent.country().to_owned());
        ledger::count(cx, day, &country, "codes_sent", 1).await?;
        let alarm = fraud::conversion(cx, &self.settings, &country).await?;
        let told = self.code_sent(cx, &sent).await?;
        Ok(events.join(alarm).join(sent.event(message_id)).join(told))
    }

    async fn reconcile(&self, meta: &Meta, plan: &Plan) -> Result<Found<Receipt>, Fail> {
        self.look_up(meta, plan).await
    }

    fn when_uncertain(&self, _plan: &Plan) -> WhenUncertain {
        self.unknown()
    }

    async fn settle(&self, cx: &mut Cx<'_>, plan: Option<Plan>, how: &Settled) -> Result<Events, Fail> {
        let (sent, events) = self.settled(cx, plan, how).await?;
        let told = match sent {
            Some(sent) => self.code_sent(cx, &sent).await?,
            None => Events::none(),
        };
        Ok(told.join(events))
    }
}

/// Was this request counted before?
enum Asked {
    Now,
    Before,
}

impl Texter {
    /// Counts the request against the limits, once.
    async fn ask_for(&self, cx: &mut Cx<'_>, number: &Number, ip: &str) -> Result<(Asked, Events), Fail> {
        let (tenant, message_id, now) = (cx.tenant(), cx.meta().id, clock::now());
        let counted = sqlx::query(
            "insert into texter.code_requests (tenant, message_id, at, recipient, prefix, country, ip)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        )
        .bind(tenant)
        .bind(message_id)
        .bind(now)
        .bind(&number.e164)
        .bind(&number.prefix)
        .bind(&number.country)
        .bind(ip)
        .execute(cx.db())
        .await?;
        if counted.rows_affected() == 0 {
            return Ok((Asked::Before, Events::none()));
        }
        let alarms = fraud::limits(cx, &self.settings, number, ip).await?;
        Ok((Asked::Now, alarms))
    }

    /// The verification that waits for this number and purpose, sent once more; or a new one.
    async fn begin(
        &self,
        cx: &mut Cx<'_>,
        number: &Number,
        purpose: &str,
        digits: i32,
        ttl: Duration,
    ) -> Result<Code, Fail> {
        let (tenant, now, fresh) = (cx.tenant(), clock::now(), cx.meta().id);
        let locked = sqlx::query_scalar::<_, bool>(
            "select exists (select 1 from texter.lockouts
                            where tenant = $1 and recipient = $2 and purpose = $3 and until > $4)",
        )
        .bind(tenant)
        .bind(&number.e164)
        .bind(purpose)
        .bind(now)
        .fetch_one(cx.db())
        .await?;
        if locked {
            return Err(Fail::reject("locked_out", "too many wrong codes for this number; try again later"));
        }
        // Who lets a code expire gets no checks back: those of the last day count on.
        let checks: Option<i32> = sqlx::query_scalar(
            "update texter.verifications set status = 'expired', code_sealed = null
             where tenant = $1 and recipient = $2 and purpose = $3 and status = 'waiting' and expires_at <= $4
             returning case when expires_at > $5 then checks else 0 end",
        )
        .bind(tenant)
        .bind(&number.e164)
        .bind(purpose)
        .bind(now)
        .bind(now - Duration::hours(CHECKS_COUNT_HOURS))
        .fetch_optional(cx.db())
        .await?;
        let bound = Bound { tenant, recipient: &number.e164, purpose, verification: fresh };
        let drawn = Secret::draw_code(digits.unsigned_abs()).map_err(Fail::Retry)?;
        let sealed = self.secret.seal_code(&bound, &drawn).map_err(Fail::Retry)?;
        // One statement, so that two requests at once make one verification. What waits keeps its code, its checks and
        // its digits.
        let row = sqlx::query(
            "insert into texter.verifications as v (tenant, verification_id, recipient, purpose, country, prefix, code_hash,
                 code_sealed, digits, status, sends, checks, most_checks, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'waiting', 1, $10, $11, $12, $13)
             on conflict (tenant, recipient, purpose) where status = 'waiting' do update
                 set sends = v.sends + 1
             returning verification_id, digits, sends, expires_at, code_sealed",
        )
        .bind(tenant)
        .bind(fresh)
        .bind(&number.e164)
        .bind(purpose)
        .bind(&number.country)
        .bind(&number.prefix)
        .bind(self.secret.code_hash(&bound, &drawn))
        .bind(&sealed)
        .bind(digits)
        .bind(checks.unwrap_or(0))
        .bind(CHECKS)
        .bind(now)
        .bind(now + ttl)
        .fetch_one(cx.db())
        .await?;
        if row.try_get::<i32, _>("sends")? > SENDS {
            return Err(Fail::reject(
                "too_many_sends",
                format!("this code was sent {SENDS} times; wait until it expires"),
            ));
        }
        let verification_id: Uuid = row.try_get("verification_id")?;
        sqlx::query("update texter.code_requests set verification_id = $3 where tenant = $1 and message_id = $2")
            .bind(tenant)
            .bind(fresh)
            .bind(verification_id)
            .execute(cx.db())
            .await?;
        let kept: Option<String> = row.try_get("code_sealed")?;
        let mut code = Code {
            verification_id,
            purpose: purpose.to_owned(),
            expires_at: row.try_get("expires_at")?,
            sealed: kept.unwrap_or_default(),
        };
        if self.secret.open_code(&code.bound(tenant, &number.e164), &code.sealed).is_none() {
            self.draw_again(cx, &number.e164, &mut code, row.try_get::<i32, _>("digits")?.unsigned_abs()).await?;
        }
        Ok(code)
    }

    /// A code that can't be opened, since SMS_SECRET is another one by now, can't be sent or checked: it gets another.
    async fn draw_again(&self, cx: &mut Cx<'_>, recipient: &str, code: &mut Code, digits: u32) -> Result<(), Fail> {
        let tenant = cx.tenant();
        let drawn = Secret::draw_code(digits).map_err(Fail::Retry)?;
        let bound = code.bound(tenant, recipient);
        let (sealed, hash) = (self.secret.seal_code(&bound, &drawn), self.secret.code_hash(&bound, &drawn));
        code.sealed = sealed.map_err(Fail::Retry)?;
        sqlx::query(
            "update texter.verifications set code_sealed = $3, code_hash = $4 where tenant = $1 and verification_id = $2",
        )
        .bind(tenant)
        .bind(code.verification_id)
        .bind(&code.sealed)
        .bind(hash)
        .execute(cx.db())
        .await?;
        Ok(())
    }

    /// The code that an earlier try of this command was about.
    async fn code_of(&self, cx: &mut Cx<'_>) -> Result<Code, Fail> {
        let (tenant, message_id) = (cx.tenant(), cx.meta().id);
        let row = sqlx::query(
            "select v.verification_id, v.purpose, v.expires_at, v.code_sealed
             from texter.code_requests r join texter.verifications v using (tenant, verification_id)
             where r.tenant = $1 and r.message_id = $2 and v.status = 'waiting'",
        )
        .bind(tenant)
        .bind(message_id)
        .fetch_optional(cx.db())
        .await?;
        let over = || Fail::reject("expired", "the code was used or expired before it could be sent; ask for another");
        let row = row.ok_or_else(over)?;
        let expires_at = row.try_get("expires_at")?;
        if expires_at < clock::now() {
            return Err(over());
        }
        Ok(Code {
            verification_id: row.try_get("verification_id")?,
            purpose: row.try_get("purpose")?,
            expires_at,
            sealed: row.try_get::<Option<String>, _>("code_sealed")?.unwrap_or_default(),
        })
    }

    async fn code_sent(&self, cx: &mut Cx<'_>, sent: &Sent) -> Result<Events, Fail> {
        let (tenant, message_id) = (cx.tenant(), cx.meta().id);
        let row = sqlx::query(
            "select verification_id, purpose, digits, expires_at from texter.verifications
             where tenant = $1 and verification_id = $2",
        )
        .bind(tenant)
        .bind(sent.verification())
        .fetch_one(cx.db())
        .await?;
        let verification_id: Uuid = row.try_get("verification_id")?;
        Ok(Events::none().about(
            verification_id.to_string(),
            CodeSent {
                verification_id,
                message_id,
                purpose: row.try_get("purpose")?,
                digits: u8::try_from(row.try_get::<i32, _>("digits")?)?,
                expires_at: row.try_get("expires_at")?,
                country: sent.country().to_owned(),
                provider: sent.provider().to_owned(),
            },
        ))
    }
}
