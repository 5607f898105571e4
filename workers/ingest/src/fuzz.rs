//! What strangers write into requests, thrown at what reads it: random bytes, or a line of `fuzz/*.txt` with random
//! damage. `FUZZ_SECONDS` says for how long.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use omnibus_runtime::testing::fuzzed;
use omnibus_schemas::Fault;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use secrecy::SecretString;
use uuid::Uuid;

use crate::jwt::Verifier;
use crate::problem::Problem;
use crate::settings::Settings;
use crate::token::{Claims, sign};
use crate::{bearer, idempotency, keys, prefer};

const SECRET: &str = "a secret of thirty-two characters";

/// One input a line.
const KEYS: &str = include_str!("fuzz/idempotency-key.txt");
const CREDENTIALS: &str = include_str!("fuzz/credential.txt");
const PREFERENCES: &str = include_str!("fuzz/prefer.txt");
const WORDS: &str = include_str!("fuzz/problem.txt");

/// A line of a corpus with a few bytes put in or written over, or bytes that nobody chose.
fn values(corpus: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&'static str> = corpus.lines().collect();
    let change = (any::<Index>(), any::<u8>(), any::<bool>());
    let entry = (select(lines), vec(change, 0..4)).prop_map(|(line, changes)| {
        let mut bytes = line.as_bytes().to_vec();
        for (at, byte, over) in changes {
            let at = at.index(bytes.len() + 1);
            if over && at < bytes.len() {
                bytes[at] = byte;
            } else {
                bytes.insert(at, byte);
            }
        }
        bytes
    });
    prop_oneof![entry, vec(any::<u8>(), 0..260)]
}

/// What a problem says of itself.
fn words() -> impl Strategy<Value = String> {
    let lines: Vec<&'static str> = WORDS.lines().collect();
    prop_oneof![select(lines).prop_map(str::to_owned), ".{0,80}"]
}

/// With every value under this name that HTTP allows at all.
fn request(name: &'static str, values: &[Vec<u8>]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
        map.append(name, value);
    }
    map
}

fn verifier() -> Verifier {
    let secret = Some(SecretString::from(SECRET));
    Verifier::of(&Settings { websocket_secret: secret, ..Settings::on_a_free_port() })
        .expect("the secret is long enough")
}

#[test]
fn an_idempotency_key_is_one_visible_word_or_refused() {
    fuzzed(|| {
        proptest!(|(values in vec(values(KEYS), 0..3))| {
            let headers = request("idempotency-key", &values);
            match idempotency::key(&headers) {
                Ok(Some(key)) => {
                    prop_assert!((1..=200).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
                    let id = |tenant: &str| idempotency::command_id(tenant, None, "POST /x", key);
                    prop_assert_eq!(id("acme"), id("acme"));
                    prop_assert_ne!(id("acme"), id("globex"));
                    prop_assert_ne!(id("acme"), Uuid::nil());
                }
                Ok(None) => prop_assert!(headers.is_empty()),
                Err(problem) => prop_assert_eq!(problem.status(), StatusCode::BAD_REQUEST),
            }
        })
    });
}

#[test]
fn a_credential_is_read_or_refused() {
    fuzzed(|| {
        proptest!(|(value in values(CREDENTIALS), name in select(vec!["authorization", "x-api-key"]))| {
            let headers = request(name, &[value]);
            match bearer::of(&headers) {
                Ok(credential) => {
                    if let Some(tenant) = keys::tenant_in(credential) {
                        prop_assert!(tenant.parse::<omnibus_schemas::subject::Token>().is_ok(), "{tenant}");
                    }
                    prop_assert!(verifier().read(credential).is_err(), "nobody signed it");
                }
                Err(problem) => prop_assert_eq!(problem.status(), StatusCode::UNAUTHORIZED),
            }
        })
    });
}

#[test]
fn the_hash_of_a_key_is_written_and_read_as_the_same() {
    fuzzed(|| {
        proptest!(|(key in ".{0,100}", other in values(CREDENTIALS))| {
            let hash = keys::KeyHash::of(&key);
            let read = keys::KeyHash::parse(&hash.to_string());
            prop_assert_eq!(read.map(|hash| hash.to_string()), Some(hash.to_string()));
            if let Ok(text) = std::str::from_utf8(&other) {
                prop_assert!(keys::KeyHash::parse(text).is_none_or(|hash| hash.to_string() == text));
            }
        })
    });
}

#[test]
fn a_token_with_one_byte_changed_is_no_token() {
    fuzzed(|| {
        proptest!(|(at in any::<Index>(), to in "[A-Za-z0-9_-]")| {
            let now = omnibus_runtime::clock::now();
            let claims = Claims::new(&"acme".parse().expect("a token"), "ada", ["*"], now, 60);
            let signed = sign(&SecretString::from(SECRET), &claims).expect("it can be signed");
            let good = secrecy::ExposeSecret::expose_secret(&signed).to_owned();
            prop_assert!(verifier().read(&good).is_ok());
            // The last character of the signature has bits that mean nothing.
            let at = at.index(good.len() - 1);
            let mut bad = good.clone();
            bad.replace_range(at..at + 1, &to);
            prop_assert!(bad == good || verifier().read(&bad).is_err(), "{bad}");
        })
    });
}

#[test]
fn a_wait_is_never_longer_than_allowed() {
    fuzzed(|| {
        proptest!(|(values in vec(values(PREFERENCES), 0..3))| {
            let wait = prefer::wait(&request("prefer", &values));
            prop_assert!(wait.is_none_or(|wait| (1..=30).contains(&wait.as_secs())));
        })
    });
}

#[test]
fn a_problem_is_json_whatever_its_words() {
    fuzzed(|| {
        proptest!(|(
            detail in words(), pointer in words(), reason in words(), seconds in proptest::option::of(any::<u64>()),
        )| {
            let mut problem = Problem::invalid(vec![Fault::new(pointer, reason)]).with("detail_of_mine", detail);
            if let Some(seconds) = seconds {
                problem = problem.after(seconds);
            }
            let response = problem.into_response();
            prop_assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
            prop_assert_eq!(&response.headers()[header::CONTENT_TYPE], "application/problem+json");
            prop_assert_eq!(response.headers().contains_key(header::RETRY_AFTER), seconds.is_some());
            let body = futures_util::FutureExt::now_or_never(axum::body::to_bytes(response.into_body(), 1 << 20));
            let body = body.expect("it is all there").expect("it can be read");
            let read: serde_json::Value = serde_json::from_slice(&body).expect("it is JSON");
            prop_assert_eq!(read["faults"].as_array().map(Vec::len), Some(1));
        })
    });
}
