//! Reads tokens. Which algorithm a key is good for is said by the key, never by the token: HS256 by the shared secret,
//! RS256 and ES256 by the key set. `alg: none`, or a public key used as a secret, meets no key at all.

use std::path::PathBuf;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use omnibus_runtime::clock;
use secrecy::ExposeSecret;

use crate::settings::Settings;
use crate::token::{self, Claims};

/// Clocks differ, in seconds.
const LEEWAY: u64 = 5;

/// Checks tokens by the keys that the door was given.
#[derive(Default)]
pub struct Verifier {
    keys: Vec<Key>,
    /// Longest time from now to a token's end, in seconds.
    longest: i64,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

/// Why the keys for tokens can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtKeysError {
    /// Too short.
    #[error(transparent)]
    Secret(#[from] token::SignError),
    /// The file can't be read.
    #[error("can't read JWT_JWKS_FILE {path}: {error}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not a key set.
    #[error("JWT_JWKS_FILE {path} is not a JSON Web Key Set: {error}")]
    Set {
        /// Where.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// Nothing in it would ever match.
    #[error("JWT_JWKS_FILE {path} holds no RS256 or ES256 key for signatures")]
    NoKey {
        /// Where.
        path: PathBuf,
    },
}

/// The token is not good. Why is nobody's business but the log's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadToken(&'static str);

const EXPIRED: &str = "it has expired";

impl BadToken {
    /// Was it good before? Then a newer one will be.
    pub fn has_expired(&self) -> bool {
        self.0 == EXPIRED
    }
}

impl Verifier {
    /// With the keys that the settings name.
    pub fn of(settings: &Settings) -> Result<Self, JwtKeysError> {
        let mut verifier = Verifier { keys: vec![], longest: i64::from(settings.jwt_max_seconds) };
        if let Some(secret) = &settings.websocket_secret {
            token::check_secret(secret)?;
            let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
            verifier.keys.push(Key::new(None, Algorithm::HS256, key, settings));
        }
        if let Some(path) = &settings.jwt_jwks_file {
            let text = std::fs::read(path).map_err(|error| JwtKeysError::File { path: path.clone(), error })?;
            let bad = |error: String| JwtKeysError::Set { path: path.clone(), error };
            let set: JwkSet = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
            let before = verifier.keys.len();
            for jwk in &set.keys {
                let Some(algorithm) = algorithm(jwk) else { continue };
                let key = DecodingKey::from_jwk(jwk).map_err(|error| bad(error.to_string()))?;
                verifier.keys.push(Key::new(jwk.common.key_id.clone(), algorithm, key, settings));
            }
            if verifier.keys.len() == before {
                return Err(JwtKeysError::NoKey { path: path.clone() });
            }
        }
        Ok(verifier)
    }

    /// Reads a token.
    pub fn read(&self, token: &str) -> Result<Claims, BadToken> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken("not a token"))?;
        let fits = |key: &&Key| {
            key.algorithm == header.alg && (key.id.is_none() || header.kid.is_none() || key.id == header.kid)
        };
        let mut why = BadToken("no key for its algorithm and key id");
        for key in self.keys.iter().filter(fits) {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation) {
                Ok(read) => return self.believable(read.claims),
                Err(error) => why = BadToken(words(error.kind())),
            }
        }
        Err(why)
    }

    fn believable(&self, claims: Claims) -> Result<Claims, BadToken> {
        // A token can't be revoked, only outlived: one that never ends would be a key for ever.
        if claims.exp > clock::now().timestamp() + self.longest + LEEWAY as i64 {
            return Err(BadToken("it is good for longer than JWT_MAX_SECONDS"));
        }
        // The subject becomes a header on the bus.
        let visible = claims.sub.bytes().all(|b| (0x21..=0x7e).contains(&b));
        match visible && (1..=200).contains(&claims.sub.len()) {
            true => Ok(claims),
            false => Err(BadToken("its subject must be 1 to 200 visible ASCII characters")),
        }
    }
}

impl Key {
    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey, settings: &Settings) -> Self {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        // A token that names an audience is meant for it alone: without JWT_AUDIENCE we are nobody's.
        if let Some(audience) = &settings.jwt_audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &settings.jwt_issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Key { id, algorithm, key, validation }
    }
}

/// What a public key is good for. Symmetric keys have no place in a public set.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        _ => return None,
    };
    let said = jwk.common.key_algorithm.as_ref().map(ToString::to_string);
    said.is_none_or(|said| said == format!("{algorithm:?}")).then_some(algorithm)
}

fn words(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::ExpiredSignature => EXPIRED,
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::InvalidIssuer => "it is from another issuer",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::MissingRequiredClaim(_) => "it lacks a claim",
        _ => "it can't be read",
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};
    use secrecy::SecretString;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn settings() -> Settings {
        Settings { websocket_secret: Some(SECRET.into()), ..Settings::on_a_free_port() }
    }

    fn claims(now: chrono::DateTime<Utc>) -> Claims {
        Claims::new(&"acme".parse().unwrap(), "ada", ["email:send", "email:read"], now, 60)
    }

    fn signed(claims: &Claims) -> String {
        token::sign(&SecretString::from(SECRET), claims).unwrap().expose_secret().to_owned()
    }

    fn read(settings: &Settings, token: &str) -> Result<Claims, BadToken> {
        Verifier::of(settings).unwrap().read(token)
    }

    #[test]
    fn a_signed_token_is_read() {
        let claims = claims(clock::now());
        assert_eq!(read(&settings(), &signed(&claims)).unwrap(), claims);
    }

    #[test]
    fn an_expired_early_or_foreign_token_is_refused() {
        let now = clock::now();
        assert!(read(&settings(), &signed(&claims(now - TimeDelta::minutes(5)))).is_err());
        let early = Claims { nbf: Some((now + TimeDelta::minutes(1)).timestamp()), ..claims(now) };
        assert!(read(&settings(), &signed(&early)).is_err());
        let foreign = Claims { aud: Some("another".into()), ..claims(now) };
        assert!(read(&settings(), &signed(&foreign)).is_err());
        let mut ours = settings();
        ours.jwt_audience = Some("door".into());
        assert!(read(&ours, &signed(&foreign)).is_err());
        assert!(read(&ours, &signed(&claims(now))).is_err(), "an audience that is asked for must be there");
        assert!(read(&ours, &signed(&Claims { aud: Some("door".into()), ..claims(now) })).is_ok());
    }

    #[test]
    fn a_token_without_signature_or_expiry_is_refused() {
        let now = clock::now();
        let token = signed(&claims(now));
        let payload = token.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
        assert!(read(&settings(), &none).is_err());
        let mut endless = serde_json::to_value(claims(now)).unwrap();
        endless.as_object_mut().unwrap().remove("exp");
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        let endless = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &endless, &key).unwrap();
        assert!(read(&settings(), &endless).is_err());
    }

    #[test]
    fn a_token_that_is_good_for_too_long_is_refused() {
        let now = clock::now();
        let day = |days: i64| Claims { exp: (now + TimeDelta::days(days)).timestamp(), ..claims(now) };
        assert!(read(&settings(), &signed(&day(1))).is_ok());
        assert!(read(&settings(), &signed(&day(2))).is_err());
        let longer = Settings { jwt_max_seconds: 3 * 86_400, ..settings() };
        assert!(read(&longer, &signed(&day(2))).is_ok());
    }

    /// An identity provider's key pair, and its public half as a key set in a file.
    fn provider(kid: &str) -> (jsonwebtoken::EncodingKey, serde_json::Value) {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let coordinate =
            |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
        let jwk = serde_json::json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
            "x": coordinate(x), "y": coordinate(y),
        });
        (jsonwebtoken::EncodingKey::from_ec_der(&pair.serialize_der()), jwk)
    }

    #[test]
    fn an_identity_providers_token_is_read_by_its_key_set_and_by_nothing_else() {
        let ((ours, jwk), (theirs, _)) = (provider("a"), provider("a"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), serde_json::json!({ "keys": [jwk] }).to_string()).unwrap();
        let with = Settings { jwt_jwks_file: Some(file.path().to_owned()), ..Settings::on_a_free_port() };
        let claims = claims(clock::now());
        let sign = |key, kid: &str| {
            let header = jsonwebtoken::Header { kid: Some(kid.into()), ..jsonwebtoken::Header::new(Algorithm::ES256) };
            jsonwebtoken::encode(&header, &claims, key).unwrap()
        };
        assert_eq!(read(&with, &sign(&ours, "a")).unwrap(), claims);
        assert!(read(&with, &sign(&ours, "b")).is_err(), "another key id");
        assert!(read(&with, &sign(&theirs, "a")).is_err(), "another key under the same id");
        // The public half is no shared secret.
        let public = jsonwebtoken::EncodingKey::from_secret(std::fs::read_to_string(file.path()).unwrap().as_bytes());
        let forged = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &public).unwrap();
        assert!(read(&with, &forged).is_err());
    }

    #[test]
    fn a_key_set_without_a_key_that_fits_is_refused_at_start() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, empty) in
            [("not json", false), (r#"{"keys": []}"#, true), (r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#, true)]
        {
            std::fs::write(file.path(), text).unwrap();
            let with = Settings { jwt_jwks_file: Some(file.path().to_owned()), ..Settings::on_a_free_port() };
            let error = Verifier::of(&with).map(drop).unwrap_err();
            assert_eq!(matches!(error, JwtKeysError::NoKey { .. }), empty, "{text}: {error}");
        }
    }

    #[test]
    fn another_algorithm_or_another_secret_is_refused() {
        let claims = claims(clock::now());
        let sign = |algorithm, secret: &str| {
            let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
            jsonwebtoken::encode(&jsonwebtoken::Header::new(algorithm), &claims, &key).unwrap()
        };
        assert!(read(&settings(), &sign(Algorithm::HS512, SECRET)).is_err());
        assert!(read(&settings(), &sign(Algorithm::HS256, "another secret, as long as the first")).is_err());
    }

    #[test]
    fn a_subject_that_could_break_a_header_is_refused() {
        for sub in ["", "a\r\nce-tenant: globex", "a b", "ä", &"x".repeat(201)] {
            let claims = Claims { sub: sub.into(), ..claims(clock::now()) };
            assert!(read(&settings(), &signed(&claims)).is_err(), "{sub:?}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_at_start() {
        let short = Settings { websocket_secret: Some("short".into()), ..Settings::on_a_free_port() };
        assert!(matches!(Verifier::of(&short), Err(JwtKeysError::Secret(_))));
    }
}
