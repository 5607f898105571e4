//! Ids and codes that are derived, so that a replay makes the same ones.

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

/// A commission's id: one for each program, order line, level and partner, whatever command brought it.
pub(crate) fn commission_id(
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
        let id = |order: &str, line: &str| commission_id("acme", "main", order, line, 0, Uuid::nil());
        assert_ne!(id("a/1:b", "c"), id("a", "b/1:c"));
        assert_ne!(id("1", "23"), id("12", "3"));
    }
}
