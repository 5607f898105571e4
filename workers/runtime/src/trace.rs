//! W3C Trace Context, as much of it as travels: the trace's id is kept, every hop gets a span of its own.

use uuid::Uuid;

use crate::clock;

/// A `traceparent` header. <https://www.w3.org/TR/trace-context/>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    trace: String,
    span: String,
    flags: String,
}

impl TraceParent {
    /// A new trace.
    pub fn start() -> Self {
        TraceParent { trace: clock::new_id().simple().to_string(), span: new_span(), flags: "01".into() }
    }

    /// `None` if it is not a version that can be understood, or its ids are zero.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |word: &str, len| word.len() == len && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let zero = |word: &str| word.bytes().all(|b| b == b'0');
        let fits = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        let rest = version != "00" || parts.next().is_none();
        (fits && rest && !zero(trace) && !zero(span)).then(|| TraceParent {
            trace: trace.into(),
            span: span.into(),
            flags: flags.into(),
        })
    }

    /// The next hop of the same trace.
    pub fn child(&self) -> Self {
        TraceParent { trace: self.trace.clone(), span: new_span(), flags: self.flags.clone() }
    }

    /// 32 hex digits.
    pub fn trace_id(&self) -> &str {
        &self.trace
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "00-{}-{}-{}", self.trace, self.span, self.flags)
    }
}

fn new_span() -> String {
    let bytes: Uuid = clock::new_id();
    // The first half of a UUIDv7 is mostly time; the second is chance.
    format!("{:016x}", (bytes.as_u128() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_keeps_the_trace_and_has_a_span_of_its_own() {
        let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let child = TraceParent::parse(&parent.child().to_string()).unwrap();
        assert_eq!(child.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(child.span, parent.span);
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
