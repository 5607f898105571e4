//! The mirror in a bucket: one task among all replicas follows the heads in the database, so nothing is lost while the
//! store is away. What it has put is known by the checkpoint that lies there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use omnibus_runtime::{Alone, Desk};
use sqlx::PgPool;

use super::bucket::{Bucket, Kind, Trouble};
use super::{Plan, plan, tiles};
use crate::Auditor;
use crate::settings::Settings;
use crate::store::{self, count};
use crate::tree::{Place, WIDTH};

/// What readiness calls it.
const PART: &str = "audit-bucket";
/// Between two looks at the heads.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at all of them. In between, those that were signed since the last look.
const ALL: Duration = Duration::from_secs(600);
/// The same, while nothing is put for some tenant: somebody may be setting it right.
const SOON: Duration = Duration::from_secs(60);
/// Tiles on their way at once.
const AT_ONCE: usize = 8;
/// The house's log, whose checkpoint is asked for first: what is wrong with the settings shows before anything is put.
const HOUSE: &str = "_";

pub(crate) async fn run(auditor: Arc<Auditor>, desk: Desk) -> anyhow::Result<()> {
    let Some(bucket) = &auditor.bucket else { return Ok(()) };
    // What this replica said of the bucket while it was alone, another may say by now.
    desk.health.well(PART);
    let Some(mut alone) = desk.alone("mirror").await? else { return Ok(()) };
    let mut mirror = Mirror::of(bucket, &auditor.settings);
    let delays =
        ExponentialBuilder::default().with_jitter().with_min_delay(LOOK).with_max_delay(Duration::from_secs(60));
    let delays = delays.without_max_times();
    let mut away = None;
    loop {
        alone.still().await?;
        let round = mirror.round(&desk.db, &mut alone);
        let Some(done) = desk.stop.run_until_cancelled(round).await else { return Ok(()) };
        let pause = match done {
            Ok(()) => {
                away = None;
                match mirror.refused.values().next() {
                    None => desk.health.well(PART),
                    Some(why) => desk.health.ill(PART, format!("AUDIT_S3_BUCKET: {why}")),
                }
                LOOK
            }
            Err(error) => {
                let (since, delays) = away.get_or_insert_with(|| {
                    tracing::warn!(error = format!("{error:#}"), "the bucket is behind the log; it is tried again");
                    (Instant::now(), delays.build())
                });
                // What is wrong with the settings does not pass by itself.
                let passing = error.downcast_ref::<Trouble>().is_none_or(|trouble| trouble.passing);
                if !passing || since.elapsed() >= auditor.settings.s3.patience() {
                    desk.health.ill(PART, format!("{error:#}"));
                }
                delays.next().unwrap_or(LOOK)
            }
        };
        if !desk.pause(pause).await {
            return Ok(());
        }
    }
}

/// A head that moved.
struct Moved {
    tenant: String,
    from: u64,
    to: u64,
    checkpoint: String,
}

/// A checkpoint that lies in the bucket.
#[derive(Debug, Clone)]
struct Lying {
    note: String,
    /// Its entries, if this task has put it: then they are the log's.
    own: Option<u64>,
}

struct Mirror<'a> {
    bucket: &'a Bucket,
    settings: &'a Settings,
    /// The checkpoints that lie in the bucket, by tenant.
    there: HashMap<String, Lying>,
    /// Why nothing is put for these tenants.
    refused: BTreeMap<String, String>,
    /// The beginnings of tiles that lie there, by their widths, until the tile is full.
    begun: HashMap<(String, Place), Vec<u64>>,
    /// When all heads were looked at.
    looked: Option<Instant>,
    /// When the newest head was signed that was seen.
    since: Option<DateTime<Utc>>,
}

impl<'a> Mirror<'a> {
    fn of(bucket: &'a Bucket, settings: &'a Settings) -> Self {
        Mirror {
            bucket,
            settings,
            there: HashMap::new(),
            refused: BTreeMap::new(),
            begun: HashMap::new(),
            looked: None,
            since: None,
        }
    }

    /// Puts what has moved.
    async fn round(&mut self, db: &PgPool, alone: &mut Alone) -> anyhow::Result<()> {
        let every = if self.refused.is_empty() { ALL } else { SOON };
        let all = self.looked.is_none_or(|looked| looked.elapsed() > every);
        if all {
            // Nobody else should put anything there; whether somebody has, the bucket alone tells.
            self.there.clear();
        }
        if self.looked.is_none() {
            self.there(HOUSE).await?;
        }
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
            self.bring(db, alone, tenant, count(size), checkpoint).await?;
        }
        if all {
            self.looked = Some(began);
        }
        self.since = newest.or(self.since);
        Ok(())
    }

    async fn bring(
        &mut self,
        db: &PgPool,
        alone: &mut Alone,
        tenant: String,
        to: u64,
        checkpoint: String,
    ) -> anyhow::Result<()> {
        let there = self.there(&tenant).await?;
        if there.note == checkpoint {
            self.refused.remove(&tenant);
            return Ok(());
        }
        let plan = match there.own.filter(|own| *own <= to) {
            Some(own) => Plan { from: own, had: own, aside: None },
            None => {
                let mut connection = db.acquire().await?;
                match plan(&mut connection, self.settings, &tenant, &there.note, to).await? {
                    Ok(plan) => plan,
                    Err(why) => {
                        if self.refused.insert(tenant.clone(), why.clone()).is_none() {
                            tracing::error!(tenant, why, "nothing is put into the bucket for this log");
                        }
                        return Ok(());
                    }
                }
            }
        };
        if let Some(aside) = &plan.aside {
            self.bucket.put(format!("{tenant}/{aside}"), there.note.into_bytes(), Kind::Checkpoint).await?;
        }
        self.grow(db, alone, Moved { tenant: tenant.clone(), from: plan.from, to, checkpoint }, plan.had).await?;
        self.refused.remove(&tenant);
        Ok(())
    }

    /// The checkpoint that lies in the bucket; empty if none does.
    async fn there(&mut self, tenant: &str) -> anyhow::Result<Lying> {
        if let Some(there) = self.there.get(tenant) {
            return Ok(there.clone());
        }
        let note = self.bucket.get(&format!("{tenant}/checkpoint")).await?.unwrap_or_default();
        let there = Lying { note, own: None };
        self.there.insert(tenant.to_owned(), there.clone());
        Ok(there)
    }

    /// Puts what a log has grown by. `had`: the entries of the checkpoint that lies there.
    async fn grow(&mut self, db: &PgPool, alone: &mut Alone, moved: Moved, had: u64) -> anyhow::Result<()> {
        let Moved { tenant, from, to, checkpoint } = moved;
        for place in store::open_places(had) {
            self.begins(&tenant, place, place.width(had));
        }
        let (bucket, grown) = (self.bucket, Place::grown(from, to));
        for places in grown.chunks(AT_ONCE) {
            let mut connection = db.acquire().await?;
            let hashes = tiles(&mut connection, &tenant, places).await?;
            drop(connection);
            let mut puts = Vec::with_capacity(places.len());
            for (&(place, width), bytes) in places.iter().zip(hashes) {
                // Noted before it is put: whether a put that failed has left something is not known.
                self.begins(&tenant, place, width);
                puts.push(bucket.put(format!("{tenant}/{}", place.path(width)), bytes, Kind::Tile));
            }
            try_join_all(puts).await?;
        }
        // Tiles are the same whoever puts them. A checkpoint of yesterday over today's is not.
        alone.still().await?;
        let name = format!("{tenant}/checkpoint");
        self.bucket.put(name, checkpoint.clone().into_bytes(), Kind::Checkpoint).await?;
        self.there.insert(tenant.clone(), Lying { note: checkpoint, own: Some(to) });
        self.tidy(&tenant, grown).await;
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

    /// Deletes the beginnings of tiles that are full: nobody needs them any more. One that stays is in nobody's way, so
    /// nothing waits for a store that does not delete.
    async fn tidy(&mut self, tenant: &str, grown: Vec<(Place, u64)>) {
        let full = grown.into_iter().filter(|(_, width)| *width == WIDTH).map(|(place, _)| place);
        let of = |place: Place| (self.begun.remove(&(tenant.to_owned(), place)).unwrap_or_default(), place);
        let begun: Vec<(Vec<u64>, Place)> = full.map(of).collect();
        for (widths, place) in begun {
            for width in widths {
                if let Err(error) = self.bucket.delete(&format!("{tenant}/{}", place.path(width))).await {
                    tracing::warn!(%error, tenant, "the beginnings of full tiles stay in the bucket");
                    return;
                }
            }
        }
    }
}
