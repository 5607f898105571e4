//! The tables of `ops/compliance`: what each requirement asks, what Omnibus does for it, what the operator must do, and what
//! proves it. Written from the catalogue between two marks; what stands around them is written by hand.

use std::fmt::Write;

use omnibus_schemas::auditor::Framework;

use super::book::{Control, book};

const BEGIN: &str = "<!-- controls:begin, written by `just gen` -->\n";
const END: &str = "<!-- controls:end -->\n";

/// Each document's name below `ops/compliance`, and its framework.
pub const DOCUMENTS: [(&str, Framework); 3] =
    [("HIPAA.md", Framework::Hipaa), ("SOC2.md", Framework::Soc2), ("ISO27001.md", Framework::Iso27001)];

/// A document with its tables as the catalogue has them now.
///
/// # Errors
/// If the marks are not there, once and in order.
pub fn renewed(document: &str, framework: Framework) -> Result<String, &'static str> {
    let (before, rest) = document.split_once(BEGIN).ok_or("the mark `controls:begin` is missing")?;
    let (_, after) = rest.split_once(END).ok_or("the mark `controls:end` is missing")?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", tables(framework)))
}

fn tables(framework: Framework) -> String {
    let of = book().framework(framework);
    let mut text = String::new();
    let _ = write!(
        text,
        "\n## Requirements\n\n| number | kind | what it asks, in our words | controls |\n| --- | --- | --- | --- |\n"
    );
    for requirement in &of.requirements {
        let controls: Vec<_> = book()
            .of_requirement(framework, &requirement.requirement)
            .map(|control| format!("[{0}](#{0})", control.control))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | **{}.** {} | {} |",
            requirement.requirement,
            requirement.kind,
            requirement.title,
            requirement.text,
            controls.join(", ")
        );
    }
    text.push_str("\n## Controls\n\nEach stands as the worst of its checks. ");
    text.push_str("Elsewhere: the requirements of the other frameworks that it serves too.\n");
    for control in book().serving(framework) {
        self::control(&mut text, control, framework);
    }
    text.push('\n');
    text
}

fn control(text: &mut String, control: &Control, framework: Framework) {
    let _ = write!(
        text,
        "\n### {}\n\n{}. For {}.\n\n| | |\n| --- | --- |\n| Omnibus | {} |\n| the operator | {} |\n| proof | {} |\n",
        control.control,
        control.title,
        control.serves(framework).join(", "),
        control.omnibus,
        control.operator,
        control.proof
    );
    for check in control.checks(book()) {
        let _ = writeln!(text, "| check `{}` | {} |", check.check, check.title);
    }
    let others = Framework::ALL.into_iter().filter(|other| *other != framework && !control.serves(*other).is_empty());
    let elsewhere: Vec<_> =
        others.map(|other| format!("{} {}", name(other), control.serves(other).join(", "))).collect();
    if !elsewhere.is_empty() {
        let _ = writeln!(text, "| elsewhere | {} |", elsewhere.join("; "));
    }
}

fn name(framework: Framework) -> &'static str {
    match framework {
        Framework::Hipaa => "HIPAA",
        Framework::Soc2 => "SOC 2",
        Framework::Iso27001 => "ISO 27001",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_as_the_catalogue_has_them() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ops/compliance/");
        for (name, framework) in DOCUMENTS {
            let text = std::fs::read_to_string(format!("{folder}{name}")).unwrap();
            assert!(renewed(&text, framework).unwrap() == text, "{name} differs: run `just gen`");
        }
    }

    #[test]
    fn a_document_without_its_marks_is_refused() {
        assert!(renewed("# HIPAA\n", Framework::Hipaa).is_err());
        assert!(renewed(BEGIN, Framework::Hipaa).is_err());
    }
}
