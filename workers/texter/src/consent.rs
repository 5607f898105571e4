//! Who may not be written to. Every change is told by one event, whatever the channel.

use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::consent::{Channel, Consent, ConsentSource, ConsentState, Covers};
use omnibus_schemas::texter::{ConsentChanged, DeleteOptOut, OptOut, OptOutList, OptOuts, PutOptOut};
use sqlx::Row;

use crate::{Texter, number};

/// Somebody opts out, or in again.
pub(crate) struct Change<'a> {
    pub(crate) recipient: &'a str,
    /// Empty: all of the tenant's.
    pub(crate) sender: &'a str,
    pub(crate) covers: Covers,
    pub(crate) source: ConsentSource,
}

impl<'a> Change<'a> {
    /// The provider's own list is by sender.
    pub(crate) fn refused_by_provider(recipient: &'a str, sender: &'a str) -> Self {
        Change { recipient, sender, covers: Covers::All, source: ConsentSource::Provider }
    }

    fn told(&self, state: ConsentState) -> Events {
        Events::of(ConsentChanged(Consent {
            channel: Channel::Sms,
            recipient: self.recipient.to_owned(),
            sender: Some(self.sender.to_owned()).filter(|sender| !sender.is_empty()),
            stream: None,
            covers: self.covers,
            state,
            source: self.source,
        }))
    }
}

fn covers_word(covers: Covers) -> &'static str {
    match covers {
        Covers::All => "all",
        Covers::Marketing => "marketing",
    }
}

/// Opts a recipient out. Tells nothing if that changes nothing.
pub(crate) async fn opt_out(cx: &mut Cx<'_>, change: Change<'_>) -> Result<Events, Fail> {
    let (tenant, now) = (cx.tenant(), cx.now());
    let changed = sqlx::query(
        "insert into texter.opt_outs as o (tenant, recipient, sender, covers, source, since)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant, recipient, sender) do update set covers = excluded.covers, source = excluded.source
         where o.covers <> excluded.covers and (excluded.covers = 'all' or o.source = 'command')",
    )
    .bind(tenant)
    .bind(change.recipient)
    .bind(change.sender)
    .bind(covers_word(change.covers))
    .bind(change.source.as_str())
    .bind(now)
    .execute(cx.db())
    .await?;
    Ok(match changed.rows_affected() {
        0 => Events::none(),
        _ => change.told(ConsentState::OptedOut),
    })
}

/// Takes a recipient's opt-out for one sender back. Tells nothing if there was none.
pub(crate) async fn opt_in(cx: &mut Cx<'_>, change: Change<'_>) -> Result<Events, Fail> {
    let tenant = cx.tenant();
    let gone = sqlx::query("delete from texter.opt_outs where tenant = $1 and recipient = $2 and sender = $3")
        .bind(tenant)
        .bind(change.recipient)
        .bind(change.sender)
        .execute(cx.db())
        .await?;
    Ok(match gone.rows_affected() {
        0 => Events::none(),
        _ => change.told(ConsentState::OptedIn),
    })
}

impl Handle<PutOptOut> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: PutOptOut) -> Result<Events, Fail> {
        let number = number::read("/number", &cmd.number, cmd.country.as_deref())
            .map_err(|error| Fail::reject(error.code(), error.to_string()))?;
        let change = Change {
            recipient: &number.e164,
            sender: cmd.sender.as_deref().unwrap_or_default(),
            covers: cmd.covers,
            source: ConsentSource::Command,
        };
        opt_out(cx, change).await
    }
}

impl Handle<DeleteOptOut> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: DeleteOptOut) -> Result<Events, Fail> {
        let number = number::read("/number", &cmd.number, cmd.country.as_deref())
            .map_err(|error| Fail::reject(error.code(), error.to_string()))?;
        let change = Change {
            recipient: &number.e164,
            sender: cmd.sender.as_deref().unwrap_or_default(),
            covers: Covers::All,
            source: ConsentSource::Command,
        };
        opt_in(cx, change).await
    }
}

impl Answer<OptOuts> for Texter {
    async fn answer(&self, ask: &mut Ask<'_>, query: OptOuts) -> Result<OptOutList, AskError> {
        let (after, after_sender) = match &query.after {
            Some(after) => after.split_once('/').unwrap_or((after, "")),
            None => ("", ""),
        };
        let limit = i64::from(query.limit.unwrap_or(100));
        let rows = sqlx::query(
            "select recipient, sender, covers, source, since from texter.opt_outs
             where tenant = $1 and (recipient, sender) > ($2, $3) and ($4::text is null or recipient = $4)
             order by recipient, sender limit $5",
        )
        .bind(ask.tenant)
        .bind(after)
        .bind(after_sender)
        .bind(&query.number)
        .bind(limit + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        let mut opt_outs = Vec::new();
        for row in &rows {
            let covers: String = row.try_get("covers")?;
            opt_outs.push(OptOut {
                number: row.try_get("recipient")?,
                sender: Some(row.try_get("sender")?).filter(|sender: &String| !sender.is_empty()),
                covers: if covers == "all" { Covers::All } else { Covers::Marketing },
                source: row.try_get("source")?,
                since: row.try_get("since")?,
            });
        }
        let more = opt_outs.len() as i64 > limit;
        opt_outs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let last = opt_outs.last().filter(|_| more);
        let next = last.map(|last| format!("{}/{}", last.number, last.sender.as_deref().unwrap_or_default()));
        Ok(OptOutList { opt_outs, next })
    }
}
