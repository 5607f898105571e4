//! What a template of any channel is filled with: variables, each with a name and a kind. Shared by email and SMS.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What kind of value a variable takes, how it is checked, and how it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text, of several lines where the place allows it.
    Text,
    /// An absolute `https`, `http` or `mailto` address.
    Url,
    /// `{"amount": 1999, "currency": "EUR"}`: minor units and an ISO 4217 code. Shown as `EUR 19.99`.
    Money,
    /// A whole number.
    Integer,
    /// `2026-03-31`. Shown as `31 March 2026`.
    Date,
    /// A point in time, RFC 3339. Shown in UTC, as `31 March 2026, 14:05 UTC`.
    Time,
    /// An email address.
    Email,
    /// Yes or no, for conditions.
    Boolean,
    /// A one-time code: 4 to 32 letters, digits or hyphens. Always confidential.
    Code,
    /// A list of rows; `fields` says what is in each.
    List,
}

/// What kind of value a field of a list's rows takes: every [`Kind`] but a list and a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// As for variables.
    Text,
    /// As for variables.
    Url,
    /// As for variables.
    Money,
    /// As for variables.
    Integer,
    /// As for variables.
    Date,
    /// As for variables.
    Time,
    /// As for variables.
    Email,
    /// As for variables.
    Boolean,
}

impl From<FieldKind> for Kind {
    fn from(kind: FieldKind) -> Self {
        match kind {
            FieldKind::Text => Kind::Text,
            FieldKind::Url => Kind::Url,
            FieldKind::Money => Kind::Money,
            FieldKind::Integer => Kind::Integer,
            FieldKind::Date => Kind::Date,
            FieldKind::Time => Kind::Time,
            FieldKind::Email => Kind::Email,
            FieldKind::Boolean => Kind::Boolean,
        }
    }
}

/// Something that a template is filled with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Variable {
    /// The name that stands between the braces: lower case letters, digits and underscores, a letter first.
    #[garde(length(max = 64), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// What it takes.
    #[garde(skip)]
    pub kind: Kind,
    /// Whether a send without it is refused. Otherwise it is empty where it is missing.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub required: bool,
    /// What it means, for whoever fills it in. At most 500 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[garde(length(chars, max = 500))]
    pub doc: String,
    /// A value to preview with; for a required variable, one of its kind is made up if absent.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[garde(skip)]
    pub example: Value,
    /// Most characters of a text (1000 if absent) or rows of a list (100 if absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 20_000)))]
    #[schemars(range(min = 1, max = 20_000))]
    pub max_len: Option<u32>,
    /// Never stored and never logged: a reset link, say.
    #[serde(default, skip_serializing_if = "is_false")]
    #[garde(skip)]
    pub confidential: bool,
    /// What is in each row of a list, at most 20 fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 20), dive)]
    pub fields: Vec<Field>,
}

/// A field of a list's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Field {
    /// As for a variable.
    #[garde(length(max = 64), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// What it takes.
    #[garde(skip)]
    pub kind: FieldKind,
    /// As for a variable.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub required: bool,
    /// What it means.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[garde(length(chars, max = 500))]
    pub doc: String,
    /// Most characters of a text (1000 if absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 20_000)))]
    #[schemars(range(min = 1, max = 20_000))]
    pub max_len: Option<u32>,
}

fn yes() -> bool {
    true
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Variable {
    /// A required variable.
    pub fn new(name: &str, kind: Kind, doc: &str) -> Self {
        Variable {
            name: name.to_owned(),
            kind,
            required: true,
            doc: doc.to_owned(),
            example: Value::Null,
            max_len: None,
            confidential: kind == Kind::Code,
            fields: vec![],
        }
    }

    /// The same, with a value to preview with.
    #[must_use]
    pub fn example(mut self, example: impl Into<Value>) -> Self {
        self.example = example.into();
        self
    }

    /// The same, but it may be missing.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// The same, but never stored and never logged.
    #[must_use]
    pub fn confidential(mut self) -> Self {
        self.confidential = true;
        self
    }

    /// The same, with another limit of characters or rows.
    #[must_use]
    pub fn max_len(mut self, max_len: u32) -> Self {
        self.max_len = Some(max_len);
        self
    }

    /// The same, with these fields in each row.
    #[must_use]
    pub fn fields(mut self, fields: Vec<Field>) -> Self {
        self.fields = fields;
        self
    }

    /// Whether its value must stand in nothing that is kept.
    pub fn is_confidential(&self) -> bool {
        self.confidential || self.kind == Kind::Code
    }
}

impl Field {
    /// A required field.
    pub fn new(name: &str, kind: FieldKind, doc: &str) -> Self {
        Field { name: name.to_owned(), kind, required: true, doc: doc.to_owned(), max_len: None }
    }

    /// The same, but it may be missing.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }
}
