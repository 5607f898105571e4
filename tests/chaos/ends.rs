//! How workers end: with 0 when they are told to, and never by themselves, but for what a round's faults ask of them.

use std::process::ExitStatus;

use crate::plan::{Fault, Kind};

/// A worker's end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// It was told to.
    Told(ExitStatus),
    /// Nobody had told it to, and nobody had killed it.
    ByItself(ExitStatus),
    /// It was told to, and did not.
    NotInTime,
}

/// An end with status 1 that is no violation in a round that has this fault.
struct ByDesign {
    fault: Kind,
    /// In the last error that the worker tells.
    says: &'static str,
    why: &'static str,
}

/// All there are. A server that is away for as long as a fault lasts ends no worker, whether it begins, works or stops: it
/// waits. And no fault takes away a login, a permission or a table, over which a worker ends as well.
const BY_DESIGN: [ByDesign; 2] = [
    ByDesign {
        fault: Kind::DeleteConsumer,
        says: "is gone; run `omnibus bus apply`",
        why: "its consumer was deleted underfoot, and only an operator makes one",
    },
    ByDesign {
        fault: Kind::DeleteConsumer,
        says: "is missing; run `omnibus bus apply`",
        why: "it began while its consumer was deleted, and only an operator makes one",
    },
];

/// What a round's workers ended with.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    struck: Vec<Kind>,
    /// Other ends than with 0 on demand that are right, and why.
    pub(crate) by_design: Vec<String>,
    /// Those that are not, with what was said last.
    pub(crate) violations: Vec<String>,
}

impl Ends {
    /// In a round that has these faults.
    pub(crate) fn among(faults: &[Fault]) -> Self {
        Ends { struck: faults.iter().map(|fault| fault.kind).collect(), ..Ends::default() }
    }

    pub(crate) fn add(&mut self, end: End, log: &str) {
        let (words, status) = match end {
            End::Told(status) if status.success() => return,
            End::Told(status) => (format!("a worker that was told to end did so with {status}"), Some(status)),
            End::ByItself(status) => (format!("a worker ended by itself with {status}"), Some(status)),
            End::NotInTime => ("a worker did not end when it was told to".to_owned(), None),
        };
        match status.and_then(|status| self.reason(status, log)) {
            Some(why) => self.by_design.push(format!("{words}: {why}")),
            None => self.violations.push(format!("{words}; its log:\n{}", last(log))),
        }
    }

    fn reason(&self, status: ExitStatus, log: &str) -> Option<&'static str> {
        // A worker that can't go on says why, and that is the last error it tells.
        let said = log.lines().rev().find(|line| line.contains("\"level\":\"ERROR\""))?;
        let fits = |end: &&ByDesign| self.struck.contains(&end.fault) && said.contains(end.says);
        BY_DESIGN.iter().find(fits).filter(|_| status.code() == Some(1)).map(|end| end.why)
    }
}

fn last(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    use super::*;

    const GONE: &str = concat!(
        r#"{"level":"INFO","message":"connected to NATS"}"#,
        "\n",
        r#"{"level":"ERROR","message":"the consumer shop-default of stream CMD_SHOP is gone; run `omnibus bus apply`"}"#,
        "\n",
        r#"{"level":"INFO","message":"stopped"}"#,
    );
    const MISSING: &str =
        r#"{"level":"ERROR","message":"consumer CMD_SHOP > shop-default is missing; run `omnibus bus apply`"}"#;

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn among(kinds: &[Kind]) -> Ends {
        let fault = |kind: &Kind| Fault { at: Duration::ZERO, kind: *kind, lasts: Duration::ZERO, pick: 0 };
        Ends::among(&kinds.iter().map(fault).collect::<Vec<_>>())
    }

    /// How many were right, and how many were not.
    fn judged(kinds: &[Kind], end: End, log: &str) -> (usize, usize) {
        let mut ends = among(kinds);
        ends.add(end, log);
        (ends.by_design.len(), ends.violations.len())
    }

    #[test]
    fn who_is_told_to_end_does_so_with_0() {
        assert_eq!(judged(&[], End::Told(exit(0)), ""), (0, 0));
        for wrong in [End::Told(exit(1)), End::Told(exit(101)), End::Told(ExitStatus::from_raw(15)), End::NotInTime] {
            assert_eq!(judged(&[Kind::RollOut, Kind::KillNats, Kind::MutePostgres], wrong, ""), (0, 1), "{wrong:?}");
        }
    }

    #[test]
    fn nobody_ends_by_itself() {
        for status in [exit(0), exit(1), ExitStatus::from_raw(6)] {
            assert_eq!(judged(&[Kind::KillWorker, Kind::KillPostgres], End::ByItself(status), ""), (0, 1), "{status}");
        }
    }

    #[test]
    fn a_violation_names_the_status_and_what_was_said_last() {
        let mut ends = among(&[Kind::RollOut]);
        ends.add(End::Told(exit(7)), "one\ntwo");
        assert_eq!(ends.violations, ["a worker that was told to end did so with exit status: 7; its log:\none\ntwo"]);
        ends.add(End::ByItself(ExitStatus::from_raw(9)), "");
        assert!(ends.violations[1].starts_with("a worker ended by itself with signal: 9"), "{:?}", ends.violations);
    }

    #[test]
    fn a_worker_whose_consumer_was_deleted_may_say_so_and_end() {
        for log in [GONE, MISSING] {
            for end in [End::ByItself(exit(1)), End::Told(exit(1))] {
                assert_eq!(judged(&[Kind::DeleteConsumer], end, log), (1, 0), "{end:?} {log}");
            }
            assert_eq!(judged(&[Kind::KillLeader], End::ByItself(exit(1)), log), (0, 1), "nobody deleted it");
            assert_eq!(
                judged(&[Kind::DeleteConsumer], End::ByItself(exit(101)), log),
                (0, 1),
                "a panic is another end"
            );
        }
        let otherwise = format!("{GONE}\n{}", r#"{"level":"ERROR","message":"a part of the worker ended"}"#);
        assert_eq!(judged(&[Kind::DeleteConsumer], End::ByItself(exit(1)), &otherwise), (0, 1), "and so is this");
    }
}
