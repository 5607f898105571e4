//! A mail server that behaves as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it does with the next mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes it.
    Takes,
    /// Hangs up before a word is said.
    HangsUp,
    /// Takes the whole mail and hangs up without saying so.
    LosesTheAnswer,
    /// Says nothing until it is to behave otherwise.
    Waits,
}

/// Listens until the test process ends.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    manner: Arc<Mutex<Manner>>,
}

impl MailServer {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let manner = Arc::new(Mutex::new(manner));
        let told = manner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = told.clone();
                // A client that goes away is no fault of the server's.
                std::thread::spawn(move || drop(talk(&stream, &told)));
            }
        });
        MailServer { port, manner }
    }

    pub(crate) fn shall(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

fn talk(stream: &TcpStream, manner: &Mutex<Manner>) -> std::io::Result<()> {
    let is = |wanted| *manner.lock().unwrap() == wanted;
    if is(Manner::HangsUp) {
        return Ok(());
    }
    let wait = || {
        while is(Manner::Waits) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    };
    wait();
    let mut out = stream;
    out.write_all(b"220 test ESMTP\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        wait();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        match verb.as_str() {
            "EHLO" => out.write_all(b"250-test\r\n250 8BITMIME\r\n")?,
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                while lines.next().transpose()?.is_some_and(|line| line != ".") {}
                if is(Manner::LosesTheAnswer) {
                    return Ok(());
                }
                out.write_all(b"250 taken\r\n")?;
            }
            "QUIT" => return out.write_all(b"221 bye\r\n"),
            _ => out.write_all(b"250 ok\r\n")?,
        }
    }
    Ok(())
}
