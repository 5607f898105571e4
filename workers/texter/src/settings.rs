//! What the texter is told from outside. `--help` is the reference.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use secrecy::{ExposeSecret, SecretString};

use crate::secret::Secret;

/// The texter's settings. With no provider set, texts are written into a folder.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "texter")]
pub struct Settings {
    /// Twilio's account. Unset: Twilio is not used.
    #[arg(long, env = "TWILIO_ACCOUNT_SID")]
    pub twilio_account_sid: Option<String>,
    /// Its token; also what webhooks are signed with.
    #[arg(long, env = "TWILIO_AUTH_TOKEN", hide_env_values = true)]
    pub twilio_auth_token: Option<SecretString>,
    /// The number that texts come from, E.164. This or TWILIO_MESSAGING_SERVICE_SID.
    #[arg(long, env = "TWILIO_PHONE_NUMBER")]
    pub twilio_phone_number: Option<String>,
    /// The messaging service that chooses the number.
    #[arg(long, env = "TWILIO_MESSAGING_SERVICE_SID")]
    pub twilio_messaging_service_sid: Option<String>,
    /// Where Twilio is.
    #[arg(long, env = "TWILIO_API_URL", default_value = "https://api.twilio.com")]
    pub twilio_api_url: String,
    /// A second provider: where its messages are POSTed. See the README for the GATEWAY_ settings.
    #[arg(long, env = "GATEWAY_URL")]
    pub gateway_url: Option<String>,
    /// What is POSTed there: a JSON object whose texts may hold {to}, {from}, {body} and {id}.
    #[arg(
        long,
        env = "GATEWAY_BODY",
        default_value = r#"{"to":"{to}","from":"{from}","text":"{body}","reference":"{id}"}"#
    )]
    pub gateway_body: String,
    /// Sends the object as a form instead of as JSON.
    #[arg(long, env = "GATEWAY_FORM", default_value_t = false, action = clap::ArgAction::Set)]
    pub gateway_form: bool,
    /// The Authorization header.
    #[arg(long, env = "GATEWAY_AUTHORIZATION", hide_env_values = true)]
    pub gateway_authorization: Option<SecretString>,
    /// Where its id of the message stands in the answer, as a JSON Pointer.
    #[arg(long, env = "GATEWAY_ID", default_value = "/id")]
    pub gateway_id: String,
    /// Where a message can be looked up, with {id} for our id of it: 200 if it has it, 404 if not. Without it, a message
    /// whose answer was lost is held.
    #[arg(long, env = "GATEWAY_LOOKUP_URL")]
    pub gateway_lookup_url: Option<String>,
    /// The sender of its messages.
    #[arg(long, env = "GATEWAY_FROM", default_value = "Omnibus")]
    pub gateway_from: String,
    /// Where texts are written while no provider is set.
    #[arg(long, env = "SMS_DIR", default_value = ".omnibus/sms")]
    pub sms_dir: PathBuf,
    /// From which the keys are derived that seal codes and hash them, at least 32 characters, drawn by lot. Needed with a
    /// provider; without one, it is drawn once and kept in SMS_DIR.
    #[arg(long, env = "SMS_SECRET", hide_env_values = true)]
    pub sms_secret: Option<SecretString>,
    /// Under which address providers reach the HTTP door, such as `https://api.example.com`. Webhooks are checked
    /// against it, whatever the Host header says. Unset: no callbacks are asked for and none are believed.
    #[arg(long, env = "SMS_PUBLIC_URL")]
    pub sms_public_url: Option<String>,
    /// Seconds for a provider to answer, 1 to 60.
    #[arg(long, env = "SMS_TIMEOUT", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=60))]
    pub sms_timeout: u16,
    /// Seconds after which a text that the provider does not list has certainly not arrived there.
    #[arg(long, env = "SMS_SETTLE_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub sms_settle_seconds: u16,
    /// Seconds after which a text looks again that waits for a provider that is left alone or for a blown fuse.
    #[arg(long, env = "SMS_LOOK_AGAIN_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub sms_look_again_seconds: u16,
    /// Price of a segment by country in millionths of SMS_CURRENCY, as US=7900,DE=75000,*=50000. A country without a
    /// price is not texted.
    #[arg(long, env = "SMS_PRICES", value_delimiter = ',', default_value = "US=7900,CA=7900,GB=40000,DE=75000,FR=60000,*=50000", value_parser = price)]
    pub sms_prices: Vec<(String, i64)>,
    /// The same for the gateway.
    #[arg(long, env = "GATEWAY_PRICES", value_delimiter = ',', default_value = "*=50000", value_parser = price)]
    pub gateway_prices: Vec<(String, i64)>,
    /// ISO 4217.
    #[arg(long, env = "SMS_CURRENCY", default_value = "USD")]
    pub sms_currency: String,
    /// What one tenant's texts may cost in a day (UTC) unless it has set a budget, in millionths.
    #[arg(long, env = "SMS_DAILY_CAP", default_value_t = 50_000_000)]
    pub sms_daily_cap: i64,
    /// The same for each country.
    #[arg(long, env = "SMS_COUNTRY_CAP", default_value_t = 25_000_000)]
    pub sms_country_cap: i64,
    /// Codes to one recipient in an hour; also 3 times as many in a day.
    #[arg(long, env = "CODES_PER_RECIPIENT", default_value_t = 10)]
    pub codes_per_recipient: u32,
    /// Codes asked for from one address in an hour.
    #[arg(long, env = "CODES_PER_IP", default_value_t = 30)]
    pub codes_per_ip: u32,
    /// Codes to one range of numbers (country code and four digits) in an hour.
    #[arg(long, env = "CODES_PER_PREFIX", default_value_t = 100)]
    pub codes_per_prefix: u32,
    /// Codes to one country in an hour, for each tenant.
    #[arg(long, env = "CODES_PER_COUNTRY", default_value_t = 2000)]
    pub codes_per_country: u32,
    /// An alarm is raised when of at least this many codes to a country within an hour ...
    #[arg(long, env = "FRAUD_LEAST_CODES", default_value_t = 30)]
    pub fraud_least_codes: u32,
    /// ... fewer than this share, in percent, were verified.
    #[arg(long, env = "FRAUD_CONVERSION_PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub fraud_conversion_percent: u32,
    /// Answers STOP, START and HELP by text, each of a number's once a day. Off by default: Twilio does so itself.
    #[arg(long, env = "SMS_REPLIES", default_value_t = false, action = clap::ArgAction::Set)]
    pub sms_replies: bool,
    /// To whom texts to our numbers belong, as +15005550006=acme. A number that is not named belongs to those who have
    /// texted the sender from it.
    #[arg(long, env = "SMS_NUMBERS", value_delimiter = ',', value_parser = owner)]
    pub sms_numbers: Vec<(String, String)>,
}

fn price(text: &str) -> Result<(String, i64), String> {
    let (country, micro) = text.split_once('=').ok_or("must be country=price, such as US=7900")?;
    let country = country.trim().to_ascii_uppercase();
    if country != "*" && (country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase())) {
        return Err("a country is two letters, or * for all others".to_owned());
    }
    match micro.trim().parse::<i64>() {
        Ok(micro) if (0..=1_000_000_000).contains(&micro) => Ok((country, micro)),
        _ => Err("a price is a whole number of millionths, 0 to 1000000000".to_owned()),
    }
}

fn owner(text: &str) -> Result<(String, String), String> {
    let (number, tenant) = text.split_once('=').ok_or("must be number=tenant, such as +15005550006=acme")?;
    tenant.parse::<omnibus_schemas::Token>().map_err(|error| format!("the tenant {error}"))?;
    Ok((number.to_owned(), tenant.to_owned()))
}

impl Settings {
    /// Settings as with no flag and no variable set.
    pub fn defaults() -> Self {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            settings: Settings,
        }
        // Variables would be read: the defaults are those of every other flag.
        let command = <Line as clap::CommandFactory>::command().mut_args(|arg| arg.env(None::<&str>));
        let matches = command.get_matches_from(["texter"]);
        let line = <Line as clap::FromArgMatches>::from_arg_matches(&matches);
        line.expect("every argument has a default or may be absent").settings
    }

    /// The secret: the configured one, or, where nothing leaves the machine, one of the folder's own.
    pub(crate) fn secret(&self) -> anyhow::Result<Secret> {
        if let Some(secret) = &self.sms_secret {
            let bytes = secret.expose_secret().as_bytes();
            ensure!(bytes.len() >= Secret::MIN, "SMS_SECRET must have at least {} characters", Secret::MIN);
            return Ok(Secret::new(bytes));
        }
        if self.twilio_account_sid.is_some() || self.gateway_url.is_some() {
            bail!("SMS_SECRET must be set with a provider: codes are sealed with it, alike in every process");
        }
        let place = self.sms_dir.join("secret");
        if let Ok(bytes) = std::fs::read(&place) {
            ensure!(bytes.len() >= Secret::MIN, "{} is too short: remove it", place.display());
            return Ok(Secret::new(&bytes));
        }
        let bytes = Secret::generate()?;
        keep(&place, &bytes).with_context(|| format!("can't write {}", place.display()))?;
        // Two processes that start at once agree on what was written first.
        Ok(Secret::new(&std::fs::read(&place)?))
    }

    /// The public address without its last slash, checked.
    pub(crate) fn public_url(&self) -> anyhow::Result<Option<String>> {
        let Some(text) = &self.sms_public_url else { return Ok(None) };
        let url: reqwest::Url =
            text.parse().context("SMS_PUBLIC_URL must be an address such as https://example.com")?;
        ensure!(url.query().is_none() && url.fragment().is_none(), "SMS_PUBLIC_URL must end with its path");
        Ok(Some(text.trim_end_matches('/').to_owned()))
    }

    pub(crate) fn prices(list: &[(String, i64)]) -> BTreeMap<String, i64> {
        list.iter().cloned().collect()
    }
}

fn keep(place: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(place) {
        Ok(mut file) => {
            file.write_all(bytes)?;
            file.sync_all()
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_whole_millionths() {
        assert_eq!(price("us=7900"), Ok(("US".into(), 7900)));
        assert_eq!(price("*=0"), Ok(("*".into(), 0)));
        for wrong in ["US", "US=0.0079", "USA=1", "US=-1", "=1"] {
            assert!(price(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_provider_the_secret_is_drawn_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { sms_dir: dir.path().join("sms"), ..Settings::defaults() };
        let first = settings.secret().unwrap().likeness("+1", "Hello");
        assert_eq!(settings.secret().unwrap().likeness("+1", "Hello"), first);
    }

    #[test]
    fn a_provider_needs_a_secret_and_a_secret_needs_length() {
        let settings = Settings { gateway_url: Some("http://localhost".into()), ..Settings::defaults() };
        assert!(settings.secret().unwrap_err().to_string().contains("SMS_SECRET"));
        let settings = Settings { sms_secret: Some("short".into()), ..settings };
        assert!(settings.secret().unwrap_err().to_string().contains("32"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = Settings {
            twilio_auth_token: Some("hunter2".into()),
            sms_secret: Some("hunter3".into()),
            gateway_authorization: Some("hunter4".into()),
            ..Settings::defaults()
        };
        assert!(!format!("{settings:?}").contains("hunter"));
    }
}
