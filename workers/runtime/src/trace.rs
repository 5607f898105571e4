//! W3C Trace Context, as much of it as travels: the trace's id is kept, every hop gets a span of its own.

use crate::clock;

/// A `traceparent` header, as it is written: one is made for every message that comes and goes.
/// <https://www.w3.org/TR/trace-context/>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent([u8; 55]);

const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;

impl TraceParent {
    /// A new trace.
    pub fn start() -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        clock::new_id().simple().encode_lower(&mut text[TRACE]);
        TraceParent(text).child()
    }

    /// `None` if it is not a version that can be understood, or its ids are zero.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |word: &str, len| word.len() == len && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let zero = |word: &str| word.bytes().all(|b| b == b'0');
        let fits = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        let rest = version != "00" || parts.next().is_none();
        (fits && rest && !zero(trace) && !zero(span)).then(|| {
            let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
            text[TRACE].copy_from_slice(trace.as_bytes());
            text[SPAN].copy_from_slice(span.as_bytes());
            text[FLAGS].copy_from_slice(flags.as_bytes());
            TraceParent(text)
        })
    }

    /// The next hop of the same trace.
    pub fn child(&self) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = self.0;
        let mut chance = clock::span();
        // A span of zeroes is no span.
        chance[0] |= 1;
        for (two, byte) in text[SPAN].chunks_exact_mut(2).zip(chance) {
            two.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        TraceParent(text)
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits and hyphens")
    }

    /// 32 hex digits.
    pub fn trace_id(&self) -> &str {
        &self.as_str()[TRACE]
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_keeps_the_trace_and_has_a_span_of_its_own() {
        let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let child = TraceParent::parse(&parent.child().to_string()).unwrap();
        assert_eq!(child.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(child, parent);
        assert_eq!(child.as_str()[..36], parent.as_str()[..36]);
        assert_eq!(child.as_str()[52..], parent.as_str()[52..]);
    }

    #[test]
    fn what_is_not_a_traceparent_is_none() {
        for bad in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
