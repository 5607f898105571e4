//! Versions: each `set_branding` makes one, and none is ever changed.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BRANDER, LogoAssets, Look, OPERATE, READ, WRITE, an_id, fifty};
use crate::contract::{Command, Event, Http, Query};

/// Makes a new version of the tenant's look. Nobody sees it until it is activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(transparent)]
#[garde(transparent)]
pub struct SetBranding(#[garde(dive)] pub Look);

impl Command for SetBranding {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "set_branding";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/whitelabel/branding"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        let mut look = Look::plain("Northwind Coffee");
        look.light.primary = "#9a3412".into();
        look.light.link = "#9a3412".into();
        look.font_family = "Georgia, serif".into();
        look.css = ".card { padding: 2rem; } h1 { letter-spacing: 0.02em; }".into();
        look.sign_in_url = Some("https://id.northwind.example/authorize".into());
        SetBranding(look)
    }
}

/// There is a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrandingDrafted {
    /// Its number; the tenant's first is 1.
    pub version: u32,
    /// Its id.
    pub version_id: Uuid,
    /// How many pairs of colours can't be told apart well enough: while there is one, it can't be activated.
    pub contrast_faults: u32,
    /// What the platform did with the look that may surprise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl Event for BrandingDrafted {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "branding_drafted";

    fn example() -> Self {
        BrandingDrafted { version: 4, version_id: an_id(1), contrast_faults: 0, hints: vec![] }
    }
}

/// Puts the newest version where previews of mails find it. The worker tells itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ShowDraft {
    /// The version's number.
    #[garde(range(min = 1))]
    pub version: u32,
}

impl Command for ShowDraft {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "show_draft";
    const SCOPE: &'static str = OPERATE;

    fn example() -> Self {
        ShowDraft { version: 4 }
    }
}

/// Asks for one version: the active one, or the one of a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Branding {
    /// Its number; the active version if absent, and the newest if none is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1)))]
    #[schemars(range(min = 1))]
    pub version: Option<u32>,
}

/// One version, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrandingReport {
    /// Its number.
    pub version: u32,
    /// Its id.
    pub version_id: Uuid,
    /// Whether it is the one that people see.
    pub active: bool,
    /// The revision that is active now; grows with every activation. 0 before the first.
    pub active_revision: u64,
    /// The number of the version that is active.
    pub active_version: Option<u32>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The look as it was set.
    pub look: Look,
    /// The stylesheet as pages carry it: scoped, and only what is allowed.
    pub css: String,
    /// How many pairs of colours can't be told apart well enough.
    pub contrast_faults: u32,
    /// What the platform did with the look that may surprise.
    pub hints: Vec<String>,
}

impl Query for Branding {
    type Answer = BrandingReport;
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "branding";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/whitelabel/branding"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        Branding { version: None }
    }
}

/// Lists versions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct BrandingVersions {
    /// Only those below this number: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1)))]
    #[schemars(range(min = 1))]
    pub before: Option<u32>,
    /// At most this many, 1 to 200.
    #[serde(default = "fifty")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u32,
}

/// A page of versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionsPage {
    /// Newest first.
    pub versions: Vec<VersionRow>,
    /// What to ask for as `before` to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

/// A version, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionRow {
    /// Its number.
    pub version: u32,
    /// Its id.
    pub version_id: Uuid,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last activated.
    pub activated_at: Option<DateTime<Utc>>,
    /// Whether it is the one that people see.
    pub active: bool,
    /// The brand's name in it.
    pub name: String,
    /// How many pairs of colours can't be told apart well enough.
    pub contrast_faults: u32,
}

impl Query for BrandingVersions {
    type Answer = VersionsPage;
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "branding_versions";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/whitelabel/branding/versions"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        BrandingVersions { before: None, limit: 50 }
    }
}

/// Asks how well a version's colours can be told apart, pair by pair, on light and on dark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ContrastReport {
    /// The version's number; the newest if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1)))]
    #[schemars(range(min = 1))]
    pub version: Option<u32>,
}

/// Every pair of a version's colours that meets on a page or in a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contrasts {
    /// The version.
    pub version: u32,
    /// Whether every pair will do.
    pub passes: bool,
    /// The pairs, those of the light set first.
    pub pairs: Vec<ContrastPair>,
}

/// Two colours that meet. WCAG 2.2, 1.4.3 and 1.4.11.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContrastPair {
    /// `light` or `dark`.
    pub set: String,
    /// The field of what is to be read: `text`.
    pub front: String,
    /// The field of the ground: `surface`.
    pub ground: String,
    /// The colours' ratio with two decimals, rounded down: `4.48`. 1.00 to 21.00.
    pub ratio: String,
    /// The least that will do: `4.50` for text, `3.00` for large text and for what is not text.
    pub least: String,
    /// Whether the ratio is that or more.
    pub passes: bool,
    /// Where it is not: the nearest colour of the same hue that would do in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_do: Option<String>,
}

impl Query for ContrastReport {
    type Answer = Contrasts;
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "contrast";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/whitelabel/branding/contrast"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        ContrastReport { version: None }
    }
}

impl LogoAssets {
    /// The hashes in it.
    pub fn hashes(&self) -> impl Iterator<Item = &super::AssetHash> {
        [Some(&self.light), self.dark.as_ref()].into_iter().flatten()
    }
}
