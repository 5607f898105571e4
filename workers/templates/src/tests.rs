//! What holds for a template as a whole.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::*;

const GIVEN: &[Given] =
    &[Given { path: "brand.name", shape: Shape::Text }, Given { path: "brand.url", shape: Shape::Url }];

fn parse(source: Source, variables: Vec<Variable>) -> Result<Template, Vec<String>> {
    Template::parse("t", 1, source, variables, GIVEN).map_err(|f| f.iter().map(ToString::to_string).collect())
}

fn text(text: &str, variables: Vec<Variable>) -> Result<Template, Vec<String>> {
    parse(Source { text: text.into(), ..Source::default() }, variables)
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn given() -> Map<String, Value> {
    map(json!({ "brand": { "name": "A & B" } }))
}

fn filled(template: &Template, values: Value) -> Parts {
    template.render(&template.check(&map(values)).unwrap(), &given()).unwrap()
}

fn lines() -> Variable {
    Variable::new("lines", Kind::List, "")
        .max_len(1000)
        .fields(vec![Field::new("what", FieldKind::Text, ""), Field::new("price", FieldKind::Money, "").optional()])
}

#[test]
fn html_is_escaped_and_text_is_not() {
    let source = Source {
        subject: Some("For {{name}} of {{brand.name}}".into()),
        text: "Dear {{name}}".into(),
        html: Some("<p title=\"{{name}}\">{{name}} of {{brand.name}}</p>".into()),
    };
    let template = parse(source, vec![Variable::new("name", Kind::Text, "")]).unwrap();
    let parts = filled(&template, json!({ "name": "<b>\"O'Neil\" & {{brand.name}}" }));
    assert_eq!(parts.subject.unwrap(), "For <b>\"O'Neil\" & {{brand.name}} of A & B");
    assert_eq!(parts.text, "Dear <b>\"O'Neil\" & {{brand.name}}");
    let escaped = "&lt;b&gt;&quot;O&#x27;Neil&quot; &amp; {{brand.name}}";
    assert_eq!(parts.html.unwrap(), format!("<p title=\"{escaped}\">{escaped} of A &amp; B</p>"));
}

#[test]
fn loops_and_conditions_see_what_they_should() {
    let template = text(
        "{{#each lines}}{{@index}} {{what}}{{#if price}} {{price}} for {{../who}}{{/if}}{{#unless @last}}, {{/unless}}{{else}}nothing{{/each}}\
         {{#if count}}, {{count}}{{else if who}}, none for {{who}}{{else}}, none{{/if}}",
        vec![lines(), Variable::new("who", Kind::Text, "").optional(), Variable::new("count", Kind::Integer, "")],
    )
    .unwrap();
    let two = json!([{ "what": "Tea" }, { "what": "Pot", "price": { "amount": 500, "currency": "EUR" } }]);
    assert_eq!(
        filled(&template, json!({ "lines": two, "who": "Ada", "count": 2 })).text,
        "0 Tea, 1 Pot EUR 5.00 for Ada, 2"
    );
    assert_eq!(filled(&template, json!({ "lines": [], "who": "Ada", "count": 0 })).text, "nothing, none for Ada");
    assert_eq!(filled(&template, json!({ "lines": [], "count": 0 })).text, "nothing, none");
}

#[test]
fn a_name_that_is_not_declared_is_named_with_its_place() {
    let name = || vec![Variable::new("name", Kind::Text, ""), lines()];
    let faults = |source: &str| text(source, name()).unwrap_err();
    assert_eq!(
        faults("Hello\n  {{nmae}}"),
        ["/text: line 2, column 3: nmae is not declared; declared: lines, name; always there: brand.name, brand.url"]
    );
    assert_eq!(
        faults("{{#each lines}}{{name}}{{/each}}"),
        ["/text: line 1, column 16: name is no field of lines, which has: what, price; outside of it there is ../name"]
    );
    assert!(faults("{{#if nmae}}{{/if}}")[0].contains("nmae is not declared"));
    assert!(faults("{{../name}}")[0].contains("leads out of the template"));
    assert!(faults("{{#each lines}}{{../../name}}{{/each}}")[0].contains("leads out of the template"));
    assert!(faults("{{@index}}")[0].contains("only known inside"));
    assert!(faults("{{lines}}")[0].contains("is a list"));
    assert!(faults("{{#each name}}{{/each}}")[0].contains("is no list"));
    assert!(faults("{{brand}}")[0].contains("brand is not declared"));
    assert!(faults("{{name.length}}")[0].contains("name.length is not declared"));
}

#[test]
fn blocks_are_closed_by_their_own_kind() {
    let faults = |source: &str| text(source, vec![Variable::new("a", Kind::Boolean, ""), lines()]).unwrap_err();
    for source in [
        "{{#if a}}",
        "{{/if}}",
        "x{{/if}}",
        "{{#if a}}{{/unless}}",
        "{{else}}",
        "{{#if a}}{{else}}{{else}}{{/if}}",
        "{{#each lines}}{{else if a}}{{/each}}",
        "{{#if a}}{{else if a}}",
        "{{#if a}}x{{/if}}{{/if}}",
    ] {
        assert_eq!(faults(source).len(), 1, "{source}");
    }
}

#[test]
fn a_line_break_never_reaches_a_subject() {
    let source = |subject: &str| Source { subject: Some(subject.into()), text: "{{name}}".into(), html: None };
    let name = || vec![Variable::new("name", Kind::Text, "")];
    assert_eq!(
        parse(source("Hi\r\nBcc: x@example.com"), name()).unwrap_err(),
        ["/subject: must be one line without control characters"]
    );
    let template = parse(source("Hi {{name}}"), name()).unwrap();
    let faults = template.check(&map(json!({ "name": "Ada\r\nBcc: x@example.com" }))).unwrap_err();
    assert_eq!(faults[0].to_string(), "/variables/name: stands in the subject, so it must be one line");
    let only_in_text = parse(source("Hi"), name()).unwrap();
    assert_eq!(filled(&only_in_text, json!({ "name": "Ada\nLovelace" })).text, "Ada\nLovelace");
}

#[test]
fn an_empty_or_endless_subject_is_refused() {
    let source = Source { subject: Some("{{name}}".into()), text: "x".into(), html: None };
    let template = parse(source, vec![Variable::new("name", Kind::Text, "").optional()]).unwrap();
    let fault = |values: Value| template.render(&template.check(&map(values)).unwrap(), &given()).unwrap_err();
    assert_eq!(fault(json!({}))[0].to_string(), "/subject: comes out empty");
    assert_eq!(
        fault(json!({ "name": "x".repeat(501) }))[0].to_string(),
        "/subject: comes out longer than 500 characters"
    );
}

#[test]
fn template_bombs_are_faults() {
    let deep = format!("{}x{}", "{{#if a}}".repeat(5_000), "{{/if}}".repeat(5_000));
    assert!(text(&deep, vec![Variable::new("a", Kind::Boolean, "")]).unwrap_err()[0].contains("more than 6 blocks"));
    let parentheses = format!("{{{{#if {}a{}}}}}{{{{/if}}}}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(text(&parentheses, vec![]).is_err());
    assert!(text(&"x".repeat(limits::TEXT_SOURCE + 1), vec![]).unwrap_err()[0].contains("longer than"));

    let loops = "{{#each lines}}{{#each ../lines}}{{#each ../../lines}}x{{/each}}{{/each}}{{/each}}";
    assert!(text(loops, vec![lines()]).unwrap_err()[0].contains("more than 2 loops"));
    let thousand = json!({ "lines": vec![json!({ "what": "x" }); 1000] });
    let silent =
        text("{{#each lines}}{{#each ../lines}}{{#if what}}{{/if}}{{/each}}{{/each}}x", vec![lines()]).unwrap();
    let fault = silent.render(&silent.check(&map(thousand.clone())).unwrap(), &given()).unwrap_err();
    assert!(fault[0].reason.contains("more work than 200000 steps"), "{fault:?}");
    let long = format!("{{{{#each lines}}}}{}{{{{/each}}}}", "x".repeat(1_000));
    let long = text(&long, vec![lines()]).unwrap();
    let fault = long.render(&long.check(&map(thousand)).unwrap(), &given()).unwrap_err();
    assert_eq!(fault[0].to_string(), "/text: would be longer than 524288 bytes");
}

#[test]
fn declarations_are_checked_too() {
    let faults = |variables: Vec<Variable>| text("x", variables).unwrap_err();
    let of = |name: &str| Variable::new(name, Kind::Text, "");
    assert!(faults(vec![of("Name")])[0].starts_with("/variables/0/name: Name: must be lower case"));
    assert!(faults(vec![of("this")])[0].contains("no word of handlebars"));
    assert!(faults(vec![of("brand")])[0].contains("can't be declared anew"));
    assert!(faults(vec![of("a"), of("a")])[0].starts_with("/variables/1/name: a: is declared twice"));
    assert!(faults(vec![Variable::new("a", Kind::List, "")])[0].contains("needs at least one field"));
    assert!(faults(vec![of("a").fields(vec![Field::new("b", FieldKind::Text, "")])])[0].contains("only a list"));
    assert!(faults(vec![Variable::new("a", Kind::Date, "").example("soon")])[0].contains("the example is none"));
    assert!(faults((0..101).map(|n| of(&format!("v{n}"))).collect())[0].contains("more than 100 variables"));
}

#[test]
fn what_is_confidential_is_not_kept_and_can_be_seen_to_be_missing() {
    let template = text(
        "{{code}} for {{name}}: {{link}}",
        vec![
            Variable::new("code", Kind::Code, ""),
            Variable::new("name", Kind::Text, ""),
            Variable::new("link", Kind::Url, "").confidential(),
        ],
    )
    .unwrap();
    let values = map(json!({ "code": "123456", "name": "Ada", "link": "https://example.com/reset/1" }));
    assert_eq!(template.confidential().collect::<Vec<_>>(), ["code", "link"]);
    let kept = template.keepable(&values);
    assert_eq!(Value::Object(kept.clone()), json!({ "name": "Ada" }));
    let again = template.render(&template.check_kept(&kept).unwrap(), &given()).unwrap();
    assert_eq!(again.text, "[not kept] for Ada: [not kept]");
    assert!(template.check(&kept).is_err());
}

#[test]
fn every_template_can_be_previewed_with_examples() {
    let all = [Kind::Text, Kind::Url, Kind::Money, Kind::Integer, Kind::Date, Kind::Time, Kind::Email, Kind::Code];
    let variables: Vec<_> =
        all.iter().enumerate().map(|(n, kind)| Variable::new(&format!("v{n}"), *kind, "")).collect();
    let source: String = (0..all.len()).map(|n| format!("{{{{v{n}}}}};")).collect();
    let template =
        text(&format!("{source}{{{{#each lines}}}}{{{{what}}}}{{{{/each}}}}"), [variables, vec![lines()]].concat());
    let template = template.unwrap();
    let parts = template.render(&template.check(&template.examples()).unwrap(), &given()).unwrap();
    assert!(parts.text.contains("EUR 19.99;3;31 March 2026;"), "{}", parts.text);
}

#[test]
fn an_address_is_checked_and_then_fits_into_a_link() {
    let source = Source { text: "{{link}}".into(), html: Some("<a href=\"{{link}}\">x</a>".into()), subject: None };
    let template = parse(source, vec![Variable::new("link", Kind::Url, "")]).unwrap();
    let parts = filled(&template, json!({ "link": "https://example.com/?a=1&b=2" }));
    assert_eq!(parts.html.unwrap(), "<a href=\"https://example.com/?a&#x3D;1&amp;b&#x3D;2\">x</a>");
    assert_eq!(parts.text, "https://example.com/?a=1&b=2");
    assert!(template.check(&map(json!({ "link": "javascript:alert(1)" }))).is_err());
}

proptest! {
    /// Whatever a value is, it adds no markup: reading the HTML back as text gives the value.
    #[test]
    fn no_value_adds_markup(value in "\\PC{0,40}") {
        let source = Source {
            text: "x".into(), subject: None,
            html: Some("<p title=\"{{name}}\">{{name}}</p>".into()),
        };
        let template = parse(source, vec![Variable::new("name", Kind::Text, "")]).unwrap();
        let html = filled(&template, json!({ "name": value })).html.unwrap();
        let inside = html.strip_prefix("<p title=\"").unwrap().strip_suffix("</p>").unwrap();
        prop_assert_eq!(inside.matches(['<', '>', '"', '\'']).count(), 2);
        let shown = inside.split_once("\">").unwrap().1;
        let back = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#x27;", "'")
            .replace("&#x60;", "`").replace("&#x3D;", "=").replace("&amp;", "&");
        prop_assert_eq!(back, value);
    }

    /// Any text at all is a template or a fault, quickly, and what is a template renders or says why not.
    #[test]
    fn no_source_is_the_end_of_the_process(
        source in prop::collection::vec(prop_oneof![
            Just("{{"), Just("}}"), Just("{{#if a}}"), Just("{{/if}}"), Just("{{else}}"), Just("{{else if a}}"),
            Just("{{#each lines}}"), Just("{{/each}}"), Just("{{what}}"), Just("{{a}}"), Just("{{@last}}"), Just("~"),
            Just("{{../a}}"), Just("<p title=\""), Just("\""), Just(">"), Just("<"), Just("<!--"), Just("-->"),
            Just("</"), Just("style"), Just("\\"), Just("\n"), Just(" "), Just("ä"), Just("="), Just("{{! x }}"),
        ], 0..30)
    ) {
        let source = source.concat();
        let variables = vec![Variable::new("a", Kind::Text, ""), lines()];
        if let Ok(template) = parse(Source { text: source.clone(), html: Some(source), subject: None }, variables) {
            let checked = template.check(&template.examples()).unwrap();
            prop_assert!(template.render(&checked, &given()).is_ok());
        }
    }
}
