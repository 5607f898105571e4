//! Exporting the log with its proofs, a page at a time.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DOMAIN, LogEntry};
use crate::contract::{Http, Query};

/// Asks for one tile of the log: up to 256 entries with what proves them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ExportPage {
    /// Which tile: entries `256 * tile` and on.
    #[garde(skip)]
    pub tile: u64,
    /// The size of the head that it is to be proved under; that of now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub size: Option<u64>,
}

/// A tile of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportTile {
    /// Which.
    pub tile: u64,
    /// The hashes of its leaves, one after another, base64.
    pub hashes: String,
    /// The path from the tile's own root to the head's, nearest first, base64.
    pub path: Vec<String>,
    /// The entries, in order. Those whose retention is over are not among them.
    pub entries: Vec<LogEntry>,
    /// Signed notes that say which entries were removed, if any of this tile were.
    pub tombstones: Vec<String>,
}

impl Query for ExportPage {
    type Answer = ExportTile;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "export_page";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/export"));
    const SCOPE: &'static str = "audit:read";

    fn example() -> Self {
        ExportPage { tile: 0, size: None }
    }
}
