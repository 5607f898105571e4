//! From an order to commissions: find out whom it is due to, work out what it earns, write all of it down.

pub(crate) mod booking;
pub(crate) mod lookup;
