//! What is read: one file for each query or family of queries.

mod commissions;
mod explain;
mod held_orders;
mod ledger;
mod partner_page;
mod partners;
mod payouts;
mod programs;
mod referrals;
mod sheets;
pub(crate) mod statement;
mod stats;
