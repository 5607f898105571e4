//! The tenant's assets, by hash.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::brander::{AssetHash, AssetKind, AssetRow, Assets, AssetsPage};
use sqlx::Row;

use crate::Brander;
use crate::version::path;

impl Answer<Assets> for Brander {
    async fn answer(&self, ask: &mut Ask<'_>, query: Assets) -> Result<AssetsPage, AskError> {
        let rows = sqlx::query(
            "select hash, kind, bytes, width, height, mail_hash, stored_at from brander.assets
             where tenant = $1 and hash > $2 order by hash limit $3",
        )
        .bind(ask.tenant)
        .bind(query.after.map(|hash| hash.0).unwrap_or_default())
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        let limit = query.limit as usize;
        let assets: Result<Vec<_>, sqlx::Error> = rows
            .iter()
            .take(limit)
            .map(|row| {
                let hash = AssetHash(row.try_get("hash")?);
                let side = |name| row.try_get::<Option<i32>, _>(name).map(|side| side.map(i32::unsigned_abs));
                Ok(AssetRow {
                    path: path(&hash),
                    hash,
                    kind: AssetKind::parse(row.try_get("kind")?).unwrap_or(AssetKind::Png),
                    bytes: row.try_get::<i64, _>("bytes")?.unsigned_abs(),
                    width: side("width")?,
                    height: side("height")?,
                    mail_hash: row.try_get::<Option<String>, _>("mail_hash")?.map(AssetHash),
                    stored_at: row.try_get("stored_at")?,
                })
            })
            .collect();
        let assets = assets?;
        let next = if rows.len() > limit { assets.last().map(|row| row.hash.clone()) } else { None };
        Ok(AssetsPage { assets, next })
    }
}
