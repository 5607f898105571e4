//! A version as it would look, for those who hold the link.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BRANDER, READ};
use crate::brand::Brand;
use crate::contract::{Http, Query};
use crate::hook::Hook;

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Page {
    /// The login page.
    #[default]
    Login,
    /// The dashboard.
    Dashboard,
}

impl Page {
    /// As it stands in links.
    pub const fn as_str(self) -> &'static str {
        match self {
            Page::Login => "login",
            Page::Dashboard => "dashboard",
        }
    }

    /// The reverse of [`Page::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Page::Login, Page::Dashboard].into_iter().find(|page| page.as_str() == word)
    }
}

/// Makes a link that shows a version on a page to whoever holds it, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Preview {
    /// The version's number; the newest if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1)))]
    #[schemars(range(min = 1))]
    pub version: Option<u32>,
    /// Which page.
    #[serde(default)]
    #[garde(skip)]
    pub page: Page,
    /// For how many minutes, 1 to 1440.
    #[serde(default = "sixty")]
    #[garde(range(min = 1, max = 1440))]
    pub minutes: u32,
}

fn sixty() -> u32 {
    60
}

/// A link that shows a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewLink {
    /// The link. Whoever holds it sees the version until it ends.
    pub url: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

impl Query for Preview {
    type Answer = PreviewLink;
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "preview";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/whitelabel/preview"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        Preview { version: None, page: Page::Login, minutes: 60 }
    }
}

/// A version on a page, for whoever holds the signed link, until it ends.
#[derive(Debug)]
pub struct PreviewPage;

impl Hook for PreviewPage {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "preview_page";
    const HTTP: Http = Http::get("/preview/{token}");
    const MAX_BODY: usize = 0;
    const SUMMARY: &'static str = "A version of a brand before it is active. Proved by the signature in the link.";
}

/// Shows a version as readers will get it once it is active: what a mail's preview takes as `brand`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct BrandOfVersion {
    /// The version's number; the newest if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1)))]
    #[schemars(range(min = 1))]
    pub version: Option<u32>,
}

impl Query for BrandOfVersion {
    type Answer = Brand;
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "brand_of_version";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/whitelabel/branding/brand"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        BrandOfVersion { version: None }
    }
}
