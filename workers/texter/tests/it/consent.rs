//! Who has opted out by command: of which texts, of whose, and until when.

use omnibus_schemas::Command;
use omnibus_schemas::consent::Covers;
use omnibus_schemas::texter::{Category, DeleteOptOut, OptOuts, PutOptOut};
use serde_json::json;

use crate::codes::ask;
use crate::scene::{FROM, SERVICE, Scene, code, number, text};

fn out(n: u32, change: impl FnOnce(&mut PutOptOut)) -> PutOptOut {
    let mut out = PutOptOut { number: number(n), ..PutOptOut::example() };
    change(&mut out);
    out
}

#[tokio::test]
async fn an_opt_out_by_command_holds_for_its_tenant_until_it_is_taken_back() {
    let scene = Scene::new().await;
    // However it is written, it is the one number.
    let dialled = out(9001, |o| (o.number, o.country) = ("(415) 555-9001".into(), Some("US".into())));
    let (_, told) = scene.send(&dialled).await;
    assert_eq!((told.name.as_str(), &told.data["recipient"]), ("consent_changed", &json!(number(9001))));
    assert_eq!((&told.data["state"], &told.data["source"]), (&json!("opted_out"), &json!("command")));
    assert_eq!(scene.send(&dialled).await.1.name, "command_done", "once more is no news");
    let to_her = text(|t| t.to = number(9001));
    assert_eq!(code(&scene.send(&to_her).await.1), "opted_out");
    assert_eq!((scene.twilio.counts().await, scene.spent().await), ((0, 0), 0));
    let theirs = scene.stage.publish("globex", &to_her).await;
    assert_eq!(scene.stage.outcome(theirs).await.name, "sms_sent");

    let back = DeleteOptOut { number: number(9001), ..DeleteOptOut::example() };
    let foreign = scene.stage.publish("globex", &back).await;
    assert_eq!(scene.stage.outcome(foreign).await.name, "command_done");
    assert_eq!(code(&scene.send(&to_her).await.1), "opted_out");
    let (_, told) = scene.send(&back).await;
    assert_eq!((told.name.as_str(), &told.data["state"]), ("consent_changed", &json!("opted_in")));
    assert_eq!(scene.send(&back).await.1.name, "command_done");
    assert_eq!(scene.send(&to_her).await.1.name, "sms_sent");
    scene.running.stop().await;
}

#[tokio::test]
async fn an_opt_out_of_advertising_leaves_what_is_none_and_one_of_everything_leaves_nothing() {
    let scene = Scene::new().await;
    scene.send(&out(9002, |o| o.covers = Covers::Marketing)).await;
    let of = |category, body: &str| {
        text(|t| {
            t.to = number(9002);
            t.category = category;
            t.body = body.into();
        })
    };
    assert_eq!(code(&scene.send(&of(Category::Marketing, "Buy")).await.1), "opted_out");
    assert_eq!(scene.send(&of(Category::Transactional, "Bought")).await.1.name, "sms_sent");
    assert_eq!(scene.send(&ask(&number(9002), |_| ())).await.1.name, "code_sent");
    assert_eq!(scene.send(&out(9002, |_| ())).await.1.name, "consent_changed", "it covers more now");
    assert_eq!(code(&scene.send(&of(Category::Transactional, "Sent")).await.1), "opted_out");
    assert_eq!(code(&scene.send(&ask(&number(9002), |_| ())).await.1), "opted_out");
    assert_eq!(scene.twilio.counts().await, (2, 2));
    scene.running.stop().await;
}

#[tokio::test]
async fn an_opt_out_for_one_sender_leaves_the_others() {
    let scene = Scene::with(|settings| settings.twilio_messaging_service_sid = Some(SERVICE.into())).await;
    let (_, told) = scene.send(&out(9003, |o| o.sender = Some(FROM.into()))).await;
    assert_eq!(told.data["sender"], json!(FROM), "the event says how far it reaches");
    let from = |sender: &str| text(|t| (t.to, t.from) = (number(9003), Some(sender.into())));
    assert_eq!(code(&scene.send(&from(FROM)).await.1), "opted_out");
    assert_eq!(scene.send(&from(SERVICE)).await.1.name, "sms_sent");
    scene.running.stop().await;
}

#[tokio::test]
async fn opt_outs_are_listed_in_pages_each_of_them_once() {
    let scene = Scene::new().await;
    let mut expected = Vec::new();
    for n in 9010..9015 {
        scene.send(&out(n, |_| ())).await;
        expected.push((number(n), None));
    }
    scene.send(&out(9012, |o| o.sender = Some(FROM.into()))).await;
    expected.insert(3, (number(9012), Some(FROM.to_owned())));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = OptOuts { number: None, after, limit: Some(2) };
        let page = scene.stage.ask("texter", "acme", &page).await.unwrap();
        assert_eq!(page.opt_outs.len(), 2);
        seen.extend(page.opt_outs.into_iter().map(|one| (one.number, one.sender)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let one = OptOuts { number: Some(number(9012)), after: None, limit: None };
    assert_eq!(scene.stage.ask("texter", "acme", &one).await.unwrap().opt_outs.len(), 2);
    scene.running.stop().await;
}
