//! Files that tenants bring: recognised by their content, made anew, and stored under the hash of what came out. Nothing
//! that was uploaded is ever served as it came, but for fonts, which can't be made anew.

mod avif;
mod raster;
pub mod svg;
mod woff2;

use omnibus_schemas::brander::{AssetHash, AssetKind};
use sha2::{Digest, Sha256};

/// A file, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What it is.
    pub kind: AssetKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// A picture's size in pixels.
    pub size: Option<(u32, u32)>,
    /// The same for mail programs, where the picture itself will not do: a PNG.
    pub mail: Option<Vec<u8>>,
    /// Whether mail programs show the picture itself.
    pub mailable: bool,
    /// What was done that may surprise.
    pub hints: Vec<String>,
}

/// Why a file is not taken, in words that say what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NotTaken {
    /// Stable, for programs.
    pub code: &'static str,
    /// For people.
    pub words: String,
}

impl NotTaken {
    fn of(code: &'static str, words: impl Into<String>) -> Self {
        NotTaken { code, words: words.into() }
    }
}

/// Makes a file anew from its content. Its name and the type that its sender claimed mean nothing here.
///
/// # Errors
/// If it is of no kind that is taken, or not whole, or too large.
pub fn make(bytes: &[u8]) -> Result<Made, NotTaken> {
    match recognised(bytes) {
        Some(kind @ (AssetKind::Png | AssetKind::Jpeg | AssetKind::Webp)) => raster::make(kind, bytes),
        Some(AssetKind::Avif) => avif::make(bytes),
        Some(AssetKind::Woff2) => woff2::make(bytes),
        Some(AssetKind::Svg) => svg::make(bytes),
        None => {
            Err(NotTaken::of("kind_unknown", "the content is none of PNG, JPEG, WebP, AVIF, SVG (in UTF-8) and WOFF2"))
        }
    }
}

/// What the first bytes say.
fn recognised(bytes: &[u8]) -> Option<AssetKind> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    match bytes {
        _ if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => Some(AssetKind::Png),
        _ if bytes.starts_with(b"\xff\xd8\xff") => Some(AssetKind::Jpeg),
        _ if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => Some(AssetKind::Webp),
        _ if bytes.get(4..8) == Some(b"ftyp") && matches!(bytes.get(8..12), Some(b"avif" | b"mif1")) => {
            Some(AssetKind::Avif)
        }
        _ if bytes.starts_with(b"wOF2") => Some(AssetKind::Woff2),
        // Only a real reader can tell more; what is not SVG after all is refused there.
        _ if text.starts_with(b"<") => Some(AssetKind::Svg),
        _ => None,
    }
}

/// What a content is called by.
pub fn hash(bytes: &[u8]) -> AssetHash {
    AssetHash(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_recognised_is_refused_whatever_it_is_called() {
        for bytes in
            [&b""[..], b"GIF89a", b"%PDF-1.7", b"PK\x03\x04", b"\x00\x00\x01\x00", b"MZ", b"javascript:alert(1)"]
        {
            assert_eq!(make(bytes).unwrap_err().code, "kind_unknown", "{bytes:?}");
        }
    }

    #[test]
    fn the_same_content_has_the_same_name() {
        assert_eq!(hash(b"a"), hash(b"a"));
        assert_eq!(hash(b"").0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
