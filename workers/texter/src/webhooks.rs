//! What Twilio calls: checked against the public address that the settings name, whatever the request says of its host;
//! then a command with an id of the occasion, so that a repetition is no second one.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::Token;
use omnibus_schemas::texter::{NoteStatus, ReceiveSms, TwilioInbound, TwilioStatus};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::signature::{carries_hash, fields, is_twilios};
use crate::{Texter, words};

/// An empty TwiML document: nothing to say.
const NOTHING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>";

/// What a signed request says.
struct Said {
    form: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl Said {
    fn get<'a>(list: &'a [(String, String)], name: &str) -> Option<&'a str> {
        list.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn field(&self, name: &str) -> &str {
        Self::get(&self.form, name).unwrap_or_default()
    }
}

impl Texter {
    /// The request, if Twilio signed it.
    fn signed(&self, visit: &Visit) -> Result<Said, Box<Reply>> {
        let forbidden = || Box::new(Reply::status(403).text("the signature is not Twilio's\n"));
        let (Some(public), Some(token)) = (&self.public_url, &self.settings.twilio_auth_token) else {
            return Err(Box::new(Reply::status(403).text("webhooks need SMS_PUBLIC_URL and TWILIO_AUTH_TOKEN\n")));
        };
        let question = if visit.query.is_empty() { "" } else { "?" };
        let url = format!("{public}{}{question}{}", visit.path, visit.query);
        let signature = visit.headers.get("x-twilio-signature").map(String::as_str).unwrap_or_default();
        let query = fields(visit.query.as_bytes()).ok_or_else(forbidden)?;
        let is_json = visit.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        let form = match is_json {
            true if !carries_hash(&query, &visit.body) => return Err(forbidden()),
            true => {
                json_fields(&visit.body).ok_or_else(|| Box::new(Reply::status(400).text("the body is no object\n")))?
            }
            false => fields(&visit.body).ok_or_else(|| Box::new(Reply::status(400).text("the body is no form\n")))?,
        };
        let over: &[(String, String)] = if is_json { &[] } else { &form };
        match is_twilios(token.expose_secret(), &url, over, signature) {
            true => Ok(Said { form, query }),
            false => Err(forbidden()),
        }
    }
}

/// The texts of an object.
fn json_fields(body: &[u8]) -> Option<Vec<(String, String)>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(object.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// An id of the occasion.
fn occasion(parts: &[&str]) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("twilio/{}", parts.join("/")).as_bytes())
}

fn fits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most
}

impl Receive<TwilioStatus> for Texter {
    async fn receive(&self, _: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let said = match self.signed(&visit) {
            Ok(said) => said,
            Err(refusal) => return Ok(*refusal),
        };
        // The address was ours to choose, and it is signed.
        let tenant = Said::get(&said.query, "tenant").and_then(|tenant| tenant.parse::<Token>().ok());
        let message = Said::get(&said.query, "message").and_then(|id| id.parse::<Uuid>().ok());
        let (sid, status) = (said.field("MessageSid"), said.field("MessageStatus"));
        let (Some(tenant), Some(message_id), true) = (tenant, message, fits(sid, 100) && fits(status, 40)) else {
            return Ok(Reply::status(400).text("tenant, message, MessageSid or MessageStatus is missing\n"));
        };
        let error_code = said.field("ErrorCode").parse().ok();
        let error = error_code.map(|code: u32| code.to_string()).unwrap_or_default();
        let proof = self.secret.proof(&["status", tenant.as_str(), &message_id.to_string(), sid, status, &error]);
        let note = NoteStatus {
            message_id,
            provider: "twilio".to_owned(),
            provider_id: sid.to_owned(),
            status: status.to_owned(),
            error_code,
            proof,
        };
        let id = occasion(&["status", &message_id.to_string(), sid, status, &error]);
        Ok(Reply::status(204).then(tenant.as_str(), id, &note))
    }
}

impl Receive<TwilioInbound> for Texter {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let said = match self.signed(&visit) {
            Ok(said) => said,
            Err(refusal) => return Ok(*refusal),
        };
        let (sid, from, to) = (said.field("MessageSid"), said.field("From"), said.field("To"));
        if !(fits(sid, 100) && fits(from, 40) && fits(to, 40)) {
            return Ok(Reply::status(400).text("MessageSid, From or To is missing\n"));
        }
        let body: String = said.field("Body").chars().take(1600).collect();
        // Twilio says which word it has answered already.
        let answered = !said.field("OptOutType").is_empty();
        let mut reply = Reply::status(200).content("text/xml", NOTHING);
        let owner = self.owner(at, from, to).await?;
        let others = match words::meaning(&body) {
            Some(_) => {
                self.writers(at, from, to).await?.into_iter().filter(|tenant| Some(tenant) != owner.as_ref()).collect()
            }
            None => Vec::new(),
        };
        let all =
            owner.into_iter().map(|tenant| (tenant, false)).chain(others.into_iter().map(|tenant| (tenant, true)));
        for (tenant, word_only) in all {
            let of = if word_only { "word" } else { "inbound" };
            let proof = self.secret.proof(&[of, &tenant, sid, from, to, &body]);
            let text = ReceiveSms {
                provider: "twilio".to_owned(),
                provider_id: sid.to_owned(),
                from: from.to_owned(),
                to: to.to_owned(),
                body: body.clone(),
                answered: answered || word_only,
                word_only,
                proof,
            };
            reply = reply.then(&tenant, occasion(&["inbound", sid, &tenant]), &text);
        }
        Ok(reply)
    }
}

impl Texter {
    /// Whose a text that came in is to read: the number's owner, or whoever texted its sender from it last.
    async fn owner(&self, at: &mut At<'_>, from: &str, to: &str) -> Result<Option<String>, AskError> {
        if let Some((_, tenant)) = self.settings.sms_numbers.iter().find(|(number, _)| number == to) {
            return Ok(Some(tenant.clone()));
        }
        let tenant = sqlx::query_scalar(
            "select tenant from texter.messages
             where recipient = $1 and (sender = $2 or sender = any($3)) and provider_id is not null
             order by sent_at desc limit 1",
        )
        .bind(from)
        .bind(to)
        .bind(self.services())
        .fetch_optional(&mut *at.db)
        .await?;
        Ok(tenant)
    }

    /// Everybody who has texted its sender from the number: a STOP is for all of them, whatever else it says is not.
    async fn writers(&self, at: &mut At<'_>, from: &str, to: &str) -> Result<Vec<String>, AskError> {
        let tenants = sqlx::query_scalar(
            "select distinct tenant from texter.messages
             where recipient = $1 and (sender = $2 or sender = any($3)) and provider_id is not null",
        )
        .bind(from)
        .bind(to)
        .bind(self.services())
        .fetch_all(&mut *at.db)
        .await?;
        Ok(tenants)
    }

    /// Senders that are services: the number that was written to is one of theirs.
    fn services(&self) -> Vec<String> {
        let senders = self.providers.iter().flat_map(|provider| provider.senders());
        senders.filter(|sender| sender.starts_with("MG")).cloned().collect()
    }
}
