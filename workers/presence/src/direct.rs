//! The room that two users have to themselves.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::presence::{DIRECT, DirectOpened, Kind, OpenDirect, Role, What};
use omnibus_schemas::{Fault, Token};
use uuid::Uuid;

use crate::Presence;
use crate::channel::{enter, entry, next};
use crate::join_room::{one_room_more, seat};
use crate::who::{acting, role};

/// The space of the ids of such rooms.
const SPACE: Uuid = Uuid::from_u128(0x6c0c_3a52_5b1e_4d8f_9d0e_7f21_44ad_5e10);

/// Is it a room of two?
pub(crate) fn is_direct(room: &Token) -> bool {
    room.as_str().starts_with(DIRECT)
}

/// The same room for the same two. Its id says nothing of them.
fn room_of(tenant: &str, users: &[Token; 2]) -> Result<Token, Fail> {
    // No name has a line break in it.
    let name = format!("{tenant}\n{}\n{}", users[0], users[1]);
    Ok(format!("{DIRECT}{}", Uuid::new_v5(&SPACE, name.as_bytes()).simple()).parse()?)
}

impl Handle<OpenDirect> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: OpenDirect) -> Result<Events, Fail> {
        let opener = acting(cx.meta(), cmd.user)?;
        if opener == cmd.with {
            return Err(Fail::Invalid(vec![Fault::new("/with", "is the user himself: name somebody else")]));
        }
        let mut users = [opener.clone(), cmd.with];
        users.sort();
        let (tenant, room) = (cx.tenant(), room_of(cx.tenant(), &users)?);
        enter(cx, &room).await?;
        let mut events = Events::none();
        for user in &users {
            if role(cx.db(), tenant, &room, user.as_str()).await?.is_some() {
                continue;
            }
            // The other has not asked for it: he can be written to, however many do.
            if *user == opener {
                one_room_more(cx, &room, user).await?;
            }
            let revision = next(cx, Kind::Room, room.as_str()).await?;
            seat(cx, &room, user, Role::Member, revision).await?;
            events = events.join(entry(cx, Kind::Room, room.as_str(), revision, What::Joined { user: user.clone() }));
        }
        Ok(events.about(room.as_str(), DirectOpened { room_id: room.clone(), users }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_have_one_room_and_nobody_else_has_it() {
        let two = |a: &str, b: &str| [a.parse().unwrap(), b.parse().unwrap()];
        let room = room_of("acme", &two("ada", "bob")).unwrap();
        assert!(is_direct(&room));
        assert_eq!(room, room_of("acme", &two("ada", "bob")).unwrap());
        for (tenant, users) in [("globex", two("ada", "bob")), ("acme", two("ada", "eve")), ("acme", two("a", "dabob"))]
        {
            assert_ne!(room, room_of(tenant, &users).unwrap());
        }
    }
}
