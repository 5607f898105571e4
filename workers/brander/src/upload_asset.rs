//! A file that a tenant brought. Only what was made of it is stored.

use std::time::Duration;

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, WhenUncertain};
use omnibus_schemas::Object;
use omnibus_schemas::brander::{ASSETS, AssetHash, AssetKind, AssetStored, UploadAsset};
use omnibus_schemas::bucket::UPLOADS;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::Brander;
use crate::assets::{self, Made};
use crate::version::path;

/// The largest file, in bytes; the door holds to it too.
const LARGEST: u64 = 2 * 1024 * 1024;
/// Assets of one tenant, at most.
const MOST: i64 = 2000;

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
    const POLICY: Policy = Policy { attempts: 6, timeout: Duration::from_secs(60), ..Policy::DEFAULT };

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
        let count: i64 = sqlx::query_scalar("select count(*) from brander.assets where tenant = $1")
            .bind(cx.tenant())
            .fetch_one(cx.db())
            .await?;
        if count >= MOST {
            return Err(Fail::reject("too_many_assets", format!("a tenant has at most {MOST} assets")));
        }
        Ok(Prepared::go(Source { object }))
    }

    /// Reads, makes, stores. Everything is called by its content, so doing it twice is doing it once.
    async fn perform(&self, _: &Meta, source: &Source) -> Result<Stored, CallError> {
        let bytes = self.read(&source.object).await?;
        let made = tokio::task::spawn_blocking(move || assets::make(&bytes)).await;
        let made = made.map_err(|error| CallError::Refused { code: "picture_broken", detail: error.to_string() })?;
        let made = made.map_err(|refused| CallError::Refused { code: refused.code, detail: refused.words })?;
        let Made { kind, bytes, size, mail, mailable, hints } = made;
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

    /// Stores a content under its hash, once.
    async fn keep(&self, bytes: &[u8]) -> Result<AssetHash, CallError> {
        let hash = assets::hash(bytes);
        let store = self.desk().await.objects(ASSETS).await.map_err(CallError::NotDone)?;
        if store.info(&hash.0).await.is_ok_and(|info| !info.deleted && info.size == bytes.len()) {
            return Ok(hash);
        }
        let mut from = bytes;
        store.put(hash.0.as_str(), &mut from).await.map_err(|error| CallError::Unknown(error.into()))?;
        Ok(hash)
    }
}
