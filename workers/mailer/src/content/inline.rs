//! Style sheets into elements, where mail programs look for them. It is done once, when a template is made, and so on a
//! source that still has its tags: they are put out of the way first, as words or comments that the HTML parser leaves
//! where they stand, and put back afterwards.

use css_inline::{CSSInliner, InlineOptions};
use omnibus_templates::Fault;
use omnibus_templates::html::{Place, places};
use omnibus_templates::tags::{Block, What, pieces};

/// Begins the words that stand for tags. A source that holds it is refused rather than misread.
const MARK: &str = "zqtag";

/// Most elements of a document, and most rules of its style sheets: every rule is held against every element.
const ELEMENTS: usize = 10_000;
const RULES: usize = 1_000;
/// The parser's output is walked by recursion, as deep as elements stand in each other.
const STACK: usize = 128 * 1024 * 1024;

/// The source with its styles inlined. What can't be, `@media` and the like, stays in one style sheet.
pub(crate) fn inline(html: &str) -> Result<String, Fault> {
    let fault = |reason: String| Fault::new("/html", reason);
    if html.to_ascii_lowercase().contains(MARK) {
        return Err(fault(format!("the letters {MARK} are not allowed")));
    }
    let (shielded, tags) = shield(html).map_err(fault)?;
    let options = InlineOptions::default()
        .load_remote_stylesheets(false)
        .keep_style_tags(false)
        .keep_link_tags(false)
        .keep_at_rules(true)
        .apply_width_attributes(true);
    let work = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || CSSInliner::new(options).inline(&shielded).map_err(|error| error.to_string()));
    let inlined = work
        .map_err(|error| error.to_string())
        .and_then(|thread| thread.join().unwrap_or_else(|_| Err("the inliner can't read them".to_owned())));
    let inlined = inlined.map_err(|error| fault(format!("its styles can't be inlined: {error}")))?;
    restore(&inlined, &tags).map_err(fault)
}

/// A tag that is out of the way.
struct Tag<'a> {
    written: &'a str,
    what: What<'a>,
    /// Whether it stood in a style sheet, and so may come back anywhere.
    moves: bool,
}

fn shield(html: &str) -> Result<(String, Vec<Tag<'_>>), String> {
    let pieces = pieces(html).map_err(|flaw| flaw.to_string())?;
    let places = places(html, &pieces).map_err(|flaw| flaw.to_string())?;
    let texts = pieces.iter().filter_map(|piece| match piece.what {
        What::Text(text) => Some((text.matches('<').count(), text.matches('{').count())),
        _ => None,
    });
    // An element is opened and closed, so it counts twice.
    let (elements, rules) = texts.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    if elements > 2 * ELEMENTS || rules > RULES {
        return Err(format!("has more than {ELEMENTS} elements or more than {RULES} style rules"));
    }
    let mut out = String::with_capacity(html.len() + pieces.len() * 8);
    let mut tags = Vec::new();
    for (piece, place) in pieces.iter().zip(&places) {
        let what = match &piece.what {
            What::Text(text) => {
                out.push_str(text);
                continue;
            }
            What::Comment => continue,
            what => what.clone(),
        };
        let word = format!("{MARK}{:05}x", tags.len());
        match (&what, place) {
            // A loop around a table's rows has its tags where a table can hold no text; a comment can stand there.
            (What::Value(_), _) => out.push_str(&word),
            (_, Place::Text) => out.push_str(&format!("<!--{word}-->")),
            _ => out.push_str(&word),
        }
        tags.push(Tag { written: &html[piece.range.clone()], what, moves: *place == Place::Style });
    }
    Ok((out, tags))
}

fn restore(inlined: &str, tags: &[Tag<'_>]) -> Result<String, String> {
    let mut out = String::with_capacity(inlined.len());
    let mut rest = inlined;
    let mut loops: Vec<bool> = Vec::new();
    while let Some(at) = rest.find(MARK) {
        let number = rest.get(at + MARK.len()..at + MARK.len() + 5).and_then(|digits| digits.parse::<usize>().ok());
        let tag = number.and_then(|number| tags.get(number)).ok_or("its tags can't be found again")?;
        let (before, after) = (&rest[..at], &rest[at + MARK.len() + 6..]);
        match (before.strip_suffix("<!--"), after.strip_prefix("-->")) {
            (Some(before), Some(after)) => {
                out.push_str(before);
                rest = after;
            }
            _ => {
                out.push_str(before);
                rest = after;
            }
        }
        match &tag.what {
            What::Open(block, _) => loops.push(*block == Block::Each),
            What::Else | What::ElseIf(_) => loops.last_mut().into_iter().for_each(|each| *each = false),
            What::Close(_) => drop(loops.pop()),
            _ => {}
        }
        match &tag.what {
            // In a loop a name is a field of the row, unless it says how far out it is.
            What::Value(path) if tag.moves => {
                let out_of = "../".repeat(loops.iter().filter(|each| **each).count());
                out.push_str(&format!("{{{{{out_of}{}}}}}", path.raw));
            }
            _ => out.push_str(tag.written),
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stay_where_they_are_while_styles_move() {
        let html = "<!doctype html><html><head><title>{{#if a}}{{b}}{{/if}}</title><style>td { color: {{c}} } @media (x) { td { color: {{d}} } }</style></head>\
                    <body><table><tbody>{{#each rows}}<tr><td class=\"{{#if e}}f{{/if}}\">{{g}}</td></tr>{{else}}<tr><td>-</td></tr>{{/each}}</tbody></table></body></html>";
        let inlined = inline(html).unwrap();
        assert!(inlined.contains("<title>{{#if a}}{{b}}{{/if}}</title>"), "{inlined}");
        assert!(
            inlined.contains(
                "<tbody>{{#each rows}}<tr><td class=\"{{#if e}}f{{/if}}\" style=\"color: {{../c}};\">{{g}}</td></tr>\
                 {{else}}<tr><td style=\"color: {{c}};\">-</td></tr>{{/each}}</tbody>"
            ),
            "{inlined}"
        );
        assert!(inlined.contains("@media (x) { td { color: {{d}} } }"), "{inlined}");
    }

    #[test]
    fn no_style_sheet_is_fetched_from_anywhere() {
        let inlined = inline(
            "<html><head><link rel=\"stylesheet\" href=\"http://127.0.0.1:1/x.css\"></head><body>x</body></html>",
        );
        assert!(!inlined.unwrap().contains("<link"));
    }

    #[test]
    fn a_pit_of_elements_or_a_heap_of_rules_is_a_fault_and_not_the_end() {
        let pit = |n: usize| format!("<p>{}x{}</p>", "<b>".repeat(n), "</b>".repeat(n));
        assert!(inline(&pit(9_000)).is_ok());
        assert!(inline(&pit(10_001)).unwrap_err().reason.contains("more than 10000 elements"));
        assert!(inline(&"<b>".repeat(19_999)).is_ok());
        let heap =
            |n: usize| format!("<html><head><style>{}</style></head><body><p>x</p></body></html>", "p{a:b}".repeat(n));
        assert!(inline(&heap(1_000)).is_ok());
        assert!(inline(&heap(1_001)).unwrap_err().reason.contains("more than 1000 style rules"));
    }

    #[test]
    fn what_looks_like_our_own_word_is_refused() {
        assert!(inline("<p>zqtag00000x {{a}}</p>").is_err());
        assert!(inline("<p>ZQTAG00000x {{a}}</p>").is_err());
    }
}
