//! Links by which files of evidence are fetched.
//!
//! A browser fetches a file without a credential of ours, so whoever may read evidence is given a link: the tenant, the
//! evidence and the end, signed (HMAC-SHA-256) with a key that is derived from the secret.

use std::time::Duration;

use anyhow::anyhow;
use async_nats::jetstream::object_store::InfoErrorKind;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use omnibus_runtime::{Answer, Ask, AskError, At, Receive, Reply, Visit, clock};
use omnibus_schemas::auditor::{
    EVIDENCE, EvidenceContent, EvidenceDownload, EvidenceItem, EvidenceLink, EvidenceUpload,
};
use ring::hmac;
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
        let key = self.keys.links().map_err(AskError::Failed)?;
        Ok(EvidenceLink {
            evidence_id: item.evidence_id,
            filename: file.filename,
            content_type: file.content_type,
            size: file.size,
            sha256: item.sha256.unwrap_or_default(),
            path: format!("/evidence-files/{}", write(key, &given)),
            until,
        })
    }
}

impl Receive<EvidenceContent> for Auditor {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let link = visit.params.get("link").map(String::as_str).unwrap_or_default();
        let gone = || AskError::NotFound("this link is good for nothing any more, or never was".to_owned());
        let key = self.keys.links().map_err(AskError::Failed)?;
        let given = check(key, link).filter(|given| given.e > at.now.timestamp()).ok_or_else(gone)?;
        let (item, file) = filed(at.db, &given.t, given.f).await?;
        self.as_filed(&given.t, &item).await?;
        // Nobody has looked into it: a browser must neither guess what it is nor run it.
        Ok(Reply::status(200)
            .header("content-type", "application/octet-stream")
            .header("content-disposition", disposition(&file.filename))
            .header("content-security-policy", "sandbox; default-src 'none'")
            .header("x-content-type-options", "nosniff")
            .header("cache-control", "private, no-store")
            .header("referrer-policy", "no-referrer")
            .object(EVIDENCE, name_of(&given.t, given.f)))
    }
}

/// To be saved under its own name. RFC 6266, RFC 8187.
fn disposition(filename: &str) -> String {
    let encoded: String = filename
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("attachment; filename*=UTF-8''{encoded}")
}

fn write(key: &hmac::Key, given: &Given) -> String {
    let body = serde_json::to_vec(given).expect("it has string keys and no failing serializers");
    let sign = URL_SAFE_NO_PAD.encode(hmac::sign(key, &body));
    format!("{}.{sign}", URL_SAFE_NO_PAD.encode(body))
}

/// What a link gives; `None` if nobody here signed it.
fn check(key: &hmac::Key, link: &str) -> Option<Given> {
    let (body, sign) = link.split_once('.')?;
    let body = URL_SAFE_NO_PAD.decode(body).ok()?;
    let sign = URL_SAFE_NO_PAD.decode(sign).ok()?;
    hmac::verify(key, &body, &sign).ok()?;
    serde_json::from_slice(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_gives_what_was_signed_and_nothing_else() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let given = Given { t: "acme".into(), f: Uuid::from_u128(7), e: 1_000_000 };
        let link = write(&key, &given);
        assert_eq!(check(&key, &link), Some(given.clone()));
        assert_eq!(check(&hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]), &link), None);
        let (body, sign) = link.split_once('.').unwrap();
        let other = write(&key, &Given { t: "globex".into(), ..given });
        let (other, _) = other.split_once('.').unwrap();
        for forged in
            ["", ".", body, &format!("{other}.{sign}"), &format!("{body}."), &format!("{body}.{}", &sign[1..])]
        {
            assert_eq!(check(&key, forged), None, "{forged}");
        }
    }

    #[test]
    fn a_name_can_not_leave_its_header() {
        assert_eq!(
            disposition("plan \"b\";\r\nü.pdf"),
            "attachment; filename*=UTF-8''plan%20%22b%22%3B%0D%0A%C3%BC.pdf"
        );
    }
}
