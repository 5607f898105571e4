//! How often somebody may ask. Each command costs the bus or a worker something, and a socket costs whoever floods nothing.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use omnibus_schemas::Tenant;

use crate::codes::{Refusal, TOO_MANY_REQUESTS};
use crate::settings::Settings;

/// One socket's.
pub(crate) struct SocketRates {
    commands: Option<DefaultDirectRateLimiter>,
    typing: Option<DefaultDirectRateLimiter>,
}

impl SocketRates {
    pub(crate) fn new(settings: &Settings) -> Self {
        // A client that comes back subscribes to everything it had in one breath.
        let channels = u32::try_from(settings.websocket_channels).unwrap_or(u32::MAX);
        SocketRates {
            commands: quota(settings.websocket_rate_socket, channels).map(RateLimiter::direct),
            typing: quota(settings.websocket_rate_typing, 0).map(RateLimiter::direct),
        }
    }

    /// Spends a command.
    pub(crate) fn command(&self) -> Result<(), Refusal> {
        spend(self.commands.as_ref())
    }

    /// Spends a word that somebody is typing.
    pub(crate) fn typing(&self) -> Result<(), Refusal> {
        spend(self.typing.as_ref())
    }
}

/// All tenants', on this node.
pub(crate) struct TenantRates(Option<DefaultKeyedRateLimiter<Tenant>>);

impl TenantRates {
    pub(crate) fn new(settings: &Settings) -> Self {
        TenantRates(quota(settings.websocket_rate_tenant, 0).map(RateLimiter::dashmap))
    }

    /// Spends a command that goes on the bus.
    pub(crate) fn publish(&self, tenant: &Tenant) -> Result<(), Refusal> {
        let fits = self.0.as_ref().is_none_or(|limiter| limiter.check_key(tenant).is_ok());
        if fits { Ok(()) } else { Err(TOO_MANY_REQUESTS) }
    }

    /// Forgets who has asked nothing lately.
    pub(crate) fn tidy(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
        }
    }
}

/// A second's worth, and `besides`, at once. `None` for no limit.
fn quota(per_second: u32, besides: u32) -> Option<Quota> {
    let rate = NonZeroU32::new(per_second)?;
    Some(Quota::per_second(rate).allow_burst(rate.saturating_add(besides)))
}

fn spend(limiter: Option<&DefaultDirectRateLimiter>) -> Result<(), Refusal> {
    let fits = limiter.is_none_or(|limiter| limiter.check().is_ok());
    if fits { Ok(()) } else { Err(TOO_MANY_REQUESTS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rate: u32) -> Settings {
        Settings {
            websocket_channels: 10,
            websocket_rate_socket: rate,
            websocket_rate_typing: rate,
            websocket_rate_tenant: rate,
            ..Settings::defaults()
        }
    }

    #[test]
    fn a_socket_may_subscribe_to_all_its_channels_at_once_and_no_more() {
        let rates = SocketRates::new(&settings(1));
        assert_eq!((0..20).filter(|_| rates.command().is_ok()).count(), 11);
        assert_eq!(rates.command(), Err(TOO_MANY_REQUESTS));
        assert_eq!((0..20).filter(|_| rates.typing().is_ok()).count(), 1);
    }

    #[test]
    fn one_tenant_does_not_use_up_what_is_anothers() {
        let rates = TenantRates::new(&settings(2));
        let (acme, globex) = ("acme".parse().unwrap(), "globex".parse().unwrap());
        assert_eq!((0..5).filter(|_| rates.publish(&acme).is_ok()).count(), 2);
        assert!(rates.publish(&globex).is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        let (socket, tenants) = (SocketRates::new(&settings(0)), TenantRates::new(&settings(0)));
        let acme = "acme".parse().unwrap();
        assert!(
            (0..1000).all(|_| socket.command().is_ok() && socket.typing().is_ok() && tenants.publish(&acme).is_ok())
        );
    }
}
