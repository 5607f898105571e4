//! A worker that acts upon another's events, with the same promise.

use std::time::Duration;

use omnibus_runtime::testing::Stage;
use omnibus_runtime::{Cx, Events, Fail, Policy, React, Worker};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Catalogue, Domain, Event};
use omnibus_tests::shop::{self, Put, PutDone};
use serde::{Deserialize, Serialize};

use crate::scene::{eventually, headers};

/// The clerk has written a thing down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
struct Noted {
    thing: String,
}

impl Event for Noted {
    const DOMAIN: &'static str = "clerk";
    const NAME: &'static str = "noted";

    fn example() -> Self {
        Noted { thing: "apple".into() }
    }
}

struct Clerk;

impl React<PutDone> for Clerk {
    const POLICY: Policy = Policy { attempts: 2, backoff: Duration::from_millis(10), ..Policy::DEFAULT };

    async fn react(&self, cx: &mut Cx<'_>, event: PutDone) -> Result<Events, Fail> {
        let (tenant, id) = (cx.tenant().to_owned(), cx.meta().id);
        sqlx::query("insert into clerk.notes (tenant, thing, event_id) values ($1, $2, $3)")
            .bind(tenant)
            .bind(&event.thing)
            .bind(id)
            .execute(cx.db())
            .await?;
        match event.thing.as_str() {
            "rotten" => Err(Fail::Retry(anyhow::anyhow!("it is rotten"))),
            _ => Ok(Events::of(Noted { thing: event.thing })),
        }
    }
}

fn clerk() -> Worker {
    Worker::new("clerk", Clerk)
        .migrations(
            "clerk",
            &[(
                "0001_notes",
                "create table clerk.notes (tenant text not null, thing text not null, event_id uuid not null)",
            )],
        )
        .reacts::<PutDone>()
        .build()
}

fn catalogue() -> Catalogue {
    let shop = shop::catalogue().domain("shop").unwrap().clone();
    Catalogue::new(vec![shop, Domain::new("clerk", "Clerk").event::<Noted>().reacts::<PutDone>()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_happens_once_for_each_event_however_often_it_is_told() {
    let (stage, provider) = (Stage::new(catalogue()).await, tempfile::tempdir().unwrap());
    assert!(clerk().unhandled(stage.catalogue()).is_empty());
    let _workers = (stage.run(shop::patient_worker(provider.path())).await, stage.run(clerk()).await);
    let id = stage.publish("acme", &Put { thing: "apple".into(), how: String::new() }).await;
    let event = stage.outcome(id).await;
    let noted = stage.event(|told| told.name == "noted").await;
    assert_eq!((noted.causation.as_str(), noted.tenant.as_str()), (event.id.as_str(), "acme"));
    assert_eq!(noted.header("ce-correlationid"), Some(id.to_string().as_str()));
    // The same event past the server's window.
    for _ in 0..3 {
        stage.publish_raw("evt.shop.put_done.acme", headers(&[("ce-id", &event.id)]), r#"{"thing":"apple"}"#).await;
    }
    let after = stage.publish("globex", &Put { thing: "pear".into(), how: String::new() }).await;
    let after = stage.outcome(after).await;
    stage.event(|told| told.name == "noted" && told.causation == after.id).await;
    eventually("all events are through", || async {
        let js = stage.operator.jetstream();
        let consumer: async_nats::jetstream::consumer::PullConsumer =
            js.get_consumer_from_stream("clerk_reacts", "EVT").await.unwrap();
        consumer.cached_info().num_pending == 0 && consumer.cached_info().num_ack_pending == 0
    })
    .await;
    let notes: i64 = sqlx::query_scalar("select count(*) from clerk.notes").fetch_one(&stage.db).await.unwrap();
    assert_eq!(notes, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_that_fails_is_retried_and_becomes_a_dead_letter_of_its_own_domain() {
    let (stage, provider) = (Stage::new(catalogue()).await, tempfile::tempdir().unwrap());
    let _workers = (stage.run(shop::patient_worker(provider.path())).await, stage.run(clerk()).await);
    let id = stage.publish("acme", &Put { thing: "rotten".into(), how: String::new() }).await;
    let event = stage.outcome(id).await;
    assert_eq!(event.outcome, Some(Outcome::Succeeded), "the shop's command is none the worse");
    let letter = stage.event(|told| told.subject == "dlq.clerk.put_done.acme").await;
    assert_eq!(letter.header("omnibus-dlq-code"), Some("attempts_used_up"));
    assert_eq!(letter.header("omnibus-dlq-attempts"), Some("2"));
    assert_eq!(letter.header("omnibus-original-ce-id"), Some(event.id.as_str()));
    let told = stage.event(|told| told.name == "command_dead_lettered").await;
    assert_eq!(
        (told.subject.as_str(), told.causation.as_str()),
        ("evt.clerk.command_dead_lettered.acme", event.id.as_str())
    );
    let notes: i64 = sqlx::query_scalar("select count(*) from clerk.notes").fetch_one(&stage.db).await.unwrap();
    assert_eq!(notes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_can_not_be_read_is_a_dead_letter() {
    let stage = Stage::new(catalogue()).await;
    let _clerk = stage.run(clerk()).await;
    stage.publish_raw("evt.shop.put_done.acme", headers(&[]), "garbage").await;
    let letter = stage.event(|told| told.subject == "dlq.clerk.put_done.acme").await;
    assert_eq!(letter.header("omnibus-dlq-code"), Some("undecodable"));
}
