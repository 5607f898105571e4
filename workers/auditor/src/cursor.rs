//! Where a page of a list ends: a time and an id, as text.

use chrono::{DateTime, Utc};
use omnibus_runtime::AskError;
use uuid::Uuid;

/// A page that is asked for.
pub(crate) struct Page {
    /// What came last on the page before.
    pub(crate) at: Option<DateTime<Utc>>,
    /// Its id.
    pub(crate) id: Option<Uuid>,
    limit: u16,
}

impl Page {
    pub(crate) fn of(after: Option<&str>, limit: u16) -> Result<Self, AskError> {
        let Some(text) = after else { return Ok(Page { at: None, id: None, limit }) };
        let read = || {
            let (micros, id) = text.split_once('.')?;
            Some((DateTime::from_timestamp_micros(micros.parse().ok()?)?, id.parse().ok()?))
        };
        let (at, id) =
            read().ok_or_else(|| AskError::Invalid("after: must be the `next` of an earlier page".to_owned()))?;
        Ok(Page { at: Some(at), id: Some(id), limit })
    }

    /// One more than the page holds, which tells whether there is another.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Cuts what was read; gives back where the next page begins.
    pub(crate) fn cut<T>(&self, items: &mut Vec<T>, place: impl Fn(&T) -> (DateTime<Utc>, Uuid)) -> Option<String> {
        if items.len() <= usize::from(self.limit) {
            return None;
        }
        items.truncate(self.limit.into());
        let (at, id) = items.last().map(place)?;
        Some(format!("{}.{id}", at.timestamp_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_where_the_one_before_ended() {
        let place = |n: &u8| (DateTime::from_timestamp_micros(i64::from(*n)).unwrap(), Uuid::from_u128((*n).into()));
        let page = Page::of(None, 2).unwrap();
        let mut items = vec![3, 2, 1];
        let next = page.cut(&mut items, place).unwrap();
        assert_eq!(items, [3, 2]);
        let page = Page::of(Some(&next), 2).unwrap();
        assert_eq!((page.at, page.id), (Some(place(&2).0), Some(place(&2).1)));
        assert_eq!(page.cut(&mut vec![1], place), None);
        assert!(Page::of(Some("nonsense"), 2).is_err());
    }
}
