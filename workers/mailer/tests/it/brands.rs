//! The bucket of brands, as the white-label worker fills it: a change shows in the next mail.

use std::time::Duration;

use omnibus_mailer::worker;
use omnibus_runtime::testing::{PATIENCE, Stage};
use omnibus_schemas::brand::{BUCKET, Brand, DRAFTS, Sender};
use omnibus_schemas::mailer::{
    AddSenderDomain, BatchRecipient, Preview, PreviewTemplate, SendBatch, SendTemplate, Templates,
};
use omnibus_schemas::{Bucket, Catalogue, Command, Domain, Query};
use serde_json::{Map, json};

use crate::scene::{done, run_with};
use crate::senders::approval;
use crate::server::{SmtpServer, folder_settings};

/// The product's catalogue, with somebody who owns the bucket.
fn catalogue() -> Catalogue {
    let all = Catalogue::omnibus();
    match all.bucket(BUCKET) {
        Some(_) => all,
        None => {
            let owner = Domain::new("painter", "Brands").owns(Bucket::values(BUCKET, "Active brands, by tenant"));
            Catalogue::new([all.domains().to_vec(), vec![owner]].concat())
        }
    }
}

async fn shown(stage: &Stage, tenant: &str) -> Preview {
    let query = PreviewTemplate { name: "welcome".into(), variables: None, ..PreviewTemplate::example() };
    stage.ask("mailer", tenant, &query).await.unwrap()
}

/// Asks until the mail is dressed so. The bucket is followed, so it takes as long as a message does.
async fn until(stage: &Stage, tenant: &str, name: &str) {
    let subject = format!("Welcome to {name}, Ada");
    let asking = async {
        while shown(stage, tenant).await.subject != subject {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("no mail was from {name}"));
}

#[tokio::test]
async fn a_change_of_the_brand_shows_in_the_next_mail_and_a_broken_one_is_no_brand() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new(catalogue()).await;
    let bucket = stage.operator.jetstream().get_key_value(BUCKET).await.unwrap();
    let put = async |brand: &Brand| {
        let written = serde_json::to_vec(brand).unwrap();
        bucket.put("acme", written.into()).await.unwrap();
    };
    put(&Brand::example()).await;
    let running = stage.run(worker(folder_settings(dir.path())).unwrap()).await;
    // What was there before the start is there from the first mail on.
    assert_eq!(shown(&stage, "acme").await.subject, "Welcome to Northwind Coffee, Ada");
    assert_eq!(shown(&stage, "globex").await.subject, "Welcome to globex, Ada");

    put(&Brand { revision: 4, name: "Eastwind Tea".into(), ..Brand::example() }).await;
    until(&stage, "acme", "Eastwind Tea").await;
    // A late older revision changes nothing; what follows it shows that it was read.
    put(&Brand { revision: 2, name: "Old".into(), ..Brand::example() }).await;
    put(&Brand { revision: 5, name: "Newest".into(), ..Brand::example() }).await;
    until(&stage, "acme", "Newest").await;

    bucket.put("acme", "{\"name\": \"half\"".into()).await.unwrap();
    until(&stage, "acme", "acme").await;
    put(&Brand { revision: 6, name: "Mended".into(), ..Brand::example() }).await;
    until(&stage, "acme", "Mended").await;
    bucket.delete("acme").await.unwrap();
    until(&stage, "acme", "acme").await;
    running.stop().await;
}

#[tokio::test]
async fn without_a_bucket_mails_are_dressed_plainly_and_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut domains = Catalogue::omnibus().domains().to_vec();
    domains.iter_mut().for_each(|domain| domain.owns.retain(|bucket| bucket.name != BUCKET));
    let stage = Stage::new(Catalogue::new(domains)).await;
    let running = stage.run(worker(folder_settings(dir.path())).unwrap()).await;
    // From here on it answers.
    stage.ask("mailer", "acme", &Templates::example()).await.unwrap();
    // Whoever waits for brands in vain waits for five seconds, each time. A busy machine does not take so long each time.
    let at_once = async {
        loop {
            if let Ok(mail) = tokio::time::timeout(Duration::from_secs(4), shown(&stage, "acme")).await {
                break mail;
            }
        }
    };
    let mail = tokio::time::timeout(PATIENCE, at_once).await.expect("there is no wait for a bucket");
    assert_eq!(mail.subject, "Welcome to acme, Ada");
    running.stop().await;
}

#[tokio::test]
async fn a_mail_is_seen_in_a_look_that_nobody_else_sees_yet() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new(catalogue()).await;
    let drafts = stage.operator.jetstream().get_key_value(DRAFTS).await.unwrap();
    let running = stage.run(worker(folder_settings(dir.path())).unwrap()).await;
    let query = |brand: Option<Brand>, number| PreviewTemplate {
        name: "welcome".into(),
        variables: None,
        brand,
        brand_version: Some(number),
        ..PreviewTemplate::example()
    };
    let draft = Brand { revision: 7, name: "Spring Look".into(), ..Brand::example() };
    drafts.put("acme", serde_json::to_vec(&draft).unwrap().into()).await.unwrap();
    let seen = stage.ask("mailer", "acme", &query(None, 7)).await.unwrap();
    assert_eq!(seen.subject, "Welcome to Spring Look, Ada");
    assert_eq!(shown(&stage, "acme").await.subject, "Welcome to acme, Ada", "what is sent is dressed as before");
    for (tenant, number) in [("acme", 6), ("acme", 8), ("globex", 7)] {
        let refused = stage.ask("mailer", tenant, &query(None, number)).await.unwrap_err();
        assert_eq!(refused.0, 404, "{tenant} {number}: {refused:?}");
    }
    assert_eq!(stage.ask("mailer", "acme", &query(Some(Brand::example()), 7)).await.unwrap_err().0, 422);
    running.stop().await;
}

/// What a header of a mail says on its first line.
fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let head = text.split("\r\n\r\n").next().unwrap();
    head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn a_mail_is_sent_as_the_brand_says_and_from_its_address_only_where_that_is_the_tenants() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = Stage::new(catalogue()).await;
    let bucket = stage.operator.jetstream().get_key_value(BUCKET).await.unwrap();
    let sender = Sender {
        email: "hello@shop.example".into(),
        name: Some("Northwind".into()),
        reply_to: Some("answers@shop.example".into()),
    };
    let brand = serde_json::to_vec(&Brand { sender: Some(sender), ..Brand::example() }).unwrap();
    for tenant in ["acme", "globex"] {
        bucket.put(tenant, brand.clone().into()).await.unwrap();
    }
    let running = run_with(&stage, &server, &["--sender-approval-secret", "operator"]).await;
    let variables = json!({ "action_url": "https://example.com/" }).as_object().unwrap().clone();
    let welcome = SendTemplate { template: "welcome".into(), variables: variables.clone(), ..SendTemplate::example() };
    let to = |to: &str| BatchRecipient { to: to.into(), variables: Map::new() };
    let batch = SendBatch {
        template: Some("welcome".into()),
        variables,
        recipients: vec![to("ada@example.com")],
        subject: None,
        body: None,
        stream: "transactional".into(),
        ..SendBatch::example()
    };

    // The name and where answers go are the brand's; the address is not the tenant's yet.
    done(&stage, "acme", &welcome).await;
    let accepted = server.next("accepted").await;
    let text = accepted["text"].as_str().unwrap();
    assert_eq!(accepted["from"], "office@example.com");
    assert!(header(text, "From").unwrap().contains("Northwind"), "{text}");
    assert_eq!(header(text, "Reply-To"), Some("answers@shop.example"));

    done(&stage, "acme", &AddSenderDomain { domain: "shop.example".into() }).await;
    done(&stage, "acme", &approval("acme")).await;
    done(&stage, "acme", &welcome).await;
    assert_eq!(server.next("accepted").await["from"], "hello@shop.example");
    done(&stage, "acme", &batch).await;
    let accepted = server.next("accepted").await;
    assert_eq!(accepted["from"], "hello@shop.example");
    assert_eq!(header(accepted["text"].as_str().unwrap(), "Reply-To"), Some("answers@shop.example"));
    // The same brand in another tenant's hands opens no foreign domain.
    done(&stage, "globex", &welcome).await;
    assert_eq!(server.next("accepted").await["from"], "office@example.com");

    // What the caller says goes first.
    done(&stage, "acme", &SendTemplate { reply_to: Some("me@example.com".into()), ..welcome.clone() }).await;
    let accepted = server.next("accepted").await;
    assert_eq!(header(accepted["text"].as_str().unwrap(), "Reply-To"), Some("me@example.com"));
    done(&stage, "acme", &SendTemplate { from: Some("office@example.com".into()), ..welcome }).await;
    let accepted = server.next("accepted").await;
    let text = accepted["text"].as_str().unwrap();
    assert_eq!((header(text, "From"), header(text, "Reply-To")), (Some("office@example.com"), None));
    running.stop().await;
}
