//! Which way a text takes, and whether it may leave at all.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Fail, clock};
use omnibus_schemas::texter::{Category, WaitsFor};

use crate::Texter;
use crate::draft::Draft;
use crate::gate::Gate;
use crate::provider::Provider;
use crate::quiet;
use crate::waiting::Not;

/// For how long a text waits under a blown fuse, days: a budget that lets nothing through for so long is a no.
const MOST_HELD: i64 = 7;

/// A text's way: its provider, and its sender there.
pub(crate) type Way<'a> = (&'a dyn Provider, String);

impl Texter {
    /// The cheapest provider that may be used; after a try that failed, the next one.
    pub(crate) fn way(&self, gate: &Gate, draft: &Draft, hand_over: bool) -> Result<Way<'_>, Not> {
        let mut fit = Vec::new();
        for provider in &self.providers {
            let mut senders = provider.senders().iter().filter(|sender| !hand_over || provider.schedules(sender));
            let from = match &draft.from {
                None => senders.next(),
                Some(wanted) => senders.find(|sender| *sender == wanted),
            };
            if let (Some(from), Some(price)) = (from, provider.price(&draft.number.country)) {
                fit.push((price, provider.as_ref(), from));
            }
        }
        if fit.is_empty() {
            return Err(self.no_way(draft, hand_over).into());
        }
        // Stable: at one price, in the order of the settings.
        fit.sort_by_key(|(price, ..)| *price);
        fit.retain(|(_, provider, _)| !gate.stopped.iter().any(|stopped| stopped == provider.name()));
        if fit.is_empty() {
            return Err(self.left_alone(draft));
        }
        let last = gate.before.as_ref().and_then(|b| fit.iter().position(|(_, p, _)| p.name() == b.provider));
        let (_, provider, from) = fit[last.map_or(0, |last| (last + 1) % fit.len())];
        Ok((provider, from.clone()))
    }

    fn no_way(&self, draft: &Draft, hand_over: bool) -> Fail {
        let country = &draft.number.country;
        match (&draft.from, hand_over) {
            (_, true) => Fail::reject(
                "not_schedulable",
                format!(
                    "/waits_at: no provider of this texter holds texts to {country} for later; it takes a messaging service"
                ),
            ),
            (Some(_), false) => {
                Fail::reject("sender_not_allowed", format!("/from is no sender to {country} of this texter"))
            }
            (None, false) => {
                Fail::reject("no_route", format!("nothing is sent to {country}: it has no price (SMS_PRICES)"))
            }
        }
    }

    /// No provider may be used now.
    pub(crate) fn left_alone(&self, draft: &Draft) -> Not {
        match draft.code {
            None => Not::Now(WaitsFor::Provider, self.look_again()),
            Some(_) => {
                Fail::reject("provider_stopped", "every provider is stopped; a code does not wait for one").into()
            }
        }
    }

    /// Fuses, quiet hours. `asked` is when the text was asked for, `at` when it would be sent.
    pub(crate) fn may_leave(
        &self,
        gate: &Gate,
        draft: &Draft,
        asked: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Result<(), Not> {
        for (purse, whose) in [(&gate.all, "all countries"), (&gate.country, draft.number.country.as_str())] {
            // A later try of what is booked already spends nothing more.
            if gate.before.is_some() || !purse.is_shut() {
                continue;
            }
            // From when it could have left at the earliest.
            let due = draft.send_at.map_or(asked, |at| at.max(asked));
            if draft.code.is_none() && clock::now() < due + chrono::Duration::days(MOST_HELD) {
                return Err(Not::Now(WaitsFor::SpendFuse, self.look_again()));
            }
            let detail = format!(
                "today's budget for {whose} is spent ({} of {} millionths of {}); nothing was sent. \
                 Put the fuse in again with POST /api/v1/sms/fuse/reset",
                purse.spent, purse.cap, self.currency
            );
            return Err(Fail::reject("spend_fuse", detail).into());
        }
        match self.quiet_until(gate, draft, at)? {
            Some(until) => Err(Not::Now(WaitsFor::QuietHours, until)),
            None => Ok(()),
        }
    }

    /// When the recipient's quiet hours end, if `at` lies in them and the text heeds them.
    pub(crate) fn quiet_until(
        &self,
        gate: &Gate,
        draft: &Draft,
        at: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Fail> {
        let zone = draft.zone()?;
        let heeds = draft.code.is_none() && draft.category != Category::Urgent;
        let Some(hours) = gate.quiet.as_ref().filter(|_| heeds) else { return Ok(None) };
        let zone = zone.or_else(|| quiet::zone_of(&draft.number.country));
        let zone = zone.or_else(|| hours.timezone.parse().ok()).unwrap_or(chrono_tz::UTC);
        Ok(hours.until(at, zone))
    }
}
