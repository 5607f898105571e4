//! Refusing what would wait too long.
//!
//! How long a lane's next command would wait follows from how many wait before it and how many its workers take a
//! second: the bus tells both of the lane's consumer. Commands that were delivered and are not acknowledged are no part
//! of it: those that were put off stand among them, and wait on purpose.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use futures_util::future::join_all;
use omnibus_runtime::Bus;
use omnibus_runtime::bus::Refusal;
use omnibus_schemas::{Catalogue, CommandEntry, subject};
use tokio::sync::Notify;

use crate::problem::Problem;

/// Between two looks at a lane.
const EVERY: Duration = Duration::from_millis(100);
/// For how long a lane is looked at after the last command for it.
const LATELY: Duration = Duration::from_secs(10);
/// How long the bus may take to tell how a lane stands.
const ANSWER: Duration = Duration::from_secs(1);
/// Before the next look, when one was in vain.
const AGAIN: Duration = Duration::from_secs(1);
/// The same where it was not allowed: the log has a line of the connection's for each.
const FORBIDDEN: Duration = Duration::from_secs(60);
/// A lane of which nothing was taken for so long has no worker.
const UNATTENDED: Duration = Duration::from_secs(5);
/// In so many seconds what was seen of a lane's speed fades to a third.
const FADES: f64 = 1.0;

/// The lanes that are shed: none if that is off, and never those for what is done in bulk.
pub(crate) struct Shedding {
    after: Duration,
    lanes: HashMap<(&'static str, &'static str), Lane>,
}

impl Shedding {
    /// `after_ms` 0 is never.
    pub(crate) fn new(catalogue: &Catalogue, after_ms: u32) -> Self {
        let is_shed = |command: &&CommandEntry| command.http.is_some() && command.lane != subject::BULK && after_ms > 0;
        let lanes = catalogue.commands().filter(is_shed);
        let lanes = lanes.map(|command| ((command.domain, command.lane), Lane::of(command)));
        Shedding { after: Duration::from_millis(after_ms.into()), lanes: lanes.collect() }
    }

    /// Lets a command pass, unless it would wait too long.
    pub(crate) fn pass(&self, command: &CommandEntry) -> Result<(), Problem> {
        let Some(lane) = self.lanes.get(&(command.domain, command.lane)) else { return Ok(()) };
        match lane.wait() {
            Some(wait) if wait > self.after => Err(refusal(command, wait)),
            _ => Ok(()),
        }
    }

    /// Looks at the lanes that commands come for.
    pub(crate) async fn watch(&self, bus: &Bus) {
        join_all(self.lanes.values().map(|lane| lane.follow(bus))).await;
    }
}

fn refusal(command: &CommandEntry, wait: Duration) -> Problem {
    // Whole seconds are what the header can say; less than one is told as one.
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    Problem::overloaded(format!(
        "Commands of {} in its lane {} wait {:.1} s for their turn. This one was not accepted; send it again in {seconds} s.",
        command.domain,
        command.lane,
        wait.as_secs_f64()
    ))
    .after(seconds)
}

/// A lane, as this door knows it.
struct Lane {
    stream: String,
    consumer: String,
    seen: Mutex<Seen>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the last command for the lane came, accepted or not.
    asked: Option<Instant>,
    pressure: Pressure,
}

/// Why it is not known how a lane stands.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error(transparent)]
    Forbidden(#[from] Refusal),
    #[error("{0}")]
    Away(String),
}

impl Lane {
    fn of(command: &CommandEntry) -> Self {
        Lane {
            stream: subject::command_stream(command.domain),
            consumer: subject::lane_consumer(command.domain, command.lane),
            seen: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// How long its next command would wait, if that is known. From now on it is looked at.
    fn wait(&self) -> Option<Duration> {
        let wait = self.with(|seen| {
            seen.asked = Some(Instant::now());
            seen.pressure.wait()
        });
        self.wanted.notify_one();
        wait
    }

    fn with<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut self.seen.lock().expect("no panic happens under this lock"))
    }

    /// Looks for as long as commands come, and waits for the next when none do.
    async fn follow(&self, bus: &Bus) {
        let mut told = false;
        loop {
            while !self.with(|seen| seen.asked.is_some_and(|asked| asked.elapsed() < LATELY)) {
                self.with(|seen| seen.pressure = Pressure::default());
                self.wanted.notified().await;
            }
            let pause = match self.look(bus).await {
                Ok(()) => {
                    told = false;
                    EVERY
                }
                Err(why) => {
                    // Then everything is accepted, as without the setting.
                    self.with(|seen| seen.pressure = Pressure::default());
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(consumer = self.consumer, %why, "how long commands wait is not known");
                    }
                    match why {
                        Unknown::Forbidden(_) => FORBIDDEN,
                        Unknown::Away(_) => AGAIN,
                    }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&self, bus: &Bus) -> Result<(), Unknown> {
        // The client would keep the question until the server is back.
        if !*bus.connected().borrow() {
            return Err(Unknown::Away("no connection".to_owned()));
        }
        let call = format!("$JS.API.CONSUMER.INFO.{}.{}", self.stream, self.consumer);
        let asking = bus.jetstream().get_consumer_from_stream(self.consumer.as_str(), self.stream.as_str());
        let asked = tokio::time::timeout(ANSWER, bus.guard(&call, asking)).await;
        let asked = asked.map_err(|_| Unknown::Away("no answer".to_owned()))?;
        let consumer: PullConsumer = asked?.map_err(|error| Unknown::Away(error.to_string()))?;
        let info = consumer.cached_info();
        let (pending, delivered) = (info.num_pending, info.delivered.consumer_sequence);
        self.with(|seen| seen.pressure.look(Instant::now(), pending, delivered));
        Ok(())
    }
}

/// How long what waits will wait, from looks at a consumer.
#[derive(Debug, Default)]
struct Pressure {
    last: Option<Look>,
    /// When the lane was last seen to have moved.
    moved: Option<Instant>,
    /// What was taken while something waited, and the seconds that this took. Both fade.
    taken: f64,
    seconds: f64,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    pending: u64,
    delivered: u64,
}

impl Pressure {
    /// `pending` is how many wait, `delivered` how many were ever taken.
    fn look(&mut self, at: Instant, pending: u64, delivered: u64) {
        let Some(last) = self.last.replace(Look { at, pending, delivered }) else { return };
        let Some(taken) = delivered.checked_sub(last.delivered) else {
            // Another consumer of the same name counts from nought.
            *self = Pressure { last: self.last, ..Pressure::default() };
            return;
        };
        if taken > 0 {
            self.moved = Some(at);
        }
        if pending == 0 || !self.is_attended(at) {
            // Workers that keep up show how much comes, not how much they could take; and whoever takes up a lane that
            // lay is measured anew.
            (self.taken, self.seconds) = (0.0, 0.0);
        } else if last.pending > 0 {
            let passed = at.saturating_duration_since(last.at).as_secs_f64();
            let left = (-passed / FADES).exp();
            self.taken = self.taken * left + taken as f64;
            self.seconds = self.seconds * left + passed;
        }
    }

    /// `None` where it is not known, nothing waits, or nobody attends.
    fn wait(&self) -> Option<Duration> {
        let last = self.last.filter(|last| self.is_attended(last.at) && self.taken > 0.0)?;
        let seconds = last.pending as f64 * self.seconds / self.taken;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    fn is_attended(&self, at: Instant) -> bool {
        self.moved.is_some_and(|moved| at.saturating_duration_since(moved) < UNATTENDED)
    }
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::Command;
    use omnibus_schemas::greeter::Greet;

    use super::*;

    /// A lane that is looked at every so often.
    struct Watched {
        pressure: Pressure,
        at: Instant,
        delivered: u64,
    }

    impl Watched {
        fn new() -> Self {
            Watched { pressure: Pressure::default(), at: Instant::now(), delivered: 7_000 }
        }

        /// So many looks, at each of which `pending` wait and `taken` more were taken. How long the next would wait, in
        /// seconds.
        fn looks(&mut self, count: u32, pending: u64, taken: u64) -> Option<f64> {
            for _ in 0..count {
                self.at += EVERY;
                self.delivered += taken;
                self.pressure.look(self.at, pending, self.delivered);
            }
            self.pressure.wait().map(|wait| wait.as_secs_f64())
        }
    }

    fn about(seconds: Option<f64>, wanted: f64) {
        let seconds = seconds.expect("it is known");
        assert!((seconds - wanted).abs() < wanted * 0.05, "{seconds} s instead of {wanted}");
    }

    #[test]
    fn a_command_waits_for_those_before_it_at_the_speed_at_which_they_are_taken() {
        let mut lane = Watched::new();
        assert_eq!(lane.looks(1, 200, 0), None, "one look says nothing");
        about(lane.looks(1, 200, 10), 2.0);
        about(lane.looks(20, 200, 10), 2.0);
        about(lane.looks(1, 50, 10), 0.5);
        assert_eq!(lane.looks(1, 0, 10), None, "nothing waits");
    }

    #[test]
    fn a_lane_that_slows_down_is_noticed_within_about_a_second() {
        let mut lane = Watched::new();
        about(lane.looks(30, 100, 10), 1.0);
        let soon = lane.looks(2, 100, 1).unwrap();
        assert!((1.0..3.0).contains(&soon), "{soon}");
        let later = lane.looks(10, 100, 1).unwrap();
        assert!(later > 2.0, "{later}");
        about(lane.looks(60, 100, 1), 10.0);
    }

    #[test]
    fn time_in_which_nothing_waited_says_nothing_of_the_speed() {
        let mut lane = Watched::new();
        lane.looks(30, 0, 1);
        assert_eq!(lane.looks(1, 100, 1), None, "they may have come just now");
        about(lane.looks(1, 100, 10), 1.0);
    }

    #[test]
    fn a_lane_that_nobody_attends_is_not_overloaded_and_whoever_comes_is_measured_anew() {
        let mut lane = Watched::new();
        assert_eq!(lane.looks(50, 100, 0), None);
        about(lane.looks(20, 100, 10), 1.0);
        assert!(lane.looks(49, 100, 0).is_some(), "a pause is no absence");
        assert_eq!(lane.looks(1, 100, 0), None);
        about(lane.looks(1, 100, 50), 0.2);
    }

    #[test]
    fn a_consumer_that_was_made_anew_is_another() {
        let mut lane = Watched::new();
        about(lane.looks(20, 100, 10), 1.0);
        lane.delivered = 0;
        assert_eq!(lane.looks(1, 100, 0), None);
        about(lane.looks(1, 100, 10), 1.0);
    }

    #[test]
    fn only_lanes_that_people_wait_for_are_shed_and_none_without_the_setting() {
        let catalogue = Catalogue::omnibus();
        assert!(Shedding::new(&catalogue, 0).lanes.is_empty());
        let shedding = Shedding::new(&catalogue, 250);
        for command in catalogue.commands().filter(|command| command.http.is_some()) {
            let is_shed = shedding.lanes.contains_key(&(command.domain, command.lane));
            assert_eq!(is_shed, command.lane != "bulk", "{}", command.name);
        }
    }

    #[test]
    fn what_would_wait_longer_than_allowed_is_refused_with_the_time_to_come_again() {
        let catalogue = Catalogue::omnibus();
        let greet = catalogue.command(Greet::DOMAIN, Greet::NAME).unwrap();
        let shedding = Shedding::new(&catalogue, 1000);
        assert!(shedding.pass(greet).is_ok(), "nothing is known yet");
        let lane = &shedding.lanes[&(greet.domain, greet.lane)];
        let mut watched = Watched::new();
        about(watched.looks(2, 150, 10), 1.5);
        lane.with(|seen| seen.pressure = watched.pressure);
        let problem = shedding.pass(greet).unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (503, "overloaded"));
        assert!(problem.to_string().contains("again in 2 s"), "{problem}");

        let mut watched = Watched::new();
        about(watched.looks(2, 90, 10), 0.9);
        lane.with(|seen| seen.pressure = watched.pressure);
        assert!(shedding.pass(greet).is_ok());
    }
}
