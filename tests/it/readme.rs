//! What the README says of the workspace is so.

use std::collections::BTreeSet;

const README: &str = include_str!("../../README.md");
const WORKSPACE: &str = include_str!("../../Cargo.toml");

/// What stands between a heading and the next of its kind.
fn section<'a>(text: &'a str, heading: &str, next: &str) -> &'a str {
    text.split_once(heading).unwrap().1.split(next).next().unwrap()
}

#[test]
fn every_dependency_has_its_reason_and_every_reason_its_dependency() {
    let reasons: BTreeSet<_> = section(README, "\n## Dependencies\n", "\n## ")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .filter(|cell| !["crate", "---"].contains(cell))
        .flat_map(|cell| cell.split(", "))
        .collect();
    let dependencies: BTreeSet<_> = section(WORKSPACE, "\n[workspace.dependencies]\n", "\n[")
        .lines()
        .filter(|line| !line.contains("path = ") && !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .collect();
    assert!(dependencies.len() > 50, "{dependencies:?}");
    assert_eq!(reasons, dependencies);
}

/// `cargo build` at the top, as it is said there.
#[test]
fn what_is_built_for_production_has_neither_failpoints_nor_the_test_kit() {
    let features = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--edges", "normal,features", "--invert", "omnibus-runtime"])
            .args(["--depth", "1"])
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let built = features(&[]);
    assert!(built.contains("omnibus-runtime feature \"local\""), "{built}");
    for kit in ["testing", "failpoints"] {
        let feature = format!("omnibus-runtime feature \"{kit}\"");
        assert!(!built.contains(&feature), "{built}");
        assert!(features(&["--workspace"]).contains(&feature), "the tests have it");
    }
}
