//! A bucket of S3-compatible storage: objects put, read and deleted over signed addresses. What goes wrong is told by the
//! setting that is at fault, and never with an address: that is a credential.

use std::time::Duration;

use anyhow::Context;
use backon::{BackoffBuilder, ExponentialBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{RequestBuilder, Response, StatusCode};
use rusty_s3::{Credentials, S3Action as _, UrlStyle};
use secrecy::ExposeSecret;

use crate::settings::BucketSettings;
use crate::tree::digest;

/// How long a signed address is good. A clock may be off by some minutes.
const SIGNED_FOR: Duration = Duration::from_secs(600);
/// For one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer that are read: a checkpoint, or an error document.
const MOST: usize = 64 * 1024;
/// Tries of one request after the first, for what passes by itself.
const AGAIN: usize = 3;

/// What an object is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Never changes under its name.
    Tile,
    /// Changes with each head.
    Checkpoint,
}

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(crate) struct Trouble {
    words: String,
    /// May be otherwise in a moment.
    pub(crate) passing: bool,
}

/// The bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    http: reqwest::Client,
    bucket: rusty_s3::Bucket,
    credentials: Credentials,
    prefix: String,
}

impl Bucket {
    pub(crate) fn of(settings: BucketSettings<'_>) -> anyhow::Result<Self> {
        // Fails if the process has one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client for AUDIT_S3_ENDPOINT")?;
        // The name stands in the path: that is understood by every store, whatever its certificates and names in DNS.
        let bucket = rusty_s3::Bucket::new(
            settings.endpoint,
            UrlStyle::Path,
            settings.bucket.to_owned(),
            settings.region.to_owned(),
        )
        .map_err(|_| anyhow::anyhow!("AUDIT_S3_ENDPOINT must be an address of http or https"))?;
        let credentials = Credentials::new(settings.access_key, settings.secret_key.expose_secret().trim());
        Ok(Bucket { http, bucket, credentials, prefix: settings.prefix })
    }

    /// Stores an object. The store checks the bytes against their hash, which is signed.
    pub(crate) async fn put(&self, name: String, bytes: Vec<u8>, kind: Kind) -> Result<(), Trouble> {
        let object = format!("{}{name}", self.prefix);
        let sum = STANDARD.encode(digest(&[bytes.as_slice()]));
        let (media_type, cache) = match kind {
            Kind::Tile => ("application/octet-stream", "public, max-age=31536000, immutable"),
            Kind::Checkpoint => ("text/plain; charset=utf-8", "no-cache"),
        };
        let headers = [("cache-control", cache), ("content-type", media_type), ("x-amz-checksum-sha256", sum.as_str())];
        let request = || {
            let mut action = self.bucket.put_object(Some(&self.credentials), &object);
            for (header, value) in headers {
                action.headers_mut().insert(header, value);
            }
            let request = self.http.put(action.sign(SIGNED_FOR)).body(bytes.clone());
            headers.iter().fold(request, |request, (header, value)| request.header(*header, *value))
        };
        match self.answer(request).await? {
            Some(_) => Ok(()),
            // Whatever it means by that, the object is not stored.
            None => Err(self.refused(StatusCode::NOT_FOUND, "NoSuchBucket")),
        }
    }

    /// Reads an object of text; `None` if it is not there.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<String>, Trouble> {
        let object = format!("{}{name}", self.prefix);
        let request = || self.http.get(self.bucket.get_object(Some(&self.credentials), &object).sign(SIGNED_FOR));
        match self.answer(request).await? {
            Some(mut answer) => Ok(Some(text(&mut answer).await)),
            None => Ok(None),
        }
    }

    /// Deletes an object. One that is not there is as good.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Trouble> {
        let object = format!("{}{name}", self.prefix);
        let request = || self.http.delete(self.bucket.delete_object(Some(&self.credentials), &object).sign(SIGNED_FOR));
        self.answer(request).await.map(drop)
    }

    /// Sends a request, some times if need be, signed anew for each. `None` if there is no such object.
    async fn answer(&self, request: impl Fn() -> RequestBuilder) -> Result<Option<Response>, Trouble> {
        let delays = ExponentialBuilder::default().with_jitter().with_min_delay(Duration::from_millis(200));
        let mut delays = delays.with_max_times(AGAIN).build();
        loop {
            match self.once(request()).await {
                Err(trouble) if trouble.passing => match delays.next() {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => return Err(trouble),
                },
                ended => return ended,
            }
        }
    }

    async fn once(&self, request: RequestBuilder) -> Result<Option<Response>, Trouble> {
        let mut answer = request.send().await.map_err(|error| self.away(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Some(answer));
        }
        let document = text(&mut answer).await;
        match (status, code(&document)) {
            (StatusCode::NOT_FOUND, "" | "NoSuchKey") => Ok(None),
            (_, code) => Err(self.refused(status, code)),
        }
    }

    fn away(&self, error: &reqwest::Error) -> Trouble {
        let why = if error.is_timeout() {
            "does not answer in time"
        } else if error.is_connect() {
            "can't be reached"
        } else {
            "broke the connection"
        };
        Trouble { words: format!("AUDIT_S3_ENDPOINT: {} {why}", self.place()), passing: true }
    }

    fn refused(&self, status: StatusCode, code: &str) -> Trouble {
        let what = match code {
            "InvalidAccessKeyId" => "AUDIT_S3_ACCESS_KEY: this key is not known there",
            "SignatureDoesNotMatch" => "AUDIT_S3_SECRET_KEY: it does not belong to AUDIT_S3_ACCESS_KEY",
            "NoSuchBucket" | "InvalidBucketName" => "AUDIT_S3_BUCKET: there is no bucket of this name",
            "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" | "PermanentRedirect" => {
                "AUDIT_S3_REGION: this is not the bucket's region"
            }
            "RequestTimeTooSkewed" | "RequestExpired" => "this machine's clock and the store's differ",
            "AccessDenied" => "AUDIT_S3_ACCESS_KEY: this key may not read, write and delete in AUDIT_S3_BUCKET",
            _ => "AUDIT_S3_ENDPOINT: the store refuses",
        };
        let status_and_code = format!("{} {code}", status.as_u16());
        let words = format!("{what} ({}: {})", self.place(), status_and_code.trim_end());
        let passing =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        Trouble { words, passing }
    }

    /// Where it is, for people.
    fn place(&self) -> String {
        let host = self.bucket.base_url().host_str().unwrap_or_default();
        format!("{host}/{}", self.bucket.name())
    }
}

/// The beginning of an answer.
async fn text(answer: &mut Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MOST
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The code in an error document; nothing if there is none that looks like one.
fn code(document: &str) -> &str {
    let code = document.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    code.filter(|code| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_documents_code_is_read_and_nothing_else_of_it_told() {
        let document = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>x</Message></Error>";
        assert_eq!(code(document), "NoSuchBucket");
        assert_eq!(code("<Code>a <b>c</b></Code>"), "");
        assert_eq!(code("<html>"), "");
    }
}
