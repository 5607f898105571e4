//! What nobody has read becomes a mail: from the chat to the mailer by an event, and by nothing else.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::presence::{JoinRoom, MarkRead, PostMessage, SetContact};
use omnibus_schemas::{Catalogue, Command, Token};

use crate::catalogue::mailer;
use crate::scene::eventually;

fn token(word: &str) -> Token {
    word.parse().unwrap()
}

async fn done<C: Command>(stage: &Stage, command: &C) {
    let id = stage.publish("acme", command).await;
    stage.outcome(id).await;
}

fn mails(folder: &std::path::Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mails = files.filter(|path| path.extension().is_some_and(|ending| ending == "eml"));
    mails.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_that_stays_unread_is_one_mail_and_one_that_was_read_is_none() {
    let (stage, folder) = (Stage::new(Catalogue::omnibus()).await, tempfile::tempdir().unwrap());
    // Long enough for Bob to have read it before somebody looks, whatever else the machine has to do.
    let settings = omnibus_presence::Settings { unread_seconds: 20, ..omnibus_presence::Settings::defaults() };
    let presence = omnibus_presence::worker(settings).unwrap();
    let mailer = omnibus_mailer::Settings { from_email: Some("chat@example.com".into()), ..mailer(folder.path()) };
    let _workers = (stage.run(presence).await, stage.run(omnibus_mailer::worker(mailer).unwrap()).await);
    for user in ["ada", "bob", "carol"] {
        done(&stage, &JoinRoom { room_id: token("lobby"), user: Some(token(user)) }).await;
        done(&stage, &SetContact { user: token(user), email: Some(format!("{user}@example.com")) }).await;
    }
    let message = PostMessage {
        room_id: token("lobby"),
        user: Some(token("ada")),
        text: "The kettle is on fire".into(),
        reply_to: None,
        mentions: vec![token("bob"), token("carol")],
        attachments: vec![],
    };
    done(&stage, &message).await;
    done(&stage, &MarkRead { room_id: token("lobby"), user: Some(token("bob")), revision: 4 }).await;
    stage.event(|told| told.name == "messages_unread").await;
    eventually("both looks are done and the mail is out", || async {
        let open: i64 = sqlx::query_scalar("select count(*) from presence.members where look_at is not null")
            .fetch_one(&stage.db)
            .await
            .unwrap();
        open == 0 && !mails(folder.path()).is_empty()
    })
    .await;
    let mails = mails(folder.path());
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert!(
        mails[0].contains("To: carol@example.com") && mails[0].contains("ada mentioned you in lobby"),
        "{}",
        mails[0]
    );
    assert!(!mails[0].contains("kettle"), "what was said stays in the room");
}
