//! Named points at which a test can stop a worker, to kill it (or the server it talks to) right there.
//!
//! Compiled in with the feature `failpoints` only. `OMNIBUS_FAILPOINT=after_commit` (or `after_commit:2` for the second
//! time it is reached) makes the process print `failpoint after_commit` on standard output and wait for a line on
//! standard input. `after_commit!` makes whoever gets there panic instead.

/// Stops here if this point was asked for.
#[cfg(not(feature = "failpoints"))]
pub(crate) async fn reached(_point: &'static str) {}

/// Stops here if this point was asked for.
#[cfg(feature = "failpoints")]
#[expect(clippy::print_stdout, reason = "the test that set the point reads it")]
pub(crate) async fn reached(point: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static SEEN: AtomicU32 = AtomicU32::new(0);
    // The bench is built with this too, and asking the environment for every command would show.
    static WANTED: OnceLock<Option<String>> = OnceLock::new();

    let Some(wanted) = WANTED.get_or_init(|| std::env::var("OMNIBUS_FAILPOINT").ok()) else { return };
    let (stop, panics) = wanted.strip_suffix('!').map_or((wanted.as_str(), false), |stop| (stop, true));
    let (name, nth) = stop.split_once(':').unwrap_or((stop, "1"));
    if name != point || (SEEN.fetch_add(1, Ordering::SeqCst) + 1).to_string() != nth {
        return;
    }
    assert!(!panics, "a test asked for it");
    println!("failpoint {point}");
    let resumed = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    resumed.await.expect("reading a line does not panic").expect("the test keeps standard input open");
}
