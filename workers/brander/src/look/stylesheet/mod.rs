//! A tenant's own stylesheet: read by a real CSS parser, refused where it says anything outside the allowed subset, and
//! written anew from what was understood, with every selector inside the brand's root.
//!
//! Three walls stand one behind the other. The tokens are walked first (`tokens`), so that nothing that loads, runs or
//! nests without end reaches the parser. The parsed rules are then copied by allow-list. What comes out is walked
//! once more before anyone sees it. None of them looks for bad words in text: escapes, comments and odd spacing mean to
//! us what they mean to a browser.

mod declarations;
mod selectors;
mod tokens;

use std::fmt::Write;

use lightningcss::rules::{CssRule, CssRuleList, Location};
use lightningcss::stylesheet::{ParserOptions, PrinterOptions, StyleSheet};
use lightningcss::targets::{Features, Targets};
use lightningcss::traits::ToCss;

/// The class of the element inside which a tenant's rules hold. Everything else on a page is the platform's.
pub const ROOT: &str = "omnibus-brand";

/// Rules of one sheet, at most: each is copied, so their number is bounded as their bytes are.
const MOST_SELECTORS: usize = 1000;

/// Why a stylesheet is refused: in words, with the line where that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Refused(pub Vec<String>);

/// The stylesheet as pages may carry it, or all that is wrong with it.
pub fn scoped(source: &str) -> Result<String, Refused> {
    let one = |words: String| Refused(vec![words]);
    if source.len() > omnibus_schemas::brander::CSS_BYTES {
        return Err(one(format!("the stylesheet has {} bytes; 25 KB is the most", source.len())));
    }
    tokens::walk(source).map_err(one)?;
    let sheet = StyleSheet::parse(source, ParserOptions::default()).map_err(|error| {
        let line = error.loc.as_ref().map(|at| format!("line {}: ", at.line + 1)).unwrap_or_default();
        one(format!("{line}{}", error.kind))
    })?;
    let mut copy = Copy { out: String::with_capacity(source.len()), faults: vec![], selectors: 0 };
    copy.rules(&sheet.rules, false);
    if !copy.faults.is_empty() {
        copy.faults.truncate(10);
        return Err(Refused(copy.faults));
    }
    if copy.out.contains('<') {
        return Err(one("'<' has no place in a stylesheet".to_owned()));
    }
    tokens::walk(&copy.out).map_err(one)?;
    Ok(copy.out)
}

/// How values and selectors are written: compact, with nothing remembered from one to the next.
fn compact() -> PrinterOptions<'static> {
    // Ranges in media queries are written with `min-` and `max-`: every browser reads those, and no '<' is needed.
    let targets = Targets { include: Features::MediaQueries, ..Targets::default() };
    PrinterOptions { minify: true, targets, ..PrinterOptions::default() }
}

struct Copy {
    out: String,
    faults: Vec<String>,
    selectors: usize,
}

impl Copy {
    fn fault(&mut self, at: Location, words: impl std::fmt::Display) {
        self.faults.push(format!("line {}: {words}", at.line + 1));
    }

    fn rules(&mut self, rules: &CssRuleList<'_>, inside_media: bool) {
        for rule in &rules.0 {
            match rule {
                CssRule::Style(rule) => {
                    if !rule.rules.0.is_empty() {
                        self.fault(rule.loc, "rules can't stand inside rules; write the selectors out");
                    }
                    let selectors: Vec<_> = rule.selectors.0.iter().map(selectors::scoped).collect();
                    self.selectors += selectors.len();
                    if self.selectors > MOST_SELECTORS {
                        return self.fault(rule.loc, format!("more than {MOST_SELECTORS} selectors"));
                    }
                    let declarations = declarations::allowed(&rule.declarations);
                    match (selectors.into_iter().collect::<Result<Vec<_>, _>>(), declarations) {
                        (Ok(selectors), Ok(body)) => {
                            let _ = writeln!(self.out, "{}{{{body}}}", selectors.join(","));
                        }
                        (selectors, declarations) => {
                            for words in [selectors.err(), declarations.err()].into_iter().flatten() {
                                self.fault(rule.loc, words);
                            }
                        }
                    }
                }
                CssRule::Media(media) if !inside_media => match media.query.to_css_string(compact()) {
                    Ok(query) => {
                        let _ = writeln!(self.out, "@media {query}{{");
                        self.rules(&media.rules, true);
                        self.out.push_str("}\n");
                    }
                    Err(error) => self.fault(media.loc, error),
                },
                CssRule::Media(media) => self.fault(media.loc, "@media can't stand inside @media"),
                CssRule::Ignored => {}
                other => self.faults.push(format!("{} is not allowed; of at-rules, only @media is", name(other))),
            }
        }
    }
}

fn name(rule: &CssRule<'_>) -> &'static str {
    match rule {
        CssRule::Import(_) => "@import",
        CssRule::Keyframes(_) => "@keyframes",
        CssRule::FontFace(_) => "@font-face",
        CssRule::Supports(_) => "@supports",
        CssRule::Namespace(_) => "@namespace",
        CssRule::LayerBlock(_) | CssRule::LayerStatement(_) => "@layer",
        CssRule::Container(_) => "@container",
        CssRule::Scope(_) => "@scope",
        CssRule::Property(_) => "@property",
        _ => "this at-rule",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_rules_are_written_anew_inside_the_root() {
        let css = scoped(
            "/* ours */ .card, h1 > a:hover { border-color: #FF0000; padding: 1rem 2em !important }
             @media (max-width: 600px) { .card { border-radius: 4px } }",
        )
        .unwrap();
        assert_eq!(
            css,
            ".omnibus-brand .card,.omnibus-brand h1>a:hover{border-color:red;padding:1rem 2em!important}\n\
             @media (max-width:600px){\n.omnibus-brand .card{border-radius:4px}\n}\n"
        );
    }

    #[test]
    fn lines_and_shadows_of_a_usual_size_are_taken() {
        for good in [
            ".card{box-shadow:0 10px 40px -10px rgb(0 0 0 / 30%)}",
            ".card{border:2px solid #1b2430;border-radius:400px;outline:.25rem dashed red}",
            "a{text-decoration:underline;border-bottom-width:.1em;vertical-align:middle}",
            "table{border-spacing:40px}",
        ] {
            assert!(scoped(good).is_ok(), "{good}: {:?}", scoped(good));
        }
    }

    #[test]
    fn nothing_is_a_stylesheet_too() {
        assert_eq!(scoped("").unwrap(), "");
        assert_eq!(scoped(" /* nothing */ ").unwrap(), "");
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_line() {
        let Refused(faults) = scoped(".a { position: fixed }\n.b { padding: 0 }\nbody { float: left }").unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("line 1: ") && faults[0].contains("position"), "{faults:?}");
        assert!(faults[1].starts_with("line 3: "), "{faults:?}");
    }

    #[test]
    fn twenty_five_kilobytes_are_read_and_one_byte_more_is_not() {
        let rule = ".a{padding:0}";
        let room = omnibus_schemas::brander::CSS_BYTES;
        let full = format!("{rule}{}", " ".repeat(room - rule.len()));
        assert!(scoped(&full).is_ok());
        assert!(scoped(&format!("{full} ")).is_err());
    }
}
