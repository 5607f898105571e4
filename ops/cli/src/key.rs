//! `omnibus key`: API keys of the HTTP door.

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use omnibus_ingest::keys::{self, KeyRecord};
use omnibus_runtime::clock;
use omnibus_schemas::{Catalogue, Tenant};
use serde_json::json;
use uuid::Uuid;

use crate::act;
use crate::connect::Connection;
use crate::home::Home;
use crate::show::{self, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key. It is shown once; the bus keeps its hash alone.
    Mint(Mint),
    /// Lists the keys, oldest first. The keys themselves are nowhere.
    List {
        #[command(flatten)]
        connection: Connection,
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<Tenant>,
    },
    /// Revokes a key. Doors refuse it at once.
    Revoke {
        #[command(flatten)]
        connection: Connection,
        /// The key's id, as `omnibus key list` shows it.
        id: Uuid,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Mint {
    #[command(flatten)]
    connection: Connection,
    /// Whose it is.
    #[arg(long)]
    tenant: Tenant,
    /// What it may do: `email:send`, `email:*`, or `*`. Repeatable, or comma-separated.
    #[arg(long = "scope", required = true, value_delimiter = ',')]
    scopes: Vec<String>,
    /// What it is for, for people.
    #[arg(long, default_value = "")]
    name: String,
    /// When it ends: a time such as 2027-01-31T00:00:00Z, or from now on, such as 90d. Never by default.
    #[arg(long, value_parser = moment)]
    expires: Option<DateTime<Utc>>,
}

impl KeyCommand {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<()> {
        match self {
            KeyCommand::Mint(mint) => {
                check_scopes(&Catalogue::omnibus(), &mint.scopes)?;
                let bus = mint.connection.open(home).await?;
                let (key, record) = keys::mint(&mint.tenant, &mint.name, mint.scopes, mint.expires);
                keys::put(bus.jetstream(), &key, &record).await?;
                let scopes = format!("scopes {}", record.scopes.join(" "));
                let recorded =
                    act::record(&bus, record.tenant.as_str(), "key.minted", &record.id.to_string(), &scopes).await;
                match output {
                    Output::Json => show::json(&json!({ "key": key.expose(), "record": record })),
                    Output::Table => {
                        show::remark(&format!("key {} of tenant {}; it is shown this once:", record.id, record.tenant));
                        show::text(key.expose());
                    }
                }
                // The key is shown in any case: it is made, and nowhere else.
                recorded?;
            }
            KeyCommand::List { connection, tenant } => {
                let bus = connection.open(home).await?;
                let mut records = keys::list(bus.jetstream()).await?;
                records.retain(|record| tenant.as_ref().is_none_or(|tenant| *tenant == record.tenant));
                match output {
                    Output::Json => show::json(&records),
                    Output::Table if records.is_empty() => {
                        show::text("There are no keys; `omnibus key mint` makes one.")
                    }
                    Output::Table => show::text(&show::table(
                        ["id", "tenant", "name", "scopes", "created", "expires"],
                        records.iter().map(row),
                    )),
                }
            }
            KeyCommand::Revoke { connection, id } => {
                let bus = connection.open(home).await?;
                let record = keys::revoke(bus.jetstream(), id).await?;
                act::record(&bus, record.tenant.as_str(), "key.revoked", &record.id.to_string(), "").await?;
                match output {
                    Output::Json => show::json(&json!({ "revoked": record })),
                    Output::Table => show::text(&format!("Revoked {} of tenant {}.", record.id, record.tenant)),
                }
            }
        }
        Ok(())
    }
}

fn row(record: &KeyRecord) -> [String; 6] {
    let expires = record.expires_at.map(|at| match record.has_expired() {
        true => format!("{} (past)", show::time(at)),
        false => show::time(at),
    });
    [
        record.id.to_string(),
        record.tenant.to_string(),
        show::or_dash(Some(&record.name).filter(|name| !name.is_empty())),
        record.scopes.join(" "),
        show::time(record.created_at),
        expires.unwrap_or_else(|| "never".to_owned()),
    ]
}

/// A scope that no contract has would grant nothing, without a word.
pub(crate) fn check_scopes(catalogue: &Catalogue, scopes: &[String]) -> anyhow::Result<()> {
    let known = catalogue.scopes();
    for scope in scopes {
        let grants = match scope.strip_suffix(":*") {
            Some(area) => known.iter().any(|known| known.split(':').next() == Some(area)),
            None => scope == "*" || known.contains(scope),
        };
        if !grants {
            bail!("--scope {scope:?} is no scope; there are: {}, <area>:* and *", known.join(", "));
        }
    }
    Ok(())
}

/// `90s`, `15m`, `12h`, `30d`
pub(crate) fn duration(text: &str) -> Result<TimeDelta, String> {
    let bad = || "must be a number with s, m, h or d, such as 15m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let number: u32 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    match number {
        0 => Err("must be more than nothing".to_owned()),
        number => Ok(TimeDelta::seconds(i64::from(number) * seconds)),
    }
}

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    let at = match DateTime::parse_from_rfc3339(text) {
        Ok(at) => at.with_timezone(&Utc),
        Err(_) => clock::now()
            .checked_add_signed(duration(text).map_err(|_| "must be an RFC 3339 time, or from now on, such as 90d")?)
            .ok_or("is too far away")?,
    };
    if at > clock::now() { Ok(at) } else { Err("is in the past".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("15m"), Ok(TimeDelta::minutes(15)));
        assert_eq!(duration("30d"), Ok(TimeDelta::days(30)));
        for bad in ["", "15", "m", "0s", "-1d", "1w", "1.5h", "5\u{e4}"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_that_grants_nothing_is_refused() {
        let catalogue = Catalogue::omnibus();
        let check = |scope: &str| check_scopes(&catalogue, &[scope.to_owned()]);
        for good in ["*", "email:*", "email:send", "mailer:operate"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "emial:send", "email", "nope:*", ":*"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
