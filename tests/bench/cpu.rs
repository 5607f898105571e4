//! Who used the processor: the kernel's own account, from `/proc`.

use std::collections::HashMap;
use std::fs;

/// Processor seconds of the three parties.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) broker: f64,
    pub(crate) database: f64,
    /// This process: the worker, and the little that the measuring takes.
    pub(crate) worker: f64,
}

impl Cpu {
    /// What has been used so far. Other systems than Linux keep no such account: all is nothing there.
    pub(crate) fn now(broker: Option<u32>, database: Option<u32>) -> Self {
        let processes = processes();
        let alone = |pid: u32| processes.get(&pid).map_or(0.0, |p| p.own);
        // PostgreSQL's backends are its children; those that are gone stand in its own account.
        let family = |pid: u32| {
            let children: f64 = processes.values().filter(|p| p.parent == pid).map(|p| p.own + p.reaped).sum();
            children + processes.get(&pid).map_or(0.0, |p| p.own + p.reaped)
        };
        Cpu {
            broker: broker.map_or(0.0, alone),
            database: database.map_or(0.0, family),
            worker: alone(std::process::id()),
        }
    }

    pub(crate) fn since(self, before: Cpu) -> Cpu {
        Cpu {
            broker: self.broker - before.broker,
            database: self.database - before.database,
            worker: self.worker - before.worker,
        }
    }

    /// Microseconds a command: broker, database, worker.
    pub(crate) fn each(self, commands: usize) -> [f64; 3] {
        [self.broker, self.database, self.worker].map(|seconds| seconds * 1e6 / commands as f64)
    }
}

struct Process {
    parent: u32,
    own: f64,
    reaped: f64,
}

fn processes() -> HashMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, process(pid)?))).collect()
}

/// proc(5): fields 4 (parent), 14 and 15 (own time), 16 and 17 (children's), counted after the name in parentheses, in
/// hundredths of a second.
fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |n: usize| fields.get(n - 3).and_then(|field| field.parse::<f64>().ok());
    let seconds = |a: usize, b: usize| Some((ticks(a)? + ticks(b)?) / 100.0);
    Some(Process { parent: fields.get(1)?.parse().ok()?, own: seconds(14, 15)?, reaped: seconds(16, 17)? })
}

/// Processor seconds that a process has used so far.
pub(crate) fn of(pid: u32) -> f64 {
    process(pid).map_or(f64::NAN, |process| process.own)
}

/// Resident memory of this process, in MiB.
pub(crate) fn resident() -> f64 {
    resident_of(std::process::id())
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_of(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}
