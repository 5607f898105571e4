//! How a text is packed into segments. 3GPP TS 23.038 §6.2.1, 23.040 §9.2.3.24.

use omnibus_schemas::texter::SmsEncoding;

/// The default alphabet, without the escape. 3GPP TS 23.038 §6.2.1.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡\
    ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Characters that take an escape before them. 3GPP TS 23.038 §6.2.1.1.
const ESCAPED: &str = "\u{c}^{}\\[~]|€";

/// How a text is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// In which alphabet.
    pub encoding: SmsEncoding,
    /// In how many segments; 1 for an empty text.
    pub segments: u32,
    /// How many characters the text has.
    pub characters: u32,
}

/// Packs a text as it stands.
pub fn pack(text: &str) -> Packing {
    let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    let septets = |c: char| match c {
        _ if BASIC.contains(c) => Some(1),
        _ if ESCAPED.contains(c) => Some(2),
        _ => None,
    };
    // Whether it fits the small alphabet is seen while its characters are measured.
    match text.chars().map(septets).collect::<Option<Vec<u32>>>() {
        Some(units) => Packing { encoding: SmsEncoding::Gsm7, segments: parts(units, 160, 153), characters },
        None => {
            let units = text.chars().map(|c| c.len_utf16() as u32);
            Packing { encoding: SmsEncoding::Ucs2, segments: parts(units, 70, 67), characters }
        }
    }
}

/// A character of two units never straddles a boundary: where one unit is left, it stays empty.
fn parts(units: impl IntoIterator<Item = u32> + Clone, alone: u32, each: u32) -> u32 {
    if units.clone().into_iter().sum::<u32>() <= alone {
        return 1;
    }
    let (parts, _) = units.into_iter().fold((1, 0), |(parts, filled), unit| match filled + unit <= each {
        true => (parts, filled + unit),
        false => (parts + 1, unit),
    });
    parts
}

/// The text with typographic characters written as their look-alikes of the small alphabet, if it fits there then;
/// else the text itself.
pub fn smart(text: &str) -> String {
    let plain: String = text.chars().map(look_alike).collect();
    match pack(&plain).encoding {
        SmsEncoding::Gsm7 => plain,
        SmsEncoding::Ucs2 => text.to_owned(),
    }
}

/// What stands for a character that the small alphabet has not.
enum LookAlike {
    Same(char),
    Other(&'static str),
}

impl Extend<LookAlike> for String {
    fn extend<I: IntoIterator<Item = LookAlike>>(&mut self, all: I) {
        for one in all {
            match one {
                LookAlike::Same(c) => self.push(c),
                LookAlike::Other(text) => self.push_str(text),
            }
        }
    }
}

impl FromIterator<LookAlike> for String {
    fn from_iter<I: IntoIterator<Item = LookAlike>>(all: I) -> Self {
        let mut text = String::new();
        text.extend(all);
        text
    }
}

fn look_alike(c: char) -> LookAlike {
    LookAlike::Other(match c {
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2033}' => "\"",
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' | '\u{b4}' | '`' => "'",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "-",
        '\u{2026}' => "...",
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => " ",
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => "",
        '\u{2022}' | '\u{b7}' => "*",
        '\t' => " ",
        other => return LookAlike::Same(other),
    })
}

#[cfg(test)]
#[path = "segments_tests.rs"]
mod tests;
