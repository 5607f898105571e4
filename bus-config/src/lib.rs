#![doc = include_str!("../README.md")]

mod api;
mod apply;
mod credentials;
mod difference;
mod permissions;
mod plan;
mod server;
mod settings;
mod spec;
mod subjects;
mod topology;
mod worker;

pub use api::BusError;
pub use apply::{apply, check, plan};
pub use credentials::{Credentials, CredentialsError, PublicKeys, read_seed};
pub use difference::{Difference, consumer_differences};
pub use permissions::{Account, Permissions, UserSpec, inbox_prefix, tenant_user};
pub use plan::{Action, Change, Item, Plan, Unmanaged};
pub use server::{Cluster, ConfigError, ServerOptions, Tls, server_config};
pub use settings::{Settings, TenantUser};
pub use spec::{
    BucketSpec, ConsumerSpec, Discard, KEEP_DONE_SECONDS, RepublishSpec, Retention, SourceSpec, Storage, StreamSpec,
    SubjectTransform,
};
pub use topology::{BUCKET_IDEMPOTENCY, BUCKET_KEYS, BUCKET_TICKETS, MAX_DELIVERIES, ROOM_HEADS, ROOMS, Topology};
pub use worker::{BindError, Bound, LEAST_ACK_WAIT, LEAST_MAX_DELIVER, binding_differences, verify_consumer};
