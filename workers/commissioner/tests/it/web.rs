//! Links, webhooks and pages.

use std::time::Duration;

use chrono::TimeDelta;
use omnibus_runtime::testing::Stage;
use omnibus_runtime::{Reply, Visit, clock};
use omnibus_schemas::commissioner::{
    AddLink, FollowLink, OrderWebhook, ProgramRules, RefundWebhook, RotateWebhookSecret, Statement, StatementPage,
    WebhookSecret,
};
use serde_json::json;

use crate::scene::{Scene, one_month, order};

fn visit(params: &[(&str, &str)], headers: &[(&str, &str)]) -> Visit {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Visit { params: map(params), headers: map(headers), ..Visit::default() }
}

async fn follow(stage: &Stage, link: &str, query: &str, headers: &[(&str, &str)]) -> Result<Reply, (u16, String)> {
    stage.visit::<FollowLink>(&Visit { query: query.into(), ..visit(&[("link", link)], headers) }).await
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers().iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn a_link_counts_the_click_and_recognises_only_who_agreed() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let plain =
        follow(&scene.stage, &code.to_uppercase(), "", &[("referer", "https://blog.example/post?secret")]).await;
    let plain = plain.unwrap();
    assert_eq!((plain.code(), header(&plain, "set-cookie")), (303, None));
    assert_eq!(header(&plain, "location"), Some("https://shop.example.com/"));
    let counted = scene.stage.event(|told| told.name == "click_recorded").await;
    assert_eq!((&counted.data["partner_id"], &counted.data["consent"]), (&json!(ada), &json!(false)));
    let referrer: String =
        sqlx::query_scalar("select referrer from commissioner.clicks").fetch_one(scene.db()).await.unwrap();
    assert_eq!(referrer, "blog.example");

    let asked = ("referer", "https://shop.example.com/");
    for (query, by) in [("consent=1", asked), ("", ("cookie", "a=b; consent=1"))] {
        let known = follow(&scene.stage, &code, query, &[by]).await.unwrap();
        let location = header(&known, "location").unwrap();
        let click = location.rsplit_once("click=").unwrap().1.to_owned();
        assert_eq!(location, format!("https://shop.example.com/?via={code}&click={click}"));
        let cookie = header(&known, "set-cookie").unwrap();
        assert_eq!(
            cookie,
            format!("omnibus_click=acme.{click}; Max-Age=2592000; Path=/; Secure; HttpOnly; SameSite=Lax")
        );
        let told = scene.stage.event(|told| told.data["click_id"] == click.as_str()).await;
        assert_eq!(told.data["consent"], true);
    }
    let refused = follow(&scene.stage, &code, "consent=1", &[asked, ("sec-gpc", "1")]).await.unwrap();
    assert_eq!(header(&refused, "set-cookie"), None);
    let previewed = follow(&scene.stage, &code, "consent=1", &[asked, ("sec-purpose", "prefetch")]).await.unwrap();
    assert_eq!(header(&previewed, "location"), Some("https://shop.example.com/"));
    assert_eq!(follow(&scene.stage, "nobodys", "", &[]).await.unwrap_err().0, 404);
    scene.running.stop().await;
}

#[tokio::test]
async fn who_spreads_a_link_can_not_consent_for_those_who_follow_it() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, code) = scene.partner("ada", None).await;
    for referer in ["", "https://blog.example/", "https://shop.example.com.blog.example/", "http://shop.example.com/"] {
        let reply = follow(&scene.stage, &code, "consent=1", &[("referer", referer)]).await.unwrap();
        assert_eq!(header(&reply, "location"), Some("https://shop.example.com/"), "{referer}");
        assert_eq!(header(&reply, "set-cookie"), None, "{referer}");
    }
    let bare = follow(&scene.stage, &code, "consent=1", &[]).await.unwrap();
    assert_eq!((header(&bare, "location"), header(&bare, "set-cookie")), (Some("https://shop.example.com/"), None));
    let recorded = async {
        while scene.count("clicks").await < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), recorded).await.unwrap();
    let agreed: i64 = sqlx::query_scalar("select count(*) from commissioner.clicks where consent")
        .fetch_one(scene.db())
        .await
        .unwrap();
    assert_eq!(agreed, 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_link_leads_to_the_programs_sites_of_today_only() {
    let scene = Scene::new().await;
    scene.program(|p| p.sites = vec!["old.example.com".into()]).await;
    let (partner_id, _) = scene.partner("ada", None).await;
    let told = scene.does(&AddLink { partner_id, destination: "https://old.example.com/a?b=c".into() }).await;
    let link = told.data["link"].as_str().unwrap().trim_start_matches("/r/").to_owned();
    let to = |reply: Reply| header(&reply, "location").unwrap().split("&click=").next().unwrap().to_owned();
    let known = to(follow(&scene.stage, &link, "", &[("cookie", "consent=1")]).await.unwrap());
    assert_eq!(known, format!("https://old.example.com/a?b=c&via={link}"));
    // What the shop is told is a code that it can name.
    assert_eq!(scene.does(&order("1", Some(&link))).await.data["partner_id"], partner_id.to_string());
    scene.program(|p| p.sites = vec!["new.example.com".into()]).await;
    assert_eq!(to(follow(&scene.stage, &link, "", &[]).await.unwrap()), "https://new.example.com/");
    scene.program(|p| p.sites = vec![]).await;
    assert_eq!(follow(&scene.stage, &link, "", &[]).await.unwrap_err().0, 404);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_webhook_is_believed_by_its_signature_and_counts_once() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let secret = scene.asks(&WebhookSecret { program: "main".parse().unwrap() }).await.unwrap();
    assert_eq!(secret.path, "/hooks/partners/acme/main/orders");
    let body = serde_json::to_vec(&json!({
        "order_id": "1", "customer_id": "c", "currency": "EUR", "code": code,
        "lines": [{ "line_id": "1", "amount": 10_000 }],
    }))
    .unwrap();
    let now = clock::now().timestamp();
    let post = |program: &str, signature: String, body: &[u8]| {
        let visit = visit(&[("tenant", "acme"), ("program", program)], &[("x-omnibus-signature", &signature)]);
        Visit { body: body.to_vec(), ..visit }
    };
    let good = omnibus_commissioner::sign(&secret.secret, now, &body);
    for wrong in [
        post("main", String::new(), &body),
        post("main", omnibus_commissioner::sign("guess", now, &body), &body),
        post("main", omnibus_commissioner::sign(&secret.secret, now - 301, &body), &body),
        post("main", good.clone(), b"{}"),
        post("other", good.clone(), &body),
    ] {
        assert_eq!(scene.stage.visit::<OrderWebhook>(&wrong).await.unwrap().code(), 401);
    }
    assert_eq!(scene.count("orders").await, 0);
    for _ in 0..3 {
        let reply = scene.stage.visit::<OrderWebhook>(&post("main", good.clone(), &body)).await.unwrap();
        assert_eq!(reply.code(), 202);
    }
    let bad = br#"{"order_id": "2", "customer_id": "c", "currency": "EUR", "lines": [], "what": 1}"#;
    let signed = post("main", omnibus_commissioner::sign(&secret.secret, now, bad), bad);
    let reply = scene.stage.visit::<OrderWebhook>(&signed).await.unwrap();
    assert_eq!(reply.code(), 422);
    assert!(String::from_utf8(reply.into_body().0).unwrap().contains("/what"));
    scene.stage.event(|told| told.name == "order_recorded").await;
    scene.does(&order("last", None)).await;
    assert_eq!((scene.count("orders").await, scene.balance(ada, "EUR").await), (2, 500));
    scene.running.stop().await;
}

/// A signed report.
fn report(address: &str, secret: &str, body: &[u8]) -> Visit {
    let signature = omnibus_commissioner::sign(secret, clock::now().timestamp(), body);
    let parts: Vec<_> = address.trim_start_matches("/hooks/partners/").split('/').collect();
    let visit = visit(&[("tenant", parts[0]), ("program", parts[1])], &[("x-omnibus-signature", &signature)]);
    Visit { body: body.to_vec(), ..visit }
}

#[tokio::test]
async fn a_refund_is_reported_as_an_order_is_and_counts_once() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&order("1", Some(&code))).await;
    let webhook = scene.asks(&WebhookSecret { program: "main".parse().unwrap() }).await.unwrap();
    assert_eq!(webhook.refunds_path, "/hooks/partners/acme/main/refunds");
    let body = br#"{"order_id": "1", "refund_id": "r-1", "lines": [{"line_id": "1", "amount": 5000}]}"#;
    let forged = report(&webhook.refunds_path, "guess", body);
    assert_eq!(scene.stage.visit::<RefundWebhook>(&forged).await.unwrap().code(), 401);
    for _ in 0..3 {
        let good = report(&webhook.refunds_path, &webhook.secret, body);
        assert_eq!(scene.stage.visit::<RefundWebhook>(&good).await.unwrap().code(), 202);
    }
    scene.stage.event(|told| told.name == "refund_recorded").await;
    scene.does(&order("last", None)).await;
    assert_eq!((scene.count("refunds").await, scene.balance(ada, "EUR").await), (1, 250));
    // What is signed for orders is no refund, and the other way round.
    let mixed = report(&webhook.path, &webhook.secret, body);
    assert_eq!(scene.stage.visit::<OrderWebhook>(&mixed).await.unwrap().code(), 422);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_report_that_was_refused_counts_when_it_comes_again_and_then_once() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let webhook = scene.asks(&WebhookSecret { program: "main".parse().unwrap() }).await.unwrap();
    // The shop's clock is ahead of ours: by more than is let pass, and half a minute later no more.
    let ordered_at = clock::now() + TimeDelta::minutes(5) + TimeDelta::seconds(30);
    let body = serde_json::to_vec(&json!({
        "order_id": "1", "customer_id": "c", "currency": "EUR", "code": code, "ordered_at": ordered_at,
        "lines": [{ "line_id": "1", "amount": 10_000 }],
    }))
    .unwrap();
    let again = async || {
        let visit = report(&webhook.path, &webhook.secret, &body);
        let reply = scene.stage.visit::<OrderWebhook>(&visit).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&reply.into_body().0).unwrap();
        scene.stage.outcome(answer["id"].as_str().unwrap().parse().unwrap()).await
    };
    assert_eq!(again().await.data["code"], "in_the_future");
    let counted = async {
        while again().await.name != "order_recorded" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), counted).await.expect("the same report is decided anew");
    again().await;
    assert_eq!((scene.count("orders").await, scene.balance(ada, "EUR").await), (1, 500));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_webhooks_secret_is_changed_without_losing_a_report_and_a_known_one_is_worth_nothing_at_once() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let program = || "main".parse().unwrap();
    let secret = async || scene.asks(&WebhookSecret { program: program() }).await.unwrap();
    let believed = async |secret: &str| {
        let visit = report("/hooks/partners/acme/main/orders", secret, br#"{"nothing": 1}"#);
        // 422: the signature was believed, and then the body was read.
        scene.stage.visit::<OrderWebhook>(&visit).await.unwrap().code() == 422
    };
    let first = secret().await;
    assert_eq!((first.generation, first.previous_until), (1, None));
    let told = scene.does(&RotateWebhookSecret { program: program(), overlap_hours: 2 }).await;
    assert_eq!((told.name.as_str(), &told.data["generation"]), ("webhook_secret_rotated", &json!(2)));
    let second = secret().await;
    assert_ne!(second.secret, first.secret);
    assert!(second.previous_until.unwrap() > clock::now());
    assert!(!told.data.to_string().contains(&second.secret), "no event holds a secret");
    assert!(believed(&first.secret).await && believed(&second.secret).await);
    // The overlap ends.
    sqlx::query("update commissioner.programs set webhook_previous_until = now() - interval '1 second'")
        .execute(scene.db())
        .await
        .unwrap();
    assert!(!believed(&first.secret).await && believed(&second.secret).await);
    assert_eq!(secret().await.previous_until, None);

    scene.does(&RotateWebhookSecret { program: program(), overlap_hours: 0 }).await;
    let third = secret().await;
    assert!(!believed(&first.secret).await && !believed(&second.secret).await && believed(&third.secret).await);
    let none = RotateWebhookSecret { program: "other".parse().unwrap(), overlap_hours: 0 };
    assert_eq!(scene.does(&none).await.data["code"], "no_such_program");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_statement_is_a_page_for_who_has_its_address() {
    let (year, month) = one_month().await;
    let scene = Scene::new().await;
    scene.program(|p| p.name = "Friends & <family>".into()).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&order("<b>1</b>", Some(&code))).await;
    let page = scene.asks(&Statement { partner_id: ada, year, month, after: None, limit: 5 }).await.unwrap().page;
    let parts: Vec<_> = page.trim_start_matches("/p/statements/").split('/').collect();
    let names = ["tenant", "partner_id", "month", "key"];
    let params: Vec<_> = names.into_iter().zip(parts.iter().copied()).collect();
    let reply = scene.stage.visit::<StatementPage>(&visit(&params, &[])).await.unwrap();
    assert!(header(&reply, "content-security-policy").unwrap().starts_with("default-src 'none'"));
    let html = String::from_utf8(reply.into_body().0).unwrap();
    if let Ok(path) = std::env::var("STATEMENT_PAGE") {
        std::fs::write(path, &html).unwrap();
    }
    for part in ["Friends &amp; &lt;family&gt;", "&lt;b&gt;1&lt;/b&gt;", "5.00\u{a0}EUR", "Owed now"] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
    assert!(!html.contains("<b>"));
    for n in 0..4 {
        let mut other = params.clone();
        other[n].1 = ["globex", "01979f6e-5a00-7000-8000-000000000001", "2020-01", "0000"][n];
        assert_eq!(scene.stage.visit::<StatementPage>(&visit(&other, &[])).await.unwrap_err().0, 404);
    }
    let rules = scene.asks(&ProgramRules { program: "main".parse().unwrap() }).await.unwrap();
    assert_eq!((rules.version, rules.rules.name.as_str()), (1, "Friends & <family>"));
    scene.running.stop().await;
}
