//! The connection to NATS. It makes two things loud that the client leaves quiet: a refused permission, which otherwise
//! shows as a time-out, and a lost connection, which otherwise shows as nothing.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::{self, publish::PublishAck};
use async_nats::{ConnectErrorKind, ConnectOptions, Event, HeaderMap, ServerError};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{broadcast, watch};

use crate::metrics::Metric;

/// How long the server's answer is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How many publications of a process may wait for acknowledgements. Who would be one more waits for room, and gives no
/// room back meanwhile: together with others, for ever. So there is more room than pipelines can want at once.
const UNDER_WAY: usize = 1 << 20;

/// Where the bus is and who we are on it.
#[derive(Debug, Clone, clap::Args)]
pub struct BusSettings {
    /// NATS servers, comma-separated. May hold `user:password@`.
    #[arg(long, env = "NATS_URL", default_value = "nats://127.0.0.1:4222", hide_env_values = true)]
    pub nats_url: SecretString,
    /// File with the nkey seed to log in with.
    #[arg(long, env = "NATS_NKEY_FILE")]
    pub nats_nkey_file: Option<PathBuf>,
    /// File with the certificates of authorities to trust, beside the system's.
    #[arg(long, env = "NATS_CA_FILE")]
    pub nats_ca_file: Option<PathBuf>,
}

/// A connection under one bus user's name.
#[derive(Debug, Clone)]
pub struct Bus {
    client: async_nats::Client,
    js: jetstream::Context,
    user: Arc<str>,
    connected: watch::Receiver<bool>,
    refusals: broadcast::Sender<Refusal>,
    settings: Arc<BusSettings>,
    losses: Arc<AtomicU64>,
}

/// The server refused this user a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bus user '{user}' may not {verb} '{subject}'; see `omnibus bus plan`")]
pub struct Refusal {
    /// Who was refused.
    pub user: String,
    /// `publish` or `subscribe`.
    pub verb: String,
    /// What was refused.
    pub subject: String,
}

/// Why the bus can't be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The key file.
    #[error("can't read the nkey file {path}: {error}")]
    KeyFile {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The server knows us not.
    #[error("NATS refused the login as '{user}': {error}")]
    Login {
        /// Who.
        user: String,
        /// Why.
        error: async_nats::ConnectError,
    },
    /// No server, or no TLS.
    #[error("can't connect to NATS: {0}")]
    Unreachable(async_nats::ConnectError),
}

/// Why a publication failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// No permission.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The stream is at its limit and discards new messages.
    #[error("the stream is full")]
    Full,
    /// Larger than the server's `max_payload`.
    #[error("the message is larger than the server takes")]
    TooLarge,
    /// No server, no leader, no stream, or no answer in time. Passes.
    #[error("the bus does not answer: {0}")]
    Away(String),
    /// The server's words.
    #[error("{0}")]
    Other(String),
}

impl PublishError {
    /// May the same publication succeed later?
    pub fn passes(&self) -> bool {
        matches!(self, PublishError::Full | PublishError::Away(_))
    }
}

impl Bus {
    /// Connects, waiting for a server for as long as it takes; a refused login ends it.
    pub async fn connect(settings: &BusSettings, user: &str) -> Result<Self, ConnectError> {
        let seed = match &settings.nats_nkey_file {
            Some(path) => Some(
                tokio::fs::read_to_string(path)
                    .await
                    .map_err(|error| ConnectError::KeyFile { path: path.clone(), error })?,
            ),
            None => None,
        };
        let attempt = || Self::connect_once(settings, user, seed.as_deref());
        let ends = |error: &ConnectError| match error {
            ConnectError::Unreachable(error) => !matches!(error.kind(), ConnectErrorKind::ServerParse),
            _ => false,
        };
        attempt
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(100))
                    .with_max_delay(Duration::from_secs(5))
                    .with_jitter()
                    .without_max_times(),
            )
            .when(ends)
            .notify(|error, delay| tracing::warn!(user, %error, retry_in = ?delay, "waiting for NATS"))
            .await
    }

    async fn connect_once(settings: &BusSettings, user: &str, seed: Option<&str>) -> Result<Self, ConnectError> {
        let (connected_tx, connected) = watch::channel(true);
        let connected_tx = Arc::new(connected_tx);
        let (refusals, _) = broadcast::channel(64);
        let refusals_tx = refusals.clone();
        let losses = Arc::new(AtomicU64::new(0));
        let counted = losses.clone();
        let name: Arc<str> = user.into();
        let user_name = name.clone();
        let mut options = match seed {
            Some(seed) => ConnectOptions::with_nkey(seed.trim().to_owned()),
            None => ConnectOptions::new(),
        };
        if let Some(ca) = &settings.nats_ca_file {
            options = options.add_root_certificates(ca.clone());
        }
        let client = options
            .name(format!("omnibus-{user}"))
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            .connection_timeout(Duration::from_secs(5))
            .max_reconnects(None)
            .reconnect_delay_callback(|tries| Duration::from_millis((50 * (1 << tries.min(6))) as u64))
            .event_callback(move |event| {
                let (connected, refusals, user) = (connected_tx.clone(), refusals_tx.clone(), user_name.clone());
                if matches!(event, Event::Disconnected) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                async move { notice(event, &user, &connected, &refusals) }
            })
            .connect(settings.nats_url.expose_secret().split(',').map(str::trim).collect::<Vec<_>>())
            .await
            .map_err(|error| match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    ConnectError::Login { user: user.to_owned(), error }
                }
                _ => ConnectError::Unreachable(error),
            })?;
        Metric::Up.set(1.0, &[("part", "nats")]);
        let js = jetstream::ContextBuilder::new()
            .timeout(PATIENCE)
            .ack_timeout(PATIENCE)
            .max_ack_inflight(UNDER_WAY)
            .build(client.clone());
        Ok(Bus { client, js, user: name, connected, refusals, settings: Arc::new(settings.clone()), losses })
    }

    /// Another connection of the same user.
    pub(crate) async fn twin(&self) -> Result<Self, ConnectError> {
        Self::connect(&self.settings, &self.user).await
    }

    /// How often the connection was lost so far.
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Has the client ended by itself? Then nothing brings it back.
    pub(crate) async fn dead(&self) -> bool {
        // A client that looks for a server does not answer either; it is not dead.
        matches!(tokio::time::timeout(Duration::from_secs(1), self.client.flush()).await, Ok(Err(_)))
    }

    /// The client beneath.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// JetStream beneath.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.js
    }

    /// The bus user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Follows whether there is a connection.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Follows what the server refuses us.
    pub fn refusals(&self) -> broadcast::Receiver<Refusal> {
        self.refusals.subscribe()
    }

    /// Runs `work`, which needs to publish on `subject`, and ends at once if the server refuses that.
    pub async fn guard<T>(&self, subject: &str, work: impl Future<Output = T>) -> Result<T, Refusal> {
        self.guard_where(|refused| refused == subject, work).await
    }

    /// As [`Bus::guard`], for work on several subjects.
    pub(crate) async fn guard_where<T>(
        &self,
        ours: impl Fn(&str) -> bool,
        work: impl Future<Output = T>,
    ) -> Result<T, Refusal> {
        let mut refusals = self.refusals();
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                refusal = refusals.recv() => match refusal {
                    // Without the inbox no answer arrives at all.
                    Ok(refusal) if ours(&refusal.subject) || refusal.subject.starts_with("_INBOX") => return Err(refusal),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(work.await),
                },
            }
        }
    }

    /// Publishes into a stream and waits for its PubAck. One try.
    pub async fn publish(&self, subject: &str, headers: HeaderMap, body: Bytes) -> Result<PublishAck, PublishError> {
        let publish = jetstream::message::PublishMessage::build().payload(body).headers(headers);
        let sent = async { self.js.send_publish(subject.to_owned(), publish).await?.await };
        self.guard(subject, sent).await?.map_err(|error| (&error).into())
    }

    /// A request on plain NATS, answered or refused within `deadline`. `None` if nobody listens there.
    pub async fn ask(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Option<async_nats::Message>, PublishError> {
        let request = async_nats::Request::new().headers(headers).payload(body).timeout(Some(deadline));
        let answer = self.guard(&subject, self.client.send_request(subject.clone(), request)).await?;
        match answer {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(None),
            Err(error) => Err(PublishError::Away(error.to_string())),
        }
    }
}

fn notice(event: Event, user: &str, connected: &watch::Sender<bool>, refusals: &broadcast::Sender<Refusal>) {
    match event {
        Event::Connected => {
            connected.send_replace(true);
            Metric::Up.set(1.0, &[("part", "nats")]);
            tracing::info!(user, "connected to NATS");
        }
        Event::Disconnected | Event::Closed => {
            connected.send_replace(false);
            Metric::Up.set(0.0, &[("part", "nats")]);
            tracing::warn!(user, "lost the connection to NATS");
        }
        Event::ServerError(ServerError::Other(words)) => match refused(user, &words) {
            Some(refusal) => {
                tracing::error!(user, verb = refusal.verb, subject = refusal.subject, "NATS refused a permission");
                // Nobody listening is fine: the log has it.
                let _ = refusals.send(refusal);
            }
            None => tracing::error!(user, error = words, "NATS reports an error"),
        },
        other => tracing::warn!(user, event = %other, "NATS"),
    }
}

/// `Permissions Violation for Publish to "evt.x"`, `... for Subscription to "x" [using queue "q"]`
fn refused(user: &str, words: &str) -> Option<Refusal> {
    let rest = words.to_ascii_lowercase().find("permissions violation for ").map(|at| &words[at + 26..])?;
    let verb = if rest.to_ascii_lowercase().starts_with("publish") { "publish" } else { "subscribe" };
    let subject = rest.split('"').nth(1)?.to_owned();
    Some(Refusal { user: user.to_owned(), verb: verb.to_owned(), subject })
}

/// 10077: `maximum messages exceeded` / `maximum bytes exceeded` of a stream that discards new messages.
const STREAM_FULL: u64 = 10077;

impl From<&jetstream::context::PublishError> for PublishError {
    fn from(error: &jetstream::context::PublishError) -> Self {
        match error.kind() {
            // "No stream" is also what a leader election looks like (nobody answers on the subject).
            PublishErrorKind::StreamNotFound => PublishError::Away("no stream or no leader takes the subject".into()),
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe | PublishErrorKind::MaxAckPending => {
                PublishError::Away(error.to_string())
            }
            PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
            _ => match std::error::Error::source(error).and_then(|s| s.downcast_ref::<jetstream::Error>()) {
                Some(words) => server_error(words),
                None => PublishError::Other(error.to_string()),
            },
        }
    }
}

/// What a JetStream API error means to a publisher.
pub(crate) fn server_error(error: &jetstream::Error) -> PublishError {
    match (error.error_code().0, error.code()) {
        (STREAM_FULL, _) => PublishError::Full,
        (_, 503) => PublishError::Away(error.to_string()),
        _ => PublishError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_verb_and_subject() {
        let refusal = refused("mailer", "Permissions Violation for Publish to \"evt.texter.x.acme\"").unwrap();
        assert_eq!((refusal.verb.as_str(), refusal.subject.as_str()), ("publish", "evt.texter.x.acme"));
        let refusal =
            refused("mailer", "permissions violation for subscription to \"qry.x\" using queue \"q\"").unwrap();
        assert_eq!((refusal.verb.as_str(), refusal.subject.as_str()), ("subscribe", "qry.x"));
        assert_eq!(refused("mailer", "Maximum Connections Exceeded"), None);
    }
}
