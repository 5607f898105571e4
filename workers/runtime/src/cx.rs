//! What a handler may touch: the transaction's connection, and a clock and ids that a replay repeats.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::envelope::Meta;
use crate::events::Events;

/// Lent to a handler for one command.
pub struct Cx<'a> {
    meta: &'a Meta,
    db: &'a mut PgConnection,
}

impl<'a> Cx<'a> {
    /// For one of many that is unlike the others, and goes the way of those that come alone: its own metadata, and the
    /// connection that is lent for all of them.
    pub fn new(meta: &'a Meta, db: &'a mut PgConnection) -> Self {
        Cx { meta, db }
    }

    /// The transaction's connection: query, never commit.
    pub fn db(&mut self) -> &mut PgConnection {
        self.db
    }

    /// Who asked, and in which chain.
    pub fn meta(&self) -> &'a Meta {
        self.meta
    }

    /// The tenant to which every statement is bound.
    pub fn tenant(&self) -> &'a str {
        &self.meta.tenant
    }

    /// The command's own time (`ce-time`): the same in a retry and in a replay.
    pub fn now(&self) -> DateTime<Utc> {
        self.meta.time
    }

    /// An id derived from the command's: the same in a retry and in a replay, another for every `what`.
    pub fn id(&self, what: &str) -> Uuid {
        Uuid::new_v5(&self.meta.id, what.as_bytes())
    }

    /// The id that a command will have which is the next to be added to these. They must be all that the handler causes
    /// before it.
    pub fn follow_up_id(&self, events: &Events) -> Uuid {
        self.id(&events.len().to_string())
    }
}
