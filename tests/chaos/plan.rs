//! What happens in a round, all of it chosen from the round's seed before it begins.

use std::time::Duration;

use omnibus_runtime::testing::TENANTS;
use omnibus_tests::chance::Chance;
use omnibus_tests::referee::{Order, Poison};
use omnibus_tests::shop::{Charge, Put};
use uuid::Uuid;

/// A way to break something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `kill -9` of a worker.
    KillWorker,
    /// SIGSTOP of a worker for longer than its leases, then SIGCONT.
    FreezeWorker,
    /// SIGTERM, while another worker, built otherwise, begins beside it.
    RollOut,
    /// A worker's wall clock jumps by minutes or days.
    ClockJump,
    /// `kill -9` of nats-server, restarted after a while.
    KillNats,
    /// SIGSTOP of nats-server, then SIGCONT.
    FreezeNats,
    /// SIGTERM of nats-server, restarted.
    RestartNats,
    /// Every connection between workers and nats-server is cut.
    CutNats,
    /// What is said between workers and nats-server arrives late.
    SlowNats,
    /// What is said between workers and nats-server does not arrive for a while.
    MuteNats,
    /// `kill -9` of PostgreSQL with all its backends, restarted after a while.
    KillPostgres,
    /// A fast shutdown of PostgreSQL, restarted.
    RestartPostgres,
    /// Every connection between workers and PostgreSQL is cut, in the middle of transactions.
    CutPostgres,
    /// What is said between workers and PostgreSQL arrives late.
    SlowPostgres,
    /// What is said between workers and PostgreSQL does not arrive for a while.
    MutePostgres,
    /// The command stream is at its limit and refuses, follow-ups too.
    CommandsFull,
    /// The dead letters' stream is at its limit and refuses.
    LettersFull,
    /// A lane's consumer is deleted underfoot, and provisioned again.
    DeleteConsumer,
    /// nats-server's disk is full for a while.
    DiskFull,
    /// The node that leads the commands' stream is killed, and comes back.
    KillLeader,
    /// A node is cut off from the others, and joined again.
    Partition,
}

/// Faults that any round may have. The others need a house of their own kind.
const ANYWHERE: [Kind; 18] = [
    Kind::KillWorker,
    Kind::FreezeWorker,
    Kind::RollOut,
    Kind::ClockJump,
    Kind::KillNats,
    Kind::FreezeNats,
    Kind::RestartNats,
    Kind::CutNats,
    Kind::SlowNats,
    Kind::MuteNats,
    Kind::KillPostgres,
    Kind::RestartPostgres,
    Kind::CutPostgres,
    Kind::SlowPostgres,
    Kind::MutePostgres,
    Kind::CommandsFull,
    Kind::LettersFull,
    Kind::DeleteConsumer,
];

/// Faults for a house with three nats-servers: those, and the ones that do not name a single server.
const CLUSTERED: [Kind; 9] = [
    Kind::KillLeader,
    Kind::Partition,
    Kind::KillLeader,
    Kind::Partition,
    Kind::KillWorker,
    Kind::FreezeWorker,
    Kind::CutPostgres,
    Kind::RollOut,
    Kind::DeleteConsumer,
];

/// Where a round takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Ground {
    /// One nats-server.
    Single,
    /// One nats-server whose disk is small.
    SmallDisk,
    /// Three nats-servers, three copies of every stream.
    Cluster,
}

/// A fault, when, and how hard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    /// For how long, where that means something.
    pub(crate) lasts: Duration,
    /// For choices among what there is then.
    pub(crate) pick: u64,
}

/// A command, when, and whether it is said twice.
#[derive(Debug, Clone)]
pub(crate) struct Saying {
    pub(crate) at: Duration,
    pub(crate) id: Uuid,
    pub(crate) tenant: &'static str,
    pub(crate) order: Order,
    /// Said once more after this long, as another message with the same id.
    pub(crate) again: Option<Duration>,
}

/// A whole round.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) ground: Ground,
    /// Which of the two workers takes many at once.
    pub(crate) many: [bool; 2],
    pub(crate) faults: Vec<Fault>,
    pub(crate) sayings: Vec<Saying>,
}

impl Plan {
    pub(crate) fn of(seed: u64, grounds: &[Ground], only: &[Kind]) -> Self {
        let mut chance = Chance(seed);
        let wanted = match chance.below(12) {
            0 => Ground::SmallDisk,
            1 | 2 => Ground::Cluster,
            _ => Ground::Single,
        };
        let ground = if grounds.contains(&wanted) { wanted } else { grounds[0] };
        let many = [chance.below(2) == 0, chance.below(2) == 0];
        let (count, span) = (30 + chance.below(40), 1500);
        let mut sayings: Vec<_> = (0..count).map(|_| saying(&mut chance, span)).collect();
        let kinds = |ground| -> Vec<Kind> {
            let possible: &[Kind] = match ground {
                Ground::Cluster => &CLUSTERED,
                _ => &ANYWHERE,
            };
            possible.iter().copied().filter(|kind| only.is_empty() || only.contains(kind)).collect()
        };
        let possible = kinds(ground);
        let mut faults: Vec<_> = (0..=chance.below(3))
            .filter(|_| !possible.is_empty())
            .map(|_| Fault {
                at: Duration::from_millis(chance.below(span)),
                kind: chance.of(&possible),
                lasts: Duration::from_millis(200 + chance.below(2800)),
                pick: chance.bits(),
            })
            .collect();
        if ground == Ground::SmallDisk {
            let (at, lasts) =
                (Duration::from_millis(chance.below(span)), Duration::from_millis(500 + chance.below(1500)));
            faults = vec![Fault { at, kind: Kind::DiskFull, lasts, pick: chance.bits() }];
        }
        faults.sort_by_key(|fault| fault.at);
        // From choices of their own, so that rounds have the faults and the commands that they had before these came.
        let mut beside = Chance(Chance(!seed).bits());
        for _ in 0..2 + beside.below(3) {
            sayings.extend(colliding(&mut beside, span));
        }
        Plan { seed, ground, many, faults, sayings }
    }
}

fn saying(chance: &mut Chance, span: u64) -> Saying {
    let put = |how: &str| Order::Put(Put { thing: "apple".into(), how: how.into() });
    let charge = |how: &str, reconcile: &str, resend| {
        Order::Charge(Charge { thing: "pear".into(), how: how.into(), reconcile: reconcile.into(), resend })
    };
    let order = match chance.below(32) {
        0 | 1 => put("then"),
        2 => put("reject"),
        3 => put("fail"),
        4 => put("fail:1"),
        5 => put("panic"),
        6 => put("database"),
        7 => put("nothing"),
        8 => put("snooze:100"),
        9 => put("deadlock:1"),
        10..=12 => charge("", "ask", false),
        13 => charge("", "", false),
        14 => charge("", "", true),
        15 => charge("not_done:1", "ask", false),
        16 => charge("refused", "ask", false),
        17 => charge("unknown", "ask", false),
        18 => charge("unknown", "", false),
        19 => charge("skip", "", false),
        20 => charge("slow:300", "ask", false),
        21 => Order::Poison(Poison::Undecodable),
        22 => Order::Poison(Poison::Unknown),
        23 => Order::Poison(Poison::Invalid),
        _ => put(""),
    };
    let at = Duration::from_millis(chance.below(span));
    said(chance, at, order)
}

/// Two puts at once that take the same two locks, in different orders.
fn colliding(chance: &mut Chance, span: u64) -> [Saying; 2] {
    let at = Duration::from_millis(chance.below(span));
    let one = 1 + chance.below(3);
    let other = 1 + (one + chance.below(2)) % 3;
    [(one, other), (other, one)].map(|(first, second)| {
        let put = Put { thing: "apple".into(), how: format!("locks:{first},{second}") };
        said(chance, at, Order::Put(put))
    })
}

fn said(chance: &mut Chance, at: Duration, order: Order) -> Saying {
    Saying {
        at,
        id: Uuid::from_u64_pair(chance.bits(), chance.bits()),
        tenant: chance.of(&TENANTS),
        order,
        again: (chance.below(8) == 0).then(|| Duration::from_millis(chance.below(3000))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;

    use super::*;

    const GROUNDS: [Ground; 3] = [Ground::Single, Ground::SmallDisk, Ground::Cluster];

    /// When, what, and for how long, in milliseconds.
    fn times(plan: &Plan) -> Vec<(u128, Kind, u128)> {
        plan.faults.iter().map(|fault| (fault.at.as_millis(), fault.kind, fault.lasts.as_millis())).collect()
    }

    fn locks(saying: &Saying) -> Vec<&str> {
        let Order::Put(put) = &saying.order else { panic!("{saying:?} takes no locks") };
        put.how.trim_start_matches("locks:").split(',').collect()
    }

    /// Rounds that were told of in the README: whoever changes what is chosen, or in which order, makes others of them.
    #[test]
    fn a_round_that_failed_once_is_the_same_round_for_ever() {
        let plan = Plan::of(23, &GROUNDS, &[]);
        assert_eq!((plan.ground, plan.many, plan.sayings.len()), (Ground::Single, [false, true], 57 + 8));
        let jump = |at: u128, lasts: u128| (at, Kind::ClockJump, lasts);
        assert_eq!(times(&plan), [jump(1230, 1017), (1309, Kind::SlowNats, 257), jump(1468, 2904)]);
        let first = &plan.sayings[0];
        assert_eq!(first.id, Uuid::from_u64_pair(16_360_716_496_171_756_916, 3_533_867_253_563_113_597));
        assert_eq!((first.at, first.tenant, first.again), (Duration::from_millis(1034), TENANTS[1], None));

        // Those that collide stand after the others.
        assert_eq!(plan.sayings.iter().position(|saying| saying.order.collides()), Some(57));
        let first = &plan.sayings[57];
        assert_eq!(first.id, Uuid::from_u64_pair(14_822_782_674_943_029_547, 17_949_009_208_810_821_873));
        assert_eq!((first.at, first.tenant, first.again), (Duration::from_millis(900), TENANTS[0], None));

        let plan = Plan::of(151, &GROUNDS, &[]);
        assert_eq!((plan.ground, plan.many, plan.sayings.len()), (Ground::Single, [true, true], 51 + 6));
        assert_eq!(times(&plan), [(1186, Kind::MutePostgres, 2071)]);
    }

    #[test]
    fn the_rounds_that_ops_test_plays_have_every_kind_of_fault() {
        let plans = (1..=36).map(|seed| Plan::of(seed, &GROUNDS, &[]));
        let played: BTreeSet<Kind> = plans.flat_map(|plan| plan.faults).map(|fault| fault.kind).collect();
        let all: BTreeSet<Kind> = Kind::value_variants().iter().copied().collect();
        assert_eq!(played, all);
    }

    #[test]
    fn every_round_has_pairs_of_commands_that_wait_for_each_other() {
        for seed in 1..=500 {
            let plan = Plan::of(seed, &GROUNDS, &[]);
            let colliding: Vec<_> = plan.sayings.iter().filter(|saying| saying.order.collides()).collect();
            assert!((4..=8).contains(&colliding.len()), "round {seed}: {}", colliding.len());
            for pair in colliding.chunks(2) {
                let (one, mut other) = (locks(pair[0]), locks(pair[1]));
                other.reverse();
                assert_eq!((pair[0].at, &one), (pair[1].at, &other), "round {seed}");
                assert_ne!(one[0], one[1], "round {seed}");
            }
        }
    }
}
