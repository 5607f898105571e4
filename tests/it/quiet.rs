//! Logs say who, what and how it ended; never what stood in a body.

use std::io::Write;
use std::sync::{Arc, Mutex};

use omnibus_tests::shop::{Charge, Put};
use tracing_subscriber::fmt::MakeWriter;

use crate::scene::{Scene, headers};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Captured;

    fn make_writer(&'a self) -> Captured {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_repeats_a_body_or_an_errors_words_about_one() {
    const SECRET: &str = "hush-1b9d2e";
    let captured = Captured::default();
    // The one subscriber of this test binary: every other test's lines are in it too.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(captured.clone())
        .with_ansi(false)
        .finish();
    tracing_subscriber::util::SubscriberInitExt::try_init(subscriber).unwrap();

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

    let lines = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let telling: Vec<_> = lines.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(telling.is_empty(), "{telling:#?}");
    assert!(lines.contains("a try failed") && lines.contains("command_id") && lines.contains("outcome=\"succeeded\""));
}
