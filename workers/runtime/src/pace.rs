//! Which way of publishing several events is the quicker: as one atomic batch, or one by one in a pipeline.
//!
//! It depends on the server, which does not tell: where it syncs before each acknowledgement, a batch syncs once; where it
//! syncs now and then, staging a batch costs more than it saves. So both are tried, the quicker is used, and the other is
//! tried again now and then, ever more rarely while it loses.
//!
//! What is compared is the time that the server spends on each: of several that are under way at once, each takes its share.
//! A trial has the line to itself: an atomic batch that is tried while others' events go one by one waits behind all of them,
//! and would look as slow as they are.
//!
//! What a batch costs hardly depends on how much is in it; where the server syncs, what single events cost does. So where a
//! batch pays by far, it is taken for granted that a larger one does too, and of many events of which nothing is known a few
//! go first, both ways.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// One class for each doubling of the number of events.
const CLASSES: usize = 11;
/// After the slower way has been tried, the quicker is used at least this many times as long as the trial took.
const WORTH: f64 = 32.0;
const RAREST_TRIAL: u32 = 4096;
/// What is found out is found out with so many events.
const FEW: usize = 16;
/// More than so many are not all ventured while nothing is known.
const MANY: usize = 4 * FEW;
/// What pays by far is so many times as quick.
const BY_FAR: f64 = 2.0;
/// A trial that does not get the line to itself within this time, and [`EACH`] for every event that is under way, is left
/// for another day.
const PATIENCE: Duration = Duration::from_millis(200);
/// A server that syncs each event takes a third of it.
const EACH: Duration = Duration::from_millis(1);
/// How much of what was known outlives a new measurement.
const MEMORY: f64 = 0.7;

#[derive(Debug, Default)]
pub(crate) struct Pace {
    classes: Mutex<[Class; CLASSES]>,
    /// Events that go one by one just now.
    under_way: AtomicUsize,
    /// Held by all who publish, by one alone for a trial.
    line: RwLock<()>,
}

/// How several events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// As one atomic batch?
    pub(crate) atomic: bool,
    /// To see how long it takes?
    pub(crate) trial: bool,
    /// As one atomic batch, if it is no trial?
    usual: bool,
    /// Is nothing known yet to choose by?
    blind: bool,
    /// A trial that was left for another day; then how long it takes says nothing.
    pub(crate) put_off: bool,
}

impl Way {
    /// One by one, because nothing is to be chosen.
    pub(crate) const SINGLY: Way = Way { atomic: false, trial: false, usual: false, blind: false, put_off: false };
}

/// Leave to publish, until it is dropped.
#[derive(Debug)]
pub(crate) enum Leave<'p> {
    /// Beside others.
    Beside(#[expect(dead_code, reason = "held")] RwLockReadGuard<'p, ()>),
    /// With nobody else under way.
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'p, ()>),
}

/// Events that go one by one, until it is dropped.
#[derive(Debug)]
pub(crate) struct Singly<'p> {
    pace: &'p Pace,
    events: usize,
    /// With those of others, when it began.
    among: usize,
    began: Instant,
}

impl Singly<'_> {
    /// Its share of the time since it began.
    pub(crate) fn share(&self) -> Duration {
        let among = self.among.max(self.pace.under_way.load(Ordering::Relaxed));
        self.began.elapsed().mul_f64(self.events as f64 / among as f64)
    }
}

impl Drop for Singly<'_> {
    fn drop(&mut self) {
        self.pace.under_way.fetch_sub(self.events, Ordering::Relaxed);
    }
}

/// What is known of batches of about one size.
#[derive(Debug, Clone, Copy, Default)]
struct Class {
    /// The first is made with everything cold, and says nothing.
    warm: bool,
    /// Seconds: one by one, atomic.
    took: [Option<f64>; 2],
    /// Until the slower is tried again.
    left: u32,
    /// How long was waited for that the last time.
    every: u32,
    /// What the quicker took when the two were last compared.
    compared: f64,
    /// A trial of the slower is under way.
    trying: bool,
}

/// How many batches go the quicker way for one that tries the slower.
fn worth(slow: f64, quick: f64) -> u32 {
    (WORTH * slow / quick.max(1e-6)).min(f64::from(RAREST_TRIAL)) as u32
}

impl Class {
    fn quicker(&self) -> Option<bool> {
        match self.took {
            [Some(single), Some(atomic)] => Some(atomic < single),
            _ => None,
        }
    }

    /// What batches of this size make one expect of one that is `times` as large and was not seen yet.
    fn expected(&self, times: f64) -> Option<Class> {
        let [Some(single), Some(atomic)] = self.took else { return None };
        (single > BY_FAR * atomic).then_some(Class {
            warm: true,
            took: [Some(single * times), Some(atomic * times)],
            left: worth(single, atomic),
            every: worth(single, atomic),
            compared: self.compared * times,
            trying: false,
        })
    }
}

impl Pace {
    /// How many of so many events are to go first.
    pub(crate) fn first(&self, events: usize) -> usize {
        let classes = self.classes.lock().expect("no panic happens under this lock");
        let known = classes[class_of(events)].warm || classes[class_of(FEW)].quicker().is_some();
        if known || events <= MANY { events } else { FEW }
    }

    /// How so many events are to go this time.
    pub(crate) fn way(&self, events: usize) -> Way {
        let mut classes = self.classes.lock().expect("no panic happens under this lock");
        let at = class_of(events);
        if !classes[at].warm {
            let nearest = (0..at).rev().find(|smaller| classes[*smaller].quicker().is_some());
            let expected = nearest.and_then(|smaller| classes[smaller].expected(f64::from(1_u32 << (at - smaller))));
            if let Some(expected) = expected {
                classes[at] = expected;
            }
        }
        let class = &mut classes[at];
        match class.quicker() {
            None => Way { atomic: class.took[0].is_some(), trial: true, blind: true, ..Way::SINGLY },
            Some(quicker) => {
                class.left = class.left.saturating_sub(1);
                let trial = class.left == 0;
                if trial {
                    // Whoever asks meanwhile need not try it too.
                    class.left = class.every.max(1);
                    class.trying = true;
                }
                Way { atomic: quicker != trial, trial, usual: quicker, ..Way::SINGLY }
            }
        }
    }

    /// Waits for leave to publish so many in that way. If somebody is long under way, it is no trial any more: others would
    /// have to wait behind it. And what several came to find out at once, the first of them finds out for all.
    pub(crate) async fn leave(&self, events: usize, way: &mut Way) -> Leave<'_> {
        if way.trial {
            let patience = PATIENCE + EACH * u32::try_from(self.under_way.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
            match tokio::time::timeout(patience, self.line.write()).await {
                Ok(alone) => {
                    if way.blind {
                        *way = self.way(events);
                    }
                    return match way.trial {
                        true => Leave::Alone(alone),
                        false => Leave::Beside(alone.downgrade()),
                    };
                }
                Err(_) => *way = Way { atomic: way.usual, trial: false, put_off: true, ..*way },
            }
        }
        Leave::Beside(self.line.read().await)
    }

    /// So many begin to go one by one.
    pub(crate) fn singly(&self, events: usize) -> Singly<'_> {
        let among = self.under_way.fetch_add(events, Ordering::Relaxed) + events;
        Singly { pace: self, events, among, began: Instant::now() }
    }

    /// What it came to: how long so many took.
    pub(crate) fn took(&self, events: usize, atomic: bool, took: Duration) {
        let mut classes = self.classes.lock().expect("no panic happens under this lock");
        // Where fewer have gone before, it is not cold any more.
        let warm = classes[..class_of(events)].iter().any(|fewer| fewer.warm);
        let class = &mut classes[class_of(events)];
        if !std::mem::replace(&mut class.warm, true) && !warm {
            return;
        }
        let before = class.quicker();
        let seconds = took.as_secs_f64();
        let known = &mut class.took[usize::from(atomic)];
        *known = match known {
            Some(known) if before == Some(atomic) => Some(*known * MEMORY + seconds * (1.0 - MEMORY)),
            // What is seldom measured is long out of date.
            _ => Some(seconds),
        };
        let [Some(single), Some(batch)] = class.took else { return };
        let (quick, slow) = (single.min(batch), single.max(batch));
        if before != Some(atomic) || class.quicker() != before {
            // They have just been compared. The more the slower costs, and the longer it has lost, the rarer it is tried.
            let longer = if class.quicker() == before { class.every * 2 } else { 0 };
            class.every = worth(slow, quick).max(longer).min(RAREST_TRIAL);
            (class.left, class.compared, class.trying) = (class.every, quick, false);
        } else if quick > 2.0 * class.compared && !class.trying {
            // The server has become another.
            class.left = 1;
        }
    }
}

fn class_of(events: usize) -> usize {
    (events.max(1).ilog2() as usize).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the next `n` batches go out atomically, if the two ways take so long.
    fn run(pace: &Pace, n: u32, single: u64, atomic: u64) -> u32 {
        let mut count = 0;
        for _ in 0..n {
            let chosen = pace.way(256).atomic;
            count += u32::from(chosen);
            pace.took(256, chosen, Duration::from_micros(if chosen { atomic } else { single }));
        }
        count
    }

    #[test]
    fn the_quicker_way_is_found_and_the_other_is_tried_ever_more_rarely() {
        let pace = Pace::default();
        assert!(run(&pace, 1000, 4_000, 40_000) <= 3);
        assert!(run(&pace, 10_000, 4_000, 40_000) <= 5);
        assert_eq!(run(&Pace::default(), 1000, 27_000, 8_000), 1000 - 2 - 3);
    }

    #[test]
    fn a_server_that_becomes_another_is_noticed() {
        let pace = Pace::default();
        run(&pace, 100, 4_000, 40_000);
        assert!(run(&pace, 2000, 27_000, 8_000) > 1500);
    }

    #[test]
    fn a_cold_start_is_not_taken_for_slowness() {
        let pace = Pace::default();
        pace.took(256, pace.way(256).atomic, Duration::from_millis(400));
        assert_eq!(run(&pace, 100, 4_000, 40_000), 1);
    }

    #[test]
    fn what_pays_by_far_is_taken_for_granted_for_larger_batches_until_the_other_way_is_tried() {
        let choices = |pace: &Pace| -> Vec<bool> {
            let choose = |_| {
                let chosen = pace.way(1000).atomic;
                pace.took(1000, chosen, Duration::from_millis(if chosen { 25 } else { 100 }));
                chosen
            };
            (0..150).map(choose).collect()
        };
        let durable = Pace::default();
        run(&durable, 100, 27_000, 8_000);
        let singly: Vec<_> =
            choices(&durable).iter().enumerate().filter(|(_, atomic)| !**atomic).map(|(n, _)| n).collect();
        assert_eq!(singly, [107], "after as many as a trial that takes 27/8 times as long is worth");
        let lazy = Pace::default();
        run(&lazy, 100, 4_000, 40_000);
        assert_eq!(choices(&lazy)[..3], [false, true, true], "both are tried");
        assert!(!durable.way(2).atomic, "of smaller ones nothing is said");
    }

    #[test]
    fn many_events_of_which_nothing_is_known_wait_until_a_few_have_gone_both_ways() {
        let pace = Pace::default();
        let (mut left, mut went) = (1000, vec![]);
        while left > 0 {
            let now = pace.first(left);
            let atomic = pace.way(now).atomic;
            pace.took(now, atomic, Duration::from_millis(if atomic { 5 } else { 3 * now as u64 }));
            went.push((now, atomic));
            left -= now;
        }
        assert_eq!(went, [(16, false), (16, false), (16, true), (952, true)]);
        assert_eq!((pace.first(300), Pace::default().first(64)), (300, 64));
    }

    #[tokio::test]
    async fn what_is_tried_goes_alone_and_all_else_together() {
        let pace = Pace::default();
        assert!(pace.way(256).trial, "nothing is known");
        run(&pace, 10, 4_000, 40_000);
        let (mut usual, mut trial) = (pace.way(256), Way { atomic: true, trial: true, ..Way::SINGLY });
        assert_eq!(usual, Way::SINGLY);
        let mut other = usual;
        let (one, two) = (pace.leave(256, &mut usual).await, pace.leave(256, &mut other).await);
        let mut tried = Box::pin(pace.leave(256, &mut trial));
        assert!(futures_util::poll!(&mut tried).is_pending());
        let mut behind = Box::pin(pace.leave(256, &mut usual));
        assert!(futures_util::poll!(&mut behind).is_pending(), "who comes later does not keep a trial waiting");
        drop((one, two));
        let alone = tried.await;
        assert!(futures_util::poll!(&mut behind).is_pending());
        drop(alone);
        behind.await;
    }

    #[tokio::test]
    async fn what_several_came_to_find_out_at_once_the_first_finds_out_for_all() {
        let pace = Pace::default();
        run(&pace, 1, 27_000, 8_000);
        let mut ways = [(); 4].map(|()| pace.way(256));
        assert!(ways.iter().all(|way| way.trial && !way.atomic));
        let mut went = vec![];
        for way in &mut ways {
            let leave = pace.leave(256, way).await;
            pace.took(256, way.atomic, Duration::from_millis(if way.atomic { 8 } else { 27 }));
            went.push((way.atomic, matches!(leave, Leave::Alone(_))));
        }
        assert_eq!(went, [(false, true), (true, true), (true, false), (true, false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_does_not_wait_for_who_is_long_under_way() {
        let pace = Pace::default();
        let mut one = Way::SINGLY;
        let _long = pace.leave(256, &mut one).await;
        let mut way = Way { trial: true, usual: true, ..Way::SINGLY };
        assert!(matches!(pace.leave(256, &mut way).await, Leave::Beside(_)));
        assert_eq!(way, Way { atomic: true, usual: true, put_off: true, ..Way::SINGLY });
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_is_under_way_the_longer_a_trial_waits() {
        let pace = Pace::default();
        let mut one = Way::SINGLY;
        let (before, under_way) = (pace.leave(256, &mut one).await, pace.singly(1000));
        let mut way = Way { atomic: true, trial: true, ..Way::SINGLY };
        let ends = async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            drop((before, under_way));
        };
        let (tried, ()) = tokio::join!(pace.leave(256, &mut way), ends);
        assert!(matches!(tried, Leave::Alone(_)));
        assert!(way.trial);
    }

    #[test]
    fn of_what_goes_at_once_each_takes_its_share() {
        let pace = Pace::default();
        let began = Instant::now();
        let (one, other) = (pace.singly(100), pace.singly(300));
        while other.began.elapsed() < Duration::from_millis(8) {
            std::hint::spin_loop();
        }
        let (share, rest) = (one.share(), other.share());
        assert!(share >= Duration::from_millis(2) && rest >= Duration::from_millis(6), "{share:?} {rest:?}");
        assert!(share + rest <= began.elapsed() + Duration::from_micros(1), "{share:?} {rest:?}");
        drop((one, other));
        assert_eq!(pace.under_way.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn sizes_are_told_apart() {
        assert_eq!([1, 2, 3, 4, 255, 256, 1000, 100_000].map(class_of), [0, 1, 1, 2, 7, 8, 9, 10]);
    }
}
