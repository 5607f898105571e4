//! To everybody who listens to a room, to a user on every device, or to a whole tenant.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BROADCAST, DOMAIN, Kind, token};
use crate::contract::{Command, Event, Http};
use crate::subject::Token;

/// Most fields of a notice.
const MOST_FIELDS: usize = 100;
/// Most bytes of a notice, as JSON.
const MOST_BYTES: usize = 4 * 1024;

fn not_too_much(data: &Map<String, Value>, _: &()) -> garde::Result {
    if data.len() > MOST_FIELDS {
        return Err(garde::Error::new(format!("has more than {MOST_FIELDS} fields")));
    }
    match serde_json::to_vec(data).is_ok_and(|json| json.len() <= MOST_BYTES) {
        true => Ok(()),
        false => Err(garde::Error::new(format!("has more than {MOST_BYTES} bytes as JSON"))),
    }
}

/// Writes a notice into a channel's log: whoever listens gets it now, whoever was away gets it when he is back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Broadcast {
    /// To whom.
    #[garde(skip)]
    pub to: Kind,
    /// Which room or user. Absent for the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub id: Option<Token>,
    /// What: an object of at most 100 fields and 4 KiB.
    #[garde(custom(not_too_much))]
    #[schemars(schema_with = "data_schema", extend("x-personal" = "data"))]
    pub data: Map<String, Value>,
}

fn data_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "maxProperties": MOST_FIELDS, "additionalProperties": true })
}

impl Command for Broadcast {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "broadcast";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/websocket/broadcast"));
    const SCOPE: &'static str = BROADCAST;

    fn example() -> Self {
        let data = Map::from_iter([("title".to_owned(), "We are back at noon".into())]);
        Broadcast { to: Kind::User, id: Some(token("ada")), data }
    }
}

/// A notice stands in a channel's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BroadcastSent {
    /// To whom.
    pub to: Kind,
    /// Which room or user; `all` for the tenant.
    #[schemars(extend("x-personal" = "subject"))]
    pub id: Token,
    /// The channel's revision.
    pub revision: i64,
}

impl Event for BroadcastSent {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "broadcast_sent";

    fn example() -> Self {
        BroadcastSent { to: Kind::User, id: token("ada"), revision: 1 }
    }
}
