//! What anybody may send, thrown at what reads it: bodies in both encodings, envelopes, subjects. Nothing may panic,
//! nothing may be taken for what it is not.
//!
//! Inputs are random, or come from `corpus/` with random damage. `FUZZ_SECONDS=600 cargo test -p omnibus-tests
//! --test fuzz` goes on for ten minutes; a failing input is kept in `proptest-regressions/` and played first from then on.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::path::Path;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use chrono::DateTime;
use omnibus_runtime::envelope::Meta;
use omnibus_runtime::testing::fuzzed;
use omnibus_schemas::body::{decode, decode_strict, encode, to_json, validate};
use omnibus_schemas::subject::{CommandSubject, EventSubject, Token};
use omnibus_schemas::{Encoding, mailer::SendEmail};
use omnibus_tests::shop::Put;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Random bytes, or a corpus entry with a few bytes changed, put in or cut off.
fn damaged(name: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let change = (any::<Index>(), any::<u8>(), 0..4u8);
    let entry = (select(corpus(name)), vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
        for (at, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes[at] ^= 1 << (byte % 8),
                _ => bytes.truncate(at),
            }
        }
        bytes
    });
    prop_oneof![3 => entry, 1 => vec(any::<u8>(), 0..300)]
}

fn encodings() -> impl Strategy<Value = Encoding> {
    select(vec![Encoding::Json, Encoding::MessagePack])
}

#[test]
fn a_body_is_read_or_refused_with_a_reason() {
    fuzzed(|| {
        proptest!(|(encoding in encodings(), bytes in damaged("body"))| {
            match decode::<Put>(encoding, &bytes) {
                Ok(put) => {
                    // What was understood is written and read again as the same.
                    for encoding in [Encoding::Json, Encoding::MessagePack] {
                        prop_assert_eq!(&decode::<Put>(encoding, &encode(encoding, &put)).unwrap(), &put);
                    }
                    let _ = validate(&put);
                }
                Err(fault) => prop_assert!(!fault.to_string().is_empty()),
            }
            if let Err(faults) = decode_strict::<SendEmail>(encoding, &bytes) {
                prop_assert!(!faults.is_empty());
            }
            let _ = to_json(encoding, &bytes);
        })
    });
}

#[test]
fn what_is_read_strictly_is_read_at_all() {
    fuzzed(|| {
        proptest!(|(encoding in encodings(), bytes in damaged("body"))| {
            if let Ok(strict) = decode_strict::<Put>(encoding, &bytes) {
                prop_assert_eq!(decode::<Put>(encoding, &bytes).unwrap(), strict);
            }
        })
    });
}

#[test]
fn an_envelope_never_moves_a_message_to_another_tenant() {
    fuzzed(|| {
        proptest!(|(
            subject in damaged("subject"), lines in damaged("headers"),
            sequence in any::<u64>(), second in any::<i32>(),
        )| {
            let subject = String::from_utf8_lossy(&subject);
            let mut map = HeaderMap::new();
            for line in String::from_utf8_lossy(&lines).lines() {
                if let Some((name, value)) = line.split_once(": ")
                    && let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
                {
                    map.insert(name, value);
                }
            }
            let stored = DateTime::from_timestamp(second.into(), 0).unwrap();
            let (meta, checked) = Meta::at(&subject, Some(&map), "CMD_SHOP", sequence, stored);
            if checked.is_ok() {
                let last = format!(".{}", meta.tenant);
                prop_assert!(subject.ends_with(&last), "the tenant {} of {}", meta.tenant, subject);
                prop_assert!(meta.tenant.parse::<Token>().is_ok());
                prop_assert!((1..=200).contains(&meta.ce_id.len()) && (1..=200).contains(&meta.correlation.len()));
                if let Some(tenant) = map.get("ce-tenant") {
                    prop_assert_eq!(tenant.as_str(), meta.tenant.as_str());
                }
            }
            // The same message is the same command, whoever reads it.
            let (again, _) = Meta::at(&subject, Some(&map), "CMD_SHOP", sequence, stored);
            prop_assert_eq!((again.id, again.ce_id, again.tenant), (meta.id, meta.ce_id, meta.tenant));
        })
    });
}

#[test]
fn a_subject_has_all_its_tokens_or_is_none() {
    fuzzed(|| {
        proptest!(|(subject in damaged("subject"))| {
            let subject = String::from_utf8_lossy(&subject);
            if let Some(parsed) = CommandSubject::parse(&subject) {
                let whole = format!("cmd.{}.{}.{}.{}", parsed.domain, parsed.lane, parsed.name, parsed.tenant);
                prop_assert_eq!(whole.as_str(), &*subject);
                prop_assert!(EventSubject::parse(&subject).is_none());
            }
            if let Some(parsed) = EventSubject::parse(&subject) {
                let whole = format!("evt.{}.{}.{}", parsed.domain, parsed.name, parsed.tenant);
                prop_assert_eq!(whole.as_str(), &*subject);
            }
            if let Ok(token) = subject.parse::<Token>() {
                prop_assert!(!token.as_str().contains(['.', '*', '>', ' ']));
            }
        })
    });
}
