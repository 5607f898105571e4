//! Plain HTTP that a worker answers itself: what the door hands over, and what it gets back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use omnibus_schemas::body::{self, encode};
use omnibus_schemas::hook::{Hook, MOST};
use omnibus_schemas::{Command, Encoding, subject};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::handler::AskError;

/// A request at a hook's route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Visit {
    /// Upper case.
    pub method: String,
    /// The path as it was asked for, without the query string.
    pub path: String,
    /// What stood at the route's `{..}`, decoded.
    pub params: BTreeMap<String, String>,
    /// The query string as it came, without `?`.
    pub query: String,
    /// The headers that [`Hook::HEADERS`] names, in lower case. Of one that came several times, the first.
    pub headers: BTreeMap<String, String>,
    /// The host that was asked, lower case, without a port: from `Host` (or `:authority`) and from nothing else.
    pub host: String,
    /// The caller's IP address; behind a trusted proxy, the one that the proxy tells.
    pub address: String,
    /// The raw bytes.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// What a hook's answerer has.
pub struct At<'a> {
    /// A connection, without a transaction. What shall last is a command: see [`Reply::then`].
    pub db: &'a mut PgConnection,
    /// When the visit came.
    pub now: DateTime<Utc>,
}

/// Answers a hook.
pub trait Receive<H: Hook>: Send + Sync + 'static {
    /// An error becomes 404, 400 or 500 in the door's own words; anything else is for [`Reply`] to say.
    fn receive(&self, at: &mut At<'_>, visit: Visit) -> impl Future<Output = Result<Reply, AskError>> + Send;
}

/// What the door sends back, once every command that the visit caused is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    #[serde(with = "serde_bytes")]
    pub(crate) body: Vec<u8>,
    /// Bucket and name of the object that is the body.
    pub(crate) object: Option<(String, String)>,
    #[serde(skip)]
    pub(crate) commands: Vec<Caused>,
}

/// A command that a visit caused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Caused {
    pub(crate) id: Uuid,
    pub(crate) tenant: String,
    pub(crate) domain: &'static str,
    pub(crate) subject: String,
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
}

impl Caused {
    pub(crate) fn of<C: Command>(tenant: &str, id: Uuid, command: &C) -> Self {
        Caused {
            id,
            tenant: tenant.to_owned(),
            domain: C::DOMAIN,
            subject: subject::command(C::DOMAIN, C::LANE, C::NAME, tenant),
            kind: subject::ce_type(C::DOMAIN, C::NAME, C::VERSION),
            body: encode(Encoding::MessagePack, command),
        }
    }
}

impl Reply {
    /// Nothing but a status.
    pub fn status(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }

    /// A page.
    #[must_use]
    pub fn html(self, page: impl Into<String>) -> Self {
        self.content("text/html; charset=utf-8", page.into())
    }

    /// Plain text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.content("text/plain; charset=utf-8", text.into())
    }

    /// A document.
    #[must_use]
    pub fn json(self, document: &impl Serialize) -> Self {
        self.content("application/json", encode(Encoding::Json, document))
    }

    /// Bytes of any type.
    #[must_use]
    pub fn content(mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self.header("content-type", media_type)
    }

    /// 303, to be fetched with GET.
    pub fn redirect(location: impl Into<String>) -> Self {
        Reply::status(303).header("location", location)
    }

    /// One header more. One that can't be written (a line break in it) makes the answer a 500.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The body is an object of a bucket that the domain owns; the door streams it.
    #[must_use]
    pub fn object(mut self, bucket: impl Into<String>, name: impl Into<String>) -> Self {
        self.object = Some((bucket.into(), name.into()));
        self
    }

    /// To be saved under its own name (RFC 6266, RFC 8187). Nobody has looked into the file: a browser must neither guess
    /// what it is nor run it.
    #[must_use]
    pub fn download(self, filename: &str) -> Self {
        let encoded: String = filename
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        self.header("content-type", "application/octet-stream")
            .header("content-disposition", format!("attachment; filename*=UTF-8''{encoded}"))
            .header("content-security-policy", "sandbox; default-src 'none'")
            .header("x-content-type-options", "nosniff")
            .header("referrer-policy", "no-referrer")
    }

    /// A command of the own domain, stored on the bus before the reply leaves; if that fails, the caller gets 503 and
    /// comes again. With an id that is derived from what the caller sent, a repetition is the same command.
    #[must_use]
    pub fn then<C: Command>(mut self, tenant: &str, id: Uuid, command: &C) -> Self {
        self.commands.push(Caused::of(tenant, id, command));
        self
    }

    /// The status.
    pub fn code(&self) -> u16 {
        self.status
    }

    /// The headers, in order.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body, and the object that stands for it if there is one.
    pub fn into_body(self) -> (Vec<u8>, Option<(String, String)>) {
        (self.body, self.object)
    }

    /// Encoded for the bus.
    pub(crate) fn written(&self) -> Result<Vec<u8>, String> {
        let bytes = encode(Encoding::MessagePack, self);
        match bytes.len() {
            // A little more than a body may have: status and headers.
            n if n > MOST + 16 * 1024 => Err(format!("a reply of {n} bytes is more than a message carries")),
            _ => Ok(bytes),
        }
    }

    /// As a door reads it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        body::decode(Encoding::MessagePack, bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_and_a_visit_come_out_as_they_went_in() {
        let reply = Reply::status(200).html("<p>Hello</p>").header("x-frame-options", "DENY").object("assets", "a/b");
        assert_eq!(Reply::read(&reply.written().unwrap()).unwrap(), reply);
        let visit = Visit { body: vec![0, 159, 146], host: "example.com".into(), ..Visit::default() };
        let bytes = encode(Encoding::MessagePack, &visit);
        assert_eq!(body::decode::<Visit>(Encoding::MessagePack, &bytes).unwrap(), visit);
    }

    #[test]
    fn a_name_can_not_leave_its_header() {
        let reply = Reply::status(200).download("plan \"b\";\r\nü.pdf");
        let name = "attachment; filename*=UTF-8''plan%20%22b%22%3B%0D%0A%C3%BC.pdf";
        assert!(reply.headers().contains(&("content-disposition".to_owned(), name.to_owned())));
    }

    #[test]
    fn a_reply_that_no_message_carries_is_refused() {
        assert!(Reply::status(200).text("x".repeat(MOST)).written().is_ok());
        assert!(Reply::status(200).text("x".repeat(MOST + 17 * 1024)).written().is_err());
    }
}
