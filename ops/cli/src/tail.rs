//! `omnibus tail`: what happens, as it happens or since when one likes.

use std::ops::ControlFlow;

use anyhow::{bail, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use futures_util::StreamExt;
use omnibus_runtime::clock;
use omnibus_schemas::{Catalogue, subject};

use crate::connect::Connection;
use crate::home::Home;
use crate::key;
use crate::listing::Listing;
use crate::reading::Reading;
use crate::show::{self, Output};

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    connection: Connection,
    /// The subject, with `*` for a token and `>` for all that follow.
    #[arg(default_value = "evt.>")]
    subject: String,
    /// Begins with what the stream has: since a time (RFC 3339), since so long ago (10m, 2h), or `all`.
    #[arg(long, value_parser = since)]
    since: Option<Since>,
    /// Ends after so many messages.
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// Ends when the stream has no more, in place of following it. Needs --since.
    #[arg(long, requires = "since")]
    no_follow: bool,
}

/// From when on; everything if `None`.
#[derive(Debug, Clone, Copy)]
struct Since(Option<DateTime<Utc>>);

fn since(text: &str) -> Result<Since, String> {
    if text == "all" {
        return Ok(Since(None));
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Ok(Since(Some(at.with_timezone(&Utc)))),
        Err(_) => {
            let ago = key::duration(text).map_err(|_| "must be an RFC 3339 time, so long ago (10m, 2h), or all")?;
            Ok(Since(clock::now().checked_sub_signed(ago)))
        }
    }
}

impl Tail {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<()> {
        let tokens = self.subject.split('.');
        let well_formed = tokens.clone().all(|t| !t.is_empty() && !t.contains(char::is_whitespace));
        ensure!(well_formed, "{:?} is no subject: words between dots, such as evt.mailer.*.acme", self.subject);
        ensure!(self.count != Some(0), "--count must be 1 or more");
        let mut left = self.count;
        let mut see = |reading: Reading| {
            match output {
                Output::Table => show::text(&reading.line()),
                Output::Json => show::json_line(&reading),
            }
            match &mut left {
                None => ControlFlow::Continue(()),
                Some(left) => {
                    *left -= 1;
                    if *left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }
            }
        };
        let bus = self.connection.open(home).await?;
        if let Some(Since(since)) = self.since {
            let stream = stream_of(&self.subject)?;
            let listing = Listing {
                subjects: vec![self.subject.clone()],
                since,
                follow: !self.no_follow,
                ..Listing::of(&stream)
            };
            return listing.read(&bus, None, |message| see(Reading::stored(&stream, &message))).await;
        }
        let refused = bus.guard(&self.subject, async {
            let mut messages = bus.client().subscribe(self.subject.clone()).await?;
            bus.client().flush().await?;
            if output == Output::Table {
                show::remark(&format!("listening on {}; Ctrl-C ends it", self.subject));
            }
            while let Some(message) = messages.next().await {
                if see(Reading::of(&message.subject, message.headers.as_ref(), &message.payload)).is_break() {
                    break;
                }
            }
            anyhow::Ok(())
        });
        refused.await?
    }
}

/// The stream that keeps a subject.
fn stream_of(subject: &str) -> anyhow::Result<String> {
    let mut tokens = subject.split('.');
    Ok(match (tokens.next(), tokens.next()) {
        (Some("evt"), _) => "EVT".to_owned(),
        (Some("dlq"), _) => "DLQ".to_owned(),
        (Some("sched"), _) => "SCHEDULE".to_owned(),
        (Some("cmd"), Some(domain)) if Catalogue::omnibus().domain(domain).is_some() => subject::command_stream(domain),
        (Some("cmd"), _) => bail!("--since reads one stream, so name the domain: cmd.mailer.>"),
        _ => bail!("no stream keeps {subject}; --since is for evt., cmd.<domain>., dlq. and sched."),
    })
}
