//! Takes a batch: its rows come with it, or are read from a file that was uploaded before.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{ExpandBatch, ReadBatch, SendBatch};

use super::rows::{self, Line};
use crate::Mailer;

impl Handle<SendBatch> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, mut cmd: SendBatch) -> Result<Events, Fail> {
        let invalid = |detail: &str| Err(Fail::reject("invalid", detail));
        match (&cmd.template, &cmd.subject, &cmd.body) {
            (Some(_), None, None) if cmd.html.is_none() => {}
            (None, Some(_), Some(_)) => {}
            (Some(_), ..) => return invalid("/template stands for subject, body and html: leave them out"),
            (None, ..) => return invalid("/subject and /body are needed without a template"),
        }
        if cmd.recipients.is_empty() == cmd.recipients_id.is_none() {
            return invalid("either /recipients or /recipients_id says to whom it goes");
        }
        if let Some(id) = cmd.recipients_id {
            let known: bool = sqlx::query_scalar(
                "select exists (select from mailer.attachments where tenant = $1 and attachment_id = $2)",
            )
            .bind(cx.tenant())
            .bind(id)
            .fetch_one(cx.db())
            .await?;
            if !known {
                let detail = "/recipients_id is no file of this tenant's: upload it with POST /api/v1/email/attachments \
                              and wait until that has succeeded";
                return Err(Fail::reject("unknown_attachment", detail));
            }
        }
        if let Some(name) = &cmd.template {
            let tenant = cx.tenant();
            let template = self.content.template(cx.db(), tenant, name, cmd.version).await;
            let template = template.map_err(|error| match error.code() {
                Some(code) => Fail::reject(code, error.to_string()),
                None => Fail::Retry(error.into()),
            })?;
            if template.confidential().next().is_some() {
                let detail = "the template holds secrets, such as codes or reset links, and a batch would have to keep \
                              them: send these mails one by one";
                return Err(Fail::reject("confidential_template", detail));
            }
        }
        let batch_id = cx.meta().id;
        let recipients = std::mem::take(&mut cmd.recipients);
        sqlx::query(
            "insert into mailer.batches (tenant, batch_id, spec, read_rows, queued_at) values ($1, $2, $3, $4, $5)
             on conflict do nothing",
        )
        .bind(cx.tenant())
        .bind(batch_id)
        .bind(serde_json::to_value(&cmd)?)
        .bind(cmd.recipients_id.map(|_| 0))
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        if recipients.is_empty() {
            return Ok(Events::none().then(ReadBatch { batch_id, after: 0 }));
        }
        let lines: Vec<_> = (1..).zip(recipients).map(|(row, recipient)| Line::of(row, recipient)).collect();
        rows::insert(cx, batch_id, &lines).await?;
        Ok(Events::none().then(ExpandBatch { batch_id, after: 0 }))
    }
}
