//! Kills at random times, from a seed: `OMNIBUS_SEED` repeats a run's choices (not its timing, which is the point).

use std::time::{Duration, Instant};

use omnibus_runtime::testing::TENANTS;
use omnibus_tests::chance::Chance;

use super::case::{Case, Victim, charge, put};

const ROUNDS: u32 = 20;
/// So many are played however slow the machine is.
const LEAST: u32 = 5;
/// Of the others, none begins later than this.
const BOUND: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_whenever_every_command_ends_once() {
    let seed = std::env::var("OMNIBUS_SEED").ok().map_or(2, |seed| seed.parse().expect("a number"));
    println!("OMNIBUS_SEED={seed}");
    let mut chance = Chance(seed);
    let mut case = Case::of(Victim::Postgres).await;
    let mut life = case.begin(None);
    let (started, mut rounds) = (Instant::now(), 0);
    while rounds < LEAST || (rounds < ROUNDS && started.elapsed() < BOUND) {
        rounds += 1;
        for _ in 0..=chance.below(4) {
            let tenant = TENANTS[chance.below(2) as usize];
            let order = match chance.below(8) {
                0 => put("then"),
                1 => put("reject"),
                2 => put("fail"),
                3 => charge("", "ask", false),
                4 => charge("", "", true),
                5 => charge("slow:100", "", false),
                _ => put(""),
            };
            case.send(tenant, order).await;
        }
        let victim = match chance.below(10) {
            0 => Victim::Nats,
            1 => Victim::Postgres,
            _ => Victim::Worker,
        };
        tokio::time::sleep(Duration::from_millis(chance.below(400))).await;
        life = case.strike(victim, life).await;
    }
    let verdict = case.verdict(&life).await;
    println!("{rounds} rounds: {verdict:?}");
    assert!(verdict.ended["succeeded"] > 0, "nothing was carried out");
    assert!(life.terminate().await.success(), "{}", life.log());
}
