//! In whose name a command is, and what he may in a room.

use omnibus_runtime::{Ask, AskError, Cx, Fail, Meta};
use omnibus_schemas::presence::Role;
use omnibus_schemas::{Fault, Token};
use sqlx::PgConnection;

/// The user that a token or a socket belongs to; `None` for a back end, which acts for whom it names.
fn own(actor: Option<&str>) -> Option<&str> {
    let actor = actor?;
    actor.strip_prefix("jwt:").or_else(|| actor.strip_prefix("ws:"))
}

/// Who acts. A user's own token acts for nobody else; a back end says for whom.
pub(crate) fn acting(meta: &Meta, named: Option<Token>) -> Result<Token, Fail> {
    match (own(meta.actor.as_deref()), named) {
        (Some(own), named) => {
            let own = own.parse::<Token>().map_err(|error| {
                Fail::reject("user_unfit", format!("the token's subject is not fit for a name here: it {error}"))
            })?;
            match named {
                Some(named) if named != own => {
                    Err(Fail::reject("another_user", "a user's own token acts for that user alone"))
                }
                _ => Ok(own),
            }
        }
        (None, Some(named)) => Ok(named),
        (None, None) => Err(Fail::Invalid(vec![Fault::new("/user", "is missing: an API key must say who acts")])),
    }
}

/// What a user is in a room.
pub(crate) async fn role(db: &mut PgConnection, tenant: &str, room: &Token, user: &str) -> sqlx::Result<Option<Role>> {
    let role: Option<String> =
        sqlx::query_scalar("select role from presence.members where tenant = $1 and room_id = $2 and user_id = $3")
            .bind(tenant)
            .bind(room.as_str())
            .bind(user)
            .fetch_optional(db)
            .await?;
    Ok(role.map(|role| read_role(&role)))
}

/// What a user is in a room; not to be there is a no.
pub(crate) async fn member(cx: &mut Cx<'_>, room: &Token, user: &Token) -> Result<Role, Fail> {
    let tenant = cx.tenant();
    let role = role(cx.db(), tenant, room, user.as_str()).await?;
    role.ok_or_else(|| not_a_member(user, room))
}

/// The no to who is not there.
pub(crate) fn not_a_member(user: &Token, room: &Token) -> Fail {
    Fail::reject("not_a_member", format!("{user} is not in the room {room}: join it first"))
}

/// A user's own token reads of rooms that the user is in; a back end of all of the tenant's.
pub(crate) async fn may_read(ask: &mut Ask<'_>, room: &Token) -> Result<(), AskError> {
    let known: bool = match own(ask.actor) {
        Some(user) => role(ask.db, ask.tenant, room, user).await?.is_some(),
        None => {
            sqlx::query_scalar(
                "select exists (select from presence.channels where tenant = $1 and kind = 'room' and id = $2)",
            )
            .bind(ask.tenant)
            .bind(room.as_str())
            .fetch_one(&mut *ask.db)
            .await?
        }
    };
    match known {
        true => Ok(()),
        false => Err(AskError::NotFound("there is no such room, or its messages are not yours to read".to_owned())),
    }
}

/// As in the table.
pub(crate) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Moderator => "moderator",
    }
}

/// The reverse.
pub(crate) fn read_role(word: &str) -> Role {
    match word {
        "moderator" => Role::Moderator,
        _ => Role::Member,
    }
}

/// A name that stands in a table, where only names stand.
pub(crate) fn token(word: String) -> Result<Token, sqlx::Error> {
    word.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
