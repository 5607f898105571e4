//! Told to stop: nothing new is taken, what runs is finished, nothing is lost or repeated.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use omnibus_bus::Settings;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::PATIENCE;
use omnibus_runtime::{Cx, Events, Fail, Handle, Worker};
use omnibus_schemas::platform::Outcome;
use omnibus_tests::life::Life;
use omnibus_tests::shop::{Put, PutDone};

use crate::scene::{Scene, eventually, put};

#[tokio::test(flavor = "multi_thread")]
async fn five_rolling_restarts_under_load_lose_and_repeat_nothing() {
    const COMMANDS: usize = 2000;
    let scene = Scene::new().await;
    let publishing = async {
        let mut ids = Vec::with_capacity(COMMANDS);
        for n in 0..COMMANDS {
            ids.push(scene.stage.publish(["acme", "globex"][n % 2], &put("")).await);
        }
        ids
    };
    let restarting = async {
        let mut running = scene.run().await;
        for _ in 0..5 {
            let next = scene.run().await;
            running.stop().await;
            running = next;
        }
        running
    };
    let (ids, running) = tokio::join!(publishing, restarting);
    for id in &ids {
        assert_eq!(scene.stage.outcome(*id).await.outcome, Some(Outcome::Succeeded));
    }
    assert_eq!(scene.count("select count(*) from shop.things").await, COMMANDS as i64);
    assert_eq!(scene.count("select count(distinct command_id) from shop.things").await, COMMANDS as i64);
    assert_eq!(scene.count("select count(*) from bus.retries").await, 0);
    running.stop().await;
    assert_eq!(scene.stage.told().len(), COMMANDS, "one event each");
    // The server hears of the last acknowledgements a moment after they were sent. What was not acknowledged stays out.
    eventually("nothing is left for ack_wait to find", || async {
        scene.stage.lane("shop", "default").await == (0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_is_finished_before_the_worker_ends() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let id = scene.charge("open", "").await;
    eventually("the call is out", || async { scene.times("call", id) == 1 }).await;
    // It is told to stop first; the answer comes after that.
    tokio::join!(running.stop(), async { scene.answer(id) });
    assert_eq!(scene.count("select count(*) from bus.inbox where outcome = 'succeeded'").await, 1);
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    assert_eq!(scene.times("call", id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_is_bounded_for_calls_and_for_batches() {
    let scene = Scene::new().await;
    // Either lasts for minutes, if it is let.
    let running = scene.run_with(|settings| settings.drain_seconds = 1).await;
    let call = scene.charge("open", "done").await;
    scene.put("hang").await;
    eventually("both are out", || async {
        scene.times("call", call) == 1 && scene.stage.lane("shop", "default").await.0 == 0
    })
    .await;
    let started = Instant::now();
    running.stop().await;
    let default = Duration::from_secs(WorkSettings::defaults().drain_seconds);
    assert!(started.elapsed() < default, "not as long as it would be by default: {:?}", started.elapsed());
}

/// Takes puts, and is gone when nothing of its worker goes on.
struct Taker {
    _alive: Arc<()>,
}

impl Handle<Put> for Taker {
    async fn handle(&self, _cx: &mut Cx<'_>, cmd: Put) -> Result<Events, Fail> {
        Ok(Events::of(PutDone { thing: cmd.thing }))
    }
}

/// How long a worker that has eight seconds takes to end, with four batches that it cannot tell of.
async fn untold_end() -> Duration {
    let scene = Scene::new().await;
    let alive = Arc::new(());
    // Events have nowhere to go: each batch tries for longer than the worker has.
    let js = scene.stage.operator.jetstream();
    let events = js.get_stream("EVT").await.unwrap().cached_info().config.clone();
    js.delete_stream("EVT").await.unwrap();
    let settings = WorkSettings { batch: 1, loops: 1, drain_seconds: 8, ..WorkSettings::defaults() };
    let worker = Worker::new("shop", Taker { _alive: alive.clone() }).handles::<Put>().build();
    let running = scene.stage.run_with(worker, settings).await;
    for _ in 0..5 {
        scene.put("").await;
    }
    // Three on their way, the fourth holds up the loop.
    eventually("as many are out as may be", || async { scene.stage.lane("shop", "default").await == (1, 4) }).await;
    scene.until("select count(*) from bus.inbox where outcome = 'succeeded'", 4).await;
    let started = Instant::now();
    running.stop().await;
    let took = started.elapsed();
    // Whoever tried on behind a worker that has ended would succeed now.
    js.create_stream(events).await.unwrap();
    let gone = async {
        while Arc::strong_count(&alive) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("nothing of the worker is left");
    assert_eq!(js.get_stream("EVT").await.unwrap().cached_info().state.messages, 0, "nobody tries on");
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_cannot_be_told_are_waited_for_once_and_then_left() {
    let mut late = Vec::new();
    // A machine that stands still for a while makes an end late, and not each.
    while late.len() < 4 {
        let took = untold_end().await;
        assert!(took > Duration::from_secs(7), "they are waited for: {took:?}");
        if took < Duration::from_secs(15) {
            return;
        }
        late.push(took);
    }
    panic!("once, not twice: {late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_bus_is_away_ends_all_the_same() {
    let scene = Scene::new().await;
    let running = scene.run_with(|settings| settings.drain_seconds = 1).await;
    let id = scene.put("").await;
    scene.stage.outcome(id).await;
    scene.stage.nats.lock().await.kill9().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_waits_for_its_database_listens_all_the_same() {
    let scene = Scene::new().await;
    let away = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")];
    let program = Path::new(env!("CARGO_BIN_EXE_shop"));
    let mut life = Life::begin(program, &scene.stage, scene.provider.path(), &away);
    eventually("it has begun", || async { life.log().contains("connected to NATS") }).await;
    let ended = life.ask_to_end(PATIENCE).await.expect("it ends");
    assert!(ended.success(), "{}", life.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopping_worker_had_in_its_hands_goes_to_the_next_at_once() {
    // What is not handed back comes again after so long.
    let ack_wait = Duration::from_secs(120);
    let scene = Scene::with(Settings { ack_wait, ..Settings::default() }).await;
    let running = scene.run_with(|settings| settings.in_flight = 4).await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(scene.charge("slow:300", "").await);
    }
    scene.stage.outcome(ids[0]).await;
    running.stop().await;
    let started = Instant::now();
    let _next = scene.run().await;
    for id in ids {
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
        assert_eq!(scene.times("call", id), 1);
    }
    assert!(started.elapsed() < ack_wait / 2, "not after ack_wait: {:?}", started.elapsed());
}
