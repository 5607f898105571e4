//! Bodies in both encodings. Readers ignore fields they don't know, so an old worker understands a new payload;
//! the HTTP door refuses them by name, so a typing error is told to the one who made it.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `application/json`; assumed where nothing is said.
    #[default]
    Json,
    /// `application/msgpack`, with named fields, and with times and ids as text, so that it converts to JSON and back.
    MessagePack,
}

impl Encoding {
    /// The `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::MessagePack => "application/msgpack",
        }
    }

    /// Reads a `Content-Type`, parameters ignored. `None` for a type that is neither.
    pub fn from_content_type(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Some(Encoding::Json),
            "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => Some(Encoding::MessagePack),
            other if other.ends_with("+json") => Some(Encoding::Json),
            _ => None,
        }
    }
}

/// One thing that is wrong with a body, in words for the one who sent it. Never repeats the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fault {
    /// JSON Pointer (RFC 6901) to the field; empty for the whole body.
    pub pointer: String,
    /// What is wrong and what would do.
    pub reason: String,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Fault { pointer: pointer.into(), reason: reason.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = if self.pointer.is_empty() { "body" } else { &self.pointer };
        write!(f, "{at}: {}", self.reason)
    }
}

/// Writes `value`.
pub fn encode<T: Serialize + ?Sized>(encoding: Encoding, value: &T) -> Vec<u8> {
    written(encoding, &value)
}

/// A value as JSON.
pub(crate) fn value_of(value: &dyn erased_serde::Serialize) -> Value {
    serde_json::to_value(value).expect("contract types have string keys and no failing serializers")
}

/// Each type is compiled for one writer, as it is for one reader; see [`Read`].
fn written(encoding: Encoding, value: &dyn erased_serde::Serialize) -> Vec<u8> {
    match encoding {
        Encoding::Json => {
            serde_json::to_vec(value).expect("contract types have string keys and no failing serializers")
        }
        Encoding::MessagePack => {
            let mut out = Vec::with_capacity(128);
            let mut to = rmp_serde::Serializer::new(&mut out).with_struct_map().with_human_readable();
            value.serialize(&mut to).expect("contract types have known lengths and no failing serializers");
            out
        }
    }
}

/// Reads a body, ignoring unknown fields.
pub fn decode<T: DeserializeOwned>(encoding: Encoding, body: &[u8]) -> Result<T, Fault> {
    // Paths are worked out only once something failed: the second read costs nothing on the good way.
    match any(&mut |read| quick(encoding, body, read)) {
        Ok(value) => Ok(value),
        Err(_) => decode_with(encoding, body, &mut |_| ()),
    }
}

/// Reads a body, telling of every unknown field.
pub fn decode_strict<T: DeserializeOwned>(encoding: Encoding, body: &[u8]) -> Result<T, Vec<Fault>> {
    let mut faults = Vec::new();
    let value = decode_with(encoding, body, &mut |pointer| faults.push(Fault::new(pointer, "unknown field")));
    match value {
        Ok(value) if faults.is_empty() => Ok(value),
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.push(fault);
            Err(faults)
        }
    }
}

/// Deepest nesting of a MessagePack body, as serde_json has it for JSON. The library's own 1024 overflows a thread's
/// stack, which no caller may do to us.
const DEEPEST: usize = 128;

/// Reads some type or other. Readers are compiled once for all types and both encodings, and types once for all readers:
/// a copy for each pair made this crate take minutes to compile.
type Read<'a> = &'a mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), String>;

/// What `with` reads, as a type.
fn any<T: DeserializeOwned, E>(with: &mut dyn FnMut(Read<'_>) -> Result<(), E>) -> Result<T, E> {
    let mut value = None;
    with(&mut |from| {
        value = Some(erased_serde::deserialize(from).map_err(|error| error.to_string())?);
        Ok(())
    })?;
    Ok(value.expect("what was read without a fault is there"))
}

fn decode_with<T: DeserializeOwned>(
    encoding: Encoding,
    body: &[u8],
    unknown: &mut dyn FnMut(String),
) -> Result<T, Fault> {
    any(&mut |read| tracked(encoding, body, unknown, read))
}

fn quick(encoding: Encoding, body: &[u8], read: Read<'_>) -> Result<(), String> {
    match encoding {
        Encoding::Json => {
            let mut from = serde_json::Deserializer::from_slice(body);
            read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut from))?;
            from.end().map_err(|error| error.to_string())
        }
        Encoding::MessagePack => {
            let mut from = msgpack(body);
            read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut from))?;
            all_read(&from)
        }
    }
}

fn msgpack(body: &[u8]) -> MessagePack<'_> {
    let mut from = rmp_serde::Deserializer::new(body).with_human_readable();
    from.set_max_depth(DEEPEST);
    from
}

type MessagePack<'a> = rmp_serde::Deserializer<
    rmp_serde::decode::ReadReader<&'a [u8]>,
    rmp_serde::config::HumanReadableConfig<rmp_serde::config::DefaultConfig>,
>;

fn all_read(from: &MessagePack<'_>) -> Result<(), String> {
    match from.get_ref().is_empty() {
        true => Ok(()),
        false => Err("bytes after the end of the body".to_owned()),
    }
}

fn tracked(encoding: Encoding, body: &[u8], unknown: &mut dyn FnMut(String), read: Read<'_>) -> Result<(), Fault> {
    let mut track = serde_path_to_error::Track::new();
    let mut on_unknown = |path: serde_ignored::Path<'_>| unknown(ignored_pointer(&path));
    let result = match encoding {
        Encoding::Json => {
            let mut from = serde_json::Deserializer::from_slice(body);
            let within = serde_path_to_error::Deserializer::new(&mut from, &mut track);
            let within = serde_ignored::Deserializer::new(within, &mut on_unknown);
            read(&mut <dyn erased_serde::Deserializer<'_>>::erase(within))
                .and_then(|()| from.end().map_err(|error| error.to_string()))
        }
        Encoding::MessagePack => {
            let mut from = msgpack(body);
            let within = serde_path_to_error::Deserializer::new(&mut from, &mut track);
            let within = serde_ignored::Deserializer::new(within, &mut on_unknown);
            read(&mut <dyn erased_serde::Deserializer<'_>>::erase(within)).and_then(|()| all_read(&from))
        }
    };
    result.map_err(|reason| Fault::new(tracked_pointer(&track.path()), without_values(&reason)))
}

/// The decoder repeats scalar values ("invalid type: string \"secret\""), and a fault may end up in a log or a dead
/// letter. What stands between quotes or back-ticks as a value is left out; names of fields stay.
fn without_values(reason: &str) -> String {
    for (kind, rest) in
        [("invalid type: ", "expected"), ("invalid value: ", "expected"), ("invalid length ", "expected")]
    {
        if let Some(found) = reason.strip_prefix(kind)
            && let Some(at) = found.rfind(rest)
        {
            let what = found.split([' ', ',']).next().unwrap_or_default();
            return format!("{kind}{what}, {}", &found[at..]);
        }
    }
    reason.to_owned()
}

fn tracked_pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |mut pointer, segment| {
        match segment {
            Segment::Seq { index } => push(&mut pointer, &index.to_string()),
            Segment::Map { key } => push(&mut pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
        pointer
    })
}

fn ignored_pointer(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => joined(ignored_pointer(parent), &index.to_string()),
        Path::Map { parent, key } => joined(ignored_pointer(parent), key),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            ignored_pointer(parent)
        }
    }
}

fn joined(mut pointer: String, segment: &str) -> String {
    push(&mut pointer, segment);
    pointer
}

fn push(pointer: &mut String, segment: &str) {
    pointer.push('/');
    pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
}

/// What the type's own rules say (lengths, formats, ranges), all of it at once.
pub fn validate<T: garde::Validate<Context = ()>>(value: &T) -> Result<(), Vec<Fault>> {
    value.validate().map_err(|report| {
        report.iter().map(|(path, error)| Fault::new(garde_pointer(&path.to_string()), error.message())).collect()
    })
}

/// `to[0].name` → `/to/0/name`
fn garde_pointer(path: &str) -> String {
    let mut pointer = String::new();
    for segment in path.split(['.', '[', ']']).filter(|segment| !segment.is_empty()) {
        push(&mut pointer, segment);
    }
    pointer
}

/// A body of either encoding as JSON, for people and for upgrades.
pub fn to_json(encoding: Encoding, body: &[u8]) -> Result<Value, Fault> {
    decode(encoding, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        #[serde(default)]
        n: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        id: Uuid,
        at: DateTime<Utc>,
        list: Vec<Inner>,
    }

    fn outer() -> Outer {
        Outer { id: Uuid::from_u128(7), at: DateTime::UNIX_EPOCH, list: vec![Inner { n: 1 }] }
    }

    #[test]
    fn both_encodings_carry_the_same_json() {
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let body = encode(encoding, &outer());
            assert_eq!(decode::<Outer>(encoding, &body).unwrap(), outer());
            assert_eq!(to_json(encoding, &body).unwrap(), serde_json::to_value(outer()).unwrap());
        }
    }

    #[test]
    fn an_unknown_field_is_ignored_by_readers_and_named_by_the_door() {
        let mut value = serde_json::to_value(outer()).unwrap();
        value["list"][0]["nn"] = 1.into();
        value["a/b"] = 1.into();
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let body = encode(encoding, &value);
            assert_eq!(decode::<Outer>(encoding, &body).unwrap(), outer());
            let mut pointers: Vec<_> =
                decode_strict::<Outer>(encoding, &body).unwrap_err().into_iter().map(|f| f.pointer).collect();
            pointers.sort();
            assert_eq!(pointers, ["/a~1b", "/list/0/nn"]);
        }
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place_and_without_its_value() {
        let mut value = serde_json::to_value(outer()).unwrap();
        value["list"][0]["n"] = "hush, expected".into();
        for (encoding, words) in [(Encoding::Json, "expected u8"), (Encoding::MessagePack, "wrong msgpack marker")] {
            let fault = decode::<Outer>(encoding, &encode(encoding, &value)).unwrap_err();
            assert_eq!(fault.pointer, "/list/0/n");
            assert!(fault.reason.contains(words), "{}", fault.reason);
            assert!(!fault.reason.contains("hush"), "{}", fault.reason);
        }
    }

    #[test]
    fn what_follows_a_body_makes_it_invalid() {
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let mut body = encode(encoding, &outer());
            body.extend_from_slice(b"1");
            assert!(decode::<Outer>(encoding, &body).is_err());
            assert!(decode_strict::<Outer>(encoding, &body).is_err());
        }
    }

    #[test]
    fn a_bottomless_body_is_an_error_and_not_the_end_of_the_process() {
        for (encoding, byte) in [(Encoding::Json, b'['), (Encoding::MessagePack, 0x91)] {
            assert!(to_json(encoding, &[byte; 100_000]).is_err());
            // An unknown field that holds the pit: {"x": [[[...
            let start: &[u8] = match encoding {
                Encoding::Json => b"{\"x\":",
                Encoding::MessagePack => b"\x81\xa1x",
            };
            let below = [start, &[byte; 100_000]].concat();
            assert!(decode_strict::<Outer>(encoding, &below).is_err());
            assert!(decode::<Outer>(encoding, &below).is_err());
        }
    }

    #[test]
    fn content_types_are_read_without_their_parameters() {
        assert_eq!(Encoding::from_content_type("application/json; charset=utf-8"), Some(Encoding::Json));
        assert_eq!(Encoding::from_content_type("application/x-msgpack"), Some(Encoding::MessagePack));
        assert_eq!(Encoding::from_content_type("text/plain"), None);
    }
}
