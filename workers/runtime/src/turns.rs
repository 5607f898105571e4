//! Whose turn it is within one process: what somebody waits for goes before what is done in bulk.
//!
//! A lane called `bulk` keeps out of the way of its worker's other lanes. While they have something in hand it starts
//! nothing, and when they had lately it takes little at a time, so that what it has started is soon over. It never waits for
//! long: other lanes that are always busy slow it down and don't stop it. Lanes that run in processes of their own share
//! no more than the database, and know nothing of each other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The lane that gives way.
pub(crate) const BULK: &str = "bulk";
/// What it takes at a time while others are about.
pub(crate) const LITTLE: usize = 32;
/// How long it waits for others at most before each thing that it starts.
const PATIENCE: Duration = Duration::from_millis(25);
/// How long others count as about after their last.
const LATELY: Duration = Duration::from_secs(1);

/// What the lanes of a worker know of each other.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Pulls whose messages are in the hands of those that go first.
    first: watch::Sender<usize>,
    last: Mutex<Option<Instant>>,
}

/// What a lane that goes first has pulled and has in its hands.
#[derive(Debug)]
pub(crate) struct First(Arc<Turns>);

impl Drop for First {
    fn drop(&mut self) {
        self.0.first.send_modify(|count| *count -= 1);
        *self.0.last.lock().expect("no panic happens under this lock") = Some(Instant::now());
    }
}

impl Turns {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Turns { first: watch::Sender::new(0), last: Mutex::new(None) })
    }

    /// Until it is dropped, others give way.
    pub(crate) fn first(self: &Arc<Self>) -> First {
        self.first.send_modify(|count| *count += 1);
        First(self.clone())
    }

    /// Waits until nobody who goes first has anything in hand, but not for ever.
    pub(crate) async fn give_way(&self) {
        if *self.first.borrow() > 0 {
            let mut first = self.first.subscribe();
            // Out of time, it is this one's turn all the same.
            let _ = tokio::time::timeout(PATIENCE, first.wait_for(|count| *count == 0)).await;
        }
    }

    /// Has somebody who goes first anything in hand, or had lately?
    pub(crate) fn lively(&self) -> bool {
        let last = *self.last.lock().expect("no panic happens under this lock");
        *self.first.borrow() > 0 || last.is_some_and(|last| last.elapsed() < LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bulk_waits_while_others_have_something_in_hand_but_not_for_ever() {
        let (turns, began) = (Turns::new(), Instant::now());
        turns.give_way().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody is about");

        let (one, two) = (turns.first(), turns.first());
        turns.give_way().await;
        assert_eq!(began.elapsed(), PATIENCE);

        let ending = {
            let turns = turns.clone();
            tokio::spawn(async move {
                drop(one);
                tokio::time::sleep(PATIENCE / 5).await;
                drop(two);
                drop(turns);
            })
        };
        turns.give_way().await;
        assert_eq!(began.elapsed(), PATIENCE + PATIENCE / 5, "as soon as the last is gone");
        ending.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn others_count_as_about_for_a_while() {
        let turns = Turns::new();
        assert!(!turns.lively());
        let one = turns.first();
        assert!(turns.lively());
        drop(one);
        tokio::time::advance(LATELY - Duration::from_millis(1)).await;
        assert!(turns.lively());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!turns.lively());
    }
}
