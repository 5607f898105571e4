use omnibus_schemas::Command;

use super::*;

const ID: &str = "<01979f6e-5a00-7000-8000-000000000003@example.com>";

fn senders() -> Senders {
    Senders {
        address: "office@example.com".parse().unwrap(),
        name: Some("The office".into()),
        domains: vec!["example.com".into(), "example.org".into()],
    }
}

fn stamp() -> Stamp<'static> {
    Stamp { message_id: ID, date: DateTime::from_timestamp(1_700_000_000, 0).unwrap(), seed: Uuid::from_u128(3) }
}

fn with(
    email: &SendEmail,
    files: &[File],
    unsubscribe: Option<&str>,
    dkim: Option<&DkimConfig>,
) -> Result<Composed, Unfit> {
    let from = sender(email, &senders(), &["own.example".into()])?;
    compose(&Letter { email, from: &from, files, unsubscribe, stamp: stamp() }, dkim)
}

fn composed(email: &SendEmail) -> Result<Composed, Unfit> {
    with(email, &[], None, None)
}

fn example(change: impl FnOnce(&mut SendEmail)) -> Result<Composed, Unfit> {
    let mut email = SendEmail::example();
    change(&mut email);
    composed(&email)
}

#[test]
fn the_first_mail_that_people_try_is_a_correct_one() {
    let mail = composed(&SendEmail::example()).unwrap();
    assert_eq!(mail.sender, "office@example.com");
    assert_eq!(mail.recipients, ["test@example.com"]);
    assert_eq!(
        mail.text,
        "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\
         Message-ID: <01979f6e-5a00-7000-8000-000000000003@example.com>\r\n\
         From: \"The office\" <office@example.com>\r\n\
         To: test@example.com\r\n\
         Subject: Test\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         Hello\r\n"
    );
}

#[test]
fn the_same_command_makes_the_same_bytes() {
    let html = |email: &mut SendEmail| {
        email.html = Some("<p>Grüße</p>".into());
        email.body = "Grüße".into();
    };
    let mail = example(html).unwrap();
    assert_eq!(mail, example(html).unwrap());
    assert!(mail.text.contains("multipart/alternative"), "{}", mail.text);
    assert_eq!(mail.text.matches("--=_").count(), 3, "{}", mail.text);
}

#[test]
fn a_boundary_stands_in_neither_text() {
    let first = boundary(Uuid::nil(), &[]);
    let second = boundary(Uuid::nil(), &["", &format!("--{first}--")]);
    assert_ne!(first, second);
}

#[test]
fn a_blind_copy_is_in_the_envelope_only_and_nobody_gets_two() {
    let mail = example(|email| {
        email.cc = vec!["cc@example.com".into(), "test@EXAMPLE.com".into()];
        email.bcc = vec!["bcc@example.com".into(), "cc@example.com".into()];
    })
    .unwrap();
    assert_eq!(mail.recipients, ["test@example.com", "cc@example.com", "bcc@example.com"]);
    assert!(!mail.text.contains("bcc@"), "{}", mail.text);
}

#[test]
fn no_line_break_gets_into_a_header_even_past_the_contract() {
    for (change, field) in [
        ((|e| e.subject = "Hi\r\nBcc: x@example.com".into()) as fn(&mut SendEmail), "/subject"),
        (|e| e.subject = "Hi\nBcc: x@example.com".into(), "/subject"),
        (|e| e.from_name = Some("A\r\nBcc: x@example.com".into()), "/from_name"),
        (|e| e.headers = [("X-A".into(), "1\r\nBcc: x@example.com".into())].into(), "/headers"),
        (|e| e.headers = [("X-A\r\nBcc".into(), "x@example.com".into())].into(), "/headers"),
        (|e| e.to = vec!["a@example.com\r\nBcc: b@example.com".into()], "/to/0"),
        (|e| e.to = vec!["\"a\r\n\"@example.com".into()], "/to/0"),
        (|e| e.reply_to = Some("a@example.com\nX: y".into()), "/reply_to"),
        (|e| e.from = Some("a@example.com\nX: y".into()), "/from"),
    ] {
        let unfit = example(change).unwrap_err();
        assert!(unfit.to_string().starts_with(field), "{unfit}");
        assert_eq!(unfit.code(), "invalid");
    }
}

#[test]
fn a_bare_cr_or_lf_never_leaves() {
    for body in ["a\n.\nb", "a\r.\rb", "a\r\n.\nMAIL FROM:<x@y>", "\n", "\r", "a\n\r\nb\r", ".", "\r\n.\r\n"] {
        let mail = example(|e| {
            e.body = body.into();
            e.html = Some(body.into());
        })
        .unwrap();
        assert_eq!(mail.text.replace("\r\n", "").find(['\r', '\n']), None, "{body:?}");
    }
}

#[test]
fn what_mail_can_not_carry_is_encoded() {
    for body in ["nul \0 here", "bell \u{7}", "Grüße", "🦀", &"long ".repeat(500), &"x".repeat(3000)] {
        let mail = example(|e| e.body = (*body).into()).unwrap();
        assert!(mail.text.is_ascii());
        assert!(!mail.text.contains('\0'));
        assert!(mail.text.lines().all(|line| line.len() <= LONGEST_LINE), "{body:?}");
    }
}

#[test]
fn a_body_of_blanks_is_one_blank() {
    for blanks in ["", " ", "\r\n", "\n \t\r\r\n"] {
        let mail = example(|e| e.body = blanks.into()).unwrap();
        let (_, body) = mail.text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "=20\r\n", "{blanks:?}");
        assert_eq!(parsed(&mail).body_text(0).unwrap().trim(), "", "{blanks:?}");
    }
}

#[test]
fn a_subject_beyond_ascii_is_encoded_and_folded() {
    let mail = example(|e| e.subject = "Ihre Rechnung für März ".repeat(20)).unwrap();
    assert!(mail.text.contains("Subject: Ihre Rechnung =?utf-8?b?"), "{}", mail.text);
}

#[test]
fn a_sender_must_be_of_an_allowed_domain() {
    let mail = example(|e| e.from = Some("me@EXAMPLE.org".into())).unwrap();
    assert_eq!(mail.sender, "me@EXAMPLE.org");
    assert!(mail.text.contains("From: me@EXAMPLE.org\r\n"), "{}", mail.text);
    let unfit = example(|e| e.from = Some("ceo@bank.example".into())).unwrap_err();
    assert_eq!(unfit.code(), "sender_not_allowed");
    let mail = example(|e| e.from = Some("me@own.example".into())).unwrap();
    assert_eq!(mail.sender, "me@own.example");
}

fn file(name: &str, content_id: Option<&str>, bytes: &[u8]) -> File {
    File {
        filename: name.into(),
        content_type: "image/png".into(),
        content_id: content_id.map(str::to_owned),
        bytes: bytes.to_vec(),
    }
}

/// Reads a mail as its recipient's program does, with a parser that is not the one that made it.
fn parsed(mail: &Composed) -> mail_parser::Message<'_> {
    mail_parser::MessageParser::default().parse(mail.text.as_bytes()).unwrap()
}

#[test]
fn files_arrive_byte_for_byte_and_images_are_shown_by_content_id() {
    use mail_parser::MimeHeaders;
    let every_byte: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let files = [file("Rechnung März.png", None, &every_byte), file("logo.png", Some("logo"), b"\n.\nlogo\r.\r")];
    let email = SendEmail { html: Some("<img src=\"cid:logo\">".into()), ..SendEmail::example() };
    let mail = with(&email, &files, None, None).unwrap();
    assert_eq!(mail, with(&email, &files, None, None).unwrap());
    let message = parsed(&mail);
    assert_eq!(
        (message.body_text(0).unwrap().trim_end(), message.body_html(0).unwrap().trim_end()),
        ("Hello", "<img src=\"cid:logo\">")
    );
    let mut found: Vec<_> = message
        .attachments()
        .map(|part| (part.attachment_name().unwrap(), part.content_id(), part.contents().to_vec()))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [("Rechnung März.png", None, every_byte), ("logo.png", Some("logo"), b"\n.\nlogo\r.\r".to_vec()),]
    );
    let text_only = with(&SendEmail::example(), &files, None, None).unwrap();
    assert_eq!(parsed(&text_only).attachments().count(), 2);
}

#[test]
fn one_click_unsubscription_has_two_headers_with_one_link() {
    let mail = with(&SendEmail::example(), &[], Some("https://example.com/unsubscribe/abc"), None).unwrap();
    assert!(mail.text.contains("\r\nList-Unsubscribe: <https://example.com/unsubscribe/abc>\r\n"), "{}", mail.text);
    assert!(mail.text.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{}", mail.text);
}

#[test]
fn an_address_beyond_ascii_is_refused_with_what_would_do() {
    let unfit = example(|e| e.to.push("jürgen@example.com".into())).unwrap_err();
    assert_eq!(unfit, Unfit::Address("/to/1".into()));
    assert!(!unfit.to_string().contains("jürgen"));
}

#[test]
fn what_surely_fits_is_made_whatever_stands_in_its_text() {
    let long = "\"\\".repeat(150);
    let mut texts = vec!["x".repeat(5000), "ü".repeat(5000), "x ".repeat(900)];
    texts.extend(["", " \r\n", "\0", "a\rb\nc", ".\r\n..", "ü 🦀", "=?utf-8?q?=00?="].map(str::to_owned));
    for text in texts {
        for html in [None, Some(text.clone())] {
            let email = SendEmail { subject: long.clone(), body: text.clone(), html, ..SendEmail::example() };
            let from = From { address: "office@example.com".parse().unwrap(), name: Some(long.clone()) };
            let unsubscribe = Some("https://example.com/unsubscribe/token");
            let letter = Letter { email: &email, from: &from, files: &[], unsubscribe, stamp: stamp() };
            assert!(surely_fit(&letter));
            compose(&letter, None).unwrap();
        }
    }
}

#[test]
fn what_may_not_fit_is_tried_before_it_is_accepted() {
    let fits = |change: fn(&mut SendEmail)| {
        let mut email = SendEmail::example();
        change(&mut email);
        let from = From { address: "office@example.com".parse().unwrap(), name: email.from_name.clone() };
        surely_fit(&Letter { email: &email, from: &from, files: &[], unsubscribe: None, stamp: stamp() })
    };
    assert!(fits(|_| {}));
    let changes: [fn(&mut SendEmail); 7] = [
        |e| e.subject = "Hi\r\nBcc: x@example.com".into(),
        |e| e.subject = "Grüße".into(),
        |e| e.subject = "x".repeat(2000),
        |e| e.from_name = Some("A\nBcc: x@example.com".into()),
        |e| e.headers = [("X-A".into(), "1".into())].into(),
        |e| e.reply_to = Some("nobody".into()),
        |e| e.cc = vec!["b@example.com".into()],
    ];
    for (n, change) in changes.into_iter().enumerate() {
        assert!(!fits(change), "{n}");
    }
}
