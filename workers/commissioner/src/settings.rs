//! What the commissioner is told from outside. `--help` is the reference.

use std::path::PathBuf;

use anyhow::ensure;
use secrecy::{ExposeSecret, SecretString};

/// The commissioner's settings. Without `PAYOUT_URL`, payouts are written into a folder as CSV files.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "commissioner")]
pub struct Settings {
    /// The key from which the programs' webhook secrets and the addresses of statement pages are derived: at least 32
    /// characters, the same for every replica. Unset: one is made and kept in PARTNER_SECRET_FILE.
    #[arg(long, env = "PARTNER_SECRET", hide_env_values = true)]
    pub partner_secret: Option<SecretString>,
    /// Where the key is kept while PARTNER_SECRET is unset.
    #[arg(long, env = "PARTNER_SECRET_FILE", default_value = ".omnibus/partner-secret")]
    pub partner_secret_file: PathBuf,
    /// Where payouts are written as CSV files while PAYOUT_URL is unset.
    #[arg(long, env = "PAYOUT_DIR", default_value = ".omnibus/payouts")]
    pub payout_dir: PathBuf,
    /// A payout provider's address: payouts are POSTed to `ADDRESS/payouts` with an Idempotency-Key.
    #[arg(long, env = "PAYOUT_URL")]
    pub payout_url: Option<String>,
    /// The bearer token for PAYOUT_URL.
    #[arg(long, env = "PAYOUT_TOKEN", hide_env_values = true)]
    pub payout_token: Option<SecretString>,
    /// Seconds that the provider gets to answer, 1 to 60.
    #[arg(long, env = "PAYOUT_TIMEOUT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=60))]
    pub payout_timeout: u16,
}

impl Settings {
    /// # Errors
    /// What is wrong with them, in words.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if let Some(secret) = &self.partner_secret {
            ensure!(secret.expose_secret().len() >= 32, "PARTNER_SECRET must have at least 32 characters");
        }
        if let Some(url) = &self.payout_url {
            let good = url.parse::<reqwest::Url>().is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
            ensure!(good, "PAYOUT_URL must be an address such as https://pay.example.com/v1");
        }
        Ok(())
    }
}
