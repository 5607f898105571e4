//! Links by which files of evidence are fetched.
//!
//! A browser fetches a file without a credential of ours, so whoever may read evidence is given a link: the tenant, the
//! evidence and the end, signed (HMAC-SHA-256) with a key that is derived from the secret.

use std::time::Duration;

use anyhow::anyhow;
use async_nats::jetstream::object_store::InfoErrorKind;
use chrono::TimeDelta;
use omnibus_runtime::{Answer, Ask, AskError, At, Receive, Reply, Visit, clock};
use omnibus_schemas::auditor::{
    EVIDENCE, EvidenceContent, EvidenceDownload, EvidenceItem, EvidenceLink, EvidenceUpload,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::item;
use super::upload_evidence::{hexadecimal, name_of};
use crate::Auditor;

/// How long a link is good.
const GOOD: TimeDelta = TimeDelta::minutes(5);
/// For the object store to say what it keeps.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a link gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    /// The tenant.
    t: String,
    /// The evidence.
    f: Uuid,
    /// When it ends, in seconds since 1970.
    e: i64,
}

/// Evidence that has a file which is still there.
async fn filed(
    db: &mut PgConnection,
    tenant: &str,
    evidence_id: Uuid,
) -> Result<(EvidenceItem, EvidenceUpload), AskError> {
    let row = sqlx::query("select * from auditor.evidence where tenant = $1 and evidence_id = $2")
        .bind(tenant)
        .bind(evidence_id)
        .fetch_optional(db)
        .await?;
    let none = || AskError::NotFound("there is no such evidence, or it has no file here".to_owned());
    let item = item(&row.ok_or_else(none)?).map_err(AskError::Failed)?;
    let file = item.file.clone().ok_or_else(none)?;
    match file.removed_at {
        None => Ok((item, file)),
        Some(at) => {
            let day = at.format("%Y-%m-%d");
            Err(AskError::NotFound(format!("the file was removed on {day}: its retention was over")))
        }
    }
}

impl Auditor {
    /// Holds what is kept against what was filed: nobody is to be given another file for it.
    async fn as_filed(&self, tenant: &str, item: &EvidenceItem) -> Result<(), AskError> {
        let store = self.desk().await.objects(EVIDENCE).await.map_err(AskError::Failed)?;
        let name = name_of(tenant, item.evidence_id);
        let asked = tokio::time::timeout(PATIENCE, store.info(&name)).await;
        let kept = match asked.map_err(|_| AskError::Failed(anyhow!("the object store does not answer")))? {
            Ok(kept) if !kept.deleted => kept.digest.as_deref().and_then(hexadecimal),
            Err(error) if error.kind() != InfoErrorKind::NotFound => return Err(AskError::Failed(error.into())),
            _ => {
                tracing::error!(name, "a file of evidence is not in the object store any more");
                return Err(AskError::NotFound("the file is not where it was kept".to_owned()));
            }
        };
        if kept == item.sha256 {
            return Ok(());
        }
        tracing::error!(name, kept, filed = item.sha256, "a file of evidence is not the one that was filed");
        let words = "the file that is kept is not the one that was filed: its SHA-256 is another. It is not given out";
        Err(AskError::NotFound(words.to_owned()))
    }
}

impl Answer<EvidenceDownload> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: EvidenceDownload) -> Result<EvidenceLink, AskError> {
        let (item, file) = filed(ask.db, ask.tenant, query.evidence_id).await?;
        self.as_filed(ask.tenant, &item).await?;
        let until = clock::now() + GOOD;
        let given = Given { t: ask.tenant.to_owned(), f: item.evidence_id, e: until.timestamp() };
        let signer = self.keys.links().map_err(AskError::Failed)?;
        Ok(EvidenceLink {
            evidence_id: item.evidence_id,
            filename: file.filename,
            content_type: file.content_type,
            size: file.size,
            sha256: item.sha256.unwrap_or_default(),
            path: format!("/evidence-files/{}", signer.write(&given)),
            until,
        })
    }
}

impl Receive<EvidenceContent> for Auditor {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let link = visit.params.get("link").map(String::as_str).unwrap_or_default();
        let gone = || AskError::NotFound("this link is good for nothing any more, or never was".to_owned());
        let given: Option<Given> = self.keys.links().map_err(AskError::Failed)?.read(link);
        let given = given.filter(|given| given.e > at.now.timestamp()).ok_or_else(gone)?;
        let (item, file) = filed(at.db, &given.t, given.f).await?;
        self.as_filed(&given.t, &item).await?;
        Ok(Reply::status(200)
            .download(&file.filename)
            .header("cache-control", "private, no-store")
            .object(EVIDENCE, name_of(&given.t, given.f)))
    }
}
