//! Policies: drafted, reviewed, approved by somebody else, published, acknowledged, retired. Every step names the content
//! by its hash, so nobody approves or signs what they have not seen.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DOMAIN;
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

fn a_policy() -> Token {
    "access-control".parse().expect("a constant that is a token")
}

fn a_hash() -> String {
    "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into()
}

/// Where a version of a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyState {
    /// Written, for nobody yet.
    Draft,
    /// Before those who may approve it.
    Review,
    /// Approved by somebody other than its author.
    Approved,
    /// In force: the one version that can be acknowledged.
    Published,
    /// A newer version is in force.
    Superseded,
    /// No longer in force, and nothing in its place.
    Retired,
}

impl PolicyState {
    /// As it is written in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            PolicyState::Draft => "draft",
            PolicyState::Review => "review",
            PolicyState::Approved => "approved",
            PolicyState::Published => "published",
            PolicyState::Superseded => "superseded",
            PolicyState::Retired => "retired",
        }
    }

    /// The reverse of [`PolicyState::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        use PolicyState::{Approved, Draft, Published, Retired, Review, Superseded};
        [Draft, Review, Approved, Published, Superseded, Retired].into_iter().find(|state| state.as_str() == word)
    }
}

/// Writes a new version of a policy. Its author is who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct DraftPolicy {
    /// The policy's short name.
    #[garde(skip)]
    pub policy: Token,
    /// Its title. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200))]
    pub title: String,
    /// Its text, as Markdown. 1 to 100000 characters.
    #[garde(length(chars, min = 1, max = 100_000))]
    pub text: String,
}

impl Command for DraftPolicy {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "draft_policy";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/policies"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        DraftPolicy {
            policy: a_policy(),
            title: "Access control".into(),
            text: "Keys end after 90 days. Who leaves loses theirs on the same day.".into(),
        }
    }
}

/// What a step does to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyStep {
    /// Lays a draft before those who may approve it.
    Submit,
    /// Approves what is under review. Not for its author.
    Approve,
    /// Sends what is under review back to be written anew. Not for its author.
    Refuse,
    /// Puts what is approved in force, in place of the version before.
    Publish,
    /// Takes what is in force out of force.
    Retire,
}

/// Takes a version of a policy one step further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct MovePolicy {
    /// The policy's short name.
    #[garde(skip)]
    pub policy: Token,
    /// The version's content hash: SHA-256 of the title, an empty line and the text, in hexadecimal.
    #[garde(length(bytes, min = 64, max = 64))]
    pub hash: String,
    /// Which step.
    #[garde(skip)]
    pub step: PolicyStep,
    /// Why, for the record. At most 500 characters.
    #[serde(default)]
    #[garde(length(chars, max = 500))]
    pub note: String,
}

impl Command for MovePolicy {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "move_policy";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/policies/{policy}/steps"));
    const SCOPE: &'static str = "compliance:approve";

    fn example() -> Self {
        MovePolicy { policy: a_policy(), hash: a_hash(), step: PolicyStep::Submit, note: String::new() }
    }
}

/// A version of a policy stands elsewhere than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyMoved {
    /// The policy's short name.
    pub policy: Token,
    /// Counted from 1.
    pub version: u32,
    /// The content hash.
    pub hash: String,
    /// Where it stands now.
    pub state: PolicyState,
    /// Who did it: the key, user or part that asked.
    pub by: String,
}

impl Event for PolicyMoved {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "policy_moved";

    fn example() -> Self {
        PolicyMoved {
            policy: a_policy(),
            version: 1,
            hash: a_hash(),
            state: PolicyState::Draft,
            by: "key:01979f6e".into(),
        }
    }
}

/// Says that a person has read the version in force and will keep to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AcknowledgePolicy {
    /// The policy's short name.
    #[garde(skip)]
    pub policy: Token,
    /// The content hash of the version that the person has read. Only the one in force can be acknowledged.
    #[garde(length(bytes, min = 64, max = 64))]
    pub hash: String,
    /// The address by which the person is known. 1 to 320 characters.
    #[garde(length(chars, min = 1, max = 320))]
    #[schemars(extend("x-personal" = "subject"))]
    pub person: String,
}

impl Command for AcknowledgePolicy {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "acknowledge_policy";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/policies/{policy}/acknowledgements"));
    const SCOPE: &'static str = "compliance:acknowledge";

    fn example() -> Self {
        AcknowledgePolicy { policy: a_policy(), hash: a_hash(), person: "ada@example.com".into() }
    }
}

/// A person has acknowledged a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyAcknowledged {
    /// The policy's short name.
    pub policy: Token,
    /// Which version.
    pub version: u32,
    /// The content hash.
    pub hash: String,
    /// The person's pseudonym in this log.
    pub pseudonym: String,
}

impl Event for PolicyAcknowledged {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "policy_acknowledged";

    fn example() -> Self {
        PolicyAcknowledged {
            policy: a_policy(),
            version: 1,
            hash: a_hash(),
            pseudonym: "6b1f3b8e0a4f4ed0b1cf3a8b52b5f6c1".into(),
        }
    }
}

/// Lists the policies, each with its newest version and the one in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Policies {}

/// The policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyList {
    /// By short name; of each policy the newest version first.
    pub versions: Vec<PolicyVersion>,
}

/// One version, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyVersion {
    /// The policy's short name.
    pub policy: Token,
    /// Counted from 1.
    pub version: u32,
    /// Its title.
    pub title: String,
    /// The content hash.
    pub hash: String,
    /// Where it stands.
    pub state: PolicyState,
    /// Who wrote it.
    pub author: String,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// Since when it is in force, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<DateTime<Utc>>,
    /// How many people have acknowledged it.
    pub acknowledgements: u64,
}

impl Query for Policies {
    type Answer = PolicyList;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "policies";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/policies"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        Policies {}
    }
}

/// Asks for a version with its text: the one in force unless a hash names another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Policy {
    /// The policy's short name.
    #[garde(skip)]
    pub policy: Token,
    /// A version's content hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(bytes, min = 64, max = 64)))]
    #[schemars(length(min = 64, max = 64))]
    pub hash: Option<String>,
}

/// A version with its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyText {
    /// Which version, and where it stands.
    #[serde(flatten)]
    pub version: PolicyVersion,
    /// Its text, as Markdown.
    pub text: String,
}

impl Query for Policy {
    type Answer = PolicyText;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "policy";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/policies/{policy}"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        Policy { policy: a_policy(), hash: None }
    }
}
