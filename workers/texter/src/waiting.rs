//! Texts that leave later. Each has a row that says what it waits for and until when it is looked at again, so that it can
//! be seen and taken back; its command is put off meanwhile. Nothing is booked for it before it leaves.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Fail, clock};
use omnibus_schemas::texter::WaitsFor;
use std::time::Duration;

use crate::Texter;
use crate::draft::{Draft, Step, category_word, encoding_word};
use crate::segments::Packing;

/// Why a text does not leave now.
#[derive(Debug)]
pub(crate) enum Not {
    /// It will, after this.
    Now(WaitsFor, DateTime<Utc>),
    /// It never will.
    Ever(Fail),
}

impl From<Fail> for Not {
    fn from(fail: Fail) -> Self {
        Not::Ever(fail)
    }
}

/// As it stands in rows.
pub(crate) fn word(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::SendAt => "send_at",
        WaitsFor::QuietHours => "quiet_hours",
        WaitsFor::SpendFuse => "spend_fuse",
        WaitsFor::Provider => "provider",
    }
}

/// The reverse of [`word`].
pub(crate) fn parse(text: &str) -> Option<WaitsFor> {
    [WaitsFor::SendAt, WaitsFor::QuietHours, WaitsFor::SpendFuse, WaitsFor::Provider]
        .into_iter()
        .find(|waits_for| word(*waits_for) == text)
}

/// So long until then, and a moment at least.
pub(crate) fn pause(until: DateTime<Utc>) -> Duration {
    (until - clock::now()).to_std().unwrap_or_default().max(Duration::from_millis(1))
}

impl Texter {
    /// When a text is looked at again that waits for something that has no time of its own.
    pub(crate) fn look_again(&self) -> DateTime<Utc> {
        clock::now() + chrono::Duration::seconds(self.settings.sms_look_again_seconds.into())
    }

    /// Writes down that a text waits.
    pub(crate) async fn wait(
        &self,
        cx: &mut Cx<'_>,
        draft: &Draft,
        packing: Packing,
        waits_for: WaitsFor,
        until: DateTime<Utc>,
    ) -> Result<Step, Fail> {
        let (tenant, message_id, now) = (cx.tenant(), cx.meta().id, cx.now());
        sqlx::query(
            "insert into texter.messages as m (tenant, message_id, recipient, country, sender, provider, status, encoding,
                 segments, template, likeness, currency, estimate_micro, day, queued_at, category, timezone, waits_for,
                 waits_until)
             values ($1, $2, $3, $4, '', '', 'waiting', $5, $6, $7, '', $8, 0, $9, $10, $11, $12, $13, $14)
             on conflict (tenant, message_id) do update set waits_for = excluded.waits_for, waits_until = excluded.waits_until
                 where m.status = 'waiting'",
        )
        .bind(tenant)
        .bind(message_id)
        .bind(&draft.number.e164)
        .bind(&draft.number.country)
        .bind(encoding_word(packing.encoding))
        .bind(i32::try_from(packing.segments)?)
        .bind(draft.template.as_deref().unwrap_or_default())
        .bind(&self.currency)
        .bind(now.date_naive())
        .bind(now)
        .bind(category_word(draft.category))
        .bind(&draft.timezone)
        .bind(word(waits_for))
        .bind(until)
        .execute(cx.db())
        .await?;
        Ok(Step::Later(pause(until)))
    }
}
