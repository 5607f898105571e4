//! Where in an HTML source a tag stands: escaping makes a value harmless in text and in a quoted attribute, and nowhere
//! else. So values stand in those two places only; in an address (`href`) only what was checked as one; in a style only
//! what was checked as a colour, a font or a length. A block may not begin in one place and end in another.

use crate::shape::{Names, Shape};
use crate::tags::{Flaw, Piece, What};

/// Elements that no mail program shows, that reach outside of the mail, or that browsers read by other rules than the
/// ones here: inside `svg` a `title` holds elements, inside `noscript` it depends on who reads.
const REFUSED: [&str; 19] = [
    "applet",
    "audio",
    "base",
    "embed",
    "form",
    "frame",
    "frameset",
    "iframe",
    "math",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "plaintext",
    "script",
    "svg",
    "template",
    "video",
    "xmp",
];
/// Attributes that hold addresses.
const ADDRESSES: [&str; 11] =
    ["action", "background", "cite", "data", "formaction", "href", "longdesc", "poster", "src", "srcset", "xlink:href"];
/// How an address may begin if a value follows.
const BEGINNINGS: [&str; 4] = ["https://", "http://", "mailto:", "tel:"];

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Between tags.
    Text,
    /// In the text of an element that holds text alone: `title`.
    PlainText,
    /// In a style sheet.
    Style,
    /// In a quoted attribute of this name, after this much of its value.
    Attribute(String, String),
    /// Anywhere else.
    Elsewhere(&'static str),
}

impl Place {
    /// The same place, whatever stood before.
    fn same(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Attribute(a, _), Place::Attribute(b, _)) => a == b,
            (a, b) => a == b,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Data,
    /// After `<`.
    Open,
    /// In an element's name.
    Element,
    /// Between attributes.
    Inside,
    AttributeName,
    /// After a name or `=`.
    AttributeEnd,
    Value(Option<char>),
    Comment,
    Declaration,
    /// In `style`, `title` or `textarea`, until it is closed.
    Raw(&'static str),
}

/// Reads along.
#[derive(Debug, Clone)]
struct Reader {
    state: State,
    closing: bool,
    element: String,
    attribute: String,
    equals: bool,
    value: String,
    recent: String,
}

/// The place of every piece, and what is wrong with the document's own text.
pub fn places(source: &str, pieces: &[Piece<'_>]) -> Result<Vec<Place>, Flaw> {
    let mut reader = Reader {
        state: State::Data,
        closing: false,
        element: String::new(),
        attribute: String::new(),
        equals: false,
        value: String::new(),
        recent: String::new(),
    };
    let mut found = Vec::with_capacity(pieces.len());
    for piece in pieces {
        found.push(reader.place());
        match piece.what {
            What::Text(text) => {
                for (offset, c) in text.char_indices() {
                    reader.read(c).map_err(|reason| Flaw::at(source, piece.range.start + offset, reason))?;
                }
            }
            // What a value puts there is not known, but that something is there.
            What::Value(_) => reader.value.push('\u{fffd}'),
            _ => {}
        }
    }
    Ok(found)
}

/// Checks every tag by its place.
pub(crate) fn check(source: &str, pieces: &[Piece<'_>], names: &Names<'_>) -> Result<(), Flaw> {
    let places = places(source, pieces)?;
    let mut open: Vec<&Place> = Vec::new();
    let mut loops: Vec<Option<&str>> = Vec::new();
    for (piece, place) in pieces.iter().zip(&places) {
        let flaw = |reason: String| Err(Flaw::at(source, piece.range.start, reason));
        match &piece.what {
            What::Text(_) | What::Comment => {}
            What::Value(path) => {
                let inside: Vec<&str> = loops.iter().flatten().copied().collect();
                let shape = names.shape(path, &inside).unwrap_or(Shape::Text);
                if let Err(reason) = value(place, shape) {
                    return flaw(reason);
                }
            }
            What::Open(_, path) => {
                if let Place::Elsewhere(place) = place {
                    return flaw(format!("a block can't begin {place}"));
                }
                open.push(place);
                let list = names.shape(path, &loops.iter().flatten().copied().collect::<Vec<_>>()) == Ok(Shape::List);
                loops
                    .push((list && matches!(piece.what, What::Open(crate::tags::Block::Each, _))).then_some(path.name));
            }
            What::Else | What::ElseIf(_) => {
                if open.last().is_some_and(|begin| !begin.same(place)) {
                    return flaw(
                        "{{else}} must stand where its block began: in the same tag, attribute or text".into(),
                    );
                }
                if let Some(last) = loops.last_mut() {
                    *last = None;
                }
            }
            What::Close(_) => {
                loops.pop();
                if open.pop().is_some_and(|begin| !begin.same(place)) {
                    return flaw("a block must end where it began: in the same tag, attribute or text".into());
                }
            }
        }
    }
    Ok(())
}

fn value(place: &Place, shape: Shape) -> Result<(), String> {
    match place {
        Place::Text | Place::PlainText => Ok(()),
        Place::Style if shape == Shape::Style => Ok(()),
        Place::Style => Err("in a style only the brand's colours and fonts can stand".into()),
        Place::Attribute(name, _) if name == "style" => match shape {
            Shape::Style => Ok(()),
            _ => Err("in a style only the brand's colours and fonts can stand".into()),
        },
        Place::Attribute(name, before) if ADDRESSES.contains(&name.as_str()) => {
            let before = before.trim_start().to_ascii_lowercase();
            let with_host = |rest: &str| rest.contains(['/', '?', '#']);
            let begun = BEGINNINGS.iter().any(|beginning| match before.strip_prefix(beginning) {
                Some(rest) => !beginning.ends_with("//") || with_host(rest),
                None => false,
            });
            match shape == Shape::Url && before.is_empty() || begun {
                true => Ok(()),
                false => Err(format!(
                    "in {name} only a variable of the kind url can stand, alone or after an address with its host"
                )),
            }
        }
        Place::Attribute(..) => Ok(()),
        Place::Elsewhere(place) => {
            Err(format!("a value can't stand {place}: put it into text or into an attribute with quotes"))
        }
    }
}

impl Reader {
    fn place(&self) -> Place {
        match &self.state {
            State::Data => Place::Text,
            State::Raw("style") => Place::Style,
            State::Raw(_) => Place::PlainText,
            State::Value(Some(_)) => Place::Attribute(self.attribute.clone(), self.value.clone()),
            State::Value(None) | State::AttributeEnd => Place::Elsewhere("in an attribute without quotes"),
            State::Comment => Place::Elsewhere("in a comment"),
            State::Declaration => Place::Elsewhere("in a declaration"),
            State::Open | State::Element => Place::Elsewhere("in an element's name"),
            State::Inside | State::AttributeName => Place::Elsewhere("between attributes"),
        }
    }

    fn read(&mut self, c: char) -> Result<(), String> {
        if self.recent.len() > 40 {
            self.recent.drain(..20);
        }
        self.recent.push(if c.is_ascii() { c.to_ascii_lowercase() } else { '_' });
        match self.state.clone() {
            State::Data if c == '<' => {
                self.state = State::Open;
                self.closing = false;
                self.element.clear();
                self.recent.clear();
            }
            State::Data => {}
            State::Open => match c {
                '/' if !self.closing => self.closing = true,
                '!' if !self.closing => self.state = State::Declaration,
                '?' => self.state = State::Declaration,
                c if c.is_ascii_alphabetic() => {
                    self.element.push(c.to_ascii_lowercase());
                    self.state = State::Element;
                }
                '<' => self.closing = false,
                _ => self.state = State::Data,
            },
            State::Element => match c {
                '>' => return self.end_of_tag(),
                '/' => self.named_element()?,
                c if c.is_whitespace() => self.named_element()?,
                c => self.element.push(c.to_ascii_lowercase()),
            },
            State::Inside => match c {
                '>' => return self.end_of_tag(),
                '/' => {}
                c if c.is_whitespace() => {}
                c => {
                    self.attribute = c.to_ascii_lowercase().to_string();
                    self.state = State::AttributeName;
                }
            },
            State::AttributeName => match c {
                '>' => {
                    self.named_attribute()?;
                    return self.end_of_tag();
                }
                '=' => {
                    self.named_attribute()?;
                    self.equals = true;
                    self.state = State::AttributeEnd;
                }
                '/' => {
                    self.named_attribute()?;
                    self.state = State::Inside;
                }
                c if c.is_whitespace() => {
                    self.named_attribute()?;
                    self.equals = false;
                    self.state = State::AttributeEnd;
                }
                c => self.attribute.push(c.to_ascii_lowercase()),
            },
            State::AttributeEnd => match c {
                '>' => return self.end_of_tag(),
                c if c.is_whitespace() => {}
                '=' if !self.equals => self.equals = true,
                '"' | '\'' if self.equals => {
                    self.value.clear();
                    self.state = State::Value(Some(c));
                }
                c if self.equals => {
                    self.value = c.to_string();
                    self.state = State::Value(None);
                }
                '/' => self.state = State::Inside,
                c => {
                    self.attribute = c.to_ascii_lowercase().to_string();
                    self.state = State::AttributeName;
                }
            },
            State::Value(quote) => match (quote, c) {
                (Some(quote), c) if c == quote => {
                    self.valued()?;
                    self.state = State::Inside;
                }
                (None, '>') => {
                    self.valued()?;
                    return self.end_of_tag();
                }
                (None, c) if c.is_whitespace() => {
                    self.valued()?;
                    self.state = State::Inside;
                }
                (_, c) => self.value.push(c),
            },
            State::Declaration => {
                if self.recent.starts_with("!--") {
                    self.state = State::Comment;
                    self.recent.clear();
                } else if c == '>' {
                    self.state = State::Data;
                }
            }
            // `<!-->` and `<!--->` are whole comments too.
            State::Comment
                if c == '>' && (self.recent.ends_with("-->") || [">", "->"].contains(&self.recent.as_str())) =>
            {
                self.state = State::Data;
            }
            State::Comment if self.recent.ends_with("--!>") => self.state = State::Data,
            State::Comment => {}
            State::Raw(element) => {
                let closing = matches!(c, '>' | '/') || c.is_whitespace();
                let end = format!("</{element}");
                if closing && self.recent[..self.recent.len() - 1].ends_with(&end) {
                    self.closing = true;
                    self.element = element.to_owned();
                    self.state = State::Inside;
                    if c == '>' {
                        return self.end_of_tag();
                    }
                }
            }
        }
        Ok(())
    }

    fn named_element(&mut self) -> Result<(), String> {
        self.state = State::Inside;
        match REFUSED.contains(&self.element.as_str()) {
            true => Err(format!("<{}> is not allowed in a mail", self.element)),
            false => Ok(()),
        }
    }

    fn named_attribute(&self) -> Result<(), String> {
        match self.attribute.starts_with("on") || self.attribute == "srcdoc" {
            true => Err(format!("the attribute {} is not allowed in a mail", self.attribute)),
            false => Ok(()),
        }
    }

    /// An address of the template's own may be of any kind but one that runs something.
    fn valued(&self) -> Result<(), String> {
        let value: String = self.value.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        let value = value.to_ascii_lowercase();
        let runs = ["javascript:", "vbscript:", "data:text"].iter().any(|scheme| value.starts_with(scheme));
        // `&#106;avascript:` and the like: no honest address writes its scheme so.
        let hidden = value.split(['/', '?', '#']).next().is_some_and(|scheme| scheme.contains('&'));
        let refresh = self.attribute == "http-equiv" && value == "refresh";
        if ADDRESSES.contains(&self.attribute.as_str()) && (runs || hidden) {
            return Err(format!("an address of this kind is not allowed in {}", self.attribute));
        }
        if refresh { Err("a mail can't send its reader elsewhere".to_owned()) } else { Ok(()) }
    }

    fn end_of_tag(&mut self) -> Result<(), String> {
        self.named_element()?;
        self.attribute.clear();
        self.recent.clear();
        self.state = State::Data;
        if !self.closing {
            for raw in ["style", "title", "textarea"] {
                if self.element == raw {
                    self.state = State::Raw(raw);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::template::{Kind, Variable};

    use super::*;
    use crate::shape::Given;
    use crate::tags::pieces;

    const GIVEN: &[Given] = &[Given { path: "brand.light.text", shape: Shape::Style }];

    fn refused(source: &str) -> Option<String> {
        let variables = [
            Variable::new("name", Kind::Text, ""),
            Variable::new("link", Kind::Url, ""),
            Variable::new("paid", Kind::Boolean, ""),
        ];
        let pieces = pieces(source).unwrap();
        check(source, &pieces, &Names::new(&variables, GIVEN)).err().map(|flaw| flaw.to_string())
    }

    #[test]
    fn values_stand_in_text_and_in_quoted_attributes() {
        for source in [
            "Hello {{name}}",
            "<p title=\"{{name}}\">{{name}}</p>",
            "<p title='{{name}}' class=x>a < b {{name}}</p>",
            "<a href=\"{{link}}\">x</a>",
            "<a HREF = '{{link}}'>x</a>",
            "<a href=\"https://example.com/?who={{name}}\">x</a>",
            "<a href=\"mailto:{{name}}\">x</a>",
            "<title>{{name}}</title><style>p { color: {{brand.light.text}} }</style>{{name}}",
            "<td style=\"color: {{brand.light.text}}\">{{name}}</td>",
            "<!-- a > comment --><p>{{name}}",
            "<!--><p>{{name}}",
            "<!doctype html><p>{{name}}",
            "<p class=\"{{#if paid}}paid{{else}}open{{/if}}\">{{#if paid}}<b>{{name}}</b>{{/if}}</p>",
        ] {
            assert_eq!(refused(source), None, "{source}");
        }
    }

    #[test]
    fn values_stand_nowhere_else() {
        for source in [
            "<{{name}}>",
            "<p {{name}}>",
            "<p {{name}}=\"x\">",
            "<p title={{name}}>",
            "<p title= {{name}}>",
            "<p title=x{{name}}>",
            "<a href=\"{{name}}\">x</a>",
            "<a href=\" {{name}}\">x</a>",
            "<a href=\"java{{name}}\">x</a>",
            "<a href=\"https://{{name}}\">x</a>",
            "<a href=\"{{name}}{{link}}\">x</a>",
            "<a href=\"x{{link}}\">x</a>",
            "<img src='{{name}}'>",
            "<!-- {{name}} -->",
            "<!-- <p>--{{name}}",
            "<!{{name}}>",
            "<style>p { color: {{name}} }</style>",
            "<p style=\"color: {{name}}\">",
            "<p style='{{link}}'>",
            "<p title=\"{{#if paid}}\">{{/if}}",
            "<a href=\"{{#if paid}}{{name}}{{else}}https://x/{{/if}}\">",
            "{{#if paid}}<p{{/if}}>",
            "<p {{#if paid}}hidden{{/if}}>",
            "{{#if paid}}<!--{{else}}a{{/if}}",
        ] {
            assert!(refused(source).is_some(), "{source}");
        }
    }

    #[test]
    fn what_runs_or_reaches_outside_is_refused() {
        for source in [
            "<script>alert(1)</script>",
            "<ScRiPt src=x>",
            "<script/x>",
            "<p onclick=\"x\">",
            "<p x=1 OnLoad = x>",
            "<img/onerror=x>",
            "<p onclick>",
            "<iframe src=\"https://x\"></iframe>",
            "<iframe srcdoc='x'>",
            "<form action=\"https://x\">",
            "<base href=\"https://x\">",
            "<meta http-equiv=\"refresh\" content=\"0; url=https://x\">",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<a href=\" java\nscript:alert(1)\">x</a>",
            "<a href='&#106;avascript:alert(1)'>x</a>",
            "<a href=javascript:alert(1)>x</a>",
            "<title>x</title><script>",
            "<style>x</style ><script>",
            "<!-- x --!><script>",
            "<svg><title><a href=\"{{name}}\">x</a></title></svg>",
            "<SVG/onload=x>",
            "<math><style><a href=\"{{name}}\">",
            "<noscript><p title=\"</noscript>{{name}}\">",
            "<xmp><p></xmp>",
            "<plaintext>",
        ] {
            assert!(refused(source).is_some(), "{source}");
        }
    }
}
