//! What would be done, as data and as text.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::difference::{Difference, shown};

/// What would make the bus as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// In the order in which they are made.
    pub changes: Vec<Change>,
    /// What is on the bus and in no catalogue. It is left alone.
    pub unmanaged: Vec<Unmanaged>,
}

/// One stream, consumer or bucket that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which.
    #[serde(flatten)]
    pub item: Item,
    /// What would be done.
    #[serde(flatten)]
    pub action: Action,
}

/// A thing on the bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Item {
    /// A stream.
    Stream {
        /// `CMD_MAILER`
        name: String,
    },
    /// A durable consumer.
    Consumer {
        /// `CMD_MAILER`
        stream: String,
        /// `mailer_default`
        name: String,
    },
    /// A key-value bucket.
    Bucket {
        /// `keys`
        name: String,
    },
}

/// What would be done to an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// It is missing.
    Create {
        /// What it would be.
        config: Value,
    },
    /// It is there and differs.
    Update {
        /// In what.
        differences: Vec<Difference>,
        /// The configuration it would have: the server's own, with our fields over it.
        #[serde(skip)]
        config: Value,
    },
    /// It is not as it should be, and can't be made so without losing something.
    Refuse {
        /// In what it differs; empty if it is missing.
        differences: Vec<Difference>,
        /// What stands in the way, and what would do.
        reason: String,
    },
}

/// A thing that nobody declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmanaged {
    /// Which.
    #[serde(flatten)]
    pub item: Item,
    /// What it captures or reads.
    pub subjects: Vec<String>,
    /// Messages it holds, or that are still to be read through it.
    pub messages: u64,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Stream { name } => write!(f, "stream {name}"),
            Item::Consumer { stream, name } => f.write_str(&crate::difference::consumer_label(stream, name)),
            Item::Bucket { name } => write!(f, "bucket {name}"),
        }
    }
}

impl Plan {
    /// True if the bus is as it should be. Unmanaged things don't count.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What can't be done in place.
    pub fn refused(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| matches!(change.action, Action::Refuse { .. }))
    }

    /// How many there are to create, to change and refused.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Action) -> bool| self.changes.iter().filter(|change| is(&change.action)).count();
        (
            count(|action| matches!(action, Action::Create { .. })),
            count(|action| matches!(action, Action::Update { .. })),
            count(|action| matches!(action, Action::Refuse { .. })),
        )
    }
}

impl fmt::Display for Plan {
    /// `+` to create, `~` to change, `!` refused, `?` unmanaged, and a line that counts them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        for item in &self.unmanaged {
            writeln!(f, "{item}")?;
        }
        let (create, update, refuse) = self.counts();
        match self.is_empty() {
            true => write!(f, "No changes: the bus is as it should be.")?,
            false => write!(f, "Plan: {create} to create, {update} to change, {refuse} refused.")?,
        }
        match self.unmanaged.len() {
            0 => Ok(()),
            unmanaged => write!(f, " {unmanaged} unmanaged, left alone."),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Create { config } => {
                write!(f, "+ {}", self.item)?;
                for field in ["subjects", "filter_subjects", "retention", "discard", "max_age", "max_bytes"] {
                    if let Some(value) = config.get(field) {
                        write!(f, "\n    {field}: {}", shown(field, value))?;
                    }
                }
                Ok(())
            }
            Action::Update { differences, .. } => {
                write!(f, "~ {}", self.item)?;
                differences.iter().try_for_each(|difference| write!(f, "\n    {}", difference.change()))
            }
            Action::Refuse { differences, reason } => {
                write!(f, "! {}: {reason}", self.item)?;
                differences.iter().try_for_each(|difference| write!(f, "\n    {}", difference.change()))
            }
        }
    }
}

impl fmt::Display for Unmanaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if matches!(self.item, Item::Consumer { .. }) { "unread" } else { "held" };
        write!(f, "? {} ({}): messages {what}: {}", self.item, self.subjects.join(", "), self.messages)
    }
}
