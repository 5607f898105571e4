//! What many commands need at once: rooms, and their members' seats. Everybody locks rooms before seats, and each of them in
//! one order, so that two who need the same wait in a line and not for each other.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use omnibus_schemas::Token;
use sqlx::{PgConnection, Row};

/// Tenant and room.
pub(crate) type Room = (String, String);
/// Tenant, room and user.
pub(crate) type Place = (String, String, String);

/// A room as a key.
pub(crate) fn room(tenant: &str, room: &Token) -> Room {
    (tenant.to_owned(), room.to_string())
}

/// A member's place as a key.
pub(crate) fn place(tenant: &str, room: &Token, user: &Token) -> Place {
    (tenant.to_owned(), room.to_string(), user.to_string())
}

/// Locks those of these rooms that there are, until the transaction ends. Returns the last revision of each.
pub(crate) async fn rooms(db: &mut PgConnection, wanted: &BTreeSet<Room>) -> Result<BTreeMap<Room, i64>, sqlx::Error> {
    let (tenants, ids): (Vec<&str>, Vec<&str>) =
        wanted.iter().map(|(tenant, id)| (tenant.as_str(), id.as_str())).unzip();
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select c.tenant, c.id, c.revision
         from presence.channels c join unnest($1::text[], $2::text[]) as x(tenant, id) using (tenant, id)
         where c.kind = 'room' order by c.tenant, c.id for update of c",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(tenant, id, revision)| ((tenant, id), revision)).collect())
}

/// What reading on has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Nothing: it was read before.
    Before,
    /// More is read.
    On,
    /// More is read, and with it the last of what the user was told of as unread: since this, see [`Seat::told`].
    Late(i64),
}

/// A member, as far as it matters what he has read.
#[derive(Debug)]
pub(crate) struct Seat {
    look_at: Option<DateTime<Utc>>,
    read_upto: i64,
    told_upto: i64,
    told_since: i64,
    changed: bool,
}

impl Seat {
    /// When it is looked next whether something is unread.
    pub(crate) fn look_at(&self) -> Option<DateTime<Utc>> {
        self.look_at
    }

    /// Sets when that is; `None` for no look.
    pub(crate) fn looks(&mut self, at: Option<DateTime<Utc>>) {
        self.look_at = at;
        self.changed = true;
    }

    /// The room's revision up to which nothing has to be told any more.
    pub(crate) fn known(&self) -> i64 {
        self.read_upto.max(self.told_upto)
    }

    /// The user is told of what is unread up to here. Returns since when he has been told without reading it all: the
    /// revision up to which it was for the first time.
    pub(crate) fn told(&mut self, upto: i64) -> i64 {
        if self.told_upto <= self.read_upto {
            self.told_since = upto;
        }
        self.told_upto = upto;
        self.changed = true;
        self.told_since
    }

    /// The user has read up to here. Never goes back.
    pub(crate) fn read(&mut self, upto: i64) -> Read {
        if upto <= self.read_upto {
            return Read::Before;
        }
        let late = self.read_upto < self.told_upto && self.told_upto <= upto;
        self.read_upto = upto;
        self.changed = true;
        match late {
            true => Read::Late(self.told_since),
            false => Read::On,
        }
    }
}

/// Members, locked until the transaction ends.
#[derive(Debug)]
pub(crate) struct Seats(BTreeMap<Place, Seat>);

impl Seats {
    /// Locks those of these members that there are.
    pub(crate) async fn hold(db: &mut PgConnection, wanted: &BTreeSet<Place>) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query(
            "select m.tenant, m.room_id, m.user_id, m.look_at, m.read_upto, m.told_upto, m.told_since
             from presence.members m
             join unnest($1::text[], $2::text[], $3::text[]) as x(tenant, room_id, user_id)
                 using (tenant, room_id, user_id)
             order by m.tenant, m.room_id, m.user_id for update of m",
        )
        .bind(wanted.iter().map(|place| place.0.as_str()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|place| place.1.as_str()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|place| place.2.as_str()).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
        let seats = rows.iter().map(|row| {
            let place = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let (look_at, read_upto) = (row.try_get(3)?, row.try_get(4)?);
            let (told_upto, told_since) = (row.try_get(5)?, row.try_get(6)?);
            Ok((place, Seat { look_at, read_upto, told_upto, told_since, changed: false }))
        });
        Ok(Seats(seats.collect::<Result<_, sqlx::Error>>()?))
    }

    /// Is there such a member?
    pub(crate) fn has(&self, place: &Place) -> bool {
        self.0.contains_key(place)
    }

    /// A member.
    pub(crate) fn get(&mut self, place: &Place) -> Option<&mut Seat> {
        self.0.get_mut(place)
    }

    /// Writes what has changed.
    pub(crate) async fn write(self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        let changed: Vec<_> = self.0.iter().filter(|(_, seat)| seat.changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "update presence.members m
             set look_at = x.look_at, read_upto = x.read_upto, told_upto = x.told_upto, told_since = x.told_since
             from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[])
                 as x(tenant, room_id, user_id, look_at, read_upto, told_upto, told_since)
             where m.tenant = x.tenant and m.room_id = x.room_id and m.user_id = x.user_id",
        )
        .bind(changed.iter().map(|(place, _)| place.0.as_str()).collect::<Vec<_>>())
        .bind(changed.iter().map(|(place, _)| place.1.as_str()).collect::<Vec<_>>())
        .bind(changed.iter().map(|(place, _)| place.2.as_str()).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, seat)| seat.look_at).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, seat)| seat.read_upto).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, seat)| seat.told_upto).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, seat)| seat.told_since).collect::<Vec<_>>())
        .execute(db)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_only_and_is_late_once_when_it_passes_what_was_told() {
        let mut seat = Seat { look_at: None, read_upto: 3, told_upto: 0, told_since: 0, changed: false };
        assert_eq!((seat.told(5), seat.told(7)), (5, 5), "nothing was read in between");
        seat.changed = false;
        assert_eq!(seat.known(), 7);
        assert_eq!((seat.read(3), seat.changed), (Read::Before, false));
        assert_eq!(seat.read(6), Read::On, "the last of what was told is not read yet");
        assert_eq!((seat.read(9), seat.changed), (Read::Late(5), true));
        assert_eq!((seat.read(12), seat.read(7)), (Read::On, Read::Before));
        assert_eq!(seat.known(), 12);
        assert_eq!((seat.told(15), seat.read(15)), (15, Read::Late(15)), "it begins anew");
    }
}
