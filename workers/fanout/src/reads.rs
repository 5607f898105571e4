//! What a client may read of a channel beside listening to it: who is there, and what was said.

use serde_json::{Map, Value, json};

use crate::codes::{NOT_AVAILABLE, PERMISSION_DENIED, UNRECOVERABLE};
use crate::commands::{Result, away, publications, read};
use crate::hub::TopicKind;
use crate::protocol::{History, OnChannel};
use crate::session::Session;

/// Most entries that a history reads at once.
const MOST_HISTORY: usize = 1000;

impl Session {
    pub(crate) fn presence(&self, params: Value) -> Result<Value> {
        let connections = self.on_channel(params)?;
        let infos = connections.into_iter().map(|(user, client)| {
            let info = json!({ "user": user, "client": client });
            (client, info)
        });
        Ok(json!({ "presence": infos.collect::<Map<_, _>>() }))
    }

    pub(crate) fn presence_stats(&self, params: Value) -> Result<Value> {
        let connections = self.on_channel(params)?;
        let mut users: Vec<_> = connections.iter().map(|(user, _)| user).collect();
        users.dedup();
        Ok(json!({ "num_clients": connections.len(), "num_users": users.len() }))
    }

    /// Who listens to a room that is listened to here, on all nodes; by user.
    fn on_channel(&self, params: Value) -> Result<Vec<(String, String)>> {
        let OnChannel { channel } = read(params)?;
        self.room(&channel)?;
        let who = self.who.as_ref().ok_or(PERMISSION_DENIED)?;
        Ok(self.shared.people.on(who.tenant.as_str(), &channel))
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
        let mut kept = match (asked.limit, asked.reverse) {
            (0, _) => vec![],
            (_, false) => self.shared.hub.log.after(log, since.unwrap_or(0), MOST_HISTORY).await.map_err(away)?,
            (_, true) => {
                let mut all = self.shared.hub.log.after(log, 0, MOST_HISTORY).await.map_err(away)?;
                all.retain(|kept| since.is_none_or(|since| kept.sequence < since));
                all.reverse();
                all
            }
        };
        // What was stored after the position was read belongs to whoever listens.
        kept.retain(|kept| kept.sequence <= position.last);
        if let Ok(limit) = usize::try_from(asked.limit) {
            kept.truncate(limit);
        }
        let mut bytes = 0;
        kept.retain(|kept| {
            bytes += kept.body.len();
            bytes <= self.shared.settings.websocket_queue_bytes / 2
        });
        Ok(json!({ "publications": publications(kept), "epoch": position.epoch, "offset": position.last }))
    }
}
