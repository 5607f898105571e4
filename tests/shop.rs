//! A domain made for breaking: `put` changes state as it is told, `charge` calls a provider that does as it is told.
//!
//! What a command's `how` says, its handler does: so every way a handler can end has a command that ends that way. Here
//! are the contracts; `puts` and `charges` are what is done about them, `workers` who does it.

mod charges;
mod puts;
mod workers;

use omnibus_schemas::{Catalogue, Command, Domain, Event, Http, Query};
use serde::{Deserialize, Serialize};

pub use charges::ChargePlan;
pub use workers::{Shop, patient_worker, patient_worker_of_many, worker, worker_of_many};

/// A catalogue with the shop alone.
pub fn catalogue() -> Catalogue {
    let domain = Domain::new("shop", "Shop (for tests)")
        .command::<Put>()
        .command::<Charge>()
        .event::<PutDone>()
        .event::<Charged>()
        .event::<ChargeSettled>()
        .query::<Count>();
    Catalogue::new(vec![domain])
}

/// Puts a thing into the shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub struct Put {
    /// What. At most 40 characters.
    #[garde(length(chars, max = 40))]
    pub thing: String,
    /// How the handler ends: `ok`, `fail:<n>` (the first n tries of this process), `fail`, `panic`, `hang`, `reject`,
    /// `snooze:<ms>` (once), `snoozes:<n>`, `database` (a statement that fails), `deadlock:<n>`, `locks:<n>,<m>`
    /// (holds one, and then another), `cut:<n>` (the connection ends), `broken`, `swallow` (an error not passed on),
    /// `then` (a follow-up), `later:<ms>` (a scheduled one), `past`, `nowhere` (a follow-up in no lane), `large`, `nul`
    /// (an error with a zero byte), `telling` (an error that repeats the thing), `nothing`; where many are taken at
    /// once, `whole` (all of them fail) and `silent` (no answer).
    #[serde(default)]
    #[garde(length(max = 40))]
    pub how: String,
}

impl Command for Put {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "put";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/shop/things"));
    const SCOPE: &'static str = "shop:put";
    const ALIASES: &'static [&'static str] = &["lay"];

    fn example() -> Self {
        Put { thing: "apple".into(), how: String::new() }
    }
}

/// Charges through a provider that is a folder: a call leaves one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub struct Charge {
    /// What for.
    #[garde(length(chars, max = 40))]
    pub thing: String,
    /// How the call ends: `ok`, `not_done:<n>` (the first n calls), `not_done`, `refused`, `unknown` (after it
    /// happened), `unknown_not` (without it having happened), `hang`, `panic`, `slow:<ms>`, `open` (until the file
    /// `answered-<command id>` is there), `skip`, `early` (an event before the call), `unrecorded:<n>` (the record fails
    /// so often), `unrecorded`.
    #[serde(default)]
    #[garde(length(max = 40))]
    pub how: String,
    /// What the provider says when asked: `done`, `not_done`, `cannot_tell`, `away`. Besides, `unsettled:<n>` (the hook
    /// fails so often) and `unsettled`.
    #[serde(default)]
    #[garde(length(max = 40))]
    pub reconcile: String,
    /// Send again when nobody can tell, instead of holding.
    #[serde(default)]
    #[garde(skip)]
    pub resend: bool,
}

impl Command for Charge {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "charge";
    const LANE: &'static str = "calls";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/shop/charges"));
    const SCOPE: &'static str = "shop:charge";

    fn example() -> Self {
        Charge { thing: "apple".into(), how: String::new(), reconcile: String::new(), resend: false }
    }
}

/// A thing is in the shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PutDone {
    /// What.
    pub thing: String,
}

impl Event for PutDone {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "put_done";

    fn example() -> Self {
        PutDone { thing: "apple".into() }
    }
}

/// The provider has charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Charged {
    /// The provider's receipt.
    pub receipt: String,
}

impl Event for Charged {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "charged";

    fn example() -> Self {
        Charged { receipt: "r1".into() }
    }
}

/// A charge ended otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChargeSettled {
    /// `refused`, `gave_up`, `uncertain`, `vouched` or `dropped`.
    pub how: String,
}

impl Event for ChargeSettled {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "charge_settled";

    fn example() -> Self {
        ChargeSettled { how: "refused".into() }
    }
}

/// How often a thing was put, and charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub struct Count {
    /// What.
    #[garde(length(chars, max = 40))]
    pub thing: String,
}

/// Counts of one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counted {
    /// Rows of `put`.
    pub put: i64,
    /// Rows of `charge` that are recorded as done.
    pub charged: i64,
}

impl Query for Count {
    type Answer = Counted;
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "count";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/shop/things/{thing}"));
    const SCOPE: &'static str = "shop:read";

    fn example() -> Self {
        Count { thing: "apple".into() }
    }
}
