//! Exchanges over plain HTTP that a domain answers itself, because they are not ours to shape: a provider's webhook, a
//! link in a mail, a page found by its host name.

use crate::contract::Http;

/// The most bytes that a hook takes or gives in one message of the bus.
pub const MOST: usize = 900 * 1024;

/// A route of the door without a credential of ours. The domain proves the caller: by a signature over the raw bytes,
/// by a token in the address, or it needs no proof because the page is public.
pub trait Hook: Send + Sync + 'static {
    /// The domain that answers.
    const DOMAIN: &'static str;
    /// Snake case, a noun: `sendgrid_events`. Shares its names with the domain's queries.
    const NAME: &'static str;
    /// The route. Parameters in braces are the domain's to read, not a field's name.
    const HTTP: Http;
    /// Request headers that the domain gets to see, in lower case.
    const HEADERS: &'static [&'static str] = &[];
    /// Most bytes of a body, up to [`MOST`].
    const MAX_BODY: usize = 256 * 1024;
    /// For the documentation: what it is, and how the caller is proved.
    const SUMMARY: &'static str;
}
