//! Checking an export where nobody has to be trusted: its head by the log's key, its entries by the head, and the head
//! by those that came before it.

mod walk;

use std::io::BufRead;

use serde::Serialize;

use super::{Header, VERSION, hashes};
use crate::note::{Checkpoint, VerifierKey};
use crate::tree;
use walk::Walk;

/// What was found well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The log.
    pub origin: String,
    /// The head's size.
    pub size: u64,
    /// The first index.
    pub from: u64,
    /// One more than the last.
    pub to: u64,
    /// Entries whose contents were checked.
    pub checked: u64,
    /// Entries that the filter left out: that they are there is proved, not what they are.
    pub withheld: u64,
    /// Entries removed after their retention.
    pub removed: u64,
    /// The size of the earlier head that this one continues, if it was held against one.
    pub continues: Option<u64>,
}

/// What is wrong, and where first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{}{what}", .index.map(|index| format!("entry {index}: ")).unwrap_or_default())]
pub struct Flaw {
    /// The first entry that is not as the head says; absent if it is no entry's fault, or nobody can say whose.
    pub index: Option<u64>,
    /// In words.
    pub what: String,
}

fn flaw(index: impl Into<Option<u64>>, what: impl Into<String>) -> Flaw {
    Flaw { index: index.into(), what: what.into() }
}

/// Checks an export against the log's key, and against a checkpoint that the reader has kept, if there is one.
///
/// # Errors
/// The first flaw.
pub fn check(export: impl BufRead, key: &VerifierKey, kept: Option<&str>) -> Result<Report, Flaw> {
    let mut lines = export.lines();
    let first = lines.next().ok_or_else(|| flaw(None, "the file is empty: nothing was checked"))?;
    let first = first.map_err(|error| flaw(None, format!("the file can't be read: {error}")))?;
    let header: Header =
        serde_json::from_str(&first).map_err(|error| flaw(None, format!("the first line is no header: {error}")))?;
    if header.omnibus_audit_export != VERSION {
        return Err(flaw(None, format!("version {} of the format is not known", header.omnibus_audit_export)));
    }
    let head = Checkpoint::open(&header.head, key).map_err(|error| flaw(None, format!("the head: {error}")))?;
    if header.from > header.to || header.to > head.size {
        return Err(flaw(None, format!("{}..{} is no range of a log of {}", header.from, header.to, head.size)));
    }
    let continues = held_against(&header, &head, key, kept)?;
    let mut walk = Walk::new(&header, &head, key);
    for line in lines {
        let line = line.map_err(|error| flaw(walk.next, format!("the file can't be read on: {error}")))?;
        let line = serde_json::from_str(&line)
            .map_err(|error| flaw(walk.next, format!("the line is none of an export: {error}")))?;
        walk.take(line)?;
    }
    walk.skip_to(header.to)?;
    if walk.checked != header.count {
        return Err(flaw(None, format!("{} entries are announced, {} are here", header.count, walk.checked)));
    }
    if walk.checked == 0 {
        return Err(flaw(None, "there is not one entry: nothing was checked"));
    }
    Ok(Report {
        origin: head.origin.clone(),
        size: head.size,
        from: header.from,
        to: header.to,
        checked: walk.checked,
        withheld: walk.withheld,
        removed: walk.removed,
        continues,
    })
}

/// Whether the head continues the one that the reader has kept and the one that the export brings.
fn held_against(
    header: &Header,
    head: &Checkpoint,
    key: &VerifierKey,
    kept: Option<&str>,
) -> Result<Option<u64>, Flaw> {
    let open = |note: &str, what: &str| Checkpoint::open(note, key).map_err(|e| flaw(None, format!("{what}: {e}")));
    let path = hashes(&header.consistency).ok_or_else(|| flaw(None, "the consistency proof is not base64"))?;
    let previous = header.previous.as_deref().map(|note| open(note, "the previous head")).transpose()?;
    if let Some(previous) = &previous
        && !tree::continues(previous.size, &previous.root, head.size, &head.root, &path)
    {
        let what = format!("the head of {} does not continue the previous one of {}: forked", head.size, previous.size);
        return Err(flaw(None, what));
    }
    let Some(kept) = kept else { return Ok(previous.map(|previous| previous.size)) };
    let kept = open(kept, "the kept checkpoint")?;
    if kept.size > head.size {
        let what = format!("an old head: it ends here, and the kept checkpoint has {} entries", kept.size);
        return Err(flaw(head.size, what));
    }
    if kept.size == head.size {
        return match kept.root == head.root {
            true => Ok(Some(kept.size)),
            false => Err(flaw(None, format!("two heads of {} entries with different roots: forked", head.size))),
        };
    }
    match previous {
        Some(previous) if previous == kept => Ok(Some(kept.size)),
        Some(previous) if previous.size == kept.size => {
            Err(flaw(None, format!("two heads of {} entries with different roots: forked", kept.size)))
        }
        _ => Err(flaw(None, "the export does not say how its head continues the kept checkpoint: export with --since")),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use ring::signature::Ed25519KeyPair;

    use super::*;
    use crate::export::Line;
    use crate::note;
    use crate::tree::{Hash, Place, Tiles, WIDTH};

    const LOG: &str = "log.example/audit/acme";

    struct Log {
        tiles: Tiles,
        leaves: Vec<String>,
        pair: Ed25519KeyPair,
    }

    impl Log {
        fn of(size: u64) -> Self {
            let (mut tiles, mut leaves) = (Tiles::default(), Vec::new());
            for index in 0..size {
                let leaf = format!(r#"{{"v":1,"tenant":"acme","index":{index},"what":"greeter.greeted"}}"#);
                tiles.append(index, tree::leaf_hash(leaf.as_bytes()));
                leaves.push(leaf);
            }
            Log { tiles, leaves, pair: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap() }
        }

        fn key(&self) -> VerifierKey {
            VerifierKey::of(LOG, &self.pair)
        }

        fn head(&self, size: u64) -> String {
            Checkpoint { origin: LOG.into(), size, root: self.tiles.root(size).unwrap() }.signed(&self.pair)
        }

        fn text(&self, hashes: &[Hash]) -> Vec<String> {
            hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
        }

        fn export(&self, size: u64, previous: Option<u64>) -> Vec<String> {
            let header = Header {
                omnibus_audit_export: VERSION,
                from: 0,
                to: size,
                count: size,
                what: None,
                head: self.head(size),
                previous: previous.map(|previous| self.head(previous)),
                consistency: previous.map_or(vec![], |from| self.text(&self.tiles.consistency(from, size).unwrap())),
            };
            let mut lines = vec![serde_json::to_string(&header).unwrap()];
            for tile in 0..size.div_ceil(WIDTH) {
                let place = Place { level: 0, number: tile };
                let hashes = &self.tiles.get(place).unwrap()[..place.width(size) as usize];
                lines.push(
                    serde_json::to_string(&Line::Tile {
                        tile,
                        hashes: STANDARD.encode(hashes.concat()),
                        path: self.text(&self.tiles.tile_path(tile, size).unwrap()),
                        tombstones: vec![],
                    })
                    .unwrap(),
                );
                for index in tile * WIDTH..(tile * WIDTH + place.width(size)) {
                    let leaf = self.leaves[index as usize].clone();
                    lines.push(serde_json::to_string(&Line::Entry { index, leaf }).unwrap());
                }
            }
            lines
        }
    }

    fn read(lines: &[String], key: &VerifierKey, kept: Option<&str>) -> Result<Report, Flaw> {
        check(lines.join("\n").as_bytes(), key, kept)
    }

    /// The line of an entry.
    fn at(index: u64) -> usize {
        (1 + index / WIDTH + 1 + index) as usize
    }

    #[test]
    fn an_untouched_export_is_well() {
        let log = Log::of(600);
        let report = read(&log.export(600, Some(300)), &log.key(), Some(&log.head(300))).unwrap();
        assert_eq!((report.checked, report.removed, report.continues), (600, 0, Some(300)));
    }

    #[test]
    fn nothing_checked_is_not_well() {
        let log = Log::of(3);
        assert!(read(&[], &log.key(), None).unwrap_err().what.contains("nothing was checked"));
        let mut header: Header = serde_json::from_str(&log.export(3, None)[0]).unwrap();
        (header.to, header.count) = (0, 0);
        let line = serde_json::to_string(&header).unwrap();
        assert!(read(&[line], &log.key(), None).unwrap_err().what.contains("nothing was checked"));
    }

    #[test]
    fn each_tampering_is_named_with_the_first_bad_index() {
        let log = Log::of(600);
        let good = log.export(600, None);
        let bad = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = good.clone();
            change(&mut lines);
            let flaw = read(&lines, &log.key(), None).unwrap_err();
            (flaw.index, flaw.what)
        };
        let flipped = bad(&|lines| lines[at(300)] = lines[at(300)].replace("greeted", "greetee"));
        assert_eq!(flipped, (Some(300), "it is not what the head has: altered".into()));
        assert_eq!(bad(&|lines| drop(lines.remove(at(300)))), (Some(300), "it is missing".into()));
        assert_eq!(bad(&|lines| lines.swap(at(300), at(301))).0, Some(300));
        assert_eq!(bad(&|lines| lines.truncate(at(590))), (Some(590), "it is missing".into()));
        assert_eq!(bad(&|lines| lines.insert(at(300), lines[at(300)].clone())).0, Some(300));
        // The leaf and its hash alike: then the tile does not lead to the head.
        let rewritten = bad(&|lines| {
            let other = "{}".to_owned();
            let tile = lines[at(256) - 1].clone();
            let hash = |leaf: &str| tree::leaf_hash(leaf.as_bytes());
            let Line::Tile { tile, hashes, path, tombstones } = serde_json::from_str(&tile).unwrap() else { panic!() };
            let mut bytes = STANDARD.decode(hashes).unwrap();
            bytes[44 * 32..45 * 32].copy_from_slice(&hash(&other));
            let line = Line::Tile { tile, hashes: STANDARD.encode(bytes), path, tombstones };
            lines[at(256) - 1] = serde_json::to_string(&line).unwrap();
            lines[at(300)] = serde_json::to_string(&Line::Entry { index: 300, leaf: other }).unwrap();
        });
        assert_eq!(rewritten, (Some(256), "the hashes from here on do not lead to the head".into()));
    }

    #[test]
    fn a_forked_head_and_an_old_one_are_found_by_whoever_kept_a_checkpoint() {
        let log = Log::of(600);
        let mut fork = Log::of(500);
        for index in 500..700 {
            fork.tiles.append(index, tree::leaf_hash(b"another course of things"));
            fork.leaves.push("another course of things".into());
        }
        let same = read(&fork.export(600, None), &log.key(), Some(&log.head(600))).unwrap_err();
        assert!(same.what.contains("forked"), "{same}");
        let later = read(&fork.export(700, Some(600)), &log.key(), Some(&log.head(600))).unwrap_err();
        assert!(later.what.contains("forked"), "{later}");
        let spliced =
            Header { previous: Some(log.head(600)), ..serde_json::from_str(&fork.export(700, Some(600))[0]).unwrap() };
        let mut lines = fork.export(700, Some(600));
        lines[0] = serde_json::to_string(&spliced).unwrap();
        assert!(read(&lines, &log.key(), Some(&log.head(600))).unwrap_err().what.contains("forked"));

        let old = read(&log.export(400, None), &log.key(), Some(&log.head(600))).unwrap_err();
        assert_eq!(old.index, Some(400));
        assert!(old.what.contains("old head"), "{old}");
        let silent = read(&log.export(600, None), &log.key(), Some(&log.head(300))).unwrap_err();
        assert!(silent.what.contains("--since"), "{silent}");
    }

    #[test]
    fn what_an_export_says_of_itself_is_held_against_what_it_has() {
        let log = Log::of(600);
        let good = log.export(600, Some(300));
        let header: Header = serde_json::from_str(&good[0]).unwrap();
        let says = |header: Header, lines: &[String]| {
            let header = serde_json::to_string(&header).unwrap();
            read(&[std::slice::from_ref(&header), lines].concat(), &log.key(), None)
        };
        let flaw = |header: Header| says(header, &good[1..]).unwrap_err();
        assert_eq!(says(header.clone(), &good[1..]).unwrap().continues, Some(300));
        for count in [0, 599, 601] {
            let flaw = flaw(Header { count, ..header.clone() });
            assert!(flaw.what.contains("are announced"), "{flaw}");
        }
        assert!(flaw(Header { to: 601, ..header.clone() }).what.contains("no range"));
        assert!(flaw(Header { from: 601, ..header.clone() }).what.contains("no range"));
        assert_eq!(flaw(Header { to: 599, ..header.clone() }).index, Some(599));
        assert_eq!(flaw(Header { from: 1, ..header.clone() }).index, Some(0));
        assert!(flaw(Header { consistency: vec![], ..header.clone() }).what.contains("forked"));
        assert!(flaw(Header { previous: Some("x".into()), ..header.clone() }).what.starts_with("the previous head"));

        // A part of it: what is before and after it is not there.
        let part = Header { from: 300, to: 302, count: 2, ..header.clone() };
        let lines = [good[at(256) - 1].clone(), good[at(300)].clone(), good[at(301)].clone()];
        let report = says(part.clone(), &lines).unwrap();
        assert_eq!((report.from, report.to, report.checked), (300, 302, 2));
        assert_eq!(says(part.clone(), &lines[..2]).unwrap_err().index, Some(301));

        // A filter: what it withholds is told, and nothing else may be.
        let withheld = serde_json::to_string(&Line::Withheld { withheld: 301 }).unwrap();
        let lines = [good[at(256) - 1].clone(), good[at(300)].clone(), withheld];
        let filtered = Header { what: Some("greeter.".into()), count: 1, ..part.clone() };
        let report = says(filtered, &lines).unwrap();
        assert_eq!((report.checked, report.withheld), (1, 1));
        assert_eq!(says(Header { count: 1, ..part }, &lines).unwrap_err().index, Some(301));
    }

    #[test]
    fn what_was_removed_needs_the_logs_own_tombstone() {
        let log = Log::of(300);
        let stone = |pair: &Ed25519KeyPair| {
            note::sign(&format!("omnibus audit tombstone\n{LOG}\n0 9\n2019-01-01\n2026-01-31T00:00:00Z\n"), LOG, pair)
        };
        let export = |stones: Vec<String>| {
            let mut lines = log.export(300, None);
            let mut header: Header = serde_json::from_str(&lines[0]).unwrap();
            header.count = 290;
            lines[0] = serde_json::to_string(&header).unwrap();
            lines.drain(at(0)..at(10));
            let Line::Tile { tile, hashes, path, .. } = serde_json::from_str(&lines[1]).unwrap() else { panic!() };
            lines[1] = serde_json::to_string(&Line::Tile { tile, hashes, path, tombstones: stones }).unwrap();
            lines
        };
        let report = read(&export(vec![stone(&log.pair)]), &log.key(), None).unwrap();
        assert_eq!((report.checked, report.removed), (290, 10));
        assert_eq!(read(&export(vec![]), &log.key(), None).unwrap_err(), flaw(0, "it is missing"));
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        assert!(read(&export(vec![stone(&other)]), &log.key(), None).unwrap_err().what.contains("not signed"));
    }

    #[test]
    fn another_logs_key_believes_nothing() {
        let log = Log::of(3);
        let other = VerifierKey::of("log.example/audit/globex", &log.pair);
        assert!(
            read(&log.export(3, None), &other, None).unwrap_err().what.starts_with("the head: it is not signed by")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_changed_byte_goes_unseen(size in 1_u64..600, place in any::<prop::sample::Index>(), bit in 0_u8..7) {
            let log = Log::of(size);
            let good = log.export(size, None).join("\n").into_bytes();
            let mut bad = good.clone();
            let at = place.index(bad.len());
            bad[at] ^= 1 << bit;
            check(good.as_slice(), &log.key(), None).unwrap();
            // What is taken for good says the same, to the last byte of every entry.
            let found = check(bad.as_slice(), &log.key(), None);
            prop_assert!(found.is_err() || (said(&bad).is_some() && said(&bad) == said(&good)), "byte {at}: {found:?}");
        }
    }

    /// What an export says, whether it is true or not.
    fn said(export: &[u8]) -> Option<(Header, Vec<Line>)> {
        let mut lines = std::str::from_utf8(export).ok()?.lines();
        let header = serde_json::from_str(lines.next()?).ok()?;
        Some((header, lines.map(|line| serde_json::from_str(line).ok()).collect::<Option<_>>()?))
    }
}
