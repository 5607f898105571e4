//! What texts have cost: the ledger's lines, added up by day, country and template.

use chrono::{Duration, NaiveDate};
use omnibus_runtime::{Answer, Ask, AskError, clock};
use omnibus_schemas::texter::{CostLine, CostReport, CostTotal, Costs};
use sqlx::Row;

use crate::Texter;

/// First and last day of a question; the last 30 days if it names none.
pub(crate) fn days(from: Option<&str>, to: Option<&str>) -> Result<(NaiveDate, NaiveDate), AskError> {
    let read = |name: &str, text: Option<&str>| {
        let day = text.map(|text| text.parse::<NaiveDate>()).transpose();
        day.map_err(|_| AskError::Invalid(format!("/{name}: must be a day such as 2026-01-31")))
    };
    let to = read("to", to)?.unwrap_or_else(|| clock::now().date_naive());
    let from = read("from", from)?.unwrap_or(to - Duration::days(30));
    match (0..=366).contains(&(to - from).num_days()) {
        true => Ok((from, to)),
        false => Err(AskError::Invalid("/from: must be 0 to 366 days before /to".into())),
    }
}

impl Answer<Costs> for Texter {
    async fn answer(&self, ask: &mut Ask<'_>, query: Costs) -> Result<CostReport, AskError> {
        let (from, to) = days(query.from.as_deref(), query.to.as_deref())?;
        let rows = sqlx::query(
            "select day, country, template, currency, sum(messages)::bigint as messages, sum(segments)::bigint as segments,
                    coalesce(sum(amount_micro) filter (where kind = 'estimate'), 0)::bigint as estimate,
                    coalesce(sum(amount_micro) filter (where kind <> 'estimate'), 0)::bigint as difference
             from texter.ledger
             where tenant = $1 and day between $2 and $3 and ($4::text is null or country = $4)
             group by day, country, template, currency order by day, country, template, currency",
        )
        .bind(ask.tenant)
        .bind(from)
        .bind(to)
        .bind(query.country.map(|country| country.to_ascii_uppercase()))
        .fetch_all(&mut *ask.db)
        .await?;
        let mut report = CostReport { lines: Vec::new(), totals: Vec::new() };
        for row in &rows {
            let (estimate_micro, difference_micro): (i64, i64) = (row.try_get("estimate")?, row.try_get("difference")?);
            let line = CostLine {
                day: row.try_get::<NaiveDate, _>("day")?.to_string(),
                country: row.try_get("country")?,
                template: Some(row.try_get("template")?).filter(|name: &String| !name.is_empty()),
                currency: row.try_get("currency")?,
                messages: row.try_get::<i64, _>("messages")?.unsigned_abs(),
                segments: row.try_get::<i64, _>("segments")?.unsigned_abs(),
                estimate_micro,
                difference_micro,
                amount_micro: estimate_micro + difference_micro,
            };
            add(&mut report.totals, &line);
            report.lines.push(line);
        }
        Ok(report)
    }
}

fn add(totals: &mut Vec<CostTotal>, line: &CostLine) {
    let place = totals.iter().position(|total| total.currency == line.currency).unwrap_or_else(|| {
        totals.push(CostTotal { currency: line.currency.clone(), messages: 0, segments: 0, amount_micro: 0 });
        totals.len() - 1
    });
    let total = &mut totals[place];
    total.messages += line.messages;
    total.segments += line.segments;
    total.amount_micro += line.amount_micro;
}
