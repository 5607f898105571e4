//! Makes of a command the very bytes that leave. The same command makes the same bytes on every attempt: the date and
//! the boundary are derived from it, nothing is drawn by lot.

use std::time::{Duration, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use lettre::address::Envelope;
use lettre::message::dkim::DkimConfig;
use lettre::message::header::{self, ContentTransferEncoding, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Mailboxes, MessageBuilder, MultiPart, SinglePart};
use lettre::{Address, Message};
use omnibus_schemas::mailer::{RecipientKind, SendEmail};
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
    #[error(
        "the domain of /from is not one from which this tenant may send; add it with PUT /api/v1/email/domains/{{domain}} \
         and have it confirmed"
    )]
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

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// The address.
    pub address: Address,
    /// The name beside it.
    pub name: Option<String>,
}

/// A file, with what is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its name for the recipient.
    pub filename: String,
    /// `type/subtype`
    pub content_type: String,
    /// For one that the HTML shows.
    pub content_id: Option<String>,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("content_type", &self.content_type).field("bytes", &self.bytes.len()).finish()
    }
}

/// All that a mail is made of.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// What is said.
    pub email: &'a SendEmail,
    /// Who says it.
    pub from: &'a From,
    /// What goes with it.
    pub files: &'a [File],
    /// The link by which its one recipient unsubscribes.
    pub unsubscribe: Option<&'a str>,
    /// What every attempt repeats.
    pub stamp: Stamp<'a>,
}

/// The envelope's recipients: to, cc and bcc, each box once, in the writing that came first.
pub fn addressees(email: &SendEmail) -> Result<Vec<(RecipientKind, Address)>, Unfit> {
    let mut all: Vec<(RecipientKind, Address)> = Vec::new();
    for (kind, field, texts) in [
        (RecipientKind::To, "/to", &email.to),
        (RecipientKind::Cc, "/cc", &email.cc),
        (RecipientKind::Bcc, "/bcc", &email.bcc),
    ] {
        for one in addresses(field, texts)? {
            if !all.iter().any(|(_, known)| same_box(known, &one)) {
                all.push((kind, one));
            }
        }
    }
    Ok(all)
}

/// Makes the mail.
pub fn compose(letter: &Letter<'_>, dkim: Option<&DkimConfig>) -> Result<Composed, Unfit> {
    let email = letter.email;
    let recipients: Vec<Address> = addressees(email)?.into_iter().map(|(_, address)| address).collect();
    let envelope = Envelope::new(Some(letter.from.address.clone()), recipients.clone()).map_err(malformed)?;
    let seconds = u64::try_from(letter.stamp.date.timestamp()).unwrap_or(0);
    let from = Mailbox::new(letter.from.name.clone(), letter.from.address.clone());

    let mut builder = Message::builder()
        .envelope(envelope)
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .message_id(Some(letter.stamp.message_id.to_owned()))
        .header(header::From::from(Mailboxes::from(from)))
        .header(header::To::from(mailboxes(addresses("/to", &email.to)?)));
    let cc = addresses("/cc", &email.cc)?;
    if !cc.is_empty() {
        builder = builder.header(header::Cc::from(mailboxes(cc)));
    }
    if let Some(reply_to) = &email.reply_to {
        builder = builder.reply_to(address("/reply_to", reply_to)?.into());
    }
    builder = builder.subject(one_line("/subject", &email.subject)?);
    if let Some(link) = letter.unsubscribe {
        for (name, value) in one_click(link) {
            builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
        }
    }
    for (name, value) in &email.headers {
        builder = builder.raw_header(free_header(name, value)?);
    }
    let mut message = with_body(builder, letter)?;
    if let Some(dkim) = dkim {
        message.sign(dkim);
    }
    let text = String::from_utf8(message.formatted()).map_err(malformed)?;
    check(&text)?;
    let recipients = recipients.iter().map(Address::to_string).collect();
    Ok(Composed { sender: letter.from.address.to_string(), recipients, text })
}

/// Is it certain, its addresses being ones, that a mail can be made of this? Most mails have one recipient and short
/// headers in plain letters, and whatever stands in a text can be encoded: those need not be made twice to know that.
pub fn surely_fit(letter: &Letter<'_>) -> bool {
    let Letter { email, from, files, unsubscribe, stamp } = letter;
    let plain = |text: &str| text.len() <= 300 && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let to_one = email.to.len() == 1 && email.cc.is_empty() && email.bcc.is_empty();
    let more = email.reply_to.is_some() || !email.headers.is_empty() || !files.is_empty();
    let address: &str = from.address.as_ref();
    let headers = [email.subject.as_str(), address, stamp.message_id];
    let optional = [from.name.as_deref(), *unsubscribe];
    to_one && !more && headers.into_iter().chain(optional.into_iter().flatten()).all(plain)
}

/// The two headers of one-click unsubscription: one HTTPS link, and the body that a mail client POSTs to it. RFC 8058 §3.
pub fn one_click(link: &str) -> [(&'static str, String); 2] {
    [("List-Unsubscribe", format!("<{link}>")), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned())]
}

/// The sender: the one that is named, if its domain is the installation's or among the tenant's own.
pub fn sender(email: &SendEmail, senders: &Senders, own: &[String]) -> Result<From, Unfit> {
    let (address, default_name) = match email.from.as_deref() {
        None => (senders.address.clone(), senders.name.clone()),
        Some(text) => {
            let address = address("/from", text)?;
            let domain = address.domain().to_ascii_lowercase();
            if !senders.everybodys(&address) && !own.contains(&domain) {
                return Err(Unfit::Sender);
            }
            (address, None)
        }
    };
    let name = match &email.from_name {
        Some(name) => Some(one_line("/from_name", name)?),
        None => default_name,
    };
    Ok(From { address, name })
}

/// mixed( related( alternative(text, HTML), images ), files ), as far as there are any.
fn with_body(builder: MessageBuilder, letter: &Letter<'_>) -> Result<Message, Unfit> {
    let email = letter.email;
    let plain = || Ok(SinglePart::builder().header(header::ContentType::TEXT_PLAIN).body(text_body(&email.body)?));
    if email.html.is_none() && letter.files.is_empty() {
        return builder.singlepart(plain()?).map_err(malformed);
    }
    let texts = [email.body.as_str(), email.html.as_deref().unwrap_or_default()];
    let bounds = |level: &str| boundary(Uuid::new_v5(&letter.stamp.seed, level.as_bytes()), &texts);
    // Without HTML there is nothing that could show an image inside: it is a file like others.
    let (shown, filed): (Vec<_>, Vec<_>) =
        letter.files.iter().partition(|file| file.content_id.is_some() && email.html.is_some());
    let mut whole = MultiPart::alternative().boundary(boundary(letter.stamp.seed, &texts)).singlepart(plain()?);
    if let Some(html) = &email.html {
        whole = whole.singlepart(SinglePart::builder().header(header::ContentType::TEXT_HTML).body(text_body(html)?));
    }
    if !shown.is_empty() {
        whole = MultiPart::related().boundary(bounds("related")).multipart(whole);
        for file in shown {
            whole = whole.singlepart(part(file)?);
        }
    }
    if !filed.is_empty() {
        let mixed = MultiPart::mixed().boundary(bounds("mixed"));
        whole = match &email.html {
            Some(_) => mixed.multipart(whole),
            None => mixed.singlepart(plain()?),
        };
        for file in filed {
            whole = whole.singlepart(part(file)?);
        }
    }
    builder.multipart(whole).map_err(malformed)
}

fn part(file: &File) -> Result<SinglePart, Unfit> {
    let unfit = || Unfit::Malformed("a file's type is none".into());
    let kind = header::ContentType::parse(&file.content_type).map_err(|_| unfit())?;
    let body = Body::new_with_encoding(file.bytes.clone(), ContentTransferEncoding::Base64).map_err(|_| unfit())?;
    let builder = SinglePart::builder().header(kind);
    let builder = match &file.content_id {
        Some(id) => builder
            .header(header::ContentId::from(format!("<{id}>")))
            .header(header::ContentDisposition::inline_with_name(&file.filename)),
        None => builder.header(header::ContentDisposition::attachment(&file.filename)),
    };
    Ok(builder.body(body))
}

/// A bare CR or LF is where mail servers disagree on what a line is, and so where a second mail could be smuggled in:
/// all of them become CRLF. What mail can't carry raw is encoded.
///
/// Of a body of blanks DKIM leaves nothing to be signed (RFC 6376 §3.4.4), where lettre signs an empty line, and no such
/// signature is true. One blank, encoded, shows as little and is signed as what it is.
fn text_body(text: &str) -> Result<Body, Unfit> {
    if text.chars().all(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) {
        return Ok(Body::dangerous_pre_encoded(b"=20".to_vec(), ContentTransferEncoding::QuotedPrintable));
    }
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
