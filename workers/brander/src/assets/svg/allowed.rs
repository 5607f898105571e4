//! What a drawing may have. Everything else is left out.

/// The namespace of elements that are kept.
pub(super) const SVG: &str = "http://www.w3.org/2000/svg";
/// The namespace of the older way to write `href`.
pub(super) const XLINK: &str = "http://www.w3.org/1999/xlink";

/// Elements that draw, group, name or are referred to. None loads, runs, moves or embeds another language. Patterns and
/// markers are not among them: one is drawn at every tile, path or point of whoever inherits it, so a file of a hundred
/// bytes can ask for more memory than there is.
const ELEMENTS: &[&str] = &[
    "circle",
    "clipPath",
    "defs",
    "desc",
    "ellipse",
    "g",
    "line",
    "linearGradient",
    "mask",
    "path",
    "polygon",
    "polyline",
    "radialGradient",
    "rect",
    "stop",
    "svg",
    "symbol",
    "text",
    "title",
    "tspan",
    "use",
];

/// Elements in which text means something.
const WITH_TEXT: &[&str] = &["desc", "text", "title", "tspan"];

/// Numbers, lists of numbers, path data and transformations.
const NUMBERS: &[&str] = &[
    "cx",
    "cy",
    "d",
    "dx",
    "dy",
    "fill-opacity",
    "font-size",
    "fx",
    "fy",
    "gradientTransform",
    "height",
    "letter-spacing",
    "offset",
    "opacity",
    "pathLength",
    "points",
    "r",
    "rotate",
    "rx",
    "ry",
    "stop-opacity",
    "stroke-miterlimit",
    "stroke-opacity",
    "stroke-width",
    "textLength",
    "transform",
    "viewBox",
    "width",
    "word-spacing",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
];

/// Single words of a fixed list in the standard; any word is harmless.
const WORDS: &[&str] = &[
    "clip-rule",
    "clipPathUnits",
    "dominant-baseline",
    "fill-rule",
    "font-stretch",
    "font-style",
    "font-weight",
    "gradientUnits",
    "lengthAdjust",
    "maskContentUnits",
    "maskUnits",
    "paint-order",
    "preserveAspectRatio",
    "shape-rendering",
    "spreadMethod",
    "stroke-linecap",
    "stroke-linejoin",
    "text-anchor",
    "text-rendering",
    "vector-effect",
    "visibility",
];

/// Colours, or a reference to something in the same drawing.
const PAINTS: &[&str] = &["color", "fill", "stop-color", "stroke"];

/// References to something in the same drawing, or `none`.
const REFERENCES: &[&str] = &["clip-path", "mask"];

pub(super) fn element(name: &str) -> bool {
    ELEMENTS.contains(&name)
}

pub(super) fn has_text(name: &str) -> bool {
    WITH_TEXT.contains(&name)
}

/// Is this attribute, with this value, harmless?
pub(super) fn attribute(name: &str, value: &str) -> bool {
    let value = value.trim();
    if value.is_empty() || value.len() > 100_000 {
        return false;
    }
    match name {
        "id" => identifier(value),
        "href" => value.strip_prefix('#').is_some_and(identifier),
        "version" => value == "1.1" || value == "1.0" || value == "2.0",
        "font-family" => value.len() <= 200 && value.chars().all(|c| c.is_ascii_alphanumeric() || " ,'-".contains(c)),
        _ if NUMBERS.contains(&name) => {
            value.chars().all(|c| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ".,+-()%".contains(c))
        }
        _ if WORDS.contains(&name) => {
            value.len() <= 100 && value.chars().all(|c| c.is_ascii_alphanumeric() || " -.".contains(c))
        }
        _ if PAINTS.contains(&name) => paint(value),
        _ if REFERENCES.contains(&name) => value == "none" || reference(value).is_some(),
        _ => false,
    }
}

/// `url(#id)`: what it refers to.
pub(super) fn reference(value: &str) -> Option<&str> {
    let inside = value.trim().strip_prefix("url(")?.strip_suffix(')')?;
    let id = inside.strip_prefix('#')?;
    identifier(id).then_some(id)
}

fn identifier(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

fn paint(value: &str) -> bool {
    if reference(value).is_some() {
        return true;
    }
    let word = !value.is_empty() && value.len() <= 40 && value.chars().all(|c| c.is_ascii_alphabetic());
    let hex = value
        .strip_prefix('#')
        .is_some_and(|digits| [3, 4, 6, 8].contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    let function = ["rgb(", "rgba(", "hsl(", "hsla("].iter().any(|start| {
        let inside = value.strip_prefix(start).and_then(|rest| rest.strip_suffix(')'));
        inside.is_some_and(|inside| {
            inside.len() <= 40 && inside.chars().all(|c| c.is_ascii_digit() || " .,%/-".contains(c))
        })
    });
    word || hex || function
}
