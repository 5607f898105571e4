//! Tenants apart from each other, and the law that nothing gets lost.

use std::collections::{BTreeMap, BTreeSet};

use omnibus_schemas::platform::{Accounts, AccountsReport, HeldCommands};
use omnibus_tests::shop::Count;

use crate::scene::{Scene, charge, eventually, headers, put};

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_bound_to_their_tenant() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let (id, held) = (scene.put("").await, scene.charge("unknown", "cannot_tell").await);
    scene.stage.drain().await;
    assert_eq!(scene.page("globex", id).await.unwrap_err().0, 404);
    assert_eq!(scene.page("globex", held).await.unwrap_err().0, 404);
    assert!(scene.stage.ask("shop", "globex", &HeldCommands { limit: 9 }).await.unwrap().held.is_empty());
    assert!(scene.stage.ask("shop", "globex", &Accounts {}).await.unwrap().commands.is_empty());
    assert_eq!(scene.stage.ask("shop", "globex", &Count { thing: "apple".into() }).await.unwrap().put, 0);
    assert_eq!(scene.page("acme", id).await.unwrap().command, "put");
    assert_eq!(scene.stage.ask("shop", "no tenant", &Accounts {}).await.unwrap_err().0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_is_succeeded_and_rejected_and_dead_lettered_and_held_and_pending() {
    let scene = Scene::new().await;
    let _workers = (scene.run_with(|s| s.batch = 16).await, scene.run_with(|s| s.batch = 16).await);
    let puts = ["", "fail:1", "reject", "then", "snooze:20", "fail", "", "database", "nothing", ""];
    let charges = ["", "not_done:1", "refused", "unknown", "skip", "early", "not_done"];
    let mut chance = 17_u64;
    for n in 0..300_usize {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (chance >> 33) as usize;
        let tenant = ["acme", "globex"][pick % 2];
        let id = match pick % 7 {
            0 | 1 => scene.stage.publish(tenant, &charge(charges[pick / 7 % 7], "cannot_tell")).await,
            2 if n % 2 == 0 => {
                let subject = format!("cmd.shop.default.put.{tenant}");
                scene.stage.publish_raw(&subject, headers(&[]), "garbage").await;
                continue;
            }
            _ => scene.stage.publish(tenant, &put(puts[pick / 7 % 10])).await,
        };
        if n % 5 == 0 {
            // The same once more, unseen by the server's window.
            let map = headers(&[("ce-id", &id.to_string())]);
            scene.stage.publish_raw(&format!("cmd.shop.default.put.{tenant}"), map, r#"{"thing":"apple"}"#).await;
        }
    }
    eventually("the lanes are empty", || async {
        scene.stage.lane("shop", "default").await == (0, 0) && scene.stage.lane("shop", "calls").await == (0, 0)
    })
    .await;

    // What the stream accepted, by identity: per lane, for a lane is what keeps an inbox.
    let stream = scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap();
    let mut accepted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let last = stream.cached_info().state.last_sequence;
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let tokens: Vec<_> = message.subject.split('.').collect();
        let id = message.headers.get("ce-id").map_or_else(|| sequence.to_string(), |id| id.to_string());
        accepted.entry(tokens[4].to_owned()).or_default().insert(format!("{} {id}", tokens[2]));
    }
    for tenant in ["acme", "globex"] {
        let AccountsReport { commands } = scene.stage.ask("shop", tenant, &Accounts {}).await.unwrap();
        let sum: u64 = commands.iter().map(|c| c.succeeded + c.rejected + c.dead_lettered + c.held + c.under_way).sum();
        assert_eq!(sum, accepted[tenant].len() as u64, "{tenant}: {commands:#?}");
        assert_eq!(commands.iter().map(|c| c.under_way).sum::<u64>(), 0);
        assert!(commands.iter().any(|c| c.held > 0) && commands.iter().any(|c| c.dead_lettered > 0));
    }
    // Each has exactly one terminal event, and each id stands once for whoever keeps an inbox.
    let terminal = || {
        let mut terminal: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for told in scene.stage.told() {
            if told.outcome.is_some() {
                terminal.entry((told.tenant, told.causation)).or_default().insert(told.id);
            }
        }
        terminal
    };
    let inbox = scene.count("select count(distinct (tenant, message_id)) from bus.inbox").await;
    eventually("every end is told", || async { terminal().len() as i64 >= inbox }).await;
    let terminal = terminal();
    assert_eq!(terminal.len() as i64, inbox);
    for ((tenant, id), ends) in &terminal {
        // A charge was repeated in another lane, where the same id is a command of its own.
        let lanes = ["default", "calls"].iter().filter(|lane| accepted[tenant].contains(&format!("{lane} {id}")));
        assert!(ends.len() <= lanes.count().max(1), "{tenant}: {id} has ended as {ends:?}");
    }
    let twice = "select count(*) from (select command_id, tenant from shop.things group by 1, 2 having count(*) > 1) t";
    assert_eq!(scene.count(twice).await, 0);
}
