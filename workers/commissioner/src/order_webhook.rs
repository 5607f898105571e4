//! Orders as a shop's own webhook reports them: proved by a signature over the raw bytes, once per body.

use chrono::TimeDelta;
use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::commissioner::{OrderWebhook, RecordOrder};
use omnibus_schemas::{Encoding, Fault, Tenant, Token, body};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Commissioner;
use crate::rules::Program;
use crate::secrets::signed_at;

/// The header with the signature.
pub(crate) const SIGNATURE: &str = "X-Omnibus-Signature";

/// How old a signature may be, and how far ahead the shop's clock.
const FRESH: TimeDelta = TimeDelta::minutes(5);

impl Receive<OrderWebhook> for Commissioner {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let param = |name: &str| visit.params.get(name).map(String::as_str).unwrap_or_default();
        let (Ok(tenant), Ok(program)) = (param("tenant").parse::<Tenant>(), param("program").parse::<Token>()) else {
            return Ok(refused());
        };
        let secret = self.secrets.webhook(tenant.as_str(), program.as_str()).map_err(AskError::Failed)?;
        let header = visit.headers.get("x-omnibus-signature").map(String::as_str).unwrap_or_default();
        let fresh = |time: i64| (at.now.timestamp() - time).abs() <= FRESH.num_seconds();
        if !signed_at(&secret, header, &visit.body).is_some_and(fresh) {
            return Ok(refused());
        }
        if Program::find(at.db, tenant.as_str(), program.as_str()).await?.is_none() {
            return Ok(refused());
        }
        let order = match order(&visit.body, &program) {
            Ok(order) => order,
            Err(faults) => {
                let problem =
                    json!({ "title": "The order is not valid", "status": 422, "code": "invalid", "errors": faults });
                return Ok(Reply::status(422).json(&problem));
            }
        };
        let name = [format!("webhook/{tenant}/{program}/").as_bytes(), &visit.body].concat();
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &name);
        Ok(Reply::status(202).json(&json!({ "id": id })).then(tenant.as_str(), id, &order))
    }
}

/// One answer to all that is not proved: it tells neither which tenants nor which programs there are.
fn refused() -> Reply {
    let detail = format!("{SIGNATURE} must be t=<seconds>,v1=<HMAC-SHA256>, made within the last five minutes");
    Reply::status(401).json(&json!({ "title": "Not signed", "status": 401, "code": "bad_signature", "detail": detail }))
}

fn order(bytes: &[u8], program: &Token) -> Result<RecordOrder, Vec<Fault>> {
    let mut value: Value = body::to_json(Encoding::Json, bytes).map_err(|fault| vec![fault])?;
    if let Value::Object(fields) = &mut value {
        let given = fields.insert("program".to_owned(), program.as_str().into());
        if given.is_some_and(|given| given != program.as_str()) {
            return Err(vec![Fault::new("/program", "differs from the program in the address")]);
        }
    }
    let order: RecordOrder = body::decode_strict(Encoding::Json, &body::encode(Encoding::Json, &value))?;
    body::validate(&order)?;
    Ok(order)
}
