//! Whose turn it is within one process: what somebody waits for goes before what is done in bulk.
//!
//! A lane called `bulk` keeps out of the way of its worker's other lanes. While they have something in hand it starts
//! nothing, and when they had lately it takes little at a time, so that what it has started is soon over, and then rests for as
//! long as that took; nor do all the calls that waited for others go out at one moment, where the next of the others would find them in its way. It
//! never waits for long: other lanes that are always busy slow it down and don't stop it. Lanes that run in processes
//! of their own share no more than the database, and know nothing of each other.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

/// What it takes at a time while others are about.
pub(crate) const LITTLE: usize = 16;
/// How long it waits for others at most before each thing that it starts.
const PATIENCE: Duration = Duration::from_millis(25);
/// How many of its calls begin at once while others are about.
const FEW: usize = 1;
/// How long a call counts as beginning. One that takes longer waits for somebody else, and no longer for this machine. And
/// how long it gives way before: since few wait at a time, others that are always busy would hold up all that wait behind.
const BEGINNING: Duration = Duration::from_millis(5);
/// How long others count as about after their last.
const LATELY: Duration = Duration::from_secs(1);

/// What the lanes of a worker know of each other.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Pulls whose messages are in the hands of those that go first.
    first: watch::Sender<usize>,
    last: Mutex<Option<Instant>>,
    few: Semaphore,
    only: Semaphore,
}

/// A bulk lane's call that may begin now.
#[derive(Debug)]
pub(crate) struct Beginning<'t>(Option<SemaphorePermit<'t>>);

impl Beginning<'_> {
    /// Makes the call. While it begins, and for as long again, few others do.
    pub(crate) async fn of<T>(self, call: impl Future<Output = T>) -> T {
        tokio::pin!(call);
        if let Beginning(Some(turn)) = self {
            let began = Instant::now();
            if let Ok(done) = tokio::time::timeout(BEGINNING, &mut call).await {
                tokio::time::sleep(began.elapsed()).await;
                return done;
            }
            drop(turn);
        }
        call.await
    }
}

/// What a lane that goes first has pulled and has in its hands.
#[derive(Debug)]
pub(crate) struct First(Arc<Turns>);

impl Drop for First {
    fn drop(&mut self) {
        // Before it is gone: in between it would look as if nobody had been about.
        *self.0.last.lock().expect("no panic happens under this lock") = Some(Instant::now());
        self.0.first.send_modify(|count| *count -= 1);
    }
}

impl Turns {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Turns {
            first: watch::Sender::new(0),
            last: Mutex::new(None),
            few: Semaphore::new(FEW),
            only: Semaphore::new(1),
        })
    }

    /// Until it is dropped, others give way.
    pub(crate) fn first(self: &Arc<Self>) -> First {
        self.first.send_modify(|count| *count += 1);
        First(self.clone())
    }

    /// Waits until nobody who goes first has anything in hand, but not for ever.
    pub(crate) async fn give_way(&self) {
        self.give_way_for(PATIENCE).await;
    }

    async fn give_way_for(&self, patience: Duration) {
        if *self.first.borrow() > 0 {
            let mut first = self.first.subscribe();
            // Out of time, it is this one's turn all the same.
            let _ = tokio::time::timeout(patience, first.wait_for(|count| *count == 0)).await;
        }
    }

    /// While others are about, one of its loops at a time has a batch in hand: this one, until what is returned is dropped.
    pub(crate) async fn alone(&self) -> Option<SemaphorePermit<'_>> {
        match self.lively() {
            true => Some(self.only.acquire().await.expect("this semaphore is never closed")),
            false => None,
        }
    }

    /// Gives way, for a call; while others are about, until few others begin as well.
    pub(crate) async fn begin(&self) -> Beginning<'_> {
        let turn = match self.lively() {
            true => Some(self.few.acquire().await.expect("this semaphore is never closed")),
            false => None,
        };
        self.give_way_for(BEGINNING).await;
        Beginning(turn)
    }

    /// Rests for as long as `worked`, while others are about: half of the machine is theirs, also at the moment at which they
    /// come.
    pub(crate) async fn rest(&self, worked: Duration) {
        if self.lively() {
            tokio::time::sleep(worked.min(PATIENCE)).await;
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

    #[tokio::test]
    async fn while_others_are_about_one_batch_is_in_hand_at_a_time() {
        let turns = Turns::new();
        assert!(turns.alone().await.is_none(), "nobody is about");
        drop(turns.first());
        let one = turns.alone().await;
        let mut other = Box::pin(turns.alone());
        assert!(futures_util::poll!(&mut other).is_pending());
        drop(one);
        assert!(other.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_rests_for_as_long_as_it_worked_while_others_are_about_but_not_for_long() {
        let (turns, began) = (Turns::new(), Instant::now());
        turns.rest(PATIENCE).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody is about");
        drop(turns.first());
        turns.rest(PATIENCE / 5).await;
        assert_eq!(began.elapsed(), PATIENCE / 5);
        turns.rest(10 * PATIENCE).await;
        assert_eq!(began.elapsed(), PATIENCE / 5 + PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn while_others_are_about_few_calls_begin_at_once_and_those_that_take_long_keep_nobody_waiting() {
        let (turns, began) = (Turns::new(), Instant::now());
        let calls = |turns: Arc<Turns>, took: Duration| async move {
            let calls = (0..3 * FEW).map(|_| async {
                let beginning = turns.begin().await;
                beginning.of(tokio::time::sleep(took)).await;
            });
            futures_util::future::join_all(calls).await;
        };
        calls(turns.clone(), BEGINNING / 5).await;
        assert_eq!(began.elapsed(), BEGINNING / 5, "nobody is about");

        drop(turns.first());
        let began = Instant::now();
        calls(turns.clone(), BEGINNING / 5).await;
        assert_eq!(began.elapsed(), 6 * BEGINNING / 5, "each, and as long again");

        let began = Instant::now();
        calls(turns.clone(), 10 * BEGINNING).await;
        assert_eq!(began.elapsed(), (2 + 10) * BEGINNING);

        // Others that never end slow it down, and no more.
        let (_busy, began) = (turns.first(), Instant::now());
        calls(turns.clone(), Duration::ZERO).await;
        assert_eq!(began.elapsed(), 3 * BEGINNING);
    }
}
