//! One binary, so that linking is paid once.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod away;
mod broken;
mod calls;
mod calls_many;
mod catalogue;
mod dead_letters;
mod deciding;
mod dressed;
mod evidence;
mod follow_ups;
mod held;
mod hooks;
mod input;
mod killed;
mod limits;
mod look_ups;
mod mails;
mod many;
mod opened;
mod permissions;
mod policies;
mod quiet;
mod reactions;
mod readme;
mod repeats;
mod rooms;
mod scene;
mod scraped;
mod settling;
mod stopping;
mod sweeping;
mod tasks;
mod tenants;
mod unread;
mod uploads;
