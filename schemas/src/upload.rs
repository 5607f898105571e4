//! Commands that bring a file. The door streams the file into an object store and publishes the command with a
//! reference to it, so that a message on the bus stays small.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a route takes as its body instead of a document. The command's other fields stand in the path and the query
/// string; its field `object` is the door's to fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Most bytes.
    pub max_bytes: u64,
    /// Media types that are taken, without parameters; `image/*` takes all images, an empty list takes everything.
    pub types: &'static [&'static str],
}

/// The name of the field in which a command has its file.
pub const FIELD: &str = "object";

impl Upload {
    /// Is a file of this media type taken?
    pub fn takes(&self, media_type: &str) -> bool {
        let fits = |taken: &&str| match taken.strip_suffix("/*") {
            Some(family) => media_type.split('/').next().is_some_and(|given| given.eq_ignore_ascii_case(family)),
            None => taken.eq_ignore_ascii_case(media_type),
        };
        self.types.is_empty() || self.types.iter().any(fits)
    }
}

/// A file in an object store of the bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Object {
    /// The object store: `uploads`.
    #[garde(length(min = 1, max = 64))]
    pub bucket: String,
    /// Its name in there: `acme/0197..`. The first part is the tenant.
    #[garde(length(min = 1, max = 200))]
    pub name: String,
    /// Bytes.
    #[garde(skip)]
    pub size: u64,
    /// SHA-256 of the bytes, in lower-case hexadecimal.
    #[garde(length(min = 64, max = 64))]
    pub sha256: String,
    /// The media type that the uploader said, without parameters. What the bytes are is for the reader to find out.
    #[garde(length(min = 1, max = 100))]
    pub content_type: String,
}

impl Object {
    /// Is it that tenant's? A command can name any object; only the door puts one where a tenant's name stands first.
    pub fn is_of(&self, tenant: &str) -> bool {
        self.name.split_once('/').is_some_and(|(owner, rest)| owner == tenant && !rest.is_empty())
    }

    /// For examples.
    pub fn example(tenant: &str, content_type: &str) -> Self {
        Object {
            bucket: crate::bucket::UPLOADS.to_owned(),
            name: format!("{tenant}/01979f6e-5a00-7000-8000-000000000001"),
            size: 5,
            sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".to_owned(),
            content_type: content_type.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_taken_by_name_or_by_family() {
        let upload = Upload { max_bytes: 1, types: &["image/*", "text/csv"] };
        assert!(upload.takes("image/png") && upload.takes("IMAGE/webp") && upload.takes("text/csv"));
        assert!(!upload.takes("text/html") && !upload.takes("imagery/png"));
        assert!(Upload { types: &[], ..upload }.takes("anything/at-all"));
    }

    #[test]
    fn an_object_is_of_the_tenant_that_stands_first() {
        let object = Object::example("acme", "text/plain");
        assert!(object.is_of("acme") && !object.is_of("acm") && !object.is_of("globex"));
        assert!(!Object { name: "acme".into(), ..object.clone() }.is_of("acme"));
        assert!(!Object { name: "acme/".into(), ..object }.is_of("acme"));
    }
}
