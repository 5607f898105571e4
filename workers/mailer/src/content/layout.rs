//! What stands around a template's own words, and what every template may use: the brand, and the mail's own links.

use omnibus_schemas::brand::{Brand, Colours};
use omnibus_templates::{Fault, Given, Shape, Source, Template, Variable};
use serde_json::{Map, Value, json};

use super::inline::inline;

const LAYOUT: &str = include_str!("layout/layout.hbs");
const STYLE: &str = include_str!("layout/style.css.hbs");
/// What can't stand in an element: dark and narrow screens.
const MEDIA: &str = include_str!("layout/media.css.hbs");
const TEXT: &str = include_str!("layout/text.hbs");

const fn given(path: &'static str, shape: Shape) -> Given {
    Given { path, shape }
}

/// What every template may use without declaring it.
pub(crate) const GIVEN: &[Given] = &[
    given("brand.name", Shape::Text),
    given("brand.logo_url", Shape::Url),
    given("brand.logo_dark_url", Shape::Url),
    given("brand.logo_width", Shape::Text),
    given("brand.logo_height", Shape::Text),
    given("brand.footer", Shape::Text),
    given("brand.support_url", Shape::Url),
    given("brand.support_address", Shape::Text),
    given("brand.site_url", Shape::Url),
    given("brand.font_family", Shape::Style),
    given("brand.light.background", Shape::Style),
    given("brand.light.surface", Shape::Style),
    given("brand.light.text", Shape::Style),
    given("brand.light.muted", Shape::Style),
    given("brand.light.border", Shape::Style),
    given("brand.light.primary", Shape::Style),
    given("brand.light.on_primary", Shape::Style),
    given("brand.light.link", Shape::Style),
    given("brand.dark.background", Shape::Style),
    given("brand.dark.surface", Shape::Style),
    given("brand.dark.text", Shape::Style),
    given("brand.dark.muted", Shape::Style),
    given("brand.dark.border", Shape::Style),
    given("brand.dark.primary", Shape::Style),
    given("brand.dark.on_primary", Shape::Style),
    given("brand.dark.link", Shape::Style),
    given("mail.unsubscribe_url", Shape::Url),
];

/// A template as it is sent, made of the parts that its author wrote: checked as they stand, so that faults say the
/// author's own lines, then put into the layout with the styles in the elements, then checked once more as a whole.
/// An HTML part that is a document of its own keeps its own looks and gets no layout.
pub(crate) fn make(name: &str, version: u32, own: &Source, variables: Vec<Variable>) -> Result<Template, Vec<Fault>> {
    Template::parse(name, version, own.clone(), variables.clone(), GIVEN)?;
    let subject = own.subject.clone().unwrap_or_default().trim_end().to_owned();
    let (mut text, mut html) = (own.text.clone(), None);
    let whole = own.html.as_deref().is_some_and(is_document);
    if !whole {
        text = fill(TEXT, &[("[[content]]", own.text.trim_end())]);
    }
    if let Some(own) = &own.html {
        let document = match whole {
            true => own.clone(),
            false => {
                let title = subject.replace('&', "&amp;").replace('<', "&lt;");
                fill(
                    LAYOUT,
                    &[("[[subject]]", &title), ("[[style]]", STYLE.trim_end()), ("[[content]]", own.trim_end())],
                )
            }
        };
        let inlined = inline(&document).map_err(|fault| vec![fault])?;
        html = Some(match whole {
            true => inlined,
            false => inlined.replacen("</head>", &format!("<style>\n{MEDIA}</style>\n</head>"), 1),
        });
    }
    Template::parse(name, version, Source { subject: Some(subject), text, html }, variables, GIVEN)
}

/// Does an HTML part bring its own `<html>`?
pub(crate) fn is_document(html: &str) -> bool {
    let start: String = html.trim_start().chars().take(9).collect::<String>().to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html")
}

/// Replaces each mark once, and never looks into what it has put there.
fn fill(layout: &str, marks: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some((at, mark, value)) =
        marks.iter().filter_map(|(mark, value)| Some((rest.find(mark)?, mark, value))).min_by_key(|(at, ..)| *at)
    {
        out.push_str(&rest[..at]);
        out.push_str(value);
        rest = &rest[at + mark.len()..];
    }
    out.push_str(rest);
    out
}

/// The values of what is given.
pub(crate) fn values(brand: &Brand, unsubscribe_url: Option<&str>) -> Map<String, Value> {
    let colours = |colours: &Colours| serde_json::to_value(colours).expect("colours are text");
    let logo = brand.logo.as_ref();
    let brand = json!({
        "name": brand.name,
        "logo_url": logo.map(|logo| &logo.url),
        "logo_dark_url": logo.and_then(|logo| logo.dark_url.as_ref()),
        "logo_width": logo.map(|logo| logo.width),
        "logo_height": logo.map(|logo| logo.height),
        "footer": brand.footer,
        "support_url": brand.support_url,
        // For people: without the scheme.
        "support_address": brand.support_url.as_ref().map(|url| url.strip_prefix("mailto:").unwrap_or(url)),
        "site_url": brand.site_url,
        "font_family": brand.font_family,
        "light": colours(&brand.light),
        "dark": colours(&brand.dark),
    });
    let mail = json!({ "unsubscribe_url": unsubscribe_url });
    Map::from_iter([("brand".to_owned(), brand), ("mail".to_owned(), mail)])
}

#[cfg(test)]
mod tests {
    use omnibus_templates::Kind;

    use super::*;

    fn source(html: &str) -> Source {
        Source {
            subject: Some("Hi {{name}} & [[content]]".into()),
            text: "Hi {{name}}".into(),
            html: Some(html.into()),
        }
    }

    fn made(html: &str) -> Result<Template, Vec<Fault>> {
        make("t", 1, &source(html), vec![Variable::new("name", Kind::Text, "")])
    }

    #[test]
    fn a_fragment_gets_the_layout_and_its_styles() {
        let template = made("<h1>Hi {{name}}</h1>").unwrap();
        let html = template.source().html.clone().unwrap();
        assert!(html.contains("<title>Hi {{name}} &amp; [[content]]</title>"), "{html}");
        assert!(html.contains("color: {{brand.light.text}};\">Hi {{name}}</h1>"), "{html}");
        assert!(template.source().text.starts_with("Hi {{name}}\n\n--\n{{brand.name}}"));
    }

    #[test]
    fn a_document_keeps_its_own_looks() {
        let html =
            "<!DOCTYPE html><html><head><style>p { color: red }</style></head><body><p>{{name}}</p></body></html>";
        let template = made(html).unwrap();
        assert!(template.source().html.as_ref().unwrap().contains("<p style=\"color: red;\">{{name}}</p>"));
        assert_eq!(template.source().text, "Hi {{name}}");
    }

    #[test]
    fn faults_are_told_in_the_author_s_own_lines() {
        let faults = made("<p>\n{{nmae}}</p>").unwrap_err();
        assert!(faults[0].to_string().starts_with("/html: line 2, column 1: nmae is not declared"), "{faults:?}");
        let faults = made("<p>\n<script>x</script></p>").unwrap_err();
        assert_eq!(faults[0].to_string(), "/html: line 2, column 8: <script> is not allowed in a mail");
    }

    #[test]
    fn what_a_brand_has_not_is_empty() {
        let values = values(&Brand::plain("acme"), None);
        assert_eq!(values["brand"]["logo_url"], Value::Null);
        for given in GIVEN {
            let pointer = format!("/{}", given.path.replace('.', "/"));
            assert!(Value::Object(values.clone()).pointer(&pointer).is_some(), "{}", given.path);
        }
    }
}
