//! What the auditor is told from outside. `--help` is the reference.

use std::path::PathBuf;

use anyhow::ensure;
use secrecy::{ExposeSecret, SecretString};

/// The auditor's settings.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "auditor")]
pub struct Settings {
    /// The secret from which the key that signs, the key that wraps people's keys and their pseudonyms are derived: at
    /// least 32 characters, the same for every replica, for ever. Unset: one is made and kept in AUDIT_SECRET_FILE.
    #[arg(long, env = "AUDIT_SECRET", hide_env_values = true)]
    pub audit_secret: Option<SecretString>,
    /// Where the secret is kept while AUDIT_SECRET is unset.
    #[arg(long, env = "AUDIT_SECRET_FILE", default_value = ".omnibus/audit-secret")]
    pub audit_secret_file: PathBuf,
    /// Where checkpoints and tiles are written for others to mirror, and the ledger of erasures. Not in the database's
    /// backup.
    #[arg(long, env = "AUDIT_DIR", default_value = ".omnibus/audit")]
    pub audit_dir: PathBuf,
    /// What the logs are called, as an address without a scheme; `/` and the tenant follow. It stands in every checkpoint
    /// and can't be changed later.
    #[arg(long, env = "AUDIT_ORIGIN", default_value = "omnibus.local/audit")]
    pub audit_origin: String,
    /// Days for which entries are kept. HIPAA asks for six years, 2190.
    #[arg(long, env = "AUDIT_RETENTION_DAYS", default_value_t = 2555, value_parser = clap::value_parser!(u32).range(31..=36_500))]
    pub audit_retention_days: u32,
}

impl Settings {
    /// # Errors
    /// What is wrong with them, in words.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if let Some(secret) = &self.audit_secret {
            ensure!(secret.expose_secret().len() >= 32, "AUDIT_SECRET must have at least 32 characters");
        }
        let origin = &self.audit_origin;
        let good = origin.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b':'));
        ensure!(
            good && !origin.is_empty() && !origin.ends_with('/'),
            "AUDIT_ORIGIN must be an address without a scheme, such as audit.example.com/log"
        );
        Ok(())
    }

    /// The name of a tenant's log.
    pub(crate) fn origin(&self, tenant: &str) -> String {
        format!("{}/{tenant}", self.audit_origin)
    }
}
