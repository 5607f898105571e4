//! From what is known to how a control stands. Pure: the same facts at the same time give the same verdict.

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_schemas::auditor::{EntryLink, Standing};

use super::book::{Book, Check, Control, Watches, worst};
use super::facts::{Facts, Watched};
use crate::entry::HOUSE;

/// Longer without a look at the log, and nothing is known of it any more.
const BLIND: TimeDelta = TimeDelta::minutes(15);
/// An outcome may be read before its acceptance: they come from different streams.
const EARLY: TimeDelta = TimeDelta::minutes(15);
/// A breach of the conservation law fails its control for so long after it was seen.
const BREACH: TimeDelta = TimeDelta::days(7);

/// How a check stands, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) standing: Standing,
    pub(crate) detail: String,
    pub(crate) evidence: Option<EntryLink>,
}

/// Whose facts they are, when, and what the auditor is told from outside.
pub(crate) struct Judge<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) now: DateTime<Utc>,
    pub(crate) retention_days: u32,
    pub(crate) facts: &'a Facts,
}

fn says(standing: Standing, detail: impl Into<String>) -> Verdict {
    Verdict { standing, detail: detail.into(), evidence: None }
}

fn age(delta: TimeDelta) -> String {
    match (delta.num_days(), delta.num_hours()) {
        (days @ 2.., _) => format!("{days} days"),
        (_, hours @ 2..) => format!("{hours} hours"),
        _ => format!("{} minutes", delta.num_minutes().max(0)),
    }
}

/// As people call it: an act by its name alone.
fn named(what: &str) -> &str {
    what.strip_prefix("act:").unwrap_or(what)
}

impl Judge<'_> {
    /// As the worst of its checks, in that check's words.
    pub(crate) fn control(&self, book: &Book, control: &Control) -> Verdict {
        let verdicts: Vec<_> = control.checks(book).map(|check| self.check(check, control)).collect();
        let standing = worst(verdicts.iter().map(|verdict| verdict.standing));
        let worst = verdicts.into_iter().find(|verdict| verdict.standing == standing);
        worst.expect("a control has checks, and one of them stands as the worst does")
    }

    /// One check of a control.
    pub(crate) fn check(&self, check: &Check, control: &Control) -> Verdict {
        match &check.watches {
            Watches::Conservation { hours } => self.conservation(TimeDelta::hours(*hours)),
            Watches::Head { minutes } => self.head(TimeDelta::minutes(*minutes)),
            Watches::Retention { days } => self.retention(*days),
            Watches::KeyAge { days } => self.key_age(TimeDelta::days(*days)),
            Watches::Policies { days } => self.policies(TimeDelta::days(*days)),
            Watches::Seen { what, hours, house } => self.seen(what, TimeDelta::hours(*hours), *house),
            Watches::AccessReview { days } => {
                self.last("access review", "completed", self.facts.reviewed_at, TimeDelta::days(*days))
            }
            Watches::Risks => self.risks(),
            Watches::Incidents { hours } => self.incidents(TimeDelta::hours(*hours)),
            Watches::Audits { days } => self.audits(TimeDelta::days(*days)),
            Watches::Evidence => self.evidence(control),
        }
    }

    /// What happened last must not be too long ago.
    fn last(&self, what: &str, done: &str, at: Option<DateTime<Utc>>, most: TimeDelta) -> Verdict {
        let Some(at) = at else { return says(Standing::Missing, format!("no {what} was ever {done}")) };
        let old = self.now - at;
        match old > most {
            true => says(
                Standing::Stale,
                format!("the last {what} was {done} {} ago; at most {} are allowed", age(old), age(most)),
            ),
            false => says(Standing::Met, format!("the last {what} was {done} {} ago", age(old))),
        }
    }

    fn watched(&self) -> Result<&Watched, Verdict> {
        let nothing = || says(Standing::Missing, "the log was not read yet");
        let watched = self.facts.watch.as_ref().ok_or_else(nothing)?;
        let blind = self.now - watched.read_at;
        match blind > BLIND {
            true => Err(says(Standing::Stale, format!("the log was last read to its end {} ago", age(blind)))),
            false => Ok(watched),
        }
    }

    fn conservation(&self, most: TimeDelta) -> Verdict {
        let watched = match self.watched() {
            Ok(watched) => watched,
            Err(verdict) => return verdict,
        };
        let counts = &watched.counts;
        let recent = |at: Option<DateTime<Utc>>| at.is_some_and(|at| self.now - at <= BREACH);
        if recent(watched.unaccounted_at) && watched.unaccounted_at.is_some_and(|at| self.now - at > EARLY) {
            let n = counts.unaccounted;
            return says(Standing::Failing, format!("{n} outcomes are of commands whose acceptance is not on record"));
        }
        if recent(watched.doubled_at) {
            let n = counts.doubled;
            return says(Standing::Failing, format!("{n} outcomes are of commands that had one already"));
        }
        if let Some(since) = watched.oldest_open
            && self.now - since > most
        {
            let (n, old) = (counts.open, age(self.now - since));
            return says(Standing::Failing, format!("{n} commands are without an outcome, the oldest for {old}"));
        }
        says(
            Standing::Met,
            format!(
                "{} accepted = {} succeeded + {} rejected + {} dead-lettered + {} held + {} open",
                counts.accepted, counts.succeeded, counts.rejected, counts.dead_lettered, counts.held, counts.open
            ),
        )
    }

    fn head(&self, most: TimeDelta) -> Verdict {
        let Some(size) = self.facts.head else {
            return says(Standing::Missing, "there is nothing in this log yet");
        };
        match self.facts.waits_since {
            Some(since) if self.now - since > most => {
                says(Standing::Stale, format!("entries wait for their place for {}", age(self.now - since)))
            }
            _ => Verdict {
                evidence: size.checked_sub(1).map(|index| EntryLink { log: self.tenant.to_owned(), index }),
                ..says(Standing::Met, "all that has arrived is under a signed head, or about to be")
            },
        }
    }

    fn retention(&self, least: u32) -> Verdict {
        let days = self.retention_days;
        match days < least {
            true => says(Standing::Failing, format!("entries are kept for {days} days; at least {least} are asked")),
            false => says(Standing::Met, format!("entries are kept for {days} days")),
        }
    }

    fn key_age(&self, most: TimeDelta) -> Verdict {
        let Some(read_at) = self.facts.keys_read_at else {
            return says(Standing::Missing, "the keys were never read");
        };
        if self.now - read_at > TimeDelta::hours(1) {
            return says(Standing::Stale, format!("the keys were last read {} ago", age(self.now - read_at)));
        }
        let powerful = |scope: &String| scope == "*" || scope.ends_with(":*") || scope.ends_with(":operate");
        let good = self.facts.keys.iter().filter(|key| key.expires_at.is_none_or(|at| at > self.now));
        let mighty: Vec<_> = good.filter(|key| key.scopes.iter().any(powerful)).collect();
        let old: Vec<_> = mighty.iter().filter(|key| self.now - key.created_at > most).collect();
        match (old.first(), mighty.len()) {
            (Some(oldest), _) => {
                let (n, id, days) = (old.len(), oldest.id, age(self.now - oldest.created_at));
                says(Standing::Failing, format!("{n} keys that may do much are too old: {id} is {days} old"))
            }
            (None, 0) => says(Standing::Met, "no key may do much"),
            (None, n) => says(Standing::Met, format!("{n} keys may do much, none of them older than {}", age(most))),
        }
    }

    fn policies(&self, most: TimeDelta) -> Verdict {
        let policies = &self.facts.policies;
        if policies.is_empty() {
            return says(Standing::Missing, "no policy is in force");
        }
        if let Some(unread) = policies.iter().find(|policy| policy.acknowledged_at.is_none()) {
            return says(Standing::Missing, format!("nobody has acknowledged the policy {}", unread.policy));
        }
        let old = policies.iter().find(|p| p.acknowledged_at.is_some_and(|at| self.now - at > most));
        match old {
            Some(old) => {
                says(Standing::Stale, format!("the policy {} was acknowledged more than {} ago", old.policy, age(most)))
            }
            None => says(Standing::Met, format!("{} policies are in force and acknowledged", policies.len())),
        }
    }

    fn seen(&self, what: &[String], most: TimeDelta, house: bool) -> Verdict {
        let (seen, log) = match house {
            true => (&self.facts.house_seen, HOUSE),
            false => (&self.facts.seen, self.tenant),
        };
        let last = what.iter().filter_map(|what| Some((what, seen.get(what)?))).max_by_key(|(_, (_, at))| *at);
        let Some((what, (index, at))) = last else {
            let what: Vec<_> = what.iter().map(|what| named(what)).collect();
            return says(Standing::Missing, format!("nobody has told of {}", what.join(" or ")));
        };
        let what = named(what);
        let evidence = Some(EntryLink { log: log.to_owned(), index: *index });
        let old = self.now - *at;
        match old > most {
            true => {
                let detail = format!("{what} was last told of {} ago; at most {} are allowed", age(old), age(most));
                Verdict { evidence, ..says(Standing::Stale, detail) }
            }
            false => Verdict { evidence, ..says(Standing::Met, format!("{what} was told of {} ago", age(old))) },
        }
    }

    fn risks(&self) -> Verdict {
        let risks = &self.facts.risks;
        match (risks.open, risks.untreated, risks.due) {
            (0, ..) => says(Standing::Missing, "the register holds no risk"),
            (_, n @ 1.., _) => says(Standing::Failing, format!("nothing is decided about {n} risks")),
            (_, _, n @ 1..) => says(Standing::Stale, format!("{n} risks are due for another look")),
            (n, ..) => says(Standing::Met, format!("{n} risks are decided about, none due for another look")),
        }
    }

    fn incidents(&self, most: TimeDelta) -> Verdict {
        let incidents = &self.facts.incidents;
        if incidents.told_too_late > 0 {
            let n = incidents.told_too_late;
            return says(Standing::Failing, format!("people were not told of {n} incidents in time"));
        }
        match incidents.uncontained_since {
            Some(since) if self.now - since > most => {
                says(Standing::Failing, format!("an incident is not contained for {}", age(self.now - since)))
            }
            _ => says(Standing::Met, format!("{} incidents are open, none for too long", incidents.open)),
        }
    }

    fn audits(&self, most: TimeDelta) -> Verdict {
        let audits = &self.facts.audits;
        match audits.overdue_findings {
            0 => self.last("audit", "closed", audits.closed_at, most),
            n => says(Standing::Failing, format!("{n} findings are overdue")),
        }
    }

    fn evidence(&self, control: &Control) -> Verdict {
        let found = self.facts.evidence.get(control.control.as_str());
        let Some(found) = found else { return says(Standing::Missing, "no evidence is on file") };
        match (found.until, found.expired_at) {
            (Some(until), _) => Verdict {
                evidence: found.entry.map(|index| EntryLink { log: self.tenant.to_owned(), index }),
                ..says(Standing::Met, format!("evidence is on file that holds until {}", until.format("%Y-%m-%d")))
            },
            (None, Some(at)) => says(Standing::Stale, format!("evidence expired on {}", at.format("%Y-%m-%d"))),
            (None, None) => says(Standing::Missing, "no evidence has taken effect yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::auditor::LogCounts;
    use uuid::Uuid;

    use super::super::book::book;
    use super::super::facts::{EvidenceFact, IncidentFact, Key, PolicyFact, RiskFact};
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        at("2026-07-01T12:00:00Z")
    }

    fn stands(control: &str, facts: &Facts) -> (Standing, String) {
        let judge = Judge { tenant: "acme", now: now(), retention_days: 2555, facts };
        let verdict = judge.control(book(), book().control(&control.parse().unwrap()).unwrap());
        (verdict.standing, verdict.detail)
    }

    fn read(counts: LogCounts) -> Watched {
        let read_at = now();
        let (oldest_open, unaccounted_at, doubled_at) = (None, None, None);
        Watched { read_at, counts, oldest_open, unaccounted_at, doubled_at }
    }

    fn watching(change: impl Fn(&mut Watched)) -> Facts {
        let mut watched = read(LogCounts { accepted: 3, succeeded: 2, open: 1, ..LogCounts::default() });
        change(&mut watched);
        Facts { head: Some(10), watch: Some(watched), ..Facts::default() }
    }

    #[test]
    fn the_law_is_broken_by_what_is_missing_doubled_or_open_for_too_long() {
        let standing = |change: fn(&mut Watched)| stands("audit-log", &watching(change)).0;
        assert_eq!(standing(|_| {}), Standing::Met);
        assert_eq!(standing(|w| w.oldest_open = Some(now() - TimeDelta::hours(23))), Standing::Met);
        assert_eq!(standing(|w| w.oldest_open = Some(now() - TimeDelta::hours(25))), Standing::Failing);
        assert_eq!(standing(|w| w.unaccounted_at = Some(now() - TimeDelta::minutes(1))), Standing::Met);
        assert_eq!(standing(|w| w.unaccounted_at = Some(now() - TimeDelta::minutes(16))), Standing::Failing);
        assert_eq!(standing(|w| w.unaccounted_at = Some(now() - TimeDelta::days(8))), Standing::Met);
        assert_eq!(standing(|w| w.doubled_at = Some(now())), Standing::Failing);
        assert_eq!(standing(|w| w.read_at = now() - TimeDelta::minutes(16)), Standing::Stale);
        assert_eq!(stands("audit-log", &Facts::default()).0, Standing::Missing);
    }

    #[test]
    fn a_head_is_stale_when_what_arrives_waits() {
        let mut facts = watching(|_| {});
        facts.waits_since = Some(now() - TimeDelta::minutes(14));
        assert_eq!(stands("integrity", &facts).0, Standing::Met);
        facts.waits_since = Some(now() - TimeDelta::minutes(16));
        assert_eq!(stands("integrity", &facts).0, Standing::Stale);
    }

    #[test]
    fn a_retention_below_six_years_fails() {
        let facts = watching(|_| {});
        let judge = |retention_days| Judge { tenant: "acme", now: now(), retention_days, facts: &facts };
        let control = book().control(&"record-retention".parse().unwrap()).unwrap();
        assert_eq!(judge(2190).control(book(), control).standing, Standing::Met);
        assert_eq!(judge(2189).control(book(), control).standing, Standing::Failing);
    }

    #[test]
    fn only_old_keys_that_may_do_much_and_are_still_good_count() {
        let stand = |scope: &str, days: i64, expires_at: Option<DateTime<Utc>>| {
            let created_at = now() - TimeDelta::days(days);
            let key = Key { id: Uuid::nil(), scopes: vec![scope.into()], created_at, expires_at };
            let facts = Facts { keys: vec![key], keys_read_at: Some(now()), ..Facts::default() };
            stands("authentication", &facts).0
        };
        assert_eq!(stand("*", 89, None), Standing::Met);
        assert_eq!(stand("*", 91, None), Standing::Failing);
        assert_eq!(stand("mailer:operate", 91, None), Standing::Failing);
        assert_eq!(stand("email:*", 91, None), Standing::Failing);
        assert_eq!(stand("email:send", 1000, None), Standing::Met);
        assert_eq!(stand("*", 91, Some(now())), Standing::Met);
        assert_eq!(stands("authentication", &Facts::default()).0, Standing::Missing);
    }

    #[test]
    fn a_backup_that_nobody_tells_of_any_more_is_stale() {
        let told = |hours| Facts {
            house_seen: [("act:backup.verified".to_owned(), (7, now() - TimeDelta::hours(hours)))].into(),
            ..Facts::default()
        };
        assert_eq!(stands("backup", &told(23)).0, Standing::Met);
        assert_eq!(stands("backup", &told(25)).0, Standing::Stale);
        assert_eq!(stands("backup", &Facts::default()).0, Standing::Missing);
        let own = Facts { seen: told(1).house_seen, ..Facts::default() };
        assert_eq!(stands("backup", &own).0, Standing::Missing, "a tenant can't tell of the house's backups");
    }

    #[test]
    fn policies_count_once_they_are_acknowledged_and_for_a_year() {
        let policy = |acknowledged_at| Facts {
            policies: vec![PolicyFact { policy: "access".into(), acknowledged_at }],
            ..Facts::default()
        };
        assert_eq!(stands("policies", &policy(None)).0, Standing::Missing);
        assert_eq!(stands("policies", &policy(Some(now()))).0, Standing::Met);
        assert_eq!(stands("policies", &policy(Some(now() - TimeDelta::days(366)))).0, Standing::Stale);
    }

    #[test]
    fn evidence_holds_from_its_day_until_it_expires() {
        let filed = |until, expired_at| Facts {
            evidence: [("training".to_owned(), EvidenceFact { until, expired_at, entry: None })].into(),
            ..Facts::default()
        };
        assert_eq!(stands("training", &filed(Some(now()), None)).0, Standing::Met);
        assert_eq!(stands("training", &filed(None, Some(now()))).0, Standing::Stale);
        assert_eq!(stands("training", &filed(None, None)).0, Standing::Missing);
    }

    #[test]
    fn risks_and_incidents_are_judged_by_what_is_left_undone() {
        let risks = |open, untreated, due| Facts { risks: RiskFact { open, untreated, due }, ..Facts::default() };
        assert_eq!(stands("risk-management", &risks(0, 0, 0)).0, Standing::Missing);
        assert_eq!(stands("risk-management", &risks(2, 1, 1)).0, Standing::Failing);
        assert_eq!(stands("risk-management", &risks(2, 0, 1)).0, Standing::Stale);
        assert_eq!(stands("risk-management", &risks(2, 0, 0)).0, Standing::Met);
        let incidents = |hours, told_too_late| {
            let uncontained_since = Some(now() - TimeDelta::hours(hours));
            let incidents = IncidentFact { open: 1, uncontained_since, told_too_late };
            stands("incident-response", &Facts { incidents, ..Facts::default() }).0
        };
        assert_eq!(incidents(71, 0), Standing::Met);
        assert_eq!(incidents(73, 0), Standing::Failing);
        assert_eq!(incidents(1, 1), Standing::Failing);
    }
}
