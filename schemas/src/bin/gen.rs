//! Writes what is generated from the catalogue below `schemas/`.
//!
//! `gen` writes, and removes what is generated no longer; `gen --check` changes nothing and exits 1, naming every file
//! that differs; `gen --golden` adds the golden payloads that are missing, and never changes one.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use omnibus_schemas::{Catalogue, generate};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let catalogue = Catalogue::omnibus();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write(root, &catalogue),
        ["--check"] => check(root, &catalogue),
        ["--golden"] => golden(root, &catalogue),
        _ => {
            eprintln!("usage: gen [--check | --golden]");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("gen: {error}");
        ExitCode::FAILURE
    })
}

fn write(root: &Path, catalogue: &Catalogue) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let files = generate::files(catalogue);
    for (path, what) in generate::differences(root, &files)? {
        match files.get(&path) {
            Some(text) => put(&root.join(&path), text.as_bytes())?,
            None => fs::remove_file(root.join(&path))?,
        }
        println!("{what}: {}", path.display());
    }
    println!("{} files generated", files.len());
    Ok(ExitCode::SUCCESS)
}

fn check(root: &Path, catalogue: &Catalogue) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let files = generate::files(catalogue);
    let differences: BTreeMap<PathBuf, generate::Difference> = generate::differences(root, &files)?;
    for (path, what) in &differences {
        eprintln!("{what}: schemas/{}", path.display());
    }
    if differences.is_empty() {
        println!("{} generated files are up to date", files.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("run `cargo run -p omnibus-schemas --bin gen`");
    Ok(ExitCode::FAILURE)
}

fn golden(root: &Path, catalogue: &Catalogue) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let folder = root.join("golden");
    let missing = generate::missing_golden(catalogue, &generate::golden_of_folder(&folder)?)?;
    for (path, payload) in &missing {
        put(&folder.join(path), payload)?;
        println!("added: golden/{}", path.display());
    }
    println!("{} golden payloads added", missing.len());
    Ok(ExitCode::SUCCESS)
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)
}
