//! The example domain: one state change, one event, one query, small enough to copy. See `examples/minimal-worker`.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalogue::Domain;
use crate::contract::{Command, Event, Http, Query};

/// The domain's catalogue.
pub fn domain() -> Domain {
    Domain::new("greeter", "Greetings (example)").command::<Greet>().event::<Greeted>().query::<Greetings>()
}

/// Greets someone, and counts how often that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Greet {
    /// Whom. 1 to 80 characters.
    #[garde(length(chars, min = 1, max = 80))]
    pub name: String,
}

impl Command for Greet {
    const DOMAIN: &'static str = "greeter";
    const NAME: &'static str = "greet";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/greetings"));
    const SCOPE: &'static str = "greeter:greet";

    fn example() -> Self {
        Greet { name: "Ada".into() }
    }
}

/// Someone was greeted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Greeted {
    /// The greeting's id, which is the command's.
    pub greeting_id: Uuid,
    /// Whom.
    pub name: String,
    /// How often this name was greeted, this time included. Orders the events about one name.
    pub revision: i64,
}

impl Event for Greeted {
    const DOMAIN: &'static str = "greeter";
    const NAME: &'static str = "greeted";

    fn example() -> Self {
        Greeted {
            greeting_id: Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0002),
            name: "Ada".into(),
            revision: 1,
        }
    }
}

/// Asks how often a name was greeted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Greetings {
    /// Whom. 1 to 80 characters.
    #[garde(length(chars, min = 1, max = 80))]
    pub name: String,
}

/// How often a name was greeted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GreetingCount {
    /// Whom.
    pub name: String,
    /// How often; 0 for a name never greeted.
    pub count: i64,
}

impl Query for Greetings {
    type Answer = GreetingCount;
    const DOMAIN: &'static str = "greeter";
    const NAME: &'static str = "greetings";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/greetings/{name}"));
    const SCOPE: &'static str = "greeter:read";

    fn example() -> Self {
        Greetings { name: "Ada".into() }
    }
}
