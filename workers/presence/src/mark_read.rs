//! How far somebody has read.

use std::collections::{BTreeMap, BTreeSet};

use omnibus_runtime::{Events, Fail, HandleMany, One};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{MarkRead, MessagesReadLate, RoomRead};
use sqlx::PgConnection;

use crate::Presence;
use crate::held::{self, Place, Read, Room, Seats, place};
use crate::who::{acting, not_a_member};

/// Everybody who reads says so: for each message, as many of these come as there are readers.
impl HandleMany<MarkRead> for Presence {
    async fn handle_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, MarkRead>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        let mut readers = Vec::with_capacity(many.len());
        for one in &many {
            readers.push(acting(one.meta(), one.command.user.clone())?);
        }
        let read = many.iter().zip(&readers);
        let wanted: BTreeSet<Place> = read.map(|(one, user)| place(one.tenant(), &one.command.room_id, user)).collect();
        let mut seats = Seats::hold(db, &wanted).await?;
        let last = last_revisions(db, &many).await?;
        let mut answers = Vec::with_capacity(many.len());
        for (one, user) in many.iter().zip(readers) {
            let (room, revision) = (&one.command.room_id, one.command.revision);
            let seat = seats.get(&place(one.tenant(), room, &user)).ok_or_else(|| not_a_member(&user, room))?;
            // Nobody has read what is not written yet.
            let upto = revision.min(last.get(&held::room(one.tenant(), room)).copied().unwrap_or(0));
            let read = seat.read(upto);
            answers.push(Ok(match read {
                Read::Before => Events::none(),
                Read::On | Read::Late(_) => told_late(read, room, &user, upto)
                    .about(room.as_str(), RoomRead { room_id: room.clone(), user, revision: upto }),
            }));
        }
        seats.write(db).await?;
        Ok(answers)
    }
}

async fn last_revisions(db: &mut PgConnection, many: &[One<'_, MarkRead>]) -> Result<BTreeMap<Room, i64>, sqlx::Error> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select distinct c.tenant, c.id, c.revision
         from presence.channels c join unnest($1::text[], $2::text[]) as x(tenant, id) using (tenant, id)
         where c.kind = 'room'",
    )
    .bind(many.iter().map(One::tenant).collect::<Vec<_>>())
    .bind(many.iter().map(|one| one.command.room_id.as_str()).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(tenant, id, revision)| ((tenant, id), revision)).collect())
}

/// Whoever was written to because of it need not be any more.
pub(crate) fn told_late(read: Read, room: &Token, user: &Token, revision: i64) -> Events {
    match read {
        Read::Late(told_since) => {
            let late = MessagesReadLate { user: user.clone(), room_id: room.clone(), revision, told_since };
            Events::none().about(room.as_str(), late)
        }
        Read::Before | Read::On => Events::none(),
    }
}
