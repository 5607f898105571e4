//! Lists are read page by page, and whole.

use omnibus_schemas::brander::{AddDomain, Assets, Domains, ScheduleBranding, Schedules};

use crate::scene::{Scene, look};

#[tokio::test]
async fn assets_domains_and_schedules_are_read_page_by_page_and_whole() {
    let scene = Scene::new().await;
    sqlx::query(
        "insert into brander.assets (tenant, hash, kind, bytes, stored_at)
         select 'acme', repeat(n::text, 64), 'png', 1, now() from generate_series(1, 5) n",
    )
    .execute(&scene.stage.db)
    .await
    .unwrap();
    let (mut after, mut assets) = (None, vec![]);
    loop {
        let page = scene.stage.ask("brander", "acme", &Assets { after, limit: 2 }).await.unwrap();
        assert!(page.assets.len() <= 2);
        assets.extend(page.assets.into_iter().map(|row| row.hash.0));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(assets, ["1", "2", "3", "4", "5"].map(|digit| digit.repeat(64)));

    let hosts = [1, 2, 3, 4].map(|n| format!("p{n}.northwind-coffee.com"));
    for host in &hosts {
        scene.tell("acme", &AddDomain { host: host.clone() }).await;
    }
    let (mut after, mut domains, mut pages) = (None, vec![], 0);
    loop {
        let page = scene.stage.ask("brander", "acme", &Domains { after, limit: 2 }).await.unwrap();
        domains.extend(page.domains.into_iter().map(|row| row.host));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((domains, pages), (hosts.to_vec(), 2), "a full page may be the last");

    scene.draft("acme", look("Acme")).await;
    let mut wanted = vec![];
    for hours in [1, 2, 3, 4, 5] {
        let from = omnibus_runtime::clock::now() + chrono::TimeDelta::hours(hours);
        let told = scene.tell("acme", &ScheduleBranding { version: 1, from, until: None }).await;
        wanted.insert(0, told.data["schedule_id"].as_str().unwrap().to_owned());
    }
    let (mut after, mut schedules) = (None, vec![]);
    loop {
        let page = scene.stage.ask("brander", "acme", &Schedules { after, limit: 2 }).await.unwrap();
        schedules.extend(page.schedules.into_iter().map(|row| row.schedule_id.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(schedules, wanted, "the last to begin comes first");
}
