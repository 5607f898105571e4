//! Where a page of a list ends: a time and an id, as text.

use chrono::{DateTime, Utc};
use omnibus_runtime::AskError;
use uuid::Uuid;

/// The place of an item in a list that is ordered by time, then id.
pub(crate) fn after(at: DateTime<Utc>, id: impl std::fmt::Display) -> String {
    format!("{}.{id}", at.timestamp_micros())
}

/// The place that a caller gives back.
pub(crate) fn place(text: Option<&str>) -> Result<Option<(DateTime<Utc>, String)>, AskError> {
    let Some(text) = text else { return Ok(None) };
    let read = || {
        let (micros, id) = text.split_once('.')?;
        Some((DateTime::from_timestamp_micros(micros.parse().ok()?)?, id.to_owned()))
    };
    read().map(Some).ok_or_else(|| AskError::Invalid("after: must be the `next` of an earlier page".into()))
}

/// As [`place`], where ids are UUIDs.
pub(crate) fn place_of_id(text: Option<&str>) -> Result<Option<(DateTime<Utc>, Uuid)>, AskError> {
    let Some((at, id)) = place(text)? else { return Ok(None) };
    let id = id.parse().map_err(|_| AskError::Invalid("after: must be the `next` of an earlier page".into()))?;
    Ok(Some((at, id)))
}

/// Cuts a list that was asked for with one more than `limit`; gives back the place of the last item if there was more.
pub(crate) fn cut<T>(items: &mut Vec<T>, limit: u16, place: impl Fn(&T) -> String) -> Option<String> {
    let more = items.len() > usize::from(limit);
    items.truncate(limit.into());
    if more { items.last().map(place) } else { None }
}

/// One more than a page holds.
pub(crate) fn one_more(limit: u16) -> i64 {
    i64::from(limit) + 1
}
