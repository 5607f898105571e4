//! What happens to the speed when there is more of something: workers, tenants, waiting commands, rows in the inbox.
//! It is not to fall, and memory is to stay flat.

use std::time::Duration;

use futures_util::future::join_all;
use omnibus_bus::Settings;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Scenery, Stage};

use crate::cpu::resident;
use crate::figures::{Series, Table, syncing, wanted};
use crate::goods::{self, Store, Taking, thing};
use crate::work::{Run, timed};

/// How much of what.
#[derive(Debug, Clone, Copy)]
struct Load {
    workers: usize,
    tenants: usize,
    waiting: usize,
    inbox: usize,
}

impl Load {
    /// So much is enough to warm up.
    fn small(self) -> Self {
        Load { waiting: self.waiting.min(20_000), inbox: self.inbox.min(100_000), ..self }
    }
}

/// A case, and what there is more of from one to the next.
struct Case {
    of: &'static str,
    name: String,
    load: Load,
    rate: Series,
    memory: Series,
    grown: Series,
}

/// Cases that differ in one thing, with the usual one among them.
fn cases(commands: usize, scale: usize) -> Vec<Case> {
    let usual = Load { workers: 1, tenants: 1, waiting: commands, inbox: 0 };
    let mut cases = Vec::new();
    let mut add = |of, count: usize, load| {
        let [rate, memory, grown] = [(); 3].map(|()| Series::default());
        cases.push(Case { of, name: format!("{count} {of}"), load, rate, memory, grown });
    };
    for workers in [1, 2, 4, 8] {
        add("workers", workers, Load { workers, ..usual });
    }
    for tenants in [1, 10, 100, 1000] {
        add("tenants", tenants, Load { tenants, ..usual });
    }
    for waiting in [10, 1000, 10_000, 10_000 * scale.max(2)] {
        add("waiting", waiting, Load { waiting, ..usual });
    }
    for inbox in [0, 10_000 * scale, 100_000 * scale] {
        add("rows in the inbox", inbox, Load { inbox, ..usual });
    }
    cases
}

/// `scale` 1 is for minutes; 100 reaches a million waiting commands and ten million rows.
pub(crate) async fn run(
    postgres: &Postgres,
    rounds: usize,
    commands: usize,
    scale: usize,
    sync_always: bool,
    only: Option<&str>,
) -> anyhow::Result<Table> {
    let mut cases = cases(commands, scale);
    cases.retain(|case| wanted(&case.name, only));
    for round in 0..=rounds {
        for case in &mut cases {
            let load = if round > 0 { case.load } else { case.load.small() };
            let (run, memory, grown) = once(postgres, load, sync_always).await?;
            if round > 0 {
                case.rate.push(run.rate());
                case.memory.push(memory);
                case.grown.push(grown);
            }
            progress(round, &case.name, run);
        }
    }
    let rows = cases.iter().enumerate().map(|(n, case)| {
        // It is not to fall: held against the best of those with less.
        let less = cases[..n].iter().filter(|other| other.of == case.of).map(|other| other.rate.median());
        let ratio = less.reduce(f64::max).map(|best| format!("{:.2}", case.rate.median() / best));
        let [rate, memory, grown] = [&case.rate, &case.memory, &case.grown].map(ToString::to_string);
        vec![case.name.clone(), rate, ratio.unwrap_or_default(), memory, grown]
    });
    Ok(Table {
        title: format!(
            "Growth, HandleMany, nats-server with {}: median (least..most) of {rounds} rounds; {commands} waiting, \
             1 worker, 1 tenant, an empty inbox where not said otherwise",
            syncing(sync_always)
        ),
        columns: vec![
            "",
            "commands/s",
            "of the best with less",
            "resident MiB (worker and bench)",
            "of them grown since the workers began",
        ],
        rows: rows.collect(),
    })
}

#[expect(clippy::print_stderr, reason = "whoever waits wants to see that something happens")]
fn progress(round: usize, name: &str, run: Run) {
    eprintln!("round {round}: {name} {:.0}/s", run.rate());
}

/// The run, what is resident at its end, and how much of that since the workers began; in MiB.
async fn once(postgres: &Postgres, load: Load, sync_always: bool) -> anyhow::Result<(Run, f64, f64)> {
    let scenery = Scenery { deaf: true, sync_always, ..Scenery::default() };
    let limits = Settings { max_ack_pending: 20_000, cmd_max_bytes: 8 << 30, ..Settings::default() };
    let stage = Stage::set(goods::catalogue(), limits, postgres, scenery).await;
    for tenant in 0..load.tenants {
        let share = load.waiting / load.tenants + usize::from(tenant < load.waiting % load.tenants);
        stage.backlog(&format!("tenant-{tenant}"), share, |n| Store { thing: thing(n) }).await;
    }
    let settings = WorkSettings { batch: 256, ..WorkSettings::defaults() };
    let worker = || goods::worker(Taking::Many, Duration::ZERO);
    if let Some(migrations) = worker().migrations() {
        migrations.apply(&stage.db).await?;
    }
    // As old commands left them: ids that grow with time, spread over the days that are kept.
    sqlx::query(
        "insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, outcome, messages,
                                received_at, finished_at, published_at)
         select 'goods_default', 'tenant-' || n % 10, lpad(to_hex(n), 32, '0')::uuid, 'store', n, 1, 'succeeded',
                decode(repeat('61', 500), 'hex'), at, at, at
         from generate_series(1, $1) as n, lateral (select now() - make_interval(secs => n % 2000000)) as t(at)",
    )
    .bind(i64::try_from(load.inbox)?)
    .execute(&stage.db)
    .await?;
    // Nothing that this or the case before has left to be written is to go on beside it.
    for rest in ["vacuum (analyze) bus.inbox", "checkpoint"] {
        sqlx::query(rest).execute(&stage.db).await?;
    }
    let before = resident();
    let start = async {
        let workers = (0..load.workers).map(|_| stage.run_with(worker(), settings.clone()));
        Ok(join_all(workers).await)
    };
    let (run, running) = timed(&stage, postgres, load.waiting, "default", start).await?;
    let memory = resident();
    for worker in running {
        worker.stop().await;
    }
    Ok((run, memory, memory - before))
}
