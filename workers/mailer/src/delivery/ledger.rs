//! By which way a mail leaves. The attempt ledger decides about the next one: only what has certainly not left may be
//! handed to another provider.

use std::sync::LazyLock;

use omnibus_runtime::Cx;
use omnibus_schemas::mailer::Provider;
use omnibus_schemas::{Catalogue, subject};
use sqlx::Row;
use uuid::Uuid;

/// The consumers under which the ledger keeps the attempts of this worker's commands, one for each lane. They lead the
/// ledger's key: whoever leaves them out reads all of it.
pub(super) static CONSUMERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let catalogue = Catalogue::omnibus();
    let mailer = catalogue.domain("mailer").expect("the catalogue has the mailer");
    mailer.lanes().iter().map(|lane| subject::lane_consumer(mailer.name, lane)).collect()
});

/// What the ledger says of this command's attempts so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Attempts that certainly did not happen.
    pub(crate) not_done: usize,
    /// Attempts of which that can't be said.
    pub(crate) unclear: usize,
}

/// Reads the ledger. Each consumer's part of it is looked up by its key: of a table that was never analysed the planner
/// would rather read all of it.
pub(crate) async fn spent(cx: &mut Cx<'_>) -> Result<Spent, sqlx::Error> {
    let row = sqlx::query(
        "select coalesce(sum(a.not_done), 0)::bigint, coalesce(sum(a.others), 0)::bigint
         from unnest($3::text[]) as c(consumer)
         cross join lateral (
             select count(*) filter (where result = 'not_done') as not_done,
                 count(*) filter (where result is distinct from 'not_done') as others
             from bus.attempts where consumer = c.consumer and tenant = $1 and message_id = $2) a",
    )
    .bind(cx.tenant())
    .bind(cx.meta().id)
    .bind(&*CONSUMERS)
    .fetch_one(cx.db())
    .await?;
    let count = |n| row.try_get::<i64, _>(n).map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    Ok(Spent { not_done: count(0)?, unclear: count(1)? })
}

/// Is a call of one of these commands out?
pub(crate) async fn leaving(cx: &mut Cx<'_>, commands: &[Uuid]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (
             select from unnest($2::uuid[]) as x(id) cross join unnest($3::text[]) as c(consumer)
             cross join lateral (
                 select from bus.attempts
                 where consumer = c.consumer and tenant = $1 and message_id = x.id and closed_at is null limit 1) a)",
    )
    .bind(cx.tenant())
    .bind(commands)
    .bind(&*CONSUMERS)
    .fetch_one(cx.db())
    .await
}

/// The way of the next attempt. `last`: the one before it.
pub(crate) fn next_way(order: &[Provider], spent: Spent, last: Option<Provider>) -> Option<Provider> {
    match (spent.unclear, last) {
        (1.., Some(last)) => Some(last),
        _ => order.get(spent.not_done.checked_rem(order.len())?).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Provider::{Sendgrid, Smtp};

    fn spent(not_done: usize, unclear: usize) -> Spent {
        Spent { not_done, unclear }
    }

    #[test]
    fn another_provider_is_tried_only_after_not_done() {
        let order = [Smtp, Sendgrid];
        let ways: Vec<_> = (0..4).map(|n| next_way(&order, spent(n, 0), Some(Smtp)).unwrap()).collect();
        assert_eq!(ways, [Smtp, Sendgrid, Smtp, Sendgrid]);
        assert_eq!(next_way(&order, spent(0, 1), Some(Smtp)), Some(Smtp));
        assert_eq!(next_way(&order, spent(1, 1), Some(Sendgrid)), Some(Sendgrid));
        assert_eq!(next_way(&[], spent(0, 0), None), None);
    }
}
