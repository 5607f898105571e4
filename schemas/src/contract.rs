//! The three kinds of contract: a command asks, an event tells, a query reads. What is not ours to shape is a
//! [`crate::Hook`].
//!
//! The constants are everything that is ever said about one. Subjects, routes, scopes, permissions, schemas,
//! documentation and command-line verbs are generated from them.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::upload::Upload;

/// HTTP methods that a route may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Commands.
    Post,
    /// Commands that replace.
    Put,
    /// Commands that remove.
    Delete,
}

impl Method {
    /// Upper case, as on the request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// A route of the HTTP door. `{name}` in the path is the field of that name in the contract's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http {
    /// The method.
    pub method: Method,
    /// An absolute path such as `/api/v1/email/{email_id}/status`.
    pub path: &'static str,
}

impl Http {
    /// `GET path`
    pub const fn get(path: &'static str) -> Self {
        Http { method: Method::Get, path }
    }

    /// `POST path`
    pub const fn post(path: &'static str) -> Self {
        Http { method: Method::Post, path }
    }

    /// `PUT path`
    pub const fn put(path: &'static str) -> Self {
        Http { method: Method::Put, path }
    }

    /// `DELETE path`
    pub const fn delete(path: &'static str) -> Self {
        Http { method: Method::Delete, path }
    }

    /// The names between braces, in order.
    pub fn params(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// A field that goes on the bus in a form that only the domain's worker can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The field's name.
    pub field: &'static str,
    /// The domain's query that takes the command's fields and answers with this one sealed: the same each time.
    pub query: &'static str,
}

/// Something to be done, once.
pub trait Command: Serialize + DeserializeOwned + JsonSchema + Validate<Context = ()> + Send + Sync + 'static {
    /// The domain, which is also the worker's name on the bus.
    const DOMAIN: &'static str;
    /// Snake case, an imperative: `send_email`.
    const NAME: &'static str;
    /// Raised when an old reader could misunderstand a new payload. Adding an optional field does not raise it.
    const VERSION: u16 = 1;
    /// The queue inside the domain. Lanes are consumed independently, so a slow one delays no other.
    const LANE: &'static str = "default";
    /// The route, if the door has one.
    const HTTP: Option<Http> = None;
    /// What a caller must be allowed: `email:send`.
    const SCOPE: &'static str;
    /// Where the outcome is read, with `{id}` for the command's id. By default the command's own page.
    const STATUS: Option<&'static str> = None;
    /// If the route takes a file: which. The type then has a field `object` of type [`crate::Object`].
    const UPLOAD: Option<Upload> = None;
    /// A field that nobody is to read on the bus. The door has the domain's worker seal it before it publishes.
    const SEALED: Option<Sealed> = None;
    /// Names this command had before; messages that still carry them are understood.
    const ALIASES: &'static [&'static str] = &[];

    /// A payload that works as it stands: shown in the documentation and tried by the tests.
    fn example() -> Self;

    /// Turns a payload of version `from` into one of `from + 1`. Called once per version between.
    fn upgrade(from: u16, _old: Value) -> Result<Value, String> {
        Err(format!("version {from} of {} is not understood; known: {}", Self::NAME, Self::VERSION))
    }
}

/// Something that happened. Past tense: `email_sent`.
pub trait Event: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The domain that says it.
    const DOMAIN: &'static str;
    /// Snake case, past tense.
    const NAME: &'static str;
    /// As for commands.
    const VERSION: u16 = 1;

    /// A payload as it would be seen.
    fn example() -> Self;
}

/// Something to be read, answered by the domain's worker.
pub trait Query: Serialize + DeserializeOwned + JsonSchema + Validate<Context = ()> + Send + Sync + 'static {
    /// What comes back.
    type Answer: Serialize + DeserializeOwned + JsonSchema + Send;
    /// The domain that answers.
    const DOMAIN: &'static str;
    /// Snake case, a noun: `email_status`.
    const NAME: &'static str;
    /// The route, if the door has one. With [`Method::Get`] the fields stand in the query string, with
    /// [`Method::Post`] in the body.
    const HTTP: Option<Http> = None;
    /// What a caller must be allowed.
    const SCOPE: &'static str;
    /// Is the answer a page of CSV, `{csv, next}`? The door then sends the text alone, and the way to the next page in
    /// `Link` (RFC 8288).
    const SHEET: bool = false;

    /// A request that works as it stands.
    fn example() -> Self;
}
