//! What a client may ask, and what it is answered: the commands, and what it listens to.

use std::time::Duration;

use chrono::{DateTime, Utc};
use omnibus_runtime::clock;
use omnibus_runtime::metrics::Metric;
use omnibus_schemas::platform::CommandPage;
use omnibus_schemas::presence::{Kind, READ, Seat as SeatQuery};
use omnibus_schemas::subject;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::channel::{Channel, scopes_of};
use crate::codes::{
    ALREADY_SUBSCRIBED, BAD_REQUEST, Close, INTERNAL, LIMIT_EXCEEDED, MALFORMED, METHOD_NOT_FOUND, NOT_ALLOWED,
    NOT_AVAILABLE, PERMISSION_DENIED, Refusal, UNKNOWN_CHANNEL,
};
use crate::hub::{Joining, Seat};
use crate::log::{Kept, Most};
use crate::protocol::{
    Command, Connect, OnChannel, Publication, Refresh, Subscribe, Subscribed, Tags, one_line, refuse, reply,
    unsubscribed,
};
use crate::session::{Admitted, Session};
use crate::topic::TopicKind;

/// How long the turn to ask who sits in a room and the answer may take together. A crowd gets its turns in it; if the
/// worker is mute, nobody waits for all who came before.
const SEATED: Duration = Duration::from_secs(15);

/// What a command comes to: its result, or a no.
pub(crate) type Result<T> = std::result::Result<T, Refusal>;

impl Session {
    /// Answers one command, as it stands in a line of a frame. `Err` closes the socket.
    pub(crate) async fn line(&mut self, line: &str) -> std::result::Result<(), Close> {
        let command: Command = serde_json::from_str(line).map_err(|_| MALFORMED)?;
        self.tidy();
        let Command { id, what } = command;
        let mut what = what.into_iter();
        let (name, params) = match (what.next(), what.next()) {
            (None, _) if id == 0 => return Ok(()),
            (Some((name, params)), None) => (name, params),
            _ => return Err(MALFORMED),
        };
        // What needs no answer has no number, and only that.
        if (id == 0) != (name == "send") {
            return Err(MALFORMED);
        }
        // What takes something back is cheap, and a client that is refused it takes its connection for broken.
        if !matches!(name.as_str(), "unsubscribe" | "send")
            && let Err(refusal) = self.rates.command()
        {
            self.link.push(refuse(id, refusal));
            return Ok(());
        }
        match (name.as_str(), &self.who) {
            ("connect", None) => return self.connect(id, read(params).map_err(|_| MALFORMED)?).await,
            ("connect", Some(_)) | (_, None) => return Err(MALFORMED),
            _ => {}
        }
        let answer: Result<Value> = match name.as_str() {
            "subscribe" => match self.subscribe(id, params).await {
                Ok(()) => return Ok(()),
                Err(refusal) => Err(refusal),
            },
            "unsubscribe" => self.unsubscribe(params),
            "publish" => self.say(params).await,
            "presence" => self.presence(params),
            "presence_stats" => self.presence_stats(params),
            "history" => self.history(params).await,
            "rpc" => self.rpc(params).await,
            "refresh" => return self.refresh(id, read(params).map_err(|_| MALFORMED)?).await,
            // Subscriptions here end with the socket, never before.
            "sub_refresh" => Err(NOT_AVAILABLE),
            "ping" => Ok(json!({})),
            // Nobody listens to messages without an answer.
            "send" => return Ok(()),
            _ => Err(METHOD_NOT_FOUND),
        };
        self.link.push(match answer {
            Ok(result) => reply(id, &name, &result),
            Err(refusal) => refuse(id, refusal),
        });
        Ok(())
    }

    async fn connect(&mut self, id: u32, connect: Connect) -> std::result::Result<(), Close> {
        let token = match (connect.token.is_empty(), self.ticket.take()) {
            (true, Some(ticket)) => ticket,
            _ => connect.token,
        };
        // Known from the first moment on: a device that nobody is at must not look as if somebody was back.
        self.away = connect.data.get("away").and_then(Value::as_bool).unwrap_or(false);
        match self.admit(&token).await? {
            Admitted::Refused(refusal) => self.link.push(refuse(id, refusal)),
            Admitted::Yes => {
                Metric::Sockets.set(crate::socket::open_now(1), &[]);
                let mut result = self.identity();
                result.insert("ping".into(), self.shared.settings.websocket_ping_seconds.into());
                result.insert("pong".into(), true.into());
                result.insert("node".into(), self.shared.node.clone().into());
                self.link.push(reply(id, "connect", &result));
            }
        }
        Ok(())
    }

    async fn refresh(&mut self, id: u32, refresh: Refresh) -> std::result::Result<(), Close> {
        let admitted = self.renew(&refresh.token).await?;
        self.link.push(match admitted {
            Admitted::Refused(refusal) => refuse(id, refusal),
            Admitted::Yes => reply(id, "refresh", &self.identity()),
        });
        Ok(())
    }

    /// What a client is told of itself, and when it has to renew its token.
    fn identity(&self) -> Map<String, Value> {
        let mut told = Map::new();
        told.insert("client".into(), self.client.to_string().into());
        told.insert("version".into(), concat!("omnibus ", env!("CARGO_PKG_VERSION")).into());
        if let Some(until) = self.until() {
            told.insert("expires".into(), true.into());
            told.insert("ttl".into(), seconds_to(until).into());
        }
        told
    }

    async fn subscribe(&mut self, id: u32, params: Value) -> Result<()> {
        let wanted: Subscribe = read(params)?;
        let name = wanted.channel.clone();
        if self.seats.contains_key(&name) {
            return Err(ALREADY_SUBSCRIBED);
        }
        if self.seats.len() >= self.shared.settings.websocket_channels {
            return Err(LIMIT_EXCEEDED);
        }
        let channel = Channel::parse(&name).ok_or(UNKNOWN_CHANNEL)?;
        self.allowed(&channel)?;
        let who = self.who.as_ref().ok_or(PERMISSION_DENIED)?;
        let tenant = who.tenant.as_str();
        // A channel that nobody here listens to costs a subscription on the bus: none is made for whoever may not listen.
        self.seated(&channel, || self.shared.hub.listens(&channel, tenant)).await?;
        let seat = self.shared.hub.join(Joining {
            channel: &channel,
            name: &name,
            tenant,
            user: who.name.clone(),
            link: self.link.clone(),
            domains: who.domains.clone(),
            ended: self.ended.clone(),
            key: self.shared.number(),
        });
        let epoch = seat.topic.ready().await.ok_or(INTERNAL)?;
        // Asked after the place was taken: who is put out of the room meanwhile loses the place too.
        self.seated(&channel, || false).await?;
        if let Channel::Command(command) = &channel {
            self.past_outcome(&seat, *command).await;
        }
        let (subscribed, seen) = match &seat.topic.kind {
            TopicKind::Log(log) => self.begin(&seat, log, &epoch, &wanted).await?,
            TopicKind::Events | TopicKind::Outcomes => {
                (Subscribed { was_recovering: wanted.recover, ..Subscribed::default() }, 0)
            }
        };
        if !seat.go_live(reply(id, "subscribe", &subscribed), seen) {
            return Err(INTERNAL);
        }
        self.untold |= matches!(channel, Channel::Log(Kind::Room, _));
        self.seats.insert(name, seat);
        Ok(())
    }

    /// Whether the user has a seat in the room, if the channel is one and `needless` does not say that it need not be
    /// known. Of many who come at once each waits his turn to ask.
    async fn seated(&self, channel: &Channel, needless: impl Fn() -> bool) -> Result<()> {
        let Channel::Log(Kind::Room, room) = channel else { return Ok(()) };
        let who = self.who.as_ref().ok_or(PERMISSION_DENIED)?;
        if needless() {
            return Ok(());
        }
        let asking = async {
            let _turn = self.shared.questions.acquire().await.expect("this semaphore is never closed");
            // It may not be any more: whoever came before is there by now.
            if needless() {
                return Ok(());
            }
            let question = SeatQuery { room_id: room.clone(), user: who.user.clone() };
            self.ask("presence", &question).await?.map(drop).ok_or(PERMISSION_DENIED)
        };
        tokio::time::timeout(SEATED, asking).await.unwrap_or(Err(INTERNAL))
    }

    /// Ends what the credential does not allow.
    pub(crate) fn narrow(&mut self) {
        let may = |name: &str| Channel::parse(name).is_some_and(|channel| self.allowed(&channel).is_ok());
        let lost: Vec<String> = self.seats.keys().filter(|name| !may(name.as_str())).cloned().collect();
        for name in lost {
            self.untold |= self.seats.remove(&name).is_some();
            self.link.push(unsubscribed(&name, NOT_ALLOWED));
        }
        if let Some(who) = &self.who {
            self.seats.values().for_each(|seat| seat.may_read(&who.domains));
        }
    }

    /// Whether the user may listen, as far as the credential says.
    fn allowed(&self, channel: &Channel) -> Result<()> {
        let who = self.who.as_ref().ok_or(PERMISSION_DENIED)?;
        let allowed = match channel {
            Channel::Log(Kind::Room | Kind::Tenant, _) => who.caller.may(READ),
            Channel::Log(Kind::User, user) => *user == who.user,
            Channel::Events(domain) => {
                let scopes = scopes_of(&self.shared.catalogue, domain.as_str()).ok_or(UNKNOWN_CHANNEL)?;
                scopes.iter().all(|scope| who.caller.may(scope))
            }
            // Which domain it is of, only its outcome will tell: then what may be read of that domain counts.
            Channel::Command(_) => true,
        };
        if allowed { Ok(()) } else { Err(PERMISSION_DENIED) }
    }

    /// Where a subscription to a log begins, and up to where the client has everything.
    async fn begin(&self, seat: &Seat, log: &str, epoch: &str, wanted: &Subscribe) -> Result<(Subscribed, u64)> {
        // All that is newer comes live; nothing older does.
        let last = seat.topic.last();
        let mut begun = Subscribed {
            recoverable: true,
            positioned: true,
            epoch: epoch.to_owned(),
            offset: last,
            was_recovering: wanted.recover,
            ..Subscribed::default()
        };
        if !wanted.recover {
            return Ok((begun, last));
        }
        let missed = self.missed(seat, log, (epoch, last), wanted).await?;
        begun.recovered = missed.is_some();
        Metric::Recoveries.count(&[("result", if begun.recovered { "whole" } else { "not_whole" })]);
        if begun.recovered {
            begun.offset = last.max(wanted.offset);
        }
        begun.publications = publications(missed.unwrap_or_default());
        let seen = begun.offset;
        Ok((begun, seen))
    }

    async fn missed(
        &self,
        seat: &Seat,
        log: &str,
        (epoch, last): (&str, u64),
        wanted: &Subscribe,
    ) -> Result<Option<Vec<Kept>>> {
        if wanted.epoch != epoch {
            return Ok(None);
        }
        if wanted.offset == last {
            return Ok(Some(vec![]));
        }
        let settings = &self.shared.settings;
        let most = Most { entries: settings.websocket_recover, bytes: settings.answer_bytes() };
        let (reader, topic) = (&self.shared.hub.log, &seat.topic);
        topic.catch_up.missed((reader, log), (epoch, wanted.offset), (last, || topic.last()), most).await.map_err(away)
    }

    /// An outcome that was there before anybody listened. Every domain is asked: the id alone does not say which.
    async fn past_outcome(&self, seat: &Seat, command: uuid::Uuid) {
        let Some(who) = &self.who else { return };
        let question = CommandPage { command_id: command };
        let (this, question) = (self, &question);
        let pages = who.domains.iter().map(|domain| async move {
            let report = this.ask(domain, question).await.ok()??;
            let outcome = report.outcome?;
            let last = report.events.into_iter().rev().find(|event| event.subject.starts_with("evt."))?;
            let name = subject::EventSubject::parse(&last.subject)?.name.to_owned();
            let told = json!({
                "event": format!("{domain}.{name}"),
                "id": last.id,
                "time": report.finished_at,
                "command": command,
                "outcome": outcome.as_str(),
                "data": last.payload,
            });
            Some((domain.clone(), told.to_string()))
        });
        for (domain, told) in futures_util::future::join_all(pages).await.into_iter().flatten() {
            seat.outcome(command, &domain, &told);
        }
    }

    fn unsubscribe(&mut self, params: Value) -> Result<Value> {
        let OnChannel { channel } = read(params)?;
        self.untold |= self.seats.remove(&channel).is_some();
        Ok(json!({}))
    }
}

pub(crate) fn read<T: DeserializeOwned>(params: Value) -> Result<T> {
    // A list would be taken for the fields in their order.
    if !params.is_object() {
        return Err(BAD_REQUEST);
    }
    serde_json::from_value(params).map_err(|_| BAD_REQUEST)
}

pub(crate) fn away(error: crate::log::Unread) -> Refusal {
    tracing::warn!(%error, "a client could not be told what it asked");
    INTERNAL
}

pub(crate) fn publications(kept: Vec<Kept>) -> Vec<Publication> {
    let publication = |kept: Kept| {
        let data: Box<RawValue> = one_line(&kept.body)?;
        let tags = kept.trace.map(|trace| Tags { traceparent: trace.to_string() });
        Some(Publication { data, offset: kept.sequence, tags })
    };
    kept.into_iter().filter_map(publication).collect()
}

fn seconds_to(until: DateTime<Utc>) -> i64 {
    (until - clock::now()).num_seconds().max(1)
}
