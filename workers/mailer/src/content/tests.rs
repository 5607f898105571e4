//! What holds for every template that everybody has.

use omnibus_schemas::brand::Brand;
use omnibus_templates::Kind;
use serde_json::{Map, Value, json};

use super::*;

fn content() -> Content {
    Content::new().unwrap()
}

fn required_only(template: &Template) -> Map<String, Value> {
    let optional: Vec<&str> = template
        .variables()
        .iter()
        .filter(|variable| !variable.required)
        .map(|variable| variable.name.as_str())
        .collect();
    template.examples().into_iter().filter(|(name, _)| !optional.contains(&name.as_str())).collect()
}

#[test]
fn there_are_eight_and_their_words_are_these() {
    let content = content();
    let names: Vec<_> = content.names().collect();
    assert_eq!(
        names,
        ["alert", "invoice", "notification", "password_reset", "report", "subscription", "two_factor", "welcome"]
    );
    for name in names {
        let parts = content.specimen(name, &Brand::example()).unwrap().unwrap();
        let words = format!("Subject: {}\n\n{}", parts.subject.unwrap(), parts.text);
        insta::assert_snapshot!(format!("{name}_text"), words);
        insta::assert_snapshot!(format!("{name}_html"), parts.html.unwrap());
    }
}

#[test]
fn what_is_optional_leaves_no_gap() {
    let content = content();
    for (template, _) in content.all_built_in() {
        let parts = show(template, &required_only(template), false, &Brand::plain("acme")).unwrap();
        insta::assert_snapshot!(
            format!("{}_least", template.name()),
            format!("Subject: {}\n\n{}", parts.subject.unwrap(), parts.text)
        );
        assert!(!parts.text.contains("\n\n\n"), "{}: {}", template.name(), parts.text);
        let html = parts.html.unwrap();
        for gap in ["href=\"\"", "src=\"\"", "<p></p>", "{{", "[["] {
            assert!(!html.contains(gap), "{}: {gap}", template.name());
        }
    }
}

#[test]
fn everybody_can_read_them() {
    let content = content();
    for name in content.names() {
        let html = content.specimen(name, &Brand::example()).unwrap().unwrap().html.unwrap();
        let count = |what: &str| html.matches(what).count();
        assert!(html.starts_with("<!DOCTYPE html><html lang=\"en\""), "{name}: {}", &html[..80]);
        assert_eq!(count("<h1"), 1, "{name}: one heading of the first rank");
        assert_eq!(count("<img"), count(" alt=\""), "{name}: every picture has words");
        let tables = count("<table");
        assert_eq!(
            count("role=\"presentation\"") + count("<caption"),
            tables,
            "{name}: a table is layout or has a caption"
        );
        assert_eq!(count(" scope=\""), count("<th "), "{name}: every heading cell says its scope");
        for needed in [
            "<meta name=\"viewport\"",
            "<meta name=\"color-scheme\" content=\"light dark\"",
            "@media (prefers-color-scheme: dark)",
            "@media (max-width: 480px)",
            "<title>",
        ] {
            assert!(html.contains(needed), "{name}: {needed}");
        }
        for never in ["<script", "javascript:", "url(", "@import", "position:"] {
            assert!(!html.contains(never), "{name}: {never}");
        }
        assert!(html.len() < 102_400, "{name}: Gmail cuts a mail at 102 KiB");
    }
}

#[test]
fn every_variable_says_what_it_is_and_every_required_one_is_missed_by_name() {
    let content = content();
    for (template, summary) in content.all_built_in() {
        assert!(!summary.is_empty());
        for variable in template.variables() {
            assert!(!variable.doc.is_empty(), "{}.{}", template.name(), variable.name);
            let mut values = template.examples();
            values.remove(&variable.name);
            match template.check(&values) {
                Ok(_) => assert!(!variable.required, "{}.{}", template.name(), variable.name),
                Err(faults) => {
                    assert_eq!(faults[0].pointer, format!("/variables/{}", variable.name));
                    assert!(faults[0].reason.starts_with("missing"));
                }
            }
        }
        let mut values = template.examples();
        values.insert("nmae".into(), "Ada".into());
        assert_eq!(template.check(&values).unwrap_err()[0].pointer, "/variables/nmae");
    }
}

#[test]
fn codes_and_reset_links_are_confidential_and_nothing_else_is() {
    let content = content();
    let confidential: Vec<String> = content
        .all_built_in()
        .flat_map(|(template, _)| {
            template.confidential().map(|name| format!("{}.{name}", template.name())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(confidential, ["password_reset.reset_url", "two_factor.code"]);
    let codes = content.all_built_in().flat_map(|(template, _)| template.variables().iter().map(|v| v.kind));
    assert_eq!(codes.filter(|kind| *kind == Kind::Code).count(), 1);
}

#[test]
fn a_brand_is_seen_in_every_part() {
    let content = content();
    let brand = Brand::example();
    let parts = content.specimen("welcome", &brand).unwrap().unwrap();
    let html = parts.html.unwrap();
    for seen in [&brand.light.primary, &brand.dark.primary, &brand.font_family, &brand.logo.as_ref().unwrap().url] {
        assert!(html.contains(seen.as_str()), "{seen}");
    }
    assert!(parts.text.contains("12 Harbour Street") && html.contains("12 Harbour Street"));
    assert_eq!(parts.subject.unwrap(), "Welcome to Northwind Coffee, Ada");
}

#[test]
fn a_value_that_looks_like_markup_or_a_tag_stays_a_value() {
    let content = content();
    let template = content.built_in("notification").unwrap();
    let values = json!({ "title": "<b>{{brand.name}}</b>", "message": "</p><script>alert(1)</script>" });
    let parts = show(&template, values.as_object().unwrap(), false, &Brand::plain("acme")).unwrap();
    let html = parts.html.unwrap();
    assert!(html.contains("&lt;b&gt;{{brand.name}}&lt;/b&gt;") && !html.contains("<script>"), "{html}");
    assert_eq!(parts.subject.unwrap(), "<b>{{brand.name}}</b>");
}
