//! A stand-in for Twilio's Messages API as a program of its own: `twilio-fake <account sid> <auth token>`. Prints its
//! address; ends when its standard input does. See `fake.rs` for what it minds and how it is told to misbehave.
#![expect(clippy::print_stdout, reason = "the test that starts it reads its address")]

mod fake;
mod message;
mod rules;

use std::io::Read;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(account), Some(token)) = (args.next(), args.next()) else {
        return Err(std::io::Error::other("usage: twilio-fake <account sid> <auth token>"));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        served = fake::serve(listener, account, token) => served,
        ended = ended => ended.expect("reading does not panic").map(|_| ()),
    }
}
