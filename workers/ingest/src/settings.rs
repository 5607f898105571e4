//! What the door can be told. `ingest --help` is the reference.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::peer::Network;

/// Settings of the HTTP door.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Address and port to listen on. Port 0 takes a free one.
    #[arg(long, env = "HTTP_LISTEN", default_value = "127.0.0.1:8080")]
    pub http_listen: SocketAddr,
    /// A second address and port, for TLS: tenants' hosts by name with their own certificates (CERTIFICATE_KEY), every other
    /// name with TLS_CERT_FILE. HTTP_LISTEN then stays plain, answers authorities' challenges, and leads visitors of hosts
    /// that have a certificate to https.
    #[arg(long, env = "HTTPS_LISTEN")]
    pub https_listen: Option<SocketAddr>,
    /// The key with which the brander seals the private keys of tenants' certificates: 32 bytes in base64. With it, and TLS,
    /// their hosts are served over TLS as soon as they have a certificate. Several, with commas between: all open.
    #[arg(long, env = "CERTIFICATE_KEY", hide_env_values = true)]
    pub certificate_key: Option<SecretString>,
    /// Certificate chain in PEM; with it the door speaks TLS 1.2 and 1.3 only, unless HTTPS_LISTEN is set.
    #[arg(long, env = "TLS_CERT_FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// The certificate's private key in PEM.
    #[arg(long, env = "TLS_KEY_FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Secret that signs browser tokens (HS256), at least 32 bytes. Without it no such token is taken.
    #[arg(long, env = "WEBSOCKET_SECRET", hide_env_values = true)]
    pub websocket_secret: Option<SecretString>,
    /// Where browsers open WebSockets, told with every ticket: `wss://live.example.com/ws`. By default `/ws` on the host
    /// that was asked.
    #[arg(long, env = "WEBSOCKET_URL")]
    pub websocket_url: Option<String>,
    /// File with a JSON Web Key Set; tokens signed with its RS256 or ES256 keys are taken.
    #[arg(long, env = "JWT_JWKS_FILE")]
    pub jwt_jwks_file: Option<PathBuf>,
    /// Audience that a token must name.
    #[arg(long, env = "JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// Issuer that a token must name.
    #[arg(long, env = "JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
    /// Seconds from now within which a token must end: a token can't be revoked.
    #[arg(long, env = "JWT_MAX_SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(60..))]
    pub jwt_max_seconds: u32,
    /// Requests a second from one address (IPv6: one /64), before authentication. 0 for no limit.
    #[arg(long, env = "RATE_LIMIT_IP", default_value_t = 200)]
    pub rate_limit_ip: u32,
    /// Requests a second from one tenant. 0 for no limit.
    #[arg(long, env = "RATE_LIMIT_TENANT", default_value_t = 1000)]
    pub rate_limit_tenant: u32,
    /// Milliseconds that a lane's commands may wait for their turn; while they wait longer, more of them are refused with
    /// 503. 0 for never, since a queue is there to hold what comes: for operators who prefer a quick refusal to a late
    /// outcome. Lanes named `bulk` are never shed: nobody waits for them.
    #[arg(long, env = "SHED_AFTER_MS", default_value_t = 0)]
    pub shed_after_ms: u32,
    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks such as `10.0.0.0/8`, comma-separated.
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// Web origins that browsers may call from, comma-separated: `https://app.example.com`. None by default.
    #[arg(long, env = "CORS_ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Largest body in bytes. NATS takes messages of 1 MiB by default, headers included.
    #[arg(long, env = "BODY_MAX_BYTES", default_value_t = (1 << 20) - (16 << 10))]
    pub body_max_bytes: usize,
    /// Seconds that a request's headers, and then its body, may take to arrive.
    #[arg(long, env = "BODY_TIMEOUT_SECONDS", default_value_t = 15)]
    pub body_timeout_seconds: u64,
    /// Seconds that a worker has to answer a query.
    #[arg(long, env = "QUERY_TIMEOUT_SECONDS", default_value_t = 5)]
    pub query_timeout_seconds: u64,
    /// Seconds that the bus has to store a command.
    #[arg(long, env = "PUBLISH_TIMEOUT_SECONDS", default_value_t = 5)]
    pub publish_timeout_seconds: u64,
    /// Seconds that running requests have to finish once the door is told to stop.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 15)]
    pub drain_seconds: u64,
    /// Not ready unless the bus syncs every write before it acknowledges it. Needs NATS_MONITOR_URL.
    #[arg(long, env = "EXPECT_SYNC_ALWAYS", requires = "nats_monitor_url")]
    pub expect_sync_always: bool,
    /// Not ready unless every stream has at least this many copies.
    #[arg(long, env = "EXPECT_REPLICAS")]
    pub expect_replicas: Option<usize>,
    /// The monitoring address of the NATS server: `http://127.0.0.1:8222`.
    #[arg(long, env = "NATS_MONITOR_URL")]
    pub nats_monitor_url: Option<String>,
}

impl Settings {
    /// The defaults, on a free port of this machine. The environment is not read.
    pub fn on_a_free_port() -> Self {
        Settings {
            http_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            https_listen: None,
            certificate_key: None,
            tls_cert_file: None,
            tls_key_file: None,
            websocket_secret: None,
            websocket_url: None,
            jwt_jwks_file: None,
            jwt_audience: None,
            jwt_issuer: None,
            jwt_max_seconds: 86_400,
            rate_limit_ip: 200,
            rate_limit_tenant: 1000,
            shed_after_ms: 0,
            trusted_proxies: vec![],
            cors_origins: vec![],
            body_max_bytes: (1 << 20) - (16 << 10),
            body_timeout_seconds: 15,
            query_timeout_seconds: 5,
            publish_timeout_seconds: 5,
            drain_seconds: 15,
            expect_sync_always: false,
            expect_replicas: None,
            nats_monitor_url: None,
        }
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_seconds)
    }

    pub(crate) fn query_timeout(&self) -> Duration {
        Duration::from_secs(self.query_timeout_seconds)
    }

    pub(crate) fn publish_timeout(&self) -> Duration {
        Duration::from_secs(self.publish_timeout_seconds)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}
