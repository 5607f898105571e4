//! Fonts: the header's every promise is held against the file. W3C WOFF 2.0, 4.1. The tables stay compressed and are not
//! read: browsers put each font through a sanitiser of their own before they use it.

use omnibus_schemas::brander::AssetKind;

use super::{Made, NotTaken};

/// The largest font, in bytes.
const LARGEST: usize = 512 * 1024;
/// The header, in bytes.
const HEADER: usize = 48;

pub(super) fn make(bytes: &[u8]) -> Result<Made, NotTaken> {
    let refuse = |words: &str| Err(NotTaken::of("font_broken", format!("the WOFF2 font {words}")));
    if bytes.len() > LARGEST {
        return Err(NotTaken::of(
            "font_too_large",
            "a font has at most 512 KB; leave out the letters that you don't need",
        ));
    }
    if bytes.len() < HEADER {
        return refuse("ends within its header");
    }
    let four = |at: usize| bytes[at..at + 4].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let two = |at: usize| u64::from(bytes[at]) << 8 | u64::from(bytes[at + 1]);
    let length = bytes.len() as u64;
    let (flavor, tables, compressed) = (four(4), two(12), four(20));
    let (meta_at, meta_length, private_at, private_length) = (four(28), four(32), four(40), four(44));
    match () {
        // TrueType and CFF outlines; a collection is no web font.
        () if ![0x0001_0000, 0x4f54_544f, 0x7472_7565].contains(&flavor) => {
            refuse("has no outlines that browsers show")
        }
        () if four(8) != length => refuse("says another length than it has"),
        () if tables == 0 || tables > 128 => refuse("has no tables, or more than there are kinds of"),
        () if two(14) != 0 => refuse("has a reserved field that is not zero"),
        () if four(16) == 0 || four(16) > 30 * 1024 * 1024 => refuse("would unpack to nothing or to more than 30 MB"),
        () if compressed == 0 || HEADER as u64 + tables + compressed > length => refuse("is shorter than its tables"),
        () if private_at != 0 || private_length != 0 => refuse("carries private data; save it without"),
        () if meta_at == 0 && meta_length != 0 => refuse("has a description without a place"),
        () if meta_at != 0 && (meta_at < HEADER as u64 + compressed || meta_at + meta_length > length) => {
            refuse("has a description outside of itself")
        }
        () => Ok(Made {
            kind: AssetKind::Woff2,
            bytes: bytes.to_vec(),
            size: None,
            mail: None,
            mailable: false,
            hints: vec![],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that keeps its promises, with nothing much behind it.
    fn font() -> Vec<u8> {
        let mut bytes = vec![0; 148];
        bytes[..4].copy_from_slice(b"wOF2");
        bytes[4..8].copy_from_slice(&[0, 1, 0, 0]);
        bytes[8..12].copy_from_slice(&148_u32.to_be_bytes());
        bytes[13] = 10;
        bytes[16..20].copy_from_slice(&4000_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&90_u32.to_be_bytes());
        bytes
    }

    #[test]
    fn a_header_that_breaks_a_promise_is_refused() {
        assert!(make(&font()).is_ok());
        let broken: [(&str, usize, &[u8]); 9] = [
            ("flavor", 4, b"ttcf"),
            ("length", 8, &[0, 0, 0, 147]),
            ("no tables", 12, &[0, 0]),
            ("reserved", 14, &[0, 1]),
            ("unpacked", 16, &[0xff; 4]),
            ("compressed", 20, &[0, 0, 0, 0x64]),
            ("private data", 40, &[0, 0, 0, 100]),
            ("description without a place", 32, &[0, 0, 0, 1]),
            ("description outside", 28, &[0, 0, 1, 0]),
        ];
        for (what, at, bytes) in broken {
            let mut font = font();
            font[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(make(&font).unwrap_err().code, "font_broken", "{what}");
        }
        assert_eq!(make(&font()[..40]).unwrap_err().code, "font_broken");
        assert_eq!(make(&vec![b'w'; LARGEST + 1]).unwrap_err().code, "font_too_large");
    }
}
