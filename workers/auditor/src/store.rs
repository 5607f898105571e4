//! The tree's tiles in the database.

use sqlx::PgConnection;

use crate::tree::{Hash, Missing, Place, Tiles, WIDTH};

/// Every tile that a tree of `size` leaves has begun and not filled.
pub(crate) fn open_places(size: u64) -> Vec<Place> {
    (0..8_u8)
        .map(|level| (level, size >> (8 * u32::from(level))))
        .filter(|(_, hashes)| hashes % WIDTH != 0)
        .map(|(level, hashes)| Place { level, number: hashes / WIDTH })
        .collect()
}

pub(crate) fn unpacked(bytes: &[u8]) -> Vec<Hash> {
    bytes.chunks_exact(32).map(|chunk| chunk.try_into().expect("a chunk has 32 bytes")).collect()
}

pub(crate) fn number(n: u64) -> i64 {
    i64::try_from(n).expect("no log has so many entries")
}

pub(crate) fn count(n: i64) -> u64 {
    u64::try_from(n).expect("the database counts from nothing up")
}

/// One tile.
pub(crate) async fn tile(db: &mut PgConnection, tenant: &str, place: Place) -> Result<Option<Vec<Hash>>, sqlx::Error> {
    let bytes: Option<Vec<u8>> =
        sqlx::query_scalar("select hashes from auditor.tiles where tenant = $1 and level = $2 and number = $3")
            .bind(tenant)
            .bind(i16::from(place.level))
            .bind(number(place.number))
            .fetch_optional(db)
            .await?;
    Ok(bytes.map(|bytes| unpacked(&bytes)))
}

/// Answers a question of the tree, reading the tiles that it asks for.
pub(crate) async fn ask<T>(
    db: &mut PgConnection,
    tenant: &str,
    question: impl Fn(&Tiles) -> Result<T, Missing>,
) -> anyhow::Result<T> {
    let mut tiles = Tiles::default();
    loop {
        let place = match question(&tiles) {
            Ok(answer) => return Ok(answer),
            Err(Missing(place)) => place,
        };
        anyhow::ensure!(tiles.get(place).is_none(), "the tile {} is too short", place.path(WIDTH));
        match tile(db, tenant, place).await? {
            Some(hashes) => tiles.insert(place, hashes),
            None => anyhow::bail!("the tile {} is missing", place.path(WIDTH)),
        }
    }
}
