//! A server's words, made fit for rows, events and logs.

use lettre::transport::smtp::Error;

/// As long as a reply is quoted.
const LONGEST: usize = 240;

/// What went wrong. Servers like to repeat the address they complain about; it is left out.
pub(super) fn words(error: &Error) -> String {
    let said = std::error::Error::source(error).map(ToString::to_string);
    match (error.status(), said) {
        (Some(code), Some(said)) => without_addresses(&format!("{code} {said}")),
        (Some(code), None) => code.to_string(),
        (None, _) => without_addresses(&error.to_string()),
    }
}

/// Replaces every word with an `@` in it, line breaks and other controls; caps the length.
pub fn without_addresses(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let clean: Vec<_> = words.map(|word| if word.contains('@') { "<address>" } else { word }).collect();
    clean.join(" ").chars().take(LONGEST).collect()
}

/// Is the address itself no good? Said by the enhanced status code (RFC 3463): 5.1.x speaks of the address, 5.2.1 of a
/// mailbox that is closed. A plain 550 can mean anything, "we don't like you" among it.
pub fn no_such_mailbox(words: &str) -> bool {
    words.split(' ').any(|word| {
        let mut parts = word.split('.');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next()];
        matches!(
            parts,
            [Some("5"), Some("1"), Some("1" | "2" | "3" | "6" | "10"), None] | [Some("5"), Some("2"), Some("1"), None]
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_loses_its_addresses_and_line_breaks() {
        let said = "550 5.1.1 <bob@example.com>: Recipient address\r\nrejected: User unknown in table";
        let kept = "550 5.1.1 <address> Recipient address rejected: User unknown in table";
        assert_eq!(without_addresses(said), kept);
        assert_eq!(without_addresses(&"ä".repeat(1000)).chars().count(), LONGEST);
    }

    #[test]
    fn only_what_is_said_of_the_address_makes_it_bad() {
        for (words, bad) in [
            ("550 5.1.1 <address> no such user", true),
            ("550 5.2.1 closed", true),
            ("550 no such user", false),
            ("554 5.7.1 spam", false),
            ("552 5.2.2 full", false),
            ("450 4.1.1 later", false),
            ("550 5.1.1.1 what", false),
        ] {
            assert_eq!(no_such_mailbox(words), bad, "{words}");
        }
    }
}
