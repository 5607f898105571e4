//! Evidence by the hash of a file or by an entry of the log, with the days from which and until which it counts.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{EvidenceFiled, FileEvidence};

use super::period;
use crate::Auditor;
use crate::compliance::book::book;
use crate::compliance::fault;
use crate::store::{count, number};

impl Handle<FileEvidence> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: FileEvidence) -> Result<Events, Fail> {
        book().control(&cmd.control).ok_or_else(|| fault("/control", "there is no such control"))?;
        let (tenant, now, evidence_id) = (cx.tenant(), cx.now(), cx.meta().id);
        let sha256 = cmd.sha256.map(|hash| hash.to_ascii_lowercase());
        match (&sha256, cmd.entry) {
            (None, None) | (Some(_), Some(_)) => {
                return Err(fault("/sha256", "either the hash of a file or an entry of the log must be named"));
            }
            (Some(hash), None) if !hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                return Err(fault("/sha256", "must be hexadecimal"));
            }
            (Some(_), None) => {}
            (None, Some(entry)) => {
                let size: Option<i64> = sqlx::query_scalar("select size from auditor.heads where tenant = $1")
                    .bind(tenant)
                    .fetch_optional(cx.db())
                    .await?;
                if size.is_none_or(|size| entry >= count(size)) {
                    return Err(fault("/entry", format!("the log has {} entries", size.unwrap_or_default())));
                }
            }
        }
        let (effective_from, expires_at) = period(now, cmd.effective_from, cmd.expires_at)?;
        sqlx::query(
            "insert into auditor.evidence (tenant, evidence_id, control, title, sha256, place, entry, filed_by,
                 filed_at, effective_from, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(tenant)
        .bind(evidence_id)
        .bind(cmd.control.as_str())
        .bind(&cmd.title)
        .bind(&sha256)
        .bind(&cmd.place)
        .bind(cmd.entry.map(number))
        .bind(&cx.meta().actor)
        .bind(now)
        .bind(effective_from)
        .bind(expires_at)
        .execute(cx.db())
        .await?;
        let event = EvidenceFiled {
            evidence_id,
            control: cmd.control,
            sha256,
            file: None,
            entry: cmd.entry,
            effective_from,
            expires_at,
        };
        self.told(cx, evidence_id.to_string(), event).await
    }
}
