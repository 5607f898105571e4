//! Atomic batches, one on its way at a time. The server stores them one after another all the same, and what one costs
//! hardly depends on how much is in it. So what comes meanwhile is gathered, and goes together with the next: nobody waits
//! for others, and the slower the server is, the more go at once.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::bus::PublishError;

/// The server takes no more in one atomic batch.
pub(crate) const ATOMIC_LIMIT: usize = 1000;

/// Where batches meet.
#[derive(Debug)]
pub(crate) struct Gather<T> {
    waiting: Mutex<VecDeque<Waiting<T>>>,
    /// Whoever holds it sends for all.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting<T> {
    events: Vec<T>,
    answer: oneshot::Sender<Sent>,
}

/// How much of the time that it took is this one's share.
type Sent = Result<Duration, PublishError>;

impl<T> Default for Gather<T> {
    fn default() -> Self {
        Gather { waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl<T> Gather<T> {
    /// Sends `events`, at most [`ATOMIC_LIMIT`], all or none, perhaps together with what others have. If it was not taken
    /// together with others', whose fault that was shows when each sends its own.
    pub(crate) async fn send<F>(&self, events: Vec<T>, publish: impl Fn(Vec<T>) -> F) -> Sent
    where
        F: Future<Output = Result<(), PublishError>>,
    {
        let (answer, mut answered) = oneshot::channel();
        self.waiting.lock().expect("no panic happens under this lock").push_back(Waiting { events, answer });
        // Whoever was to send it was stopped in the middle: the bus may have it or not.
        let cut = || Err(PublishError::Away("a batch was cut off".to_owned()));
        let _turn = tokio::select! {
            biased;
            sent = &mut answered => return sent.unwrap_or_else(|_| cut()),
            turn = self.turn.lock() => turn,
        };
        loop {
            match answered.try_recv() {
                Ok(sent) => return sent,
                Err(TryRecvError::Closed) => return cut(),
                Err(TryRecvError::Empty) => self.send_for_all(&publish).await,
            }
        }
    }

    /// Sends what waits longest, and whatever else has room with it.
    async fn send_for_all<F>(&self, publish: &impl Fn(Vec<T>) -> F)
    where
        F: Future<Output = Result<(), PublishError>>,
    {
        let (mut all, mut whose) = (Vec::new(), Vec::new());
        {
            let mut waiting = self.waiting.lock().expect("no panic happens under this lock");
            while waiting.front().is_some_and(|next| all.is_empty() || all.len() + next.events.len() <= ATOMIC_LIMIT)
                && let Some(next) = waiting.pop_front()
            {
                whose.push((next.events.len(), next.answer));
                all.extend(next.events);
            }
        }
        let (began, count, alone) = (Instant::now(), all.len(), whose.len() == 1);
        let sent = publish(all).await;
        let took = began.elapsed();
        for (events, answer) in whose {
            let sent = match &sent {
                Ok(()) => Ok(took.mul_f64(events as f64 / count as f64)),
                Err(error) if alone => Err(error.clone()),
                Err(_) => Err(PublishError::Other("a batch of several was refused".to_owned())),
            };
            // Who does not wait any more need not know.
            let _ = answer.send(sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    /// Five senders of three hundred each, who come at once; how many were sent together, and what each was told.
    async fn five(result: impl Fn(usize) -> Result<(), PublishError>) -> (Vec<usize>, Vec<Sent>) {
        let (gather, sizes) = (Gather::default(), Mutex::new(vec![]));
        let publish = |all: Vec<u8>| {
            sizes.lock().unwrap().push(all.len());
            let result = result(all.len());
            async {
                tokio::task::yield_now().await;
                result
            }
        };
        let told = join_all((0..5).map(|_| gather.send(vec![0; 300], &publish))).await;
        (sizes.into_inner().unwrap(), told)
    }

    #[tokio::test]
    async fn what_comes_while_a_batch_is_on_its_way_goes_together_as_far_as_there_is_room() {
        let (sizes, told) = five(|_| Ok(())).await;
        assert_eq!(sizes, [300, 900, 300]);
        assert!(told.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn of_a_refusal_only_who_was_alone_is_told_why() {
        let (_, told) = five(|_| Err(PublishError::Full)).await;
        let full: Vec<_> = told.iter().map(|told| matches!(told, Err(PublishError::Full))).collect();
        assert_eq!(full, [true, false, false, false, true]);
        assert!(told.iter().all(Result::is_err));
    }

    #[tokio::test]
    async fn who_stops_in_the_middle_does_not_keep_the_others_waiting() {
        let gather = Gather::default();
        let mut first = Box::pin(gather.send(vec![1], |_| std::future::pending()));
        let mut second = Box::pin(gather.send(vec![2], |_| async { Ok(()) }));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.is_ok());
    }
}
