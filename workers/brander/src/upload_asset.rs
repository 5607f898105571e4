//! A file that a tenant brought. Only what was made of it is stored.

use std::time::Duration;

use async_nats::jetstream::object_store::InfoErrorKind;
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, WhenUncertain};
use omnibus_schemas::Object;
use omnibus_schemas::brander::{ASSETS, AssetHash, AssetKind, AssetStored, UploadAsset};
use omnibus_schemas::bucket::UPLOADS;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::Brander;
use crate::assets::{self, Made};
use crate::contents;
use crate::version::path;

/// The largest file, in bytes; the door holds to it too.
const LARGEST: u64 = 2 * 1024 * 1024;
/// What is made of a file, in bytes, at most.
const LARGEST_MADE: usize = 4 * 1024 * 1024;
/// Assets of one tenant, at most, and their bytes.
const MOST: i64 = 2000;
const MOST_BYTES: i64 = 512 * 1024 * 1024;
/// How long a file may take to be made anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which file is to be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Source {
    object: Object,
}

/// What was stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    hash: AssetHash,
    kind: AssetKind,
    bytes: u64,
    size: Option<(u32, u32)>,
    mail: Option<AssetHash>,
    hints: Vec<String>,
}

impl Effect<UploadAsset> for Brander {
    const POLICY: Policy = Policy { attempts: 6, timeout: Duration::from_secs(240), ..Policy::DEFAULT };

    type Plan = Source;
    type Done = Stored;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: UploadAsset) -> Result<Prepared<Source>, Fail> {
        let object = cmd.object;
        if object.bucket != UPLOADS || !object.is_of(cx.tenant()) {
            return Err(Fail::reject("foreign_object", "/object: this is no file that was uploaded by you"));
        }
        if object.size > LARGEST {
            return Err(Fail::reject("file_too_large", "/object: a file has at most 2 MB"));
        }
        let (count, bytes): (i64, i64) =
            sqlx::query_as("select count(*), coalesce(sum(bytes), 0)::bigint from brander.assets where tenant = $1")
                .bind(cx.tenant())
                .fetch_one(cx.db())
                .await?;
        if count >= MOST || bytes >= MOST_BYTES {
            return Err(Fail::reject(
                "too_many_assets",
                format!("a tenant has at most {MOST} assets of 512 MB together"),
            ));
        }
        Ok(Prepared::go(Source { object }))
    }

    /// Reads, makes, stores. Everything is called by its content, so doing it twice is doing it once.
    async fn perform(&self, _: &Meta, source: &Source) -> Result<Stored, CallError> {
        let bytes = self.read(&source.object).await?;
        let Made { kind, bytes, size, mail, mailable, hints } = self.made(bytes).await?;
        if bytes.len().max(mail.as_ref().map_or(0, Vec::len)) > LARGEST_MADE {
            let detail = "made anew, the picture has more than 4 MB; make it smaller".to_owned();
            return Err(CallError::Refused { code: "picture_too_large", detail });
        }
        let hash = self.keep(&bytes).await?;
        let mail = match mail {
            Some(mail) => Some(self.keep(&mail).await?),
            None => mailable.then(|| hash.clone()),
        };
        Ok(Stored { hash, kind, bytes: bytes.len() as u64, size, mail, hints })
    }

    async fn record(&self, cx: &mut Cx<'_>, _: Source, stored: Stored) -> Result<Events, Fail> {
        let Stored { hash, kind, bytes, size, mail, hints } = stored;
        let (width, height) = size.unzip();
        sqlx::query(
            "insert into brander.assets (tenant, hash, kind, bytes, width, height, mail_hash, stored_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (tenant, hash) do nothing",
        )
        .bind(cx.tenant())
        .bind(&hash.0)
        .bind(kind.as_str())
        .bind(i64::try_from(bytes)?)
        .bind(width.map(i32::try_from).transpose()?)
        .bind(height.map(i32::try_from).transpose()?)
        .bind(mail.as_ref().map(|mail| &mail.0))
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        let about = hash.0.clone();
        let path = path(&hash);
        let told = AssetStored { hash, kind, path, bytes, width, height, mail_hash: mail, hints };
        Ok(Events::none().about(about, told))
    }

    async fn reconcile(&self, _: &Meta, _: &Source) -> Result<Found<Stored>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Source) -> WhenUncertain {
        WhenUncertain::Resend
    }
}

impl Brander {
    async fn read(&self, object: &Object) -> Result<Vec<u8>, CallError> {
        let away = |error: anyhow::Error| CallError::NotDone(error);
        let store = self.desk().await.objects(UPLOADS).await.map_err(away)?;
        let file = store.get(&object.name).await.map_err(|error| away(error.into()))?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).await.map_err(|error| away(error.into()))?;
        if bytes.len() as u64 > LARGEST {
            return Err(CallError::Refused { code: "file_too_large", detail: "a file has at most 2 MB".into() });
        }
        Ok(bytes)
    }

    /// Makes a file anew, few at a time: each may take much memory. What takes too long is refused and not tried again,
    /// and counts among the few until it ends, since nothing can stop it.
    async fn made(&self, bytes: Vec<u8>) -> Result<Made, CallError> {
        let refused = |code, detail: String| CallError::Refused { code, detail };
        let place = self.makers.clone().acquire_owned().await;
        let place = place.map_err(|error| CallError::NotDone(error.into()))?;
        let making = tokio::task::spawn_blocking(move || {
            let made = assets::make(&bytes);
            drop(place);
            made
        });
        match tokio::time::timeout(PATIENCE, making).await {
            Ok(Ok(Ok(made))) => Ok(made),
            Ok(Ok(Err(no))) => Err(refused(no.code, no.words)),
            Ok(Err(_)) => Err(refused("picture_broken", "the file can't be made anew".into())),
            Err(_) => {
                Err(refused("picture_too_slow", "the file takes too long to be made anew; make it simpler".into()))
            }
        }
    }

    /// Stores a content under its hash, once.
    async fn keep(&self, bytes: &[u8]) -> Result<AssetHash, CallError> {
        let (hash, desk) = (assets::hash(bytes), self.desk().await);
        contents::claim(&desk.db, &hash).await.map_err(|error| CallError::NotDone(error.into()))?;
        let store = desk.objects(ASSETS).await.map_err(CallError::NotDone)?;
        // Put again, a content that is being served would be cut off; only what is certainly not there is put.
        match store.info(&hash.0).await {
            Ok(info) if !info.deleted && info.size == bytes.len() => return Ok(hash),
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(CallError::NotDone(error.into())),
        }
        let mut from = bytes;
        store.put(hash.0.as_str(), &mut from).await.map_err(|error| CallError::Unknown(error.into()))?;
        Ok(hash)
    }
}
