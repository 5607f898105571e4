//! What the auditor is told from outside. `--help` is the reference.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use reqwest::Url;
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
    /// Where checkpoints and tiles are written for others to mirror, unless they go into a bucket (AUDIT_S3_ENDPOINT), and
    /// the ledger of erasures. Not in the database's backup.
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
    /// A bucket instead of the folder.
    #[command(flatten)]
    pub s3: S3Settings,
    /// What files of evidence are held to. Not told from outside.
    #[arg(skip)]
    pub evidence: EvidenceLimits,
}

/// What files of evidence are held to.
#[derive(Debug, Clone, Copy)]
pub struct EvidenceLimits {
    /// Files of one tenant's evidence, at most, in bytes.
    pub most_bytes: u64,
    /// After which time the parts of a file are no copy any more that is still under way.
    pub stale: Duration,
}

impl Default for EvidenceLimits {
    fn default() -> Self {
        EvidenceLimits { most_bytes: 20 << 30, stale: Duration::from_secs(24 * 3600) }
    }
}

/// A bucket of S3-compatible storage for checkpoints and tiles.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(id = "auditor_s3")]
pub struct S3Settings {
    /// S3-compatible storage into which checkpoints and tiles are put instead of into AUDIT_DIR, such as
    /// `https://s3.eu-central-1.amazonaws.com`. Bucket and keys must be set then too.
    #[arg(long, env = "AUDIT_S3_ENDPOINT")]
    pub audit_s3_endpoint: Option<String>,
    /// The bucket, which must be there.
    #[arg(long, env = "AUDIT_S3_BUCKET")]
    pub audit_s3_bucket: Option<String>,
    /// The bucket's region; us-east-1 if unset, which most stores other than Amazon's take.
    #[arg(long, env = "AUDIT_S3_REGION")]
    pub audit_s3_region: Option<String>,
    /// What stands before every object's name, such as audit; nothing if unset.
    #[arg(long, env = "AUDIT_S3_PREFIX")]
    pub audit_s3_prefix: Option<String>,
    /// The name of the key that may read, write and delete objects there.
    #[arg(long, env = "AUDIT_S3_ACCESS_KEY")]
    pub audit_s3_access_key: Option<String>,
    /// The key's secret.
    #[arg(long, env = "AUDIT_S3_SECRET_KEY", hide_env_values = true)]
    pub audit_s3_secret_key: Option<SecretString>,
    /// For how long the store may be away before readiness says so; five minutes if absent. Not told from outside.
    #[arg(skip)]
    pub patience: Option<Duration>,
}

/// A store that is away for a moment is no reason to turn callers away.
const PATIENCE: Duration = Duration::from_secs(300);

/// [`S3Settings`] that are whole.
#[derive(Debug)]
pub(crate) struct BucketSettings<'a> {
    pub(crate) endpoint: Url,
    pub(crate) bucket: &'a str,
    pub(crate) region: &'a str,
    /// Empty, or ends with `/`.
    pub(crate) prefix: String,
    pub(crate) access_key: &'a str,
    pub(crate) secret_key: &'a SecretString,
}

impl S3Settings {
    pub(crate) fn patience(&self) -> Duration {
        self.patience.unwrap_or(PATIENCE)
    }

    /// What is wrong with them, in words; `None` if no bucket is asked for.
    pub(crate) fn bucket(&self) -> anyhow::Result<Option<BucketSettings<'_>>> {
        let said = |value: &'_ Option<String>| value.as_deref().map(str::trim).is_some_and(|text| !text.is_empty());
        let secret = self.audit_s3_secret_key.as_ref().filter(|secret| !secret.expose_secret().trim().is_empty());
        let needed = [
            ("AUDIT_S3_ENDPOINT", said(&self.audit_s3_endpoint)),
            ("AUDIT_S3_BUCKET", said(&self.audit_s3_bucket)),
            ("AUDIT_S3_ACCESS_KEY", said(&self.audit_s3_access_key)),
            ("AUDIT_S3_SECRET_KEY", secret.is_some()),
        ];
        let Some((there, _)) = needed.iter().find(|(_, said)| *said) else { return Ok(None) };
        if let Some((missing, _)) = needed.iter().find(|(_, said)| !said) {
            bail!("{missing} is missing: {there} is set");
        }
        let text = |value: &'_ Option<String>| value.as_deref().unwrap_or_default().trim().to_owned();
        let endpoint = Url::parse(&text(&self.audit_s3_endpoint)).ok();
        let good = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
        };
        let Some(endpoint) = endpoint.filter(good) else {
            bail!("AUDIT_S3_ENDPOINT must be an address such as https://s3.example.com, without a credential in it");
        };
        let bucket = self.audit_s3_bucket.as_deref().unwrap_or_default().trim();
        ensure!(
            (3..=63).contains(&bucket.len())
                && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
                && bucket.bytes().any(|b| b.is_ascii_alphanumeric()),
            "AUDIT_S3_BUCKET must be a bucket's name: 3 to 63 letters, digits, points and hyphens"
        );
        let region = self.audit_s3_region.as_deref().map(str::trim).filter(|region| !region.is_empty());
        let prefix = text(&self.audit_s3_prefix);
        let prefix = prefix.trim_matches('/');
        let part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        ensure!(
            prefix.is_empty() || prefix.split('/').all(part),
            "AUDIT_S3_PREFIX must be a path of letters, digits, points, hyphens and underscores"
        );
        Ok(secret.map(|secret_key| BucketSettings {
            endpoint,
            bucket,
            region: region.unwrap_or("us-east-1"),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            access_key: self.audit_s3_access_key.as_deref().unwrap_or_default().trim(),
            secret_key,
        }))
    }
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

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn entries_are_kept_for_seven_years_unless_somebody_says_otherwise() {
        let command = Settings::augment_args(clap::Command::new("auditor"));
        let days = command.get_arguments().find(|argument| argument.get_id() == "audit_retention_days").unwrap();
        assert_eq!(days.get_default_values(), ["2555"]);
    }
}
