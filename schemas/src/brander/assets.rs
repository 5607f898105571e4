//! Pictures and fonts of a tenant's own, kept under the hash of their content.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AssetHash, BRANDER, READ, WRITE, fifty};
use crate::contract::{Command, Event, Http, Query};
use crate::hook::Hook;
use crate::upload::{Object, Upload};

/// The bucket of the object store that holds stored assets by their hashes.
pub const ASSETS: &str = "assets";

/// What an asset is, recognised by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssetKind {
    /// A picture, drawn anew.
    Png,
    /// A picture, drawn anew.
    Jpeg,
    /// A picture, drawn anew without loss.
    Webp,
    /// A picture, checked and packed anew; its pixels are as they came.
    Avif,
    /// A drawing, of which only the allowed elements and attributes were kept.
    Svg,
    /// A font, checked.
    Woff2,
}

impl AssetKind {
    /// As it is written in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            AssetKind::Png => "png",
            AssetKind::Jpeg => "jpeg",
            AssetKind::Webp => "webp",
            AssetKind::Avif => "avif",
            AssetKind::Svg => "svg",
            AssetKind::Woff2 => "woff2",
        }
    }

    /// The reverse of [`AssetKind::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        use AssetKind::{Avif, Jpeg, Png, Svg, Webp, Woff2};
        [Png, Jpeg, Webp, Avif, Svg, Woff2].into_iter().find(|kind| kind.as_str() == word)
    }

    /// The type it is served as.
    pub const fn content_type(self) -> &'static str {
        match self {
            AssetKind::Png => "image/png",
            AssetKind::Jpeg => "image/jpeg",
            AssetKind::Webp => "image/webp",
            AssetKind::Avif => "image/avif",
            AssetKind::Svg => "image/svg+xml",
            AssetKind::Woff2 => "font/woff2",
        }
    }
}

/// Stores a picture or a font. The body is the file itself; what it is is found out from its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct UploadAsset {
    /// The file, filled in by the door.
    #[garde(dive)]
    pub object: Object,
}

impl Command for UploadAsset {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "upload_asset";
    const LANE: &'static str = "assets";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/whitelabel/assets"));
    const SCOPE: &'static str = WRITE;
    const UPLOAD: Option<Upload> = Some(Upload { max_bytes: 2 * 1024 * 1024, types: &[] });

    fn example() -> Self {
        UploadAsset { object: Object::example("acme", "image/png") }
    }
}

/// A stored asset, by the hash of its content. Public, and the same for as long as it is there.
#[derive(Debug)]
pub struct StoredAsset;

impl Hook for StoredAsset {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "asset";
    const HTTP: Http = Http::get("/assets/{hash}");
    const HEADERS: &'static [&'static str] = &["if-none-match"];
    const MAX_BODY: usize = 0;
    const SUMMARY: &'static str =
        "A picture or font of a brand, by the hash of its content. Public; never changes while it is there.";
}

/// An asset was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetStored {
    /// What it is called by from now on.
    pub hash: AssetHash,
    /// What it is.
    pub kind: AssetKind,
    /// Where it is, for good: the path on any host of the platform.
    pub path: String,
    /// Its size as stored, in bytes.
    pub bytes: u64,
    /// A picture's width in pixels.
    pub width: Option<u32>,
    /// A picture's height in pixels.
    pub height: Option<u32>,
    /// The same as a picture that mail programs show (PNG or JPEG); absent where there is none.
    pub mail_hash: Option<AssetHash>,
    /// What was done with it that may surprise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl Event for AssetStored {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "asset_stored";

    fn example() -> Self {
        let hash = an_asset();
        AssetStored {
            kind: AssetKind::Png,
            path: format!("/assets/{}", hash.0),
            bytes: 4096,
            width: Some(320),
            height: Some(80),
            mail_hash: Some(hash.clone()),
            hash,
            hints: vec![],
        }
    }
}

/// Removes an asset of the tenant's: from then on there is nothing at its address, also in mails that were sent. What is
/// active, newest or scheduled keeps what it shows. An older version that showed it can't be activated any more, and a
/// rollback to one goes without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RemoveAsset {
    /// What it is called by.
    #[garde(dive)]
    pub hash: AssetHash,
}

impl Command for RemoveAsset {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "remove_asset";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/whitelabel/assets/{hash}"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        RemoveAsset { hash: an_asset() }
    }
}

/// An asset was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetRemoved {
    /// What it was called by.
    pub hash: AssetHash,
}

impl Event for AssetRemoved {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "asset_removed";

    fn example() -> Self {
        AssetRemoved { hash: an_asset() }
    }
}

fn an_asset() -> AssetHash {
    AssetHash("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into())
}

/// Lists the tenant's assets, by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Assets {
    /// Only those after this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub after: Option<AssetHash>,
    /// At most this many, 1 to 200.
    #[serde(default = "fifty")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u32,
}

/// A page of assets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetsPage {
    /// By hash.
    pub assets: Vec<AssetRow>,
    /// What to ask for as `after` to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<AssetHash>,
}

/// One asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetRow {
    /// What it is called by.
    pub hash: AssetHash,
    /// What it is.
    pub kind: AssetKind,
    /// Where it is.
    pub path: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// A picture's width in pixels.
    pub width: Option<u32>,
    /// A picture's height in pixels.
    pub height: Option<u32>,
    /// The same for mails.
    pub mail_hash: Option<AssetHash>,
    /// When the tenant stored it.
    pub stored_at: DateTime<Utc>,
}

impl Query for Assets {
    type Answer = AssetsPage;
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "assets";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/whitelabel/assets"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        Assets { after: None, limit: 50 }
    }
}
