//! Mails that were sent, rendered once more by another version or a draft: what a change would have done to last week's
//! mails, before it does it to next week's. Nothing is sent.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::mailer::{Replay, ReplayTemplate, ReplayedMail};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use super::{fitting, of_draft};
use crate::Mailer;
use crate::content;

type Sent = (Uuid, DateTime<Utc>, i32, Json<Map<String, Value>>);

impl Answer<ReplayTemplate> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: ReplayTemplate) -> Result<Replay, AskError> {
        let ReplayTemplate { name, version, draft, since, email_id, limit } = query;
        let (template, version) = match draft {
            Some(draft) => (Arc::new(of_draft(&name, draft)?), None),
            None => {
                let template = self.content.template(ask.db, ask.tenant, &name, version).await?;
                let version = template.version();
                (template, Some(version))
            }
        };
        let sent: Vec<Sent> = sqlx::query_as(
            "select email_id, queued_at, version, variables from mailer.template_sends
             where tenant = $1 and name = $2 and ($3::timestamptz is null or queued_at >= $3)
               and ($4::uuid is null or email_id = $4)
             order by queued_at desc, email_id desc limit $5",
        )
        .bind(ask.tenant)
        .bind(&name)
        .bind(since)
        .bind(email_id)
        .bind(i64::from(limit))
        .fetch_all(&mut *ask.db)
        .await?;
        if sent.is_empty()
            && let Some(email_id) = email_id
        {
            return Err(AskError::NotFound(format!("no email {email_id} was sent by the template {name}")));
        }
        let brand = self.content.brands.of(ask.tenant).await;
        let mut replay = Replay { version, rendered: 0, failed: 0, mails: Vec::with_capacity(sent.len()) };
        for (id, queued_at, sent_by_version, Json(variables)) in sent {
            let sent_by_version = sent_by_version.unsigned_abs();
            let mut mail = ReplayedMail {
                email_id: id,
                queued_at,
                sent_by_version,
                subject: None,
                text: None,
                html: None,
                faults: vec![],
            };
            match content::show(&template, &variables, true, &brand) {
                Ok(parts) => {
                    replay.rendered += 1;
                    mail.subject = parts.subject;
                    if email_id.is_some() {
                        (mail.text, mail.html) = (Some(parts.text), parts.html);
                    }
                }
                Err(faults) => {
                    replay.failed += 1;
                    mail.faults = faults;
                }
            }
            replay.mails.push(mail);
        }
        fitting(replay)
    }
}
