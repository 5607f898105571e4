//! The export: lines of JSON that prove themselves to whoever has the log's public key. [`check()`] reads one and says
//! what is wrong with it, and where first; it needs no server, no database and no secret.
//!
//! The first line says what the export claims; then, for each 256 entries, a line with the hashes of the tile and the
//! path to the signed head, and a line for each entry. An entry's inclusion proof is its place in the tile's hashes and
//! the tile's path.

mod check;
mod table;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnibus_schemas::auditor::ExportTile;
use serde::{Deserialize, Serialize};

use crate::tree::Hash;

pub use check::{Flaw, Report, check};
pub use table::{COLUMNS, row};

/// The format's version.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub omnibus_audit_export: u32,
    /// The first entry's index.
    pub from: u64,
    /// One more than the last one's.
    pub to: u64,
    /// How many entries are shown.
    pub count: u64,
    /// Only entries whose `what` begins so are shown; of the others, the hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The signed checkpoint under which all is proved.
    pub head: String,
    /// An earlier checkpoint of the same log, if the export is to be held against one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// That the head continues it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consistency: Vec<String>,
}

/// Every other line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Line {
    /// An entry.
    Entry {
        /// Its index.
        index: u64,
        /// Its leaf.
        leaf: String,
    },
    /// An entry that the filter leaves out.
    Withheld {
        /// Its index.
        withheld: u64,
    },
    /// What the entries after it are held against.
    Tile {
        /// Which tile.
        tile: u64,
        /// The hashes of its leaves, one after another.
        hashes: String,
        /// From the tile's root to the head's.
        path: Vec<String>,
        /// What was removed of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tombstones: Vec<String>,
    },
}

/// Hashes in base64.
pub fn hashes(texts: &[String]) -> Option<Vec<Hash>> {
    texts.iter().map(|text| STANDARD.decode(text).ok()?.try_into().ok()).collect()
}

/// A tile as lines, its entries between `from` and `to` (not among them); those that `shows` does not want are
/// withheld.
pub fn lines(page: ExportTile, from: u64, to: u64, shows: impl Fn(&str) -> bool) -> Vec<Line> {
    let ExportTile { tile, hashes, path, entries, tombstones } = page;
    let mut lines = vec![Line::Tile { tile, hashes, path, tombstones }];
    lines.extend(entries.into_iter().filter(|entry| (from..to).contains(&entry.index)).map(|entry| {
        match shows(&entry.leaf) {
            true => Line::Entry { index: entry.index, leaf: entry.leaf },
            false => Line::Withheld { withheld: entry.index },
        }
    }));
    lines
}

/// The `what` of a leaf: `mailer.email_sent`.
pub fn what(leaf: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct What {
        what: String,
    }
    serde_json::from_str::<What>(leaf).ok().map(|leaf| leaf.what)
}
