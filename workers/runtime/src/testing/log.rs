//! What a process logs, for tests of what must not stand there.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::filter::LevelFilter;

/// Everything that this process logs, down to DEBUG, from when it was begun on. Other tests' lines stand in it too: the
/// words that a test looks for have to be its own alone.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic happens under this lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Begins it. A process has one log, so one test of each test binary can have it.
    ///
    /// # Panics
    /// If the process logs somewhere already.
    pub fn begin() -> Self {
        let log = Log(Arc::default());
        let to = log.0.clone();
        let begun = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_writer(move || Writer(to.clone()))
            .with_ansi(false)
            .try_init();
        begun.expect("nobody else in this process sets up a log");
        log
    }

    /// Do these words stand in it by now?
    pub fn says(&self, words: &str) -> bool {
        self.line_with(words).is_some()
    }

    /// The first line with these words.
    pub fn line_with(&self, words: &str) -> Option<String> {
        let bytes = self.0.lock().expect("no panic happens under this lock");
        let text = String::from_utf8_lossy(&bytes);
        text.lines().find(|line| line.contains(words)).map(str::to_owned)
    }
}
