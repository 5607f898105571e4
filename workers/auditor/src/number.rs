//! A telephone number has one name, however it is written.

use std::borrow::Cow;

use phonenumber::Mode;
use phonenumber::country::Id;
use phonenumber::metadata::DATABASE;

/// No contract takes a longer one, characters.
const LONGEST: usize = 40;

/// As E.164, such as `+14155552671`, if it is a number: one with its country's code, or one as it is dialled inside
/// `country` (two letters, ISO 3166-1). What is none stays as it is, without outer blanks.
pub(crate) fn one_name<'a>(text: &'a str, country: Option<&str>) -> Cow<'a, str> {
    let text = text.trim();
    // The parser looks for a number anywhere in a text; here the text has to be one.
    let written = text.len() <= LONGEST && text.chars().all(|c| c.is_ascii_digit() || " +-()./".contains(c));
    // With its country's code it means the same inside every country.
    let country = country.filter(|_| !text.contains('+'));
    if !written || (country.is_none() && !text.contains('+')) {
        return text.into();
    }
    let of = country.and_then(|name| name.to_ascii_uppercase().parse::<Id>().ok());
    // Of a country of which it knows nothing the parser panics.
    let of = of.filter(|id| DATABASE.by_id(id.as_ref()).is_some());
    match phonenumber::parse(of, text) {
        Ok(number) if number.is_valid() => number.format().mode(Mode::E164).to_string().into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::one_name;

    #[test]
    fn a_number_is_named_as_e164_and_everything_else_as_it_stands() {
        for (text, country) in [
            ("+14155552671", None),
            (" +1 (415) 555-2671", None),
            ("415.555.2671", Some("us")),
            ("+1 415 555 2671", Some("DE")),
        ] {
            assert_eq!(one_name(text, country), "+14155552671", "{text}");
        }
        for (text, country) in
            [("0151 23456789", Some("DE")), ("(+49) 151 23456789", Some("US")), ("(+49) 151 23456789", None)]
        {
            assert_eq!(one_name(text, country), "+4915123456789", "{text}");
        }
        assert_eq!(one_name("+39 06 6988 2000", None), "+390669882000");
        assert_eq!(one_name("02 1234 5678", Some("IT")), "+390212345678");
        for (text, country) in [
            ("415.555.2671", None),
            ("415.555.2671", Some("XX")),
            ("ada@example.com", Some("US")),
            ("call +14155552671", None),
            ("+999123456789", None),
            ("+", None),
            ("", Some("US")),
        ] {
            assert_eq!(one_name(text, country), text);
        }
    }

    proptest! {
        /// Whoever writes to the bus chooses both, and the log goes on.
        #[test]
        fn no_text_is_the_end_of_the_process(
            text in "[0-9+().\\-/ ]{0,45}",
            country in prop::option::of("[A-Za-z]{2}"),
        ) {
            let name = one_name(&text, country.as_deref());
            prop_assert!(name.len() <= text.len() + "+999".len());
        }
    }
}
