//! What every domain has without declaring it: generic outcomes, a page per command, and the list of held commands
//! with the command that resolves one.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::body::Fault;
use crate::catalogue::Domain;
use crate::contract::{Command, Event, Http, Query};

/// Where a command's outcome is read unless its contract names a better place.
pub const COMMAND_PAGE: &str = "/api/v1/{domain}/commands/{id}";

/// The domain these types name; [`Domain::new`] puts the real one in its place.
const ANY: &str = "{domain}";

pub(crate) fn declare(domain: Domain) -> Domain {
    domain
        .shared_command::<ResolveHeld>()
        .shared_event::<CommandDone>()
        .shared_event::<CommandRejected>()
        .shared_event::<CommandDeadLettered>()
        .shared_event::<CommandHeld>()
        .shared_event::<CommandResolved>()
        .shared_query::<CommandPage>()
        .shared_query::<HeldCommands>()
        .shared_query::<Accounts>()
}

fn an_id() -> Uuid {
    Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0001)
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its effect is committed.
    Succeeded,
    /// A business no, final.
    Rejected,
    /// It could not be done; it lies in the dead letters and can be retried from there.
    DeadLettered,
    /// Whether its call went out is not known; a person decides. Not terminal: resolving it is.
    Held,
}

impl Outcome {
    /// As it is written in headers, rows and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Rejected => "rejected",
            Outcome::DeadLettered => "dead_lettered",
            Outcome::Held => "held",
        }
    }

    /// The reverse of [`Outcome::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Outcome::Succeeded, Outcome::Rejected, Outcome::DeadLettered, Outcome::Held]
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
    }
}

/// What a person found out about a call of which the platform could not know whether it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It happened: the command has succeeded.
    Happened,
    /// It did not happen, or may happen again: perform it once more.
    Perform,
    /// Leave it: the command is rejected with the code `dropped`.
    Drop,
}

/// Decides a held command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ResolveHeld {
    /// The held command.
    #[garde(skip)]
    pub command_id: Uuid,
    /// What to do with it.
    #[garde(skip)]
    pub resolution: Resolution,
    /// Why, for the record. 1 to 500 characters.
    #[garde(length(chars, min = 1, max = 500))]
    pub note: String,
}

impl Command for ResolveHeld {
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "resolve_held";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/{domain}/held/{command_id}"));
    const SCOPE: &'static str = "{domain}:operate";

    fn example() -> Self {
        ResolveHeld {
            command_id: an_id(),
            resolution: Resolution::Happened,
            note: "found in the provider's log".into(),
        }
    }
}

/// A command was carried out, and its handler had nothing more particular to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandDone {
    /// The command's name.
    pub command: String,
    /// The command's id.
    pub command_id: Uuid,
}

impl Event for CommandDone {
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "command_done";

    fn example() -> Self {
        CommandDone { command: "greet".into(), command_id: an_id() }
    }
}

/// A command was refused for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandRejected {
    /// The command's name.
    pub command: String,
    /// The command's id.
    pub command_id: Uuid,
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub detail: String,
    /// The faulty fields, where the payload was at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

impl Event for CommandRejected {
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "command_rejected";

    fn example() -> Self {
        CommandRejected {
            command: "greet".into(),
            command_id: an_id(),
            code: "invalid".into(),
            detail: "1 field is at fault".into(),
            faults: vec![Fault::new("/name", "length is lower than 1")],
        }
    }
}

/// A command could not be done and lies in the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandDeadLettered {
    /// The command's name.
    pub command: String,
    /// The command's id.
    pub command_id: Uuid,
    /// `undecodable`, `unknown_command`, `forged_tenant`, `attempts_used_up` or `deliveries_used_up`.
    pub code: String,
    /// The last error.
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
}

impl Event for CommandDeadLettered {
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "command_dead_lettered";

    fn example() -> Self {
        CommandDeadLettered {
            command: "greet".into(),
            command_id: an_id(),
            code: "attempts_used_up".into(),
            detail: "connection refused".into(),
            attempts: 8,
        }
    }
}

/// Whether a command's call went out is not known; a person decides with `resolve_held`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandHeld {
    /// The command's name.
    pub command: String,
    /// The command's id.
    pub command_id: Uuid,
    /// What is known.
    pub detail: String,
}

impl Event for CommandHeld {
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "command_held";

    fn example() -> Self {
        CommandHeld {
            command: "send_email".into(),
            command_id: an_id(),
            detail: "the connection was lost after the final dot".into(),
        }
    }
}

/// A held command was decided by a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandResolved {
    /// The command's name.
    pub command: String,
    /// The command's id.
    pub command_id: Uuid,
    /// What was decided.
    pub resolution: Resolution,
    /// Why.
    pub note: String,
}

impl Event for CommandResolved {
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "command_resolved";

    fn example() -> Self {
        CommandResolved {
            command: "send_email".into(),
            command_id: an_id(),
            resolution: Resolution::Happened,
            note: "found in the provider's log".into(),
        }
    }
}

/// Asks for one command: its outcome, attempts and events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CommandPage {
    /// The command's id, as the door answered it.
    #[garde(skip)]
    pub command_id: Uuid,
}

/// What is known of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandReport {
    /// The command's id.
    pub command_id: Uuid,
    /// The command's name.
    pub command: String,
    /// How it ended; absent while it is under way.
    pub outcome: Option<Outcome>,
    /// When a worker first claimed it.
    pub received_at: DateTime<Utc>,
    /// How often the bus had to deliver it: more than once after a failed try, a put-off, or a worker that was killed.
    #[serde(default)]
    pub deliveries: u32,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When its events had reached the bus.
    pub published_at: Option<DateTime<Utc>>,
    /// Tries that failed and were to be repeated, with the last error.
    pub retries: u32,
    /// The last error, if there was one.
    pub last_error: Option<String>,
    /// Calls that left the platform, oldest first.
    pub attempts: Vec<AttemptReport>,
    /// What it caused, in order.
    pub events: Vec<CausedMessage>,
}

/// One outgoing call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptReport {
    /// 1 for the first.
    pub number: u32,
    /// When it was about to leave.
    pub started_at: DateTime<Utc>,
    /// When its result was known.
    pub closed_at: Option<DateTime<Utc>>,
    /// `done`, `not_done`, `refused`, `unknown` or `held`; absent while it is open.
    pub result: Option<String>,
    /// How often another worker took it over from one that had ended.
    #[serde(default)]
    pub takeovers: u32,
    /// What the provider or the error said.
    pub detail: Option<String>,
}

/// A message that a command caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CausedMessage {
    /// Its `ce-id`.
    pub id: String,
    /// Its subject.
    pub subject: String,
    /// Its payload, as JSON; null for an entry of a log (`rooms.`), which is for those who may read that log.
    pub payload: serde_json::Value,
}

impl Query for CommandPage {
    type Answer = CommandReport;
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "command";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/{domain}/commands/{command_id}"));
    const SCOPE: &'static str = "{domain}:read";

    fn example() -> Self {
        CommandPage { command_id: an_id() }
    }
}

/// Lists the held commands of the caller's tenant, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct HeldCommands {
    /// At most this many, 1 to 1000.
    #[serde(default = "hundred")]
    #[garde(range(min = 1, max = 1000))]
    pub limit: u32,
}

fn hundred() -> u32 {
    100
}

/// The held commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldList {
    /// Oldest first.
    pub held: Vec<HeldCommand>,
}

/// One held command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldCommand {
    /// The command's id.
    pub command_id: Uuid,
    /// The command's name.
    pub command: String,
    /// Since when it is held.
    pub since: DateTime<Utc>,
    /// What is known.
    pub detail: Option<String>,
}

impl Query for HeldCommands {
    type Answer = HeldList;
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "held";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/{domain}/held"));
    const SCOPE: &'static str = "{domain}:operate";

    fn example() -> Self {
        HeldCommands { limit: 100 }
    }
}

/// Asks for the tenant's side of the conservation law: how many commands ended how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Accounts {}

/// Counts per command. `accepted = succeeded + rejected + dead_lettered + held + pending`, where accepted is counted
/// on the stream and pending is what the stream has and no worker has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountsReport {
    /// One row per command name.
    pub commands: Vec<Account>,
}

/// How the commands of one name ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The command's name.
    pub command: String,
    /// Carried out.
    pub succeeded: u64,
    /// Refused for good.
    pub rejected: u64,
    /// In the dead letters.
    pub dead_lettered: u64,
    /// Waiting for a person.
    pub held: u64,
    /// Claimed and under way.
    pub under_way: u64,
}

impl Query for Accounts {
    type Answer = AccountsReport;
    const DOMAIN: &'static str = ANY;
    const NAME: &'static str = "accounts";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/{domain}/accounts"));
    const SCOPE: &'static str = "{domain}:read";

    fn example() -> Self {
        Accounts {}
    }
}
