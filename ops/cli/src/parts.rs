//! Every worker there is, with the settings that its own program would have from the same environment.

use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use omnibus_runtime::Worker;
use omnibus_runtime::migrate::{self, Migrations};

/// Settings from environment variables and defaults alone: those of all parts together would name some flags twice.
pub(crate) fn from_environment<A: Args>(part: &'static str) -> anyhow::Result<A> {
    let command = A::augment_args(clap::Command::new(part)).no_binary_name(true);
    let matches = command.try_get_matches_from(std::iter::empty::<&str>()).map_err(|error| {
        let words = error.to_string();
        let words = words.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        anyhow::anyhow!("the settings of {part}: {words}")
    })?;
    Ok(A::from_arg_matches(&matches)?)
}

/// The mailer's settings.
pub(crate) fn mailer_settings() -> anyhow::Result<omnibus_mailer::Settings> {
    from_environment("mailer")
}

/// The brander's settings. Links lead to the door of this machine unless PUBLIC_URL says otherwise.
fn brander_settings(door: Option<SocketAddr>) -> anyhow::Result<omnibus_brander::Settings> {
    let mut settings: omnibus_brander::Settings = from_environment("brander")?;
    if let (None, Some(listen)) = (std::env::var_os("PUBLIC_URL"), door) {
        settings.public_url = format!("http://{listen}");
    }
    Ok(settings)
}

/// The commissioner's settings. What nothing else is said of lies in the folder that everything is in.
fn commissioner_settings(home: &Path) -> anyhow::Result<omnibus_commissioner::Settings> {
    let mut settings: omnibus_commissioner::Settings = from_environment("commissioner")?;
    if std::env::var_os("PAYOUT_DIR").is_none() {
        settings.payout_dir = home.join("payouts");
    }
    if std::env::var_os("PARTNER_SECRET_FILE").is_none() {
        settings.partner_secret_file = home.join("partner-secret");
    }
    Ok(settings)
}

/// The auditor's settings, likewise.
fn auditor_settings(home: &Path) -> anyhow::Result<omnibus_auditor::Settings> {
    let mut settings: omnibus_auditor::Settings = from_environment("auditor")?;
    if std::env::var_os("AUDIT_DIR").is_none() {
        settings.audit_dir = home.join("audit");
    }
    if std::env::var_os("AUDIT_SECRET_FILE").is_none() {
        settings.audit_secret_file = home.join("audit-secret");
    }
    Ok(settings)
}

/// The texter's settings, likewise.
fn texter_settings(home: &Path) -> anyhow::Result<omnibus_texter::Settings> {
    let mut settings: omnibus_texter::Settings = from_environment("texter")?;
    if std::env::var_os("SMS_DIR").is_none() {
        settings.sms_dir = home.join("sms");
    }
    Ok(settings)
}

/// The texter's settings where its tables alone are asked for: without a secret it would draw one, and keep it in a file.
fn texter_at_rest(home: &Path) -> anyhow::Result<omnibus_texter::Settings> {
    let mut settings = texter_settings(home)?;
    settings.sms_secret = Some("nothing is sealed with this: whoever migrates sends no code".into());
    Ok(settings)
}

/// Every worker. `home` is where files land of which nothing else is said.
pub(crate) fn workers(
    mailer: omnibus_mailer::Settings,
    home: &Path,
    door: Option<SocketAddr>,
) -> anyhow::Result<Vec<Worker>> {
    all(mailer, texter_settings(home)?, home, door)
}

fn all(
    mailer: omnibus_mailer::Settings,
    texter: omnibus_texter::Settings,
    home: &Path,
    door: Option<SocketAddr>,
) -> anyhow::Result<Vec<Worker>> {
    Ok(vec![
        omnibus_mailer::worker(mailer)?,
        omnibus_texter::worker(texter)?,
        omnibus_commissioner::worker(commissioner_settings(home)?)?,
        omnibus_brander::worker(brander_settings(door)?)?,
        omnibus_auditor::worker(auditor_settings(home)?)?,
        omnibus_presence::worker(from_environment("presence")?)?,
        minimal_worker::worker(from_environment("greeter")?)?,
    ])
}

/// The tables of the runtime and of every worker, in the order in which they are made.
pub(crate) fn migrations() -> anyhow::Result<Vec<Migrations>> {
    // Migrations touch no files.
    let home = Path::new(".omnibus");
    let workers = all(mailer_settings()?, texter_at_rest(home)?, home, None)?;
    Ok(std::iter::once(migrate::BUS).chain(workers.iter().filter_map(Worker::migrations)).collect())
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::Catalogue;

    use super::*;

    #[test]
    fn every_domain_of_the_catalogue_has_its_worker_here() {
        let home = tempfile::tempdir().unwrap();
        let workers = workers(mailer_settings().unwrap(), home.path(), None).unwrap();
        let mut here: Vec<_> = workers.iter().map(Worker::domain).collect();
        let catalogue = Catalogue::omnibus();
        let mut wanted: Vec<_> = catalogue.domains().iter().map(|domain| domain.name).collect();
        here.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(here, wanted);
    }
}
