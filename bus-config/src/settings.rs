//! The choices that a catalogue doesn't make: sizes, ages, replicas, and which tenants publish by themselves.

use std::time::Duration;

use omnibus_schemas::Tenant;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const GIB: u64 = 1 << 30;

/// What an installation chooses. [`Settings::default`] suits one machine; production raises `replicas` and the sizes.
///
/// A stream's size is reserved when it is created: the server refuses a stream that its storage could not hold full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Copies of every stream and bucket: 1, 3 or 5. More than 1 needs a cluster.
    pub replicas: u8,
    /// How long a command that was carried out stays in its stream, so that a restored database can catch up.
    pub keep_done: Duration,
    /// Largest size of a command stream in bytes; a full one refuses new commands. Done ones count until trimmed.
    pub cmd_max_bytes: u64,
    /// Most commands in a command stream; `None` for no limit but the size.
    pub cmd_max_msgs: Option<u64>,
    /// How long events are kept.
    pub evt_max_age: Duration,
    /// Largest size of `EVT` in bytes; beyond it the oldest events go.
    pub evt_max_bytes: u64,
    /// How long the entries of rooms are kept: so long may a client be away and get what it has missed.
    pub rooms_max_age: Duration,
    /// Most entries of one room.
    pub rooms_max_entries: u32,
    /// Largest size of `ROOMS` in bytes, of all tenants together; beyond it the oldest entries go, whosever they are.
    pub rooms_max_bytes: u64,
    /// Largest size of `DLQ` in bytes; a full one refuses, and what should be dead-lettered waits in its lane.
    pub dlq_max_bytes: u64,
    /// How long the server remembers a `Nats-Msg-Id`.
    pub duplicate_window: Duration,
    /// How long a command may be out before it is delivered again, unless its worker says it is still at it.
    pub ack_wait: Duration,
    /// Deliveries after which the server gives up. A net under the policy's attempts, so far above them.
    pub max_deliver: u32,
    /// Most commands of a lane out at once, over all of its workers.
    pub max_ack_pending: u32,
    /// How long an `Idempotency-Key` is remembered.
    pub keep_idempotency: Duration,
    /// How long an uploaded file may be fetched by the worker it was brought for. Workers copy what they keep.
    pub keep_uploads: Duration,
    /// Tenants that have a bus user of their own.
    pub tenants: Vec<TenantUser>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            replicas: 1,
            keep_done: 7 * DAY,
            cmd_max_bytes: GIB,
            cmd_max_msgs: None,
            evt_max_age: 30 * DAY,
            evt_max_bytes: 2 * GIB,
            rooms_max_age: 7 * DAY,
            rooms_max_entries: 1000,
            rooms_max_bytes: GIB,
            dlq_max_bytes: GIB / 4,
            duplicate_window: Duration::from_secs(120),
            ack_wait: Duration::from_secs(30),
            max_deliver: 1000,
            max_ack_pending: 65_536,
            keep_idempotency: 30 * DAY,
            keep_uploads: 30 * DAY,
            tenants: Vec::new(),
        }
    }
}

/// A tenant that publishes commands and reads its events over NATS, without the HTTP door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantUser {
    /// Whose.
    pub tenant: Tenant,
    /// Scopes of the commands that it may publish; `None` for every one that the HTTP door takes. A scope that no such command
    /// has grants nothing.
    pub scopes: Option<Vec<String>>,
}

impl TenantUser {
    /// A tenant that may publish every command that the HTTP door takes, for itself.
    pub fn of_every_command(tenant: Tenant) -> Self {
        TenantUser { tenant, scopes: None }
    }

    /// A tenant that may publish those of them that are of these scopes, for itself.
    pub fn with_scopes(tenant: Tenant, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        TenantUser { tenant, scopes: Some(scopes.into_iter().map(Into::into).collect()) }
    }

    pub(crate) fn may(&self, scope: &str) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|own| own == scope))
    }
}
