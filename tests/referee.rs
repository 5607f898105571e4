//! The referee: from what was sent and what there is to see afterwards, was the promise kept?
//!
//! Every accepted command has exactly one outcome; rows stand once; every event id stands once for whoever keeps an
//! inbox; the provider was called once where it can be asked, and what nobody can tell was held or sent again as the
//! command wished; nothing is left open, unpublished or unaccounted for.

mod evidence;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use omnibus_schemas::platform::Outcome;
use uuid::Uuid;

pub use evidence::{Attempt, Evidence, Message, Row};

use crate::shop::{Charge, Put};

/// Attempts that the shop's policies allow.
const ATTEMPTS: u64 = 3;

/// A command that was sent and that the bus has accepted.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub tenant: String,
    /// What.
    pub order: Order,
}

/// What was ordered.
#[derive(Debug, Clone)]
pub enum Order {
    /// A state change.
    Put(Put),
    /// A call that leaves the database.
    Charge(Charge),
    /// What no handler can do anything with.
    Poison(Poison),
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// The body is none of the command's.
    Undecodable,
    /// Nobody has heard of the command.
    Unknown,
    /// A field breaks its rule.
    Invalid,
}

/// What the referee counted where nothing was wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Commands, by how they ended; follow-ups included.
    pub ended: BTreeMap<&'static str, usize>,
    /// Messages that stand on a stream once more under an id that stands there already. Readers drop them by id.
    pub repeated: usize,
    /// Calls to the provider.
    pub calls: u64,
}

/// A command's key: tenant and id.
type Key = (String, Uuid);

impl Order {
    /// Is it made to get in the way of another one's transaction?
    pub fn collides(&self) -> bool {
        matches!(self, Order::Put(put) if put.how.starts_with("locks:"))
    }

    /// How it may end, if processes died `kills` times meanwhile.
    fn may_end(&self, kills: u64) -> Vec<Outcome> {
        use Outcome::{DeadLettered, Held, Rejected, Succeeded};
        let charge = match self {
            Order::Put(put) => {
                return match put.how.as_str() {
                    "reject" => vec![Rejected],
                    "fail" | "panic" | "hang" | "database" => vec![DeadLettered],
                    // Whoever holds the lock may stand still, and a wait that outlasts a try is a spent attempt.
                    _ if self.collides() && kills >= ATTEMPTS => vec![Succeeded, DeadLettered],
                    _ => vec![Succeeded],
                };
            }
            Order::Poison(Poison::Invalid) => return vec![Rejected],
            Order::Poison(_) => return vec![DeadLettered],
            Order::Charge(charge) => charge,
        };
        let mut may = match (charge.how.as_str(), charge.tells(), charge.resend) {
            ("unknown", false, false) => vec![Held],
            ("unknown", false, true) => vec![DeadLettered],
            ("refused", ..) => vec![Rejected],
            _ => vec![Succeeded],
        };
        if kills > 0 && !charge.tells() && !charge.resend && charge.how != "skip" {
            may.push(Held);
        }
        // A call that was cut short is a spent attempt.
        if kills >= ATTEMPTS && (charge.tells() || charge.resend) {
            may.push(DeadLettered);
        }
        may
    }

    /// How often the provider may have been called, at least and at most.
    fn calls(&self, outcome: Outcome, kills: u64) -> (u64, u64) {
        let Order::Charge(charge) = self else { return (0, 0) };
        match (charge.how.as_str(), outcome) {
            ("skip" | "refused", _) => (0, 0),
            // Each was cut short before it, or else it would be known or sent again.
            (_, Outcome::DeadLettered) if charge.tells() => (0, 0),
            (_, Outcome::DeadLettered) => (0, ATTEMPTS),
            (_, Outcome::Held) => (u64::from(kills == 0), 1),
            (_, Outcome::Succeeded) if charge.resend && !charge.tells() => (1, 1 + kills),
            _ => (1, 1),
        }
    }
}

impl Charge {
    /// Can the provider be asked whether it was called?
    fn tells(&self) -> bool {
        self.reconcile == "ask"
    }
}

/// Judges a run in which processes were killed `kills` times.
///
/// # Errors
/// Everything that is not as promised, a line each.
pub fn judge(sent: &[Sent], kills: u64, evidence: &Evidence) -> Result<Verdict, Vec<String>> {
    let mut court = Court { faults: vec![], kills, evidence, verdict: Verdict::default() };
    let orders: BTreeMap<Key, &Order> = sent.iter().map(|s| ((s.tenant.clone(), s.id), &s.order)).collect();
    court.expect(!sent.is_empty(), || "nothing was sent, so nothing is shown".into());
    court.expect(orders.len() == sent.len(), || "two commands were sent under one id".into());
    let accepted = court.accepted();
    for key in orders.keys() {
        court.expect(accepted.contains_key(key), || format!("{key:?} was accepted and is gone"));
    }
    let said = court.once(&evidence.events, "EVT");
    let dead = court.once(&evidence.dead, "DLQ");
    court.in_order(&said);
    court.rows(&accepted);
    for (key, parent) in &accepted {
        match (orders.get(key), orders.get(&(key.0.clone(), *parent))) {
            (Some(order), _) => court.command(key, order, &said, &dead),
            (None, Some(Order::Put(put))) if put.how == "then" => {
                court.command(key, &Order::Put(Put { how: String::new(), ..put.clone() }), &said, &dead);
            }
            _ => court.faults.push(format!("nobody sent {key:?}")),
        }
    }
    for (key, order) in &orders {
        if matches!(order, Order::Put(put) if put.how == "then") {
            let followed = accepted.iter().filter(|(child, parent)| child.0 == key.0 && **parent == key.1).count();
            court.expect(followed == 1, || format!("{key:?} has {followed} follow-ups, not 1"));
        }
    }
    let known: BTreeSet<String> = accepted.keys().map(|key| key.1.to_string()).collect();
    for message in evidence.events.iter().chain(&evidence.dead) {
        court.expect(known.contains(&message.causation), || format!("{} has no cause", message.subject));
    }
    court.conserved(accepted.len());
    match court.faults.is_empty() {
        true => Ok(court.verdict),
        false => Err(court.faults),
    }
}

struct Court<'a> {
    faults: Vec<String>,
    kills: u64,
    evidence: &'a Evidence,
    verdict: Verdict,
}

impl<'a> Court<'a> {
    fn expect(&mut self, so: bool, otherwise: impl FnOnce() -> String) {
        if !so {
            self.faults.push(otherwise());
        }
    }

    /// Every accepted command once, with the id of its cause (nil if it has none).
    fn accepted(&mut self) -> BTreeMap<Key, Uuid> {
        let once = self.once(&self.evidence.accepted, "CMD_SHOP");
        let mut accepted = BTreeMap::new();
        for message in once {
            match message.id.parse() {
                Ok(id) => {
                    accepted.insert((message.tenant.clone(), id), message.causation.parse().unwrap_or_default());
                }
                Err(_) => self.faults.push(format!("{} has the id '{}'", message.subject, message.id)),
            }
        }
        accepted
    }

    /// What a reader with an inbox sees. An id that comes again must come with the same content.
    fn once(&mut self, messages: &'a [Message], stream: &str) -> Vec<&'a Message> {
        let mut seen: BTreeMap<(&str, &str), &Message> = BTreeMap::new();
        let mut list = Vec::new();
        for message in messages {
            match seen.insert((&message.tenant, &message.id), message) {
                None => list.push(message),
                Some(first) => {
                    self.verdict.repeated += 1;
                    let id = &message.id;
                    self.expect(first == message, || format!("{stream} has two different messages under {id}"));
                }
            }
        }
        list
    }

    /// One command's events stand in the order in which it caused them, for who reads each once.
    fn in_order(&mut self, said: &[&Message]) {
        let mut last: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for message in said {
            let Some(n) = message.id.rsplit_once('/').and_then(|(_, n)| n.parse().ok()) else { continue };
            let before = last.insert((&message.tenant, &message.causation), n);
            self.expect(before.is_none_or(|before| before < n), || format!("{} comes after its successor", message.id));
        }
    }

    fn rows(&mut self, accepted: &BTreeMap<Key, Uuid>) {
        for row in &self.evidence.rows {
            let key = (row.tenant.clone(), row.id);
            self.expect(accepted.contains_key(&key), || format!("{key:?} has a row and was never accepted"));
            self.expect(row.published, || format!("{key:?} ended and stands unpublished"));
        }
        for attempt in &self.evidence.attempts {
            self.expect(attempt.result.is_some(), || format!("{attempt:?} is open"));
        }
        let strangers = self.evidence.calls.keys().filter(|id| !accepted.keys().any(|key| key.1 == **id)).count();
        self.expect(strangers == 0, || format!("{strangers} calls that nobody ordered"));
    }

    fn command(&mut self, key: &Key, order: &Order, said: &[&Message], dead: &[&Message]) {
        let evidence = self.evidence;
        let rows: Vec<_> = evidence.rows.iter().filter(|row| (&row.tenant, &row.id) == (&key.0, &key.1)).collect();
        let [Row { outcome: Some(outcome), .. }] = rows.as_slice() else {
            return self.faults.push(format!("{key:?} ({order:?}) has no one outcome, but {rows:?}"));
        };
        let outcome = *outcome;
        *self.verdict.ended.entry(outcome.as_str()).or_default() += 1;
        let may = order.may_end(self.kills);
        self.expect(may.contains(&outcome), || format!("{key:?} ({order:?}) ended {outcome:?}, may end {may:?}"));

        let causes = |message: &&&Message| message.tenant == key.0 && message.causation == key.1.to_string();
        let told: Vec<_> = said.iter().filter(causes).filter_map(|message| message.outcome).collect();
        // One that was held may end otherwise when the truth comes late; what was told last is what the row says.
        let well = match outcome {
            Outcome::Held => told == [Outcome::Held],
            ended => told == [ended] || told == [Outcome::Held, ended],
        };
        self.expect(well, || format!("{key:?} ({order:?}) ended {outcome:?} and was told to have {told:?}"));
        let letters = dead.iter().filter(causes).count();
        let due = usize::from(outcome == Outcome::DeadLettered);
        self.expect(letters == due, || format!("{key:?} ended {outcome:?} with {letters} dead letters"));

        let things = evidence.things.iter().filter(|row| *row == key).count();
        let due = usize::from(matches!(order, Order::Put(_)) && outcome == Outcome::Succeeded);
        self.expect(things == due, || format!("{key:?} ({order:?}) ended {outcome:?} with {things} rows of things"));
        if let Order::Charge(charge) = order {
            self.charge(key, charge, outcome);
        }
        let calls = evidence.calls.get(&key.1).copied().unwrap_or_default();
        self.verdict.calls += calls;
        let (least, most) = order.calls(outcome, self.kills);
        self.expect((least..=most).contains(&calls), || {
            format!("{key:?} ({order:?}) ended {outcome:?} with {calls} calls, not {least} to {most}")
        });
    }

    fn charge(&mut self, key: &Key, charge: &Charge, outcome: Outcome) {
        let status: Vec<_> = self.evidence.charges.iter().filter(|row| (&row.0, &row.1) == (&key.0, &key.1)).collect();
        let status: Vec<_> = status.into_iter().map(|row| row.2.as_str()).collect();
        let due = match outcome {
            _ if charge.how == "skip" => vec![],
            Outcome::Succeeded => vec!["charged"],
            Outcome::Rejected => vec!["refused"],
            Outcome::DeadLettered => vec!["gave_up"],
            Outcome::Held => vec!["uncertain"],
        };
        self.expect(status == due, || format!("{key:?} ({charge:?}) ended {outcome:?} with the status {status:?}"));
        let mine = self.evidence.attempts.iter().filter(|attempt| (&attempt.tenant, &attempt.id) == (&key.0, &key.1));
        let held = mine.filter(|attempt| attempt.result.as_deref() == Some("held")).count();
        let due = usize::from(outcome == Outcome::Held);
        self.expect(held == due, || format!("{key:?} ended {outcome:?} with {held} held attempts"));
    }

    /// accepted = succeeded + rejected + dead-lettered + held + pending
    fn conserved(&mut self, accepted: usize) {
        let ended: usize = self.verdict.ended.values().sum();
        let pending = self.evidence.pending;
        self.expect(pending == 0, || format!("{pending} messages are pending"));
        self.expect(accepted == ended, || format!("{accepted} were accepted and {ended} have ended"));
    }
}
