//! Limits by address and by tenant.

use futures_util::future::join_all;

use crate::stage::{Stage, problem};

#[tokio::test]
async fn an_address_over_its_limit_is_refused_before_anybody_looks_at_its_key() {
    let stage = Stage::unready(|door, _| door.rate_limit_ip = 3).await;
    // Another address in the header is anybody's word.
    let asks =
        (0..40).map(|n| stage.get("/api/v1/greetings/Ada").header("x-forwarded-for", format!("10.0.0.{n}")).send());
    let mut refused = None;
    for response in join_all(asks).await {
        let response = response.unwrap();
        assert_eq!(response.headers()["ratelimit-policy"], "\"address\";q=3;w=1");
        assert!(response.headers()["ratelimit"].to_str().unwrap().starts_with("\"address\";r="));
        match response.status().as_u16() {
            429 => refused = Some(response),
            status => assert_eq!(status, 401),
        }
    }
    let refused = refused.expect("forty at once are more than three a second");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(problem(refused).await.1, "rate_limited");
    assert_eq!(stage.get("/healthz").send().await.unwrap().status(), 200, "probes are not limited");
}

#[tokio::test]
async fn behind_a_trusted_proxy_addresses_are_told_apart() {
    let stage = Stage::unready(|door, _| {
        door.rate_limit_ip = 1;
        door.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    for n in 0..10 {
        let request = stage.get("/api/v1/greetings/Ada").header("x-forwarded-for", format!("192.0.2.{n}"));
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn one_tenant_over_its_limit_costs_another_nothing() {
    let stage = Stage::with(|door, _| door.rate_limit_tenant = 5).await;
    let (acme, _) = stage.key("acme", &["*"]).await;
    let mut refused = 0;
    for response in join_all((0..60).map(|_| stage.greet(&acme).send())).await {
        let response = response.unwrap();
        assert_eq!(response.headers()["ratelimit-policy"], "\"tenant\";q=5;w=1");
        match response.status().as_u16() {
            429 => {
                assert!(response.headers().contains_key("retry-after"));
                refused += 1;
            }
            status => assert_eq!(status, 202),
        }
    }
    assert!(refused > 0, "sixty at once are more than five a second");
    let (globex, _) = stage.key("globex", &["*"]).await;
    assert_eq!(stage.greet(&globex).send().await.unwrap().status(), 202);
}
