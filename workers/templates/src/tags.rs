//! The tags of a template, and nothing but those that are allowed. What passes here is a small part of handlebars:
//! `{{name}}`, `{{#if}}`, `{{#unless}}`, `{{#each}}`, `{{else}}`, comments. No helper, no partial, no decorator, no raw
//! output, no expression in parentheses: nothing that could reach into the engine, and nothing that nests deeper than
//! the eye. It runs before the engine's own parser, which recurses and must not be handed a pit.

use std::fmt;
use std::ops::Range;

/// A template's source, cut at its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where in the source, in bytes.
    pub range: Range<usize>,
    /// What stands there.
    pub what: What<'a>,
}

/// Text or tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What<'a> {
    /// Copied as it stands.
    Text(&'a str),
    /// `{{name}}`
    Value(Path<'a>),
    /// `{{#if name}}`
    Open(Block, Path<'a>),
    /// `{{else}}`
    Else,
    /// `{{else if name}}`
    ElseIf(Path<'a>),
    /// `{{/if}}`
    Close(Block),
    /// `{{! words }}`
    Comment,
}

/// The blocks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Shown if the value is there and neither empty, zero nor no.
    If,
    /// The other way round.
    Unless,
    /// Shown for each row of a list.
    Each,
}

impl Block {
    const ALL: [Block; 3] = [Block::If, Block::Unless, Block::Each];

    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Block::If => "if",
            Block::Unless => "unless",
            Block::Each => "each",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Block::ALL.into_iter().find(|block| block.word() == word)
    }
}

/// A name between braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    /// As it is written.
    pub raw: &'a str,
    /// How many loops outwards: the number of `../`.
    pub up: usize,
    /// `@index`, `@first` or `@last`, without the `@`.
    pub local: bool,
    /// The name, with dots if it has several parts.
    pub name: &'a str,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong and what would do.
    pub reason: String,
}

impl Flaw {
    /// A flaw at this byte of `source`.
    pub fn at(source: &str, byte: usize, reason: impl Into<String>) -> Self {
        let before = &source[..byte];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Flaw { line, column, reason: reason.into() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

/// Cuts a source into its pieces.
pub fn pieces(source: &str) -> Result<Vec<Piece<'_>>, Flaw> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = source[at..].find("{{") {
        let start = at + offset;
        if start > at {
            found.push(Piece { range: at..start, what: What::Text(&source[at..start]) });
        }
        let (end, what) = tag(source, start)?;
        found.push(Piece { range: start..end, what });
        at = end;
    }
    if at < source.len() {
        found.push(Piece { range: at..source.len(), what: What::Text(&source[at..]) });
    }
    Ok(found)
}

fn tag(source: &str, start: usize) -> Result<(usize, What<'_>), Flaw> {
    let flaw = |reason: &str| Err(Flaw::at(source, start, reason));
    let rest = &source[start..];
    if source[..start].ends_with('\\') {
        return flaw("a backslash before {{ is not allowed: braces can't be escaped");
    }
    if rest.starts_with("{{{") {
        return flaw("{{{...}}} is not allowed: every value is escaped");
    }
    let (closing, comment) = match rest {
        rest if rest.starts_with("{{!--") => ("--}}", true),
        rest if rest.starts_with("{{!") => ("}}", true),
        _ => ("}}", false),
    };
    let Some(length) = rest[2..].find(closing) else {
        return flaw("this tag is not closed: }} is missing");
    };
    let end = start + 2 + length + closing.len();
    if comment {
        return Ok((end, What::Comment));
    }
    let inside = &rest[2..2 + length];
    if inside.contains(['{', '}']) {
        return flaw("a brace inside a tag is not allowed");
    }
    let inside = inside.strip_prefix('~').unwrap_or(inside);
    let inside = inside.strip_suffix('~').unwrap_or(inside).trim();
    match read(inside) {
        Ok(what) => Ok((end, what)),
        Err(reason) => Err(Flaw::at(source, start, reason)),
    }
}

fn read(inside: &str) -> Result<What<'_>, String> {
    let words: Vec<&str> = inside.split_whitespace().collect();
    match words.as_slice() {
        [] => Err("an empty tag is not allowed".into()),
        ["else"] => Ok(What::Else),
        ["else", "if", name] => path(name).map(What::ElseIf),
        ["else", ..] => Err("after else only {{else if name}} is allowed".into()),
        [one] if one.starts_with('/') => match Block::of(&one[1..]) {
            Some(block) => Ok(What::Close(block)),
            None => Err("only {{/if}}, {{/unless}} and {{/each}} close a block".into()),
        },
        [first, ..]
            if first.starts_with(['&', '>', '*', '^']) || first.starts_with("#>") || first.starts_with("#*") =>
        {
            Err("raw output, partials, decorators and ^ are not allowed".into())
        }
        [first, names @ ..] if first.starts_with('#') => match (Block::of(&first[1..]), names) {
            (Some(block), [name]) => path(name).map(|path| What::Open(block, path)),
            (Some(block), _) => Err(format!("{{{{#{}}}}} takes one name and nothing else", block.word())),
            (None, _) => Err("only {{#if}}, {{#unless}} and {{#each}} open a block".into()),
        },
        [name] => path(name).map(What::Value),
        _ => Err("a tag is one name: functions and parameters are not offered".into()),
    }
}

fn path(raw: &str) -> Result<Path<'_>, String> {
    let mut name = raw;
    let mut up = 0;
    while let Some(rest) = name.strip_prefix("../") {
        name = rest;
        up += 1;
    }
    if let Some(local) = name.strip_prefix('@') {
        return match local {
            "index" | "first" | "last" if up == 0 => Ok(Path { raw, up, local: true, name: local }),
            _ => Err("of the names with @, only @index, @first and @last are offered, inside {{#each}}".into()),
        };
    }
    match name.split('.').all(is_name) {
        true => Ok(Path { raw, up, local: false, name }),
        false => Err("this is no name: lower case letters, digits and underscores, a letter first".into()),
    }
}

/// Can a variable be called so? Words that mean something else in handlebars can't.
pub fn is_name(name: &str) -> bool {
    const TAKEN: [&str; 9] = ["as", "each", "else", "false", "if", "null", "this", "true", "unless"];
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.len() <= 64
        && !TAKEN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(source: &str) -> Result<What<'_>, String> {
        let mut all = pieces(source).map_err(|flaw| flaw.to_string())?;
        assert_eq!(all.len(), 1, "{all:?}");
        Ok(all.remove(0).what)
    }

    #[test]
    fn the_allowed_tags_are_told_apart() {
        let name = |raw| Path { raw, up: 0, local: false, name: raw };
        assert_eq!(only("{{ name }}"), Ok(What::Value(name("name"))));
        assert_eq!(only("{{~name~}}"), Ok(What::Value(name("name"))));
        assert_eq!(only("{{brand.name}}"), Ok(What::Value(name("brand.name"))));
        assert_eq!(only("{{../total}}"), Ok(What::Value(Path { raw: "../total", up: 1, local: false, name: "total" })));
        assert_eq!(only("{{@last}}"), Ok(What::Value(Path { raw: "@last", up: 0, local: true, name: "last" })));
        assert_eq!(only("{{#each lines}}"), Ok(What::Open(Block::Each, name("lines"))));
        assert_eq!(only("{{else}}"), Ok(What::Else));
        assert_eq!(only("{{else if paid}}"), Ok(What::ElseIf(name("paid"))));
        assert_eq!(only("{{/unless}}"), Ok(What::Close(Block::Unless)));
        assert_eq!(only("{{!-- {{name}} --}}"), Ok(What::Comment));
    }

    #[test]
    fn everything_else_that_handlebars_knows_is_refused() {
        for source in [
            "{{{name}}}",
            "{{&name}}",
            "{{{{raw}}}}{{{{/raw}}}}",
            "{{> partial}}",
            "{{#> layout}}",
            "{{#*inline \"x\"}}",
            "{{* decorator}}",
            "{{lookup names 0}}",
            "{{log name}}",
            "{{#with name}}",
            "{{#if (eq a b)}}",
            "{{#if a includeZero=true}}",
            "{{#each lines as |line|}}",
            "{{@root.name}}",
            "{{@root}}",
            "{{this}}",
            "{{this.name}}",
            "{{[name]}}",
            "{{name.[0]}}",
            "{{lines.0.name}}",
            "{{__proto__}}",
            "{{../@index}}",
            "{{\"text\"}}",
            "{{^name}}",
            "{{^}}",
            "{{}}",
            "{{name",
            "\\{{name}}",
            "{{else unless a}}",
            "{{/}}",
            "{{if}}",
        ] {
            assert!(pieces(source).is_err(), "{source}");
        }
    }

    #[test]
    fn a_flaw_says_where_it_is() {
        let flaw = pieces("Grüße\n  ä {{{x}}}").unwrap_err();
        assert_eq!((flaw.line, flaw.column), (2, 5));
        assert!(flaw.to_string().starts_with("line 2, column 5: {{{...}}} is not allowed"), "{flaw}");
    }

    #[test]
    fn pieces_cover_the_source_without_a_gap() {
        let source = "a{{b}}c{{! d }}{{#if e}}}f{{/if}}";
        let all = pieces(source).unwrap();
        let whole: String = all.iter().map(|piece| &source[piece.range.clone()]).collect();
        assert_eq!(whole, source);
    }
}
