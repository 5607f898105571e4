//! From XML to a tree of what is allowed.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use super::{Element, Node, allowed};

/// Elements in elements, at most.
const DEEPEST: usize = 48;
/// Elements in all, at most.
const MOST: usize = 5000;

/// What is being read.
#[derive(Default)]
struct Reading {
    /// From the root down to the element that is open.
    open: Vec<Element>,
    /// Inside so many elements that are left out.
    outside: usize,
    elements: usize,
    root: Option<Element>,
    dropped: Vec<String>,
}

/// The tree, and the names of what was left out. `Err` has words for what makes it no drawing.
pub(super) fn tree(text: &str) -> Result<(Element, Vec<String>), String> {
    let mut reader = NsReader::from_str(text);
    let config = reader.config_mut();
    config.check_comments = true;
    config.check_end_names = true;
    let mut reading = Reading::default();
    loop {
        let event = reader.read_event().map_err(|error| format!("is not well-formed: {error}"))?;
        match event {
            Event::Start(start) => reading.begin(&reader, &start)?,
            Event::Empty(start) => {
                reading.begin(&reader, &start)?;
                reading.end();
            }
            Event::End(_) => reading.end(),
            Event::Text(text) => reading.text(&text)?,
            Event::CData(text) => reading.text(&text)?,
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    Ok(None) => match &*reference {
                        "amp" => '&',
                        "lt" => '<',
                        "gt" => '>',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => return Err("refers to an entity, and there are none".into()),
                    },
                    Err(error) => return Err(format!("is not well-formed: {error}")),
                };
                reading.text(character.encode_utf8(&mut [0; 4]))?;
            }
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().transpose().map_err(|e| format!("is not well-formed: {e}"))?;
                if encoding.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
                    return Err("says that it is not in UTF-8".into());
                }
            }
            Event::DocType(_) => return Err("has a document type, which could define entities; save it without".into()),
            Event::PI(_) => return Err("has a processing instruction; save it without".into()),
            Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    if !reading.open.is_empty() || reading.outside > 0 {
        return Err("ends before its elements do".into());
    }
    let root = reading.root.ok_or("has no root element")?;
    reading.dropped.sort();
    reading.dropped.dedup();
    reading.dropped.truncate(20);
    Ok((root, reading.dropped))
}

impl Reading {
    fn begin(&mut self, reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<(), String> {
        self.elements += 1;
        if self.elements > MOST {
            return Err(format!("has more than {MOST} elements"));
        }
        if self.open.len() + self.outside >= DEEPEST {
            return Err(format!("has elements more than {DEEPEST} deep"));
        }
        if self.root.is_some() {
            return Err("has a second root element".into());
        }
        let (namespace, local) = reader.resolver().resolve_element(start.name());
        let name = local.as_ref().to_owned();
        let ours = match namespace {
            ResolveResult::Bound(namespace) => namespace.as_ref() == allowed::SVG,
            ResolveResult::Unbound => false,
            ResolveResult::Unknown(_) => return Err("has a prefix without a namespace".into()),
        };
        let first = self.open.is_empty() && self.outside == 0;
        if first && !(ours && name == "svg") {
            return Err("has a root that is not <svg xmlns=\"http://www.w3.org/2000/svg\">".into());
        }
        // Faulty attributes make a file malformed even where they would be left out.
        let mut kept = Vec::new();
        for attribute in start.attributes().with_checks(true) {
            let attribute = attribute.map_err(|error| format!("is not well-formed: {error}"))?;
            let value = attribute
                .normalized_value(XmlVersion::Explicit1_0)
                .map_err(|error| format!("is not well-formed: {error}"))?;
            if attribute.value.contains('<') {
                return Err("is not well-formed: '<' stands in an attribute".into());
            }
            let (namespace, local) = reader.resolver().resolve_attribute(attribute.key);
            let local = local.as_ref().to_owned();
            let known = match namespace {
                ResolveResult::Unbound => Some(local.clone()),
                ResolveResult::Bound(namespace) if namespace.as_ref() == allowed::XLINK => {
                    (local == "href").then(|| local.clone())
                }
                ResolveResult::Bound(_) => None,
                ResolveResult::Unknown(_) => return Err("has a prefix without a namespace".into()),
            };
            let Some(local) = known else { continue };
            if local == "xmlns" {
                continue;
            }
            self.keep(&local, &value, &mut kept);
        }
        if self.outside > 0 || !ours || !allowed::element(&name) {
            if ours && self.outside == 0 {
                self.dropped.push(format!("<{}>", plain(&name)));
            }
            self.outside += 1;
            return Ok(());
        }
        self.open.push(Element { name, attributes: kept, children: vec![] });
        Ok(())
    }

    /// Keeps an attribute if it is allowed. `style` is taken apart, since drawing programs write colours there.
    fn keep(&mut self, name: &str, value: &str, kept: &mut Vec<(String, String)>) {
        if name == "style" {
            for (name, value) in value.split(';').filter_map(|declaration| declaration.split_once(':')) {
                let (name, value) = (name.trim(), value.trim());
                if !["style", "id", "href", "d", "points"].contains(&name) && allowed::attribute(name, value) {
                    kept.retain(|(known, _)| known != name);
                    kept.push((name.to_owned(), value.to_owned()));
                }
            }
            return;
        }
        match allowed::attribute(name, value) {
            true if kept.iter().any(|(known, _)| known == name) => {}
            true => kept.push((name.to_owned(), value.trim().to_owned())),
            false if self.outside == 0 && !name.starts_with("data-") && name != "class" => {
                self.dropped.push(format!("{}=", plain(name)));
            }
            false => {}
        }
    }

    fn end(&mut self) {
        if self.outside > 0 {
            self.outside -= 1;
            return;
        }
        let Some(done) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(done)),
            None => self.root = Some(done),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        let blank = text.chars().all(char::is_whitespace);
        if self.outside > 0 {
            return Ok(());
        }
        let Some(parent) = self.open.last_mut() else {
            return if blank { Ok(()) } else { Err("has text outside of its root".into()) };
        };
        if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
            return Err("has a control character in its text".into());
        }
        if allowed::has_text(&parent.name) {
            match parent.children.last_mut() {
                Some(Node::Text(before)) => before.push_str(text),
                _ => parent.children.push(Node::Text(text.to_owned())),
            }
        }
        Ok(())
    }
}

/// A name that may be repeated in a hint.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect()
}
