//! Rules that several of the contracts share, and what their JSON Schemas say of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Headers that the mailer writes itself. RFC 5322 §3.6, RFC 8058 and what authenticates a mail.
pub const RESERVED: &[&str] = &[
    "bcc",
    "cc",
    "content-transfer-encoding",
    "content-type",
    "date",
    "dkim-signature",
    "from",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
];

/// [`one_line`], for the JSON Schema.
pub(super) const ONE_LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// Names of streams, templates and the like.
pub(super) const TOKEN: &str = "^[a-z0-9_-]{1,64}$";

/// The names that [`free_headers`] lets through, for the JSON Schema. Patterns know no case, so each letter has both.
pub(super) fn free_header_name() -> Value {
    let any_case = |name: &&str| -> String {
        name.chars()
            .map(|c| match c.is_ascii_alphabetic() {
                true => format!("[{}{c}]", c.to_ascii_uppercase()),
                false => c.to_string(),
            })
            .collect()
    };
    let reserved = RESERVED.iter().map(any_case).collect::<Vec<_>>().join("|");
    json!({ "pattern": "^[A-Za-z0-9_-]{1,76}$", "not": { "pattern": format!("^(?:{reserved})$") } })
}

/// A line break in a header starts another header, or the body: header injection.
pub(super) fn one_line(text: &str, _: &()) -> garde::Result {
    match text.chars().any(char::is_control) {
        true => Err(garde::Error::new("must be one line without control characters")),
        false => Ok(()),
    }
}

/// A name on the bus's terms, so that it can stand in rows, addresses and subjects alike.
pub(super) fn token(text: &str, _: &()) -> garde::Result {
    match text.parse::<crate::subject::Token>() {
        Ok(_) => Ok(()),
        Err(_) => Err(garde::Error::new("must be 1 to 64 characters of a-z, 0-9, '_' and '-'")),
    }
}

/// Headers beyond those that the mailer writes.
pub(super) fn free_headers(headers: &BTreeMap<String, String>, _: &()) -> garde::Result {
    for (name, value) in headers {
        let token = !name.is_empty()
            && name.len() <= 76
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !token {
            return Err(garde::Error::new("a header's name must be 1 to 76 characters of A-Z, a-z, 0-9, '-' and '_'"));
        }
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(garde::Error::new(format!("the header {name} is written by the mailer and can't be set")));
        }
        if value.len() > 998 || value.chars().any(char::is_control) {
            return Err(garde::Error::new(format!(
                "the header {name} must be one line of at most 998 bytes without control characters"
            )));
        }
    }
    Ok(())
}

/// A domain in its ASCII form: labels of letters, digits and hyphens.
pub(super) fn domain_name(text: &str, _: &()) -> garde::Result {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.len() <= 253 && text.contains('.') && text.split('.').all(label) {
        true => Ok(()),
        false => Err(garde::Error::new("must be a domain such as example.com, in its xn-- form if beyond ASCII")),
    }
}

/// [`domain_name`], for the JSON Schema.
pub(super) const DOMAIN_NAME: &str =
    r"^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$";

/// A file's name as it may stand in a header and in somebody's folder.
pub(super) fn file_name(name: &str, _: &()) -> garde::Result {
    match name.chars().any(|c| c.is_control() || c == '/' || c == '\\') || name == "." || name == ".." {
        true => Err(garde::Error::new("must be a file's name without folders and control characters")),
        false => Ok(()),
    }
}

/// [`file_name`], for the JSON Schema.
pub(super) const FILE_NAME: &str = r"^[^\u0000-\u001F\u007F-\u009F/\\]*$";

/// `type/subtype`, without parameters. RFC 6838 §4.2.
pub(super) fn media_type(text: &str, _: &()) -> garde::Result {
    let token = |part: &str| {
        !part.is_empty()
            && part.len() <= 127
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match text.split_once('/') {
        Some((kind, sub)) if token(kind) && token(sub) => Ok(()),
        _ => Err(garde::Error::new("must be a media type such as application/pdf")),
    }
}

/// [`media_type`], for the JSON Schema.
pub(super) const MEDIA_TYPE: &str = "^[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}$";

/// What may stand between `<` and `>` of a `Content-ID`.
pub(super) fn content_id_text(text: &str, _: &()) -> garde::Result {
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b)) {
        true => Ok(()),
        false => Err(garde::Error::new("must be of A-Z, a-z, 0-9, '.', '_', '-' and '@'")),
    }
}

/// [`content_id_text`], for the JSON Schema.
pub(super) const CONTENT_ID: &str = "^[A-Za-z0-9._@-]*$";
