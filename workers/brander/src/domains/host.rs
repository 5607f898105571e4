//! What a host is, and which may be claimed.

use std::net::IpAddr;

/// Why a host can't be claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotClaimable {
    /// It is no host name.
    #[error("must be a host such as portal.example.com, without scheme, port and path")]
    NoHost,
    /// It is an address.
    #[error("is an IP address; a domain has a name")]
    Address,
    /// Nobody can register below what stands there, or it is itself what people register below.
    #[error("is a public suffix, or ends on none; a domain of your own ends on one, as example.com does")]
    Suffix,
    /// It is the platform's.
    #[error("belongs to the platform")]
    Ours,
}

/// The host in ASCII and lower case, as it stands in DNS and in `Host`; letters beyond ASCII in their `xn--` form.
///
/// # Errors
/// If it may not be claimed.
pub fn claimable(text: &str, ours: &[String]) -> Result<String, NotClaimable> {
    let text = text.trim().trim_end_matches('.');
    if text.parse::<IpAddr>().is_ok() || text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(NotClaimable::Address);
    }
    let host = idna::domain_to_ascii_strict(text).map_err(|_| NotClaimable::NoHost)?;
    let labels = host.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    });
    // The record that proves it stands one label below.
    if !labels || host.len() > 244 || !host.contains('.') {
        return Err(NotClaimable::NoHost);
    }
    if host.parse::<IpAddr>().is_ok()
        || host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(NotClaimable::Address);
    }
    if ours.iter().any(|own| host == *own || host.strip_suffix(own.as_str()).is_some_and(|below| below.ends_with('.')))
    {
        return Err(NotClaimable::Ours);
    }
    registered(&host).map(|_| host.clone()).ok_or(NotClaimable::Suffix)
}

/// The part that somebody registered, under which authorities count: `example.co.uk` of `a.b.example.co.uk`.
pub fn registered(host: &str) -> Option<String> {
    let domain = psl::domain(host.as_bytes())?;
    let known = domain.suffix().is_known();
    known.then(|| String::from_utf8_lossy(domain.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<String> {
        vec!["omnibus-cloud.com".to_owned()]
    }

    #[test]
    fn a_host_is_written_as_it_stands_in_dns() {
        for (text, host) in [
            ("Portal.Northwind-Coffee.COM", "portal.northwind-coffee.com"),
            ("portal.northwind-coffee.com.", "portal.northwind-coffee.com"),
            ("b\u{fc}cher.de", "xn--bcher-kva.de"),
            ("B\u{dc}CHER.de", "xn--bcher-kva.de"),
            ("xn--bcher-kva.de", "xn--bcher-kva.de"),
            ("\u{4f8b}\u{5b50}.\u{4e2d}\u{56fd}", "xn--fsqu00a.xn--fiqs8s"),
            ("shop.example.co.uk", "shop.example.co.uk"),
        ] {
            assert_eq!(claimable(text, &ours()).as_deref(), Ok(host), "{text}");
        }
    }

    #[test]
    fn addresses_suffixes_our_own_and_what_is_no_host_are_refused() {
        use NotClaimable::{Address, NoHost, Ours, Suffix};
        for (text, why) in [
            ("", NoHost),
            ("localhost", NoHost),
            ("https://example.com", NoHost),
            ("example.com:443", NoHost),
            ("example.com/login", NoHost),
            ("*.example.com", NoHost),
            ("a b.com", NoHost),
            ("a..com", NoHost),
            ("-a.com", NoHost),
            ("a_b.com", NoHost),
            ("user@example.com", NoHost),
            ("evil.com\r\nHost: x", NoHost),
            ("127.0.0.1", Address),
            ("[::1]", Address),
            ("::1", Address),
            ("2130706433.1", Address),
            ("com", NoHost),
            ("co.uk", Suffix),
            ("github.io", Suffix),
            ("portal.internal", Suffix),
            ("portal.local", Suffix),
            ("omnibus-cloud.com", Ours),
            ("tenant.omnibus-cloud.com", Ours),
        ] {
            assert_eq!(claimable(text, &ours()), Err(why), "{text:?}");
        }
        assert!(claimable("notomnibus-cloud.com", &ours()).is_ok());
        assert!(claimable(&format!("{}.com", "a".repeat(64)), &ours()).is_err());
        assert!(claimable(&format!("{}com", "abcdefg.".repeat(40)), &ours()).is_err());
    }

    #[test]
    fn authorities_count_by_what_was_registered() {
        assert_eq!(registered("a.b.example.co.uk").as_deref(), Some("example.co.uk"));
        assert_eq!(registered("northwind-coffee.com").as_deref(), Some("northwind-coffee.com"));
        assert_eq!(registered("co.uk"), None);
    }
}
