//! A tenant's numbers.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::presence::{RealtimeStats, Stats};

use crate::Presence;

impl Answer<RealtimeStats> for Presence {
    async fn answer(&self, ask: &mut Ask<'_>, _: RealtimeStats) -> Result<Stats, AskError> {
        let (rooms, members, messages, online, away): (i64, i64, i64, i64, i64) = sqlx::query_as(
            "select
                (select count(distinct room_id) from presence.members where tenant = $1),
                (select count(*) from presence.members where tenant = $1),
                (select coalesce(sum(messages), 0)::bigint from presence.channels where tenant = $1 and kind = 'room'),
                (select count(*) from presence.people where tenant = $1 and status = 'online'),
                (select count(*) from presence.people where tenant = $1 and status = 'away')",
        )
        .bind(ask.tenant)
        .fetch_one(&mut *ask.db)
        .await?;
        Ok(Stats { rooms, members, messages, online, away })
    }
}
