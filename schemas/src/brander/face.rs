//! What pages show of a brand beyond what mails do. It stands in [`crate::brand::Brand`], made from a version's look.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AssetHash, Length, LogoAssets};

const SECURE: &str = r"^https://[!#-&(-;=?-\[\]-~]+$";
/// A scoped stylesheet is longer than its source: every selector has the root before it. In bytes.
const MOST: usize = 128 * 1024;

/// A brand's part of pages, checked and ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Face {
    /// The version's number.
    #[garde(skip)]
    pub version: u32,
    /// The logo as stored, SVG included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub logo: Option<LogoAssets>,
    /// The picture of a browser's tab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub icon: Option<AssetHash>,
    /// The file of the first font family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub font: Option<AssetHash>,
    /// The size of text.
    #[garde(skip)]
    pub text_size: Length,
    /// How round corners are.
    #[garde(skip)]
    pub radius: Length,
    /// The stylesheet: only what is allowed, every selector inside the brand's root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[garde(length(max = MOST))]
    pub css: String,
    /// Where people sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = SECURE), extend("examples" = ["https://id.northwind.example"]))]
    pub sign_in_url: Option<String>,
    /// The terms of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = SECURE), extend("examples" = ["https://northwind.example/terms"]))]
    pub terms_url: Option<String>,
    /// The privacy notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = SECURE), extend("examples" = ["https://northwind.example/privacy"]))]
    pub privacy_url: Option<String>,
}
