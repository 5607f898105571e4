//! Whether two subjects, wildcards allowed, can match one and the same message.

/// True if some subject matches both patterns.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(x), Some(y)) if x == y || x == "*" || y == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn wildcards_match_one_token_and_the_tail_at_least_one() {
        for (a, b) in [("a.b", "a.b"), ("a.*", "a.b"), ("a.>", "a.b.c"), ("*.b", "a.*"), (">", "a"), ("a.>", "a.*")] {
            assert!(overlap(a, b) && overlap(b, a), "{a} {b}");
        }
        for (a, b) in [("a.b", "a.c"), ("a.>", "a"), ("a.*", "a.b.c"), ("a.*.c", "a.b.d"), ("cmd.>", "evt.>")] {
            assert!(!overlap(a, b) && !overlap(b, a), "{a} {b}");
        }
    }
}
