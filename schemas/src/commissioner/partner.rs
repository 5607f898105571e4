//! Partners: who they are, how they stand, whose they are, and by what they are known (links and codes).

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, ONE_LINE, Tier, a_partner, a_time, an_id, main_program, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http};

/// Registers a partner with a program. The partner's id is the command's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RegisterPartner {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// The partner's name. 1 to 120 characters.
    #[garde(length(chars, min = 1, max = 120), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    #[schemars(extend("x-personal" = "data"))]
    pub name: String,
    /// The partner's address; one partner of a program has it. It is compared with those of customers.
    #[garde(email, length(max = 254))]
    #[schemars(extend("x-personal" = "subject"))]
    pub email: String,
    /// The code of the partner who brought this one; the new partner stands below that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 3, max = 32), pattern("^[A-Za-z0-9-]*$")))]
    #[schemars(length(min = 3, max = 32), regex(pattern = "^[A-Za-z0-9-]*$"))]
    pub parent_code: Option<String>,
    /// What identifies the partner's own way to pay (a fingerprint, not a number), for finding self-referrals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    #[schemars(extend("x-personal" = "data"))]
    pub payment_fingerprint: Option<String>,
    /// What identifies the partner's own device, for finding self-referrals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    #[schemars(extend("x-personal" = "data"))]
    pub device: Option<String>,
}

impl Command for RegisterPartner {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "register_partner";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/register"));
    const SCOPE: &'static str = "partners:register";
    const STATUS: Option<&'static str> = Some("/api/v1/partners/{id}");

    fn example() -> Self {
        RegisterPartner {
            program: main_program(),
            name: "Ada".into(),
            email: "ada@example.com".into(),
            parent_code: None,
            payment_fingerprint: None,
            device: None,
        }
    }
}

/// How a partner stands with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartnerStatus {
    /// Registered, not yet decided upon. Earns nothing.
    Pending,
    /// Earns.
    Approved,
    /// Turned down.
    Rejected,
    /// Earns nothing more and is paid nothing, until approved again.
    Suspended,
}

/// A partner has registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartnerRegistered {
    /// The partner's id.
    pub partner_id: Uuid,
    /// The program.
    pub program: Token,
    /// The partner's first code, which orders may name.
    pub code: String,
    /// The path of the partner's first link.
    pub link: String,
    /// Pending, unless the program approves by itself.
    pub status: PartnerStatus,
    /// The partner above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Uuid>,
    /// Orders the events about one partner.
    pub revision: i64,
}

impl Event for PartnerRegistered {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partner_registered";

    fn example() -> Self {
        PartnerRegistered {
            partner_id: a_partner(),
            program: main_program(),
            code: "k7m2q9x4tb".into(),
            link: "/r/k7m2q9x4tb".into(),
            status: PartnerStatus::Pending,
            parent_id: None,
            revision: 1,
        }
    }
}

/// Approves, rejects or suspends a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct DecidePartner {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// What is decided.
    #[garde(skip)]
    pub decision: PartnerDecision,
    /// Why, for the record. At most 500 characters.
    #[serde(default)]
    #[garde(length(chars, max = 500), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub note: String,
}

/// What is decided about a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartnerDecision {
    /// Earns from now on: of a pending, rejected or suspended partner.
    Approve,
    /// Turned down: of a pending partner.
    Reject,
    /// Stopped: of an approved partner.
    Suspend,
}

impl Command for DecidePartner {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "decide_partner";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/{partner_id}/decision"));
    const SCOPE: &'static str = "partners:write";

    fn example() -> Self {
        DecidePartner { partner_id: a_partner(), decision: PartnerDecision::Approve, note: String::new() }
    }
}

/// A partner stands otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartnerStatusChanged {
    /// The partner.
    pub partner_id: Uuid,
    /// How the partner stands now.
    pub status: PartnerStatus,
    /// Why.
    pub note: String,
    /// Orders the events about one partner.
    pub revision: i64,
}

impl Event for PartnerStatusChanged {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partner_status_changed";

    fn example() -> Self {
        PartnerStatusChanged {
            partner_id: a_partner(),
            status: PartnerStatus::Approved,
            note: String::new(),
            revision: 2,
        }
    }
}

/// Gives a partner a tier by hand, from now or from a later time on. Orders made before keep theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SetTier {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// The tier.
    #[garde(skip)]
    pub tier: Tier,
    /// From when; from now if absent. Not earlier: history is not rewritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub effective_from: Option<DateTime<Utc>>,
}

impl Command for SetTier {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "set_tier";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/{partner_id}/tier"));
    const SCOPE: &'static str = "partners:write";

    fn example() -> Self {
        SetTier { partner_id: a_partner(), tier: Tier::Gold, effective_from: None }
    }
}

/// Gives every partner of a program the tier that the program's rule gives. Runs every night by itself too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ApplyTiers {
    /// The program.
    #[garde(skip)]
    pub program: Token,
}

impl Command for ApplyTiers {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "apply_tiers";
    const LANE: &'static str = "reports";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/programs/{program}/tiers"));
    const SCOPE: &'static str = "partners:write";

    fn example() -> Self {
        ApplyTiers { program: main_program() }
    }
}

/// Who gave a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TierSource {
    /// The program's rule.
    Rule,
    /// A person.
    Hand,
}

/// A partner has another tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TierChanged {
    /// The partner.
    pub partner_id: Uuid,
    /// The tier.
    pub tier: Tier,
    /// From when.
    pub effective_from: DateTime<Utc>,
    /// Who gave it.
    pub by: TierSource,
    /// Orders the events about one partner.
    pub revision: i64,
}

impl Event for TierChanged {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "tier_changed";

    fn example() -> Self {
        TierChanged {
            partner_id: a_partner(),
            tier: Tier::Gold,
            effective_from: a_time(),
            by: TierSource::Hand,
            revision: 3,
        }
    }
}

/// A program's rule was applied to all of its partners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TiersApplied {
    /// The program.
    pub program: Token,
    /// How many partners have another tier now.
    pub changed: u32,
}

impl Event for TiersApplied {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "tiers_applied";

    fn example() -> Self {
        TiersApplied { program: main_program(), changed: 1 }
    }
}

/// Puts a partner below another, or below nobody, from now on. Orders made before keep the parents they had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct MovePartner {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// The new parent; nobody if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub parent_id: Option<Uuid>,
}

impl Command for MovePartner {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "move_partner";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/{partner_id}/parent"));
    const SCOPE: &'static str = "partners:write";

    fn example() -> Self {
        MovePartner { partner_id: an_id(2), parent_id: Some(a_partner()) }
    }
}

/// A partner stands elsewhere in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartnerMoved {
    /// The partner.
    pub partner_id: Uuid,
    /// The parent; nobody if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Uuid>,
    /// From when.
    pub effective_from: DateTime<Utc>,
    /// Orders the events about one partner.
    pub revision: i64,
}

impl Event for PartnerMoved {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partner_moved";

    fn example() -> Self {
        PartnerMoved { partner_id: an_id(2), parent_id: Some(a_partner()), effective_from: a_time(), revision: 4 }
    }
}

/// Makes one more link of a partner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AddLink {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// Where it leads: an https address on one of the program's sites. At most 1000 characters.
    #[garde(length(min = 1, max = 1000), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub destination: String,
}

impl Command for AddLink {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "add_link";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/{partner_id}/links"));
    const SCOPE: &'static str = "partners:write";

    fn example() -> Self {
        AddLink { partner_id: a_partner(), destination: "https://shop.example.com/spring".into() }
    }
}

/// A partner has one more link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkAdded {
    /// The partner.
    pub partner_id: Uuid,
    /// The link's path on the door.
    pub link: String,
    /// Where it leads.
    pub destination: String,
}

impl Event for LinkAdded {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "link_added";

    fn example() -> Self {
        LinkAdded {
            partner_id: a_partner(),
            link: "/r/p3c8v5n1hd".into(),
            destination: "https://shop.example.com/spring".into(),
        }
    }
}

/// Gives a partner one more code, such as a coupon's. Codes know no case, and one partner of the tenant has each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AddCode {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// The code: 3 to 32 characters of A-Z, a-z, 0-9 and '-'.
    #[garde(length(min = 3, max = 32), pattern("^[A-Za-z0-9-]*$"))]
    #[schemars(regex(pattern = "^[A-Za-z0-9-]*$"))]
    pub code: String,
}

impl Command for AddCode {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "add_code";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/{partner_id}/codes"));
    const SCOPE: &'static str = "partners:write";

    fn example() -> Self {
        AddCode { partner_id: a_partner(), code: "SPRING".into() }
    }
}

/// A partner has one more code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeAdded {
    /// The partner.
    pub partner_id: Uuid,
    /// The code, in lower case.
    pub code: String,
}

impl Event for CodeAdded {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "code_added";

    fn example() -> Self {
        CodeAdded { partner_id: a_partner(), code: "spring".into() }
    }
}

/// Says where a partner's money goes. It is in no event, log or list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SetPayoutAccount {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// What the payout provider knows the account by, such as an IBAN. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    #[schemars(extend("x-personal" = "data"))]
    pub account: String,
}

impl Command for SetPayoutAccount {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "set_payout_account";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/{partner_id}/payout-account"));
    const SCOPE: &'static str = "partners:pay";

    fn example() -> Self {
        SetPayoutAccount { partner_id: a_partner(), account: "DE02120300000000202051".into() }
    }
}

/// A partner's money goes elsewhere now; where is not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutAccountSet {
    /// The partner.
    pub partner_id: Uuid,
    /// Orders the events about one partner.
    pub revision: i64,
}

impl Event for PayoutAccountSet {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "payout_account_set";

    fn example() -> Self {
        PayoutAccountSet { partner_id: a_partner(), revision: 5 }
    }
}
