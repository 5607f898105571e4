//! What the mailer is told from outside. `--help` is the reference.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use lettre::Address;
use omnibus_schemas::mailer::Provider;
use secrecy::SecretString;

/// The mailer's settings. Without `SMTP_HOST`, mails are written into a folder.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "mailer")]
pub struct Settings {
    /// The SMTP server that takes the mails. Unset: they are written to MAIL_DIR as .eml files.
    #[arg(long, env = "SMTP_HOST")]
    pub smtp_host: Option<String>,
    /// Its port.
    #[arg(long, env = "SMTP_PORT", default_value_t = 587)]
    pub smtp_port: u16,
    /// How the connection is encrypted. By default `tls` on port 465 and `starttls` on any other; a server without
    /// it is not used. `none` has to be said, and is for servers on a trusted network.
    #[arg(long, env = "SMTP_TLS")]
    pub smtp_tls: Option<TlsMode>,
    /// File with certificates of authorities to trust, beside the system's. PEM.
    #[arg(long, env = "SMTP_CA_FILE")]
    pub smtp_ca_file: Option<PathBuf>,
    /// Login name, if the server wants one.
    #[arg(long, env = "SMTP_USERNAME")]
    pub smtp_username: Option<String>,
    /// Its password.
    #[arg(long, env = "SMTP_PASSWORD", hide_env_values = true)]
    pub smtp_password: Option<SecretString>,
    /// The name to greet the server with; the machine's own if unset.
    #[arg(long, env = "SMTP_HELO")]
    pub smtp_helo: Option<String>,
    /// Connections at a time, 1 to 100. They are kept for the next mail.
    #[arg(long, env = "SMTP_POOL", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub smtp_pool: u16,
    /// Connections for batches, beside those: a batch never makes a single mail wait for one. 1 to 100.
    #[arg(long, env = "SMTP_BULK_POOL", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub smtp_bulk_pool: u16,
    /// Seconds for each of: waiting for a free connection; connecting and login; the talk before the mail; half of the
    /// mail with its answer. 1 to 30, so that the five of them end before the runtime gives up waiting.
    #[arg(long, env = "SMTP_TIMEOUT", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=30))]
    pub smtp_timeout: u16,
    /// The sender, where a command names none. Needed with SMTP_HOST; `omnibus@localhost` without it.
    #[arg(long, env = "FROM_EMAIL")]
    pub from_email: Option<String>,
    /// The sender's name, where a command names none.
    #[arg(long, env = "FROM_NAME")]
    pub from_name: Option<String>,
    /// Domains from which every tenant may name any sender, beside FROM_EMAIL itself. Comma-separated.
    #[arg(long, env = "FROM_DOMAINS", value_delimiter = ',')]
    pub from_domains: Vec<String>,
    /// Where mails are written while neither SMTP_HOST nor SENDGRID_API_KEY is set.
    #[arg(long, env = "MAIL_DIR", default_value = ".omnibus/mail")]
    pub mail_dir: PathBuf,
    /// The key to SendGrid's v3 API, with the permission `mail.send`.
    #[arg(long, env = "SENDGRID_API_KEY", hide_env_values = true)]
    pub sendgrid_api_key: Option<SecretString>,
    /// Where SendGrid is; another region's is `https://api.eu.sendgrid.com`.
    #[arg(long, env = "SENDGRID_URL", default_value = "https://api.sendgrid.com")]
    pub sendgrid_url: String,
    /// In which order providers are tried where a tenant says nothing else. A later one is tried only when it is certain
    /// that a mail has not left by the one before. By default `smtp,sendgrid`, as far as they are set up.
    #[arg(long, env = "MAIL_PROVIDERS", value_delimiter = ',')]
    pub mail_providers: Vec<ProviderName>,
    /// Where the HTTP door is reached from outside: unsubscribe links lead there. https, unless it is this machine.
    #[arg(long, env = "PUBLIC_URL", default_value = "http://localhost:8080")]
    pub public_url: String,
    /// Folder with the keys that sign mails (DKIM): `<domain>/<selector>.pem` for FROM_EMAIL's own and FROM_DOMAINS,
    /// `<tenant>/<domain>/<selector>.pem` for a tenant's. PKCS#1 PEM for RSA, 32 raw bytes as base64 for Ed25519.
    #[arg(long, env = "DKIM_DIR")]
    pub dkim_dir: Option<PathBuf>,
    /// Seconds before a recipient who was told "later" (4xx) is tried again; tripled from try to try, up to 8 hours.
    #[arg(long, env = "DEFER_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=28_800))]
    pub defer_seconds: u32,
    /// The public key of SendGrid's signed event webhook, as SendGrid shows it. Unset: the webhook is closed.
    #[arg(long, env = "SENDGRID_WEBHOOK_KEY")]
    pub sendgrid_webhook_key: Option<String>,
    /// The last part of the address to which returned mails are posted. Unset: that door is closed.
    #[arg(long, env = "RETURNED_MAIL_SECRET", hide_env_values = true)]
    pub returned_mail_secret: Option<SecretString>,
    /// With this, the operator approves a tenant's sender domains where DNS can't be asked: the approval is the HMAC-SHA-256
    /// of `<tenant> <domain>` under it, in hexadecimal. Unset: DNS alone confirms.
    #[arg(long, env = "SENDER_APPROVAL_SECRET", hide_env_values = true)]
    pub sender_approval_secret: Option<SecretString>,
    /// DNS servers to ask for the proofs of senders' domains, as address:port. Unset: those of the machine.
    #[arg(long, env = "DNS_SERVERS", value_delimiter = ',')]
    pub dns_servers: Vec<SocketAddr>,
    /// Bytes that the files of one mail may have in all.
    #[arg(long, env = "MAX_ATTACHMENT_BYTES", default_value_t = 10 * 1024 * 1024)]
    pub max_attachment_bytes: u64,
}

/// A provider, as MAIL_PROVIDERS names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProviderName {
    /// The server of SMTP_HOST.
    Smtp,
    /// SendGrid.
    Sendgrid,
    /// The folder MAIL_DIR.
    File,
}

impl From<ProviderName> for Provider {
    fn from(name: ProviderName) -> Self {
        match name {
            ProviderName::Smtp => Provider::Smtp,
            ProviderName::Sendgrid => Provider::Sendgrid,
            ProviderName::File => Provider::File,
        }
    }
}

/// How the connection to the SMTP server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsMode {
    /// Not at all: mails and the password can be read on the way.
    None,
    /// Upgraded by STARTTLS before anything is said. RFC 3207.
    Starttls,
    /// From the first byte. RFC 8314.
    Tls,
}

/// Who sends, and as whom a command may send.
#[derive(Debug, Clone)]
pub struct Senders {
    /// Where a command names none.
    pub address: Address,
    /// Its name.
    pub name: Option<String>,
    /// Domains of which every tenant may name any sender. Lower case.
    pub domains: Vec<String>,
}

impl Senders {
    /// May every tenant send as this? FROM_EMAIL itself, and whatever FROM_DOMAINS opens.
    pub fn everybodys(&self, address: &Address) -> bool {
        let same =
            address.user() == self.address.user() && address.domain().eq_ignore_ascii_case(self.address.domain());
        same || self.domains.contains(&address.domain().to_ascii_lowercase())
    }

    /// Is it the installation's own, or one that it opens? In small letters.
    pub fn domain_is_shared(&self, domain: &str) -> bool {
        self.address.domain().eq_ignore_ascii_case(domain) || self.domains.iter().any(|shared| shared == domain)
    }
}

impl Settings {
    /// The senders' rules, checked.
    pub fn senders(&self) -> anyhow::Result<Senders> {
        let text = match (&self.from_email, self.smtp_host.is_some() || self.sendgrid_api_key.is_some()) {
            (Some(text), _) => text,
            (None, false) => "omnibus@localhost",
            (None, true) => {
                bail!("FROM_EMAIL must be set when SMTP_HOST or SENDGRID_API_KEY is: it is the sender of every mail")
            }
        };
        let address: Address = text.parse().context("FROM_EMAIL must be an address such as office@example.com")?;
        if let Some(name) = &self.from_name {
            ensure!(!name.chars().any(char::is_control), "FROM_NAME must be one line without control characters");
        }
        let domains = self.from_domains.iter().map(String::as_str);
        let domains = domains.map(|domain| domain.trim().to_ascii_lowercase()).filter(|d| !d.is_empty()).collect();
        Ok(Senders { address, name: self.from_name.clone(), domains })
    }

    /// The mode that was asked for, or the safe one for the port.
    pub fn tls_mode(&self) -> TlsMode {
        match (self.smtp_tls, self.smtp_port) {
            (Some(mode), _) => mode,
            (None, 465) => TlsMode::Tls,
            (None, _) => TlsMode::Starttls,
        }
    }

    /// Where unsubscribe links lead, without a slash at the end.
    pub fn door(&self) -> anyhow::Result<String> {
        let url = reqwest::Url::parse(&self.public_url)
            .context("PUBLIC_URL must be an address such as https://example.com")?;
        let near = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        ensure!(
            url.scheme() == "https" || near,
            "PUBLIC_URL must begin with https: mail clients follow no other link by themselves (RFC 8058)"
        );
        Ok(self.public_url.trim_end_matches('/').to_owned())
    }

    /// The unit of all waiting.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.smtp_timeout.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn read(args: &[&str]) -> Settings {
        Line::try_parse_from([&["mailer"], args].concat()).map_err(|e| e.to_string()).unwrap().settings
    }

    #[test]
    fn with_nothing_set_mails_go_into_a_folder() {
        let settings = read(&[]);
        assert_eq!((settings.smtp_host.as_deref(), settings.mail_dir), (None, ".omnibus/mail".into()));
        assert_eq!(read(&[]).senders().unwrap().address.to_string(), "omnibus@localhost");
    }

    #[test]
    fn a_server_needs_a_sender() {
        let error = read(&["--smtp-host", "mail.example.com"]).senders().unwrap_err();
        assert!(error.to_string().contains("FROM_EMAIL"), "{error}");
    }

    #[test]
    fn encryption_is_left_out_only_when_that_is_said() {
        let mode = |args: &[&str]| read(args).tls_mode();
        assert_eq!(mode(&[]), TlsMode::Starttls);
        assert_eq!(mode(&["--smtp-port", "25"]), TlsMode::Starttls);
        assert_eq!(mode(&["--smtp-port", "465"]), TlsMode::Tls);
        assert_eq!(mode(&["--smtp-port", "465", "--smtp-tls", "none"]), TlsMode::None);
    }

    #[test]
    fn links_in_mails_are_https_but_for_this_machine() {
        assert_eq!(read(&[]).door().unwrap(), "http://localhost:8080");
        assert_eq!(read(&["--public-url", "https://mail.example.com/"]).door().unwrap(), "https://mail.example.com");
        assert!(read(&["--public-url", "http://mail.example.com"]).door().is_err());
        assert!(read(&["--public-url", "nonsense"]).door().is_err());
    }

    #[test]
    fn the_password_is_not_printed() {
        let settings = read(&["--smtp-password", "hunter2"]);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let settings = read(&["--sendgrid-api-key", "SG.hunter2"]);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
