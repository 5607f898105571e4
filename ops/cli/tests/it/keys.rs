//! `omnibus key` and `omnibus token`, and that the door takes what they make.

use serde_json::Value;

use crate::audit::logged;
use crate::stack::Stack;

async fn status_of(stack: &Stack, credential: &str) -> u16 {
    let url = format!("{}/api/v1/email/send", stack.line("http.url"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = r#"{"to": ["test@example.com"], "subject": "Test", "body": "Hello"}"#;
    let request = client.post(url).bearer_auth(credential).header("content-type", "application/json").body(body);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_minted_key_opens_the_door_until_it_is_revoked() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stack = Stack::shared();
    let minted = stack.json(&[
        "key",
        "mint",
        "--tenant",
        "keyholder",
        "--scope",
        "email:send",
        "--name",
        "a test",
        "--expires",
        "1d",
    ]);
    let (key, id) = (minted["key"].as_str().unwrap(), minted["record"]["id"].as_str().unwrap());
    assert!(key.starts_with("omk_keyholder_"));
    // The door hears of a key by a watch.
    while status_of(&stack, key).await == 401 {}
    assert_eq!(status_of(&stack, key).await, 202);

    let listed = stack.run(&["key", "list", "--tenant", "keyholder"]).well();
    assert!(listed.contains(id) && listed.contains("a test") && !listed.contains(key), "{listed}");
    assert!(stack.run(&["key", "revoke", id]).well().contains("Revoked"));
    while status_of(&stack, key).await != 401 {}
    assert_eq!(stack.json(&["key", "list", "--tenant", "keyholder"]), Value::Array(vec![]));
    assert!(stack.run(&["key", "revoke", id]).failed().contains("there is no key"));
    for act in ["key.minted", "key.revoked"] {
        logged(&stack, "keyholder", &format!(",{act} {id},"));
    }
}

#[test]
fn a_key_that_would_grant_nothing_is_not_minted() {
    let stack = Stack::shared();
    let error = stack.run(&["key", "mint", "--tenant", "nobody", "--scope", "emial:send"]).failed();
    assert!(error.contains("emial:send") && error.contains("email:send"), "{error}");
    for wrong in [&["--tenant", "No.Token"], &["--expires", "2001-01-01T00:00:00Z"], &["--expires", "soon"]] {
        let run = stack.run(&[&["key", "mint", "--scope", "*", "--tenant", "nobody"][..4], wrong].concat());
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        assert!(run.err.contains(wrong[0]), "{run:?}");
    }
    assert_eq!(stack.json(&["key", "list", "--tenant", "nobody"]), Value::Array(vec![]));
}

#[tokio::test]
async fn a_signed_token_opens_the_door() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stack = Stack::shared();
    let token = stack.run(&["token", "--tenant", "browser", "--scope", "email:send", "--ttl", "5m"]).well();
    assert_eq!(status_of(&stack, token.trim()).await, 202);
    let token = stack.run(&["token", "--tenant", "browser", "--scope", "email:read"]).well();
    assert_eq!(status_of(&stack, token.trim()).await, 403);
    assert!(stack.run(&["token", "--scope", "*", "--ttl", "2d"]).failed().contains("a day at most"));
}
