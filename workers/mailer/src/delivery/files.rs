//! The files of a mail: what is allowed, what is in them, and where those lie that were uploaded before.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use omnibus_runtime::{Cx, Fail};
use omnibus_schemas::mailer::{Attachment, SendEmail};
use serde_json::{Value, json};
use sqlx::Row;

use super::plan::Stored;
use crate::Mailer;
use crate::message::File;

/// Endings of programs. Mail servers refuse them, and rightly so.
const PROGRAMS: &[&str] = &[
    "apk", "app", "bat", "cab", "chm", "cmd", "com", "cpl", "dll", "dmg", "exe", "hta", "ins", "iso", "jar", "js",
    "jse", "lnk", "msc", "msi", "msp", "mst", "pif", "ps1", "scr", "sct", "sys", "vb", "vbe", "vbs", "wsc", "wsf",
    "wsh",
];

impl Mailer {
    /// Checks every file, and finds those that were uploaded before. Their bytes are read when the mail leaves.
    pub(super) async fn stored_files(&self, cx: &mut Cx<'_>, email: &SendEmail) -> Result<Vec<Stored>, Fail> {
        let (mut stored, mut bytes) = (Vec::new(), 0u64);
        for (place, attachment) in email.attachments.iter().enumerate() {
            let at = |field: &str| format!("/attachments/{place}{field}");
            match (&attachment.content, attachment.attachment_id) {
                (Some(content), None) => {
                    let Some(filename) = &attachment.filename else {
                        return Err(invalid(&at("/filename"), "is missing"));
                    };
                    if attachment.content_type.is_none() {
                        return Err(invalid(&at("/content_type"), "is missing"));
                    }
                    allowed(&at("/filename"), filename)?;
                    bytes += decoded(&at("/content"), content)?.len() as u64;
                }
                (None, Some(id)) => {
                    let file = self.uploaded(cx, place, attachment, id).await?;
                    allowed(&at("/filename"), &file.filename)?;
                    bytes += file.size;
                    stored.push(file);
                }
                _ => return Err(invalid(&at(""), "needs either content or attachment_id")),
            }
        }
        if bytes > self.max_attachment_bytes {
            let detail = format!(
                "the files have {bytes} bytes in all; at most {} and 10 files are allowed",
                self.max_attachment_bytes
            );
            return Err(Fail::reject("attachments_too_large", detail));
        }
        Ok(stored)
    }

    async fn uploaded(
        &self,
        cx: &mut Cx<'_>,
        place: usize,
        attachment: &Attachment,
        id: uuid::Uuid,
    ) -> Result<Stored, Fail> {
        let row = sqlx::query(
            "select bucket, object, filename, content_type, size, sha256 from mailer.attachments
             where tenant = $1 and attachment_id = $2",
        )
        .bind(cx.tenant())
        .bind(id)
        .fetch_optional(cx.db())
        .await?;
        let Some(row) = row else {
            let detail = format!(
                "/attachments/{place}/attachment_id is none of this tenant's: upload the file with POST \
                 /api/v1/email/attachments and wait until that has succeeded"
            );
            return Err(Fail::reject("unknown_attachment", detail));
        };
        let own: String = row.try_get(2)?;
        let own_type: String = row.try_get(3)?;
        Ok(Stored {
            place,
            bucket: row.try_get(0)?,
            name: row.try_get(1)?,
            filename: attachment.filename.clone().unwrap_or(own),
            content_type: attachment.content_type.clone().unwrap_or(own_type),
            size: row.try_get::<i64, _>(4)?.unsigned_abs(),
            sha256: row.try_get(5)?,
        })
    }
}

/// The files with what is in them, as far as the command itself says that. In the place of an uploaded one stands an
/// empty one.
pub(super) fn inline(email: &SendEmail, stored: &[Stored]) -> Result<Vec<File>, Fail> {
    (0..)
        .zip(&email.attachments)
        .map(|(place, attachment)| {
            let uploaded = stored.iter().find(|stored| stored.place == place);
            let bytes = match &attachment.content {
                Some(content) => decoded(&format!("/attachments/{place}/content"), content)?,
                None => vec![],
            };
            let or = |given: &Option<String>, theirs: Option<&String>| {
                given.as_ref().or(theirs).cloned().unwrap_or_default()
            };
            Ok(File {
                filename: or(&attachment.filename, uploaded.map(|stored| &stored.filename)),
                content_type: or(&attachment.content_type, uploaded.map(|stored| &stored.content_type)),
                content_id: attachment.content_id.clone(),
                bytes,
            })
        })
        .collect()
}

/// What the email's page says of its files.
pub(super) fn listed(email: &SendEmail, stored: &[Stored]) -> Value {
    let one = |(place, attachment): (usize, &Attachment)| match stored.iter().find(|stored| stored.place == place) {
        Some(file) => json!({ "filename": file.filename, "content_type": file.content_type, "size": file.size }),
        None => {
            let size = attachment.content.as_ref().map(|content| content.trim_end_matches('=').len() * 3 / 4);
            json!({ "filename": attachment.filename, "content_type": attachment.content_type, "size": size })
        }
    };
    (0..).zip(&email.attachments).map(one).collect()
}

pub(crate) fn allowed(field: &str, filename: &str) -> Result<(), Fail> {
    let ending = filename.rsplit_once('.').map(|(_, ending)| ending.trim_end_matches(['.', ' ']).to_ascii_lowercase());
    match ending.is_some_and(|ending| PROGRAMS.contains(&ending.as_str())) {
        true => Err(invalid(field, "ends like a program's name, which mail servers refuse: send a link instead")),
        false => Ok(()),
    }
}

fn decoded(field: &str, content: &str) -> Result<Vec<u8>, Fail> {
    STANDARD.decode(content).map_err(|_| invalid(field, "is not base64 (RFC 4648 section 4, with padding)"))
}

fn invalid(field: &str, what: &str) -> Fail {
    Fail::reject("invalid", format!("{field} {what}"))
}
