//! The catalogue: frameworks, controls, checks and what serves what. Data in `catalogue/`, read once.

use std::collections::HashMap;
use std::sync::LazyLock;

use omnibus_schemas::Token;
use omnibus_schemas::auditor::{
    CheckText, ControlCatalogue, ControlText, Framework, FrameworkText, RequirementText, Standing,
};
use serde::Deserialize;

/// All of it.
#[derive(Debug)]
pub struct Book {
    /// How the mapping was made.
    pub mapping: String,
    /// In the order of [`Framework::ALL`].
    pub frameworks: Vec<FrameworkBook>,
    /// In the order of the file.
    pub controls: Vec<Control>,
    checks: HashMap<Token, Check>,
}

/// A framework and its requirements.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameworkBook {
    /// Which.
    pub framework: Framework,
    /// Its name and edition.
    pub title: String,
    /// Where its own words stand.
    pub source: String,
    /// In its order.
    pub requirements: Vec<Requirement>,
}

/// A requirement, in our words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// As the framework numbers it.
    pub requirement: String,
    /// The framework's own kind: `required`, `addressable`, `clause`, `privacy`, ...
    pub kind: String,
    /// What it is about.
    pub title: String,
    /// What it asks.
    pub text: String,
}

/// A control.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its name.
    pub control: Token,
    /// What it is about.
    pub title: String,
    /// What Omnibus does.
    pub omnibus: String,
    /// What the operator must do.
    pub operator: String,
    /// What proves it.
    pub proof: String,
    /// What is watched: names of checks.
    pub checks: Vec<Token>,
    hipaa: Vec<String>,
    soc2: Vec<String>,
    iso27001: Vec<String>,
}

/// What must hold, and what is watched for it.
#[derive(Debug, Clone, Deserialize)]
pub struct Check {
    /// Its name.
    pub check: Token,
    /// What must hold.
    pub title: String,
    /// What is watched.
    #[serde(flatten)]
    pub watches: Watches,
}

/// What a check watches.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "watches", rename_all = "snake_case")]
pub enum Watches {
    /// Commands accepted = outcomes + open, and none open for longer.
    Conservation {
        /// A command may be open for so long.
        hours: i64,
    },
    /// Entries come into the tree in time.
    Head {
        /// An entry may wait for so long.
        minutes: i64,
    },
    /// The retention that is set.
    Retention {
        /// At least.
        days: u32,
    },
    /// The age of keys that may do much.
    KeyAge {
        /// At most.
        days: i64,
    },
    /// Policies in force and acknowledged.
    Policies {
        /// An acknowledgement holds for so long.
        days: i64,
    },
    /// Entries of the log: an event by `domain.event`, an act of the operator by `act:name`.
    Seen {
        /// Any of these.
        what: Vec<String>,
        /// The last one may be so old.
        hours: i64,
        /// In the house's log instead of the tenant's.
        #[serde(default)]
        house: bool,
    },
    /// Reviews of all keys.
    AccessReview {
        /// The last one may be so old.
        days: i64,
    },
    /// The register of risks.
    Risks,
    /// Incidents.
    Incidents {
        /// One may be uncontained for so long.
        hours: i64,
    },
    /// Audits and their findings.
    Audits {
        /// The last one closed may be so old.
        days: i64,
    },
    /// What people filed for this control.
    Evidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlsFile {
    mapping: String,
    checks: Vec<Check>,
    controls: Vec<Control>,
}

static BOOK: LazyLock<Book> = LazyLock::new(|| {
    let file: ControlsFile = read(include_str!("../../catalogue/controls.json"));
    let frameworks = [
        include_str!("../../catalogue/hipaa.json"),
        include_str!("../../catalogue/soc2.json"),
        include_str!("../../catalogue/iso27001.json"),
    ];
    Book {
        mapping: file.mapping,
        frameworks: frameworks.into_iter().map(read).collect(),
        controls: file.controls,
        checks: file.checks.into_iter().map(|check| (check.check.clone(), check)).collect(),
    }
});

fn read<T: for<'a> Deserialize<'a>>(text: &str) -> T {
    serde_json::from_str(text).expect("the catalogue is part of the program, and a test reads it")
}

/// The catalogue of this program.
pub fn book() -> &'static Book {
    &BOOK
}

impl Control {
    /// The requirements of a framework that it serves.
    pub fn serves(&self, framework: Framework) -> &[String] {
        match framework {
            Framework::Hipaa => &self.hipaa,
            Framework::Soc2 => &self.soc2,
            Framework::Iso27001 => &self.iso27001,
        }
    }

    /// Its checks.
    pub fn checks<'a>(&'a self, book: &'a Book) -> impl Iterator<Item = &'a Check> {
        self.checks.iter().map(|name| &book.checks[name])
    }
}

impl Book {
    /// A control by its name.
    pub fn control(&self, name: &Token) -> Option<&Control> {
        self.controls.iter().find(|control| control.control == *name)
    }

    /// A framework.
    pub fn framework(&self, framework: Framework) -> &FrameworkBook {
        self.frameworks.iter().find(|of| of.framework == framework).expect("every framework has its file")
    }

    /// The controls that serve a framework.
    pub fn serving(&self, framework: Framework) -> impl Iterator<Item = &Control> {
        self.controls.iter().filter(move |control| !control.serves(framework).is_empty())
    }

    /// The controls that serve one requirement.
    pub fn of_requirement(&self, framework: Framework, requirement: &str) -> impl Iterator<Item = &Control> {
        self.controls.iter().filter(move |control| control.serves(framework).iter().any(|r| r == requirement))
    }

    /// What some check waits for in a log.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &str> {
        self.checks
            .values()
            .flat_map(|check| match &check.watches {
                Watches::Seen { what, .. } => what.as_slice(),
                _ => &[],
            })
            .map(String::as_str)
    }

    /// As it is told.
    pub fn told(&self, framework: Option<Framework>) -> ControlCatalogue {
        let wanted = |of: Framework| framework.is_none_or(|wanted| wanted == of);
        let frameworks = self.frameworks.iter().filter(|of| wanted(of.framework));
        let serves =
            |control: &&Control| Framework::ALL.into_iter().any(|f| wanted(f) && !control.serves(f).is_empty());
        ControlCatalogue {
            frameworks: frameworks.map(|of| self.told_framework(of)).collect(),
            controls: self.controls.iter().filter(serves).map(|control| self.told_control(control)).collect(),
        }
    }

    fn told_framework(&self, of: &FrameworkBook) -> FrameworkText {
        let requirement = |r: &Requirement| RequirementText {
            requirement: r.requirement.clone(),
            title: r.title.clone(),
            text: r.text.clone(),
            controls: self.of_requirement(of.framework, &r.requirement).map(|c| c.control.clone()).collect(),
        };
        FrameworkText {
            framework: of.framework,
            title: of.title.clone(),
            source: of.source.clone(),
            requirements: of.requirements.iter().map(requirement).collect(),
        }
    }

    fn told_control(&self, control: &Control) -> ControlText {
        let check = |check: &Check| CheckText { check: check.check.clone(), title: check.title.clone() };
        ControlText {
            control: control.control.clone(),
            title: control.title.clone(),
            omnibus: control.omnibus.clone(),
            operator: control.operator.clone(),
            proof: control.proof.clone(),
            checks: control.checks(self).map(check).collect(),
        }
    }
}

/// The worst of several; what nothing stands for is missing.
pub(crate) fn worst(standings: impl Iterator<Item = Standing>) -> Standing {
    standings.max().unwrap_or(Standing::Missing)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn the_requirements_are_those_that_the_frameworks_number() {
        let ids: BTreeMap<String, BTreeSet<String>> = read(include_str!("../../catalogue/ids.json"));
        for framework in Framework::ALL {
            let of = book().framework(framework);
            let have: BTreeSet<String> = of.requirements.iter().map(|r| r.requirement.clone()).collect();
            assert_eq!(have.len(), of.requirements.len(), "{framework:?}");
            assert_eq!(have, ids[framework.as_str()], "{framework:?}");
        }
    }

    #[test]
    fn every_requirement_has_a_control_and_every_control_serves_what_is_there() {
        for of in &book().frameworks {
            for requirement in &of.requirements {
                let controls = book().of_requirement(of.framework, &requirement.requirement).count();
                assert!(controls > 0, "{}", requirement.requirement);
            }
            for control in &book().controls {
                for id in control.serves(of.framework) {
                    assert!(of.requirements.iter().any(|r| r.requirement == *id), "{} serves {id}", control.control);
                }
            }
        }
    }

    #[test]
    fn it_is_said_where_the_frameworks_own_words_stand_and_how_the_mapping_was_made() {
        for of in &book().frameworks {
            assert!(of.source.starts_with("https://"), "{}", of.source);
        }
        for step in ["800-66", "800-53", "27001"] {
            assert!(book().mapping.contains(step), "{step}: {}", book().mapping);
        }
    }

    #[test]
    fn every_control_has_checks_that_are_there_and_every_check_is_of_use() {
        let mut used = BTreeSet::new();
        let mut names = BTreeSet::new();
        for control in &book().controls {
            assert!(names.insert(control.control.to_string()), "{} is there twice", control.control);
            assert!(!control.checks.is_empty(), "{}", control.control);
            used.extend(control.checks(book()).map(|check| check.check.to_string()));
            let texts = [&control.title, &control.omnibus, &control.operator, &control.proof];
            assert!(texts.iter().all(|text| !text.is_empty()), "{}", control.control);
        }
        assert_eq!(used, book().checks.keys().map(ToString::to_string).collect());
    }

    #[test]
    fn the_worst_of_several_counts() {
        use Standing::{Failing, Met, Missing, Stale};
        assert_eq!(worst([Met, Missing].into_iter()), Missing);
        assert_eq!(worst([Stale, Missing, Met].into_iter()), Stale);
        assert_eq!(worst([Stale, Failing].into_iter()), Failing);
        assert_eq!(worst([].into_iter()), Missing);
    }
}
