//! Says something in a room.
//!
//! Every message takes a number of its room, so its room is locked until the transaction ends. A batch has messages of many
//! rooms: it locks all of them at first, and then everybody's seat that it changes (see [`crate::held`]).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use omnibus_runtime::{Events, Fail, HandleMany, One, clock};
use omnibus_schemas::presence::{CheckUnread, File, Kind, Message, MessagePosted, PostMessage, What};
use omnibus_schemas::{Fault, Token};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::Presence;
use crate::channel::entry_of;
use crate::direct::is_direct;
use crate::files;
use crate::held::{self, Place, Room, Seats, place};
use crate::mark_read::told_late;
use crate::who::{acting, not_a_member, token};

/// A look that is so late never comes.
const LOST: TimeDelta = TimeDelta::hours(1);

impl HandleMany<PostMessage> for Presence {
    async fn handle_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, PostMessage>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        let mut authors = Vec::with_capacity(many.len());
        for one in &many {
            authors.push(acting(one.meta(), one.command.user.clone())?);
        }
        let mut floor = Floor::hold(db, &many, &authors).await?;
        let mut answers = Vec::with_capacity(many.len());
        for (one, author) in many.into_iter().zip(authors) {
            answers.push(Ok(self.post(db, &mut floor, one, author).await?));
        }
        floor.write(db).await?;
        Ok(answers)
    }
}

/// The rooms of a batch, their seats, and what is to be written there.
struct Floor {
    /// Their last revisions.
    rooms: BTreeMap<Room, i64>,
    seats: Seats,
    /// Who is in which room of two.
    pairs: BTreeMap<Room, Vec<Token>>,
    rows: Vec<Row>,
    said: HashSet<(Room, Uuid)>,
}

/// A row of `presence.messages`. The fields are named as the columns.
#[derive(Debug, Serialize)]
struct Row {
    tenant: String,
    room_id: Token,
    message_id: Uuid,
    revision: i64,
    user_id: Token,
    text: String,
    reply_to: Option<Uuid>,
    mentions: Vec<Token>,
    posted_at: DateTime<Utc>,
    attachments: Vec<File>,
}

impl Floor {
    async fn hold(
        db: &mut PgConnection,
        many: &[One<'_, PostMessage>],
        authors: &[Token],
    ) -> Result<Self, sqlx::Error> {
        let wanted: BTreeSet<Room> = many.iter().map(|one| held::room(one.tenant(), &one.command.room_id)).collect();
        let rooms = held::rooms(db, &wanted).await?;
        let direct = many.iter().filter(|one| is_direct(&one.command.room_id));
        let direct: BTreeSet<Room> = direct.map(|one| held::room(one.tenant(), &one.command.room_id)).collect();
        let pairs = pairs(db, &direct).await?;
        let mut places: BTreeSet<Place> = BTreeSet::new();
        for (one, author) in many.iter().zip(authors) {
            let (tenant, room) = (one.tenant(), &one.command.room_id);
            let named = one.command.mentions.iter().chain(pairs.get(&held::room(tenant, room)).into_iter().flatten());
            places.extend(named.chain([author]).map(|user| place(tenant, room, user)));
        }
        let seats = Seats::hold(db, &places).await?;
        Ok(Floor { rooms, seats, pairs, rows: Vec::new(), said: HashSet::new() })
    }

    async fn write(self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into presence.messages
                 (tenant, room_id, message_id, revision, user_id, text, reply_to, mentions, posted_at, attachments)
             select x.tenant, x.room_id, x.message_id, x.revision, x.user_id, x.text, x.reply_to,
                 array(select jsonb_array_elements_text(x.mentions)), x.posted_at, x.attachments
             from jsonb_to_recordset($1) as x(tenant text, room_id text, message_id uuid, revision bigint, user_id text,
                 text text, reply_to uuid, mentions jsonb, posted_at timestamptz, attachments jsonb)",
        )
        .bind(Json(&self.rows))
        .execute(&mut *db)
        .await?;
        let mut posted: BTreeMap<Room, i64> = BTreeMap::new();
        for row in &self.rows {
            *posted.entry(held::room(&row.tenant, &row.room_id)).or_default() += 1;
        }
        sqlx::query(
            "update presence.channels c set revision = c.revision + x.posted, messages = c.messages + x.posted
             from unnest($1::text[], $2::text[], $3::bigint[]) as x(tenant, id, posted)
             where c.tenant = x.tenant and c.kind = 'room' and c.id = x.id",
        )
        .bind(posted.keys().map(|room| room.0.as_str()).collect::<Vec<_>>())
        .bind(posted.keys().map(|room| room.1.as_str()).collect::<Vec<_>>())
        .bind(posted.values().copied().collect::<Vec<_>>())
        .execute(&mut *db)
        .await?;
        self.seats.write(db).await
    }
}

/// Who is in these rooms of two. They are locked: nobody comes or goes.
async fn pairs(db: &mut PgConnection, rooms: &BTreeSet<Room>) -> Result<BTreeMap<Room, Vec<Token>>, sqlx::Error> {
    let mut pairs: BTreeMap<Room, Vec<Token>> = BTreeMap::new();
    if rooms.is_empty() {
        return Ok(pairs);
    }
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "select m.tenant, m.room_id, m.user_id
         from presence.members m join unnest($1::text[], $2::text[]) as x(tenant, room_id) using (tenant, room_id)
         order by m.user_id",
    )
    .bind(rooms.iter().map(|room| room.0.as_str()).collect::<Vec<_>>())
    .bind(rooms.iter().map(|room| room.1.as_str()).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    for (tenant, room, user) in rows {
        pairs.entry((tenant, room)).or_default().push(token(user)?);
    }
    Ok(pairs)
}

impl Presence {
    async fn post(
        &self,
        db: &mut PgConnection,
        floor: &mut Floor,
        one: One<'_, PostMessage>,
        author: Token,
    ) -> Result<Events, Fail> {
        let (tenant, now, message_id) = (one.tenant(), one.now(), one.meta().id);
        let command = one.command;
        let key = held::room(tenant, &command.room_id);
        let (last, seat) = (floor.rooms.get(&key), floor.seats.get(&place(tenant, &command.room_id, &author)));
        let (Some(last), Some(seat)) = (last, seat) else {
            return Err(not_a_member(&author, &command.room_id));
        };
        // Who writes has the room before him, also where a back end writes for him.
        let next = last + 1;
        let read = seat.read(next);
        check_text(&command.text)?;
        let attachments = check_references(db, floor, tenant, &command, &author).await?;
        let PostMessage { room_id: room, text, reply_to, mentions, .. } = command;
        let looks = self.look_after(floor, tenant, now, &room, &author, &mentions);
        floor.rooms.insert(key.clone(), next);
        floor.said.insert((key, message_id));
        floor.rows.push(Row {
            tenant: tenant.to_owned(),
            room_id: room.clone(),
            message_id,
            revision: next,
            user_id: author.clone(),
            text: text.clone(),
            reply_to,
            mentions: mentions.clone(),
            // As exact as the database is, and never later than it was.
            posted_at: now.trunc_subsecs(6),
            attachments: attachments.clone(),
        });
        let said =
            Message { message_id, user: author.clone(), text, reply_to, mentions: mentions.clone(), attachments };
        let late = told_late(read, &room, &author, next);
        let posted = MessagePosted { room_id: room.clone(), message_id, user: author, mentions, revision: next };
        Ok(entry_of(now, Kind::Room, room.as_str(), next, What::Message(said))
            .join(late)
            .about(room.as_str(), posted)
            .join(looks))
    }

    /// Looks after those whom a message addresses: `named`, and in a room of two the other. Who is looked after already is
    /// so until then; a look that never came is not waited for for ever.
    fn look_after(
        &self,
        floor: &mut Floor,
        tenant: &str,
        now: DateTime<Utc>,
        room: &Token,
        author: &Token,
        named: &[Token],
    ) -> Events {
        let Some(wait) = self.unread_after else { return Events::none() };
        // The wall clock: what comes late because nobody was at work could not be read before either.
        let now = now.max(clock::now());
        // As exact as the database is: the look is found again by its time.
        let due = (now + wait).trunc_subsecs(6);
        let pair = floor.pairs.get(&held::room(tenant, room)).into_iter().flatten();
        let addressed: BTreeSet<&Token> = named.iter().chain(pair).filter(|user| *user != author).collect();
        let mut events = Events::none();
        for user in addressed {
            let Some(seat) = floor.seats.get(&place(tenant, room, user)) else { continue };
            if seat.look_at().is_none_or(|at| at < now - LOST) {
                seat.looks(Some(due));
                let look = CheckUnread { room_id: room.clone(), user: user.clone(), due, again: false };
                events = events.then_at(due, look);
            }
        }
        events
    }
}

/// PostgreSQL keeps every character but one.
pub(crate) fn check_text(text: &str) -> Result<(), Fail> {
    match text.contains('\0') {
        true => Err(Fail::Invalid(vec![Fault::new("/text", "holds the character U+0000; plain text does not")])),
        false => Ok(()),
    }
}

/// What a message refers to must be of its room, and its files its author's. Returns the files, which have one use more.
async fn check_references(
    db: &mut PgConnection,
    floor: &Floor,
    tenant: &str,
    cmd: &PostMessage,
    author: &Token,
) -> Result<Vec<File>, Fail> {
    let room = cmd.room_id.as_str();
    let mut faults = Vec::new();
    if let Some(answered) = cmd.reply_to
        && !floor.said.contains(&(held::room(tenant, &cmd.room_id), answered))
    {
        let known: bool = sqlx::query_scalar(
            "select exists (select from presence.messages where tenant = $1 and room_id = $2 and message_id = $3)",
        )
        .bind(tenant)
        .bind(room)
        .bind(answered)
        .fetch_one(&mut *db)
        .await?;
        if !known {
            faults.push(Fault::new("/reply_to", "is no message of this room"));
        }
    }
    for (n, mention) in cmd.mentions.iter().enumerate() {
        if !floor.seats.has(&place(tenant, &cmd.room_id, mention)) {
            faults.push(Fault::new(format!("/mentions/{n}"), "is no member of this room"));
        }
    }
    let mut files = Vec::new();
    for (n, file_id) in cmd.attachments.iter().enumerate() {
        let found = sqlx::query(
            "select * from presence.files
             where tenant = $1 and room_id = $2 and file_id = $3 and user_id = $4 and shared_at is not null",
        )
        .bind(tenant)
        .bind(room)
        .bind(file_id)
        .bind(author.as_str())
        .fetch_optional(&mut *db)
        .await?;
        match found {
            Some(row) => files.push(files::read(&row)?),
            None => faults.push(Fault::new(format!("/attachments/{n}"), "is no file that its author brought here")),
        }
    }
    if !faults.is_empty() {
        return Err(Fail::Invalid(faults));
    }
    if !files.is_empty() {
        sqlx::query(
            "update presence.files set uses = uses + 1 where tenant = $1 and room_id = $2 and file_id = any($3)",
        )
        .bind(tenant)
        .bind(room)
        .bind(&cmd.attachments)
        .execute(&mut *db)
        .await?;
    }
    Ok(files)
}
