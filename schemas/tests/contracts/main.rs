//! The contracts as a whole: documented, generated, bounded as they say, and never broken for an old payload.
#![expect(clippy::unwrap_used, reason = "clippy knows the tests, not what they share")]

mod bounds;
mod documented;
mod generated;
mod golden;
mod versions;

use std::path::Path;

use omnibus_schemas::Catalogue;

/// The `schemas` folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn catalogue() -> Catalogue {
    let catalogue = Catalogue::omnibus();
    assert!(catalogue.commands().count() > 0 && catalogue.events().count() > 0 && catalogue.queries().count() > 0);
    catalogue
}
