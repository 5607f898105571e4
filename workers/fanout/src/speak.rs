//! What a client says: into a room, or beside its log.

use std::time::Duration;

use omnibus_runtime::clock;
use omnibus_schemas::platform::{CommandPage, Outcome};
use omnibus_schemas::presence::{DOMAIN, Kind, MarkRead, PostMessage, WRITE};
use omnibus_schemas::{Token, body, subject};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;
use uuid::Uuid;

use crate::channel::Channel;
use crate::codes::{BAD_REQUEST, INTERNAL, METHOD_NOT_FOUND, NOT_AVAILABLE, PERMISSION_DENIED, UNKNOWN_CHANNEL};
use crate::commands::{Result, away, read};
use crate::protocol::{Publish, Rpc};
use crate::session::Session;
use crate::topic::TopicKind;

/// When it is asked what has become of a message that the room has not heard: each so long after the one before.
const DECIDED_BY: [Duration; 3] = [Duration::from_millis(150), Duration::from_millis(850), Duration::from_secs(2)];
/// How long a message may take to be decided. Clients give a command up after five seconds.
const DECIDED: Duration = Duration::from_secs(4);
/// Messages that nobody has told of, at most, that it is listened for at once.
const UNHEARD: usize = 128;

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

    /// `publish` on a room: a text, or an object with a text. Answered once it stands in the room's log.
    pub(crate) async fn say(&mut self, params: Value) -> Result<Value> {
        let Publish { channel, data } = read(params)?;
        let room = self.room(&channel)?;
        let data = match data {
            Value::String(text) => Map::from_iter([("text".to_owned(), text.into())]),
            Value::Object(fields) => fields,
            _ => return Err(BAD_REQUEST),
        };
        self.post(&channel, room, data).await.map(|_| json!({}))
    }

    /// What one client says one after the other stands in the log in this order: the next is taken when this one has been
    /// decided, whichever worker that was. As long as nobody decides anything, none is waited for.
    async fn post(&mut self, channel: &str, room: Token, mut data: Map<String, Value>) -> Result<Value> {
        data.insert("room_id".into(), room.as_str().into());
        if data.contains_key("user") {
            return Err(BAD_REQUEST);
        }
        let command: PostMessage = read(Value::Object(data))?;
        body::validate(&command).map_err(|_| BAD_REQUEST)?;
        let (id, topic) = (clock::new_id(), self.seats.get(channel).ok_or(PERMISSION_DENIED)?.topic.clone());
        let until = Instant::now() + DECIDED;
        let mut said = topic.expect(id);
        self.publish_as(id, &command).await?;
        let heard = self.hears()
            && tokio::select! {
                // The topic may end first: then only the worker can tell.
                Ok(()) = &mut said => true,
                told = tokio::time::timeout_at(until, self.decided(id)) => told.unwrap_or(Ok(false))?,
            };
        if !heard {
            self.unheard.push_back(said);
            if self.unheard.len() > UNHEARD {
                self.unheard.pop_front();
            }
        }
        Ok(json!({ "message_id": id }))
    }

    /// Is it known of no message that nobody has decided it in time? One that is told of after all is the sign that
    /// somebody is at work again.
    fn hears(&mut self) -> bool {
        if self.unheard.iter_mut().any(|said| said.try_recv().is_ok()) {
            self.unheard.clear();
        }
        // Of a topic that has ended nothing comes any more.
        self.unheard.retain_mut(|said| said.try_recv() != Err(TryRecvError::Closed));
        self.unheard.is_empty()
    }

    /// Asks now and then what has become of a message, for what the room is not told: that it was refused. `false` if nobody
    /// can tell: the bus has it, and it will be decided.
    async fn decided(&self, id: Uuid) -> Result<bool> {
        for pause in DECIDED_BY {
            tokio::time::sleep(pause).await;
            let Ok(Some(report)) = self.ask(DOMAIN, &CommandPage { command_id: id }).await else { continue };
            match report.outcome {
                None | Some(Outcome::Held) => {}
                Some(Outcome::Succeeded) => return Ok(true),
                Some(Outcome::Rejected | Outcome::DeadLettered) => {
                    let not_there = report.events.iter().any(|event| event.payload["code"] == "not_a_member");
                    return Err(if not_there { PERMISSION_DENIED } else { BAD_REQUEST });
                }
            }
        }
        Ok(false)
    }

    pub(crate) async fn rpc(&mut self, params: Value) -> Result<Value> {
        let Rpc { method, data } = read(params)?;
        let field = |name: &str| data.get(name).cloned().unwrap_or_default();
        let data = match method.as_str() {
            "message" => {
                let Value::Object(mut fields) = data else { return Err(BAD_REQUEST) };
                let channel = fields.remove("channel").unwrap_or_default();
                let channel = channel.as_str().ok_or(BAD_REQUEST)?;
                let room = self.room(channel)?;
                self.post(channel, room, fields).await?
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
