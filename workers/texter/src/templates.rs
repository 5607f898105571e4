//! The texts that are written once: six templates in three languages, checked when the texter starts.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use omnibus_runtime::{Answer, Ask, AskError, Fail};
use omnibus_schemas::texter::{Category, SmsTemplate, SmsTemplates, TemplateList};
use omnibus_templates::{Kind, Source, Template, Variable};
use serde_json::{Map, Value};

use crate::Texter;
use crate::draft::HOLE;
use crate::segments::pack;

/// The language of whoever names none that is there.
const DEFAULT: &str = "en";

/// A template's file: its name, its language, its words.
const TEXTS: &[(&str, &str, &str)] = &[
    ("alert", "en", include_str!("../templates/alert/en.hbs")),
    ("alert", "de", include_str!("../templates/alert/de.hbs")),
    ("alert", "fr", include_str!("../templates/alert/fr.hbs")),
    ("invoice", "en", include_str!("../templates/invoice/en.hbs")),
    ("invoice", "de", include_str!("../templates/invoice/de.hbs")),
    ("invoice", "fr", include_str!("../templates/invoice/fr.hbs")),
    ("password_reset", "en", include_str!("../templates/password_reset/en.hbs")),
    ("password_reset", "de", include_str!("../templates/password_reset/de.hbs")),
    ("password_reset", "fr", include_str!("../templates/password_reset/fr.hbs")),
    ("reminder", "en", include_str!("../templates/reminder/en.hbs")),
    ("reminder", "de", include_str!("../templates/reminder/de.hbs")),
    ("reminder", "fr", include_str!("../templates/reminder/fr.hbs")),
    ("two_factor", "en", include_str!("../templates/two_factor/en.hbs")),
    ("two_factor", "de", include_str!("../templates/two_factor/de.hbs")),
    ("two_factor", "fr", include_str!("../templates/two_factor/fr.hbs")),
    ("welcome", "en", include_str!("../templates/welcome/en.hbs")),
    ("welcome", "de", include_str!("../templates/welcome/de.hbs")),
    ("welcome", "fr", include_str!("../templates/welcome/fr.hbs")),
];

/// What fills a template. A text is read in the language it is written in, so all but links are plain text.
fn variables(name: &str) -> Vec<Variable> {
    let text = |name: &str, about: &str, most, sample: &str| {
        Variable::new(name, Kind::Text, about).max_len(most).example(sample)
    };
    let link = || Variable::new("link", Kind::Url, "Where to go.").example("https://example.com/a");
    let brand = || text("brand", "Who writes.", 30, "Acme");
    match name {
        "two_factor" => vec![
            brand().optional(),
            text("code", "The code.", 32, "123456"),
            text("minutes", "How long it is good.", 4, "10"),
        ],
        "password_reset" => vec![brand().optional(), link()],
        "alert" => vec![
            brand().optional(),
            text("what", "What has happened.", 300, "the disk is full"),
            text("when", "When.", 40, "31 March, 14:05").optional(),
            link().optional(),
        ],
        "welcome" => vec![brand(), text("name", "Whom it greets.", 40, "Ada").optional()],
        "invoice" => vec![
            brand(),
            text("number", "The invoice's number.", 40, "2026-7"),
            text("amount", "How much, with the currency.", 30, "EUR 19.99"),
            text("due", "Until when it is to be paid.", 30, "31 March").optional(),
            link().optional(),
        ],
        _ => vec![
            brand().optional(),
            text("what", "What is to come.", 200, "your appointment"),
            text("when", "When.", 40, "31 March, 14:05").optional(),
            link().optional(),
        ],
    }
}

/// What kind of text it is.
fn category(name: &str) -> Category {
    match name {
        "two_factor" | "password_reset" | "alert" => Category::Urgent,
        _ => Category::Transactional,
    }
}

/// A template in one language.
struct Entry {
    name: &'static str,
    locale: &'static str,
    template: Template,
}

static ALL: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let entry = |(name, locale, text): &(&'static str, &'static str, &str)| {
        let source = Source { text: text.trim_end().to_owned(), ..Source::default() };
        let template = Template::parse(*name, 1, source, variables(name), &[]);
        Entry { name, locale, template: template.expect("a test parses every template that is built in") }
    };
    TEXTS.iter().map(entry).collect()
});

/// A template's words, filled in.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) body: String,
    pub(crate) category: Category,
}

/// `de-AT` is German; what is not there is English.
fn find(name: &str, locale: Option<&str>) -> Option<&'static Entry> {
    let language = locale.unwrap_or(DEFAULT).split(['-', '_']).next().unwrap_or(DEFAULT).to_ascii_lowercase();
    let in_language = |language: &str| ALL.iter().find(|entry| entry.name == name && entry.locale == language);
    in_language(&language).or_else(|| in_language(DEFAULT))
}

/// Is there such a template, and may callers use it?
pub(crate) fn exists(name: &str) -> Result<(), Fail> {
    if name == "two_factor" {
        let words = "a code is sent with POST /api/v1/sms/2fa, which keeps it out of every stored body";
        return Err(Fail::reject("invalid", format!("/template: {words}")));
    }
    match find(name, None) {
        Some(_) => Ok(()),
        None => Err(Fail::reject("unknown_template", "/template is none of GET /api/v1/sms/templates")),
    }
}

/// Fills a template in.
pub(crate) fn render(name: &str, locale: Option<&str>, values: &BTreeMap<String, String>) -> Result<Rendered, Fail> {
    exists(name)?;
    let body = fill(name, locale, values)?;
    if body.contains(HOLE) || body.contains('\0') {
        return Err(Fail::reject("invalid", "/variables hold a character that no telephone shows"));
    }
    Ok(Rendered { body, category: category(name) })
}

/// A code's text, with the hole where the code will be.
pub(crate) fn two_factor(locale: Option<&str>, brand: &str, code: &str, minutes: &str) -> Result<String, Fail> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    values.insert("code".to_owned(), code.to_owned());
    values.insert("minutes".to_owned(), minutes.to_owned());
    if !brand.is_empty() {
        values.insert("brand".to_owned(), brand.to_owned());
    }
    fill("two_factor", locale, &values)
}

fn fill(name: &str, locale: Option<&str>, values: &BTreeMap<String, String>) -> Result<String, Fail> {
    let Some(entry) = find(name, locale) else {
        return Err(Fail::reject("unknown_template", "/template is none of GET /api/v1/sms/templates"));
    };
    let values: Map<String, Value> =
        values.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    let refuse = |faults: Vec<omnibus_templates::Fault>| {
        let words: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Fail::reject("invalid", words.join("; "))
    };
    let checked = entry.template.check(&values).map_err(refuse)?;
    let body = entry.template.render(&checked, &Map::new()).map_err(refuse)?.text;
    match body.chars().count() {
        1..=1600 => Ok(body),
        0 => Err(Fail::reject("invalid", "the text would be empty")),
        _ => Err(Fail::reject("invalid", "the text would have more than 1600 characters")),
    }
}

impl Answer<SmsTemplates> for Texter {
    async fn answer(&self, _: &mut Ask<'_>, _: SmsTemplates) -> Result<TemplateList, AskError> {
        let english = ALL.iter().filter(|entry| entry.locale == DEFAULT);
        let shown = english.map(|entry| {
            let examples = entry.template.examples();
            let checked = entry.template.check(&examples).map_err(faulty)?;
            let sample = entry.template.render(&checked, &Map::new()).map_err(faulty)?.text;
            let packing = pack(&sample);
            Ok(SmsTemplate {
                name: entry.name.to_owned(),
                locales: ALL.iter().filter(|e| e.name == entry.name).map(|e| e.locale.to_owned()).collect(),
                variables: entry.template.variables().iter().map(|variable| variable.name.clone()).collect(),
                category: category(entry.name),
                sample,
                encoding: packing.encoding,
                segments: packing.segments,
            })
        });
        Ok(TemplateList { templates: shown.collect::<Result<_, AskError>>()? })
    }
}

fn faulty(faults: Vec<omnibus_templates::Fault>) -> AskError {
    AskError::Failed(anyhow::anyhow!("a template's own examples do not fill it: {faults:?}"))
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::texter::SmsEncoding;

    use super::*;

    #[test]
    fn every_template_is_there_in_every_language_and_its_sample_is_one_cheap_segment() {
        assert_eq!(ALL.len(), 18);
        for entry in ALL.iter() {
            let checked = entry.template.check(&entry.template.examples()).unwrap();
            let text = entry.template.render(&checked, &Map::new()).unwrap().text;
            let packing = pack(&text);
            assert_eq!(
                (packing.encoding, packing.segments),
                (SmsEncoding::Gsm7, 1),
                "{} {}: {text}",
                entry.name,
                entry.locale
            );
            assert!(!text.contains('\n') && !text.contains("  "), "{text:?}");
        }
    }

    #[test]
    fn a_language_is_found_by_its_first_part_and_english_stands_in() {
        let values: BTreeMap<String, String> = [("brand".to_owned(), "Acme".to_owned())].into();
        let body = |locale| render("welcome", locale, &values).unwrap().body;
        assert!(body(Some("de-AT")).starts_with("Willkommen bei Acme!"));
        assert!(body(Some("FR_ca")).starts_with("Bienvenue"));
        assert!(body(Some("tlh")).starts_with("Welcome"));
        assert!(body(None).starts_with("Welcome to Acme!"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let values = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let told = |name: &str, list: &[(&str, &str)]| match render(name, None, &values(list)) {
            Err(Fail::Reject { code, detail }) => (code, detail),
            other => panic!("{other:?}"),
        };
        assert_eq!(told("nothing", &[]).0, "unknown_template");
        assert!(told("welcome", &[]).1.contains("/variables/brand"));
        assert!(told("welcome", &[("brand", "Acme"), ("nmae", "x")]).1.contains("/variables/nmae"));
        assert!(told("welcome", &[("brand", &"x".repeat(31))]).1.contains("/variables/brand"));
        assert!(told("password_reset", &[("link", "javascript:alert(1)")]).1.contains("/variables/link"));
        assert!(told("two_factor", &[]).1.contains("/2fa"));
        assert_eq!(told("welcome", &[("brand", "\u{e000}")]).0, "invalid");
    }
}
