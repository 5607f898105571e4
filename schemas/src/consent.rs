//! Who may be written to: one shape for every channel. Each channel's worker tells it in an event of its own domain, always
//! named `consent_changed`, so whoever keeps consent in one place listens to `evt.*.consent_changed.<tenant>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// By which way somebody is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Texts.
    Sms,
    /// Mails.
    Email,
}

/// Which messages it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// All of them, codes included.
    #[default]
    All,
    /// Advertising.
    Marketing,
}

/// In or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    /// May be written to.
    OptedIn,
    /// May not.
    OptedOut,
}

/// How it came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentSource {
    /// The recipient wrote it: STOP, START.
    Word,
    /// The recipient followed an unsubscribe link, of ours or of the provider's.
    Link,
    /// The recipient called a message spam.
    Complaint,
    /// The provider refused to send, because of a list of its own.
    Provider,
    /// Somebody of the tenant's said so, by a command.
    Command,
}

impl ConsentSource {
    /// As it is written in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            ConsentSource::Word => "word",
            ConsentSource::Link => "link",
            ConsentSource::Complaint => "complaint",
            ConsentSource::Provider => "provider",
            ConsentSource::Command => "command",
        }
    }
}

/// Somebody has opted out, or in again. Told when it changes something, not when it is said once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consent {
    /// By which way.
    pub channel: Channel,
    /// Who: a number (E.164) or an address of email, in small letters.
    #[schemars(extend("x-personal" = "subject"))]
    pub recipient: String,
    /// The sender's number that it holds for; all of the tenant's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The stream of mails that it holds for; all of the tenant's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Which messages it is about, among those of the sender or stream.
    pub covers: Covers,
    /// In or out.
    pub state: ConsentState,
    /// How it came to be known.
    pub source: ConsentSource,
}

#[cfg(test)]
mod tests {
    use crate::{Catalogue, Event, personal};

    #[test]
    fn consent_has_one_shape_in_every_channel() {
        let catalogue = Catalogue::omnibus();
        let told = catalogue.events().filter(|event| event.name == "consent_changed");
        let shapes: Vec<_> = told.map(|event| (event.domain, (event.schema)())).collect();
        let domains: Vec<_> = shapes.iter().map(|(domain, _)| *domain).collect();
        assert_eq!(domains, ["mailer", "texter"]);
        for part in ["$ref", "$defs"] {
            assert!(shapes[0].1.get(part).is_some(), "{part}");
            assert_eq!(shapes[0].1.get(part), shapes[1].1.get(part), "{part}");
        }
        let payload = serde_json::to_value(crate::mailer::ConsentChanged::example()).unwrap();
        for (domain, shape) in &shapes {
            let people = personal::find(&personal::marks(shape), &payload);
            assert_eq!(people.len(), 1, "{domain}");
            assert_eq!(
                (people[0].pointer.as_str(), people[0].role),
                ("/recipient", personal::Role::Subject),
                "{domain}"
            );
        }
    }
}
