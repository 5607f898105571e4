//! Where a link may lead: to the program's own sites and nowhere else.

use reqwest::Url;

/// The address, if it is an https one on one of `sites`, without credentials or a port of its own.
pub(crate) fn allowed(address: &str, sites: &[String]) -> Option<Url> {
    let url: Url = address.parse().ok()?;
    let plain = url.scheme() == "https"
        && url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none()
        && !address.chars().any(char::is_control);
    let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
    (plain && sites.contains(&host)).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_programs_sites_only() {
        let sites = ["shop.example.com".to_owned()];
        for good in ["https://shop.example.com", "https://SHOP.example.com/a?b=c#d", "https://shop.example.com:443/"] {
            assert!(allowed(good, &sites).is_some(), "{good}");
        }
        for bad in [
            "http://shop.example.com/",
            "https://evil.example/",
            "https://shop.example.com.evil.example/",
            "https://evil.example/shop.example.com",
            "https://shop.example.com@evil.example/",
            "https://user@shop.example.com/",
            "https://shop.example.com:8443/",
            "https://evil.example\\@shop.example.com/",
            "//shop.example.com/",
            "/relative",
            "javascript:alert(1)//shop.example.com",
            "https://shop.example.com/\r\nSet-Cookie: a=b",
            "",
        ] {
            assert!(allowed(bad, &sites).is_none(), "{bad}");
        }
    }
}
