//! From the tree to text. Every character that means something to XML is escaped, so no value ends where we did not end
//! it.

use super::{Element, Node, allowed};

pub(super) fn document(root: &Element) -> String {
    let mut out = String::new();
    element(root, true, &mut out);
    out
}

fn element(element: &Element, root: bool, out: &mut String) {
    out.push('<');
    out.push_str(&element.name);
    if root {
        out.push_str(&format!(" xmlns=\"{}\"", allowed::SVG));
    }
    for (name, value) in &element.attributes {
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        escape(value, out);
        out.push('"');
    }
    if element.children.is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    for child in &element.children {
        match child {
            Node::Element(child) => self::element(child, false, out),
            Node::Text(text) => escape(text, out),
        }
    }
    out.push_str("</");
    out.push_str(&element.name);
    out.push('>');
}

fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}
