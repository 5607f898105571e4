//! Versions and old names: what was written before is upgraded, what is not known is refused with what is.

use std::path::Path;

use omnibus_schemas::schemars::{self, JsonSchema};
use omnibus_schemas::{Catalogue, Command, Domain, Encoding, Validate, generate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Orders things. Version 1 had one `item`, version 2 a list, version 3 names its currency.
#[derive(Debug, Serialize, Deserialize, JsonSchema, Validate)]
struct Order {
    /// What is ordered.
    #[garde(length(min = 1))]
    items: Vec<String>,
    /// ISO 4217.
    #[garde(length(equal = 3))]
    currency: String,
}

impl Command for Order {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "order";
    const VERSION: u16 = 3;
    const SCOPE: &'static str = "shop:order";
    const ALIASES: &'static [&'static str] = &["purchase"];

    fn example() -> Self {
        Order { items: vec!["book".into()], currency: "EUR".into() }
    }

    fn upgrade(from: u16, mut old: Value) -> Result<Value, String> {
        match from {
            1 => Ok(json!({ "items": [old["item"]] })),
            2 => {
                old["currency"] = "EUR".into();
                Ok(old)
            }
            _ => Err(format!("version {from} has no way up")),
        }
    }
}

fn shop() -> Catalogue {
    Catalogue::new(vec![Domain::new("shop", "Shop").command::<Order>()])
}

fn understand(version: u16, payload: &Value) -> Result<Value, String> {
    let catalogue = shop();
    let entry = catalogue.command("shop", "order").unwrap();
    let read = |encoding| {
        let body = omnibus_schemas::body::encode(encoding, payload);
        (entry.understand)(version, encoding, &body)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let (json, packed) = (read(Encoding::Json), read(Encoding::MessagePack));
    assert_eq!(json, packed);
    json
}

#[test]
fn an_old_payload_is_upgraded_step_by_step() {
    let today = json!({ "items": ["book"], "currency": "EUR" });
    assert_eq!(understand(1, &json!({ "item": "book" })), Ok(today.clone()));
    assert_eq!(understand(2, &json!({ "items": ["book"] })), Ok(today.clone()));
    assert_eq!(understand(3, &today), Ok(today));
}

#[test]
fn an_upgraded_payload_still_has_to_keep_the_rules() {
    assert_eq!(understand(2, &json!({ "items": [] })), Err("/items: length is lower than 1".into()));
}

#[test]
fn an_unknown_version_is_refused_and_the_known_ones_are_named() {
    for version in [0, 4, u16::MAX] {
        let refused = understand(version, &json!({ "items": ["book"], "currency": "EUR" })).unwrap_err();
        assert_eq!(refused, format!("body: version {version} of order is not known; known: 1, 2, 3"));
    }
}

#[test]
fn a_command_is_found_under_the_name_it_had_before() {
    assert_eq!(shop().command("shop", "purchase").unwrap().name, "order");
}

#[test]
fn what_is_generated_carries_todays_version() {
    let files = generate::files(&shop());
    let document: Value = serde_json::from_str(&files[Path::new("json/shop/order.v3.json")]).unwrap();
    assert_eq!(document["$id"], "urn:omnibus:shop:command:order:v3");
    assert_eq!(document["properties"]["currency"]["minLength"], 3);
    let asyncapi = generate::asyncapi_value(&shop());
    assert_eq!(asyncapi["components"]["messages"]["shop_order"]["name"], "omnibus.shop.order.v3");
}
