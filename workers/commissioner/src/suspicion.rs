//! Did a partner buy through their own link, or one who earns on it as the partner above? A suspicion holds what the order earned for a person to look at; it takes
//! nothing away.

use omnibus_schemas::commissioner::RecordOrder;

/// What is known of a partner.
#[derive(Debug, Default, Clone)]
pub(crate) struct Traits {
    pub(crate) email_key: String,
    pub(crate) payment_fingerprint: Option<String>,
    pub(crate) device: Option<String>,
}

/// Domains where everybody may have a mailbox: sharing one says nothing.
const PUBLIC: &[&str] = &[
    "aol.com",
    "fastmail.com",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.de",
    "gmx.net",
    "hey.com",
    "hotmail.com",
    "icloud.com",
    "libero.it",
    "live.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "orange.fr",
    "outlook.com",
    "pm.me",
    "posteo.de",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "t-online.de",
    "web.de",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.de",
    "yandex.ru",
    "163.com",
];

/// Two addresses of one mailbox have one key: no case, no `+tag`, and at Google no dots.
pub(crate) fn email_key(address: &str) -> String {
    let lower = address.trim().to_lowercase();
    let Some((local, domain)) = lower.rsplit_once('@') else { return lower };
    let domain = if domain == "googlemail.com" { "gmail.com" } else { domain };
    let local = local.split('+').next().unwrap_or_default();
    let local = if domain == "gmail.com" { local.replace('.', "") } else { local.to_owned() };
    format!("{local}@{domain}")
}

/// Why the order looks like one of a partner's who earns on it; empty if it does not. What speaks for one of the partners
/// above says so: `above_email`.
pub(crate) fn suspected<'a>(
    order: &RecordOrder,
    seller: &Traits,
    above: impl IntoIterator<Item = &'a Traits>,
) -> Vec<String> {
    let mut found = reasons(order, seller);
    for reason in above.into_iter().flat_map(|partner| reasons(order, partner)) {
        let reason = format!("above_{reason}");
        // A colleague of the seller's is often one of the parent's too: said once, of the nearer one.
        if !found.contains(&reason) && !found.iter().any(|nearer| reason == format!("above_{nearer}")) {
            found.push(reason);
        }
    }
    found
}

/// Why the order looks like the partner's own.
fn reasons(order: &RecordOrder, partner: &Traits) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(email) = &order.customer_email {
        let key = email_key(email);
        let domain = |key: &str| key.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        if key == partner.email_key {
            found.push("email".to_owned());
        } else if let (Some(theirs), Some(own)) = (domain(&key), domain(&partner.email_key))
            && theirs == own
            && !PUBLIC.contains(&own.as_str())
        {
            found.push("domain".to_owned());
        }
    }
    let same = |theirs: &Option<String>, own: &Option<String>| theirs.is_some() && theirs == own;
    if same(&order.payment_fingerprint, &partner.payment_fingerprint) {
        found.push("payment".to_owned());
    }
    if same(&order.device, &partner.device) {
        found.push("device".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::Command;

    use super::*;

    #[test]
    fn one_mailbox_has_one_key() {
        for address in ["Ada.Lovelace+shop@GMail.com", "adalovelace@googlemail.com", " ada.lovelace@gmail.com"] {
            assert_eq!(email_key(address), "adalovelace@gmail.com");
        }
        assert_eq!(email_key("Ada.L+x@Example.com"), "ada.l@example.com");
    }

    #[test]
    fn each_likeness_is_a_reason_of_its_own() {
        let partner = |email: &str| Traits {
            email_key: email_key(email),
            payment_fingerprint: Some("card-1".into()),
            device: Some("d-1".into()),
        };
        let order = |email: &str| RecordOrder { customer_email: Some(email.into()), ..RecordOrder::example() };
        assert_eq!(reasons(&order("ada+1@firm.example"), &partner("ada@firm.example")), ["email"]);
        assert_eq!(reasons(&order("bob@firm.example"), &partner("ada@firm.example")), ["domain"]);
        assert_eq!(reasons(&order("bob@gmail.com"), &partner("ada@gmail.com")), [""; 0]);
        let mut other = order("bob@elsewhere.example");
        (other.payment_fingerprint, other.device) = (Some("card-1".into()), Some("d-1".into()));
        assert_eq!(reasons(&other, &partner("ada@firm.example")), ["payment", "device"]);
        assert_eq!(reasons(&RecordOrder::example(), &Traits::default()), [""; 0]);
        let (seller, stranger) = (partner("bob@shop.example"), Traits { device: None, ..partner("eve@eve.example") });
        assert_eq!(suspected(&order("eve@eve.example"), &seller, [&stranger]), ["above_email"]);
        assert_eq!(suspected(&order("x@shop.example"), &seller, [&stranger, &seller]), ["domain"]);
        assert_eq!(suspected(&order("x@other.example"), &seller, [&stranger]), [""; 0]);
    }
}
