//! Evidence that is a file. It is copied out of what was uploaded, which goes with time, into the auditor's own store, and
//! hashed on the way.

use std::time::Duration;

use anyhow::anyhow;
use async_nats::jetstream::object_store::{
    DeleteErrorKind, GetErrorKind, InfoErrorKind, Object as Stored, ObjectStore,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::auditor::{EVIDENCE, EvidenceFiled, EvidenceUpload, UploadEvidence};
use omnibus_schemas::bucket::UPLOADS;
use omnibus_schemas::{Command, Object, Token};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::period;
use crate::Auditor;
use crate::compliance::book::book;
use crate::compliance::fault;
use crate::keys::hex;
use crate::store::count;

/// A file was stored before the command that names it, but not by every replica of the store at once.
const LOOKS: u32 = 3;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// What is filed, and which file is copied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Filing {
    control: Token,
    title: String,
    filename: String,
    object: Object,
    effective_from: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// Where a file lies.
pub(crate) fn name_of(tenant: &str, evidence_id: Uuid) -> String {
    format!("{tenant}/{evidence_id}")
}

/// Of the URL-safe base64 in which the store writes a digest.
pub(super) fn hexadecimal(digest: &str) -> Option<String> {
    Some(hex(&URL_SAFE.decode(digest.strip_prefix("SHA-256=")?).ok()?))
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What can be told without the bytes. Whoever publishes on the bus has no door that looks at it before.
fn checked(tenant: &str, cmd: &UploadEvidence) -> Result<(), Fail> {
    let object = &cmd.object;
    if object.bucket != UPLOADS || !object.is_of(tenant) {
        return Err(Fail::reject("foreign_object", "/object: this is no file that was uploaded by you"));
    }
    let limits = UploadEvidence::UPLOAD.expect("it is a command that takes a file");
    if object.size > limits.max_bytes {
        return Err(fault("/object/size", format!("a file has {} bytes at most", limits.max_bytes)));
    }
    if object.size == 0 {
        return Err(fault("/object/size", "the file is empty"));
    }
    if !limits.takes(&object.content_type) {
        return Err(fault("/object/content_type", format!("must be one of {}", limits.types.join(", "))));
    }
    if !is_hash(&object.sha256) {
        return Err(fault("/object/sha256", "must be hexadecimal"));
    }
    match cmd.sha256.as_deref() {
        Some(hash) if !is_hash(hash) => Err(fault("/sha256", "must be hexadecimal")),
        Some(hash) if !hash.eq_ignore_ascii_case(&object.sha256) => {
            Err(fault("/sha256", format!("the file that came has {}", object.sha256)))
        }
        _ => Ok(()),
    }
}

/// Opens what was uploaded.
async fn opened(store: &ObjectStore, name: &str) -> Result<Stored, CallError> {
    for _ in 0..LOOKS {
        match store.get(name).await {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == GetErrorKind::NotFound => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(CallError::NotDone(error.into())),
        }
    }
    let detail = "/object/name: there is no such file; what was uploaded and not filed goes with time".to_owned();
    Err(CallError::Refused { code: "no_such_object", detail })
}

/// Removes the copy of this try, or of one before it whose end nobody heard: what is refused leaves nothing. As long as
/// the store does not do so, nothing is refused yet.
async fn clear(store: &ObjectStore, name: &str) -> Result<(), CallError> {
    match store.delete(name).await {
        Err(error) if error.kind() != DeleteErrorKind::NotFound => Err(CallError::NotDone(error.into())),
        _ => Ok(()),
    }
}

impl Auditor {
    /// Takes the file's bytes from what the tenant may keep. It is taken before the copy is made and not looked at after: a
    /// copy that is done can't be refused any more, and many may be under way at once.
    async fn room_for(&self, cx: &mut Cx<'_>, size: u64) -> Result<(), Fail> {
        let (tenant, evidence_id) = (cx.tenant(), cx.meta().id);
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('omnibus.auditor.evidence.' || $1, 0))")
            .bind(tenant)
            .execute(cx.db())
            .await?;
        let bytes: i64 = sqlx::query_scalar(
            "select coalesce(sum(size), 0)::bigint from (
                 select size from auditor.evidence
                 where tenant = $1 and evidence_id <> $2 and filename is not null and removed_at is null
                 union all
                 select size from auditor.evidence_copies
                 where tenant = $1 and evidence_id <> $2 and given_up_at is null) files",
        )
        .bind(tenant)
        .bind(evidence_id)
        .fetch_one(cx.db())
        .await?;
        let most = self.settings.evidence.most_bytes;
        if count(bytes).saturating_add(size) > most {
            let words = format!("/object: the tenant's files of evidence have {most} bytes together at most");
            return Err(Fail::reject("too_many_files", words));
        }
        sqlx::query(
            "insert into auditor.evidence_copies (tenant, evidence_id, size) values ($1, $2, $3)
             on conflict (tenant, evidence_id) do update set size = excluded.size, given_up_at = null",
        )
        .bind(tenant)
        .bind(evidence_id)
        .bind(i64::try_from(size)?)
        .execute(cx.db())
        .await?;
        Ok(())
    }

    async fn copied(&self, cx: &mut Cx<'_>) -> Result<(), Fail> {
        let (tenant, evidence_id) = (cx.tenant(), cx.meta().id);
        sqlx::query("delete from auditor.evidence_copies where tenant = $1 and evidence_id = $2")
            .bind(tenant)
            .bind(evidence_id)
            .execute(cx.db())
            .await?;
        Ok(())
    }

    /// Leaves a note that the copy, as far as there is one, is to be removed. The time is the database's: the command's
    /// own is its publisher's.
    async fn given_up(&self, cx: &mut Cx<'_>) -> Result<(), Fail> {
        let (tenant, evidence_id) = (cx.tenant(), cx.meta().id);
        sqlx::query("update auditor.evidence_copies set given_up_at = now() where tenant = $1 and evidence_id = $2")
            .bind(tenant)
            .bind(evidence_id)
            .execute(cx.db())
            .await?;
        Ok(())
    }
}

impl Effect<UploadEvidence> for Auditor {
    const POLICY: Policy = Policy { attempts: 6, timeout: Duration::from_secs(240), ..Policy::DEFAULT };

    type Plan = Filing;
    type Done = ();

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: UploadEvidence) -> Result<Prepared<Filing>, Fail> {
        checked(cx.tenant(), &cmd)?;
        book().control(&cmd.control).ok_or_else(|| fault("/control", "there is no such control"))?;
        let (effective_from, expires_at) = period(cx.now(), cmd.effective_from, cmd.expires_at)?;
        let UploadEvidence { control, title, filename, mut object, .. } = cmd;
        self.room_for(cx, object.size).await?;
        object.sha256.make_ascii_lowercase();
        Ok(Prepared::go(Filing { control, title, filename, object, effective_from, expires_at }))
    }

    /// The copy's name is the command's: put twice, it is put once.
    async fn perform(&self, meta: &Meta, filing: &Filing) -> Result<(), CallError> {
        let desk = self.desk().await;
        let to = desk.objects(EVIDENCE).await.map_err(CallError::NotDone)?;
        let (name, object) = (name_of(&meta.tenant, meta.id), &filing.object);
        // A command that is replayed long after finds its copy, and nothing among the uploads any more. Whether it is
        // there must be known: what is refused below is cleared away.
        match to.info(&name).await {
            Ok(there) => {
                let digest = there.digest.as_deref().and_then(hexadecimal);
                if !there.deleted && digest.as_ref() == Some(&object.sha256) {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(CallError::NotDone(error.into())),
        }
        let from = desk.objects(UPLOADS).await.map_err(CallError::NotDone)?;
        let file = match opened(&from, &object.name).await {
            Err(refused @ CallError::Refused { .. }) => {
                clear(&to, &name).await?;
                return Err(refused);
            }
            other => other?,
        };
        // One byte more tells that there are more, and no more of them are copied.
        let mut file = file.take(object.size.saturating_add(1));
        let put = to.put(name.as_str(), &mut file).await.map_err(|error| CallError::Unknown(error.into()))?;
        let found = put.digest.as_deref().and_then(hexadecimal);
        let found = found.ok_or_else(|| CallError::Unknown(anyhow!("the object store told no digest of the copy")))?;
        let detail = match (put.size as u64 == object.size, found == object.sha256) {
            (true, true) => return Ok(()),
            (false, _) => format!("/object/size: the file has not the {} bytes that it is said to have", object.size),
            (true, false) => format!("/object/sha256: the file has {found}"),
        };
        clear(&to, &name).await?;
        Err(CallError::Refused { code: "wrong_hash", detail })
    }

    async fn record(&self, cx: &mut Cx<'_>, filing: Filing, (): ()) -> Result<Events, Fail> {
        let Filing { control, title, filename, object, effective_from, expires_at } = filing;
        self.copied(cx).await?;
        let (tenant, evidence_id, now) = (cx.tenant(), cx.meta().id, cx.now());
        sqlx::query(
            "insert into auditor.evidence (tenant, evidence_id, control, title, sha256, place, filename, content_type,
                 size, filed_by, filed_at, effective_from, expires_at)
             values ($1, $2, $3, $4, $5, '', $6, $7, $8, $9, $10, $11, $12) on conflict do nothing",
        )
        .bind(tenant)
        .bind(evidence_id)
        .bind(control.as_str())
        .bind(&title)
        .bind(&object.sha256)
        .bind(&filename)
        .bind(&object.content_type)
        .bind(i64::try_from(object.size)?)
        .bind(&cx.meta().actor)
        .bind(now)
        .bind(effective_from)
        .bind(expires_at)
        .execute(cx.db())
        .await?;
        let Object { content_type, size, sha256, .. } = object;
        let file = EvidenceUpload { filename, content_type, size, removed_at: None };
        let event = EvidenceFiled {
            evidence_id,
            control,
            sha256: Some(sha256),
            file: Some(file),
            entry: None,
            effective_from,
            expires_at,
        };
        self.told(cx, evidence_id.to_string(), event).await
    }

    async fn reconcile(&self, _: &Meta, _: &Filing) -> Result<Found<()>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Filing) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, filing: Option<Filing>, how: &Settled) -> Result<Events, Fail> {
        match (how, filing) {
            // Whoever decides what nobody knows may still find that the copy is there.
            (Settled::Uncertain { .. }, _) => {}
            // The call that was refused has removed its copy.
            (Settled::Refused { .. }, Some(_)) => self.copied(cx).await?,
            // Nobody can say whether a call before has left one.
            _ => self.given_up(cx).await?,
        }
        Ok(Events::none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_of_the_store_reads_as_hexadecimal() {
        let digest = format!("SHA-256={}", URL_SAFE.encode([0xfb_u8; 32]));
        assert_eq!(hexadecimal(&digest), Some("fb".repeat(32)));
        assert_eq!(hexadecimal("MD5=1234"), None);
    }
}
