//! Who asks for too many codes, one by one and all at once.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Stage, Told};
use omnibus_schemas::Catalogue;
use omnibus_schemas::texter::SendCode;
use omnibus_texter::{Settings, worker};

use crate::codes::ask;
use crate::scene::{Scene, Twilio, code, number};

#[tokio::test]
async fn floods_are_refused_by_number_address_range_and_country_and_told_once() {
    let scene = Scene::with(|settings| {
        settings.codes_per_recipient = 3;
        settings.codes_per_ip = 5;
        settings.codes_per_prefix = 8;
        settings.codes_per_country = 10;
    })
    .await;
    let refused = |told: &Told| code(told) == "too_many_codes";
    // One number.
    for n in 0..5 {
        let purpose = Some(format!("p{n}"));
        let (_, told) = scene.send(&ask(&number(3101), |a| a.purpose = purpose)).await;
        assert_eq!(refused(&told), n >= 3, "{n}: {}", told.data);
    }
    // One address, several ranges of numbers.
    for n in 0..6 {
        let to = format!("+1212555{:04}", 3200 + n);
        let (_, told) = scene.send(&ask(&to, |a| a.ip = Some(format!("2001:db8::{}", n + 1)))).await;
        assert_eq!(refused(&told), n >= 5, "{n}: {}", told.data);
    }
    // One range; its country comes next.
    let mut last = Vec::new();
    for n in 0..5 {
        let (_, told) = scene.send(&ask(&number(3300 + n), |_| ())).await;
        last.push(refused(&told));
    }
    assert_eq!(last, [false, false, true, true, true]);
    let kinds: Vec<String> = scene
        .stage
        .told()
        .iter()
        .filter(|told| told.name == "fraud_suspected")
        .map(|told| told.data["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["recipient", "ip", "country"]);
    assert_eq!(scene.twilio.counts().await.1, 10);
    assert!(scene.stage.told().iter().all(|told| !told.data.to_string().contains(&number(3101))));
    scene.running.stop().await;
}

/// Asks for all of them before the first is answered, by two workers that share the lane. How many each tenant got.
async fn at_once(change: impl Fn(&mut Settings), asks: &[(&str, SendCode)]) -> BTreeMap<String, usize> {
    let (stage, twilio) = tokio::join!(Stage::new(Catalogue::omnibus()), Twilio::start());
    let mut settings = twilio.settings();
    change(&mut settings);
    let mut running = Vec::new();
    for _ in 0..2 {
        let work = WorkSettings { loops: 4, batch: 8, ..WorkSettings::defaults() };
        running.push(stage.run_with(worker(settings.clone()).unwrap(), work).await);
    }
    let sent = join_all(asks.iter().map(|(tenant, ask)| stage.publish(tenant, ask))).await;
    let mut got = BTreeMap::new();
    for (id, (tenant, _)) in sent.into_iter().zip(asks) {
        let told = stage.outcome(id).await;
        assert!(told.name == "code_sent" || code(&told) == "too_many_codes", "{}: {}", told.name, told.data);
        *got.entry((*tenant).to_owned()).or_default() += usize::from(told.name == "code_sent");
    }
    assert_eq!(twilio.counts().await.1, got.values().sum::<usize>() as u64);
    for running in running {
        running.stop().await;
    }
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(sqlx::query_scalar::<_, i64>(deadlocks).fetch_one(&stage.db).await.unwrap(), 0);
    got
}

#[tokio::test]
async fn limits_hold_to_the_last_one_however_many_are_asked_for_at_once() {
    let many = |change: &dyn Fn(&mut SendCode, u32)| -> Vec<(&str, SendCode)> {
        (0..40).map(|n| ("acme", ask(&number(3600 + n), |a| change(a, n)))).collect()
    };
    let one = many(&|a, n| (a.to, a.purpose) = (number(3600), Some(format!("p{n}"))));
    let network = many(&|a, _| a.ip = Some("203.0.113.9".into()));
    let any = many(&|_, _| ());
    let (recipient, ip, prefix, country) = tokio::join!(
        at_once(|settings| settings.codes_per_recipient = 3, &one),
        at_once(|settings| settings.codes_per_ip = 5, &network),
        at_once(|settings| settings.codes_per_prefix = 6, &any),
        at_once(|settings| settings.codes_per_country = 7, &any),
    );
    let got = |codes: usize| BTreeMap::from([("acme".to_owned(), codes)]);
    assert_eq!((recipient, ip, prefix, country), (got(3), got(5), got(6), got(7)));
}

#[tokio::test]
async fn tenants_who_ask_at_once_have_limits_of_their_own_and_wait_in_no_circle() {
    let tenants = ["acme", "globex", "initech"];
    let asks: Vec<_> = (0..90).map(|n| (tenants[n as usize % 3], ask(&number(3800 + n), |a| a.ip = None))).collect();
    let got = at_once(|settings| settings.codes_per_country = 4, &asks).await;
    assert_eq!(got, tenants.map(|tenant| (tenant.to_owned(), 4)).into());
}

/// A number is one number, however it is written; and a range of numbers is told by what they have in common.
#[tokio::test]
async fn spellings_share_a_limit_and_neighbours_raise_an_alarm_for_their_range() {
    let scene = Scene::with(|settings| {
        settings.codes_per_recipient = 2;
        settings.codes_per_prefix = 3;
    })
    .await;
    for (n, to) in [number(3950), "+1 (415) 555-3950".to_owned(), "415.555.3950".to_owned()].into_iter().enumerate() {
        let ask = ask(&to, |a| (a.country, a.purpose) = (Some("US".into()), Some(format!("p{n}"))));
        let (_, told) = scene.send(&ask).await;
        assert_eq!(code(&told) == "too_many_codes", n == 2, "{to}: {}", told.data);
    }
    assert_eq!(scene.send(&ask(&number(3951), |_| ())).await.1.name, "code_sent");
    assert_eq!(code(&scene.send(&ask(&number(3952), |_| ())).await.1), "too_many_codes");
    let alarms: Vec<(String, String)> = scene
        .stage
        .told()
        .iter()
        .filter(|told| told.name == "fraud_suspected")
        .map(|told| ["kind", "key"].map(|field| told.data[field].as_str().unwrap().to_owned()).into())
        .collect();
    let expected = [("recipient", "+1415*****50"), ("prefix", "+14155")];
    assert_eq!(alarms, expected.map(|(kind, key)| (kind.to_owned(), key.to_owned())));
    assert_eq!(scene.twilio.counts().await.1, 3);
    scene.running.stop().await;
}
