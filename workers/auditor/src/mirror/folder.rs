//! The mirror as files.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::{DateTime, Utc};
use omnibus_runtime::{Alone, Desk};
use sqlx::PgPool;

use super::{plan, tiles};
use crate::Auditor;
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
            "select tenant, size, checkpoint, signed_at from auditor.heads
             where $1::timestamptz is null or signed_at >= $1",
        )
        .bind(self.since)
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
                        if self.refused.insert(tenant.to_owned(), why.clone()).is_none() {
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
        for places in Place::grown(from, to).chunks(AT_ONCE) {
            let hashes = tiles(&mut connection, tenant, places).await?;
            let (folder, places) = (folder.clone(), places.to_vec());
            tokio::task::spawn_blocking(move || put_tiles(&folder, &places, &hashes)).await??;
        }
        // Tiles are the same whoever writes them. A checkpoint of yesterday over today's is not.
        alone.still().await?;
        let file = folder.join("checkpoint");
        tokio::task::spawn_blocking(move || put(&file, checkpoint.as_bytes())).await??;
        self.refused.remove(tenant);
        self.stands.insert(tenant.to_owned(), to);
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
