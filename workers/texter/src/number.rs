//! Telephone numbers: read as people write them, kept as E.164.

use phonenumber::country::{Id, Source};
use phonenumber::metadata::{DATABASE, Descriptor};
use phonenumber::{Metadata, Mode, PhoneNumber};

/// A number that can be texted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// `+14155552671`
    pub e164: String,
    /// Two letters, ISO 3166-1.
    pub country: String,
    /// The range it lies in: country code and the first four digits after it. What fraud pumps are neighbours.
    pub prefix: String,
}

/// Why there is no number. Never repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not a country.
    #[error("/country is not a country's two letters, such as US")]
    Country,
    /// Not a number.
    #[error("{0} is not a telephone number; write it as E.164, such as +12025550123, or name its /country")]
    NotANumber(&'static str),
    /// A number of no country, such as a satellite's.
    #[error("{0} belongs to no country that is known")]
    NoCountry(&'static str),
    /// Whoever calls it pays extra.
    #[error("{0} is a number that costs its caller extra; it can't be texted")]
    Premium(&'static str),
}

impl Unreadable {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Unreadable::Country | Unreadable::NotANumber(_) => "invalid_number",
            Unreadable::NoCountry(_) => "unknown_country",
            Unreadable::Premium(_) => "number_not_allowed",
        }
    }
}

/// Reads a number. `field` is where it stood, for the words.
pub fn read(field: &'static str, text: &str, country: Option<&str>) -> Result<Number, Unreadable> {
    let of = match country {
        Some(name) => Some(known(name).ok_or(Unreadable::Country)?),
        None => None,
    };
    // With its country's code it means the same inside every country.
    let of = of.filter(|_| !text.contains('+'));
    // The parser looks for a number anywhere in a text; here the text has to be one.
    let written = |c: char| c.is_ascii_digit() || " +-()./".contains(c);
    if !text.chars().all(written) {
        return Err(Unreadable::NotANumber(field));
    }
    let number = phonenumber::parse(of, text.trim()).map_err(|_| Unreadable::NotANumber(field))?;
    // Dialled out of the country, the parser takes the country's own prefix from what follows: another's number, perhaps.
    if !number.is_valid() || number.code().source() == Source::Idd {
        return Err(Unreadable::NotANumber(field));
    }
    let home = home(&number).ok_or(Unreadable::NoCountry(field))?;
    let id = home.id().parse::<Id>().map_err(|_| Unreadable::NoCountry(field))?;
    if costs_extra(home, &number) {
        return Err(Unreadable::Premium(field));
    }
    Ok(Number { e164: e164(&number), country: id.as_ref().to_owned(), prefix: prefix(&number) })
}

/// A country that has telephones: of another, the parser panics.
fn known(name: &str) -> Option<Id> {
    name.to_ascii_uppercase().parse::<Id>().ok().filter(|id| DATABASE.by_id(id.as_ref()).is_some())
}

/// The country, or the service without one, that a valid number belongs to.
fn home(number: &PhoneNumber) -> Option<&'static Metadata> {
    if number.national().zeros() == 0 {
        return number.metadata(&DATABASE);
    }
    // A landline of Italy begins with a zero that is part of it, and the library looks a number up without its zeros.
    let national = number.national().to_string();
    let regions = DATABASE.by_code(&number.code().value())?;
    let begins = |region: &&Metadata| {
        let digits = region.leading_digits().and_then(|digits| digits.find(&national));
        digits.is_some_and(|digits| digits.start() == 0)
    };
    // Of those that share a code, the main one stands first.
    regions.iter().copied().find(begins).or(regions.first().copied())
}

/// Premium or shared cost, by the whole number: without its zero, a landline of Acqui Terme is a premium number.
fn costs_extra(home: &Metadata, number: &PhoneNumber) -> bool {
    let national = number.national().to_string();
    let is = |kind: Option<&Descriptor>| kind.is_some_and(|kind| kind.is_match(&national));
    is(home.descriptors().premium_rate()) || is(home.descriptors().shared_cost())
}

fn e164(number: &PhoneNumber) -> String {
    number.format().mode(Mode::E164).to_string()
}

fn prefix(number: &PhoneNumber) -> String {
    let e164 = e164(number);
    let length = 1 + number.code().value().to_string().len() + 4;
    e164.chars().take(length).collect()
}

/// All but the ends blotted out: `+1415*****71`.
pub fn masked(e164: &str) -> String {
    let length = e164.chars().count();
    let shown = |n: usize| n < 5 || n + 2 >= length;
    e164.chars().enumerate().map(|(n, c)| if shown(n) { c } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_as_e164_however_it_was_written() {
        let kept = |text: &str, country| read("/to", text, country).map(|number| (number.e164, number.country));
        let us = Ok(("+14155552671".to_owned(), "US".to_owned()));
        assert_eq!(kept("+14155552671", None), us);
        assert_eq!(kept("+1 (415) 555-2671", None), us);
        assert_eq!(kept("415.555.2671", Some("us")), us);
        assert_eq!(kept("0151 23456789", Some("DE")), Ok(("+4915123456789".into(), "DE".into())));
        assert_eq!(kept("+1 868 291 1234", None), Ok(("+18682911234".into(), "TT".into())));
        for text in ["+49 151 23456789", "(+49) 151 23456789"] {
            assert_eq!(kept(text, Some("US")), Ok(("+4915123456789".into(), "DE".into())), "{text}");
        }
    }

    #[test]
    fn a_zero_that_is_part_of_a_number_stays_and_counts() {
        let kept = |text: &str, country| read("/to", text, country).map(|number| (number.e164, number.country));
        for (text, country, e164, home) in [
            ("+39 06 12345678", None, "+390612345678", "IT"),
            ("+39 06 12345678", Some("DE"), "+390612345678", "IT"),
            ("06 12345678", Some("IT"), "+390612345678", "IT"),
            ("+39 02 48801234", None, "+390248801234", "IT"),
            ("+39 347 1234567", None, "+393471234567", "IT"),
            ("+39 06 69812345", None, "+390669812345", "VA"),
            ("+378 0549 886377", None, "+3780549886377", "SM"),
            ("+378 66 661212", None, "+37866661212", "SM"),
            // Without its zero it would be a premium number, and the one refused below would be none.
            ("+39 0144 123456", None, "+390144123456", "IT"),
        ] {
            assert_eq!(kept(text, country), Ok((e164.into(), home.into())), "{text}");
        }
        assert_eq!(read("/to", "+39 0878 12345", None), Err(Unreadable::Premium("/to")));
        assert_eq!(read("/to", "+39 06 12345678", None).unwrap().prefix, "+390612");
    }

    #[test]
    fn what_is_no_number_is_refused_without_repeating_it() {
        for text in ["", "hello", "+", "123", "+1415555267", "+999123456789", "call +14155552671", "4155552671"] {
            let error = read("/to", text, None).unwrap_err();
            assert_eq!(error.code(), "invalid_number", "{text}");
            assert!(error.to_string().starts_with("/to"), "{error}");
        }
        for nowhere in ["XX", "AQ"] {
            assert_eq!(read("/to", "4155552671", Some(nowhere)), Err(Unreadable::Country), "{nowhere}");
        }
        let abroad = read("/to", "011 86 139 1234 5678", Some("US"));
        assert_eq!(abroad, Err(Unreadable::NotANumber("/to")), "with its country's code it begins with +");
        assert_eq!(read("/to", "+19002345678", None), Err(Unreadable::Premium("/to")));
        assert_eq!(read("/to", "+870773111632", None).unwrap_err().code(), "unknown_country");
    }

    #[test]
    fn neighbours_share_a_prefix() {
        assert_eq!(read("/to", "+14155552671", None).unwrap().prefix, "+14155");
        assert_eq!(read("/to", "+4915123456789", None).unwrap().prefix, "+491512");
    }

    #[test]
    fn a_masked_number_shows_its_ends() {
        assert_eq!(masked("+14155552671"), "+1415*****71");
    }
}
