//! Going through an export's lines: each entry is in its place and has the hash that a tile shows, and each tile leads
//! to the head. Only what the log itself has put a tombstone on may be missing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Flaw, flaw};
use crate::export::{Header, Line, hashes};
use crate::note::{Checkpoint, VerifierKey};
use crate::retention::Tombstone;
use crate::tree::{self, Hash, Place, WIDTH};

/// Where the reading stands.
pub(super) struct Walk<'a> {
    head: &'a Checkpoint,
    key: &'a VerifierKey,
    filtered: bool,
    /// The entry that has to come now, or to have been removed.
    pub(super) next: u64,
    to: u64,
    tile: Option<Tile>,
    pub(super) checked: u64,
    pub(super) withheld: u64,
    pub(super) removed: u64,
}

struct Tile {
    number: u64,
    hashes: Vec<u8>,
    tombstones: Vec<Tombstone>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(header: &Header, head: &'a Checkpoint, key: &'a VerifierKey) -> Self {
        Walk {
            head,
            key,
            filtered: header.what.is_some(),
            next: header.from,
            to: header.to,
            tile: None,
            checked: 0,
            withheld: 0,
            removed: 0,
        }
    }

    pub(super) fn take(&mut self, line: Line) -> Result<(), Flaw> {
        match line {
            Line::Tile { tile, hashes: packed, path, tombstones } => {
                self.skip_to((tile * WIDTH).clamp(self.next, self.to))?;
                self.tile = Some(self.proved(tile, &packed, &path, &tombstones)?);
                Ok(())
            }
            Line::Entry { index, leaf } => {
                self.place(index)?;
                if self.hash(index)? != tree::leaf_hash(leaf.as_bytes()) {
                    return Err(flaw(index, "it is not what the head has: altered"));
                }
                self.checked += 1;
                Ok(())
            }
            Line::Withheld { withheld } => {
                self.place(withheld)?;
                self.hash(withheld)?;
                if !self.filtered {
                    return Err(flaw(withheld, "it is withheld, and the export says of no filter"));
                }
                self.withheld += 1;
                Ok(())
            }
        }
    }

    fn proved(&self, number: u64, packed: &str, path: &[String], tombstones: &[String]) -> Result<Tile, Flaw> {
        let at = (number * WIDTH).max(self.next);
        let bytes = STANDARD.decode(packed).map_err(|_| flaw(at, "the tile's hashes are not base64"))?;
        let width = Place { level: 0, number }.width(self.head.size);
        if width == 0 || bytes.len() as u64 != width * 32 {
            return Err(flaw(at, format!("the tile has {} hashes and should have {width}", bytes.len() / 32)));
        }
        let all: Vec<Hash> =
            bytes.chunks_exact(32).map(|chunk| chunk.try_into().expect("a chunk has 32 bytes")).collect();
        let path = hashes(path).ok_or_else(|| flaw(at, "the tile's path is not base64"))?;
        if !tree::includes_tile(&tree::root_of(&all), number, self.head.size, &path, &self.head.root) {
            return Err(flaw(at, "the hashes from here on do not lead to the head"));
        }
        let open = |note: &String| {
            Tombstone::open(note, self.key).ok_or_else(|| flaw(at, "a tombstone is not signed by the log"))
        };
        let tombstones = tombstones.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Tile { number, hashes: bytes, tombstones })
    }

    /// The next entry must be this one, or those between must have been removed.
    fn place(&mut self, index: u64) -> Result<(), Flaw> {
        if index < self.next {
            return Err(flaw(index, "it stands twice, or not in its place"));
        }
        if index >= self.to {
            return Err(flaw(index, "it is beyond the range that the export announces"));
        }
        self.skip_to(index)?;
        self.next = index + 1;
        Ok(())
    }

    pub(super) fn skip_to(&mut self, index: u64) -> Result<(), Flaw> {
        while self.next < index {
            let gone = self.tile.as_ref().is_some_and(|tile| {
                tile.number == self.next / WIDTH
                    && tile.tombstones.iter().any(|stone| (stone.first..=stone.last).contains(&self.next))
            });
            if !gone {
                return Err(flaw(self.next, "it is missing"));
            }
            self.removed += 1;
            self.next += 1;
        }
        Ok(())
    }

    fn hash(&self, index: u64) -> Result<Hash, Flaw> {
        let tile = self.tile.as_ref().filter(|tile| tile.number == index / WIDTH);
        let at = (index % WIDTH) as usize * 32;
        let hash = tile.and_then(|tile| tile.hashes.get(at..at + 32)).and_then(|hash| hash.try_into().ok());
        hash.ok_or_else(|| flaw(index, "no tile before it has its hash"))
    }
}
