//! From a plan to what leaves: the mail's bytes for SMTP and the folder, the request for SendGrid.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use omnibus_runtime::{CallError, Meta};
use omnibus_schemas::mailer::{Provider, RecipientKind};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Plan, files};
use crate::Mailer;
use crate::message::{self, File, From, Letter, Stamp};
use crate::transport::Mail;

/// From which a mail's boundaries are derived.
pub(super) fn seed(email_id: Uuid) -> Uuid {
    Uuid::new_v5(&email_id, b"boundary")
}

impl Mailer {
    /// Makes what is about to leave. Whatever fails here, nothing has left.
    pub(super) async fn parcel(&self, meta: &Meta, plan: &Plan) -> Result<Mail, CallError> {
        let refused = |detail: String| CallError::Refused { code: "invalid", detail };
        let mut files = files::inline(&plan.email, &plan.stored).map_err(|_| refused("a file can't be read".into()))?;
        for stored in &plan.stored {
            let bytes = self.objects.read(&stored.bucket, &stored.name, stored.size, &stored.sha256).await;
            let bytes = bytes.with_context(|| format!("the file of /attachments/{}", stored.place));
            let bytes = bytes.map_err(CallError::NotDone)?;
            files.get_mut(stored.place).ok_or_else(|| refused("a file has no place".into()))?.bytes = bytes;
        }
        let address = plan.from.parse().map_err(|_| refused("the sender is no address".into()))?;
        let from = From { address, name: plan.from_name.clone() };
        let text = match plan.way {
            Provider::Sendgrid => request(meta, plan, &from, &files).to_string(),
            Provider::Smtp | Provider::File => {
                let stamp = Stamp { message_id: &plan.message_id, date: plan.date, seed: seed(plan.email_id) };
                let unsubscribe = plan.unsubscribe.as_deref();
                let letter = Letter { email: &plan.email, from: &from, files: &files, unsubscribe, stamp };
                let dkim =
                    self.dkim.key(&meta.tenant, from.address.domain(), &self.senders).map_err(CallError::NotDone)?;
                message::compose(&letter, dkim.as_deref()).map_err(|error| refused(error.to_string()))?.text
            }
        };
        Ok(Mail {
            way: plan.way,
            message_id: plan.message_id.clone(),
            sender: plan.from.clone(),
            recipients: plan.to.iter().map(|addressee| addressee.address.clone()).collect(),
            text,
            bulk: plan.batch.is_some(),
        })
    }
}

/// The request to `POST /v3/mail/send`. SendGrid refuses an address that it is given twice, in whatever letters.
fn request(meta: &Meta, plan: &Plan, from: &From, files: &[File]) -> Value {
    let email = &plan.email;
    let kinds = message::addressees(email).unwrap_or_default();
    let (mut lists, mut seen) = ([vec![], vec![], vec![]], Vec::new());
    for addressee in &plan.to {
        let small = addressee.address.to_lowercase();
        if seen.contains(&small) {
            continue;
        }
        seen.push(small);
        let kind = kinds.get(addressee.recipient as usize).map_or(RecipientKind::To, |(kind, _)| *kind);
        lists[kind as usize].push(json!({ "email": addressee.address }));
    }
    let personalizations = personalizations(lists);
    // An empty text is no text to it.
    let text = |text: &str| if text.is_empty() { " ".to_owned() } else { text.to_owned() };
    let mut content = vec![json!({ "type": "text/plain", "value": text(&email.body) })];
    content.extend(email.html.iter().map(|html| json!({ "type": "text/html", "value": text(html) })));
    let mut headers: Map<String, Value> = email.headers.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
    headers.insert("Message-ID".into(), plan.message_id.clone().into());
    for (name, value) in plan.unsubscribe.iter().flat_map(|link| message::one_click(link)) {
        headers.insert(name.into(), value.into());
    }
    let mut sender = json!({ "email": from.address.to_string() });
    if let Some(name) = &from.name {
        sender["name"] = name.clone().into();
    }
    let mut body = json!({
        "personalizations": personalizations,
        "from": sender,
        "subject": email.subject,
        "content": content,
        "headers": headers,
        // They come back with every event, and say whose mail it is about.
        "custom_args": { "omnibus_tenant": meta.tenant, "omnibus_email": plan.email_id.to_string() },
    });
    if let Some(reply_to) = &email.reply_to {
        body["reply_to"] = json!({ "email": reply_to });
    }
    if !files.is_empty() {
        body["attachments"] = files.iter().map(|file| attached(file, email.html.is_some())).collect();
    }
    body
}

/// To whom it goes. SendGrid takes no mail without a `to`: where those are gone, the copies' recipients stand there, and
/// each blind one by itself, seen by nobody.
fn personalizations([to, cc, bcc]: [Vec<Value>; 3]) -> Vec<Value> {
    if to.is_empty() {
        let open = (!cc.is_empty()).then(|| json!({ "to": cc }));
        return open.into_iter().chain(bcc.into_iter().map(|one| json!({ "to": [one] }))).collect();
    }
    let mut all = Map::from_iter([("to".to_owned(), Value::from(to))]);
    for (name, list) in [("cc", cc), ("bcc", bcc)] {
        if !list.is_empty() {
            all.insert(name.into(), list.into());
        }
    }
    vec![all.into()]
}

fn attached(file: &File, html: bool) -> Value {
    let mut one = json!({
        "content": STANDARD.encode(&file.bytes), "type": file.content_type, "filename": file.filename,
        "disposition": "attachment",
    });
    if let (Some(id), true) = (&file.content_id, html) {
        one["disposition"] = "inline".into();
        one["content_id"] = id.clone().into();
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blind_recipient_is_never_named_beside_another() {
        let one = |email: &str| json!({ "email": email });
        let all = |to: &[&str], cc: &[&str], bcc: &[&str]| {
            personalizations([to, cc, bcc].map(|list| list.iter().map(|email| one(email)).collect()))
        };
        let whole = json!({ "to": [one("a@x")], "cc": [one("b@x")], "bcc": [one("c@x")] });
        assert_eq!(all(&["a@x"], &["b@x"], &["c@x"]), [whole]);
        let apart = [json!({ "to": [one("b@x")] }), json!({ "to": [one("c@x")] }), json!({ "to": [one("d@x")] })];
        assert_eq!(all(&[], &["b@x"], &["c@x", "d@x"]), apart);
    }
}
