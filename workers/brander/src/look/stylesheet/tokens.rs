//! The first and the last wall: a stylesheet's tokens, as a browser reads them.

use cssparser::{ParseError, Parser, ParserInput, Token};

/// Blocks in blocks, at most: a parser goes down a level of its stack for each.
const DEEPEST: usize = 12;

/// The functions that values, selectors and media queries may call. None loads, and none reads what it is not given.
const FUNCTIONS: &[&str] = &[
    "calc",
    "clamp",
    "color",
    "color-mix",
    "conic-gradient",
    "cubic-bezier",
    "fit-content",
    "hsl",
    "hsla",
    "hwb",
    "is",
    "lab",
    "lch",
    "linear-gradient",
    "max",
    "min",
    "minmax",
    "not",
    "nth-child",
    "nth-last-child",
    "nth-last-of-type",
    "nth-of-type",
    "oklab",
    "oklch",
    "radial-gradient",
    "repeat",
    "repeating-conic-gradient",
    "repeating-linear-gradient",
    "repeating-radial-gradient",
    "rgb",
    "rgba",
    "steps",
    "where",
];

/// Walks all tokens. `Err` has the words for the first that is not allowed.
pub(super) fn walk(source: &str) -> Result<(), String> {
    let mut input = ParserInput::new(source);
    let mut parser = Parser::new(&mut input);
    level(&mut parser, 0).map_err(|error| {
        let line = error.location.line + 1;
        match error.kind {
            cssparser::ParseErrorKind::Custom(words) => format!("line {line}: {words}"),
            cssparser::ParseErrorKind::Basic(_) => format!("line {line}: a bracket, quote or escape is not closed"),
        }
    })
}

fn level<'i>(parser: &mut Parser<'i, '_>, depth: usize) -> Result<(), ParseError<'i, String>> {
    loop {
        let token = match parser.next_including_whitespace_and_comments() {
            Ok(token) => token.clone(),
            Err(error) if matches!(error.kind, cssparser::BasicParseErrorKind::EndOfInput) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let refuse = |words: String| Err(parser.new_custom_error(words));
        match &token {
            Token::AtKeyword(name) if !name.eq_ignore_ascii_case("media") => {
                return refuse(format!("@{} is not allowed; of at-rules, only @media is", plain(name)));
            }
            Token::UnquotedUrl(_) | Token::BadUrl(_) => {
                return refuse("url() is not allowed: a stylesheet loads nothing".into());
            }
            Token::BadString(_) => return refuse("a string is not closed".into()),
            Token::CDO | Token::CDC => return refuse("'<!--' and '-->' have no place in a stylesheet".into()),
            Token::CloseParenthesis | Token::CloseSquareBracket | Token::CloseCurlyBracket => {
                return refuse("a bracket closes what is not open".into());
            }
            Token::Delim('<') if depth == 0 => return refuse("'<' has no place in a stylesheet".into()),
            Token::Function(name) if !FUNCTIONS.iter().any(|known| name.eq_ignore_ascii_case(known)) => {
                return refuse(format!("the function {}() is not allowed", plain(name)));
            }
            Token::Function(_) | Token::ParenthesisBlock | Token::SquareBracketBlock | Token::CurlyBracketBlock => {
                if depth == DEEPEST {
                    return refuse(format!("brackets stand more than {DEEPEST} deep"));
                }
                parser.parse_nested_block(|inner| level(inner, depth + 1))?;
            }
            _ => {}
        }
    }
}

/// A name that may be repeated in an error: what a browser's text would show, and not too much of it.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect()
}
