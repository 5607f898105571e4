//! Transactions that collide stand in line.
//!
//! A batch is one transaction, and holds every row that its handlers write until it commits. Two batches that write the
//! same rows in different orders wait for each other, until PostgreSQL, after a second, undoes one. Nobody but the handlers
//! knows which rows those are; but where it happened once it will happen again. From then on the domain's batches are
//! decided one at a time, in all its processes that noticed. After a while it is tried without.

use std::sync::Mutex;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How long the first line lasts. Each that was given up too soon makes the next one twice as long.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How long another process is waited for: as long as PostgreSQL takes to find a deadlock.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A domain's line, as one of its processes knows it.
#[derive(Debug)]
pub(crate) struct Line {
    domain: &'static str,
    lasts: Mutex<Option<Lasts>>,
    one: Semaphore,
}

#[derive(Debug, Clone, Copy)]
struct Lasts {
    until: Instant,
    length: Duration,
}

/// A place at the head of the line, until it is dropped.
#[derive(Debug)]
pub(crate) struct Head<'l> {
    _one: SemaphorePermit<'l>,
    domain: &'static str,
}

impl Line {
    pub(crate) fn new(domain: &'static str) -> Self {
        Line { domain, lasts: Mutex::default(), one: Semaphore::new(1) }
    }

    /// Waits in line, if there is one.
    pub(crate) async fn join(&self) -> Option<Head<'_>> {
        let lasts = (*self.lasts.lock().expect("no panic happens under this lock"))?;
        match Instant::now() < lasts.until {
            true => {
                let one = self.one.acquire().await.expect("this semaphore is never closed");
                Some(Head { _one: one, domain: self.domain })
            }
            false => None,
        }
    }

    /// Two transactions got in each other's way: there is a line from now on.
    pub(crate) fn collided(&self) {
        let (now, mut lasts) = (Instant::now(), self.lasts.lock().expect("no panic happens under this lock"));
        let length = match *lasts {
            Some(there) if now < there.until => return,
            Some(last) if now < last.until + last.length => (last.length * 2).min(LONGEST),
            _ => FIRST,
        };
        *lasts = Some(Lasts { until: now + length, length });
        tracing::info!(
            domain = self.domain,
            seconds = length.as_secs(),
            "batches write the same rows in different orders, and are decided one at a time for a while"
        );
    }
}

impl Head<'_> {
    /// Waits for other processes that stand in line, but not for long: the line spares collisions, and nothing depends on
    /// it. The place is the transaction's until it ends.
    pub(crate) async fn wait(&self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        let (line, until) = (format!("omnibus.line.{}", self.domain), Instant::now() + PATIENCE);
        loop {
            let ours: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended($1, 0))")
                .bind(&line)
                .fetch_one(&mut *db)
                .await?;
            if ours || Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_a_line_for_a_while_after_a_collision() {
        let line = Line::new("shop");
        assert!(line.join().await.is_none());
        line.collided();
        let head = line.join().await;
        assert!(head.is_some());
        assert!(futures_util::poll!(Box::pin(line.join())).is_pending(), "one at a time");
        drop(head);
        tokio::time::advance(FIRST).await;
        assert!(line.join().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_was_given_up_too_soon_lasts_twice_as_long_the_next_time() {
        let line = Line::new("shop");
        line.collided();
        tokio::time::advance(FIRST).await;
        line.collided();
        tokio::time::advance(FIRST).await;
        assert!(line.join().await.is_some());
        tokio::time::advance(FIRST).await;
        assert!(line.join().await.is_none());
        tokio::time::advance(2 * FIRST).await;
        line.collided();
        tokio::time::advance(FIRST).await;
        assert!(line.join().await.is_none(), "it had been quiet for as long as the last line");
    }
}
