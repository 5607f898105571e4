//! `Idempotency-Key`: the same request is the same command, for as long as the bucket and the inbox keep it.
//!
//! The key makes the command's id, so a repetition needs no look-up to be the same command. The bucket is there for one
//! question only: was this key used with another body?

use std::fmt::Display;
use std::time::Duration;

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use axum::http::HeaderMap;
use bytes::Bytes;
use omnibus_bus::BUCKET_IDEMPOTENCY;
use omnibus_runtime::Bus;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::problem::Problem;

/// The namespace of ids made from keys. Never changes, or a repetition becomes another command.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f6d_6e69_6275_7300_8000_6964_656d_706f);
/// Longest key, in bytes.
const LONGEST: usize = 200;
/// How long the bucket may take in all. Of many who find it closed one opens it at a time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The key of a request.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(first) = values.next() else { return Ok(None) };
    let bytes = first.as_bytes();
    let visible = (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(|b| (0x21..=0x7e).contains(b));
    match first.to_str() {
        Ok(key) if visible && values.next().is_none() => Ok(Some(key)),
        _ => Err(Problem::bad_idempotency_key(format!(
            "Send one Idempotency-Key of 1 to {LONGEST} visible ASCII characters."
        ))),
    }
}

/// The command that a key names. `route` is method and path template. A tenant's API keys share one set of names, whoever
/// holds them; each `user` with a token of his own has a set for himself: his body need not name him.
pub(crate) fn command_id(tenant: &str, user: Option<&str>, route: &str, key: &str) -> Uuid {
    // Neither a tenant nor a route nor a key holds a NUL, and the user stands last: no two are written alike.
    let name = match user {
        None => format!("{tenant}\0{route}\0{key}"),
        Some(user) => format!("{tenant}\0{route}\0{key}\0{user}"),
    };
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// Which bodies the keys came with.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    store: OnceCell<Store>,
}

/// Was this key seen before?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    First,
    Again,
}

impl Bodies {
    /// Remembers the body under the command's id, or compares it with the one that is remembered. Of two at once, one is
    /// first. Nothing is said about whether the command was published: whoever comes again publishes again.
    pub(crate) async fn remember(&self, bus: &Bus, id: Uuid, body: &[u8]) -> Result<Seen, Problem> {
        let remembered = tokio::time::timeout(PATIENCE, self.compared(bus, id, body)).await;
        remembered.unwrap_or_else(|_| Err(away(id, &"no answer in time")))
    }

    async fn compared(&self, bus: &Bus, id: Uuid, body: &[u8]) -> Result<Seen, Problem> {
        let away = |why: &dyn Display| away(id, why);
        if !*bus.connected().borrow() {
            return Err(away(&"no connection"));
        }
        let open = || async { bus.jetstream().get_key_value(BUCKET_IDEMPOTENCY).await };
        let store = self.store.get_or_try_init(open).await.map_err(|e| away(&e))?;
        let hash = Bytes::copy_from_slice(&Sha256::digest(body));
        let name = id.to_string();
        match store.create(&name, hash.clone()).await {
            Ok(_) => Ok(Seen::First),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                // From the leader: a replica may not have what was written a moment ago.
                let subject = format!("$KV.{BUCKET_IDEMPOTENCY}.{name}");
                let there = store.stream.get_last_raw_message_by_subject(&subject).await.map_err(|e| away(&e))?;
                match there.payload == hash {
                    true => Ok(Seen::Again),
                    false => Err(Problem::idempotency_key_reused(
                        "This Idempotency-Key came with another body before. Send the same body, or another key.",
                    )
                    .with("id", name)),
                }
            }
            Err(error) => Err(away(&error)),
        }
    }
}

fn away(id: Uuid, why: &dyn Display) -> Problem {
    tracing::warn!(command_id = %id, %why, "the bucket of idempotency keys does not answer");
    Problem::bus_away("The bus does not answer. Nothing was accepted; try again.").after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_user_route_and_key_each_make_another_command() {
        let names = [
            ("acme", None, "POST /x", "1"),
            ("globex", None, "POST /x", "1"),
            ("acme", None, "POST /y", "1"),
            ("acme", None, "POST /x", "2"),
            ("acme", Some("ada"), "POST /x", "1"),
            ("acme", Some("bob"), "POST /x", "1"),
            ("acme", Some(""), "POST /x", "1"),
        ];
        let ids = names.map(|(tenant, user, route, key)| command_id(tenant, user, route, key));
        for (n, (tenant, user, route, key)) in names.into_iter().enumerate() {
            assert_eq!(ids[n], command_id(tenant, user, route, key));
            assert!(ids[..n].iter().all(|other| *other != ids[n]), "{n}");
        }
    }

    #[test]
    fn what_a_key_names_stays_what_it_was() {
        let named = Uuid::new_v5(&NAMESPACE, b"acme\0POST /x\x001");
        assert_eq!(command_id("acme", None, "POST /x", "1"), named);
    }

    #[test]
    fn a_key_is_one_word_of_visible_ascii() {
        let of = |values: &[&[u8]]| {
            let headers: HeaderMap = values
                .iter()
                .map(|v| ("idempotency-key".parse().unwrap(), axum::http::HeaderValue::from_bytes(v).unwrap()))
                .collect();
            key(&headers).map(|key| key.map(str::to_owned))
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[b"order-4711"]).unwrap().as_deref(), Some("order-4711"));
        for bad in [&[b"".as_slice()] as &[&[u8]], &[b"a b"], &[b"\xc3\xa4"], &[&[b'x'; 201]], &[b"a", b"b"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
