//! The mirror as files.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use omnibus_runtime::Desk;
use sqlx::PgPool;

use super::{plan, tiles};
use crate::Auditor;
use crate::sequence::Moved;
use crate::store;
use crate::tree::{Place, WIDTH};

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
    /// With how many entries each tenant's log stands there, as far as this sequencer has seen to it.
    stands: HashMap<String, u64>,
    /// Why nothing is written for these tenants.
    refused: BTreeMap<String, String>,
}

impl Folder {
    /// Writes what these heads need, unless a bucket is written instead.
    pub(crate) async fn write(&mut self, auditor: &Auditor, desk: &Desk, heads: &[Moved]) -> anyhow::Result<()> {
        if auditor.bucket.is_some() || heads.is_empty() {
            return Ok(());
        }
        for moved in heads {
            self.bring(auditor, &desk.db, moved).await?;
        }
        self.tell(desk);
        Ok(())
    }

    /// Looks at all of it, and writes what a sequencer that ended between its commit and its files has left out, what is
    /// lost there, or all if the folder is new.
    pub(crate) async fn catch_up(&mut self, auditor: &Auditor, desk: &Desk) -> anyhow::Result<()> {
        if auditor.bucket.is_some() {
            return Ok(());
        }
        self.stands.clear();
        let heads: Vec<(String, i64, String)> =
            sqlx::query_as("select tenant, size, checkpoint from auditor.heads").fetch_all(&desk.db).await?;
        for (tenant, size, checkpoint) in heads {
            self.bring(auditor, &desk.db, &Moved { tenant, from: 0, to: store::count(size), checkpoint }).await?;
        }
        self.tell(desk);
        Ok(())
    }

    fn tell(&self, desk: &Desk) {
        match self.refused.values().next() {
            None => desk.health.well(PART),
            Some(why) => desk.health.ill(PART, format!("AUDIT_DIR: {why}")),
        }
    }

    async fn bring(&mut self, auditor: &Auditor, db: &PgPool, moved: &Moved) -> anyhow::Result<()> {
        let tenant = &moved.tenant;
        let folder = folder(auditor, tenant);
        let mut connection = db.acquire().await?;
        // Taken out until all is written: what ends halfway is looked at again.
        let from = match self.stands.remove(tenant) {
            Some(stands) if stands == moved.from => stands,
            _ => {
                let there = tokio::fs::read_to_string(folder.join("checkpoint")).await.unwrap_or_default();
                if there == moved.checkpoint {
                    self.refused.remove(tenant);
                    self.stands.insert(tenant.clone(), moved.to);
                    return Ok(());
                }
                let plan = match plan(&mut connection, &auditor.settings, tenant, &there, moved.to).await? {
                    Ok(plan) => plan,
                    Err(why) => {
                        if self.refused.insert(tenant.clone(), why.clone()).is_none() {
                            tracing::error!(tenant, why, "nothing is written into the folder of this log");
                        }
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
        for places in Place::grown(from, moved.to).chunks(AT_ONCE) {
            let hashes = tiles(&mut connection, tenant, places).await?;
            let (folder, places) = (folder.clone(), places.to_vec());
            tokio::task::spawn_blocking(move || put_tiles(&folder, &places, &hashes)).await??;
        }
        let (file, note) = (folder.join("checkpoint"), moved.checkpoint.clone());
        tokio::task::spawn_blocking(move || put(&file, note.as_bytes())).await??;
        self.refused.remove(tenant);
        self.stands.insert(tenant.clone(), moved.to);
        Ok(())
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
    let parent = file.parent().context("a file has a folder")?;
    std::fs::create_dir_all(parent)?;
    let beside = parent.join(format!(".{}.new", std::process::id()));
    let mut open = std::fs::File::create(&beside)?;
    open.write_all(bytes)?;
    // After a power cut, a checkpoint must not stand beside tiles that are empty.
    open.sync_all()?;
    std::fs::rename(&beside, file).with_context(|| format!("{} can't be written", file.display()))
}
