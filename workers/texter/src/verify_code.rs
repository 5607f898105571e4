//! Checks what somebody typed, sealed on its way by the door or by whoever wrote the check to the bus. The check is counted before anything is compared, under the row's lock: of any number of
//! checks at once, no more are compared than may be, and one of them at most is right. Times are the wall clock's: a
//! command's own can be chosen by whoever writes to the bus.

use chrono::Duration;
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle, clock};
use omnibus_schemas::texter::{CodeFailed, CodeVerified, SealCode, SealedCode, VerifyCode};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::secret::{Bound, Typed};
use crate::send_code::purpose;
use crate::{Texter, ledger, number};

/// The first lockout; each further one is twice as long.
const FIRST_LOCKOUT_SECONDS: i64 = 60;
const LONGEST_LOCKOUT_SECONDS: i64 = 24 * 60 * 60;

/// What is said to whoever writes a code to the bus as it was typed.
const NOT_SEALED: &str = "/code is not sealed: anybody could read it on the bus, so it was neither counted nor compared. \
    Send the check through the HTTP door, or have it sealed first with POST /api/v1/sms/2fa/seal";

impl Handle<VerifyCode> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: VerifyCode) -> Result<Events, Fail> {
        let named = cmd.purpose.clone();
        let purpose = purpose(cmd.purpose)?;
        let recipient = match (&cmd.to, cmd.verification_id) {
            (Some(to), _) => {
                let number = number::read("/to", to, cmd.country.as_deref());
                Some(number.map_err(|error| Fail::reject(error.code(), error.to_string()))?.e164)
            }
            (None, Some(_)) => None,
            (None, None) => {
                return Err(Fail::reject("invalid", "name the /verification_id, or the number that the code went /to"));
            }
        };
        let day = cx.now().date_naive();
        let check = check(cx.tenant(), cmd.verification_id, [&cmd.to, &cmd.country, &named]);
        let typed = match self.secret.open(&check.each_ref().map(String::as_str), &cmd.code) {
            Typed::Code(typed) => Some(typed),
            Typed::Nonsense => None,
            Typed::Unsealed => return Err(Fail::reject("code_not_sealed", NOT_SEALED)),
        };
        let counted = count_check(cx, cmd.verification_id, recipient.as_deref(), &purpose).await?;
        let failed = CodeFailed { verified: false, verification_id: cmd.verification_id, purpose: purpose.clone() };
        let Some(row) = counted else {
            ledger::count(cx, day, "", "checks_failed", 1).await?;
            return Ok(Events::of(failed));
        };
        let verification: Uuid = row.try_get("verification_id")?;
        let (recipient, country): (String, String) = (row.try_get("recipient")?, row.try_get("country")?);
        let hash: Vec<u8> = row.try_get("code_hash")?;
        let bound = Bound { tenant: cx.tenant(), recipient: &recipient, purpose: &purpose, verification };
        if typed.is_some_and(|typed| self.secret.is_code(&bound, typed.trim(), &hash)) {
            use_up(cx, verification, &recipient, &purpose).await?;
            ledger::count(cx, day, &country, "codes_verified", 1).await?;
            let verified = CodeVerified { verified: true, verification_id: verification, purpose, country };
            return Ok(Events::none().about(verification.to_string(), verified));
        }
        if row.try_get::<i32, _>("checks")? >= row.try_get::<i32, _>("most_checks")? {
            lock_out(cx, verification, &recipient, &purpose).await?;
        }
        ledger::count(cx, day, "", "checks_failed", 1).await?;
        Ok(Events::of(failed))
    }
}

/// What a sealed code is good for: this question and no other.
fn check(tenant: &str, verification: Option<Uuid>, texts: [&Option<String>; 3]) -> [String; 5] {
    let [to, country, purpose] = texts.map(|text| text.clone().unwrap_or_default());
    [tenant.to_owned(), verification.map(|id| id.to_string()).unwrap_or_default(), to, country, purpose]
}

/// Counts a check of the verification that waits. `None` if there is none, or it may not be checked any more.
async fn count_check(
    cx: &mut Cx<'_>,
    verification: Option<Uuid>,
    recipient: Option<&str>,
    purpose: &str,
) -> Result<Option<PgRow>, Fail> {
    let (tenant, now) = (cx.tenant(), clock::now());
    let row = sqlx::query(
        "update texter.verifications set checks = checks + 1
         where tenant = $1 and purpose = $2 and status = 'waiting' and checks < most_checks and expires_at > $3
           and ($4::uuid is null or verification_id = $4) and ($5::text is null or recipient = $5)
         returning verification_id, recipient, country, code_hash, checks, most_checks",
    )
    .bind(tenant)
    .bind(purpose)
    .bind(now)
    .bind(verification)
    .bind(recipient)
    .fetch_optional(cx.db())
    .await?;
    Ok(row)
}

async fn use_up(cx: &mut Cx<'_>, verification: Uuid, recipient: &str, purpose: &str) -> Result<(), Fail> {
    let (tenant, now) = (cx.tenant(), clock::now());
    sqlx::query(
        "with gone as (delete from texter.lockouts where tenant = $1 and recipient = $3 and purpose = $4)
         update texter.verifications set status = 'verified', verified_at = $5, code_sealed = null
         where tenant = $1 and verification_id = $2",
    )
    .bind(tenant)
    .bind(verification)
    .bind(recipient)
    .bind(purpose)
    .bind(now)
    .execute(cx.db())
    .await?;
    Ok(())
}

/// All checks are used up: the number waits, twice as long as the time before.
async fn lock_out(cx: &mut Cx<'_>, verification: Uuid, recipient: &str, purpose: &str) -> Result<(), Fail> {
    let (tenant, now) = (cx.tenant(), clock::now());
    let level: i32 = sqlx::query_scalar(
        "with ended as (
             update texter.verifications set status = 'used_up', code_sealed = null where tenant = $1 and verification_id = $2
         )
         insert into texter.lockouts as l (tenant, recipient, purpose, level, until) values ($1, $3, $4, 1, $5)
         on conflict (tenant, recipient, purpose) do update set
             level = case when l.until < $5::timestamptz - interval '1 day' then 1 else least(l.level + 1, 30) end
         returning level",
    )
    .bind(tenant)
    .bind(verification)
    .bind(recipient)
    .bind(purpose)
    .bind(now)
    .fetch_one(cx.db())
    .await?;
    let seconds = (FIRST_LOCKOUT_SECONDS << (level - 1).clamp(0, 20)).min(LONGEST_LOCKOUT_SECONDS);
    sqlx::query("update texter.lockouts set until = $4 where tenant = $1 and recipient = $2 and purpose = $3")
        .bind(tenant)
        .bind(recipient)
        .bind(purpose)
        .bind(now + Duration::seconds(seconds))
        .execute(cx.db())
        .await?;
    Ok(())
}

impl Answer<SealCode> for Texter {
    async fn answer(&self, ask: &mut Ask<'_>, query: SealCode) -> Result<SealedCode, AskError> {
        let check = check(ask.tenant, query.verification_id, [&query.to, &query.country, &query.purpose]);
        let code = self.secret.seal(&check.each_ref().map(String::as_str), &query.code).map_err(AskError::Failed)?;
        Ok(SealedCode { code })
    }
}
