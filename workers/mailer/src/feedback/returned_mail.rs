//! Mails that come back: delivery reports (DSN, RFC 3464) and complaints (ARF, RFC 5965), posted as they came by the mail
//! server that receives for the sender's address. Which mail of ours it is about is said by the Message-ID of the part
//! that is sent along; which recipient, by the report.

use chrono::{DateTime, Utc};
use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::body;
use omnibus_schemas::mailer::{Feedback, RecordFeedback, ReturnedMail};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use sqlx::Row;
use uuid::Uuid;

use crate::Mailer;
use crate::transport::{no_such_mailbox, without_addresses};

/// What a report says of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    address: String,
    what: Feedback,
    detail: String,
}

/// A report, as far as it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    /// The original mail's, with its brackets.
    message_id: String,
    said: Vec<Said>,
}

impl Receive<ReturnedMail> for Mailer {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let given = visit.params.get("secret").map(String::as_bytes).unwrap_or_default();
        // Compared by their digests, so that how long it takes says nothing.
        let right = self
            .returned_mail_secret
            .as_ref()
            .is_some_and(|secret| Sha256::digest(secret.expose_secret().as_bytes()) == Sha256::digest(given));
        if !right {
            return Err(AskError::NotFound("there is nothing here".into()));
        }
        let Some(report) = report(&visit.body) else {
            // Out-of-office notes and the like: taken, so that nobody sends them again.
            return Ok(Reply::status(200).text("not a delivery report"));
        };
        let row = sqlx::query("select tenant, email_id from mailer.emails where message_id = $1")
            .bind(&report.message_id)
            .fetch_optional(&mut *at.db)
            .await?;
        let Some(row) = row else { return Ok(Reply::status(200).text("not a mail of ours")) };
        let (tenant, email_id): (String, Uuid) = (row.try_get(0)?, row.try_get(1)?);
        let digest = Sha256::digest(&visit.body);
        let commands = report.said.iter().filter_map(|said| {
            let command = command(email_id, said, at.now)?;
            let name = [&digest[..], said.address.as_bytes()].concat();
            Some((Uuid::new_v5(&email_id, &name), command))
        });
        Ok(commands.fold(Reply::status(200).text("booked"), |reply, (id, command)| reply.then(&tenant, id, &command)))
    }
}

fn command(email_id: Uuid, said: &Said, at: DateTime<Utc>) -> Option<RecordFeedback> {
    let command = RecordFeedback {
        email_id,
        address: said.address.clone(),
        what: said.what,
        hard: said.what == Feedback::Bounced && no_such_mailbox(&said.detail),
        detail: Some(said.detail.clone()).filter(|detail| !detail.is_empty()),
        at,
    };
    body::validate(&command).ok()?;
    Some(command)
}

fn report(raw: &[u8]) -> Option<Report> {
    let message = MessageParser::default().parse(raw)?;
    let part = |kind: &str, sub: &str| message.parts.iter().find(|part| part.is_content_type(kind, sub));
    let message_id = original(&message)?;
    let said = if let Some(status) = part("message", "delivery-status") {
        delivery_status(&String::from_utf8_lossy(status.contents()))
    } else {
        let complaint = part("message", "feedback-report")?;
        feedback_report(&String::from_utf8_lossy(complaint.contents()), &message)
    };
    Some(Report { message_id, said })
}

/// The Message-ID of the mail that came back, from the part that holds it or its head.
fn original(message: &Message<'_>) -> Option<String> {
    let id = message.parts.iter().find_map(|part| match &part.body {
        PartType::Message(nested) => nested.message_id().map(str::to_owned),
        _ if part.is_content_type("text", "rfc822-headers") => {
            let head = [part.contents(), b"\r\n\r\n"].concat();
            MessageParser::default().parse(&head)?.message_id().map(str::to_owned)
        }
        _ => None,
    })?;
    Some(format!("<{}>", id.trim_start_matches('<').trim_end_matches('>')))
}

/// Blocks of fields with empty lines between them: one about the message, then one for each recipient.
fn delivery_status(text: &str) -> Vec<Said> {
    let text = text.replace("\r\n", "\n");
    let blocks = text.split("\n\n").map(fields);
    let one = |block: Vec<(String, String)>| {
        let field = |name: &str| block.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let address = field("original-recipient").or(field("final-recipient"))?;
        let what = match field("action")?.to_ascii_lowercase().as_str() {
            "failed" => Feedback::Bounced,
            "delayed" => Feedback::Deferred,
            "delivered" => Feedback::Delivered,
            // Relayed and expanded say nothing about the mailbox.
            _ => return None,
        };
        let words = field("diagnostic-code").map(after_semicolon).unwrap_or_default();
        let detail = without_addresses(&format!("{} {words}", field("status").unwrap_or_default()));
        Some(Said { address: after_semicolon(address), what, detail })
    };
    blocks.filter_map(one).collect()
}

/// A complaint names its recipient, or at least sends the mail along.
fn feedback_report(text: &str, message: &Message<'_>) -> Vec<Said> {
    let block = fields(&text.replace("\r\n", "\n"));
    let field = |name: &str| block.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    if field("feedback-type").is_none_or(|kind| !kind.eq_ignore_ascii_case("abuse")) {
        return vec![];
    }
    let to = message.parts.iter().find_map(|part| match &part.body {
        PartType::Message(nested) => nested.to()?.first()?.address().map(str::to_owned),
        _ => None,
    });
    let address = field("original-rcpt-to").map(|to| to.trim_matches(['<', '>']).to_owned()).or(to);
    let said = |address| Said { address, what: Feedback::Complained, detail: String::new() };
    address.map(said).into_iter().collect()
}

/// `Name: value` lines, a name in small letters; a line that begins with a blank goes on with the one before.
fn fields(block: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.split_once(':'), found.last_mut()) {
            (_, Some((_, value))) if line.starts_with([' ', '\t']) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (Some((name, value)), _) => found.push((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
            (None, _) => {}
        }
    }
    found
}

/// `rfc822; bob@example.com`, `smtp; 550 no`
fn after_semicolon(value: &str) -> String {
    value.split_once(';').map_or(value, |(_, rest)| rest).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dsn(last: &str) -> String {
        format!(
            "From: MAILER-DAEMON@mx.example.net\r\nTo: office@example.com\r\nSubject: Undelivered\r\n\
             MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
             --b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\
             --b\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; mx.example.net\r\n\r\n\
             Final-Recipient: rfc822; bob@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 <bob@example.com>:\r\n user unknown\r\n\r\n\
             Original-Recipient: rfc822;eve@example.com\r\nFinal-Recipient: rfc822;eve@other.example\r\n\
             Action: delayed\r\nStatus: 4.4.1\r\n\r\n\
             --b\r\n{last}\r\n--b--\r\n"
        )
    }

    fn expected() -> Report {
        Report {
            message_id: "<1-2@example.com>".into(),
            said: vec![
                Said {
                    address: "bob@example.com".into(),
                    what: Feedback::Bounced,
                    detail: "5.1.1 550 5.1.1 <address> user unknown".into(),
                },
                Said { address: "eve@example.com".into(), what: Feedback::Deferred, detail: "4.4.1".into() },
            ],
        }
    }

    #[test]
    fn a_delivery_report_says_who_and_why() {
        let whole = "Content-Type: message/rfc822\r\n\r\nMessage-ID: <1-2@example.com>\r\nSubject: Hi\r\n\r\nHello\r\n";
        let head = "Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <1-2@example.com>\r\nSubject: Hi\r\n";
        for last in [whole, head] {
            assert_eq!(report(dsn(last).as_bytes()), Some(expected()), "{last}");
        }
    }

    #[test]
    fn a_complaint_says_who() {
        let raw = "From: fbl@isp.example\r\nMIME-Version: 1.0\r\n\
                   Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n\
                   --b\r\nContent-Type: text/plain\r\n\r\nSpam.\r\n\
                   --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n\r\n\
                   --b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <1-2@example.com>\r\nTo: bob@example.com\r\n\
                   Subject: Hi\r\n\r\nHello\r\n--b--\r\n";
        let report = report(raw.as_bytes()).unwrap();
        assert_eq!(report.message_id, "<1-2@example.com>");
        assert_eq!((report.said[0].address.as_str(), report.said[0].what), ("bob@example.com", Feedback::Complained));
    }

    #[test]
    fn what_is_no_report_is_none() {
        for raw in
            ["", "Subject: Out of office\r\n\r\nBack on Monday\r\n", "\0\0\0", &dsn("Content-Type: text/plain\r\n\r\n")]
        {
            assert_eq!(report(raw.as_bytes()), None);
        }
    }
}
