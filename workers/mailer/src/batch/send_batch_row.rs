//! Sends one row of a batch: a mail like any other, made from what the batch says and what the row adds.

use std::collections::BTreeMap;

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::mailer::{SendBatchRow, SendEmail, Uncertain};
use serde_json::{Map, Value};
use sqlx::Row;

use crate::Mailer;
use crate::content::Wanted;
use crate::delivery::{Dispatch, Order, refused};
use crate::send_template::Speaks;

impl Dispatch for SendBatchRow {
    const NAMES_EMAIL: bool = false;

    async fn order(self, mailer: &Mailer, cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        let row = sqlx::query(
            "select address, variables, email_id from mailer.batch_rows
             where tenant = $1 and batch_id = $2 and row = $3 and rejected is null",
        )
        .bind(cx.tenant())
        .bind(self.batch_id)
        .bind(self.row as i32)
        .fetch_optional(cx.db())
        .await?;
        let (Some(row), Some(batch)) = (row, mailer.specs.of(cx, self.batch_id).await?) else {
            return Err(Fail::reject("not_found", "there is no such row, or it is no mail"));
        };
        let own: Value = row.try_get(1)?;
        let mut variables: Map<String, Value> = batch.variables.clone();
        variables.extend(own.as_object().cloned().unwrap_or_default());
        let email_id = row.try_get(2)?;
        let mut said = None;
        let (from, from_name, reply_to) = (batch.from.clone(), batch.from_name.clone(), batch.reply_to.clone());
        let mut speaks = Speaks { from, from_name, reply_to };
        if let Some(template) = &batch.template {
            let wanted = Wanted { name: template, version: batch.version, unsubscribe_url: None };
            match mailer.words(cx, email_id, wanted, &variables, &batch.stream).await {
                Ok(words) => said = Some(words),
                Err(fail) => return refused(cx, email_id, Some((self.batch_id, self.row)), &[], fail).await.map(Err),
            }
        }
        if let Some(said) = &said {
            speaks = mailer.or_the_brand(cx, speaks, said).await?;
        }
        let confidential = said.as_ref().is_some_and(|said| said.confidential);
        let template = said.as_ref().map(|said| said.template.clone());
        let (subject, body, html) = match said {
            Some(said) => (said.subject, said.text, said.html),
            None => {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                (text(&batch.subject), text(&batch.body), batch.html.clone())
            }
        };
        let email = SendEmail {
            to: vec![row.try_get(0)?],
            cc: vec![],
            bcc: vec![],
            from: speaks.from,
            from_name: speaks.from_name,
            reply_to: speaks.reply_to,
            subject,
            body,
            html,
            headers: BTreeMap::new(),
            stream: batch.stream.clone(),
            attachments: vec![],
            send_at: None,
            send_at_local: None,
            time_zone: None,
            cancel_key: batch.cancel_key.clone(),
            when_uncertain: Uncertain::Hold,
            confidential,
        };
        let order = Order {
            email_id,
            email,
            template,
            begins: true,
            only: vec![],
            unheard: false,
            batch: Some((self.batch_id, self.row)),
        };
        Ok(Ok(Box::new(order)))
    }
}
