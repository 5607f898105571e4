//! The mirror in a bucket: one task among all replicas follows the heads in the database, so nothing is lost while the
//! store is away. What it has put is known by the checkpoint that lies there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use omnibus_runtime::Desk;
use sqlx::PgPool;

use super::bucket::{Bucket, Kind};
use super::{reached, tile};
use crate::Auditor;
use crate::store::{self, count};
use crate::tree::{Place, WIDTH};

/// What readiness calls it.
const PART: &str = "audit-bucket";
/// Between two looks at the heads.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at all of them. In between, those that were signed since the last look.
const ALL: Duration = Duration::from_secs(600);
/// Tiles on their way at once.
const AT_ONCE: usize = 8;
/// The house's log, whose checkpoint is asked for first: what is wrong with the settings shows before anything is put.
const HOUSE: &str = "_";

pub(crate) async fn run(auditor: Arc<Auditor>, desk: Desk) -> anyhow::Result<()> {
    let Some(bucket) = &auditor.bucket else { return Ok(()) };
    let Some(mut alone) = desk.alone("mirror").await? else { return Ok(()) };
    let mut mirror = Mirror { bucket, there: HashMap::new(), begun: HashMap::new(), looked: None, since: None };
    let delays =
        ExponentialBuilder::default().with_jitter().with_min_delay(LOOK).with_max_delay(Duration::from_secs(60));
    let delays = delays.without_max_times();
    let mut away = None;
    loop {
        alone.still().await?;
        let Some(done) = desk.stop.run_until_cancelled(mirror.round(&desk.db)).await else { return Ok(()) };
        let pause = match done {
            Ok(()) => {
                away = None;
                desk.health.well(PART);
                LOOK
            }
            Err(error) => {
                desk.health.ill(PART, format!("{error:#}"));
                away.get_or_insert_with(|| delays.build()).next().unwrap_or(LOOK)
            }
        };
        if !desk.pause(pause).await {
            return Ok(());
        }
    }
}

struct Mirror<'a> {
    bucket: &'a Bucket,
    /// The checkpoints that lie in the bucket, by tenant.
    there: HashMap<String, String>,
    /// The beginnings of tiles that lie there, by their widths, until the tile is full.
    begun: HashMap<(String, Place), Vec<u64>>,
    /// When all heads were looked at.
    looked: Option<Instant>,
    /// When the newest head was signed that was seen.
    since: Option<DateTime<Utc>>,
}

impl Mirror<'_> {
    /// Puts what has moved.
    async fn round(&mut self, db: &PgPool) -> anyhow::Result<()> {
        if self.looked.is_none() {
            self.there(HOUSE).await?;
        }
        let all = self.looked.is_none_or(|looked| looked.elapsed() > ALL);
        let began = Instant::now();
        let heads: Vec<(String, i64, String, DateTime<Utc>)> = sqlx::query_as(
            "select tenant, size, checkpoint, signed_at from auditor.heads
             where $1::timestamptz is null or signed_at >= $1 order by tenant",
        )
        .bind(self.since.filter(|_| !all))
        .fetch_all(db)
        .await?;
        let newest = heads.iter().map(|(.., signed_at)| *signed_at).max();
        for (tenant, size, checkpoint, _) in heads {
            let there = self.there(&tenant).await?;
            if there != checkpoint {
                let to = count(size);
                self.grow(db, &tenant, reached(&there, to), to, checkpoint).await?;
            }
        }
        if all {
            self.looked = Some(began);
        }
        self.since = newest.or(self.since);
        Ok(())
    }

    /// The checkpoint that lies in the bucket; empty if none does.
    async fn there(&mut self, tenant: &str) -> anyhow::Result<String> {
        if let Some(there) = self.there.get(tenant) {
            return Ok(there.clone());
        }
        let there = self.bucket.get(&format!("{tenant}/checkpoint")).await?.unwrap_or_default();
        self.there.insert(tenant.to_owned(), there.clone());
        Ok(there)
    }

    async fn grow(&mut self, db: &PgPool, tenant: &str, from: u64, to: u64, checkpoint: String) -> anyhow::Result<()> {
        for place in store::open_places(from) {
            self.begins(tenant, place, place.width(from));
        }
        let grown = Place::grown(from, to);
        for places in grown.chunks(AT_ONCE) {
            let mut tiles = Vec::with_capacity(places.len());
            let mut connection = db.acquire().await?;
            for &(place, width) in places {
                let name = format!("{tenant}/{}", place.path(width));
                tiles.push((name, tile(&mut connection, tenant, place, width).await?));
                // Noted before it is put: whether a put that failed has left something is not known.
                self.begins(tenant, place, width);
            }
            drop(connection);
            try_join_all(tiles.into_iter().map(|(name, bytes)| self.bucket.put(name, bytes, Kind::Tile))).await?;
        }
        let name = format!("{tenant}/checkpoint");
        self.bucket.put(name, checkpoint.clone().into_bytes(), Kind::Checkpoint).await?;
        self.there.insert(tenant.to_owned(), checkpoint);
        for (place, _) in grown.into_iter().filter(|(_, width)| *width == WIDTH) {
            self.tidy(tenant, place).await;
        }
        Ok(())
    }

    /// Notes that the beginning of a tile lies there.
    fn begins(&mut self, tenant: &str, place: Place, width: u64) {
        if width == 0 || width == WIDTH {
            return;
        }
        let widths = self.begun.entry((tenant.to_owned(), place)).or_default();
        if !widths.contains(&width) {
            widths.push(width);
        }
    }

    /// Deletes the beginnings of a tile that is full: nobody needs them any more. One that stays is in nobody's way.
    async fn tidy(&mut self, tenant: &str, place: Place) {
        for width in self.begun.remove(&(tenant.to_owned(), place)).unwrap_or_default() {
            if let Err(error) = self.bucket.delete(&format!("{tenant}/{}", place.path(width))).await {
                tracing::warn!(%error, tenant, "the beginning of a full tile stays in the bucket");
            }
        }
    }
}
