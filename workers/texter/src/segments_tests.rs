use super::*;

/// The table of examples: a text as runs of `character * count`, its alphabet, its segments.
const EXAMPLES: &str = include_str!("../tests/segments.txt");

/// `a*152 + { + a*152`, or a text between quotes; `U+20AC` is a character by its number.
fn text_of(runs: &str) -> String {
    if let Some(quoted) = runs.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return quoted.to_owned();
    }
    let character = |name: &str| match name.strip_prefix("U+") {
        Some(hex) => char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap().to_string(),
        None => name.to_owned(),
    };
    runs.split(" + ")
        .map(|run| match run.rsplit_once('*') {
            Some((name, count)) => character(name).repeat(count.parse().unwrap()),
            None => character(run),
        })
        .collect()
}

#[test]
fn every_example_has_its_alphabet_and_its_segments() {
    let mut seen = 0;
    for line in EXAMPLES.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut columns = line.split('\t');
        let (runs, how) = (columns.next().unwrap(), columns.next().unwrap());
        let (alphabet, segments): (&str, u32) = (columns.next().unwrap(), columns.next().unwrap().parse().unwrap());
        let text = text_of(runs);
        let packing = match how {
            "smart" => pack(&smart(&text)),
            _ => pack(&text),
        };
        let encoding = if alphabet == "GSM-7" { SmsEncoding::Gsm7 } else { SmsEncoding::Ucs2 };
        assert_eq!((packing.encoding, packing.segments), (encoding, segments), "{line}");
        seen += 1;
    }
    assert_eq!(seen, 23);
}

/// The same rules written the other way round: the bytes of each part are laid out, and the parts are counted.
fn laid_out(text: &str) -> (bool, usize) {
    let table: Vec<char> = (0x20u8..0x7f).map(char::from).filter(|c| !"`^{}\\[~]|".contains(*c)).collect();
    let more = "\n\r\u{a1}\u{a3}\u{a4}\u{a5}\u{a7}\u{bf}\u{c4}\u{c5}\u{c6}\u{c7}\u{c9}\u{d1}\u{d6}\u{d8}\u{dc}\u{df}\
        \u{e0}\u{e4}\u{e5}\u{e6}\u{e8}\u{e9}\u{ec}\u{f1}\u{f2}\u{f6}\u{f8}\u{f9}\u{fc}\u{393}\u{394}\u{398}\u{39b}\
        \u{39e}\u{3a0}\u{3a3}\u{3a6}\u{3a8}\u{3a9}";
    let extended = "\u{c}^{}\\[~]|\u{20ac}";
    let small = text.chars().all(|c| table.contains(&c) || more.contains(c) || extended.contains(c));
    let mut parts: Vec<Vec<u16>> = vec![vec![]];
    let symbols: Vec<Vec<u16>> = text
        .chars()
        .map(|c| match small {
            true if extended.contains(c) => vec![0x1b, 0],
            true => vec![0],
            false => c.encode_utf16(&mut [0; 2]).to_vec(),
        })
        .collect();
    let (alone, each) = if small { (160, 153) } else { (70, 67) };
    if symbols.iter().map(Vec::len).sum::<usize>() <= alone {
        return (small, 1);
    }
    for symbol in symbols {
        if parts.last().unwrap().len() + symbol.len() > each {
            parts.push(vec![]);
        }
        parts.last_mut().unwrap().extend(symbol);
    }
    (small, parts.len())
}

/// SplitMix64: the same texts in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[test]
fn two_ways_of_counting_agree_on_any_text() {
    let mut chance = Chance(5);
    let pools: [&[char]; 4] = [
        &['a', 'Z', '0', ' ', '\n', 'ä', 'Ω', '@'],
        &['a', '{', '€', '\\', '^', 'é'],
        &['a', 'ç', 'ж', '`', '{', '\u{a0}'],
        &['\u{1f61c}', 'ж', 'a', '\u{200d}', '\u{10000}'],
    ];
    let mut of_several = 0;
    for _ in 0..20_000 {
        let (pool, length) = (pools[chance.below(4)], chance.below(420));
        let text: String = (0..length).map(|_| pool[chance.below(pool.len())]).collect();
        let (small, parts) = laid_out(&text);
        let packing = pack(&text);
        assert_eq!((packing.encoding == SmsEncoding::Gsm7, packing.segments as usize), (small, parts), "{text:?}");
        of_several += usize::from(parts > 1);
    }
    assert!(of_several > 1000, "{of_several}");
}

#[test]
fn every_single_character_of_most_scripts_is_seen_alike_by_both() {
    for c in (0..0x3000).chain(0x1f600..0x1f700).filter_map(char::from_u32) {
        let text = c.to_string();
        assert_eq!(pack(&text).encoding == SmsEncoding::Gsm7, laid_out(&text).0, "{c:?}");
    }
}

#[test]
fn smart_encoding_leaves_alone_what_it_can_not_save() {
    assert_eq!(smart("\u{201c}hi\u{201d} \u{2026}"), "\"hi\" ...");
    assert_eq!(smart("\u{201c}\u{436}\u{201d}"), "\u{201c}\u{436}\u{201d}");
}
