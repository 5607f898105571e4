//! What pages show of a brand beyond what mails do. It stands in [`crate::brand::Brand`], made from a version's look.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AssetHash, Length, LogoAssets};

/// A brand's part of pages, checked and ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Face {
    /// The version's number.
    pub version: u32,
    /// The logo as stored, SVG included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<LogoAssets>,
    /// The picture of a browser's tab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<AssetHash>,
    /// The file of the first font family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub font: Option<AssetHash>,
    /// The size of text.
    pub text_size: Length,
    /// How round corners are.
    pub radius: Length,
    /// The stylesheet: only what is allowed, every selector inside the brand's root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub css: String,
    /// Where people sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in_url: Option<String>,
    /// The terms of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_url: Option<String>,
    /// The privacy notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_url: Option<String>,
}
