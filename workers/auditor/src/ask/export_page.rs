//! One tile of the log with what proves it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::auditor::{ExportPage, ExportTile};

use super::entries::between;
use super::{base64, index};
use crate::Auditor;
use crate::store;
use crate::tree::{Place, WIDTH};

impl Answer<ExportPage> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: ExportPage) -> Result<ExportTile, AskError> {
        let head = self.head(ask).await?;
        let size = query.size.unwrap_or(head.size);
        if size > head.size {
            return Err(AskError::Invalid(format!("size: the log has {} entries", head.size)));
        }
        let place = Place { level: 0, number: query.tile };
        let width = place.width(size);
        if width == 0 {
            return Err(AskError::NotFound("the log has no such tile".to_owned()));
        }
        let missing = || AskError::Failed(anyhow::anyhow!("a tile is missing"));
        let hashes = store::tile(ask.db, ask.tenant, place).await?.ok_or_else(missing)?;
        let hashes = hashes.get(..width as usize).ok_or_else(missing)?.concat();
        let path = store::ask(ask.db, ask.tenant, |tiles| tiles.tile_path(query.tile, size)).await;
        let from = index(query.tile * WIDTH)?;
        let to = from + index(width)?;
        let entries = between(ask.db, ask.tenant, from, to, i64::MAX).await?;
        let tombstones = sqlx::query_scalar(
            "select note from auditor.tombstones where tenant = $1 and first_idx < $3 and last_idx >= $2
             order by first_idx",
        )
        .bind(ask.tenant)
        .bind(from)
        .bind(to)
        .fetch_all(&mut *ask.db)
        .await?;
        Ok(ExportTile {
            tile: query.tile,
            hashes: STANDARD.encode(hashes),
            path: base64(&path.map_err(AskError::Failed)?),
            entries,
            tombstones,
        })
    }
}
