//! Makes of a command the very bytes that leave. The same command makes the same bytes on every attempt: the date and
//! the boundary are derived from it, nothing is drawn by lot.

use std::time::{Duration, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use lettre::address::Envelope;
use lettre::message::header::{self, ContentTransferEncoding, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Mailboxes, MessageBuilder, MultiPart, SinglePart};
use lettre::{Address, Message};
use omnibus_schemas::mailer::SendEmail;
use uuid::Uuid;

use crate::settings::Senders;

/// Longest line, without its CRLF. RFC 5322 §2.1.1.
const LONGEST_LINE: usize = 998;

/// A mail, ready to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The envelope's sender: where bounces go.
    pub sender: String,
    /// The envelope's recipients: to, cc and bcc, each once.
    pub recipients: Vec<String>,
    /// Headers and body: ASCII, CRLF at every line's end, no line longer than 998.
    pub text: String,
}

/// What the same command repeats on every attempt.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// `<...@...>`
    pub message_id: &'a str,
    /// When the command was given.
    pub date: DateTime<Utc>,
    /// From which boundaries are derived.
    pub seed: Uuid,
}

/// Why no mail can be made of a command. Never repeats an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// An address.
    #[error(
        "{0} is not an address that can be sent to; a domain beyond ASCII is written in its xn-- form, \
         and the part before the @ must be ASCII"
    )]
    Address(String),
    /// A sender from a foreign domain.
    #[error("the domain of /from is not one from which this mailer may send; allow it with FROM_DOMAINS")]
    Sender,
    /// A line break, or another control character, in a header.
    #[error("{0} must be one line without control characters")]
    ControlCharacter(String),
    /// A header's name.
    #[error("{0} is not a header that can be set")]
    HeaderName(String),
    /// It would not be a correct mail.
    #[error("the mail would not be a correct one: {0}")]
    Malformed(String),
}

impl Unfit {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Unfit::Sender => "sender_not_allowed",
            _ => "invalid",
        }
    }
}

/// Makes the mail.
pub fn compose(email: &SendEmail, senders: &Senders, stamp: Stamp<'_>) -> Result<Composed, Unfit> {
    let from = sender(email, senders)?;
    let to = addresses("/to", &email.to)?;
    let cc = addresses("/cc", &email.cc)?;
    let bcc = addresses("/bcc", &email.bcc)?;
    let reply_to = email.reply_to.as_deref().map(|text| address("/reply_to", text)).transpose()?;

    let mut recipients: Vec<Address> = Vec::new();
    for one in to.iter().chain(&cc).chain(&bcc) {
        if !recipients.iter().any(|known| same_box(known, one)) {
            recipients.push(one.clone());
        }
    }
    let envelope = Envelope::new(Some(from.email.clone()), recipients.clone()).map_err(malformed)?;
    let seconds = u64::try_from(stamp.date.timestamp()).unwrap_or(0);

    let mut builder = Message::builder()
        .envelope(envelope)
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .message_id(Some(stamp.message_id.to_owned()))
        .header(header::From::from(Mailboxes::from(from.clone())))
        .header(header::To::from(mailboxes(to)));
    if !cc.is_empty() {
        builder = builder.header(header::Cc::from(mailboxes(cc)));
    }
    if let Some(reply_to) = reply_to {
        builder = builder.reply_to(reply_to.into());
    }
    builder = builder.subject(one_line("/subject", &email.subject)?);
    for (name, value) in &email.headers {
        builder = builder.raw_header(free_header(name, value)?);
    }
    let message = with_body(builder, email, stamp.seed)?;
    let text = String::from_utf8(message.formatted()).map_err(malformed)?;
    check(&text)?;
    let recipients = recipients.iter().map(Address::to_string).collect();
    Ok(Composed { sender: from.email.to_string(), recipients, text })
}

fn sender(email: &SendEmail, senders: &Senders) -> Result<Mailbox, Unfit> {
    let (address, default_name) = match email.from.as_deref() {
        None => (senders.address.clone(), senders.name.clone()),
        Some(text) => {
            let address = address("/from", text)?;
            if !senders.domains.contains(&address.domain().to_ascii_lowercase()) {
                return Err(Unfit::Sender);
            }
            (address, None)
        }
    };
    let name = match &email.from_name {
        Some(name) => Some(one_line("/from_name", name)?),
        None => default_name,
    };
    Ok(Mailbox::new(name, address))
}

fn with_body(builder: MessageBuilder, email: &SendEmail, seed: Uuid) -> Result<Message, Unfit> {
    let plain = SinglePart::builder().header(header::ContentType::TEXT_PLAIN).body(text_body(&email.body)?);
    let message = match &email.html {
        None => builder.singlepart(plain),
        Some(html) => {
            let boundary = boundary(seed, &[&email.body, html]);
            let html = SinglePart::builder().header(header::ContentType::TEXT_HTML).body(text_body(html)?);
            builder.multipart(MultiPart::alternative().boundary(boundary).singlepart(plain).singlepart(html))
        }
    };
    message.map_err(malformed)
}

/// A bare CR or LF is where mail servers disagree on what a line is, and so where a second mail could be smuggled in:
/// all of them become CRLF. What mail can't carry raw is encoded.
fn text_body(text: &str) -> Result<Body, Unfit> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let raw = !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    match raw {
        true => Ok(Body::new(text)),
        false => Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable)
            .map_err(|_| Unfit::Malformed("the text can't be encoded".into())),
    }
}

/// A boundary that stands in none of the texts.
fn boundary(seed: Uuid, texts: &[&str]) -> String {
    (0u32..)
        .map(|n| format!("=_{}", Uuid::new_v5(&seed, &n.to_be_bytes()).simple()))
        .find(|boundary| !texts.iter().any(|text| text.contains(boundary)))
        .expect("a finite text can't hold them all")
}

fn mailboxes(addresses: Vec<Address>) -> Mailboxes {
    addresses.into_iter().map(Mailbox::from).collect()
}

fn addresses(field: &str, texts: &[String]) -> Result<Vec<Address>, Unfit> {
    texts.iter().enumerate().map(|(n, text)| address(&format!("{field}/{n}"), text)).collect()
}

fn address(field: &str, text: &str) -> Result<Address, Unfit> {
    let unfit = || Unfit::Address(field.to_owned());
    if !text.is_ascii() || text.bytes().any(|b| b.is_ascii_control()) {
        return Err(unfit());
    }
    text.parse().map_err(|_| unfit())
}

/// The part before the @ may tell capitals apart, the domain doesn't.
fn same_box(one: &Address, other: &Address) -> bool {
    one.user() == other.user() && one.domain().eq_ignore_ascii_case(other.domain())
}

fn one_line(field: &str, text: &str) -> Result<String, Unfit> {
    match text.chars().any(char::is_control) {
        true => Err(Unfit::ControlCharacter(field.to_owned())),
        false => Ok(text.to_owned()),
    }
}

fn free_header(name: &str, value: &str) -> Result<HeaderValue, Unfit> {
    let pointer = || "/headers".to_owned();
    let token = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let header = HeaderName::new_from_ascii(name.to_owned()).ok().filter(|_| token);
    let header = header.ok_or_else(|| Unfit::HeaderName(pointer()))?;
    Ok(HeaderValue::new(header, one_line(&pointer(), value)?))
}

fn malformed(error: impl std::fmt::Display) -> Unfit {
    Unfit::Malformed(error.to_string())
}

/// The last look at what leaves, whatever made it: nothing in it can be taken for the end of the mail, or for another
/// line than it is.
fn check(text: &str) -> Result<(), Unfit> {
    let unfit = |what: &str| Err(Unfit::Malformed(what.into()));
    if !text.is_ascii() || text.contains('\0') {
        return unfit("a character beyond ASCII, or a NUL, stands in it unencoded");
    }
    if !text.ends_with("\r\n") {
        return unfit("its last line has no end");
    }
    for line in text.split("\r\n") {
        if line.contains(['\r', '\n']) {
            return unfit("a CR or LF stands by itself");
        }
        if line.len() > LONGEST_LINE {
            return unfit("a line is longer than 998 characters");
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
