//! A template: its parts, checked once, and rendered as often as one likes.

use std::io::{self, Write};

use handlebars::{Handlebars, RenderErrorReason, no_escape};
use omnibus_schemas::Fault;
use omnibus_schemas::template::{Kind, Variable};
use serde_json::{Map, Value};

use crate::shape::{Given, Names, Tree};
use crate::tags::{Flaw, is_name, pieces};
use crate::values::{self, Absent, Checked};
use crate::{html, limits};

/// The parts of a template, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// One line; a mail has one, an SMS has none.
    pub subject: Option<String>,
    /// Plain text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
}

/// The parts, filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// One line without control characters.
    pub subject: Option<String>,
    /// Plain text.
    pub text: String,
    /// HTML, in which every value is escaped.
    pub html: Option<String>,
}

/// A template that has passed every check that can be made before its values are known.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    version: u32,
    variables: Vec<Variable>,
    source: Source,
    subject: Option<Part>,
    text: Part,
    html: Option<Part>,
    given: &'static [Given],
}

#[derive(Debug, Clone)]
struct Part {
    field: &'static str,
    tree: Tree,
    engine: Handlebars<'static>,
}

impl Template {
    /// Checks a template. `given` is what every template of the channel may use without declaring it. Faults point at
    /// `/subject`, `/text`, `/html` and `/variables/...`, and say line and column.
    pub fn parse(
        name: impl Into<String>,
        version: u32,
        source: Source,
        variables: Vec<Variable>,
        given: &'static [Given],
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = declared(&variables, given);
        let names = Names::new(&variables, given);
        let mut part = |field, source: &str, most, markup| {
            Part::of(field, source, most, markup, &names).map_err(|fault| faults.push(fault)).ok()
        };
        let subject = source.subject.as_deref().map(|subject| part("/subject", subject, limits::SUBJECT_SOURCE, false));
        let text = part("/text", &source.text, limits::TEXT_SOURCE, false);
        let html = source.html.as_deref().map(|html| part("/html", html, limits::HTML_SOURCE, true));
        if let Some(Some(subject)) = &subject
            && let Some(list) = variables.iter().find(|v| v.kind == Kind::List && subject.tree.shows.contains(&v.name))
        {
            faults.push(Fault::new("/subject", format!("a list ({}) does not fit into a line", list.name)));
        }
        if source.subject.as_deref().is_some_and(|subject| subject.chars().any(char::is_control)) {
            faults.push(Fault::new("/subject", "must be one line without control characters"));
        }
        match (text, faults.is_empty()) {
            (Some(text), true) => {
                let (subject, html) = (subject.flatten(), html.flatten());
                Ok(Template { name: name.into(), version, variables, source, subject, text, html, given })
            }
            _ => Err(faults),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What it is filled with.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The parts as they are written.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Which variables must stand in nothing that is kept.
    pub fn confidential(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().filter(|variable| variable.is_confidential()).map(|variable| variable.name.as_str())
    }

    /// The values without the confidential ones: what may be stored.
    pub fn keepable(&self, values: &Map<String, Value>) -> Map<String, Value> {
        let kept = values.iter().filter(|(name, _)| !self.confidential().any(|hidden| hidden == name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Values to preview with: the declared examples, and for a required variable without one a value of its kind.
    pub fn examples(&self) -> Map<String, Value> {
        let shown = self.variables.iter().filter(|variable| variable.required || !variable.example.is_null());
        shown.map(|variable| (variable.name.clone(), values::example(variable))).collect()
    }

    /// Checks values against the variables: kinds, lengths, missing and unknown names. All faults at once, each at
    /// `/variables/<name>`.
    pub fn check(&self, values: &Map<String, Value>) -> Result<Checked, Vec<Fault>> {
        self.one_line(values::check(&self.variables, values, Absent::Missing)?)
    }

    /// The same for values that were stored: [`NOT_KEPT`](crate::NOT_KEPT) stands for the confidential ones.
    pub fn check_kept(&self, values: &Map<String, Value>) -> Result<Checked, Vec<Fault>> {
        self.one_line(values::check(&self.variables, values, Absent::NotKept)?)
    }

    /// A line break in a subject would begin another header.
    fn one_line(&self, checked: Checked) -> Result<Checked, Vec<Fault>> {
        let Some(subject) = &self.subject else { return Ok(checked) };
        let broken = checked.shown.iter().filter(|(name, value)| {
            subject.tree.shows.contains(*name) && value.as_str().is_some_and(|text| text.chars().any(char::is_control))
        });
        let faults: Vec<Fault> = broken
            .map(|(name, _)| Fault::new(format!("/variables/{name}"), "stands in the subject, so it must be one line"))
            .collect();
        if faults.is_empty() { Ok(checked) } else { Err(faults) }
    }

    /// Fills the template in. `given` holds a value for each of the names that were given when it was parsed, nested as
    /// their paths say.
    pub fn render(&self, values: &Checked, given: &Map<String, Value>) -> Result<Parts, Vec<Fault>> {
        let mut data = given.clone();
        self.given.iter().for_each(|one| fill(&mut data, one.path));
        data.extend(values.shown.clone());
        let data = handlebars::Context::from(Value::Object(data));
        let subject = self.subject.as_ref().map(|part| part.subject(&data)).transpose()?;
        let text = self.text.render(&data)?;
        let html = self.html.as_ref().map(|part| part.render(&data)).transpose()?;
        Ok(Parts { subject, text, html })
    }
}

/// A name that was given but has no value is empty, not an error.
fn fill(data: &mut Map<String, Value>, path: &str) {
    match path.split_once('.') {
        None => drop(data.entry(path).or_insert(Value::Null)),
        Some((first, rest)) => {
            let inner = data.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                fill(inner, rest);
            }
        }
    }
}

/// What is wrong with the declarations themselves.
fn declared(variables: &[Variable], given: &[Given]) -> Vec<Fault> {
    let mut faults = Vec::new();
    if variables.len() > limits::VARIABLES {
        faults.push(Fault::new("/variables", format!("more than {} variables", limits::VARIABLES)));
    }
    for (n, variable) in variables.iter().enumerate() {
        let mut fault = |field: &str, reason: &str| {
            faults.push(Fault::new(format!("/variables/{n}/{field}"), format!("{}: {reason}", variable.name)));
        };
        if !is_name(&variable.name) {
            fault(
                "name",
                "must be lower case letters, digits and underscores, a letter first, and no word of handlebars",
            );
        }
        if given.iter().any(|given| given.path.split('.').next() == Some(variable.name.as_str())) {
            fault("name", "is there without being declared, and can't be declared anew");
        }
        if variables[..n].iter().any(|before| before.name == variable.name) {
            fault("name", "is declared twice");
        }
        if variable.kind == Kind::List && variable.fields.is_empty() {
            fault("fields", "a list needs at least one field");
        }
        if variable.kind != Kind::List && !variable.fields.is_empty() {
            fault("fields", "only a list has fields");
        }
        for (m, field) in variable.fields.iter().enumerate() {
            if !is_name(&field.name) || variable.fields[..m].iter().any(|before| before.name == field.name) {
                fault("fields", "each field needs a name of its own, as a variable has");
            }
        }
        if !variable.example.is_null() {
            let values = Map::from_iter([(variable.name.clone(), variable.example.clone())]);
            if let Err(found) = values::check(std::slice::from_ref(variable), &values, Absent::Missing) {
                let reason = found.first().map(|fault| fault.reason.clone()).unwrap_or_default();
                fault("example", &format!("the example is none: {reason}"));
            }
        }
    }
    faults
}

impl Part {
    fn of(field: &'static str, source: &str, most: usize, markup: bool, names: &Names<'_>) -> Result<Self, Fault> {
        let told = |flaw: Flaw| Fault::new(field, flaw.to_string());
        if source.len() > most {
            return Err(Fault::new(field, format!("is longer than {most} bytes")));
        }
        if source.trim().is_empty() {
            return Err(Fault::new(field, "is empty"));
        }
        let pieces = pieces(source).map_err(told)?;
        let tree = Tree::of(source, &pieces, names).map_err(told)?;
        if markup {
            html::check(source, &pieces, names).map_err(told)?;
        }
        let mut engine = Handlebars::new();
        for helper in ["lookup", "log", "with", "raw", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len"]
        {
            engine.unregister_helper(helper);
        }
        engine.set_strict_mode(true);
        engine.set_prevent_indent(true);
        if !markup {
            engine.register_escape_fn(no_escape);
        }
        engine.register_template_string(field, source).map_err(|error| {
            let (line, column) = error.pos().unwrap_or_default();
            Fault::new(field, format!("line {line}, column {column}: {}", error.reason()))
        })?;
        Ok(Part { field, tree, engine })
    }

    fn render(&self, data: &handlebars::Context) -> Result<String, Vec<Fault>> {
        let fault = |reason: String| vec![Fault::new(self.field, reason)];
        let values = data.data().as_object();
        let steps = values.map_or(0, |values| self.tree.steps(values, limits::STEPS));
        if steps > limits::STEPS {
            return Err(fault(format!("with these lists it is more work than {} steps", limits::STEPS)));
        }
        let mut out = Bounded { written: Vec::with_capacity(8 * 1024), most: limits::OUTPUT };
        self.engine.render_with_context_to_write(self.field, data, &mut out).map_err(|error| {
            fault(match error.reason() {
                RenderErrorReason::IOError(_) => format!("would be longer than {} bytes", limits::OUTPUT),
                RenderErrorReason::MissingVariable(name) => {
                    format!("{} has no value", name.as_deref().unwrap_or("a variable"))
                }
                other => other.to_string(),
            })
        })?;
        String::from_utf8(out.written).map_err(|error| fault(error.to_string()))
    }

    fn subject(&self, data: &handlebars::Context) -> Result<String, Vec<Fault>> {
        let line = self.render(data)?;
        let line = line.trim();
        let reason = if line.is_empty() {
            "comes out empty".to_owned()
        } else if line.chars().count() > limits::SUBJECT {
            format!("comes out longer than {} characters", limits::SUBJECT)
        } else if line.chars().any(char::is_control) {
            "comes out with a control character".to_owned()
        } else {
            return Ok(line.to_owned());
        };
        Err(vec![Fault::new(self.field, reason)])
    }
}

/// Refuses to grow without end.
struct Bounded {
    written: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.len() + bytes.len() > self.most {
            return Err(io::Error::other("too long"));
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
