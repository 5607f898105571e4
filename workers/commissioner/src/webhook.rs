//! What a shop reports by itself: proved by a signature over the raw bytes, once per body.

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::{AskError, At, Reply, Visit};
use omnibus_schemas::{Command, Encoding, Fault, Tenant, Token, body};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::Commissioner;
use crate::secrets::signed_at;

/// The header with the signature.
pub(crate) const SIGNATURE: &str = "X-Omnibus-Signature";

/// How old a signature may be, and how far ahead the shop's clock.
const FRESH: TimeDelta = TimeDelta::minutes(5);

/// A program's webhook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Webhook {
    /// Which secret, from 1.
    pub(crate) generation: u32,
    /// Until when the one before is believed too.
    pub(crate) previous_until: Option<DateTime<Utc>>,
}

impl Webhook {
    pub(crate) async fn find(
        db: &mut PgConnection,
        tenant: &str,
        program: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, sqlx::Error> {
        let row = sqlx::query(
            "select webhook_generation, webhook_previous_until from commissioner.programs
             where tenant = $1 and program = $2",
        )
        .bind(tenant)
        .bind(program)
        .fetch_optional(db)
        .await?;
        row.map(|row| {
            let until: Option<DateTime<Utc>> = row.try_get("webhook_previous_until")?;
            Ok(Webhook {
                generation: row.try_get::<i32, _>("webhook_generation")?.unsigned_abs(),
                previous_until: until.filter(|until| *until > now),
            })
        })
        .transpose()
    }

    /// The secrets that are believed now.
    fn generations(self) -> impl Iterator<Item = u32> {
        let before = self.previous_until.map(|_| self.generation - 1);
        [Some(self.generation), before].into_iter().flatten()
    }
}

impl Commissioner {
    /// Takes a command from a shop: `kind` is the last part of the address. The program is the address's.
    pub(crate) async fn reported<C: Command>(
        &self,
        at: &mut At<'_>,
        visit: Visit,
        kind: &str,
    ) -> Result<Reply, AskError> {
        let param = |name: &str| visit.params.get(name).map(String::as_str).unwrap_or_default();
        let (Ok(tenant), Ok(program)) = (param("tenant").parse::<Tenant>(), param("program").parse::<Token>()) else {
            return Ok(refused());
        };
        let webhook = Webhook::find(at.db, tenant.as_str(), program.as_str(), at.now).await?;
        let header = visit.headers.get("x-omnibus-signature").map(String::as_str).unwrap_or_default();
        let fresh = |time: i64| (at.now.timestamp() - time).abs() <= FRESH.num_seconds();
        let mut proved = None;
        // For a program that is not there the same is worked out: how long it takes tells nobody what there is.
        for generation in webhook.unwrap_or(Webhook { generation: 1, previous_until: None }).generations() {
            let secret = self.secrets.webhook(tenant.as_str(), program.as_str(), generation);
            let secret = secret.map_err(AskError::Failed)?;
            proved = signed_at(&secret, header, &visit.body).filter(|time| fresh(*time)).or(proved);
        }
        let (Some(time), Some(_)) = (proved, webhook) else { return Ok(refused()) };
        let command: C = match read(&visit.body, &program) {
            Ok(command) => command,
            Err(faults) => {
                let problem =
                    json!({ "title": "The body is not valid", "status": 422, "code": "invalid", "errors": faults });
                return Ok(Reply::status(422).json(&problem));
            }
        };
        // The same request is the same command. What was refused, a refund long before its order say, may be reported
        // again: signed anew it is decided anew, and the order's and the refund's own ids see to it that it counts once.
        let name = [format!("webhook/{tenant}/{program}/{kind}/{time}/").as_bytes(), &visit.body].concat();
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &name);
        Ok(Reply::status(202).json(&json!({ "id": id })).then(tenant.as_str(), id, &command))
    }
}

/// One answer to all that is not proved: it tells neither which tenants nor which programs there are.
fn refused() -> Reply {
    let detail = format!("{SIGNATURE} must be t=<seconds>,v1=<HMAC-SHA256>, made within the last five minutes");
    Reply::status(401).json(&json!({ "title": "Not signed", "status": 401, "code": "bad_signature", "detail": detail }))
}

fn read<C: Command>(bytes: &[u8], program: &Token) -> Result<C, Vec<Fault>> {
    let mut value: Value = body::to_json(Encoding::Json, bytes).map_err(|fault| vec![fault])?;
    if let Value::Object(fields) = &mut value {
        let given = fields.insert("program".to_owned(), program.as_str().into());
        if given.is_some_and(|given| given != program.as_str()) {
            return Err(vec![Fault::new("/program", "differs from the program in the address")]);
        }
    }
    let command: C = body::decode_strict(Encoding::Json, &body::encode(Encoding::Json, &value))?;
    body::validate(&command)?;
    Ok(command)
}
