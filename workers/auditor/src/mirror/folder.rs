//! The mirror as files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sqlx::PgPool;

use super::{reached, tile};
use crate::Auditor;
use crate::sequence::Moved;
use crate::store;
use crate::tree::{Place, WIDTH};

fn folder(auditor: &Auditor, tenant: &str) -> PathBuf {
    auditor.settings.audit_dir.join("logs").join(tenant)
}

/// Writes what these heads need, unless a bucket is written instead.
pub(crate) async fn write(auditor: &Auditor, db: &PgPool, heads: &[Moved]) -> anyhow::Result<()> {
    if auditor.bucket.is_some() {
        return Ok(());
    }
    for moved in heads {
        let folder = folder(auditor, &moved.tenant);
        let mut connection = db.acquire().await?;
        for (place, width) in Place::grown(moved.from, moved.to) {
            let hashes = tile(&mut connection, &moved.tenant, place, width).await?;
            let file = folder.join(place.path(width));
            tokio::task::spawn_blocking(move || put(&file, &hashes)).await??;
            if width == WIDTH {
                // Nobody needs its beginnings any more. A folder that is not there is the ordinary case.
                let partial = folder.join(format!("{}.p", place.path(WIDTH)));
                let _ = tokio::fs::remove_dir_all(partial).await;
            }
        }
        let (file, note) = (folder.join("checkpoint"), moved.checkpoint.clone());
        tokio::task::spawn_blocking(move || put(&file, note.as_bytes())).await??;
    }
    Ok(())
}

/// Writes what a sequencer that ended between its commit and its files has left out, or a folder that is new has not.
pub(crate) async fn catch_up(auditor: &Auditor, db: &PgPool) -> anyhow::Result<()> {
    if auditor.bucket.is_some() {
        return Ok(());
    }
    let heads: Vec<(String, i64, String)> =
        sqlx::query_as("select tenant, size, checkpoint from auditor.heads").fetch_all(db).await?;
    for (tenant, size, checkpoint) in heads {
        let there = tokio::fs::read_to_string(folder(auditor, &tenant).join("checkpoint")).await.unwrap_or_default();
        if there == checkpoint {
            continue;
        }
        let to = store::count(size);
        let from = reached(&there, to);
        write(auditor, db, &[Moved { tenant, from, to, checkpoint }]).await?;
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
    std::fs::rename(&beside, file).with_context(|| format!("{} can't be written", file.display()))
}
