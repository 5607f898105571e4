//! Twilio's Messages API, 2010-04-01. It has no idempotency key: what is not known to have arrived is looked up.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use omnibus_runtime::{CallError, Found, clock};
use omnibus_schemas::texter::SmsState;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Fut, Provider, Receipt, Text, Word, client, never_left, quiet};
use crate::errors::{self, Verdict};
use crate::settings::Settings;

/// Twilio's clock and ours may differ so far.
const SKEW: Duration = Duration::seconds(90);
/// A recipient's texts of one day, in pages of this size; no more pages than that.
const PAGE: u32 = 100;
const PAGES: usize = 10;

/// One account.
#[derive(Debug)]
pub struct Twilio {
    http: reqwest::Client,
    messages: String,
    root: String,
    account: String,
    token: SecretString,
    senders: Vec<String>,
    prices: BTreeMap<String, i64>,
}

/// A message as Twilio shows it, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Message {
    sid: String,
    status: String,
    body: Option<String>,
    from: Option<String>,
    messaging_service_sid: Option<String>,
    direction: Option<String>,
    date_created: Option<String>,
    error_code: Option<u32>,
    price: Option<String>,
    price_unit: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    messages: Vec<Message>,
    next_page_uri: Option<String>,
}

/// What Twilio says when it refuses.
#[derive(Debug, Default, Deserialize)]
struct Refusal {
    code: Option<u32>,
}

/// Twilio's words for how far a message is. `None` for one that is not known here, or of a message that came in.
pub fn state_of(word: &str) -> Option<SmsState> {
    Some(match word {
        "accepted" | "queued" => SmsState::Accepted,
        "scheduled" => SmsState::Scheduled,
        "sending" => SmsState::Sending,
        "sent" => SmsState::Sent,
        "delivered" | "partially_delivered" => SmsState::Delivered,
        "undelivered" => SmsState::Undelivered,
        "failed" => SmsState::Failed,
        "canceled" => SmsState::Canceled,
        "read" => SmsState::Read,
        _ => return None,
    })
}

/// `-0.00750` is 7500 millionths: what is billed is shown as negative.
fn micro(price: &str) -> Option<i64> {
    let digits = price.trim().trim_start_matches(['-', '+']);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i64 = whole.parse().ok()?;
    if !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Beyond the sixth place, half a millionth and more counts as one.
    let padded = format!("{part:0<7}");
    let millionths: i64 = padded[..6].parse().ok()?;
    let up = i64::from(padded.as_bytes()[6] >= b'5');
    whole.checked_mul(1_000_000)?.checked_add(millionths + up)
}

impl Twilio {
    pub(super) fn new(account: &str, settings: &Settings) -> anyhow::Result<Self> {
        let hex = account.strip_prefix("AC").unwrap_or_default();
        ensure!(
            hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()),
            "TWILIO_ACCOUNT_SID must be AC and 32 hexadecimal digits"
        );
        let token = settings.twilio_auth_token.clone().context("TWILIO_AUTH_TOKEN must be set with the account")?;
        let senders = [&settings.twilio_messaging_service_sid, &settings.twilio_phone_number];
        let senders: Vec<String> = senders.into_iter().flatten().cloned().collect();
        ensure!(!senders.is_empty(), "TWILIO_PHONE_NUMBER or TWILIO_MESSAGING_SERVICE_SID must be set: who sends?");
        let root = settings.twilio_api_url.trim_end_matches('/').to_owned();
        Ok(Twilio {
            http: client(settings)?,
            messages: format!("{root}/2010-04-01/Accounts/{account}/Messages"),
            root,
            account: account.to_owned(),
            token,
            senders,
            prices: Settings::prices(&settings.sms_prices),
        })
    }

    async fn post(&self, text: Text<'_>) -> Result<Receipt, CallError> {
        let sender = if text.from.starts_with("MG") { "MessagingServiceSid" } else { "From" };
        let mut form = vec![("To", text.to), (sender, text.from), ("Body", text.body)];
        form.extend(text.callback.map(|url| ("StatusCallback", url)));
        let send_at = text.send_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        if let Some(send_at) = &send_at {
            form.extend([("ScheduleType", "fixed"), ("SendAt", send_at.as_str())]);
        }
        let request = self
            .http
            .post(format!("{}.json", self.messages))
            .basic_auth(&self.account, Some(self.token.expose_secret()))
            .form(&form);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if never_left(&error) => return Err(CallError::NotDone(quiet(error))),
            Err(error) => return Err(CallError::Unknown(quiet(error))),
        };
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| CallError::Unknown(quiet(error)))?;
        if status == StatusCode::CREATED {
            return read::<Message>(&body).map(|message| receipt(&message)).map_err(CallError::Unknown);
        }
        let said: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        Err(refused(status, said.code))
    }

    /// What is taken back already is taken back again; so this may be repeated.
    async fn take_back(&self, sid: &str) -> Result<(), CallError> {
        let request = self
            .http
            .post(format!("{}/{sid}.json", self.messages))
            .basic_auth(&self.account, Some(self.token.expose_secret()))
            .form(&[("Status", "canceled")]);
        let answer = request.send().await.map_err(|error| CallError::Unknown(quiet(error)))?;
        let status = answer.status();
        if status == StatusCode::OK {
            let body = answer.bytes().await.map_err(|error| CallError::Unknown(quiet(error)))?;
            let message: Message = read(&body).map_err(CallError::Unknown)?;
            return match state_of(&message.status) {
                Some(SmsState::Canceled) => Ok(()),
                _ => Err(CallError::Refused { code: "too_late", detail: "twilio has sent the text".to_owned() }),
            };
        }
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED => {
                Err(CallError::NotDone(anyhow::anyhow!("Twilio answers {status}")))
            }
            _ if status.is_client_error() => Err(CallError::Refused {
                code: "too_late",
                detail: format!("twilio answers {status}: it can't be taken back"),
            }),
            _ => Err(CallError::Unknown(anyhow::anyhow!("Twilio answers {status}"))),
        }
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
        let request = self.http.get(url).query(query).basic_auth(&self.account, Some(self.token.expose_secret()));
        let answer = request.send().await.map_err(quiet)?;
        let status = answer.status();
        ensure!(status == StatusCode::OK, "Twilio answers {status} when it is asked");
        read(&answer.bytes().await.map_err(quiet)?)
    }

    /// The one message that is this text, among those that Twilio lists for the recipient.
    async fn look_for(&self, text: Text<'_>) -> anyhow::Result<Found<Receipt>> {
        let day = (text.since - SKEW).format("%Y-%m-%d").to_string();
        let size = PAGE.to_string();
        // One that has not been sent yet has no DateSent, and is listed without that filter only.
        let dated = [("To", text.to), ("DateSent>", day.as_str()), ("PageSize", size.as_str())];
        let undated = [("To", text.to), ("PageSize", size.as_str())];
        for query in [&dated[..], &undated[..]] {
            let mut hits = Vec::new();
            let mut page: Page = self.get(&format!("{}.json", self.messages), query).await?;
            for n in 0.. {
                // Newest first: once one is older than this text, all that follow are.
                let past =
                    page.messages.iter().any(|message| created(message).is_some_and(|at| at < text.since - SKEW));
                hits.extend(page.messages.drain(..).filter(|message| is_this(message, text)));
                let next = page.next_page_uri.take().filter(|next| !next.is_empty() && !past);
                let Some(next) = next else { break };
                if n == PAGES {
                    return Ok(Found::CannotTell);
                }
                // Only a path of the same host is followed: the credentials go with it.
                ensure!(next.starts_with('/'), "Twilio's next page is elsewhere");
                page = self.get(&format!("{}{next}", self.root), &[]).await?;
            }
            hits.dedup_by(|a, b| a.sid == b.sid);
            match hits.as_slice() {
                [] => {}
                [one] => return Ok(Found::Done(receipt(one))),
                _ => return Ok(Found::CannotTell),
            }
        }
        Ok(Found::NotDone)
    }
}

/// An answer. What is wrong with it is said without a value of its: one may be a number or a text.
fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        anyhow::anyhow!("Twilio's answer can't be read at line {}, column {}", error.line(), error.column())
    })
}

/// What a trial account puts before each body.
const TRIAL: &str = "Sent from your Twilio trial account - ";

fn created(message: &Message) -> Option<DateTime<Utc>> {
    let date = message.date_created.as_deref()?;
    DateTime::parse_from_rfc2822(date).ok().map(|at| at.to_utc())
}

fn is_this(message: &Message, text: Text<'_>) -> bool {
    let sender =
        message.from.as_deref() == Some(text.from) || message.messaging_service_sid.as_deref() == Some(text.from);
    let same = |body: &str| body.strip_prefix(TRIAL).unwrap_or(body).trim_end() == text.body.trim_end();
    message.body.as_deref().is_some_and(same)
        && message.direction.as_deref().is_some_and(|direction| direction.starts_with("outbound"))
        && sender
        && created(message).is_none_or(|created| created >= text.since - SKEW)
        && !text.others.contains(&message.sid)
}

fn receipt(message: &Message) -> Receipt {
    Receipt {
        provider_id: message.sid.clone(),
        status: state_of(&message.status).unwrap_or(SmsState::Accepted),
        at: clock::now(),
        // Its currency is looked at when it is asked for.
        price_micro: None,
    }
}

/// What a refusal means. An error of the server's own leaves it open whether the message was taken.
fn refused(status: StatusCode, code: Option<u32>) -> CallError {
    // Twilio has several codes for each of these two, and they mean the same here.
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS => Some(20429),
        StatusCode::UNAUTHORIZED => Some(20003),
        _ => code,
    };
    // Only a 201 says that it was taken; another success leaves it open as well, and so does whoever waited in between.
    if status.is_server_error() || status.is_success() || status == StatusCode::REQUEST_TIMEOUT {
        return CallError::Unknown(anyhow::anyhow!("Twilio answers {status}"));
    }
    let Some(code) = code else {
        let detail = format!("twilio answers {status}");
        return match status.is_client_error() {
            true => CallError::Refused { code: "provider_refused", detail },
            false => CallError::NotDone(anyhow::anyhow!(detail)),
        };
    };
    let detail = format!("twilio {code}: {}", errors::meaning(code));
    match errors::verdict(code) {
        Verdict::Again => CallError::NotDone(anyhow::anyhow!(detail)),
        Verdict::Final | Verdict::OptedOut | Verdict::Stop { .. } => {
            CallError::Refused { code: errors::refusal(code), detail }
        }
    }
}

impl Provider for Twilio {
    fn name(&self) -> &str {
        "twilio"
    }

    fn senders(&self) -> &[String] {
        &self.senders
    }

    fn price(&self, country: &str) -> Option<i64> {
        self.prices.get(country).or_else(|| self.prices.get("*")).copied()
    }

    /// A messaging service does; a number alone does not.
    fn schedules(&self, sender: &str) -> bool {
        sender.starts_with("MG")
    }

    fn cancel<'a>(&'a self, provider_id: &'a str) -> Fut<'a, Result<(), CallError>> {
        Box::pin(self.take_back(provider_id))
    }

    fn send<'a>(&'a self, text: Text<'a>) -> Fut<'a, Result<Receipt, CallError>> {
        Box::pin(self.post(text))
    }

    fn find<'a>(&'a self, text: Text<'a>) -> Fut<'a, anyhow::Result<Found<Receipt>>> {
        Box::pin(self.look_for(text))
    }

    fn ask<'a>(&'a self, provider_id: &'a str) -> Fut<'a, anyhow::Result<Option<Word>>> {
        Box::pin(async move {
            let message: Message = self.get(&format!("{}/{provider_id}.json", self.messages), &[]).await?;
            let status = state_of(&message.status).context("Twilio names a status that is not known")?;
            let price = message.price.as_deref().and_then(micro);
            let unit = message.price_unit.unwrap_or_default().to_ascii_uppercase();
            Ok(Some(Word { status, error_code: message.error_code, price: price.map(|price| (price, unit)) }))
        })
    }

    fn can_be_asked(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_without_floating() {
        assert_eq!(micro("-0.00750"), Some(7500));
        assert_eq!(micro("-0.0079"), Some(7900));
        assert_eq!(micro("0.00000049"), Some(0));
        assert_eq!(micro("0.0000005"), Some(1));
        assert_eq!(micro("1"), Some(1_000_000));
        assert_eq!(micro("-12.5"), Some(12_500_000));
        for wrong in ["", "abc", "0.1x", "9999999999999999999", "1e3"] {
            assert_eq!(micro(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_decides_whether_it_is_tried_again_looked_up_or_final() {
        let of = |status: u16, code| refused(StatusCode::from_u16(status).unwrap(), code);
        assert!(matches!(of(429, None), CallError::NotDone(_)));
        assert!(matches!(of(429, Some(20429)), CallError::NotDone(_)));
        assert!(matches!(of(429, Some(21611)), CallError::NotDone(_)));
        assert!(matches!(of(401, Some(20008)), CallError::Refused { code: "provider_credentials", .. }));
        assert!(matches!(of(500, None), CallError::Unknown(_)));
        assert!(matches!(of(503, Some(20500)), CallError::Unknown(_)));
        assert!(matches!(of(408, None), CallError::Unknown(_)));
        assert!(matches!(of(302, None), CallError::NotDone(_)));
        assert!(matches!(of(200, None), CallError::Unknown(_)));
        assert!(matches!(of(202, None), CallError::Unknown(_)));
        assert!(matches!(of(400, Some(21610)), CallError::Refused { code: "opted_out", .. }));
        assert!(matches!(of(400, Some(21211)), CallError::Refused { code: "invalid_number", .. }));
        assert!(matches!(of(401, None), CallError::Refused { code: "provider_credentials", .. }));
        assert!(matches!(of(400, Some(21602)), CallError::Refused { code: "provider_refused", .. }));
    }
}
