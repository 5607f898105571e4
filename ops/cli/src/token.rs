//! `omnibus token`: short-lived tokens for browsers.

use anyhow::{Context, bail, ensure};
use clap::Args;
use omnibus_ingest::token::{self, Claims};
use omnibus_runtime::clock;
use omnibus_schemas::{Catalogue, Tenant};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::home::{self, Home};
use crate::key;
use crate::show::{self, Output};

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// For whom it acts.
    #[arg(long, env = "OMNIBUS_TENANT", default_value = "demo")]
    tenant: Tenant,
    /// What it may do: `email:send`, `email:*`, or `*`. Repeatable, or comma-separated.
    #[arg(long = "scope", required = true, value_delimiter = ',')]
    scopes: Vec<String>,
    /// How long it is good, such as 15m or 1h; a day at most.
    #[arg(long, default_value = "15m", value_parser = key::duration)]
    ttl: chrono::TimeDelta,
    /// Who holds it; stands in `ce-actor`.
    #[arg(long, default_value = "cli")]
    sub: String,
    /// The audience that the door asks for.
    #[arg(long, env = "JWT_AUDIENCE")]
    audience: Option<String>,
    /// The issuer that the door asks for.
    #[arg(long, env = "JWT_ISSUER")]
    issuer: Option<String>,
    /// The secret that the door is given; by default the one that `omnibus up` made.
    #[arg(long, env = "WEBSOCKET_SECRET", hide_env_values = true)]
    websocket_secret: Option<SecretString>,
}

/// A token can't be revoked, so it must end by itself, soon.
const LONGEST: chrono::TimeDelta = chrono::TimeDelta::days(1);

impl Token {
    pub(crate) fn run(self, home: &Home, output: Output) -> anyhow::Result<()> {
        ensure!(
            self.ttl <= LONGEST,
            "--ttl is a day at most, because a token can't be revoked; `omnibus key mint` makes what lasts longer"
        );
        key::check_scopes(&Catalogue::omnibus(), &self.scopes)?;
        let fits = (1..=200).contains(&self.sub.len()) && self.sub.bytes().all(|b| (0x21..=0x7e).contains(&b));
        ensure!(fits, "--sub must be 1 to 200 visible ASCII characters");
        let secret = match self.websocket_secret {
            Some(secret) => secret,
            None => match home::read_secret(&home.websocket_secret())? {
                Some(secret) => secret.into(),
                None => bail!("no secret is known: set WEBSOCKET_SECRET to the one that the door has"),
            },
        };
        let seconds = u32::try_from(self.ttl.num_seconds()).context("--ttl")?;
        let mut claims = Claims::new(&self.tenant, self.sub, self.scopes, clock::now(), seconds);
        claims.aud = self.audience.map(Into::into);
        claims.iss = self.issuer;
        let token = token::sign(&secret, &claims)?;
        match output {
            Output::Table => show::text(token.expose_secret()),
            Output::Json => show::json(&json!({ "token": token.expose_secret(), "claims": claims })),
        }
        Ok(())
    }
}

/// A secret of 256 bits, in hex: what makes an API key secret serves here too.
pub(crate) fn fresh_secret() -> String {
    let nobody: Tenant = "_".parse().expect("an underscore is a token");
    let (key, _) = omnibus_ingest::keys::mint(&nobody, "", std::iter::empty::<&str>(), None);
    key.expose().rsplit('_').next().expect("splitting gives one part at least").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_secret_is_long_enough_to_sign_with_and_never_the_same() {
        assert_eq!(fresh_secret().len(), 64);
        assert_ne!(fresh_secret(), fresh_secret());
    }
}
