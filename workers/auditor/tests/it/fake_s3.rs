//! A fake of S3-compatible storage: it keeps objects in memory and is as strict as the real ones are about signatures,
//! dates, hashes and names. The signature is worked out here from the specification (AWS Signature Version 4, "Authenticating
//! Requests: Using Query Parameters"), by none of the code that signs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{NaiveDateTime, TimeDelta};
use hmac::{Hmac, Mac};
use omnibus_auditor::settings::S3Settings;
use sha2::{Digest, Sha256};

pub(crate) const BUCKET: &str = "audit-mirror";
pub(crate) const REGION: &str = "eu-central-1";
pub(crate) const ACCESS_KEY: &str = "AKIATEST";
pub(crate) const SECRET_KEY: &str = "the/secret+of the fake";

/// Objects by name, and all that was ever put, in order.
#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Vec<u8>>,
    puts: Vec<(String, Vec<u8>)>,
}

#[derive(Default)]
struct Store {
    kept: Mutex<Kept>,
    away: AtomicBool,
    refused: AtomicUsize,
}

/// The fake, as long as it is not dropped.
pub(crate) struct FakeS3 {
    url: String,
    store: Arc<Store>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeS3 {
    pub(crate) async fn start() -> Self {
        let store = Arc::<Store>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(store.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        FakeS3 { url, store, serving }
    }

    /// What an auditor is told of it.
    pub(crate) fn settings(&self) -> S3Settings {
        S3Settings {
            audit_s3_endpoint: Some(self.url.clone()),
            audit_s3_bucket: Some(BUCKET.into()),
            audit_s3_region: Some(REGION.into()),
            audit_s3_prefix: Some("mirror/logs".into()),
            audit_s3_access_key: Some(ACCESS_KEY.into()),
            audit_s3_secret_key: Some(SECRET_KEY.to_owned().into()),
            patience: Some(Duration::ZERO),
        }
    }

    /// From now on it answers 503, or no longer.
    pub(crate) fn away(&self, away: bool) {
        self.store.away.store(away, Ordering::SeqCst);
    }

    /// How many requests came while it was away.
    pub(crate) fn refused(&self) -> usize {
        self.store.refused.load(Ordering::SeqCst)
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.store.kept.lock().unwrap().objects.clone()
    }

    /// Takes out what lies below a name, as somebody with a key of the bucket would.
    pub(crate) fn lose(&self, below: &str) {
        self.store.kept.lock().unwrap().objects.retain(|name, _| !name.starts_with(below));
    }

    /// All that was ever put, in order.
    pub(crate) fn puts(&self) -> Vec<(String, Vec<u8>)> {
        self.store.kept.lock().unwrap().puts.clone()
    }
}

/// A refusal as S3 writes it.
struct Refusal(StatusCode, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let document = format!("<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>no</Message></Error>", self.1);
        (self.0, [("content-type", "application/xml")], document).into_response()
    }
}

async fn answer(State(store): State<Arc<Store>>, request: Request) -> Response {
    if store.away.load(Ordering::SeqCst) {
        store.refused.fetch_add(1, Ordering::SeqCst);
        return Refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown").into_response();
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let name = match permitted(&parts.method, &parts.uri, &parts.headers, &body) {
        Ok(name) => name,
        Err(refusal) => return refusal.into_response(),
    };
    let mut kept = store.kept.lock().unwrap();
    match parts.method {
        Method::PUT => {
            kept.objects.insert(name.clone(), body.to_vec());
            kept.puts.push((name, body.to_vec()));
            StatusCode::OK.into_response()
        }
        Method::GET => match kept.objects.get(&name) {
            Some(object) => Body::from(object.clone()).into_response(),
            None => Refusal(StatusCode::NOT_FOUND, "NoSuchKey").into_response(),
        },
        Method::DELETE => {
            kept.objects.remove(&name);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => Refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed").into_response(),
    }
}

/// The object's name, if the request is signed by who may and for what it is.
fn permitted(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Result<String, Refusal> {
    let forbidden = |code| Refusal(StatusCode::FORBIDDEN, code);
    let bad = |code| Refusal(StatusCode::BAD_REQUEST, code);
    let mut query: BTreeMap<String, String> = BTreeMap::new();
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if query.insert(decoded(name), decoded(value)).is_some() {
            return Err(bad("AuthorizationQueryParametersError"));
        }
    }
    let signature = query.remove("X-Amz-Signature").ok_or(forbidden("AccessDenied"))?;
    let asked = |name: &str| query.get(name).cloned().ok_or(bad("AuthorizationQueryParametersError"));
    if asked("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(bad("AuthorizationQueryParametersError"));
    }

    // Who, for where and for when.
    let credential = asked("X-Amz-Credential")?;
    let [key, day, region, service, ending] = credential.split('/').collect::<Vec<_>>()[..] else {
        return Err(bad("AuthorizationQueryParametersError"));
    };
    if key != ACCESS_KEY {
        return Err(forbidden("InvalidAccessKeyId"));
    }
    if region != REGION || service != "s3" || ending != "aws4_request" {
        return Err(bad("AuthorizationQueryParametersError"));
    }
    let date = asked("X-Amz-Date")?;
    let signed_at = NaiveDateTime::parse_from_str(&date, "%Y%m%dT%H%M%SZ");
    let signed_at = signed_at.map_err(|_| bad("AuthorizationQueryParametersError"))?.and_utc();
    let seconds: i64 = asked("X-Amz-Expires")?.parse().map_err(|_| bad("AuthorizationQueryParametersError"))?;
    let now = omnibus_runtime::clock::now();
    if !date.starts_with(day) || !(1..=604_800).contains(&seconds) || signed_at > now + TimeDelta::minutes(15) {
        return Err(forbidden("RequestTimeTooSkewed"));
    }
    if now > signed_at + TimeDelta::seconds(seconds) {
        return Err(forbidden("RequestExpired"));
    }

    // What exactly.
    let signed = asked("X-Amz-SignedHeaders")?;
    let names: Vec<&str> = signed.split(';').collect();
    let sorted = names.windows(2).all(|pair| pair[0] < pair[1]);
    let whole = headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).all(|n| names.contains(&n.as_str()));
    if !sorted || !whole || !names.contains(&"host") {
        return Err(forbidden("AccessDenied"));
    }
    let mut canonical = format!("{method}\n{}\n", encoded(&decoded(uri.path()), true));
    let pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encoded(name, false), encoded(value, false))).collect();
    canonical.push_str(&pairs.join("&"));
    canonical.push('\n');
    for name in &names {
        let value = headers.get(*name).ok_or(forbidden("SignatureDoesNotMatch"))?.to_str().unwrap();
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        canonical.push_str(&format!("{name}:{value}\n"));
    }
    let payload = headers.get("x-amz-content-sha256").map_or("UNSIGNED-PAYLOAD", |value| value.to_str().unwrap());
    canonical.push_str(&format!("\n{signed}\n{payload}"));
    let scope = format!("{day}/{region}/{service}/{ending}");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let secret = format!("AWS4{SECRET_KEY}").into_bytes();
    let key = [day, region, service, ending].iter().fold(secret, |key, part| keyed(&key, part));
    if hex(&keyed(&key, &text)) != signature {
        return Err(forbidden("SignatureDoesNotMatch"));
    }

    // And what comes with it. Here a hash is a duty: a body that nobody has signed is refused.
    let sum = Sha256::digest(body);
    if payload != "UNSIGNED-PAYLOAD" && payload != hex(&sum) {
        return Err(bad("XAmzContentSHA256Mismatch"));
    }
    if method == Method::PUT {
        let said = headers.get("x-amz-checksum-sha256").ok_or(bad("InvalidRequest"))?;
        if said.to_str().unwrap() != STANDARD.encode(sum) {
            return Err(bad("BadDigest"));
        }
        let length =
            headers.get("content-length").ok_or(Refusal(StatusCode::LENGTH_REQUIRED, "MissingContentLength"))?;
        if length.to_str().unwrap() != body.len().to_string() {
            return Err(bad("IncompleteBody"));
        }
    }
    let path = decoded(uri.path());
    let name = path.strip_prefix('/').and_then(|path| path.strip_prefix(BUCKET)?.strip_prefix('/'));
    match name {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(Refusal(StatusCode::NOT_FOUND, "NoSuchBucket")),
    }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Percent encoding as the specification has it: all but unreserved characters, and `/` in a path.
fn encoded(text: &str, path: bool) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b'/' if path => "/".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.filter(|_| *first == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_fakes_signature_is_that_of_the_specifications_example() {
    // "Authenticating Requests: Using Query Parameters", GET of test.txt, Fri, 24 May 2013 00:00:00 GMT.
    let canonical = "GET\n/test.txt\nX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F\
                     us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=\
                     host\nhost:examplebucket.s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD";
    let hash = hex(&Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{hash}");
    let secret = b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec();
    let parts = ["20130524", "us-east-1", "s3", "aws4_request"];
    let key = parts.iter().fold(secret, |key, part| keyed(&key, part));
    assert_eq!(hex(&keyed(&key, &text)), "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}
