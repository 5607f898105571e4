//! Ids and codes that are derived, so that a replay makes the same ones.

use chrono::{DateTime, Utc};
use omnibus_schemas::commissioner::DOMAIN;
use uuid::Uuid;

/// Crockford's alphabet: no letters that are taken for others.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Ten characters of 50 bits of a derived id: neither in sequence nor to be guessed from another.
pub(crate) fn code(of: Uuid) -> String {
    let mut bits = of.as_u128();
    // The bits of version and variant say nothing.
    let low = bits & ((1 << 60) - 1);
    bits = low;
    (0..10)
        .map(|_| {
            let character = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
            char::from(character)
        })
        .collect()
}

/// A payout's id, from one that is derived from its command's. Commands' ids come from callers, and a provider knows
/// payouts by their ids alone: with the tenant in it, two tenants that choose the same one have two payouts.
pub(crate) fn payout_id(of: Uuid, tenant: &str) -> Uuid {
    Uuid::new_v5(&of, tenant.as_bytes())
}

/// What makes a commission one: program, order line, level and partner, whatever command brought it. Its id is this
/// with the time of its order in front ([`timed`]).
pub(crate) fn commission(
    tenant: &str,
    program: &str,
    order_id: &str,
    line_id: &str,
    level: i16,
    partner: Uuid,
) -> Uuid {
    // The shop's ids may hold any character, so each stands behind its length.
    let name = format!(
        "{DOMAIN}/commission/{tenant}/{program}/{}:{order_id}/{}:{line_id}/{level}/{partner}",
        order_id.len(),
        line_id.len()
    );
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// Bits of an id behind its time and version: the variant, and 74 of what was hashed.
const HASHED: u32 = 76;

/// A derived id with a time in front, to the millisecond: a UUIDv8 of the shape of a UUIDv7. What is written one after
/// another then stands side by side in an index; ids that are hashes alone each go to a page of their own, and once
/// those don't fit into memory, each has to be read first.
pub(crate) fn timed(at: DateTime<Utc>, id: Uuid) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128((millis << 80) | (8_u128 << HASHED) | hashed(id))
}

/// What an id says beside its time; the same of an id and of what [`timed`] made of it.
pub(crate) fn hashed(id: Uuid) -> u128 {
    id.as_u128() & ((1_u128 << HASHED) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_and_have_ten_plain_characters() {
        let codes: std::collections::BTreeSet<_> =
            (0..1000_u128).map(|n| code(Uuid::new_v5(&Uuid::from_u128(n), b"code"))).collect();
        assert_eq!(codes.len(), 1000);
        assert!(codes.iter().all(|code| code.len() == 10 && code.bytes().all(|b| ALPHABET.contains(&b))));
    }

    #[test]
    fn ids_of_the_shop_can_not_be_shifted_into_each_other() {
        let id = |order: &str, line: &str| commission("acme", "main", order, line, 0, Uuid::nil());
        assert_ne!(id("a/1:b", "c"), id("a", "b/1:c"));
        assert_ne!(id("1", "23"), id("12", "3"));
    }

    #[test]
    fn an_id_with_a_time_is_in_the_order_of_time_and_keeps_what_was_hashed() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (a, b) = (Uuid::new_v5(&Uuid::nil(), b"a"), Uuid::new_v5(&Uuid::nil(), b"b"));
        let (early, late) = (at("2026-10-31T23:59:59.999Z"), at("2026-11-01T00:00:00Z"));
        assert!(timed(early, a).max(timed(early, b)) < timed(late, a).min(timed(late, b)));
        assert_ne!(timed(early, a), timed(early, b));
        let id = timed(late, a);
        assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
        let millis = id.as_u128() >> 80;
        assert_eq!(millis, u128::from(late.timestamp_millis().unsigned_abs()));
        assert_eq!((hashed(id), hashed(timed(early, a))), (hashed(a), hashed(a)));
        assert_eq!(timed(at("1969-12-31T00:00:00Z"), a).as_u128() >> 80, 0, "before there was any time there is none");
    }
}
