//! The Merkle tree of RFC 6962 §2 (and RFC 9162 §2.1), over hashes that lie in tiles of 256 as c2sp.org/tlog-tiles has
//! them. Nothing here reads or writes: hashes come from a [`Tiles`], and whoever lacks a tile is told which.

use std::collections::HashMap;

use ring::digest::{Context, SHA256};

/// SHA-256.
pub type Hash = [u8; 32];

/// Hashes in a full tile.
pub const WIDTH: u64 = 256;
/// Levels of the tree in one tile.
const HEIGHT: u32 = 8;

/// `SHA-256(0x00 || leaf)`
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    digest(&[&[0], leaf])
}

/// `SHA-256(0x01 || left || right)`
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    digest(&[&[1], left, right])
}

/// SHA-256 of the parts, one after another.
pub fn digest(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    digest(&[])
}

/// Where a tile lies: how many tiles are beneath each of its hashes, and its number among its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// 0 for the tiles of leaves.
    pub level: u8,
    /// From the left, from 0.
    pub number: u64,
}

impl Place {
    /// How many hashes the tile has in a tree of `size` leaves; 0 if it is not there.
    pub fn width(self, size: u64) -> u64 {
        let hashes = size.checked_shr(HEIGHT * u32::from(self.level)).unwrap_or(0);
        hashes.saturating_sub(self.number.saturating_mul(WIDTH)).min(WIDTH)
    }

    /// Its name below the log's address: `tile/0/x001/067`, with `.p/<width>` while it is not full.
    pub fn path(self, width: u64) -> String {
        let mut name = format!("{:03}", self.number % 1000);
        let mut rest = self.number / 1000;
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % 1000);
            rest /= 1000;
        }
        let partial = if width < WIDTH { format!(".p/{width}") } else { String::new() };
        format!("tile/{}/{name}{partial}", self.level)
    }

    /// Every tile that changes while a tree grows from `from` to `to` leaves, with its width at the end.
    pub fn grown(from: u64, to: u64) -> Vec<(Place, u64)> {
        let mut places = Vec::new();
        for level in 0..8 {
            let shift = HEIGHT * u32::from(level);
            let (first, end) = (from >> shift, to >> shift);
            if end == 0 || first == end {
                break;
            }
            for number in first / WIDTH..end.div_ceil(WIDTH) {
                let place = Place { level, number };
                places.push((place, place.width(to)));
            }
        }
        places
    }
}

/// Tiles that were read so far.
#[derive(Debug, Clone, Default)]
pub struct Tiles {
    read: HashMap<Place, Vec<Hash>>,
}

/// A tile that has to be read before the question can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(pub Place);

impl Tiles {
    /// Adds one.
    pub fn insert(&mut self, place: Place, hashes: Vec<Hash>) {
        self.read.insert(place, hashes);
    }

    /// One of them.
    pub fn get(&self, place: Place) -> Option<&[Hash]> {
        self.read.get(&place).map(Vec::as_slice)
    }

    /// Appends a leaf to a tree of `size` leaves. The tiles that are not full at that size must be here.
    pub fn append(&mut self, size: u64, leaf: Hash) {
        let (mut hash, mut index) = (leaf, size);
        for level in 0..8 {
            let tile = self.read.entry(Place { level, number: index / WIDTH }).or_default();
            debug_assert_eq!(tile.len() as u64, index % WIDTH, "a tile that is not full was not read");
            tile.push(hash);
            if tile.len() as u64 != WIDTH {
                return;
            }
            hash = perfect(tile);
            index /= WIDTH;
        }
    }

    /// The hash over the `2^height` leaves that begin at `index << height`.
    fn subtree(&self, height: u32, index: u64) -> Result<Hash, Missing> {
        let level = u8::try_from(height / HEIGHT).expect("a tree has at most 64 levels");
        let inside = height % HEIGHT;
        let first = index << inside;
        let place = Place { level, number: first / WIDTH };
        let (from, count) = ((first % WIDTH) as usize, 1_usize << inside);
        let hashes = self.read.get(&place).and_then(|tile| tile.get(from..from + count)).ok_or(Missing(place))?;
        Ok(perfect(hashes))
    }

    /// `MTH(D[low:high])`, where `low` is a multiple of the largest power of two below `high - low`.
    fn range(&self, low: u64, high: u64) -> Result<Hash, Missing> {
        let count = high - low;
        if count.is_power_of_two() {
            let height = count.trailing_zeros();
            return self.subtree(height, low >> height);
        }
        let middle = low + split(count);
        Ok(node_hash(&self.range(low, middle)?, &self.range(middle, high)?))
    }

    /// The root of the first `size` leaves.
    ///
    /// # Errors
    /// The tile that is missing.
    pub fn root(&self, size: u64) -> Result<Hash, Missing> {
        if size == 0 { Ok(empty_root()) } else { self.range(0, size) }
    }

    /// The path of leaf `index` in a tree of `size` leaves (RFC 6962 §2.1.1), nearest hash first.
    ///
    /// # Errors
    /// The tile that is missing.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, Missing> {
        self.path(index, 0, size, 1)
    }

    /// The path of a whole tile of leaves, from its own root on.
    ///
    /// # Errors
    /// The tile that is missing.
    pub fn tile_path(&self, number: u64, size: u64) -> Result<Vec<Hash>, Missing> {
        self.path(number * WIDTH, 0, size, WIDTH)
    }

    /// `below`: how many leaves the thing has whose path it is.
    fn path(&self, index: u64, low: u64, high: u64, below: u64) -> Result<Vec<Hash>, Missing> {
        if high - low <= below {
            return Ok(Vec::new());
        }
        let middle = low + split(high - low);
        if index < middle {
            let mut path = self.path(index, low, middle, below)?;
            path.push(self.range(middle, high)?);
            Ok(path)
        } else {
            let mut path = self.path(index, middle, high, below)?;
            path.push(self.range(low, middle)?);
            Ok(path)
        }
    }

    /// That the first `from` leaves are the same in a tree of `to` leaves (RFC 6962 §2.1.2).
    ///
    /// # Errors
    /// The tile that is missing.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, Missing> {
        if from == 0 || from >= to {
            return Ok(Vec::new());
        }
        self.same(from, 0, to, true)
    }

    fn same(&self, from: u64, low: u64, high: u64, whole: bool) -> Result<Vec<Hash>, Missing> {
        if from == high - low {
            return Ok(if whole { Vec::new() } else { vec![self.range(low, high)?] });
        }
        let half = split(high - low);
        if from <= half {
            let mut path = self.same(from, low, low + half, whole)?;
            path.push(self.range(low + half, high)?);
            Ok(path)
        } else {
            let mut path = self.same(from - half, low + half, high, false)?;
            path.push(self.range(low, low + half)?);
            Ok(path)
        }
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The root of as many hashes as a power of two.
fn perfect(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
}

/// The root of any number of hashes: what [`Tiles::tile_path`] begins with.
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes.len() {
        0 => empty_root(),
        count if count.is_power_of_two() => perfect(hashes),
        count => {
            let half = split(count as u64) as usize;
            node_hash(&root_of(&hashes[..half]), &root_of(&hashes[half..]))
        }
    }
}

/// Whether `path` leads from a leaf's hash to the root (RFC 9162 §2.1.3.2).
pub fn includes(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    climb(leaf, index, size, path).is_some_and(|found| found == *root)
}

/// As [`includes`], for a tile of leaves: in the tree whose leaves are tiles.
pub fn includes_tile(tile: &Hash, number: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    climb(tile, number, size.div_ceil(WIDTH), path).is_some_and(|found| found == *root)
}

fn climb(start: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *start);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(beside, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Whether the tree of `from` leaves with root `old` is the beginning of that of `to` leaves with root `new` (RFC 9162
/// §2.1.4.2).
pub fn continues(from: u64, old: &Hash, to: u64, new: &Hash, path: &[Hash]) -> bool {
    if from > to {
        return false;
    }
    if from == to || from == 0 {
        return path.is_empty() && (from == 0 || old == new) && (from != 0 || *old == empty_root());
    }
    let mut rest = path.iter();
    let first = match from.is_power_of_two() {
        true => *old,
        false => match rest.next() {
            Some(first) => *first,
            None => return false,
        },
    };
    let (mut at, mut last) = (from - 1, to - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut left, mut right) = (first, first);
    for beside in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            left = node_hash(beside, &left);
            right = node_hash(beside, &right);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            right = node_hash(&right, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && left == *old && right == *new
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grown(size: u64) -> (Tiles, Vec<Hash>) {
        let (mut tiles, mut leaves) = (Tiles::default(), Vec::new());
        for n in 0..size {
            let leaf = leaf_hash(&n.to_be_bytes());
            tiles.append(n, leaf);
            leaves.push(leaf);
        }
        (tiles, leaves)
    }

    /// The test vectors that RFC 6962's first implementation published: eight leaves, the roots of 1, 2, 3 and 8.
    #[test]
    fn roots_are_those_of_the_published_test_vectors() {
        let leaves: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let mut tiles = Tiles::default();
        for (n, leaf) in leaves.iter().enumerate() {
            tiles.append(n as u64, leaf_hash(leaf));
        }
        let hex = |hash: Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (size, root) in [
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(hex(tiles.root(size).unwrap()), root, "{size}");
        }
    }

    #[test]
    fn a_tile_has_the_name_that_the_specification_gives_it() {
        assert_eq!(Place { level: 0, number: 1_234_067 }.path(256), "tile/0/x001/x234/067");
        assert_eq!(Place { level: 1, number: 7 }.path(3), "tile/1/007.p/3");
    }

    #[test]
    fn the_tiles_that_grow_are_those_whose_width_changes() {
        for (from, to) in [(0, 1), (1, 255), (255, 256), (256, 257), (200, 70_000), (65_535, 65_536), (65_536, 65_600)]
        {
            let grown = Place::grown(from, to);
            for level in 0..4 {
                for number in 0..(to >> (8 * level)).div_ceil(WIDTH) {
                    let place = Place { level: level as u8, number };
                    let changed = place.width(from) != place.width(to);
                    assert_eq!(grown.contains(&(place, place.width(to))), changed, "{from}..{to} {place:?}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_leaf_is_proved_in_every_tree_and_nowhere_else(size in 1_u64..1500, at in any::<u64>(), wrong in any::<u64>()) {
            let (tiles, leaves) = grown(size);
            let (index, root) = (at % size, tiles.root(size).unwrap());
            prop_assert_eq!(root, root_of(&leaves));
            let path = tiles.inclusion(index, size).unwrap();
            let leaf = leaves[index as usize];
            prop_assert!(includes(&leaf, index, size, &path, &root));
            let other = wrong % size;
            prop_assert!(other == index || !includes(&leaf, other, size, &path, &root));
            prop_assert!(!includes(&leaf_hash(b"other"), index, size, &path, &root));
            let number = index / WIDTH;
            let low = (number * WIDTH) as usize;
            let tile = root_of(&leaves[low..(low + 256).min(leaves.len())]);
            prop_assert!(includes_tile(&tile, number, size, &tiles.tile_path(number, size).unwrap(), &root));
        }

        #[test]
        fn a_tree_continues_each_of_its_beginnings_and_no_other_tree(to in 1_u64..1500, at in any::<u64>()) {
            let (tiles, _) = grown(to);
            let from = at % (to + 1);
            let (old, new) = (tiles.root(from).unwrap(), tiles.root(to).unwrap());
            let path = tiles.consistency(from, to).unwrap();
            prop_assert!(continues(from, &old, to, &new, &path));
            prop_assert!(!continues(from, &leaf_hash(b"fork"), to, &new, &path));
            prop_assert!(from == 0 || !continues(from, &old, to, &leaf_hash(b"fork"), &path));
        }
    }
}
