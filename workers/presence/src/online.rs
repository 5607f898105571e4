//! Who is there.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{Online, OnlinePage, Person, Status};
use sqlx::Row;

use crate::Presence;
use crate::who::token;

impl Answer<Online> for Presence {
    async fn answer(&self, ask: &mut Ask<'_>, query: Online) -> Result<OnlinePage, AskError> {
        let limit = query.limit.unwrap_or(100) as usize;
        let rows = sqlx::query(
            "select user_id, status, since from presence.people
             where tenant = $1 and user_id > $2 and status <> 'offline'
             order by user_id limit $3",
        )
        .bind(ask.tenant)
        .bind(query.after.as_ref().map_or("", Token::as_str))
        .bind(limit as i64 + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        let more = rows.len() > limit;
        let users = rows.into_iter().take(limit).map(|row| {
            Ok::<_, sqlx::Error>(Person {
                user: token(row.try_get("user_id")?)?,
                status: Status::parse(row.try_get("status")?).unwrap_or(Status::Offline),
                since: row.try_get("since")?,
            })
        });
        let users: Vec<Person> = users.collect::<Result<_, sqlx::Error>>()?;
        let next = users.last().filter(|_| more).map(|last| last.user.clone());
        Ok(OnlinePage { users, next })
    }
}
