//! Checkpoints and tiles for whoever wants to watch from outside, as c2sp.org/tlog-tiles lays them out: files in a folder, or
//! objects in a bucket of S3-compatible storage. Tiles first, then the checkpoint that needs them. The database has all of it
//! too; what is missing outside is written again.
//!
//! A folder is written by the sequencer itself. A bucket is far away and may be gone for hours: a task of its own follows
//! the heads, and sequencing never waits for it.

pub(crate) mod bucket;
pub(crate) mod folder;
pub(crate) mod follow;

use anyhow::Context;
use sqlx::PgConnection;

use crate::store;
use crate::tree::Place;

/// A tile's hashes as they are published.
async fn tile(db: &mut PgConnection, tenant: &str, place: Place, width: u64) -> anyhow::Result<Vec<u8>> {
    let hashes = store::tile(db, tenant, place).await?.context("a tile is missing")?;
    Ok(hashes.get(..width as usize).context("a tile is too short")?.concat())
}

/// From which size on a mirror that has this checkpoint is to be continued; from nothing, if it has none that fits.
fn reached(checkpoint: &str, to: u64) -> u64 {
    checkpoint.lines().nth(1).and_then(|size| size.parse().ok()).filter(|from| *from <= to).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_continued_from_its_checkpoint_unless_that_is_ahead() {
        assert_eq!(reached("omnibus.test/audit/acme\n12\nroot\n", 20), 12);
        assert_eq!(reached("omnibus.test/audit/acme\n12\nroot\n", 11), 0);
        assert_eq!(reached("", 20), 0);
        assert_eq!(reached("a\nb\nc", 20), 0);
    }
}
