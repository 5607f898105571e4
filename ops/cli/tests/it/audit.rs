//! `omnibus audit`: out with the proofs, checked offline, tampered with, followed. And acts that are on record.

use serde_json::Value;

use crate::stack::{Stack, folder};

/// Waits until the tenant's log holds this text.
pub(crate) fn logged(stack: &Stack, tenant: &str, text: &str) -> String {
    for _ in 0..600 {
        let csv = stack.run(&["audit", "export", "--tenant", tenant, "--csv"]);
        if csv.status.success() && csv.out.contains(text) {
            return csv.out;
        }
        std::thread::yield_now();
    }
    panic!("{tenant}'s log does not come to hold {text}")
}

#[test]
fn an_export_is_checked_offline_and_a_changed_byte_is_named() {
    let stack = Stack::shared();
    stack.run(&["key", "mint", "--tenant", "audited", "--scope", "email:send"]).well();
    let csv = logged(&stack, "audited", "auditor.act_recorded");
    assert!(csv.starts_with("index,occurred_at,") && csv.contains("auditor.record_act"), "{csv}");

    let dir = folder();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (file, kept, key) = (path("log.jsonl"), path("kept"), path("key"));
    std::fs::write(&key, stack.run(&["audit", "head", "--tenant", "audited", "--key"]).well()).unwrap();
    stack.run(&["audit", "export", "--tenant", "audited", "--file", &file]).well();
    let verified = stack.run(&["audit", "verify", &file, "--key-file", &key]).well();
    assert!(verified.starts_with("OK: "), "{verified}");

    let watch = ["audit", "watch", "--tenant", "audited", "--key-file", &key, "--kept", &kept, "--once"];
    assert!(stack.run(&watch).well().contains("first checkpoint"));
    stack.run(&["key", "mint", "--tenant", "audited", "--scope", "email:send", "--name", "second"]).well();
    assert!(stack.run(&watch).well().starts_with("OK: "));
    let look = stack.json(&watch);
    assert_eq!(look["state"], "continues", "{look}");
    assert!(look["kept"].as_u64().unwrap() > 0 && look["size"].as_u64() >= look["kept"].as_u64(), "{look}");
    stack.run(&["audit", "export", "--tenant", "audited", "--since", &kept, "--file", &file]).well();
    stack.run(&["audit", "verify", &file, "--key-file", &key, "--kept", &kept]).well();
    assert_eq!(header(&file)["previous"].as_str(), Some(std::fs::read_to_string(&kept).unwrap().as_str()));

    let text = std::fs::read_to_string(&file).unwrap();
    let at = text.lines().position(|line| line.starts_with(r#"{"index":1,"#)).unwrap();
    let lines: Vec<_> = text
        .lines()
        .enumerate()
        .map(|(n, line)| if n == at { line.replace("audited", "auditeD") } else { line.to_owned() })
        .collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let flaw = stack.run(&["--output", "json", "audit", "verify", &file, "--key-file", &key]);
    assert_eq!(flaw.status.code(), Some(1), "{flaw:?}");
    assert_eq!(serde_json::from_str::<Value>(&flaw.out).unwrap()["index"], 1);
    let other = stack.run(&["audit", "head", "--tenant", "demo", "--key"]).well();
    assert_eq!(stack.run(&["audit", "verify", &file, "--key", other.trim()]).status.code(), Some(1));
    assert!(stack.run(&["audit", "verify", &file]).err.contains("--key"));
}

/// What an export says of itself.
fn header(file: &str) -> Value {
    serde_json::from_str(std::fs::read_to_string(file).unwrap().lines().next().unwrap()).unwrap()
}

#[test]
fn a_part_of_a_log_is_checked_by_itself_and_says_what_it_is() {
    let stack = Stack::shared();
    let mint = || stack.json(&["key", "mint", "--tenant", "parted", "--scope", "email:send"]);
    mint();
    let id = mint()["record"]["id"].as_str().unwrap().to_owned();
    logged(&stack, "parted", &format!(",key.minted {id},"));
    let dir = folder();
    let file = dir.path().join("part.jsonl").to_str().unwrap().to_owned();
    let export = ["audit", "export", "--tenant", "parted", "--file", &file, "--from", "1", "--to"];
    stack.run(&[&export[..], &["2"]].concat()).well();
    let said = header(&file);
    assert_eq!((&said["from"], &said["to"], &said["count"]), (&1.into(), &2.into(), &1.into()), "{said}");
    assert!(said["head"].as_str().unwrap().contains("/parted\n") && said.get("what").is_none(), "{said}");
    let key = stack.run(&["audit", "head", "--tenant", "parted", "--key"]).well();
    let report = stack.json(&["audit", "verify", &file, "--key", key.trim()]);
    assert_eq!((&report["from"], &report["to"], &report["checked"]), (&1.into(), &2.into(), &1.into()), "{report}");
    assert!(stack.run(&[&export[..], &["1000000"]].concat()).failed().contains("nothing to export"));
}

#[test]
fn a_watch_tells_programs_one_line_a_look() {
    let stack = Stack::shared();
    stack.run(&["key", "mint", "--tenant", "watched", "--scope", "email:send"]).well();
    logged(&stack, "watched", "auditor.act_recorded");
    let dir = folder();
    let kept = dir.path().join("kept").to_str().unwrap().to_owned();
    let key = stack.run(&["audit", "head", "--tenant", "watched", "--key"]).well();
    let watch = ["audit", "watch", "--tenant", "watched", "--key", key.trim(), "--kept", &kept, "--once"];
    let look = stack.run(&[&watch[..], &["--output", "json"]].concat()).well();
    assert_eq!(look.trim_end().lines().count(), 1, "{look}");
    let look: Value = serde_json::from_str(&look).unwrap();
    assert_eq!((&look["state"], look.get("kept")), (&"first".into(), None), "{look}");
    assert!(look["size"].as_u64().unwrap() > 0, "{look}");
}

#[test]
fn a_filter_shows_what_it_wants_and_proves_that_the_rest_is_there() {
    let stack = Stack::shared();
    stack.run(&["key", "mint", "--tenant", "filtered", "--scope", "email:send"]).well();
    logged(&stack, "filtered", "auditor.act_recorded");
    let dir = folder();
    let file = dir.path().join("log.jsonl").to_str().unwrap().to_owned();
    stack.run(&["audit", "export", "--tenant", "filtered", "--what", "auditor.act", "--file", &file]).well();
    assert_eq!((&header(&file)["what"], &header(&file)["count"]), (&"auditor.act".into(), &1.into()));
    let key = stack.run(&["audit", "head", "--tenant", "filtered", "--key"]).well();
    let report = stack.json(&["audit", "verify", &file, "--key", key.trim()]);
    // The command of the act, and what the watch of the controls has added since.
    let withheld = report["withheld"].as_u64().unwrap();
    assert_eq!((&report["checked"], Some(withheld + 1)), (&1.into(), report["size"].as_u64()), "{report}");
    assert!(withheld >= 1);
    let nothing = ["audit", "export", "--tenant", "filtered", "--what", "nothing.of", "--file", &file];
    stack.run(&nothing).well();
    let flaw = stack.run(&["audit", "verify", &file, "--key", key.trim()]);
    assert!(!flaw.status.success() && flaw.out.contains("nothing was checked"), "{flaw:?}");
}

#[test]
fn how_the_controls_stand_is_told_as_a_page_and_as_oscal() {
    let stack = Stack::shared();
    stack.run(&["key", "mint", "--tenant", "reported", "--scope", "email:send"]).well();
    logged(&stack, "reported", "auditor.act_recorded");
    let page = stack.run(&["audit", "report", "--tenant", "reported", "--framework", "hipaa"]).well();
    assert!(page.starts_with("<!doctype html>") && page.contains("164.312(b)"));
    let report = stack.json(&["audit", "report", "--tenant", "reported", "--framework", "hipaa"]);
    assert_eq!(report["framework"], "hipaa", "{report}");
    assert!(!report["controls"].as_array().unwrap().is_empty(), "{report}");
    let dir = folder();
    let file = dir.path().join("oscal.json").to_str().unwrap().to_owned();
    stack.run(&["audit", "export", "--tenant", "reported", "--oscal", "soc2", "--file", &file]).well();
    let oscal: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(oscal["assessment-results"]["results"][0]["findings"].as_array().unwrap().len(), 61);
    let nonsense = stack.run(&["audit", "report", "--tenant", "reported", "--framework", "sox"]);
    assert_eq!(nonsense.status.code(), Some(2), "{nonsense:?}");
    assert!(nonsense.err.contains("hipaa, soc2, iso27001"));
}
