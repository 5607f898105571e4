//! The shop's worker, as any test wants it: patient or not, with one command at a time or many.

use std::path::{Path, PathBuf};
use std::time::Duration;

use omnibus_runtime::worker::Builder;
use omnibus_runtime::{Answer, Ask, AskError, Policy, Worker};
use sqlx::Row;
use uuid::Uuid;

use super::{Charge, Count, Counted, Put};

/// The shop's state: where the provider's folder is. A try may take `SECONDS`.
pub struct Shop<const SECONDS: u64> {
    pub(super) provider: PathBuf,
}

/// Short, so that what hangs is given up soon.
const SHORT: u64 = 2;
/// For what lasts until the test says so.
const LONG: u64 = 120;

/// The shop's worker. `provider` is the folder in which calls leave their files.
pub fn worker(provider: &Path) -> Worker {
    build::<SHORT>(provider).handles::<Put>().effects::<Charge>().build()
}

/// The same, with tries that may take as long as a test wants.
pub fn patient_worker(provider: &Path) -> Worker {
    build::<LONG>(provider).handles::<Put>().effects::<Charge>().build()
}

/// The same, with puts, and what surrounds charges, taken many at a time. Whoever looks from outside sees no difference.
pub fn worker_of_many(provider: &Path) -> Worker {
    build::<SHORT>(provider).handles_many::<Put>().effects_many::<Charge>().build()
}

/// Both of it.
pub fn patient_worker_of_many(provider: &Path) -> Worker {
    build::<LONG>(provider).handles_many::<Put>().effects_many::<Charge>().build()
}

fn build<const SECONDS: u64>(provider: &Path) -> Builder<Shop<SECONDS>> {
    Worker::new("shop", Shop::<SECONDS> { provider: provider.to_owned() })
        .migrations(
            "shop",
            &[(
                "0001_shop",
                // Deliberately without a key on the command: a command carried out twice shows as two rows.
                "create table shop.things (tenant text not null, thing text not null, command_id uuid not null);
                 create table shop.charges (tenant text not null, thing text not null, command_id uuid primary key,
                                            status text not null, receipt text);",
            )],
        )
        .answers::<Count>()
}

/// `fail:2` → 2
pub(super) fn number(how: &str) -> u64 {
    how.split_once(':').and_then(|(_, n)| n.parse().ok()).unwrap_or(0)
}

impl<const SECONDS: u64> Shop<SECONDS> {
    /// How often this has been reached, over all processes: a file of one byte a time.
    pub(super) fn times(&self, what: &str, id: Uuid) -> u64 {
        use std::io::Write;
        let path = self.provider.join(format!("{what}-{id}"));
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("the folder is there");
        file.write_all(b".").expect("one byte fits");
        file.metadata().expect("the file is open").len()
    }
}

pub(super) const fn policy(seconds: u64) -> Policy {
    Policy {
        attempts: 3,
        backoff: Duration::from_millis(20),
        backoff_cap: Duration::from_millis(100),
        timeout: Duration::from_secs(seconds),
    }
}

impl<const SECONDS: u64> Answer<Count> for Shop<SECONDS> {
    async fn answer(&self, ask: &mut Ask<'_>, query: Count) -> Result<Counted, AskError> {
        let row = sqlx::query(
            "select (select count(*) from shop.things where tenant = $1 and thing = $2),
                    (select count(*) from shop.charges where tenant = $1 and thing = $2 and status = 'charged')",
        )
        .bind(ask.tenant)
        .bind(&query.thing)
        .fetch_one(&mut *ask.db)
        .await?;
        Ok(Counted { put: row.try_get(0)?, charged: row.try_get(1)? })
    }
}
