//! An export as CSV, for a spreadsheet. It proves nothing.

/// The columns.
pub const COLUMNS: [&str; 11] = [
    "index",
    "occurred_at",
    "received_at",
    "sequenced_at",
    "kind",
    "what",
    "actor",
    "target",
    "outcome",
    "causation",
    "id",
];

/// One entry's row of [`COLUMNS`]. What a spreadsheet would take for a formula is marked as text.
pub fn row(leaf: &str) -> Option<Vec<String>> {
    let leaf: serde_json::Value = serde_json::from_str(leaf).ok()?;
    let text = |name: &&str| match leaf.get(*name) {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    Some(COLUMNS.iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::row;

    #[test]
    fn a_formula_in_a_cell_is_text() {
        assert_eq!(row(r#"{"index":3,"target":"=1+1"}"#).unwrap()[7], "'=1+1");
    }
}
