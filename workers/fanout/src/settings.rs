//! What the WebSocket door can be told. `fanout --help` is the reference.

use std::time::Duration;

/// Settings of the WebSocket door. What it takes for a credential is set as for the HTTP door.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "fanout")]
pub struct Settings {
    /// Web origins that browsers may connect from, beside the door's own, comma-separated.
    #[arg(long, env = "WEBSOCKET_ORIGINS", value_delimiter = ',')]
    pub websocket_origins: Vec<String>,
    /// Seconds that a socket has to authenticate.
    #[arg(long, env = "WEBSOCKET_AUTH_SECONDS", default_value_t = 10)]
    pub websocket_auth_seconds: u64,
    /// Largest message that a client may send, in bytes.
    #[arg(long, env = "WEBSOCKET_MAX_MESSAGE", default_value_t = 64 * 1024)]
    pub websocket_max_message: usize,
    /// Most bytes that may wait for a client; one that is further behind is closed and may come back.
    #[arg(long, env = "WEBSOCKET_QUEUE_BYTES", default_value_t = 1024 * 1024)]
    pub websocket_queue_bytes: usize,
    /// Seconds between two pings.
    #[arg(long, env = "WEBSOCKET_PING_SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub websocket_ping_seconds: u64,
    /// Most channels of one socket.
    #[arg(long, env = "WEBSOCKET_CHANNELS", default_value_t = 128)]
    pub websocket_channels: usize,
    /// Most sockets of one user, over all nodes.
    #[arg(long, env = "WEBSOCKET_PER_USER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub websocket_per_user: u32,
    /// Most messages that a client which was away gets at once; who has missed more reads the history.
    #[arg(long, env = "WEBSOCKET_RECOVER", default_value_t = 1000)]
    pub websocket_recover: usize,
    /// Commands a second of one socket; at once it may send as many more as it may have channels. 0 for no limit.
    #[arg(long, env = "WEBSOCKET_RATE_SOCKET", default_value_t = 50)]
    pub websocket_rate_socket: u32,
    /// Times a second that one socket may say that somebody is typing. 0 for no limit.
    #[arg(long, env = "WEBSOCKET_RATE_TYPING", default_value_t = 2)]
    pub websocket_rate_typing: u32,
    /// Commands a second that one tenant's sockets on this node may put on the bus. 0 for no limit.
    #[arg(long, env = "WEBSOCKET_RATE_TENANT", default_value_t = 1000)]
    pub websocket_rate_tenant: u32,
    /// Seconds after which a user whose node died is offline.
    #[arg(long, env = "PRESENCE_TTL_SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub presence_ttl_seconds: u64,
    /// Seconds that a user who has gone has to come back without anybody noticing.
    #[arg(long, env = "PRESENCE_GRACE_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub presence_grace_seconds: u64,
}

impl Settings {
    /// The defaults. The environment is not read.
    pub fn defaults() -> Self {
        Settings {
            websocket_origins: vec![],
            websocket_auth_seconds: 10,
            websocket_max_message: 64 * 1024,
            websocket_queue_bytes: 1024 * 1024,
            websocket_ping_seconds: 25,
            websocket_channels: 128,
            websocket_per_user: 10,
            websocket_recover: 1000,
            websocket_rate_socket: 50,
            websocket_rate_typing: 2,
            websocket_rate_tenant: 1000,
            presence_ttl_seconds: 90,
            presence_grace_seconds: 10,
        }
    }

    pub(crate) fn ping(&self) -> Duration {
        Duration::from_secs(self.websocket_ping_seconds)
    }

    pub(crate) fn auth(&self) -> Duration {
        Duration::from_secs(self.websocket_auth_seconds)
    }

    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_secs(self.presence_ttl_seconds)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.presence_grace_seconds)
    }

    /// The most bytes of one answer. What waits besides has room beside it in the client's queue.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.websocket_queue_bytes / 2
    }

    /// Three chances to say that a connection is still there.
    pub(crate) fn refresh(&self) -> Duration {
        Duration::from_millis(self.presence_ttl_seconds * 1000 / 3)
    }
}
