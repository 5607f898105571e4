//! A brand's values as a stylesheet. Each is read into its type and written from it: none is pasted.

use std::fmt::Write;

use omnibus_schemas::brand::{Brand, Colours};
use omnibus_schemas::brander::{Face, Length};

use crate::look::colour::Colour;
use crate::version::path;

/// What every page has, whatever the brand.
const BASE: &str = include_str!("base.css");

/// Family names that stand without quotes.
pub(crate) const GENERIC: &[&str] = &[
    "serif",
    "sans-serif",
    "monospace",
    "cursive",
    "fantasy",
    "system-ui",
    "ui-serif",
    "ui-sans-serif",
    "ui-rounded",
    "ui-monospace",
];

/// The whole stylesheet of a page.
pub(super) fn stylesheet(brand: &Brand) -> String {
    let mut css = String::with_capacity(8 * 1024);
    let face = brand.face.as_ref();
    if let Some(font) = face.and_then(|face| face.font.as_ref()) {
        let _ = writeln!(
            css,
            "@font-face{{font-family:{};src:url({}) format(\"woff2\");font-display:swap}}",
            families(&brand.font_family).next().unwrap_or_else(|| "sans-serif".into()),
            path(font),
        );
    }
    let family = families(&brand.font_family).collect::<Vec<_>>().join(",");
    let (text_size, radius) = sizes(face);
    let _ =
        writeln!(css, ":root{{{}--font:{family};--text-size:{text_size};--radius:{radius}}}", variables(&brand.light));
    let _ = writeln!(css, "@media (prefers-color-scheme:dark){{:root{{{}}}}}", variables(&brand.dark));
    css.push_str(BASE);
    if let Some(face) = face {
        css.push_str(&face.css);
    }
    // It was checked when it was made; a style element ends at the first of these, so it is looked at once more.
    if css.contains('<') { css.replace('<', "") } else { css }
}

fn sizes(face: Option<&Face>) -> (Length, Length) {
    face.map_or((Length::px(16), Length::px(8)), |face| (face.text_size, face.radius))
}

fn variables(colours: &Colours) -> String {
    let named = [
        ("background", &colours.background),
        ("surface", &colours.surface),
        ("text", &colours.text),
        ("muted", &colours.muted),
        ("border", &colours.border),
        ("primary", &colours.primary),
        ("on-primary", &colours.on_primary),
        ("link", &colours.link),
    ];
    named.into_iter().fold(String::new(), |mut out, (name, value)| {
        let _ = write!(out, "--{name}:{};", Colour::parse(value).unwrap_or(Colour::BLACK));
        out
    })
}

/// The names, quoted. Quotes and backslashes can't be in them, and are left out should they be all the same.
fn families(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| match GENERIC.contains(&name) {
        true => name.to_owned(),
        false => {
            let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || " -".contains(*c)).collect();
            format!("\"{plain}\"")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_from_their_types() {
        let mut brand = Brand::plain("Acme");
        brand.font_family = "Inter, x\";}body{display:none, sans-serif".into();
        brand.light.text = "red;}</style>".into();
        let css = stylesheet(&brand);
        assert!(css.contains("--font:\"Inter\",\"xbodydisplaynone\",sans-serif;"), "{css}");
        assert!(css.contains("--text:#000000;") && !css.contains('<'));
    }
}
