//! Values against the variables that ask for them. What passes is what the template shows: money and dates as text,
//! the rest as it came. A fault names its variable and never repeats a value.

use chrono::{DateTime, NaiveDate, Utc};
use omnibus_schemas::Fault;
use omnibus_schemas::garde::rules::email::Email;
use omnibus_schemas::template::{Field, Kind, Variable};
use serde_json::{Map, Value, json};
use url::Url;

use crate::{limits, show};

/// What stands where a confidential value was, in a mail that is rendered once more.
pub const NOT_KEPT: &str = "[not kept]";

/// Values that passed, as they are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub(crate) shown: Map<String, Value>,
}

/// What to make of a confidential value that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// A fault, as for any other.
    Missing,
    /// It was there once; [`NOT_KEPT`] stands for it.
    NotKept,
}

/// Checks all values. Every fault is told at once.
pub(crate) fn check(
    variables: &[Variable],
    values: &Map<String, Value>,
    absent: Absent,
) -> Result<Checked, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut shown = Map::new();
    for name in values.keys().filter(|name| !variables.iter().any(|variable| variable.name == **name)) {
        let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
        let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        faults.push(Fault::new(pointer(name), format!("is no variable of this template, which has: {has}")));
    }
    for variable in variables {
        let at = pointer(&variable.name);
        let value = match values.get(&variable.name) {
            None | Some(Value::Null) if absent == Absent::NotKept && variable.is_confidential() => {
                Value::from(NOT_KEPT)
            }
            None | Some(Value::Null) => {
                if variable.required {
                    faults.push(Fault::new(&at, format!("missing: must be {}", wants(variable.kind))));
                }
                Value::Null
            }
            Some(value) if variable.kind == Kind::List => rows(variable, value, &at, &mut faults),
            Some(value) => one(variable.kind, variable.max_len, value).unwrap_or_else(|reason| {
                faults.push(Fault::new(&at, reason));
                Value::Null
            }),
        };
        shown.insert(variable.name.clone(), value);
    }
    if faults.is_empty() { Ok(Checked { shown }) } else { Err(faults) }
}

fn pointer(name: &str) -> String {
    format!("/variables/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn wants(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Url => "an absolute https, http or mailto address",
        Kind::Money => "an object such as {\"amount\": 1999, \"currency\": \"EUR\"}, in minor units",
        Kind::Integer => "a whole number",
        Kind::Date => "a date such as 2026-03-31",
        Kind::Time => "a point in time such as 2026-03-31T14:05:00Z",
        Kind::Email => "an email address",
        Kind::Boolean => "true or false",
        Kind::Code => "a code of 4 to 32 letters, digits or hyphens",
        Kind::List => "a list of objects",
    }
}

fn rows(variable: &Variable, value: &Value, at: &str, faults: &mut Vec<Fault>) -> Value {
    let most = variable.max_len.unwrap_or(limits::ROWS).min(limits::MOST_ROWS);
    let Some(list) = value.as_array() else {
        faults.push(Fault::new(at, format!("must be {}", wants(Kind::List))));
        return Value::Null;
    };
    if list.len() > most as usize {
        faults.push(Fault::new(at, format!("has more than {most} rows")));
        return Value::Null;
    }
    let shown = list.iter().enumerate().map(|(n, row)| match row.as_object() {
        Some(row) => Value::Object(fields(&variable.fields, row, &format!("{at}/{n}"), faults)),
        None => {
            faults.push(Fault::new(format!("{at}/{n}"), "must be an object"));
            Value::Null
        }
    });
    shown.collect()
}

fn fields(fields: &[Field], row: &Map<String, Value>, at: &str, faults: &mut Vec<Fault>) -> Map<String, Value> {
    for name in row.keys().filter(|name| !fields.iter().any(|field| field.name == **name)) {
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        faults.push(Fault::new(at, format!("is no field of these rows, which have: {}", names.join(", "))));
    }
    let mut shown = Map::new();
    for field in fields {
        let at = format!("{at}/{}", field.name);
        let value = match row.get(&field.name) {
            None | Some(Value::Null) => {
                if field.required {
                    faults.push(Fault::new(at, format!("missing: must be {}", wants(field.kind.into()))));
                }
                Value::Null
            }
            Some(value) => one(field.kind.into(), field.max_len, value).unwrap_or_else(|reason| {
                faults.push(Fault::new(at, reason));
                Value::Null
            }),
        };
        shown.insert(field.name.clone(), value);
    }
    shown
}

fn one(kind: Kind, max_len: Option<u32>, value: &Value) -> Result<Value, String> {
    let must = || format!("must be {}", wants(kind));
    let text = || value.as_str().ok_or_else(must);
    match kind {
        Kind::Text => {
            let (text, most) = (text()?, max_len.unwrap_or(limits::TEXT_VALUE));
            if text.chars().count() > most as usize {
                return Err(format!("is longer than {most} characters"));
            }
            match text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
                true => Err("holds a control character".to_owned()),
                false => Ok(text.replace("\r\n", "\n").replace('\r', "\n").into()),
            }
        }
        Kind::Url => {
            let text = text()?;
            if text.len() > limits::URL {
                return Err(format!("is longer than {} bytes", limits::URL));
            }
            // The parser leaves out line breaks and blanks that a mail program may read otherwise.
            let clean =
                !text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\'));
            let url = Url::parse(text).ok().filter(|url| clean && matches!(url.scheme(), "http" | "https" | "mailto"));
            url.filter(|url| url.scheme() == "mailto" || url.has_host()).map(|_| text.into()).ok_or_else(must)
        }
        Kind::Money => {
            let amount = value.get("amount").and_then(Value::as_i64).ok_or_else(must)?;
            let currency = value.get("currency").and_then(Value::as_str).ok_or_else(must)?;
            let known = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
            match known && value.as_object().is_some_and(|fields| fields.len() == 2) {
                true => Ok(show::money(amount, currency).into()),
                false => Err(must()),
            }
        }
        Kind::Integer => value.as_i64().map(Value::from).ok_or_else(must),
        Kind::Date => text()?.parse::<NaiveDate>().map(|date| show::date(date).into()).map_err(|_| must()),
        Kind::Time => {
            let time = DateTime::parse_from_rfc3339(text()?).map_err(|_| must())?;
            Ok(show::time(time.with_timezone(&Utc)).into())
        }
        Kind::Email => match text()?.len() <= 254 && text()?.validate_email().is_ok() {
            true => Ok(value.clone()),
            false => Err(must()),
        },
        Kind::Boolean => value.as_bool().map(Value::from).ok_or_else(must),
        Kind::Code => {
            let text = text()?;
            let fits = (4..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if fits { Ok(value.clone()) } else { Err(must()) }
        }
        Kind::List => Err(must()),
    }
}

/// A value to preview with: the declared example, or one of the kind.
pub(crate) fn example(variable: &Variable) -> Value {
    if !variable.example.is_null() {
        return variable.example.clone();
    }
    if variable.kind != Kind::List {
        return example_of(variable.kind, &variable.name);
    }
    let field = |field: &Field| (field.name.clone(), example_of(field.kind.into(), &field.name));
    let row: Map<String, Value> = variable.fields.iter().map(field).collect();
    json!([row.clone(), row])
}

fn example_of(kind: Kind, name: &str) -> Value {
    match kind {
        Kind::Text => name.replace('_', " ").into(),
        Kind::Url => "https://example.com/".into(),
        Kind::Money => json!({ "amount": 1999, "currency": "EUR" }),
        Kind::Integer => 3.into(),
        Kind::Date => "2026-03-31".into(),
        Kind::Time => "2026-03-31T14:05:00Z".into(),
        Kind::Email => "ada@example.com".into(),
        Kind::Boolean => true.into(),
        Kind::Code => "123456".into(),
        Kind::List => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind, value: Value) -> Option<String> {
        let variables = [Variable::new("x", kind, "")];
        let values = json!({ "x": value }).as_object().unwrap().clone();
        check(&variables, &values, Absent::Missing).err().map(|mut faults| {
            assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "/variables/x"));
            faults.remove(0).reason
        })
    }

    #[test]
    fn each_kind_takes_its_own_and_shows_it() {
        for (kind, value, shown) in [
            (Kind::Text, json!("a\r\nb"), json!("a\nb")),
            (Kind::Url, json!("https://example.com/?a=1&b=2"), json!("https://example.com/?a=1&b=2")),
            (Kind::Url, json!("mailto:ada@example.com"), json!("mailto:ada@example.com")),
            (Kind::Money, json!({"amount": 1999, "currency": "EUR"}), json!("EUR 19.99")),
            (Kind::Integer, json!(-3), json!(-3)),
            (Kind::Date, json!("2026-03-31"), json!("31 March 2026")),
            (Kind::Time, json!("2026-03-31T14:05:00+02:00"), json!("31 March 2026, 12:05 UTC")),
            (Kind::Email, json!("ada@example.com"), json!("ada@example.com")),
            (Kind::Boolean, json!(false), json!(false)),
            (Kind::Code, json!("123-456"), json!("123-456")),
        ] {
            let values = json!({ "x": value }).as_object().unwrap().clone();
            let checked = check(&[Variable::new("x", kind, "")], &values, Absent::Missing).unwrap();
            assert_eq!(checked.shown["x"], shown, "{kind:?}");
        }
    }

    #[test]
    fn each_kind_refuses_what_is_not_its_own_and_does_not_repeat_it() {
        for (kind, value) in [
            (Kind::Text, json!(7)),
            (Kind::Text, json!("secret\u{7}")),
            (Kind::Text, json!("secret".repeat(1000))),
            (Kind::Url, json!("javascript:alert('secret')")),
            (Kind::Url, json!("JaVaScRiPt:secret")),
            (Kind::Url, json!("java\nscript:secret")),
            (Kind::Url, json!("data:text/html,secret")),
            (Kind::Url, json!("//secret.example.com")),
            (Kind::Url, json!("/secret")),
            (Kind::Url, json!("https://")),
            (Kind::Url, json!(" https://secret.example.com")),
            (Kind::Url, json!("https://secret.example.com/\"onclick=")),
            (Kind::Url, json!("https://secret.example.com/\r\nBcc: x")),
            (Kind::Money, json!(19.99)),
            (Kind::Money, json!({"amount": 19.99, "currency": "EUR"})),
            (Kind::Money, json!({"amount": 1999, "currency": "secret"})),
            (Kind::Money, json!({"amount": 1999, "currency": "EUR", "secret": 1})),
            (Kind::Integer, json!(1.5)),
            (Kind::Integer, json!("7")),
            (Kind::Date, json!("31.03.2026 secret")),
            (Kind::Date, json!("2026-02-30")),
            (Kind::Time, json!("2026-03-31")),
            (Kind::Email, json!("secret")),
            (Kind::Email, json!("secret@example.com\r\nBcc: x@example.com")),
            (Kind::Boolean, json!("true")),
            (Kind::Code, json!("secret code")),
            (Kind::Code, json!("123")),
            (Kind::List, json!("secret")),
            (Kind::List, json!(["secret"])),
        ] {
            let values = json!({ "x": value }).as_object().unwrap().clone();
            let faults = check(&[Variable::new("x", kind, "")], &values, Absent::Missing).unwrap_err();
            assert!(faults[0].pointer.starts_with("/variables/x"), "{kind:?} {value}");
            assert!(!faults[0].reason.contains("secret"), "{kind:?}: {}", faults[0].reason);
        }
        assert_eq!(fault(Kind::Integer, json!(7)), None);
    }

    #[test]
    fn missing_and_unknown_variables_are_named_all_at_once() {
        let variables = [Variable::new("name", Kind::Text, ""), Variable::new("note", Kind::Text, "").optional()];
        let values = json!({ "nmae": "Ada", "a/b": 1 }).as_object().unwrap().clone();
        let faults = check(&variables, &values, Absent::Missing).unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "/variables/a~1b: is no variable of this template, which has: name, note",
                "/variables/nmae: is no variable of this template, which has: name, note",
                "/variables/name: missing: must be text",
            ]
        );
    }

    #[test]
    fn a_row_s_faults_say_which_row_and_which_field() {
        use omnibus_schemas::template::FieldKind;
        let lines = Variable::new("lines", Kind::List, "").max_len(2).fields(vec![
            Field::new("what", FieldKind::Text, ""),
            Field::new("price", FieldKind::Money, "").optional(),
        ]);
        let told = |value: Value| {
            let values = json!({ "lines": value }).as_object().unwrap().clone();
            match check(std::slice::from_ref(&lines), &values, Absent::Missing) {
                Ok(_) => vec![],
                Err(faults) => faults.into_iter().map(|f| f.to_string()).collect(),
            }
        };
        assert_eq!(told(json!([{ "what": "Tea" }])), [""; 0]);
        assert_eq!(
            told(json!([{ "what": "Tea" }, { "price": 3, "vat": 1 }])),
            [
                "/variables/lines/1/vat: is no field of these rows, which have: what, price",
                "/variables/lines/1/what: missing: must be text",
                "/variables/lines/1/price: must be an object such as {\"amount\": 1999, \"currency\": \"EUR\"}, in minor units",
            ]
        );
        assert_eq!(told(json!([{}, {}, {}])), ["/variables/lines: has more than 2 rows"]);
    }
}
