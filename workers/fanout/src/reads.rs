//! What a client may read of a channel beside listening to it: who is there, and what was said.

use serde_json::{Map, Value, json};

use crate::codes::{LIMIT_EXCEEDED, NOT_AVAILABLE, PERMISSION_DENIED, UNRECOVERABLE};
use crate::commands::{Result, away, publications, read};
use crate::log::Most;
use crate::protocol::{History, OnChannel};
use crate::session::Session;
use crate::topic::TopicKind;

/// Most entries that a history reads at once.
const MOST_HISTORY: usize = 1000;
/// A connection in a reply, in bytes, if its user has the longest name.
const CONNECTION: usize = 256;

impl Session {
    pub(crate) fn presence(&self, params: Value) -> Result<Value> {
        let (tenant, channel) = self.of_room(params)?;
        // More would not fit the queue, and close the socket instead of answering.
        let most = self.shared.settings.answer_bytes() / CONNECTION;
        let connections = self.shared.people.on(tenant, &channel, most).ok_or(LIMIT_EXCEEDED)?;
        let infos = connections.into_iter().map(|(user, client)| {
            let info = json!({ "user": user, "client": client });
            (client, info)
        });
        Ok(json!({ "presence": infos.collect::<Map<_, _>>() }))
    }

    pub(crate) fn presence_stats(&self, params: Value) -> Result<Value> {
        let (tenant, channel) = self.of_room(params)?;
        let (clients, users) = self.shared.people.count(tenant, &channel);
        Ok(json!({ "num_clients": clients, "num_users": users }))
    }

    /// A room that is listened to here, and its tenant.
    fn of_room(&self, params: Value) -> Result<(&str, String)> {
        let OnChannel { channel } = read(params)?;
        self.room(&channel)?;
        let who = self.who.as_ref().ok_or(PERMISSION_DENIED)?;
        Ok((who.tenant.as_str(), channel))
    }

    pub(crate) async fn history(&self, params: Value) -> Result<Value> {
        let asked: History = read(params)?;
        let seat = self.seats.get(&asked.channel).ok_or(PERMISSION_DENIED)?;
        let TopicKind::Log(log) = &seat.topic.kind else { return Err(NOT_AVAILABLE) };
        let position = self.shared.hub.log.position().await.map_err(away)?;
        let since = match &asked.since {
            Some(since) if !since.epoch.is_empty() && since.epoch != position.epoch => return Err(UNRECOVERABLE),
            Some(since) => Some(since.offset),
            None => None,
        };
        // Below zero is as many as there are.
        let entries = usize::try_from(asked.limit).map_or(MOST_HISTORY, |limit| limit.min(MOST_HISTORY));
        let most = Most { entries, bytes: self.shared.settings.answer_bytes() };
        let reader = &self.shared.hub.log;
        let mut kept = match (entries, asked.reverse) {
            (0, _) => vec![],
            (_, false) => reader.after(log, since.unwrap_or(0), most).await.map_err(away)?,
            (_, true) => {
                let next = position.last.saturating_add(1);
                let below = since.map_or(next, |since| since.min(next));
                reader.before(log, below, most).await.map_err(away)?
            }
        };
        // What was stored after the position was read belongs to whoever listens.
        kept.retain(|kept| kept.sequence <= position.last);
        let mut bytes = 0;
        kept.retain(|kept| {
            bytes += kept.size();
            bytes <= most.bytes
        });
        Ok(json!({ "publications": publications(kept), "epoch": position.epoch, "offset": position.last }))
    }
}
