//! The nats-server's configuration: written from the topology, the same text for the same input, so that it can be
//! regenerated and compared.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::credentials::PublicKeys;
use crate::permissions::{Account, Permissions, UserSpec};
use crate::topology::Topology;

/// What the machine decides.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The server's name; unique in a cluster.
    pub name: String,
    /// Where clients connect: `127.0.0.1:4222`. Port -1 takes a free one.
    pub listen: String,
    /// Where monitoring answers: `127.0.0.1:8222`. It has no authentication: never a public address.
    pub http: Option<String>,
    /// Where streams are kept; `None` if that is said on the server's command line.
    pub store_dir: Option<PathBuf>,
    /// Most bytes on disk; `None` for the server's choice, three quarters of what is free.
    pub max_store_bytes: Option<u64>,
    /// Syncs every write before it is acknowledged. Without it, a power failure loses what was written since the last
    /// sync, which may be two minutes.
    pub sync_always: bool,
    /// Largest message in bytes.
    pub max_payload: u32,
    /// Where the server writes the ports it took, if it took free ones.
    pub ports_file_dir: Option<PathBuf>,
    /// The servers that share the streams.
    pub cluster: Option<Cluster>,
    /// Encryption for clients.
    pub tls: Option<Tls>,
}

/// Servers that share streams. Routes are encrypted and checked with the same files as [`Tls`], if there are any.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The cluster's name; the same on every server.
    pub name: String,
    /// Where the others connect: `0.0.0.0:6222`.
    pub listen: String,
    /// The others: `nats://nats-1.nats:6222`.
    pub routes: Vec<String>,
}

/// Certificate files, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate, with its chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signed the other servers of a cluster; with it, routes are checked in both directions.
    pub ca: Option<PathBuf>,
}

impl ServerOptions {
    /// One server for this machine alone, keeping its streams in `store_dir`.
    pub fn local(store_dir: impl Into<PathBuf>) -> Self {
        ServerOptions {
            name: "omnibus".to_owned(),
            listen: "127.0.0.1:4222".to_owned(),
            http: Some("127.0.0.1:8222".to_owned()),
            store_dir: Some(store_dir.into()),
            max_store_bytes: None,
            sync_always: true,
            max_payload: 1 << 20,
            ports_file_dir: None,
            cluster: None,
            tls: None,
        }
    }
}

/// Why a configuration can't be written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A user without a key could be anybody.
    #[error("user {0} has no public key")]
    NoKey(String),
    /// A path or name that would break out of its quotes.
    #[error("{0:?} can't stand in a nats-server configuration: quotes, backslashes and control characters are refused")]
    Unquotable(String),
}

/// The whole configuration of a nats-server >= 2.14 for `topology`.
///
/// # Errors
/// If a user has no public key, or an option holds characters that can't be quoted.
pub fn server_config(topology: &Topology, keys: &PublicKeys, options: &ServerOptions) -> Result<String, ConfigError> {
    let mut text = String::from("# Generated from the catalogue. Changes made here are lost.\n\n");
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };

    line(format!("server_name: {}", quoted(&options.name)?));
    line(format!("listen: {}", quoted(&options.listen)?));
    if let Some(http) = &options.http {
        line(format!("http: {}", quoted(http)?));
    }
    if let Some(directory) = &options.ports_file_dir {
        line(format!("ports_file_dir: {}", path(directory)?));
    }
    line(format!("max_payload: {}", options.max_payload));
    line("jetstream {".to_owned());
    if let Some(store_dir) = &options.store_dir {
        line(format!("  store_dir: {}", path(store_dir)?));
    }
    if let Some(bytes) = options.max_store_bytes {
        line(format!("  max_file_store: {bytes}"));
    }
    if options.sync_always {
        line("  sync_interval: always".to_owned());
    }
    line("}".to_owned());
    if let Some(tls) = &options.tls {
        line(tls_block("", tls, false)?);
    }
    if let Some(cluster) = &options.cluster {
        line("cluster {".to_owned());
        line(format!("  name: {}", quoted(&cluster.name)?));
        line(format!("  listen: {}", quoted(&cluster.listen)?));
        let routes: Result<Vec<_>, _> = cluster.routes.iter().map(|route| quoted(route)).collect();
        line(format!("  routes: [{}]", routes?.join(", ")));
        if let Some(tls) = &options.tls {
            line(tls_block("  ", tls, tls.ca.is_some())?);
        }
        line("}".to_owned());
    }

    line(String::new());
    line("accounts {".to_owned());
    for account in [Account::Omnibus, Account::System] {
        line(format!("  {} {{", account.as_str()));
        if account == Account::Omnibus {
            line("    jetstream: enabled".to_owned());
        }
        line("    users: [".to_owned());
        for user in topology.users.iter().filter(|user| user.account == account) {
            let key = keys.get(&user.name).ok_or_else(|| ConfigError::NoKey(user.name.clone()))?;
            line(user_block(user, &quoted(key)?)?);
        }
        line("    ]\n  }".to_owned());
    }
    line("}".to_owned());
    line(format!("system_account: {}", Account::System.as_str()));
    Ok(text)
}

fn user_block(user: &UserSpec, key: &str) -> Result<String, ConfigError> {
    let mut block = format!("      # {}\n", user.name);
    let Some(permissions) = &user.permissions else {
        let _ = write!(block, "      {{ nkey: {key} }}");
        return Ok(block);
    };
    let _ = write!(block, "      {{ nkey: {key}, permissions: {{\n{}", permission_lines(permissions)?);
    block.push_str("      } }");
    Ok(block)
}

fn permission_lines(permissions: &Permissions) -> Result<String, ConfigError> {
    let mut lines = String::new();
    for (verb, subjects) in [("publish", &permissions.publish), ("subscribe", &permissions.subscribe)] {
        let _ = writeln!(lines, "        {verb}: {{ allow: [");
        for subject in subjects {
            let _ = writeln!(lines, "          {}", quoted(subject)?);
        }
        lines.push_str("        ] }\n");
    }
    if permissions.allow_responses {
        lines.push_str("        allow_responses: { max: 1, expires: \"1m\" }\n");
    }
    Ok(lines)
}

fn tls_block(indent: &str, tls: &Tls, verify: bool) -> Result<String, ConfigError> {
    let mut block = format!("{indent}tls {{\n{indent}  cert_file: {}\n", path(&tls.cert)?);
    let _ = writeln!(block, "{indent}  key_file: {}", path(&tls.key)?);
    if let Some(ca) = &tls.ca {
        let _ = writeln!(block, "{indent}  ca_file: {}", path(ca)?);
    }
    if verify {
        let _ = writeln!(block, "{indent}  verify: true");
    }
    let _ = write!(block, "{indent}}}");
    Ok(block)
}

fn path(path: &Path) -> Result<String, ConfigError> {
    quoted(&path.to_string_lossy())
}

/// Quotes also keep `$JS` from being read as a variable.
fn quoted(text: &str) -> Result<String, ConfigError> {
    if text.chars().any(|c| c == '"' || c == '\\' || c.is_control()) {
        return Err(ConfigError::Unquotable(text.to_owned()));
    }
    Ok(format!("\"{text}\""))
}
