//! Writes the tables of `ops/compliance` from the catalogue.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::path::Path;

use anyhow::Context;
use omnibus_auditor::compliance::docs::{DOCUMENTS, renewed};

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/compliance");
    for (name, framework) in DOCUMENTS {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        let new = renewed(&text, framework).map_err(anyhow::Error::msg).with_context(|| name.to_owned())?;
        if new != text {
            std::fs::write(&path, new)?;
            println!("written: ops/compliance/{name}");
        }
    }
    println!("{} documents are as the catalogue has them", DOCUMENTS.len());
    Ok(())
}
