//! What people and programs see: tables, JSON, colours.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{ContentArrangement, Table, presets};
use owo_colors::{AnsiColors, OwoColorize};
use serde::Serialize;
use serde_json::Value;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs: one JSON value, or one a line where there is no end.
    Json,
}

/// Colours are for terminals and for those who insist (<https://bixense.com/clicolors/>), and not for those who declined
/// them (<https://no-color.org>).
static COLOURS: LazyLock<bool> = LazyLock::new(|| {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && (set("CLICOLOR_FORCE") || io::stdout().is_terminal())
});

/// Writes to standard output. A reader that has gone away ends the program quietly, as `head` expects it.
pub(crate) fn text(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| match text.ends_with('\n') {
        true => Ok(()),
        false => out.write_all(b"\n"),
    });
    if let Err(error) = written.and_then(|()| out.flush())
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// Writes a remark to standard error, where it does not mix with what programs read.
pub(crate) fn remark(words: &str) {
    // Where standard error is gone, there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{words}");
}

/// What failed, and why.
pub(crate) fn error(error: &anyhow::Error) {
    remark(&format!("error: {error:#}"));
}

/// One JSON value, indented.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) {
    text(&serde_json::to_string_pretty(value).expect("what is shown has string keys and no failing serializers"));
}

/// One JSON value on one line.
pub(crate) fn json_line<T: Serialize + ?Sized>(value: &T) {
    text(&serde_json::to_string(value).expect("what is shown has string keys and no failing serializers"));
}

/// A table without frames.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // An id that is broken over two lines can't be copied.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Words in a colour, if there are colours.
pub(crate) fn coloured(words: &str, colour: AnsiColors) -> String {
    if *COLOURS { words.color(colour).to_string() } else { words.to_owned() }
}

/// Words that step back.
pub(crate) fn dim(words: &str) -> String {
    if *COLOURS { words.dimmed().to_string() } else { words.to_owned() }
}

/// Words that step forward.
pub(crate) fn bold(words: &str) -> String {
    if *COLOURS { words.bold().to_string() } else { words.to_owned() }
}

/// An outcome in its colour: green for done, yellow for no, magenta for a person's decision, red for failed.
pub(crate) fn outcome(word: &str) -> String {
    coloured(
        word,
        match word {
            "succeeded" => AnsiColors::Green,
            "rejected" => AnsiColors::Yellow,
            "held" => AnsiColors::Magenta,
            "dead_lettered" => AnsiColors::Red,
            _ => AnsiColors::Default,
        },
    )
}

/// To the millisecond, in UTC.
pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `-` for what is not there.
pub(crate) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `1.5 MiB`
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// `3 s`, `4 min`, `5 h`, `6 d`
pub(crate) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// A payload on one line.
pub(crate) fn one_line(value: &Value) -> String {
    serde_json::to_string(value).expect("a JSON value is always written")
}
