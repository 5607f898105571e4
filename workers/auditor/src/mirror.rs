//! Checkpoints and tiles for whoever wants to watch from outside, as c2sp.org/tlog-tiles lays them out: files in a folder, or
//! objects in a bucket of S3-compatible storage. Tiles first, then the checkpoint that needs them. The database has all of it
//! too; what is missing outside is written again.
//!
//! A folder is written by the sequencer itself. A bucket is far away and may be gone for hours: a task of its own follows
//! the heads, and sequencing never waits for it.

pub(crate) mod bucket;
pub(crate) mod folder;
pub(crate) mod follow;

use anyhow::ensure;
use sqlx::PgConnection;

use crate::keys::hex;
use crate::note::Checkpoint;
use crate::settings::Settings;
use crate::store;
use crate::tree::Place;

/// Tiles' hashes as they are published, each with so many as are said beside its place.
async fn tiles(db: &mut PgConnection, tenant: &str, places: &[(Place, u64)]) -> anyhow::Result<Vec<Vec<u8>>> {
    let (levels, numbers): (Vec<i16>, Vec<i64>) =
        places.iter().map(|(place, _)| (i16::from(place.level), store::number(place.number))).unzip();
    let mut all: Vec<Vec<u8>> = sqlx::query_scalar(
        // One by one, by their key: joined to a table that was never analysed, they may cost a look at every tile.
        "select t.hashes from unnest($2::smallint[], $3::bigint[]) with ordinality as x(level, number, n)
         cross join lateral (
             select t.hashes from auditor.tiles t
             where t.tenant = $1 and t.level = x.level and t.number = x.number limit 1) t
         order by x.n",
    )
    .bind(tenant)
    .bind(levels)
    .bind(numbers)
    .fetch_all(db)
    .await?;
    ensure!(all.len() == places.len(), "a tile is missing");
    for (hashes, (_, width)) in all.iter_mut().zip(places) {
        let bytes = *width as usize * 32;
        ensure!(hashes.len() >= bytes, "a tile is too short");
        hashes.truncate(bytes);
    }
    Ok(all)
}

/// How a mirror is to be written on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// With how many entries the log stands there already.
    from: u64,
    /// How many entries the checkpoint that lies there has, whosever they are.
    had: u64,
    /// Where the checkpoint that lies there is kept, if it is none of this log's: a signature under a tree that the log
    /// no longer has is a proof, and what it signs is written over.
    aside: Option<String>,
}

/// What is to be done about a mirror in which this checkpoint lies, for a log of `to` entries. Its size alone says nothing:
/// after a restore of the database, the log may have as many entries again, and they are others.
///
/// An `Err` inside is why nothing may be written there.
async fn plan(
    db: &mut PgConnection,
    settings: &Settings,
    tenant: &str,
    lies: &str,
    to: u64,
) -> anyhow::Result<Result<Plan, String>> {
    let there = match claim(lies, &settings.origin(tenant), to) {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(Ok(Plan::default())),
        Err(why) => return Ok(Err(format!("{tenant}: {why}"))),
    };
    let root = store::ask(db, tenant, |tiles| tiles.root(there.size)).await?;
    let size = there.size;
    if root == there.root {
        return Ok(Ok(Plan { from: size, had: size, aside: None }));
    }
    let aside = format!("checkpoint.{size}.{}", hex(&there.root[..8]));
    tracing::error!(tenant, size, aside, "the mirror's checkpoint does not begin this log; all of it is written anew");
    Ok(Ok(Plan { from: 0, had: size, aside: Some(aside) }))
}

/// The checkpoint in a mirror, if it may be this log's: `None` if none lies there. Otherwise why it can't be.
fn claim(lies: &str, origin: &str, to: u64) -> Result<Option<Checkpoint>, String> {
    let Ok(there) = Checkpoint::read(lies) else { return Ok(None) };
    if there.origin != origin {
        return Err(format!("the checkpoint that lies there is of {:?}, another log", there.origin));
    }
    if there.size > to {
        let size = there.size;
        return Err(format!(
            "the checkpoint that lies there has {size} entries and the log has fewer: it was rolled back"
        ));
    }
    Ok(Some(there))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_checkpoint_that_is_ahead_or_another_logs_is_never_written_over() {
        let root = STANDARD.encode([7_u8; 32]);
        let note = format!("omnibus.test/audit/acme\n12\n{root}\n\n\u{2014} x y\n");
        let claimed = claim(&note, "omnibus.test/audit/acme", 12).unwrap().unwrap();
        assert_eq!((claimed.size, claimed.root), (12, [7; 32]));
        assert!(claim(&note, "omnibus.test/audit/acme", 11).unwrap_err().contains("12 entries"));
        assert!(claim(&note, "omnibus.test/audit/globex", 20).unwrap_err().contains("audit/acme"));
        for none in ["", "a\nb\nc", "omnibus.test/audit/acme\n12\nroot\n"] {
            assert_eq!(claim(none, "omnibus.test/audit/acme", 20), Ok(None));
        }
    }
}
