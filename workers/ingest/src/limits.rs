//! Limits by address and by tenant, and the headers that tell of them (draft-ietf-httpapi-ratelimit-headers).

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use omnibus_schemas::Tenant;
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// How often what has recovered is forgotten. Each key is a few dozen bytes, and anybody can make up addresses.
const FORGET_EVERY: Duration = Duration::from_secs(5);

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Requests a second by `K`. The burst is one second's worth.
pub(crate) struct Limit<K: Hash + Eq + Clone> {
    name: &'static str,
    buckets: Option<Buckets<K>>,
}

struct Buckets<K: Hash + Eq + Clone> {
    quota: NonZeroU32,
    limiter: RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
}

/// What a caller has left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    name: &'static str,
    quota: u32,
    remaining: u32,
    /// Seconds until something is left again; 1 while something is.
    seconds: u64,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(name: &'static str, per_second: u32) -> Self {
        let buckets = NonZeroU32::new(per_second).map(|quota| Buckets {
            quota,
            limiter: RateLimiter::dashmap(Quota::per_second(quota)).with_middleware(),
            clock: DefaultClock::default(),
        });
        Limit { name, buckets }
    }

    /// Spends one request. `None` where there is no limit.
    pub(crate) fn spend(&self, key: &K) -> Result<Option<Left>, (Problem, Left)> {
        let Some(Buckets { quota, limiter, clock }) = &self.buckets else { return Ok(None) };
        let left = |remaining, seconds| Left { name: self.name, quota: quota.get(), remaining, seconds };
        match limiter.check_key(key) {
            Ok(state) => Ok(Some(left(state.remaining_burst_capacity(), 1))),
            Err(not_until) => {
                // Whole seconds are what the headers can say; less than one is told as one.
                let seconds = not_until.wait_time_from(clock.now()).as_secs_f64().ceil().max(1.0) as u64;
                let detail = format!("At most {quota} requests a second by {}. Wait {seconds} s.", self.name);
                Err((Problem::rate_limited(detail).after(seconds), left(0, seconds)))
            }
        }
    }

    fn forget(&self) {
        if let Some(buckets) = &self.buckets {
            buckets.limiter.retain_recent();
            buckets.limiter.shrink_to_fit();
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.buckets.as_ref().map_or(0, |buckets| buckets.limiter.len())
    }
}

impl Left {
    /// `RateLimit-Policy: "tenant";q=1000;w=1` and `RateLimit: "tenant";r=999;t=1`.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        let Left { name, quota, remaining, seconds } = self;
        let value = |text: String| HeaderValue::from_maybe_shared(text).expect("names and numbers are visible ASCII");
        headers.insert(POLICY, value(format!("\"{name}\";q={quota};w=1")));
        headers.insert(LIMIT, value(format!("\"{name}\";r={remaining};t={seconds}")));
    }
}

/// Both limits.
pub(crate) struct Limits {
    /// Before authentication.
    pub(crate) by_address: Limit<IpAddr>,
    /// After it.
    pub(crate) by_tenant: Limit<Tenant>,
}

impl Limits {
    pub(crate) fn new(by_address: u32, by_tenant: u32) -> Self {
        Limits { by_address: Limit::new("address", by_address), by_tenant: Limit::new("tenant", by_tenant) }
    }

    /// Keeps the memory bounded until `stop`.
    pub(crate) async fn tidy(&self, stop: &CancellationToken) {
        let forget = async {
            loop {
                tokio::time::sleep(FORGET_EVERY).await;
                self.by_address.forget();
                self.by_tenant.forget();
            }
        };
        stop.run_until_cancelled(forget).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_over_the_quota_is_refused_with_the_time_to_wait() {
        let limit = Limit::new("address", 2);
        let key = 1;
        assert!(limit.spend(&key).unwrap().is_some());
        assert_eq!(limit.spend(&key).unwrap().unwrap().remaining, 0);
        let (problem, left) = limit.spend(&key).unwrap_err();
        assert_eq!((problem.code(), left.seconds), ("rate_limited", 1));
        assert!(limit.spend(&2).is_ok());
        let mut headers = HeaderMap::new();
        left.tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"address\";q=2;w=1");
        assert_eq!(headers["ratelimit"], "\"address\";r=0;t=1");
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = Limit::new("address", 0);
        assert!((0..1000).all(|_| limit.spend(&1).unwrap().is_none()));
    }

    #[test]
    fn who_has_recovered_is_forgotten() {
        // A quota this high has recovered as soon as it is spent.
        let limit = Limit::new("address", u32::MAX);
        (0..1000).for_each(|key| drop(limit.spend(&key)));
        assert_eq!(limit.len(), 1000);
        limit.forget();
        assert!(limit.len() < 1000);
    }
}
