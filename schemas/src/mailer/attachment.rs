//! Files that go with mails, uploaded before.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{FILE_NAME, file_name};
use crate::contract::{Command, Http};
use crate::upload::{Object, Upload};

/// Uploads a file: for mails to take along by its id (the command's), or the list of a batch's recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct UploadAttachment {
    /// Its name, 1 to 200 characters, without folders.
    #[garde(length(chars, min = 1, max = 200), custom(file_name))]
    #[schemars(regex(pattern = FILE_NAME))]
    pub filename: String,
    /// The file.
    #[garde(dive)]
    pub object: Object,
}

impl Command for UploadAttachment {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "upload_attachment";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/attachments"));
    const SCOPE: &'static str = "email:send";
    const UPLOAD: Option<Upload> = Some(Upload { max_bytes: 64 << 20, types: &[] });

    fn example() -> Self {
        UploadAttachment { filename: "invoice.pdf".into(), object: Object::example("acme", "application/pdf") }
    }
}
