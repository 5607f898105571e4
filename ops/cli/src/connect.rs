//! The operator's connection to the bus.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use omnibus_runtime::bus::Refusal;
use omnibus_runtime::{Bus, BusSettings};
use tokio::sync::broadcast;

use crate::home::{self, Home};
use crate::show;

/// How long a server may take to answer. Whoever types a command is not to wait for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the bus is, and as whom to use it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Connection {
    /// NATS servers, comma-separated; by default the one that `omnibus up` runs.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    pub(crate) nats_url: Option<String>,
    /// File with the nkey seed to log in with, named `<user>.nk`; by default the operator's in `creds` in the home folder.
    #[arg(long, env = "NATS_NKEY_FILE")]
    pub(crate) nats_nkey_file: Option<PathBuf>,
    /// File with the certificates of authorities to trust, beside the system's.
    #[arg(long, env = "NATS_CA_FILE")]
    pub(crate) nats_ca_file: Option<PathBuf>,
}

impl Connection {
    /// Connects, or says what would do.
    pub(crate) async fn open(&self, home: &Home) -> anyhow::Result<Bus> {
        let url = match &self.nats_url {
            Some(url) => url.clone(),
            None => match home::read_line(&home.nats_url())? {
                Some(url) => url,
                None => bail!(
                    "no NATS server is known: start one with `omnibus up`, or set NATS_URL and NATS_NKEY_FILE \
                     (looked in {})",
                    home.path().display()
                ),
            },
        };
        let seed = match &self.nats_nkey_file {
            Some(file) => Some(file.clone()),
            // A server elsewhere has users of its own.
            None => Some(home.seed("operator")).filter(|file| file.exists()),
        };
        if let Some(file) = &seed {
            omnibus_bus::read_seed(file)?;
        }
        let user = seed.as_deref().and_then(user_of).unwrap_or_else(|| "operator".to_owned());
        let shown = without_login(&url);
        let settings =
            BusSettings { nats_url: url.into(), nats_nkey_file: seed, nats_ca_file: self.nats_ca_file.clone() };
        match tokio::time::timeout(PATIENCE, Bus::connect(&settings, &user)).await {
            Ok(connected) => {
                let bus = connected.with_context(|| format!("can't use the bus at {shown}"))?;
                tokio::spawn(end_when_refused(bus.refusals(), home.seed("operator")));
                Ok(bus)
            }
            Err(_) => bail!(
                "no NATS server answers at {shown} (waited {} s): is `omnibus up` running? NATS_URL names another",
                PATIENCE.as_secs()
            ),
        }
    }
}

/// A refused permission shows as silence, which a command could take for "nothing there". So it ends the program.
async fn end_when_refused(mut refusals: broadcast::Receiver<Refusal>, operator: PathBuf) {
    if let Ok(refusal) = refusals.recv().await {
        let Refusal { user, verb, subject } = refusal;
        show::remark(&format!(
            "error: the bus user '{user}' may not {verb} '{subject}'; if this is for the operator, use his key: \
             NATS_NKEY_FILE={}",
            operator.display()
        ));
        std::process::exit(1);
    }
}

/// `tenant_acme` of `creds/tenant_acme.nk`: the inbox is named after the user.
fn user_of(seed: &Path) -> Option<String> {
    let name = seed.file_stem()?.to_str()?;
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    fits.then(|| name.to_owned())
}

/// A URL may hold `user:password@`.
fn without_login(urls: &str) -> String {
    let one = |url: &str| match url.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
            format!("{scheme}{after}")
        }
        None => url.to_owned(),
    };
    urls.split(',').map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_a_url_is_not_shown() {
        assert_eq!(without_login("nats://a:b@h:1,tls://h:2"), "nats://h:1,tls://h:2");
        assert_eq!(without_login("a:b@h"), "h");
    }

    #[test]
    fn the_user_is_read_from_the_name_of_its_file() {
        assert_eq!(user_of(Path::new("/x/tenant_acme.nk")).as_deref(), Some("tenant_acme"));
        assert_eq!(user_of(Path::new("/x/a b.nk")), None);
    }
}
