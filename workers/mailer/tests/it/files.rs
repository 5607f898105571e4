//! Files that go with a mail: inside the command, and uploaded before.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{MessageParser, MimeHeaders};
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Object;
use omnibus_schemas::mailer::{Attachment, RenderedEmail, SendEmail, UploadAttachment};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::scene::{done, email, rejected, run, run_with, stage};
use crate::server::SmtpServer;

fn inline(filename: &str, bytes: &[u8]) -> Attachment {
    Attachment {
        filename: Some(filename.into()),
        content_type: Some("application/pdf".into()),
        content: Some(STANDARD.encode(bytes)),
        attachment_id: None,
        content_id: None,
    }
}

fn with(attachments: Vec<Attachment>) -> SendEmail {
    email(|e| e.attachments = attachments)
}

/// Puts a file where the door puts it, and tells the mailer.
pub(crate) async fn upload(stage: &Stage, tenant: &str, filename: &str, bytes: &[u8]) -> Uuid {
    let object = put(stage, tenant, bytes).await;
    done(stage, tenant, &UploadAttachment { filename: filename.into(), object }).await
}

async fn put(stage: &Stage, tenant: &str, mut bytes: &[u8]) -> Object {
    let name = format!("{tenant}/{}", omnibus_runtime::clock::new_id());
    let (size, sha256) = (bytes.len() as u64, Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect());
    let store = stage.operator.jetstream().get_object_store("uploads").await.unwrap();
    store.put(name.as_str(), &mut bytes).await.unwrap();
    Object { bucket: "uploads".into(), name, size, sha256, content_type: "application/pdf".into() }
}

#[tokio::test]
async fn files_arrive_as_they_were_inline_or_uploaded() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let large: Vec<u8> = (0..=255).cycle().take(400_000).collect();
    let id = upload(&stage, "acme", "large.pdf", &large).await;
    let by_id = |filename: Option<&str>| Attachment {
        filename: filename.map(str::to_owned),
        content_type: None,
        content: None,
        attachment_id: Some(id),
        content_id: None,
    };
    let both = with(vec![inline("small.pdf", b"small\n.\n"), by_id(Some("Bericht.pdf"))]);
    let sent = stage.publish("acme", &both).await;
    let accepted = server.next("accepted").await;
    assert_eq!(stage.outcome(sent).await.name, "email_sent");
    let message = MessageParser::default().parse(accepted["text"].as_str().unwrap().as_bytes()).unwrap().into_owned();
    let files: Vec<_> = message.attachments().map(|part| (part.attachment_name().unwrap(), part.contents())).collect();
    assert_eq!(files[0], ("small.pdf", &b"small\n.\n"[..]));
    assert_eq!((files[1].0, files[1].1 == large), ("Bericht.pdf", true));
    assert_eq!(message.body_text(0).unwrap().trim_end(), "Hello");
    let page = stage.ask("mailer", "acme", &RenderedEmail { email_id: sent }).await.unwrap();
    assert_eq!(page.attachments.len(), 2);

    // Another tenant's file is no file.
    assert_eq!(rejected(&stage, "globex", &with(vec![by_id(None)])).await, "unknown_attachment");
    let foreign = UploadAttachment { filename: "x.pdf".into(), object: put(&stage, "acme", b"x").await };
    assert_eq!(rejected(&stage, "globex", &foreign).await, "foreign_object");
    running.stop().await;
}

#[tokio::test]
async fn what_may_not_go_along_is_refused_with_the_limit_in_words() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--max-attachment-bytes", "1000"]).await;
    let id = stage.publish("acme", &with(vec![inline("a.pdf", &[0; 600]), inline("b.pdf", &[0; 401])])).await;
    let told = stage.outcome(id).await;
    assert_eq!(told.data["code"], "attachments_too_large");
    let detail = told.data["detail"].as_str().unwrap();
    assert!(detail.contains("1001 bytes") && detail.contains("1000") && detail.contains("10 files"), "{detail}");
    done(&stage, "acme", &with(vec![inline("a.pdf", &[0; 600]), inline("b.pdf", &[0; 400])])).await;

    let large = upload(&stage, "acme", "large.pdf", &[0; 1001]).await;
    let by_id = Attachment { attachment_id: Some(large), content: None, ..inline("large.pdf", b"") };
    assert_eq!(rejected(&stage, "acme", &with(vec![by_id.clone()])).await, "attachments_too_large");
    for wrong in [
        Attachment { content: Some("no base64!".into()), ..inline("a.pdf", b"") },
        Attachment { content: None, ..inline("a.pdf", b"") },
        Attachment { content: Some("aGk=".into()), ..by_id },
        Attachment { content_type: None, ..inline("a.pdf", b"x") },
        inline("invoice.pdf.EXE", b"MZ"),
        inline("a.pdf\r\nX-Evil: 1", b"x"),
        inline("../../etc/passwd", b"x"),
    ] {
        assert_eq!(rejected(&stage, "acme", &with(vec![wrong])).await, "invalid");
    }
    let eleven = stage.publish("acme", &with(vec![inline("a.pdf", b"x"); 11])).await;
    let told = stage.outcome(eleven).await;
    assert_eq!((&told.data["code"], &told.data["faults"][0]["pointer"]), (&json!("invalid"), &json!("/attachments")));
    assert!(told.data["faults"][0]["reason"].as_str().unwrap().contains("10"), "{told:?}");
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 1);
}

#[tokio::test]
async fn where_nothing_else_is_said_files_may_have_ten_megabytes_in_all_and_that_is_told() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let half = upload(&stage, "acme", "half.pdf", &vec![0; 5 * 1024 * 1024 + 1]).await;
    let by_id = Attachment { attachment_id: Some(half), content: None, ..inline("half.pdf", b"") };
    let id = stage.publish("acme", &with(vec![by_id.clone(), by_id])).await;
    let told = stage.outcome(id).await;
    assert_eq!(told.data["code"], "attachments_too_large");
    let detail = told.data["detail"].as_str().unwrap();
    assert!(detail.contains("10485762 bytes") && detail.contains("at most 10485760 and 10 files"), "{detail}");
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_was_changed_after_its_upload_does_not_leave() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let once = omnibus_runtime::settings::WorkSettings {
        attempts: Some(1),
        ..omnibus_runtime::settings::WorkSettings::defaults()
    };
    let running = stage.run_with(omnibus_mailer::worker(server.settings(&[])).unwrap(), once).await;
    let object = put(&stage, "acme", b"as it was").await;
    let id = done(&stage, "acme", &UploadAttachment { filename: "a.pdf".into(), object: object.clone() }).await;
    let store = stage.operator.jetstream().get_object_store("uploads").await.unwrap();
    store.put(object.name.as_str(), &mut &b"as it is."[..]).await.unwrap();
    let mail = with(vec![Attachment { attachment_id: Some(id), content: None, ..inline("a.pdf", b"") }]);
    let id = stage.publish("acme", &mail).await;
    let told = stage.outcome(id).await;
    assert_eq!(told.outcome, Some(omnibus_schemas::platform::Outcome::DeadLettered), "{told:?}");
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}
