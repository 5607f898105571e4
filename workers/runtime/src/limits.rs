//! Rates by tenant and by provider. Whoever is over its rate is put off, not refused: each waiting command gets a place
//! in the line, so that they come back one after another and not all at once.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// The rates of one worker process.
pub(crate) struct Limits {
    tenants: Option<Rate>,
    providers: BTreeMap<String, Rate>,
}

struct Rate {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    every: Duration,
    line: Mutex<HashMap<String, Instant>>,
}

impl Limits {
    pub(crate) fn new(tenant_rate: Option<f64>, provider_rates: &BTreeMap<String, f64>) -> Self {
        Limits {
            tenants: tenant_rate.map(Rate::new),
            providers: provider_rates.iter().map(|(name, rate)| (name.clone(), Rate::new(*rate))).collect(),
        }
    }

    /// `Err` with how long to wait. The tenant is asked first: one that is over its rate must not use up the provider's
    /// turns, which are everybody's.
    pub(crate) fn admit(&self, tenant: &str, provider: Option<&str>) -> Result<(), (&'static str, Duration)> {
        if let Some(rate) = &self.tenants {
            rate.admit(tenant).map_err(|wait| ("tenant_rate", wait))?;
        }
        match provider.and_then(|name| self.providers.get(name)) {
            Some(rate) => rate.admit("all").map_err(|wait| ("provider_rate", wait)),
            None => Ok(()),
        }
    }

    /// Forgets tenants that have been quiet.
    pub(crate) fn forget(&self) {
        for rate in self.tenants.iter().chain(self.providers.values()) {
            rate.limiter.retain_recent();
            let now = Instant::now();
            rate.line.lock().expect("no panic happens under this lock").retain(|_, last| *last > now);
        }
    }
}

impl Rate {
    /// At `per_second`, with a burst of one second's worth.
    fn new(per_second: f64) -> Self {
        let every = Duration::from_secs_f64(1.0 / per_second);
        let burst = NonZeroU32::new(per_second.ceil() as u32).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(every).expect("a rate is finite and above 0").allow_burst(burst);
        Rate {
            limiter: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            every,
            line: Mutex::new(HashMap::new()),
        }
    }

    fn admit(&self, key: &str) -> Result<(), Duration> {
        let Err(not_yet) = self.limiter.check_key(&key.to_owned()) else { return Ok(()) };
        let now = Instant::now();
        let soonest = now + not_yet.wait_time_from(self.clock.now());
        let mut line = self.line.lock().expect("no panic happens under this lock");
        let place =
            line.entry(key.to_owned()).and_modify(|last| *last = (*last + self.every).max(soonest)).or_insert(soonest);
        Err(*place - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_get_places_one_after_another() {
        let limits = Limits::new(Some(2.0), &BTreeMap::new());
        assert!(limits.admit("acme", None).is_ok());
        assert!(limits.admit("acme", None).is_ok());
        let waits: Vec<_> = (0..4).map(|_| limits.admit("acme", None).unwrap_err().1.as_secs_f64()).collect();
        for (n, wait) in waits.iter().enumerate() {
            let place = 0.5 * (n + 1) as f64;
            assert!((wait - place).abs() < 0.2, "place {n}: {wait}");
        }
        assert!(limits.admit("globex", None).is_ok(), "another tenant does not wait");
    }

    #[test]
    fn a_tenant_over_its_rate_does_not_use_up_the_providers_turns() {
        let limits = Limits::new(Some(1.0), &[("smtp".to_owned(), 2.0)].into());
        assert!(limits.admit("acme", Some("smtp")).is_ok());
        for _ in 0..10 {
            assert_eq!(limits.admit("acme", Some("smtp")).unwrap_err().0, "tenant_rate");
        }
        assert!(limits.admit("globex", Some("smtp")).is_ok());
    }

    #[test]
    fn a_provider_has_a_rate_of_its_own() {
        let limits = Limits::new(None, &[("smtp".to_owned(), 1.0)].into());
        assert!(limits.admit("acme", Some("smtp")).is_ok());
        assert_eq!(limits.admit("globex", Some("smtp")).unwrap_err().0, "provider_rate");
        assert!(limits.admit("globex", Some("other")).is_ok());
    }
}
