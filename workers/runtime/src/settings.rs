//! Every worker's settings. `--help` is the reference.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use crate::bus::BusSettings;
use crate::handler::Policy;
use crate::telemetry::LogSettings;

/// What every worker is told.
#[derive(Debug, Clone, clap::Args)]
// A worker's own settings are called `Settings` as well, and clap would see one group twice.
#[group(id = "runtime")]
pub struct Settings {
    /// The bus.
    #[command(flatten)]
    pub bus: BusSettings,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseSettings,
    /// The work.
    #[command(flatten)]
    pub work: WorkSettings,
    /// Logs.
    #[command(flatten)]
    pub log: LogSettings,
    /// Where to serve /healthz, /readyz and /metrics, such as 0.0.0.0:9090. Not at all if absent.
    #[arg(long, env = "HEALTH_ADDR")]
    pub health_addr: Option<SocketAddr>,
}

/// Where PostgreSQL is.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseSettings {
    /// PostgreSQL, as postgres://user:password@host/database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// Connections at most.
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 8)]
    pub database_connections: u32,
}

/// How a worker works.
#[derive(Debug, Clone, clap::Args)]
pub struct WorkSettings {
    /// Lanes to consume, comma-separated; all of the domain's if absent.
    #[arg(long = "lane", env = "LANES", value_delimiter = ',')]
    pub lanes: Vec<String>,
    /// Commands in one transaction at most, 1 to 1000.
    #[arg(long, env = "BATCH", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub batch: u32,
    /// Batches in work at once, per lane.
    #[arg(long, env = "LOOPS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub loops: u32,
    /// Outgoing calls in flight at once, per lane.
    #[arg(long, env = "IN_FLIGHT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub in_flight: u32,
    /// Commands a second that one tenant may have carried out by one worker process; what is above waits. No limit if
    /// absent.
    #[arg(long, env = "TENANT_RATE", value_parser = positive)]
    pub tenant_rate: Option<f64>,
    /// Calls a second to one provider from one worker process, as `smtp=20`; repeatable, comma-separated.
    #[arg(long = "provider-rate", env = "PROVIDER_RATES", value_delimiter = ',', value_parser = provider_rate)]
    pub provider_rates: Vec<(String, f64)>,
    /// Tries of one command, in place of what its handler says.
    #[arg(long, env = "ATTEMPTS", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub attempts: Option<u32>,
    /// Seconds below which the delay after a command's first failed try lies, in place of what its handler says; it
    /// doubles from try to try.
    #[arg(long, env = "BACKOFF_SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub backoff_seconds: Option<u32>,
    /// Seconds that no delay between two tries is longer than, in place of what the handler says.
    #[arg(long, env = "BACKOFF_CAP_SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub backoff_cap_seconds: Option<u32>,
    /// Seconds after which a try has failed, or after which nobody knows whether an outgoing call happened, in place of
    /// what the handler says.
    #[arg(long, env = "TIMEOUT_SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub timeout_seconds: Option<u32>,
    /// Days for which an ended command is remembered, so that its repetition is not carried out again.
    #[arg(long, env = "KEEP_INBOX_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_inbox_days: u32,
    /// Days for which an ended command stays on the bus, for a replay into a restored database. Less than
    /// --keep-inbox-days.
    #[arg(long, env = "KEEP_DONE_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_done_days: u32,
    /// Seconds that running commands get to finish after SIGTERM.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 25)]
    pub drain_seconds: u64,
    /// Seconds after which a row whose events have not reached the bus is published by the sweeper.
    #[arg(long, env = "REPUBLISH_AFTER_SECONDS", default_value_t = 60, hide = true)]
    pub republish_after_seconds: u64,
    /// Seconds for which an outgoing call is its worker's alone without a sign of life; then another may take it over.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 30, hide = true, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub lease_seconds: u32,
}

impl WorkSettings {
    /// The settings with every default, as with no flag and no variable set.
    pub fn defaults() -> Self {
        WorkSettings {
            lanes: vec![],
            batch: 256,
            loops: 2,
            in_flight: 64,
            tenant_rate: None,
            provider_rates: vec![],
            attempts: None,
            backoff_seconds: None,
            backoff_cap_seconds: None,
            timeout_seconds: None,
            keep_inbox_days: 30,
            keep_done_days: 7,
            drain_seconds: 25,
            republish_after_seconds: 60,
            lease_seconds: 30,
        }
    }

    /// # Errors
    /// Settings that contradict each other, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.keep_inbox_days <= self.keep_done_days {
            return Err(format!(
                "--keep-inbox-days ({}) must be more than --keep-done-days ({}): a replayed command must be remembered",
                self.keep_inbox_days, self.keep_done_days
            ));
        }
        if let (Some(first), Some(most)) = (self.backoff_seconds, self.backoff_cap_seconds)
            && first > most
        {
            return Err(format!(
                "--backoff-seconds ({first}) must not be more than --backoff-cap-seconds ({most}): no delay exceeds it"
            ));
        }
        Ok(())
    }

    /// What a handler says, unless configuration says otherwise. A longer first delay raises the handler's cap.
    pub(crate) fn policy(&self, own: Policy) -> Policy {
        let seconds = |given: u32| Duration::from_secs(given.into());
        let backoff = self.backoff_seconds.map(seconds);
        let cap = self.backoff_cap_seconds.map(seconds);
        Policy {
            attempts: self.attempts.unwrap_or(own.attempts),
            backoff: backoff.unwrap_or(own.backoff),
            backoff_cap: cap.unwrap_or(own.backoff_cap.max(backoff.unwrap_or_default())),
            timeout: self.timeout_seconds.map_or(own.timeout, seconds),
        }
    }

    pub(crate) fn provider_rates(&self) -> BTreeMap<String, f64> {
        self.provider_rates.iter().cloned().collect()
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("must be a number above 0".to_owned()),
    }
}

fn provider_rate(text: &str) -> Result<(String, f64), String> {
    let (name, rate) = text.split_once('=').ok_or("must be name=calls-a-second, such as smtp=20")?;
    Ok((name.to_owned(), positive(rate)?))
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn parse(args: &[&str]) -> Result<WorkSettings, clap::Error> {
        let command = WorkSettings::augment_args(Command::new("worker"));
        let matches = command.try_get_matches_from(std::iter::once(&"worker").chain(args))?;
        WorkSettings::from_arg_matches(&matches)
    }

    #[test]
    fn the_defaults_are_those_of_the_command_line() {
        assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{:?}", WorkSettings::defaults()));
    }

    #[test]
    fn rates_must_be_above_nothing() {
        assert!(parse(&["--tenant-rate", "0"]).is_err());
        assert!(parse(&["--provider-rate", "smtp"]).is_err());
        assert_eq!(parse(&["--provider-rate", "smtp=2.5"]).unwrap().provider_rates, [("smtp".to_owned(), 2.5)]);
    }

    #[test]
    fn a_command_is_remembered_longer_than_it_can_be_replayed() {
        assert!(parse(&["--keep-inbox-days", "7"]).unwrap().check().is_err());
        assert!(parse(&[]).unwrap().check().is_ok());
    }

    #[test]
    fn a_first_delay_is_no_longer_than_the_longest() {
        let check = |args: &[&str]| parse(args).unwrap().check();
        let words = check(&["--backoff-seconds", "10", "--backoff-cap-seconds", "9"]).unwrap_err();
        assert!(words.contains("--backoff-seconds (10)") && words.contains("--backoff-cap-seconds (9)"), "{words}");
        assert!(check(&["--backoff-seconds", "10", "--backoff-cap-seconds", "10"]).is_ok());
        assert!(check(&["--backoff-cap-seconds", "0"]).is_ok());
    }

    #[test]
    fn a_try_gets_some_time() {
        assert!(parse(&["--timeout-seconds", "0"]).is_err());
    }

    #[test]
    fn what_is_set_takes_the_place_of_what_a_handler_says_and_nothing_else_does() {
        let seconds = Duration::from_secs;
        let own = Policy { attempts: 3, backoff: seconds(2), backoff_cap: seconds(20), timeout: seconds(30) };
        let cases: [(&[&str], Policy); 6] = [
            (&[], own),
            (&["--attempts", "7"], Policy { attempts: 7, ..own }),
            (&["--backoff-seconds", "5"], Policy { backoff: seconds(5), ..own }),
            (&["--backoff-seconds", "50"], Policy { backoff: seconds(50), backoff_cap: seconds(50), ..own }),
            (&["--backoff-cap-seconds", "1"], Policy { backoff_cap: seconds(1), ..own }),
            (&["--timeout-seconds", "90"], Policy { timeout: seconds(90), ..own }),
        ];
        for (args, wanted) in cases {
            assert_eq!(parse(args).unwrap().policy(own), wanted, "{args:?}");
        }
    }
}
