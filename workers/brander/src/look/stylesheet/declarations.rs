//! Which properties a tenant may set: how things look, never whether and where they are. What could cover, move away or
//! hide something else is left out, and so is what loads. So are the colours and sizes of text and of what it stands on:
//! those are the theme's, whose every pair is judged.

use cssparser::{Parser, ParserInput, Token};
use lightningcss::declaration::DeclarationBlock;
use lightningcss::properties::Property;

use super::compact;

/// Properties by name. Those that need a look at their values stand in [`one`].
const ALLOWED: &[&str] = &[
    "align-content",
    "align-items",
    "align-self",
    "border",
    "border-bottom",
    "border-bottom-color",
    "border-bottom-left-radius",
    "border-bottom-right-radius",
    "border-bottom-style",
    "border-bottom-width",
    "border-color",
    "border-left",
    "border-left-color",
    "border-left-style",
    "border-left-width",
    "border-radius",
    "border-right",
    "border-right-color",
    "border-right-style",
    "border-right-width",
    "border-spacing",
    "border-style",
    "border-top",
    "border-top-color",
    "border-top-left-radius",
    "border-top-right-radius",
    "border-top-style",
    "border-top-width",
    "border-width",
    "box-shadow",
    "column-gap",
    "display",
    "flex",
    "flex-basis",
    "flex-direction",
    "flex-flow",
    "flex-grow",
    "flex-shrink",
    "flex-wrap",
    "font-family",
    "font-stretch",
    "font-style",
    "font-variant-caps",
    "font-weight",
    "gap",
    "hyphens",
    "justify-content",
    "justify-items",
    "justify-self",
    "letter-spacing",
    "margin",
    "margin-bottom",
    "margin-left",
    "margin-right",
    "margin-top",
    "max-width",
    "min-height",
    "min-width",
    "outline",
    "outline-color",
    "outline-style",
    "outline-width",
    "overflow-wrap",
    "padding",
    "padding-bottom",
    "padding-left",
    "padding-right",
    "padding-top",
    "row-gap",
    "text-align",
    "text-decoration",
    "text-decoration-color",
    "text-decoration-line",
    "text-decoration-style",
    "text-decoration-thickness",
    "text-indent",
    "text-transform",
    "vertical-align",
    "white-space",
    "width",
    "word-break",
    "word-spacing",
];

/// Values of `display` that keep an element on the page.
const DISPLAYS: &[&str] = &["block", "flex", "grid", "inline", "inline-block", "inline-flex", "flow-root", "list-item"];

/// The most that a property may paint beside or across what it is set on, in pixels and in heights of the text: more would
/// be another ground for text nearby, or cover it. `None` for what paints nothing there.
fn widest(name: &str) -> Option<(f32, f32)> {
    match name {
        "box-shadow" => Some((64.0, 4.0)),
        "vertical-align" => Some((8.0, 0.5)),
        "border-spacing" => None,
        _ if name.ends_with("radius") => None,
        _ if name.starts_with("border") => Some((32.0, 2.0)),
        _ if name.starts_with("outline") => Some((8.0, 0.5)),
        _ if name.starts_with("text-decoration") => Some((4.0, 0.25)),
        _ => None,
    }
}

/// Are all lengths of a value known, and none longer than that?
fn within(value: &str, (pixels, heights): (f32, f32)) -> bool {
    let mut input = ParserInput::new(value);
    let mut parser = Parser::new(&mut input);
    loop {
        match parser.next() {
            Ok(Token::Dimension { value, unit, .. }) => {
                let most = match &**unit {
                    "px" | "pt" => pixels,
                    "em" | "rem" => heights,
                    _ => return false,
                };
                if value.abs() > most {
                    return false;
                }
            }
            // Of something whose size nobody knows.
            Ok(Token::Percentage { .. }) => return false,
            Ok(Token::Function(name)) if ["calc", "clamp", "max", "min"].contains(&&**name) => return false,
            // Words, and colours with all that stands in their brackets.
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}

/// The declarations, written anew.
pub(super) fn allowed(block: &DeclarationBlock<'_>) -> Result<String, String> {
    let plain = block.declarations.iter().map(|property| (property, false));
    let important = block.important_declarations.iter().map(|property| (property, true));
    let written: Result<Vec<_>, _> =
        plain.chain(important).map(|(property, important)| one(property, important)).collect();
    Ok(written?.join(";"))
}

fn one(property: &Property<'_>, important: bool) -> Result<String, String> {
    let id = property.property_id();
    let name: String = id.name().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    if let Property::Unparsed(_) | Property::Custom(_) = property {
        let known = ALLOWED.contains(&name.as_str());
        return Err(match known {
            true => format!("the value of {name} is not understood, or calls what is not known before it is shown"),
            false => format!("the property {name} is not allowed"),
        });
    }
    if !ALLOWED.contains(&name.as_str()) {
        return Err(format!(
            "the property {name} is not allowed: it could hide, move or cover, or it is the theme's to say"
        ));
    }
    let value = property.value_to_css_string(compact()).map_err(|error| error.to_string())?;
    if let Some(most) = widest(&name).filter(|most| !within(&value, *most)) {
        let (pixels, heights) = most;
        return Err(format!(
            "{name} can have lengths of at most {pixels}px or {heights}em, and none that is calculated"
        ));
    }
    match property {
        Property::BoxShadow(shadows, _) if shadows.iter().any(|shadow| shadow.inset) => {
            return Err("box-shadow can't be inset: it would be another ground for what stands on it".into());
        }
        Property::Display(_) if !DISPLAYS.contains(&value.as_str()) => {
            return Err(format!("display can be one of {}", DISPLAYS.join(", ")));
        }
        _ if (name.starts_with("margin") || name == "text-indent") && value.contains('-') => {
            return Err(format!("{name} can't be negative, and can't be calculated from what is"));
        }
        _ => {}
    }
    property.to_css_string(important, compact()).map_err(|error| error.to_string())
}
