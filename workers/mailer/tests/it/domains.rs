//! A domain to send from is proved by DNS: against a real authoritative server.

use omnibus_dns::testing::Names;
use omnibus_runtime::testing::{Running, Stage, Told};
use omnibus_schemas::mailer::{AddSenderDomain, ConfirmSenderDomain, RemoveSenderDomain, SenderDomains};
use omnibus_schemas::platform::Outcome;
use serde_json::json;

use crate::scene::{done, email, rejected, run_with, stage};
use crate::server::SmtpServer;

const DOMAIN: &str = "shop.example";
const RECORD: &str = "_omnibus.shop.example";

struct Scene {
    stage: Stage,
    server: SmtpServer,
    names: Names,
    running: Running,
}

impl Scene {
    async fn new() -> Self {
        let (stage, server, names) = tokio::join!(stage(), SmtpServer::start(json!({})), Names::start(DOMAIN));
        let asked = names.address.to_string();
        let more = ["--dns-servers", &asked, "--sender-approval-secret", "operator"];
        let running = run_with(&stage, &server, &more).await;
        Scene { stage, server, names, running }
    }

    /// Asks for the domain. What its record must say.
    async fn claim(&self, tenant: &str) -> String {
        let id = self.stage.publish(tenant, &AddSenderDomain { domain: "Shop.Example".into() }).await;
        let told = self.stage.outcome(id).await;
        assert_eq!((told.name.as_str(), &told.data["domain"]), ("sender_domain_added", &json!(DOMAIN)));
        assert_eq!(told.data["record_name"], RECORD);
        told.data["record_value"].as_str().unwrap().to_owned()
    }

    async fn confirm(&self, tenant: &str) -> Told {
        let confirm = ConfirmSenderDomain { domain: "SHOP.example".into(), approval: None };
        let id = self.stage.publish(tenant, &confirm).await;
        self.stage.outcome(id).await
    }

    async fn may_send(&self, tenant: &str) -> bool {
        let id = self.stage.publish(tenant, &email(|e| e.from = Some("ada@shop.example".into()))).await;
        let told = self.stage.outcome(id).await;
        match told.outcome {
            Some(Outcome::Succeeded) => true,
            _ => {
                assert_eq!(told.data["code"], "sender_not_allowed");
                false
            }
        }
    }
}

fn refusal(told: &Told) -> (&str, &str) {
    assert_eq!(told.outcome, Some(Outcome::Rejected), "{told:?}");
    (told.data["code"].as_str().unwrap(), told.data["detail"].as_str().unwrap())
}

#[tokio::test]
async fn a_domain_is_a_tenants_once_dns_says_so() {
    let mut scene = Scene::new().await;
    assert_eq!(refusal(&scene.confirm("acme").await).0, "not_found");
    let record = scene.claim("acme").await;
    assert_eq!(scene.claim("acme").await, record, "once more is the same claim");
    assert_ne!(scene.claim("globex").await, record, "another tenant's is another");

    let told = scene.confirm("acme").await;
    let (code, detail) = refusal(&told);
    assert_eq!(code, "proof_missing");
    assert!(detail.contains(RECORD) && detail.contains(&record) && detail.ends_with("there is none"), "{detail}");
    scene.names.write(RECORD, "something else").await;
    assert!(refusal(&scene.confirm("acme").await).1.ends_with("1 of other content are there"));
    assert!(!scene.may_send("acme").await);

    scene.names.write(RECORD, &record).await;
    let told = scene.confirm("acme").await;
    assert_eq!(told.name, "sender_domain_confirmed", "{told:?}");
    assert_eq!(told.data, json!({ "domain": DOMAIN, "by": "dns" }));
    assert!(scene.may_send("acme").await);
    assert_eq!(scene.server.next("accepted").await["from"], "ada@shop.example");
    // The owner's record proves nothing for anybody else.
    assert_eq!(refusal(&scene.confirm("globex").await).0, "proof_missing");
    assert!(!scene.may_send("globex").await);
    // Said again, it is so still, whatever DNS says by now.
    scene.names.wipe(RECORD).await;
    assert_eq!(scene.confirm("acme").await.name, "sender_domain_confirmed");

    let id = scene.stage.publish("acme", &RemoveSenderDomain { domain: DOMAIN.into() }).await;
    assert_eq!(scene.stage.outcome(id).await.name, "sender_domain_removed");
    assert!(!scene.may_send("acme").await);
    scene.names.write(RECORD, &record).await;
    assert_ne!(scene.claim("acme").await, record, "a new claim wants a new record");
    assert_eq!(refusal(&scene.confirm("acme").await).0, "proof_missing");
    scene.running.stop().await;
}

#[tokio::test]
async fn dns_that_does_not_answer_changes_nothing_and_says_so() {
    let mut scene = Scene::new().await;
    let record = scene.claim("acme").await;
    scene.names.write(RECORD, &record).await;
    scene.names.fall_silent().await;
    let told = scene.confirm("acme").await;
    let (code, detail) = refusal(&told);
    assert_eq!(code, "dns_unanswered");
    assert!(detail.contains("nothing was changed"), "{detail}");
    assert!(!scene.may_send("acme").await);
    scene.names.speak().await;
    assert_eq!(scene.confirm("acme").await.name, "sender_domain_confirmed");
    // Who has proved it keeps it while nobody answers.
    scene.names.fall_silent().await;
    assert!(scene.may_send("acme").await);
    scene.running.stop().await;
}

#[tokio::test]
async fn whoever_owns_the_domain_now_can_prove_it_and_takes_it_from_whoever_did_before() {
    let scene = Scene::new().await;
    let (old, new) = (scene.claim("acme").await, scene.claim("globex").await);
    scene.names.write(RECORD, &old).await;
    assert_eq!(scene.confirm("acme").await.name, "sender_domain_confirmed");
    // While both records stand there, the first keeps it.
    scene.names.write(RECORD, &new).await;
    assert_eq!(refusal(&scene.confirm("globex").await).0, "domain_taken");
    scene.names.wipe(RECORD).await;
    scene.names.write(RECORD, &new).await;
    assert_eq!(scene.confirm("globex").await.name, "sender_domain_confirmed");
    assert!(scene.may_send("globex").await && !scene.may_send("acme").await);
    let domains = scene.stage.ask("mailer", "acme", &SenderDomains {}).await.unwrap().domains;
    assert_eq!((domains.len(), domains[0].confirmed_at), (1, None));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_the_operator_approved_is_not_taken_by_dns() {
    let scene = Scene::new().await;
    scene.claim("acme").await;
    done(&scene.stage, "acme", &crate::senders::approval("acme")).await;
    let record = scene.claim("globex").await;
    scene.names.write(RECORD, &record).await;
    assert_eq!(refusal(&scene.confirm("globex").await).0, "domain_taken");
    assert_eq!(rejected(&scene.stage, "globex", &crate::senders::approval("globex")).await, "domain_taken");
    scene.running.stop().await;
}

/// Ids come from callers. A record that proves a domain for one tenant must not for another that chose the same id.
#[tokio::test]
async fn the_same_command_id_is_another_proof_for_another_tenant() {
    let scene = Scene::new().await;
    let id = omnibus_runtime::clock::new_id();
    let mut values = vec![];
    for tenant in ["acme", "globex"] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-id", id.to_string().as_str());
        let subject = format!("cmd.mailer.default.add_sender_domain.{tenant}");
        scene.stage.publish_raw(&subject, headers, format!("{{\"domain\": \"{DOMAIN}\"}}")).await;
        let added = scene.stage.event(|told| told.name == "sender_domain_added" && told.tenant == tenant).await;
        values.push(added.data["record_value"].as_str().unwrap().to_owned());
    }
    assert_ne!(values[0], values[1]);
    scene.running.stop().await;
}
