//! Names of the NATS headers that carry the envelope (CloudEvents 1.0, binary mode). Header names are case-sensitive
//! on NATS, and these are lower case except NATS's own.

/// Always `1.0`.
pub const SPEC_VERSION: &str = "ce-specversion";
/// The message's identity: a UUID for commands, `<command id>/<n>` for what a command causes.
pub const ID: &str = "ce-id";
/// `omnibus.<domain>.<name>.v<version>`.
pub const TYPE: &str = "ce-type";
/// Who wrote it: `omnibus/ingest`, `omnibus/mailer`.
pub const SOURCE: &str = "ce-source";
/// What it is about, if that is one thing.
pub const SUBJECT: &str = "ce-subject";
/// When it was written, RFC 3339.
pub const TIME: &str = "ce-time";
/// Extension: the tenant. Must equal the subject's last token.
pub const TENANT: &str = "ce-tenant";
/// Extension: the key, user or part that asked.
pub const ACTOR: &str = "ce-actor";
/// Extension: the id of the first message of the chain.
pub const CORRELATION: &str = "ce-correlationid";
/// Extension: the id of the message that caused this one.
pub const CAUSATION: &str = "ce-causationid";
/// Extension, on the one terminal event of a command: `succeeded`, `rejected`, `dead_lettered` or `held`.
pub const OUTCOME: &str = "ce-outcome";
/// `application/json` or `application/msgpack`.
pub const CONTENT_TYPE: &str = "Content-Type";
/// W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";
/// The server's duplicate detection; equals [`ID`].
pub const MSG_ID: &str = "Nats-Msg-Id";
