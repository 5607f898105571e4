//! The mirror as files.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::{Alone, Desk, clock};
use sqlx::PgPool;

use super::{claim, plan, tiles};
use crate::Auditor;
use crate::store;
use crate::tree::{Place, WIDTH};

/// A head may say that it was signed so much before one that was seen: the database's clock is set, too.
const BACK: TimeDelta = TimeDelta::seconds(10);
/// What readiness calls it.
pub(crate) const PART: &str = "audit-folder";
/// Tiles that are read and written in one go.
const AT_ONCE: usize = 64;

fn folder(auditor: &Auditor, tenant: &str) -> PathBuf {
    auditor.settings.audit_dir.join("logs").join(tenant)
}

/// The folder of a sequencer.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// When the newest head was signed that was seen. All heads are looked at without.
    since: Option<DateTime<Utc>>,
    /// With how many entries each tenant's log stands there, as far as this sequencer has seen to it.
    stands: HashMap<String, u64>,
    /// Why nothing is written for these tenants.
    refused: BTreeMap<String, String>,
}

impl Folder {
    /// Looks at all of it next, and writes what a sequencer that ended between its commit and its files has left out, what
    /// is lost there, or all if the folder is new.
    pub(crate) fn forget(&mut self) {
        self.since = None;
        self.stands.clear();
    }

    /// Writes what heads need that moved, whoever moved them, unless a bucket is written instead.
    pub(crate) async fn follow(&mut self, auditor: &Auditor, desk: &Desk, alone: &mut Alone) -> anyhow::Result<()> {
        if auditor.bucket.is_some() {
            return Ok(());
        }
        let heads: Vec<(String, i64, String, DateTime<Utc>)> = sqlx::query_as(
            "select tenant, size, checkpoint, least(signed_at, clock_timestamp()) from auditor.heads
             where $1::timestamptz is null or signed_at >= $1",
        )
        .bind(self.since.map(|since| since - BACK))
        .fetch_all(&desk.db)
        .await?;
        let newest = heads.iter().map(|(.., signed_at)| *signed_at).max();
        for (tenant, size, checkpoint, _) in heads {
            self.bring(auditor, &desk.db, alone, &tenant, store::count(size), checkpoint).await?;
        }
        self.since = newest.or(self.since);
        self.tell(desk);
        Ok(())
    }

    fn tell(&self, desk: &Desk) {
        match self.refused.values().next() {
            None => desk.health.well(PART),
            Some(why) => desk.health.ill(PART, format!("AUDIT_DIR: {why}")),
        }
    }

    async fn bring(
        &mut self,
        auditor: &Auditor,
        db: &PgPool,
        alone: &mut Alone,
        tenant: &str,
        to: u64,
        checkpoint: String,
    ) -> anyhow::Result<()> {
        if self.stands.get(tenant) == Some(&to) {
            return Ok(());
        }
        let folder = folder(auditor, tenant);
        let mut connection = db.acquire().await?;
        // Taken out until all is written: what ends halfway is looked at again.
        let from = match self.stands.remove(tenant) {
            Some(stands) if stands < to => stands,
            _ => {
                let there = tokio::fs::read_to_string(folder.join("checkpoint")).await.unwrap_or_default();
                if there == checkpoint {
                    self.refused.remove(tenant);
                    self.stands.insert(tenant.to_owned(), to);
                    return Ok(());
                }
                let plan = match plan(&mut connection, &auditor.settings, tenant, &there, to).await? {
                    Ok(plan) => plan,
                    Err(why) => {
                        self.refuse(tenant, why);
                        return Ok(());
                    }
                };
                if let Some(aside) = plan.aside {
                    let file = folder.join(aside);
                    tokio::task::spawn_blocking(move || put(&file, there.as_bytes())).await??;
                }
                plan.from
            }
        };
        for places in Place::grown(from, to).chunks(AT_ONCE) {
            let hashes = tiles(&mut connection, tenant, places).await?;
            let (folder, places) = (folder.clone(), places.to_vec());
            tokio::task::spawn_blocking(move || put_tiles(&folder, &places, &hashes)).await??;
        }
        // Tiles are the same whoever writes them. A checkpoint of yesterday over today's is not.
        alone.still().await?;
        let (file, origin) = (folder.join("checkpoint"), auditor.settings.origin(tenant));
        match tokio::task::spawn_blocking(move || put_checkpoint(&file, &checkpoint, &origin, to)).await?? {
            Ok(()) => {
                self.refused.remove(tenant);
                self.stands.insert(tenant.to_owned(), to);
            }
            Err(why) => self.refuse(tenant, format!("{tenant}: {why}")),
        }
        Ok(())
    }

    fn refuse(&mut self, tenant: &str, why: String) {
        if self.refused.insert(tenant.to_owned(), why.clone()).is_none() {
            tracing::error!(tenant, why, "nothing is written into the folder of this log");
        }
    }
}

fn put_tiles(folder: &Path, places: &[(Place, u64)], hashes: &[Vec<u8>]) -> anyhow::Result<()> {
    for ((place, width), hashes) in places.iter().zip(hashes) {
        put(&folder.join(place.path(*width)), hashes)?;
        if *width == WIDTH {
            // Nobody needs its beginnings any more. A folder that is not there is the ordinary case.
            let _ = std::fs::remove_dir_all(folder.join(format!("{}.p", place.path(WIDTH))));
        }
    }
    Ok(())
}

/// A reader sees the whole file, or the one before.
fn put(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = Beside::write(file, bytes)?;
    beside.rename(file)
}

/// As [`put`], unless what lies there by now may not be written over: tiles are the same whoever writes them, and a
/// checkpoint of yesterday over today's is not. Whoever was alone and has lost the session that said so finds here what
/// whoever is alone now has written. An `Err` inside says what lies there.
fn put_checkpoint(file: &Path, note: &str, origin: &str, size: u64) -> anyhow::Result<Result<(), String>> {
    let beside = Beside::write(file, note.as_bytes())?;
    // As late as can be: bytes may take long to reach the disk.
    let lies = std::fs::read_to_string(file).unwrap_or_default();
    match claim(&lies, origin, size) {
        Ok(_) => beside.rename(file).map(Ok),
        Err(why) => Ok(Err(why)),
    }
}

/// Bytes on the disk that are to become a file. They go, unless they have.
struct Beside(PathBuf);

impl Beside {
    fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<Self> {
        let parent = file.parent().context("a file has a folder")?;
        std::fs::create_dir_all(parent)?;
        // Replicas share the folder, and each may be the first process of its container: a process's number is no name.
        let beside = Beside(parent.join(format!(".{}.new", clock::new_id().simple())));
        let mut open = std::fs::File::create(&beside.0)?;
        open.write_all(bytes)?;
        // After a power cut, a checkpoint must not stand beside tiles that are empty.
        open.sync_all()?;
        Ok(beside)
    }

    fn rename(self, file: &Path) -> anyhow::Result<()> {
        std::fs::rename(&self.0, file).with_context(|| format!("{} can't be written", file.display()))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After a rename there is nothing of this name, which is the ordinary case.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const LOG: &str = "omnibus.test/audit/acme";

    fn note(size: u64) -> String {
        format!("{LOG}\n{size}\n{}\n\n\u{2014} x y\n", STANDARD.encode([7_u8; 32]))
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = std::fs::read_dir(folder).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_checkpoint_is_not_written_over_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("acme/checkpoint");
        for size in [12, 20] {
            assert_eq!(put_checkpoint(&file, &note(size), LOG, size).unwrap(), Ok(()));
        }
        let refused = put_checkpoint(&file, &note(19), LOG, 19).unwrap().unwrap_err();
        assert!(refused.contains("20 entries"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), note(20));
        assert_eq!(put_checkpoint(&file, &note(20), LOG, 20).unwrap(), Ok(()));
        assert_eq!(names(file.parent().unwrap()), ["checkpoint"], "what was not put leaves nothing");
    }

    #[test]
    fn writers_of_one_folder_are_in_nobodys_way_and_leave_whole_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = |writer: u8| vec![writer; 8192];
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let file = dir.path().join(format!("{writer}"));
                scope.spawn(move || {
                    for _ in 0..50 {
                        put(&file, &bytes(writer)).unwrap();
                        assert!(std::fs::read(&file).unwrap() == bytes(writer), "the file of writer {writer}");
                    }
                });
            }
        });
        assert_eq!(names(dir.path()), ["0", "1", "2", "3"]);
        assert!(put(&dir.path().join("0/1"), &bytes(0)).is_err(), "a file is no folder");
    }
}
