//! A stored asset, for anyone who knows its hash. Its content never changes, so it may be kept for good; and it may do
//! nothing, whatever it is: an SVG that is opened by itself is a document, and this one runs in a sandbox without scripts.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::brander::{ASSETS, AssetKind, StoredAsset};

use crate::Brander;

impl Receive<StoredAsset> for Brander {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let hash = visit.params.get("hash").map(String::as_str).unwrap_or_default();
        if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(AskError::NotFound("there is no such asset".into()));
        }
        // A mail's variant is always PNG, but where the picture itself is shown in mails, and that has a row of its own.
        let kind: Option<String> = sqlx::query_scalar(
            "(select kind from brander.assets where hash = $1 limit 1)
             union all (select 'png' from brander.assets where mail_hash = $1 limit 1) limit 1",
        )
        .bind(hash)
        .fetch_optional(&mut *at.db)
        .await?;
        let kind = kind.as_deref().and_then(AssetKind::parse);
        let kind = kind.ok_or_else(|| AskError::NotFound("there is no such asset".into()))?;
        let tag = format!("\"{hash}\"");
        let headed = |reply: Reply| {
            reply
                .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
                .header("x-content-type-options", "nosniff")
                .header("cross-origin-resource-policy", "cross-origin")
                .header("access-control-allow-origin", "*")
                .header("cache-control", "public, max-age=31536000, immutable")
                .header("etag", tag.as_str())
        };
        if visit.headers.get("if-none-match").is_some_and(|known| known.contains(&tag)) {
            return Ok(headed(Reply::status(304)));
        }
        Ok(headed(Reply::status(200)).header("content-type", kind.content_type()).object(ASSETS, hash))
    }
}
