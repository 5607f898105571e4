//! Queries and hooks, served as NATS services, so that `nats micro ls` shows them. Every answer is bound to the tenant that the
//! door put into the header; only doors and operators may publish on `qry.`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::service::error::Error as ServiceError;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Request, ServiceExt};
use bytes::Bytes;
use futures_util::StreamExt;
use omnibus_schemas::{Encoding, Fault, body, headers, subject};
use tokio::sync::Semaphore;

use crate::engine::{Engine, collided, of_the_database};
use crate::handler::{Ask, AskError};
use crate::registry::{Exchange, Reply};
use crate::trace::TraceParent;
use crate::visit::{At, Visit};
use crate::{clock, desk};

const DEADLINE: Duration = Duration::from_secs(10);
/// Said with 503. The same question, a little later, may be answered.
pub(crate) const DATABASE_AWAY: &str = "the database does not answer";
/// An answer of several statements shows no half of what a command wrote.
const SNAPSHOT: &str = "begin isolation level repeatable read";

impl Engine {
    /// Serves the worker's queries until it stops.
    pub(crate) async fn serve_answers(self: Arc<Self>) -> anyhow::Result<()> {
        let service = self
            .bus
            .client()
            .service_builder()
            .description(format!("Omnibus {}", self.domain))
            .start(self.domain, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(|error| anyhow::anyhow!("queries can't be served: {error}"))?;
        // Questions get half of the connections at most: commands go before them.
        let room = Arc::new(Semaphore::new((self.db.options().get_max_connections() as usize / 2).max(1)));
        let queries = self.registry.answers.clone().into_iter().map(|(name, reply)| (name, Asked::Query(reply)));
        let hooks = self.registry.hooks.clone().into_iter().map(|(name, exchange)| (name, Asked::Hook(exchange)));
        for (name, asked) in queries.chain(hooks) {
            let subject = subject::query(self.domain, name);
            let mut endpoint = service
                .endpoint_builder()
                .name(name)
                .add(subject)
                .await
                .map_err(|error| anyhow::anyhow!("the query {name} can't be served: {error}"))?;
            let (engine, room) = (self.clone(), room.clone());
            self.tasks.spawn(async move {
                loop {
                    let request = tokio::select! {
                        () = engine.stop.cancelled() => break,
                        request = endpoint.next() => match request {
                            Some(request) => request,
                            None => break,
                        },
                    };
                    let (engine, asked, room) = (engine.clone(), asked.clone(), room.clone());
                    tokio::spawn(async move { engine.answer_in(&room, request, asked).await });
                }
                let _ = endpoint.stop().await;
            });
        }
        self.stop.cancelled().await;
        let _ = service.stop().await;
        Ok(())
    }

    /// Answers when there is room. Whoever waits for it too long is told so.
    async fn answer_in(&self, room: &Semaphore, request: Request, asked: Asked) {
        match tokio::time::timeout(DEADLINE, room.acquire()).await {
            Ok(permit) => {
                let _permit = permit.expect("this semaphore is never closed");
                self.answer(request, asked).await;
            }
            Err(_) => {
                let Refused { error, .. } = refuse(503, DATABASE_AWAY);
                let _ = request.respond(Err(error)).await;
            }
        }
    }

    async fn answer(&self, request: Request, asked: Asked) {
        let mut answer = pin!(async {
            match &asked {
                Asked::Query(reply) => self.reply(&request, reply).await,
                Asked::Hook(exchange) => self.exchange(&request, exchange).await,
            }
        });
        let in_time = tokio::time::timeout(DEADLINE, &mut answer).await.ok();
        let late = in_time.is_none();
        let result = in_time.unwrap_or_else(|| Err(refuse(503, DATABASE_AWAY)));
        let sent = match result {
            // A refusal may bring more than the words that fit into a header.
            Err(Refused { error, faults }) if !faults.is_empty() => {
                let mut map = HeaderMap::new();
                map.insert(NATS_SERVICE_ERROR, error.status.as_str());
                map.insert(NATS_SERVICE_ERROR_CODE, error.code.to_string().as_str());
                let faults = body::encode(Encoding::Json, &serde_json::json!({ "faults": faults }));
                request.respond_with_headers(Ok(faults.into()), map).await
            }
            Err(Refused { error, .. }) => request.respond(Err(error)).await,
            Ok(answer) => request.respond(Ok(answer)).await,
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer was not sent");
        }
        if late {
            // Its connection hangs as long as its statement does, asked or not, and is counted as taken for as long.
            let _ = answer.await;
        }
    }

    async fn exchange(&self, request: &Request, exchange: &Arc<dyn Exchange>) -> Result<Bytes, Refused> {
        let visit: Visit = body::decode(Encoding::MessagePack, &request.message.payload)
            .map_err(|fault| refuse(400, &format!("the visit can't be read: {fault}")))?;
        let mut db = self.db.acquire().await.map_err(|_| refuse(503, DATABASE_AWAY))?;
        let mut at = At { db: &mut db, now: clock::now() };
        let mut reply = exchange.exchange(&mut at, visit).await.map_err(|error| self.refusal(error, request))?;
        drop(db);
        let trace = request.message.headers.as_ref().and_then(|map| map.get(headers::TRACEPARENT));
        let trace = trace.and_then(|value| TraceParent::parse(value.as_str())).unwrap_or_else(TraceParent::start);
        for command in std::mem::take(&mut reply.commands) {
            if command.domain != self.domain {
                tracing::error!(domain = self.domain, of = command.domain, "a hook caused another domain's command");
                return Err(refuse(500, "the hook failed"));
            }
            desk::store(&self.bus, &command, &trace).await.map_err(|error| {
                tracing::warn!(domain = self.domain, command_id = %command.id, %error, "a hook's command was not stored");
                refuse(503, "the bus took no command")
            })?;
        }
        reply.written().map(Bytes::from).map_err(|reason| {
            tracing::error!(domain = self.domain, subject = %request.message.subject, reason, "a hook's reply was not sent");
            refuse(500, "the hook failed")
        })
    }

    fn refusal(&self, error: AskError, request: &Request) -> Refused {
        match error {
            AskError::NotFound(words) => refuse(404, &words),
            AskError::Invalid(words) => refuse(422, &words),
            AskError::Faults(faults) => {
                let words = AskError::Faults(faults.clone()).to_string();
                Refused { faults, ..refuse(422, &words) }
            }
            AskError::Failed(error) => {
                // The database's words may quote a value; its code does not.
                let code =
                    of_the_database(&error).and_then(|error| error.as_database_error()?.code()).unwrap_or_default();
                tracing::error!(domain = self.domain, subject = %request.message.subject, %code, "a query failed");
                refuse(500, "the query failed")
            }
        }
    }

    async fn reply(&self, request: &Request, reply: &Arc<dyn Reply>) -> Result<Bytes, Refused> {
        let tenant = request
            .message
            .headers
            .as_ref()
            .and_then(|map| map.get(headers::TENANT))
            .map(|tenant| tenant.as_str().to_owned())
            .ok_or_else(|| refuse(400, "the header ce-tenant is missing"))?;
        tenant.parse::<subject::Token>().map_err(|error| refuse(400, &format!("the header ce-tenant {error}")))?;
        let actor = request.message.headers.as_ref().and_then(|map| map.get(headers::ACTOR));
        let actor = actor.map(|actor| actor.as_str());
        let mut tries = 0;
        loop {
            let away = |_| refuse(503, DATABASE_AWAY);
            let mut db = self.db.begin_with(SNAPSHOT).await.map_err(away)?;
            let mut ask = Ask { tenant: &tenant, actor, db: &mut db };
            let answer = match reply.reply(&mut ask, &request.message.payload).await {
                Ok(answer) => db.commit().await.map(|()| answer).map_err(|error| AskError::Failed(error.into())),
                Err(error) => Err(error),
            };
            match answer {
                // An answer that writes, such as a key that is made when it is first asked for, met another's.
                Err(AskError::Failed(error)) if tries < 3 && of_the_database(&error).is_some_and(collided) => {
                    tries += 1
                }
                answer => return answer.map(Bytes::from).map_err(|error| self.refusal(error, request)),
            }
        }
    }
}

/// What an endpoint answers.
#[derive(Clone)]
enum Asked {
    Query(Arc<dyn Reply>),
    Hook(Arc<dyn Exchange>),
}

/// Why there is no answer.
struct Refused {
    error: ServiceError,
    faults: Vec<Fault>,
}

fn refuse(code: usize, status: &str) -> Refused {
    let error = ServiceError { code, status: crate::ending::one_line(status) };
    Refused { error, faults: vec![] }
}
