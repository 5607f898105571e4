//! Twilio's signature: base64 of HMAC-SHA1 with the account's token over the public address and the form's fields, or, of
//! a JSON body, over the address alone, which then carries the body's hash.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};

/// Is `signature` what Twilio would write?
pub fn is_twilios(token: &str, url: &str, form: &[(String, String)], signature: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let Ok(given) = STANDARD.decode(signature) else { return false };
    hmac::verify(&key, said(url, form).as_bytes(), &given).is_ok()
}

/// The address, then each name and value in order of name; of a name that comes several times, each value once and in
/// order.
fn said(url: &str, form: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = form.iter().collect();
    sorted.sort();
    sorted.dedup();
    sorted.into_iter().fold(url.to_owned(), |said, (name, value)| said + name + value)
}

/// Does the address carry this body's hash?
pub fn carries_hash(query: &[(String, String)], body: &[u8]) -> bool {
    let hash = digest::digest(&digest::SHA256, body);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    query.iter().any(|(name, value)| name == "bodySHA256" && value.eq_ignore_ascii_case(&hex))
}

/// `a=b&c=d`, percent-decoded. `None` if it is not that.
pub fn fields(text: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(text).ok()?;
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((plain(name)?, plain(value)?))
        })
        .collect()
}

fn plain(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = match first {
            b'%' => {
                let hex = std::str::from_utf8(more.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'))?);
                &more[2..]
            }
            b'+' => {
                bytes.push(b' ');
                more
            }
            other => {
                bytes.push(*other);
                more
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

    #[test]
    fn twilios_own_examples_are_believed() {
        let call = form(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
        ]);
        assert!(is_twilios("12345", URL, &call, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
        let repeated = form(&[
            ("Sid", "CA123"),
            ("SidAccount", "AC123"),
            ("Digits", "5678"),
            ("Digits", "1234"),
            ("Digits", "1234"),
        ]);
        assert!(is_twilios("12345", URL, &repeated, "IK+Dwps556ElfBT0I3Rgjkr1wJU="));
    }

    #[test]
    fn whatever_is_changed_is_not_believed() {
        let fields = [("CallSid", "CA1234567890ABCDE"), ("Caller", "+14158675309"), ("Digits", "1234")];
        let all = form(&[&fields[..], &[("From", "+14158675309"), ("To", "+18005551212")]].concat());
        let right = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
        assert!(is_twilios("12345", URL, &all, right));
        assert!(!is_twilios("12346", URL, &all, right));
        assert!(!is_twilios("12345", &URL.replace("https", "http"), &all, right));
        assert!(!is_twilios("12345", URL, &all[1..], right));
        for wrong in ["", "RSOYDt4T1cUTdK1PDd93/VVr8B8", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not base64"] {
            assert!(!is_twilios("12345", URL, &all, wrong), "{wrong}");
        }
    }

    #[test]
    fn a_json_body_is_bound_by_its_hash() {
        let body = br#"{"property": "value", "boolean": true}"#;
        let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        assert!(carries_hash(&form(&[("bodySHA256", hash)]), body));
        assert!(!carries_hash(&form(&[("bodySHA256", hash)]), b"{}"));
        assert!(!carries_hash(&[], body));
    }

    #[test]
    fn forms_are_percent_decoded_once() {
        assert_eq!(
            fields(b"To=%2B1&Body=a+b%26c%2520&x"),
            Some(form(&[("To", "+1"), ("Body", "a b&c%20"), ("x", "")]))
        );
        for wrong in ["a=%", "a=%2", "a=%zz", "a=%+1", "a=%ff"] {
            assert_eq!(fields(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
