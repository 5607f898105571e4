//! What a client says: into a room, or beside its log.

use omnibus_schemas::presence::{Kind, MarkRead, PostMessage, WRITE};
use omnibus_schemas::{Token, body, subject};
use serde_json::{Map, Value, json};

use crate::channel::Channel;
use crate::codes::{BAD_REQUEST, INTERNAL, METHOD_NOT_FOUND, NOT_AVAILABLE, PERMISSION_DENIED, UNKNOWN_CHANNEL};
use crate::commands::{Result, away, read};
use crate::protocol::{Publish, Rpc};
use crate::session::Session;
use crate::topic::TopicKind;

impl Session {
    /// A room that is listened to.
    pub(crate) fn room(&self, name: &str) -> Result<Token> {
        match (Channel::parse(name), self.seats.contains_key(name)) {
            (Some(Channel::Log(Kind::Room, room)), true) => Ok(room),
            (Some(Channel::Log(Kind::Room, _)), false) => Err(PERMISSION_DENIED),
            (Some(_), _) => Err(NOT_AVAILABLE),
            (None, _) => Err(UNKNOWN_CHANNEL),
        }
    }

    /// `publish` on a room: a text, or an object with a text. Answered once the bus has it.
    pub(crate) async fn say(&mut self, params: Value) -> Result<Value> {
        let Publish { channel, data } = read(params)?;
        let room = self.room(&channel)?;
        let data = match data {
            Value::String(text) => Map::from_iter([("text".to_owned(), text.into())]),
            Value::Object(fields) => fields,
            _ => return Err(BAD_REQUEST),
        };
        self.post(room, data).await.map(|_| json!({}))
    }

    async fn post(&self, room: Token, mut data: Map<String, Value>) -> Result<Value> {
        data.insert("room_id".into(), room.as_str().into());
        if data.contains_key("user") {
            return Err(BAD_REQUEST);
        }
        let command: PostMessage = read(Value::Object(data))?;
        body::validate(&command).map_err(|_| BAD_REQUEST)?;
        let id = self.publish(&command).await?;
        Ok(json!({ "message_id": id }))
    }

    pub(crate) async fn rpc(&mut self, params: Value) -> Result<Value> {
        let Rpc { method, data } = read(params)?;
        let field = |name: &str| data.get(name).cloned().unwrap_or_default();
        let data = match method.as_str() {
            "message" => {
                let Value::Object(mut fields) = data else { return Err(BAD_REQUEST) };
                let channel = fields.remove("channel").unwrap_or_default();
                let room = self.room(channel.as_str().ok_or(BAD_REQUEST)?)?;
                self.post(room, fields).await?
            }
            "typing" => {
                let room = self.room(field("channel").as_str().ok_or(BAD_REQUEST)?)?;
                self.rates.typing()?;
                self.pass(&room, json!({ "type": "typing" })).await?;
                json!({})
            }
            "read" => {
                let channel = field("channel");
                let channel = channel.as_str().ok_or(BAD_REQUEST)?;
                let room_id = self.room(channel)?;
                let revision = field("revision").as_i64().ok_or(BAD_REQUEST)?;
                let command = MarkRead { room_id: room_id.clone(), user: None, revision };
                body::validate(&command).map_err(|_| BAD_REQUEST)?;
                let upto = self.written(channel, revision).await?;
                self.publish(&command).await?;
                // If nothing of it is known here, there is nothing to tell.
                if upto > 0 {
                    self.pass(&room_id, json!({ "type": "read", "revision": upto })).await?;
                }
                json!({})
            }
            "away" => {
                self.away = field("away").as_bool().ok_or(BAD_REQUEST)?;
                self.untold = true;
                json!({})
            }
            _ => return Err(METHOD_NOT_FOUND),
        };
        Ok(json!({ "data": data }))
    }

    /// As much of a revision as there is: nobody has read what is not written, whatever he says.
    async fn written(&self, channel: &str, revision: i64) -> Result<i64> {
        let topic = &self.seats.get(channel).ok_or(PERMISSION_DENIED)?.topic;
        let TopicKind::Log(log) = &topic.kind else { return Err(NOT_AVAILABLE) };
        if revision > topic.revision() {
            topic.has_revision(self.shared.hub.log.revision(log).await.map_err(away)?);
        }
        Ok(revision.min(topic.revision()))
    }

    /// Says something in a room that is never stored.
    async fn pass(&self, room: &Token, mut said: Value) -> Result<()> {
        let who = self.who.as_ref().ok_or(PERMISSION_DENIED)?;
        if !who.caller.may(WRITE) {
            return Err(PERMISSION_DENIED);
        }
        said["user"] = who.user.as_str().into();
        let to = subject::live(who.tenant.as_str(), Kind::Room.as_str(), room.as_str());
        self.shared.bus.client().publish(to, said.to_string().into()).await.map_err(|_| INTERNAL)
    }
}
