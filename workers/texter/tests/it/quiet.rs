//! What the logs hold, and what they don't.

use omnibus_runtime::testing::Log;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::texter::{TwilioInbound, VerifyCode};
use serde_json::json;

use crate::checks::check_number;
use crate::codes::{ask, code_in};
use crate::scene::{FROM, SECRET, Scene, TOKEN, number, text};
use crate::webhooks::visit;

/// The log is the whole process's, so other tests' lines stand in it too; these words are of this test alone, but for
/// the token and the secret, which nothing may write.
#[tokio::test]
async fn no_number_text_code_or_token_gets_into_a_log() {
    let log = Log::begin();
    let scene = Scene::new().await;
    // One whose answer is lost and that is looked up, one that Twilio refuses, and one that is no number.
    scene.twilio.next(json!([{ "lose": true }, { "code": 21614 }])).await;
    let words = |n| text(|t| (t.to, t.body) = (number(n), "quietbody".into()));
    let (sent, told) = scene.send(&words(9401)).await;
    assert_eq!(told.outcome, Some(Outcome::Succeeded));
    for refused in [words(9402), text(|t| t.to = "+1415555940".into())] {
        assert_eq!(scene.send(&refused).await.1.outcome, Some(Outcome::Rejected));
    }
    // A code: sent, mistyped, typed as it is on the bus and in a body that makes no sense, and right.
    let (_, told) = scene.send(&ask(&number(9403), |a| a.digits = Some(10))).await;
    assert_eq!(told.name, "code_sent", "{}", told.data);
    let right = code_in(scene.twilio.messages().await.last().unwrap()["body"].as_str().unwrap(), 10);
    let typed = if right == "5550009403" { "5550009404" } else { "5550009403" };
    let check = async |typed: &str| check_number(&scene.stage, "acme", &number(9403), None, typed).await.name;
    assert_eq!(check(typed).await, "code_failed");
    let bare =
        VerifyCode { verification_id: None, to: Some(number(9403)), country: None, purpose: None, code: right.clone() };
    assert_eq!(scene.send(&bare).await.1.outcome, Some(Outcome::Rejected));
    let nonsense = format!(r#"{{"to": "{}", "code": {right}}}"#, number(9403));
    scene.stage.publish_raw("cmd.texter.checks.verify_code.acme", Default::default(), nonsense).await;
    scene.stage.event(|told| told.outcome == Some(Outcome::DeadLettered)).await;
    assert_eq!(check(&right).await, "code_verified");
    // A text that comes in, and one that nobody signed.
    let from = number(9401);
    let form = [("From", from.as_str()), ("To", FROM), ("Body", "quietreply"), ("MessageSid", "SM9401")];
    let mut came = visit("/webhooks/twilio/inbound", "", &form);
    assert_eq!(scene.stage.visit::<TwilioInbound>(&came).await.unwrap().code(), 200);
    scene.event("sms_received").await;
    came.headers.remove("x-twilio-signature");
    assert_eq!(scene.stage.visit::<TwilioInbound>(&came).await.unwrap().code(), 403);
    scene.running.stop().await;

    assert!(log.says(&sent.to_string()), "nothing of this test was logged");
    for word in [
        "4155559401",
        "4155559402",
        "4155559403",
        "1415555940",
        "quietbody",
        "quietreply",
        right.as_str(),
        typed,
        TOKEN,
        SECRET,
    ] {
        assert_eq!(log.line_with(word), None, "{word}");
    }
}
