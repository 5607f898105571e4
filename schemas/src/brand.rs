//! A tenant's face: what mails, pages and open tabs are dressed in. The white-label worker writes it whole, as one
//! revision, into the bucket [`BUCKET`]; everyone else watches that bucket.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The key-value bucket that holds the active brands. A key is a tenant, a value the JSON of its [`Brand`]; no entry
/// means no brand of one's own.
pub const BUCKET: &str = "brands";

/// The key-value bucket that holds the newest version of each tenant's brand, active or not: what previews are dressed
/// in. A key is a tenant, a value the JSON of a [`Brand`] whose revision is the version's number.
pub const DRAFTS: &str = "drafts";

/// A tenant's active brand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Brand {
    /// Grows with every activation, a rollback included. A reader keeps the highest that it has seen.
    #[garde(skip)]
    pub revision: u64,
    /// The version that is active, where the brand has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub version_id: Option<Uuid>,
    /// The name that people know, 1 to 100 characters on one line.
    #[garde(length(chars, min = 1, max = 100), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub name: String,
    /// The picture above everything else; the name stands there without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub logo: Option<Logo>,
    /// Colours on a light ground.
    #[garde(dive)]
    pub light: Colours,
    /// Colours on a dark ground.
    #[garde(dive)]
    pub dark: Colours,
    /// Names of font families, most wanted first, as in CSS but without quotes: `Inter, Helvetica Neue, sans-serif`.
    #[garde(length(max = 200), pattern(r"^[A-Za-z0-9][A-Za-z0-9 -]*(, ?[A-Za-z0-9][A-Za-z0-9 -]*)*$"))]
    pub font_family: String,
    /// As whom mails are sent; the mailer's own sender if absent, or if the address's domain is not the tenant's.
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
    #[schemars(length(max = 2048), regex(pattern = LINK), example = "https://northwind.example")]
    pub support_url: Option<String>,
    /// The brand's own site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https?://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = WEB), example = "https://northwind.example")]
    pub site_url: Option<String>,
    /// What pages show beyond this. Mails need none of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub face: Option<crate::brander::Face>,
}

/// A picture that mail programs show: PNG or JPEG at a public address. Never SVG, which they don't show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Logo {
    /// The picture for a light ground.
    #[garde(length(max = 2048), pattern(r"^https?://[!#-&(-;=?-\[\]-~]+$"))]
    #[schemars(example = "https://northwind.example")]
    pub url: String,
    /// The picture for a dark ground, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 2048), pattern(r"^https?://[!#-&(-;=?-\[\]-~]+$")))]
    #[schemars(length(max = 2048), regex(pattern = WEB), example = "https://northwind.example")]
    pub dark_url: Option<String>,
    /// The width it is shown at, in CSS pixels, 16 to 600.
    #[garde(range(min = 16, max = 600))]
    pub width: u16,
    /// The height it is shown at, in CSS pixels, 16 to 200.
    #[garde(range(min = 16, max = 200))]
    pub height: u16,
}

/// Who a mail comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Sender {
    /// The address.
    #[garde(email, length(max = 254))]
    pub email: String,
    /// The name beside it; the brand's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub name: Option<String>,
    /// Where an answer goes, if not to the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(email, length(max = 254)))]
    #[schemars(email, length(max = 254))]
    pub reply_to: Option<String>,
}

/// One set of colours, each `#rrggbb`. Text colours keep 4.5:1 to the ground they stand on (WCAG 2.2, 1.4.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Colours {
    /// The ground of the whole page.
    #[garde(pattern(r"^#[0-9a-fA-F]{6}$"))]
    #[schemars(example = "#1d4ed8")]
    pub background: String,
    /// The ground of the content.
    #[garde(pattern(r"^#[0-9a-fA-F]{6}$"))]
    #[schemars(example = "#1d4ed8")]
    pub surface: String,
    /// Text, on `surface`.
    #[garde(pattern(r"^#[0-9a-fA-F]{6}$"))]
    #[schemars(example = "#1d4ed8")]
    pub text: String,
    /// Text of less weight, on `surface` and on `background`.
    #[garde(pattern(r"^#[0-9a-fA-F]{6}$"))]
    #[schemars(example = "#1d4ed8")]
    pub muted: String,
    /// Lines between things.
    #[garde(pattern(r"^#[0-9a-fA-F]{6}$"))]
    #[schemars(example = "#1d4ed8")]
    pub border: String,
    /// The ground of buttons.
    #[garde(pattern(r"^#[0-9a-fA-F]{6}$"))]
    #[schemars(example = "#1d4ed8")]
    pub primary: String,
    /// Text on `primary`.
    #[garde(pattern(r"^#[0-9a-fA-F]{6}$"))]
    #[schemars(example = "#1d4ed8")]
    pub on_primary: String,
    /// Links, on `surface` and on `background`.
    #[garde(pattern(r"^#[0-9a-fA-F]{6}$"))]
    #[schemars(example = "#1d4ed8")]
    pub link: String,
}

const WEB: &str = r"^https?://[!#-&(-;=?-\[\]-~]+$";
const LINK: &str = r"^(https?://|mailto:)[!#-&(-;=?-\[\]-~]+$";
const ONE_LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

fn one_line(text: &str, _: &()) -> garde::Result {
    match text.chars().any(char::is_control) {
        true => Err(garde::Error::new("must be one line without control characters")),
        false => Ok(()),
    }
}

impl Brand {
    /// What a tenant has before it has a brand: its own name in plain colours.
    pub fn plain(name: impl Into<String>) -> Self {
        let colour = |text: &str| text.to_owned();
        Brand {
            revision: 0,
            version_id: None,
            name: name.into(),
            logo: None,
            light: Colours {
                background: colour("#f2f4f7"),
                surface: colour("#ffffff"),
                text: colour("#1b2430"),
                muted: colour("#545f6e"),
                border: colour("#d5dae1"),
                primary: colour("#1d4ed8"),
                on_primary: colour("#ffffff"),
                link: colour("#1d4ed8"),
            },
            dark: Colours {
                background: colour("#10141a"),
                surface: colour("#1a2029"),
                text: colour("#e8ecf2"),
                muted: colour("#a9b3c1"),
                border: colour("#38414f"),
                primary: colour("#93b4ff"),
                on_primary: colour("#0c1a3a"),
                link: colour("#9dbcff"),
            },
            font_family: "Segoe UI, Helvetica Neue, Helvetica, Arial, sans-serif".to_owned(),
            sender: None,
            footer: None,
            support_url: None,
            site_url: None,
            face: None,
        }
    }

    /// A brand with everything set, as documentation and previews show it.
    pub fn example() -> Self {
        let plain = Brand::plain("Northwind Coffee");
        Brand {
            revision: 3,
            version_id: Some(Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0007)),
            logo: Some(Logo {
                url: "https://northwind.example/assets/logo.png".into(),
                dark_url: Some("https://northwind.example/assets/logo-dark.png".into()),
                width: 160,
                height: 40,
            }),
            light: Colours { primary: "#9a3412".into(), link: "#9a3412".into(), ..plain.light },
            dark: Colours {
                primary: "#fdba74".into(),
                on_primary: "#3b1505".into(),
                link: "#fdba74".into(),
                ..plain.dark
            },
            font_family: "Georgia, serif".into(),
            sender: Some(Sender {
                email: "hello@northwind.example".into(),
                name: Some("Northwind Coffee".into()),
                reply_to: None,
            }),
            footer: Some("Northwind Coffee Ltd.\n12 Harbour Street, Bristol".into()),
            support_url: Some("mailto:help@northwind.example".into()),
            site_url: Some("https://northwind.example".into()),
            ..plain
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::validate;

    /// WCAG 2.2, relative luminance and contrast ratio.
    fn contrast(a: &str, b: &str) -> f64 {
        let luminance = |colour: &str| {
            let channel = |at: usize| {
                let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn black_on_white_is_twenty_one_to_one() {
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 0.001);
    }

    #[test]
    fn every_text_of_the_plain_brand_can_be_read() {
        for brand in [Brand::plain("acme"), Brand::example()] {
            for set in [&brand.light, &brand.dark] {
                for (text, ground) in [
                    (&set.text, &set.surface),
                    (&set.text, &set.background),
                    (&set.muted, &set.surface),
                    (&set.muted, &set.background),
                    (&set.link, &set.surface),
                    (&set.link, &set.background),
                    (&set.on_primary, &set.primary),
                ] {
                    assert!(contrast(text, ground) >= 4.5, "{text} on {ground}: {:.2}", contrast(text, ground));
                }
            }
        }
    }

    #[test]
    fn values_that_could_leave_their_place_in_a_style_are_refused() {
        let faults = |change: &dyn Fn(&mut Brand)| {
            let mut brand = Brand::example();
            change(&mut brand);
            validate(&brand).map(|()| vec![]).unwrap_or_else(|f| f.into_iter().map(|f| f.pointer).collect::<Vec<_>>())
        };
        assert_eq!(faults(&|_| {}), [""; 0]);
        assert_eq!(faults(&|b| b.light.text = "red;}".into()), ["/light/text"]);
        assert_eq!(faults(&|b| b.font_family = "x; background: url(a)".into()), ["/font_family"]);
        assert_eq!(faults(&|b| b.name = "A\r\nBcc: x@example.com".into()), ["/name"]);
        assert_eq!(faults(&|b| b.support_url = Some("javascript:alert(1)".into())), ["/support_url"]);
        assert_eq!(faults(&|b| b.logo.as_mut().unwrap().url = "https://x.example/\"onerror=".into()), ["/logo/url"]);
    }
}
