//! What the auditor is told from outside. `--help` is the reference.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use secrecy::{ExposeSecret, SecretString};

/// How much compliance weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ComplianceMode {
    /// Controls are not watched; what people file is kept all the same.
    Off,
    /// Controls are watched, and their changes told.
    Watch,
    /// As `watch`, and a control that is not met blocks what leans on it.
    Strict,
}

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
    /// `off`: no control is watched. `watch`: changes are told. `strict`: a control that is not met also blocks what leans
    /// on it: a policy is not published while the log is not whole, an audit not closed while a control of its scope is
    /// not met and nobody has accepted the risk.
    #[arg(long, env = "COMPLIANCE_MODE", value_enum, default_value_t = ComplianceMode::Watch)]
    pub compliance_mode: ComplianceMode,
    /// Seconds between two looks at the controls. A change is told that much later at most, and a lane's time.
    #[arg(long, env = "COMPLIANCE_EVERY", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub compliance_every: u32,
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

    /// Between two rounds of the watch; none if there is none.
    pub(crate) fn watches_every(&self) -> Option<Duration> {
        let watches = self.compliance_mode != ComplianceMode::Off;
        watches.then(|| Duration::from_secs(self.compliance_every.into()))
    }

    /// The name of a tenant's log.
    pub(crate) fn origin(&self, tenant: &str) -> String {
        format!("{}/{tenant}", self.audit_origin)
    }
}
