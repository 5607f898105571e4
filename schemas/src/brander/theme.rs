//! The values of a theme. Each has a type, so that none is ever pasted into a stylesheet as it came.

use std::fmt;
use std::str::FromStr;

use garde::Validate;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::brand::{Brand, Colours, Sender};

const WEB: &str = r"^https?://[!#-&(-;=?-\[\]-~]+$";
const LINK: &str = r"^(https?://|mailto:)[!#-&(-;=?-\[\]-~]+$";
const SECURE: &str = r"^https://[!#-&(-;=?-\[\]-~]+$";
const ONE_LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// The longest stylesheet that is read, in bytes: 25 KB.
pub const CSS_BYTES: usize = 25 * 1024;

/// A look, whole: what a version of a brand holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Look {
    /// The name that people know, 1 to 100 characters on one line.
    #[garde(length(chars, min = 1, max = 100), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE), extend("examples" = ["Northwind"]))]
    pub name: String,
    /// The picture above everything else; the name stands there without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub logo: Option<LogoAssets>,
    /// The small picture of a browser's tab: the hash of a stored PNG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub icon: Option<AssetHash>,
    /// Colours on a light ground.
    #[serde(default = "light")]
    #[garde(dive)]
    pub light: Colours,
    /// Colours on a dark ground.
    #[serde(default = "dark")]
    #[garde(dive)]
    pub dark: Colours,
    /// Names of font families, most wanted first, as in CSS but without quotes: `Inter, Helvetica Neue, sans-serif`.
    #[serde(default = "font_family")]
    #[garde(length(max = 200), pattern(r"^[A-Za-z0-9][A-Za-z0-9 -]*(, ?[A-Za-z0-9][A-Za-z0-9 -]*)*$"))]
    #[schemars(extend("examples" = ["Georgia"]))]
    pub font_family: String,
    /// The file of the first of these families: the hash of a stored WOFF2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub font: Option<AssetHash>,
    /// The size of text on pages, `12px` to `24px` or the same in `rem`.
    #[serde(default = "text_size")]
    #[garde(custom(a_text_size))]
    pub text_size: Length,
    /// How round corners are, `0px` to `48px` or the same in `rem`.
    #[serde(default = "radius")]
    #[garde(custom(a_radius))]
    pub radius: Length,
    /// A stylesheet for pages, at most 25 KB. Only the allowed subset of CSS is taken, and it reaches nothing but what
    /// stands inside the brand's own part of the page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[garde(length(max = CSS_BYTES))]
    pub css: String,
    /// As whom mails are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub sender: Option<Sender>,
    /// What stands below everything else: a postal address, a legal notice. At most 1000 characters, lines kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 1000)))]
    #[schemars(length(max = 1000))]
    pub footer: Option<String>,
    /// Where people find help: an `https`, `http` or `mailto` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^(https?://|mailto:)[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = LINK), extend("examples" = ["https://northwind.example/help"]))]
    pub support_url: Option<String>,
    /// The brand's own site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https?://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = WEB), extend("examples" = ["https://northwind.example"]))]
    pub site_url: Option<String>,
    /// Where people sign in: the login page sends them there with `login_hint`. `https` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = SECURE), extend("examples" = ["https://id.northwind.example/"]))]
    pub sign_in_url: Option<String>,
    /// The terms of use that the login page links to. `https` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = SECURE), extend("examples" = ["https://northwind.example/terms"]))]
    pub terms_url: Option<String>,
    /// The privacy notice that the login page links to. `https` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = SECURE), extend("examples" = ["https://northwind.example/privacy"]))]
    pub privacy_url: Option<String>,
}

/// A logo as stored assets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct LogoAssets {
    /// The picture for a light ground.
    #[garde(dive)]
    pub light: AssetHash,
    /// The picture for a dark ground, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub dark: Option<AssetHash>,
    /// The width it is shown at, in CSS pixels, 16 to 600.
    #[garde(range(min = 16, max = 600))]
    pub width: u16,
    /// The height it is shown at, in CSS pixels, 16 to 200.
    #[garde(range(min = 16, max = 200))]
    pub height: u16,
}

/// What an asset is called by: the SHA-256 of its stored content, 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(transparent)]
#[garde(transparent)]
pub struct AssetHash(
    #[garde(pattern(r"^[0-9a-f]{64}$"))]
    #[schemars(extend("examples" = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]))]
    pub String,
);

/// A length: a number with at most two decimals, and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Length {
    hundredths: u32,
    unit: Unit,
}

/// What a length is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// CSS pixels.
    Px,
    /// The root's text size, 16 pixels.
    Rem,
}

/// Why a text is no [`Length`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from 0 to 999 with at most two decimals and the unit px or rem, such as 8px or 0.5rem")]
pub struct LengthError;

impl Length {
    /// So many CSS pixels.
    pub const fn px(pixels: u16) -> Self {
        Length { hundredths: pixels as u32 * 100, unit: Unit::Px }
    }

    /// In hundredths of a CSS pixel.
    pub const fn hundredths_of_px(self) -> u32 {
        match self.unit {
            Unit::Px => self.hundredths,
            Unit::Rem => self.hundredths * 16,
        }
    }
}

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let (number, unit) = match (text.strip_suffix("px"), text.strip_suffix("rem")) {
            (Some(number), _) => (number, Unit::Px),
            (_, Some(number)) => (number, Unit::Rem),
            _ => return Err(LengthError),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(part, 2) {
            return Err(LengthError);
        }
        let whole: u32 = whole.parse().map_err(|_| LengthError)?;
        let part: u32 = format!("{part:0<2}").parse().map_err(|_| LengthError)?;
        Ok(Length { hundredths: whole * 100 + part, unit })
    }
}

impl TryFrom<String> for Length {
    type Error = LengthError;

    fn try_from(text: String) -> Result<Self, LengthError> {
        text.parse()
    }
}

impl From<Length> for String {
    fn from(length: Length) -> String {
        length.to_string()
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.hundredths / 100, self.hundredths % 100);
        let unit = match self.unit {
            Unit::Px => "px",
            Unit::Rem => "rem",
        };
        match part {
            0 => write!(f, "{whole}{unit}"),
            part => write!(f, "{whole}.{part:02}{unit}"),
        }
    }
}

impl JsonSchema for Length {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Length".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length: a number from 0 to 999 with at most two decimals, and px or rem.",
            "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})?(px|rem)$",
            "examples": ["16px"]
        })
    }
}

fn a_text_size(length: &Length, _: &()) -> garde::Result {
    match (1200..=2400).contains(&length.hundredths_of_px()) {
        true => Ok(()),
        false => Err(garde::Error::new("must be 12px to 24px, or the same in rem")),
    }
}

fn a_radius(length: &Length, _: &()) -> garde::Result {
    match length.hundredths_of_px() <= 4800 {
        true => Ok(()),
        false => Err(garde::Error::new("must be 0px to 48px, or the same in rem")),
    }
}

fn one_line(text: &str, _: &()) -> garde::Result {
    match text.chars().any(char::is_control) {
        true => Err(garde::Error::new("must be one line without control characters")),
        false => Ok(()),
    }
}

fn light() -> Colours {
    Brand::plain("").light
}

fn dark() -> Colours {
    Brand::plain("").dark
}

fn font_family() -> String {
    Brand::plain("").font_family
}

fn text_size() -> Length {
    Length::px(16)
}

fn radius() -> Length {
    Length::px(8)
}

impl Look {
    /// A look of this name in plain colours.
    pub fn plain(name: impl Into<String>) -> Self {
        Look {
            name: name.into(),
            logo: None,
            icon: None,
            light: light(),
            dark: dark(),
            font_family: font_family(),
            font: None,
            text_size: text_size(),
            radius: radius(),
            css: String::new(),
            sender: None,
            footer: None,
            support_url: None,
            site_url: None,
            sign_in_url: None,
            terms_url: None,
            privacy_url: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::validate;

    #[test]
    fn a_length_is_a_number_and_a_unit_and_nothing_else() {
        for (text, back) in [("8px", "8px"), ("0.5rem", "0.50rem"), ("12.25px", "12.25px"), ("0px", "0px")] {
            assert_eq!(text.parse::<Length>().unwrap().to_string(), back);
        }
        for bad in
            ["", "8", "px", "8 px", "-1px", "1e3px", "8px;color:red", "calc(1px)", "1.234px", "1000px", "8em", ".5rem"]
        {
            assert_eq!(bad.parse::<Length>(), Err(LengthError), "{bad}");
        }
    }

    #[test]
    fn sizes_stay_within_what_can_be_read() {
        let faults = |change: &dyn Fn(&mut Look)| {
            let mut look = Look::plain("Northwind");
            change(&mut look);
            validate(&look).map(|()| vec![]).unwrap_or_else(|f| f.into_iter().map(|f| f.pointer).collect::<Vec<_>>())
        };
        assert_eq!(faults(&|_| {}), [""; 0]);
        assert_eq!(faults(&|l| l.text_size = "11px".parse().unwrap()), ["/text_size"]);
        assert_eq!(faults(&|l| l.text_size = "1.5rem".parse().unwrap()), [""; 0]);
        assert_eq!(faults(&|l| l.radius = "4rem".parse().unwrap()), ["/radius"]);
        assert_eq!(faults(&|l| l.css = "a".repeat(CSS_BYTES + 1)), ["/css"]);
        assert_eq!(faults(&|l| l.sign_in_url = Some("http://id.example/".into())), ["/sign_in_url"]);
        assert_eq!(faults(&|l| l.icon = Some(AssetHash("../etc/passwd".into()))), ["/icon"]);
    }
}
