//! Which colours meet on a page or in a mail, and whether they can be told apart. WCAG 2.2, 1.4.3 and 1.4.11.

use omnibus_schemas::brand::Colours;
use omnibus_schemas::brander::{ContrastPair, Look};

use super::colour::Colour;

/// Text must reach 4.5:1.
const TEXT: f64 = 4.5;
/// Large text, and what is seen and not read, must reach 3:1.
const LARGE: f64 = 3.0;

/// What is in front, what is behind it, and the least that will do.
const PAIRS: [(&str, &str, f64); 9] = [
    ("text", "background", TEXT),
    ("text", "surface", TEXT),
    ("muted", "background", TEXT),
    ("muted", "surface", TEXT),
    ("link", "background", TEXT),
    ("link", "surface", TEXT),
    ("on_primary", "primary", TEXT),
    // Headings stand in the primary colour, in large text.
    ("primary", "background", LARGE),
    ("primary", "surface", LARGE),
];

/// Every pair of both sets.
pub fn pairs(look: &Look) -> Vec<ContrastPair> {
    let sets = [("light", &look.light), ("dark", &look.dark)];
    sets.into_iter().flat_map(|(set, colours)| PAIRS.iter().map(move |pair| judge(set, colours, *pair))).collect()
}

/// The pairs that will not do.
pub fn faults(look: &Look) -> Vec<ContrastPair> {
    pairs(look).into_iter().filter(|pair| !pair.passes).collect()
}

/// A fault in words: the pair, the ratio, and a colour that would do.
pub fn words(pair: &ContrastPair) -> String {
    let ContrastPair { set, front, ground, ratio, least, would_do, .. } = pair;
    let would_do = would_do.as_deref().map(|colour| format!("; {colour} would do")).unwrap_or_default();
    format!("{set}.{front} on {set}.{ground} has {ratio}:1, and {least}:1 is the least{would_do}")
}

fn judge(set: &str, colours: &Colours, (front, ground, least): (&str, &str, f64)) -> ContrastPair {
    let (a, b) = (colour(colours, front), colour(colours, ground));
    let ratio = a.contrast(b);
    let passes = ratio >= least;
    // The colour in front may stand on other grounds too, and what would do has to do on each.
    let would_do = (!passes).then(|| {
        let grounds: Vec<_> =
            PAIRS.iter().filter(|pair| pair.0 == front).map(|pair| (colour(colours, pair.1), pair.2)).collect();
        let first = a.readable_on(b, least);
        let best = grounds
            .iter()
            .map(|(ground, least)| a.readable_on(*ground, *least))
            .find(|found| grounds.iter().all(|(ground, least)| found.contrast(*ground) >= *least));
        best.unwrap_or(first).to_string()
    });
    ContrastPair {
        set: set.to_owned(),
        front: front.to_owned(),
        ground: ground.to_owned(),
        ratio: rounded_down(ratio),
        least: rounded_down(least),
        passes,
        would_do,
    }
}

/// Two decimals, never up: 4.499 is not 4.50.
fn rounded_down(ratio: f64) -> String {
    format!("{:.2}", (ratio * 100.0 + 1e-9).floor() / 100.0)
}

fn colour(colours: &Colours, field: &str) -> Colour {
    let text = match field {
        "background" => &colours.background,
        "surface" => &colours.surface,
        "text" => &colours.text,
        "muted" => &colours.muted,
        "primary" => &colours.primary,
        "on_primary" => &colours.on_primary,
        _ => &colours.link,
    };
    // The contract lets nothing else through; black would be told as a fault of the pair.
    Colour::parse(text).unwrap_or(Colour::BLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_look_can_be_read_in_light_and_in_dark() {
        let pairs = pairs(&Look::plain("Northwind"));
        assert_eq!(pairs.len(), 18);
        assert!(pairs.iter().all(|pair| pair.passes), "{pairs:#?}");
    }

    #[test]
    fn a_fault_names_the_pair_the_ratio_and_a_colour_that_would_do() {
        let mut look = Look::plain("Northwind");
        look.light.surface = "#ffffff".into();
        look.light.muted = "#777777".into();
        let faults = faults(&look);
        let on_surface = faults.iter().find(|pair| pair.ground == "surface").unwrap();
        assert_eq!((on_surface.set.as_str(), on_surface.front.as_str()), ("light", "muted"));
        assert_eq!((on_surface.ratio.as_str(), on_surface.least.as_str()), ("4.47", "4.50"));
        let said = words(on_surface);
        assert!(said.starts_with("light.muted on light.surface has 4.47:1, and 4.50:1 is the least; #"), "{said}");

        // What would do does on every ground that the colour stands on.
        look.light.muted = on_surface.would_do.clone().unwrap();
        assert_eq!(super::faults(&look), []);
    }

    #[test]
    fn dark_is_judged_as_light_is_and_large_text_by_less() {
        let mut look = Look::plain("Northwind");
        look.dark.link = "#1d4ed8".into();
        let found: Vec<_> = faults(&look).into_iter().map(|pair| (pair.set, pair.front, pair.ground)).collect();
        let dark = |ground: &str| ("dark".to_owned(), "link".to_owned(), ground.to_owned());
        assert_eq!(found, [dark("background"), dark("surface")]);

        let mut look = Look::plain("Northwind");
        look.light.background = "#ffffff".into();
        look.light.primary = "#949494".into();
        look.light.on_primary = "#000000".into();
        assert_eq!(faults(&look), [], "3.03:1 is enough for large text");
        look.light.primary = "#959595".into();
        assert_eq!(faults(&look).len(), 2);
    }

    #[test]
    fn every_pair_is_looked_at() {
        for (front, ground, _) in PAIRS {
            let mut look = Look::plain("Northwind");
            let same = colour(&look.dark, ground).to_string();
            let field = match front {
                "text" => &mut look.dark.text,
                "muted" => &mut look.dark.muted,
                "link" => &mut look.dark.link,
                "primary" => &mut look.dark.primary,
                _ => &mut look.dark.on_primary,
            };
            *field = same;
            let found = faults(&look);
            assert!(found.iter().any(|pair| pair.front == front && pair.ground == ground && pair.ratio == "1.00"));
        }
    }
}
