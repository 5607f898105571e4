//! Logs say who, what and how it ended; never what stood in a body.

use omnibus_runtime::testing::Log;
use omnibus_tests::shop::{Charge, Put};

use crate::scene::{Scene, headers};

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_repeats_a_body_or_an_errors_words_about_one() {
    const SECRET: &str = "hush-1b9d2e";
    // The one log of this test binary: every other test's lines are in it too.
    let log = Log::begin();
    let scene = Scene::new().await;
    let running = scene.run().await;
    for how in ["", "telling", "database", "reject", "then", "later:10", "snooze:5", "panic", "large"] {
        scene.stage.publish("acme", &Put { thing: SECRET.into(), how: how.into() }).await;
    }
    for how in ["", "not_done", "refused", "unknown", "unrecorded", "panic"] {
        let command = Charge { thing: SECRET.into(), how: how.into(), reconcile: String::new(), resend: false };
        scene.stage.publish("acme", &command).await;
    }
    for body in [format!(r#"{{"thing":["{SECRET}"]}}"#), format!("{SECRET} garbage"), format!(r#"{{"thing":"{SECRET}"#)]
    {
        scene.stage.publish_raw("cmd.shop.default.put.acme", headers(&[]), body).await;
    }
    scene.stage.drain().await;
    running.stop().await;

    assert_eq!(log.line_with(SECRET), None);
    for words in ["a try failed", "command_id", "outcome=\"succeeded\""] {
        assert!(log.says(words), "{words}");
    }
}
