//! Names on the bus. The tenant stands last, so that one wildcard is one tenant.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A word that may stand between two dots of a subject: `[a-z0-9_-]{1,64}`.
///
/// Anything else is refused, never escaped: an escape is one more thing to get wrong in a permission.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

/// A tenant's id. Every message, row and key belongs to exactly one.
pub type Tenant = Token;

/// Why a word can't be a [`Token`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of a-z, 0-9, '_' and '-'")]
pub struct TokenError;

impl Token {
    /// Longest token, in bytes.
    pub const MAX: usize = 64;

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(word: &str) -> Result<Self, TokenError> {
        let fits = (1..=Self::MAX).contains(&word.len())
            && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if fits { Ok(Token(word.to_owned())) } else { Err(TokenError) }
    }
}

impl TryFrom<String> for Token {
    type Error = TokenError;

    fn try_from(word: String) -> Result<Self, TokenError> {
        word.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        token.0
    }
}

impl AsRef<str> for Token {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Token {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Token".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A name on the bus: 1 to 64 characters of a-z, 0-9, '_' and '-'.",
            "type": "string",
            "pattern": "^[a-z0-9_-]{1,64}$"
        })
    }
}

/// The lane of what nobody waits for. It gives way to its worker's other lanes.
pub const BULK: &str = "bulk";

/// `cmd.<domain>.<lane>.<command>.<tenant>`
pub fn command(domain: &str, lane: &str, name: &str, tenant: &str) -> String {
    format!("cmd.{domain}.{lane}.{name}.{tenant}")
}

/// `evt.<domain>.<event>.<tenant>`
pub fn event(domain: &str, name: &str, tenant: &str) -> String {
    format!("evt.{domain}.{name}.{tenant}")
}

/// `dlq.<domain>.<command>.<tenant>`
pub fn dead_letter(domain: &str, name: &str, tenant: &str) -> String {
    format!("dlq.{domain}.{name}.{tenant}")
}

/// `qry.<domain>.<query>`
pub fn query(domain: &str, name: &str) -> String {
    format!("qry.{domain}.{name}")
}

/// `rooms.<kind>.<id>.<tenant>`: the log of a channel that people's clients follow.
pub fn log(kind: &str, id: &str, tenant: &str) -> String {
    format!("rooms.{kind}.{id}.{tenant}")
}

/// `live.<tenant>.<kind>.<id>`: where the server repeats what it has stored in that log, and where what is never stored
/// is said, such as that somebody is typing.
pub fn live(tenant: &str, kind: &str, id: &str) -> String {
    format!("live.{tenant}.{kind}.{id}")
}

/// `omnibus.<domain>.<name>.v<version>`, the CloudEvents type.
pub fn ce_type(domain: &str, name: &str, version: u16) -> String {
    format!("omnibus.{domain}.{name}.v{version}")
}

/// Where a scheduled message waits: `sched.at.<id>`. Purging the subject cancels it.
pub fn scheduled(id: &str) -> String {
    format!("sched.at.{id}")
}

/// Where a schedule fires, inside the `SCHEDULE` stream; the command streams source it from there.
pub fn due(subject: &str) -> String {
    format!("sched.due.{subject}")
}

/// The stream that holds a domain's commands: `CMD_MAILER`.
pub fn command_stream(domain: &str) -> String {
    format!("CMD_{}", domain.to_uppercase().replace('-', "_"))
}

/// The durable consumer of a lane: `mailer_default`.
pub fn lane_consumer(domain: &str, lane: &str) -> String {
    format!("{domain}_{lane}")
}

/// The durable consumer on `EVT` of a worker that reacts to events: `mailer_reacts`.
pub fn reacts_consumer(domain: &str) -> String {
    format!("{domain}_reacts")
}

/// The durable consumer, on each stream of commands and on `EVT`, of a worker that keeps a record: `auditor_log`.
pub fn log_consumer(domain: &str) -> String {
    format!("{domain}_log")
}

/// The durable consumer on `ADVISORY` of a domain's sweeper: `mailer_sweeper`.
pub fn sweeper_consumer(domain: &str) -> String {
    format!("{domain}_sweeper")
}

/// A command subject taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSubject<'a> {
    /// Second token.
    pub domain: &'a str,
    /// Third token.
    pub lane: &'a str,
    /// Fourth token.
    pub name: &'a str,
    /// Fifth and last token.
    pub tenant: &'a str,
}

impl<'a> CommandSubject<'a> {
    /// `None` if it has not the form `cmd.<domain>.<lane>.<command>.<tenant>`.
    pub fn parse(subject: &'a str) -> Option<Self> {
        let mut tokens = subject.split('.');
        let (Some("cmd"), Some(domain), Some(lane), Some(name), Some(tenant), None) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            return None;
        };
        Some(CommandSubject { domain, lane, name, tenant })
    }
}

/// An event subject taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSubject<'a> {
    /// Second token.
    pub domain: &'a str,
    /// Third token.
    pub name: &'a str,
    /// Fourth and last token.
    pub tenant: &'a str,
}

impl<'a> EventSubject<'a> {
    /// `None` if it has not the form `evt.<domain>.<event>.<tenant>`.
    pub fn parse(subject: &'a str) -> Option<Self> {
        let mut tokens = subject.split('.');
        let (Some("evt"), Some(domain), Some(name), Some(tenant), None) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            return None;
        };
        Some(EventSubject { domain, name, tenant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_dots_wildcards_spaces_or_capitals() {
        for bad in ["", "a.b", "*", ">", "a b", "Acme", "ä", "a\r\n", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Token>(), Err(TokenError), "{bad:?}");
        }
        for good in ["acme", "a-b_c9", &"x".repeat(64)] {
            assert!(good.parse::<Token>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_command_subject_has_exactly_five_tokens() {
        let subject = command("mailer", "default", "send_email", "acme");
        let parsed = CommandSubject::parse(&subject).unwrap();
        assert_eq!(
            (parsed.domain, parsed.lane, parsed.name, parsed.tenant),
            ("mailer", "default", "send_email", "acme")
        );
        assert_eq!(CommandSubject::parse("cmd.mailer.default.send_email"), None);
        assert_eq!(CommandSubject::parse("cmd.mailer.default.send_email.acme.x"), None);
        assert_eq!(CommandSubject::parse("evt.mailer.default.send_email.acme"), None);
    }

    #[test]
    fn an_event_subject_has_exactly_four_tokens() {
        let subject = event("mailer", "email_sent", "acme");
        assert_eq!(
            EventSubject::parse(&subject),
            Some(EventSubject { domain: "mailer", name: "email_sent", tenant: "acme" })
        );
        assert_eq!(EventSubject::parse("evt.mailer.email_sent"), None);
        assert_eq!(EventSubject::parse("evt.mailer.email_sent.acme.x"), None);
    }
}
