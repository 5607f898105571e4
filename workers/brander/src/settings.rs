//! What the brander is told from outside. `--help` is the reference.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use omnibus_runtime::seal::Seal;
use secrecy::{ExposeSecret, SecretString};

/// The brander's settings.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "brander")]
pub struct Settings {
    /// Where the platform's own door is for people outside: the start of preview links and of pictures in mails.
    #[arg(long, env = "PUBLIC_URL", default_value = "http://127.0.0.1:8080")]
    pub public_url: String,
    /// Domains of the platform itself, which no tenant may claim, nor anything below them. The host of PUBLIC_URL is
    /// always one. Comma-separated.
    #[arg(long, env = "OWN_DOMAINS", value_delimiter = ',')]
    pub own_domains: Vec<String>,
    /// DNS servers to ask for proofs, as address:port. Unset: those of the machine.
    #[arg(long, env = "DNS_SERVERS", value_delimiter = ',')]
    pub dns_servers: Vec<SocketAddr>,
    /// The directory of the certificate authority (ACME). Unset: no certificates are ordered.
    #[arg(long, env = "ACME_DIRECTORY_URL")]
    pub acme_directory_url: Option<String>,
    /// The address that the authority may write to.
    #[arg(long, env = "ACME_CONTACT")]
    pub acme_contact: Option<String>,
    /// File with the authority's own root to trust, PEM. For test authorities.
    #[arg(long, env = "ACME_CA_FILE")]
    pub acme_ca_file: Option<PathBuf>,
    /// 32 bytes in base64, with which the private keys of certificates are sealed in the database and on their way to the
    /// doors, which have the same key. Needed with ACME_DIRECTORY_URL. `openssl rand -base64 32` makes one.
    #[arg(long, env = "CERTIFICATE_KEY", hide_env_values = true)]
    pub certificate_key: Option<SecretString>,
    /// Hours between two looks at a domain's proof, 1 to 24.
    #[arg(long, env = "DOMAIN_CHECK_HOURS", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=24))]
    pub domain_check_hours: u16,
}

impl Settings {
    /// What holds where nothing is set.
    pub fn defaults() -> Self {
        Settings {
            public_url: "http://127.0.0.1:8080".into(),
            own_domains: vec![],
            dns_servers: vec![],
            acme_directory_url: None,
            acme_contact: None,
            acme_ca_file: None,
            certificate_key: None,
            domain_check_hours: 6,
        }
    }

    /// Says what contradicts itself.
    ///
    /// # Errors
    /// With the setting's name and what would do.
    pub fn check(&self) -> anyhow::Result<()> {
        let web = self.public_url.starts_with("https://") || self.public_url.starts_with("http://");
        ensure!(
            web && !self.public_url.contains(|c: char| c.is_whitespace() || "\"'<>\\".contains(c)),
            "PUBLIC_URL must be an address such as https://app.example.com"
        );
        ensure!(
            self.acme_directory_url.is_none() || self.certificate_key.is_some(),
            "CERTIFICATE_KEY must be set when ACME_DIRECTORY_URL is: private keys are sealed with it"
        );
        self.ours()?;
        self.seal().map(drop)
    }

    /// What seals private keys.
    ///
    /// # Errors
    /// If the key is not 32 bytes in base64.
    pub fn seal(&self) -> anyhow::Result<Option<Seal>> {
        let Some(text) = &self.certificate_key else { return Ok(None) };
        Seal::of_text(text.expose_secret()).map(Some).context("CERTIFICATE_KEY")
    }

    /// [`Settings::public_url`] without a slash at its end.
    pub fn base(&self) -> &str {
        self.public_url.trim_end_matches('/')
    }

    /// The platform's own domains, as they stand in DNS.
    ///
    /// # Errors
    /// If one is no host name: it would keep nobody from anything.
    pub fn ours(&self) -> anyhow::Result<Vec<String>> {
        let mut ours = vec![self.public_host()];
        for own in self.own_domains.iter().map(|own| own.trim().trim_matches('.')).filter(|own| !own.is_empty()) {
            let host = idna::domain_to_ascii_strict(own).ok().filter(|host| !host.contains([':', '/', '*', ' ']));
            ours.push(host.with_context(|| format!("OWN_DOMAINS: '{own}' is no host name such as example.com"))?);
        }
        Ok(ours)
    }

    /// The host of [`Settings::public_url`], lower case.
    pub fn public_host(&self) -> String {
        let rest = self.public_url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match authority.rfind(':') {
            Some(at) if !authority[at..].contains(']') => &authority[..at],
            _ => authority,
        };
        host.to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn the_public_host_is_read_without_scheme_port_and_path() {
        let host = |url: &str| Settings { public_url: url.into(), ..Settings::defaults() }.public_host();
        assert_eq!(host("https://App.Example.com:8443/x/"), "app.example.com");
        assert_eq!(host("http://127.0.0.1:8080"), "127.0.0.1");
        assert_eq!(host("http://[::1]:80"), "[::1]");
    }

    #[test]
    fn own_domains_are_read_as_they_stand_in_dns_or_not_at_all() {
        let ours = |own: &str| Settings { own_domains: vec![own.into()], ..Settings::defaults() }.ours();
        assert_eq!(ours(" B\u{fc}cher.de. ").unwrap()[1], "xn--bcher-kva.de");
        for bad in ["*.ours.com", "https://ours.com", "ours.com:443"] {
            assert!(ours(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn certificates_want_a_key_of_the_right_size_and_it_is_not_printed() {
        let acme = Settings { acme_directory_url: Some("https://acme.example/dir".into()), ..Settings::defaults() };
        assert!(acme.check().unwrap_err().to_string().contains("CERTIFICATE_KEY"));
        let short = Settings { certificate_key: Some("c2hvcnQ=".into()), ..acme.clone() };
        assert!(short.check().is_err());
        let good = Settings { certificate_key: Some(BASE64_STANDARD.encode([7; 32]).into()), ..acme };
        assert!(good.check().is_ok());
        assert!(!format!("{good:?}").contains(&BASE64_STANDARD.encode([7; 32])));
    }
}
