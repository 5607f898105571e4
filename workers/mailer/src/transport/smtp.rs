//! One mail over SMTP, command by command, so that it is known how far it came when something breaks. A server that pipelines
//! (RFC 2920) hears MAIL, RCPT and DATA in one piece: of four ways there and back, two are left. A mail of ordinary
//! size goes in one piece with its final dot.
//!
//! Up to the final dot the server has nothing it could deliver: whatever happens before is `NotDone`. After the dot only
//! its answer tells: 2xx is done, 4xx is not done, 5xx is a no, and silence is `Unknown`, which is neither a failure nor
//! a reason to send again. A mail that goes in one piece with its dot is `Unknown` from the first byte of that piece to the
//! server's answer: whether the dot arrived can't be seen from here. `AsyncSmtpTransport::send` can't tell these apart: all of
//! them are "network error" there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::response::{Response, Severity};
use omnibus_runtime::{CallError, clock};

use super::pool::{Loan, Pool, Server};
use super::{Mail, Receipt, Verdict, reply};
use crate::settings::Settings;

/// Bytes handed to the connection at a time.
const CHUNK: usize = 16 * 1024;

/// A mail server, and the connections to it.
#[derive(Debug)]
pub struct Smtp {
    pool: Pool,
    /// For mails of which there are many.
    bulk: Pool,
}

/// Why a mail went no further, and whether the connection may be used for another.
struct Setback {
    error: CallError,
    connection: After,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The talk stands between two commands.
    Usable,
    /// Closed, or nobody knows where the talk stands.
    Lost,
    /// Lost, and before the server had heard of this mail.
    LostUntouched,
}

/// The server's word on each recipient of the envelope, before the mail itself.
struct Opened {
    verdicts: Vec<Verdict>,
    /// Did it take anybody, and so waits for the mail?
    waits: bool,
    /// If not: does nobody know where the talk stands?
    lost: bool,
}

impl Smtp {
    /// Reads the settings; connects with the first mail.
    pub fn new(host: &str, settings: &Settings) -> anyhow::Result<Self> {
        let pool = |size| Ok::<_, anyhow::Error>(Pool::new(Server::new(host, settings)?, size));
        Ok(Smtp { pool: pool(settings.smtp_pool)?, bulk: pool(settings.smtp_bulk_pool)? })
    }

    /// Sends. Takes five times the settings' time-out at most.
    pub(super) async fn send(&self, mail: &Mail) -> Result<Receipt, CallError> {
        let pool = if mail.bulk { &self.bulk } else { &self.pool };
        let limit = pool.server.timeout;
        loop {
            let mut loan = pool.lend().await.map_err(CallError::NotDone)?;
            let opened = tokio::time::timeout(limit, open(&mut loan.connection, loan.pipelining, mail)).await;
            let opened = match opened {
                Ok(Ok(opened)) => opened,
                // Servers also close a connection after so many mails: that is not this mail's fault.
                Ok(Err(setback)) if setback.connection == After::LostUntouched && loan.used => continue,
                Ok(Err(setback)) => return Err(setback.end(loan)),
                Err(_) => {
                    let late = anyhow!("the server did not answer within {} s, before the mail left", limit.as_secs());
                    return Err(CallError::NotDone(late));
                }
            };
            if !opened.waits {
                if !opened.lost {
                    loan.give_back();
                }
                return Ok(Receipt { at: clock::now(), verdicts: opened.verdicts });
            }
            let handed = hand_over(&mut loan.connection, mail, limit * 2).await;
            let (error, later) = match handed {
                Ok(()) => {
                    loan.give_back_clean();
                    return Ok(Receipt { at: clock::now(), verdicts: opened.verdicts });
                }
                Err(setback) => {
                    let later = setback.is_later();
                    (setback.end(loan), later)
                }
            };
            return settled_for_some(opened.verdicts, error, later);
        }
    }
}

/// A failure after RCPT touches only the recipients whom the server had taken. Where it had taken all of them, it is the
/// mail's; else each has a fate of its own.
///
/// `later`: the server itself said so (4xx), which defers the recipients; that is no reason to try another way.
fn settled_for_some(verdicts: Vec<Verdict>, error: CallError, later: bool) -> Result<Receipt, CallError> {
    if !later && verdicts.iter().all(|verdict| *verdict == Verdict::Sent) {
        return Err(error);
    }
    let theirs = match &error {
        CallError::NotDone(words) => Verdict::Deferred(words.to_string()),
        CallError::Refused { detail, .. } => Verdict::Bounced { detail: detail.clone(), hard: false },
        CallError::Unknown(words) => Verdict::Unknown(words.to_string()),
    };
    let settle = |verdict| if verdict == Verdict::Sent { theirs.clone() } else { verdict };
    Ok(Receipt { at: clock::now(), verdicts: verdicts.into_iter().map(settle).collect() })
}

impl Setback {
    fn end(self, loan: Loan<'_>) -> CallError {
        if self.connection == After::Usable {
            loan.give_back();
        }
        self.error
    }

    /// Did the server say "later", in the midst of a talk that goes on?
    fn is_later(&self) -> bool {
        self.connection == After::Usable && matches!(self.error, CallError::NotDone(_))
    }

    fn not_done(doing: &str, words: &str, connection: After) -> Self {
        Setback { error: CallError::NotDone(anyhow!("{doing}: {words}")), connection }
    }
}

/// A server's no, or no answer, to a command before the mail itself. Nothing has left.
fn setback(doing: &str, error: &Error) -> Setback {
    let words = reply::words(error);
    match error.status().map(u16::from) {
        // The server says good-bye with it.
        Some(421) | None => Setback::not_done(doing, &words, After::Lost),
        // It wants a login or encryption: the settings' fault, not the mail's.
        Some(530 | 534 | 535 | 538) => Setback::not_done(doing, &words, After::Usable),
        Some(500..) => Setback {
            error: CallError::Refused { code: "refused", detail: format!("{doing}: {words}") },
            connection: After::Usable,
        },
        Some(_) => Setback::not_done(doing, &words, After::Usable),
    }
}

/// MAIL, RCPT, DATA: up to the server's word that it listens.
async fn open(connection: &mut AsyncSmtpConnection, pipelining: bool, mail: &Mail) -> Result<Opened, Setback> {
    let mut commands = vec![MailFrom::new(Some(address(&mail.sender)?), vec![]).to_string()];
    for recipient in &mail.recipients {
        commands.push(Rcpt::new(address(recipient)?, vec![]).to_string());
    }
    commands.push(Data.to_string());
    let mut talk = Talk { connection, answers: VecDeque::new(), broken: false };
    if pipelining {
        talk.say_all(&commands).await;
    }
    let opened = hear(&mut talk, &commands).await;
    // Said in one piece, DATA is said even where nobody was taken. A server that listens all the same must not take the
    // next mail's commands for this one's text.
    let listens = matches!(talk.answers.back(), Some(Ok(response)) if response.has_code(354));
    match opened {
        Ok(opened) if talk.broken || listens => Ok(Opened { lost: true, ..opened }),
        Err(Setback { error, connection: After::Usable }) if talk.broken || listens => {
            Err(Setback { error, connection: After::Lost })
        }
        opened => opened,
    }
}

/// The commands before the mail itself, and their answers.
struct Talk<'c> {
    connection: &'c mut AsyncSmtpConnection,
    /// Answers to what was said in one piece, as far as they have not been asked for.
    answers: VecDeque<Result<Response, Error>>,
    /// Did they break off, or make no sense? Then the last one says how.
    broken: bool,
}

impl Talk<'_> {
    /// One piece, one way there and back: RFC 2920.
    async fn say_all(&mut self, commands: &[String]) {
        let mut answer = self.connection.command(commands.concat()).await;
        loop {
            self.broken = matches!(&answer, Err(error) if error.status().is_none());
            self.answers.push_back(answer);
            if self.broken || self.answers.len() == commands.len() {
                return;
            }
            answer = self.connection.read_response().await;
        }
    }

    /// The answer to the next command, which is said now if that was not done before.
    async fn say(&mut self, command: &str) -> Result<Response, Error> {
        match self.answers.pop_front() {
            Some(answer) => answer,
            None => self.connection.command(command).await,
        }
    }
}

async fn hear(talk: &mut Talk<'_>, commands: &[String]) -> Result<Opened, Setback> {
    let [sender, recipients @ .., data] = commands else { unreachable!("there are MAIL and DATA") };
    if let Err(error) = talk.say(sender).await {
        let mut setback = setback("MAIL", &error);
        if setback.connection == After::Lost {
            setback.connection = After::LostUntouched;
        }
        return Err(setback);
    }
    let mut verdicts = Vec::with_capacity(recipients.len());
    let mut last = None;
    for recipient in recipients {
        let Err(error) = talk.say(recipient).await else {
            verdicts.push(Verdict::Sent);
            continue;
        };
        let setback = setback("RCPT", &error);
        if setback.connection != After::Usable {
            return Err(setback);
        }
        let detail = reply::words(&error);
        verdicts.push(match (&setback.error, error.status().map(u16::from)) {
            (CallError::Refused { .. }, _) => Verdict::Bounced { hard: reply::no_such_mailbox(&detail), detail },
            (_, Some(400..500)) => Verdict::Deferred(detail),
            // It wants a login: the settings' fault, and nobody's in particular.
            _ => return Err(setback),
        });
        last = Some(setback);
    }
    let over = |verdicts| Opened { verdicts, waits: false, lost: false };
    let deferred = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Deferred(_)));
    match last {
        Some(setback) if !verdicts.contains(&Verdict::Sent) => {
            // Nobody was taken, each with words of their own. If the only one was refused for good, so is the mail. What is
            // left of the talk is undone by the RSET before the connection's next mail.
            let each = deferred || verdicts.len() > 1;
            return if each { Ok(over(verdicts)) } else { Err(setback) };
        }
        _ => {}
    }
    let all = |verdicts: Vec<Verdict>, setback: Setback| {
        let later = setback.is_later();
        match setback.connection {
            After::Usable => match settled_for_some(verdicts, setback.error, later) {
                Ok(receipt) => Ok(over(receipt.verdicts)),
                Err(error) => Err(Setback { error, connection: After::Usable }),
            },
            connection => Err(Setback { error: setback.error, connection }),
        }
    };
    match talk.say(data).await {
        Ok(response) if response.has_code(354) => Ok(Opened { verdicts, waits: true, lost: false }),
        Ok(response) => {
            let words = format!("{} where 354 was due", response.code());
            all(verdicts, Setback::not_done("DATA", &words, After::Lost))
        }
        Err(error) => all(verdicts, setback("DATA", &error)),
    }
}

/// The mail, the final dot, and the answer to it.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    mail: &Mail,
    limit: std::time::Duration,
) -> Result<(), Setback> {
    // lettre ends the last line itself.
    let text = mail.text.strip_suffix("\r\n").unwrap_or(&mail.text);
    let all_left = AtomicBool::new(false);
    let answer = match with_final_dot(text) {
        Some(whole) => {
            // It fits into what two machines keep for a connection: if anything of it has left, so may have all.
            all_left.store(true, Ordering::Relaxed);
            tokio::time::timeout(limit, connection.command(whole)).await
        }
        None => {
            let chunks = Chunks { rest: text.as_bytes().chunks(CHUNK), all_left: &all_left };
            tokio::time::timeout(limit, connection.message_iter(chunks)).await
        }
    };
    let unanswered = |words: String| match all_left.load(Ordering::Relaxed) {
        true => Setback {
            error: CallError::Unknown(anyhow!("no answer after the final dot: {words}")),
            connection: After::Lost,
        },
        false => Setback::not_done("the mail broke off before its final dot", &words, After::Lost),
    };
    match answer {
        Ok(Ok(response)) if response.code().severity == Severity::PositiveCompletion => Ok(()),
        Ok(Ok(response)) => Err(unanswered(format!("{} where 250 was due", response.code()))),
        Ok(Err(error)) if error.status().is_some() => Err(setback("the mail", &error)),
        Ok(Err(error)) => Err(unanswered(reply::words(&error))),
        Err(_) => Err(unanswered(format!("waited {} s", limit.as_secs()))),
    }
}

/// The mail and its end in one piece, if that is not too large and no line of it begins with a dot, which would have to
/// be doubled (RFC 5321 §4.5.2).
fn with_final_dot(text: &str) -> Option<String> {
    let dotted = text.starts_with('.') || text.contains("\r\n.");
    (text.len() <= CHUNK && !dotted).then(|| format!("{text}\r\n.\r\n"))
}

/// The mail in pieces. The connection asks for a piece when it has sent the one before; when it asks and there is none,
/// all of them have left, and what it sends next is the final dot.
struct Chunks<'a> {
    rest: std::slice::Chunks<'a, u8>,
    all_left: &'a AtomicBool,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let piece = self.rest.next();
        if piece.is_none() {
            self.all_left.store(true, Ordering::Relaxed);
        }
        piece
    }
}

fn address(text: &str) -> Result<Address, Setback> {
    text.parse().map_err(|_| Setback {
        error: CallError::Refused { code: "refused", detail: "an address in the envelope is none".into() },
        connection: After::Lost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_mail_goes_in_one_piece_with_its_end_unless_a_line_begins_with_a_dot() {
        assert_eq!(with_final_dot("Subject: A.\r\n\r\nb .").unwrap(), "Subject: A.\r\n\r\nb .\r\n.\r\n");
        for text in [".", "Subject: A\r\n\r\n.", "Subject: A\r\n\r\nb\r\n..c"] {
            assert_eq!(with_final_dot(text), None, "{text:?}");
        }
        assert!(with_final_dot(&"x".repeat(CHUNK)).is_some());
        assert_eq!(with_final_dot(&"x".repeat(CHUNK + 1)), None);
    }
}
