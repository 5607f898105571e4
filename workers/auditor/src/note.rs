//! Signed notes (c2sp.org/signed-note) and the checkpoints in them (c2sp.org/tlog-checkpoint): a text, an empty line, and
//! a line for each signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::tree::{Hash, digest};

/// The kind of key that Ed25519 is.
const ALGORITHM: u8 = 0x01;

/// Why a note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not the form.
    #[error("it is no signed note: {0}")]
    Form(&'static str),
    /// The key is none.
    #[error("{0:?} is no key: it must be <name>+<8 hexadecimal digits>+<base64>")]
    Key(String),
    /// Nobody we know has signed it.
    #[error("it is not signed by {0}")]
    Unsigned(String),
    /// A signature of the key's name that is not the key's.
    #[error("the signature of {0} is wrong")]
    Forged(String),
    /// It is another log's.
    #[error("it is of {found:?}, not of {wanted:?}")]
    Origin {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

/// A public key, as `<name>+<key id>+<base64>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let hash = digest(&[name.as_bytes(), b"\n", &[ALGORITHM], public]);
    [hash[0], hash[1], hash[2], hash[3]]
}

impl VerifierKey {
    /// The key of this pair under a name.
    pub fn of(name: &str, pair: &Ed25519KeyPair) -> Self {
        let public: [u8; 32] = pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes");
        VerifierKey { name: name.to_owned(), id: key_id(name, &public), public }
    }

    /// # Errors
    /// If it is no such key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let bad = || NoteError::Key(text.to_owned());
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(bad()) };
        let bytes = STANDARD.decode(key).map_err(|_| bad())?;
        let Some((&ALGORITHM, public)) = bytes.split_first() else { return Err(bad()) };
        let public: [u8; 32] = public.try_into().map_err(|_| bad())?;
        let own = key_id(name, &public);
        let told = u32::from_str_radix(id, 16).map_err(|_| bad())?;
        match !name.is_empty() && id.len() == 8 && told.to_be_bytes() == own {
            true => Ok(VerifierKey { name: name.to_owned(), id: own, public }),
            false => Err(bad()),
        }
    }

    /// Its name, which for a log's key is the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key has signed, with its last line's end.
    ///
    /// # Errors
    /// If the note is malformed, not signed by this key, or wrongly signed.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let (text, signatures) =
            note.split_once("\n\n").ok_or(NoteError::Form("there is no empty line before the signatures"))?;
        let text = &note[..text.len() + 1];
        if !signatures.ends_with('\n') || signatures.is_empty() {
            return Err(NoteError::Form("the last line has no end"));
        }
        for line in signatures.lines() {
            let line =
                line.strip_prefix("\u{2014} ").ok_or(NoteError::Form("a signature does not begin with a dash"))?;
            let (name, signature) = line.split_once(' ').ok_or(NoteError::Form("a signature has no key's name"))?;
            let bytes = STANDARD.decode(signature).map_err(|_| NoteError::Form("a signature is not base64"))?;
            let Some((id, signature)) = bytes.split_at_checked(4) else {
                return Err(NoteError::Form("a signature is too short"));
            };
            if name == self.name && id == self.id {
                let key = UnparsedPublicKey::new(&ED25519, self.public);
                let good = key.verify(text.as_bytes(), signature);
                return good.map(|()| text).map_err(|_| NoteError::Forged(self.name.clone()));
            }
        }
        Err(NoteError::Unsigned(self.name.clone()))
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = u32::from_be_bytes(self.id);
        let key = [&[ALGORITHM], self.public.as_slice()].concat();
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(key))
    }
}

/// Signs `text`, whose last line must have its end.
pub fn sign(text: &str, name: &str, pair: &Ed25519KeyPair) -> String {
    let id = key_id(name, pair.public_key().as_ref());
    let signature = [id.as_slice(), pair.sign(text.as_bytes()).as_ref()].concat();
    format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signature))
}

/// A log's head: how many leaves, under which root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

impl Checkpoint {
    /// The note's text.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Signed by the log, under its origin's name.
    pub fn signed(&self, pair: &Ed25519KeyPair) -> String {
        sign(&self.text(), &self.origin, pair)
    }

    /// Reads a checkpoint that `key` has signed and whose origin is the key's name.
    ///
    /// # Errors
    /// If it is none, or not that log's.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let checkpoint = Checkpoint::read(key.open(note)?)?;
        match checkpoint.origin == key.name {
            true => Ok(checkpoint),
            false => Err(NoteError::Origin { found: checkpoint.origin, wanted: key.name.clone() }),
        }
    }

    /// What a checkpoint says, whoever has signed it.
    pub(crate) fn read(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Form("a checkpoint has an origin, a size and a root"));
        };
        let plain = !size.starts_with('+') && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| plain).ok_or(NoteError::Form("the size is no number"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        Ok(Checkpoint { origin: origin.to_owned(), size, root: root.ok_or(NoteError::Form("the root is no hash"))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_signed_and_by_its_own_key_alone() {
        let checkpoint = Checkpoint { origin: "omnibus.example/audit/acme".into(), size: 7, root: [9; 32] };
        let note = checkpoint.signed(&pair(1));
        let key = VerifierKey::of("omnibus.example/audit/acme", &pair(1));
        assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key.clone()));
        assert_eq!(Checkpoint::open(&note, &key), Ok(checkpoint));

        let forged = note.replacen("\n7\n", "\n8\n", 1);
        assert!(matches!(Checkpoint::open(&forged, &key), Err(NoteError::Forged(_))));
        let other = VerifierKey::of("omnibus.example/audit/acme", &pair(2));
        assert!(matches!(Checkpoint::open(&note, &other), Err(NoteError::Unsigned(_))));
        let namesake = VerifierKey::of("omnibus.example/audit/globex", &pair(1));
        assert!(matches!(Checkpoint::open(&note, &namesake), Err(NoteError::Unsigned(_))));
        for bad in ["", "a\nb\n", "a\n1\nAAAA\n\n", "a\n1\nAAAA\n\n- x y\n"] {
            assert!(matches!(Checkpoint::open(bad, &key), Err(NoteError::Form(_))), "{bad:?}");
        }
    }
}
