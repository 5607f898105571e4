//! What the tests of the whole worker begin with.

use std::future::Future;
use std::time::Duration;

use futures_util::TryStreamExt;
use omnibus_mailer::worker;
use omnibus_runtime::testing::{Running, Stage, Told};
use omnibus_schemas::mailer::{EmailReport, EmailState, EmailStatus, SendEmail};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Catalogue, Command};
use uuid::Uuid;

use crate::server::SmtpServer;

pub(crate) async fn stage() -> Stage {
    Stage::new(Catalogue::omnibus()).await
}

/// How long the worker waits for the server: a busy machine is not a silent server.
pub(crate) const SMTP_TIMEOUT: [&str; 2] = ["--smtp-timeout", "20"];

pub(crate) async fn run(stage: &Stage, server: &SmtpServer) -> Running {
    run_with(stage, server, &[]).await
}

pub(crate) async fn status(stage: &Stage, id: Uuid) -> EmailReport {
    stage.ask("mailer", "acme", &EmailStatus { email_id: id }).await.unwrap()
}

pub(crate) fn email(change: impl FnOnce(&mut SendEmail)) -> SendEmail {
    let mut email = SendEmail::example();
    change(&mut email);
    email
}

/// A worker with these settings beside those that lead to the server.
pub(crate) async fn run_with(stage: &Stage, server: &SmtpServer, more: &[&str]) -> Running {
    stage.run(worker(server.settings(&[&SMTP_TIMEOUT[..], more].concat())).unwrap()).await
}

/// Publishes a command and waits until it has succeeded.
pub(crate) async fn done<C: Command>(stage: &Stage, tenant: &str, command: &C) -> Uuid {
    let id = stage.publish(tenant, command).await;
    let told = stage.outcome(id).await;
    assert_eq!(told.outcome, Some(Outcome::Succeeded), "{told:?}");
    id
}

/// Publishes a command and waits until it is rejected. Returns the code.
pub(crate) async fn rejected<C: Command>(stage: &Stage, tenant: &str, command: &C) -> String {
    let id = stage.publish(tenant, command).await;
    let told = stage.outcome(id).await;
    assert_eq!(told.outcome, Some(Outcome::Rejected), "{told:?}");
    told.data["code"].as_str().unwrap().to_owned()
}

/// Waits for an event of a mail.
pub(crate) async fn told(stage: &Stage, name: &str, email_id: Uuid) -> Told {
    stage.event(|told| told.name == name && told.data["email_id"] == email_id.to_string()).await
}

/// Each recipient's state, in order.
pub(crate) fn states(report: &EmailReport) -> Vec<EmailState> {
    report.deliveries.iter().map(|delivery| delivery.status).collect()
}

/// Asks until the answer will do.
pub(crate) async fn until<T, F: Future<Output = T>>(ask: impl Fn() -> F, enough: impl Fn(&T) -> bool) -> T {
    for _ in 0..2400 {
        let answer = ask().await;
        if enough(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come to that in time")
}

/// Everything that a schema of the database says, as text.
pub(crate) async fn everything_in(stage: &Stage, schema: &str) -> String {
    let tables: Vec<String> =
        sqlx::query_scalar("select table_name::text from information_schema.tables where table_schema = $1")
            .bind(schema)
            .fetch_all(&stage.db)
            .await
            .unwrap();
    let mut text = String::new();
    for table in tables {
        let query = format!("select coalesce(string_agg(t::text, chr(10)), '') from {schema}.{table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&stage.db).await.unwrap();
        text.push_str(&rows);
    }
    text
}

/// The streams in which this word stands, each as often as there are messages with it.
pub(crate) async fn streams_with(stage: &Stage, word: &str) -> Vec<String> {
    let bus = stage.operator.jetstream();
    let names: Vec<String> = bus.stream_names().try_collect().await.unwrap();
    let mut found = vec![];
    for name in names {
        let stream = bus.get_stream(&name).await.unwrap();
        let state = &stream.cached_info().state;
        for sequence in state.first_sequence..=state.last_sequence {
            // Others were taken out.
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            let body = String::from_utf8_lossy(&message.payload);
            if body.contains(word) || format!("{:?}", message.headers).contains(word) {
                found.push(name.clone());
            }
        }
    }
    found
}
