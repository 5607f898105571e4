//! What a text would be, and cost. Nothing is sent and nothing is written.

use omnibus_runtime::{Answer, Ask, AskError, Fail};
use omnibus_schemas::Fault;
use omnibus_schemas::texter::{Estimate, EstimateSms};

use crate::{Texter, number, segments, templates};

impl Answer<EstimateSms> for Texter {
    async fn answer(&self, _: &mut Ask<'_>, query: EstimateSms) -> Result<Estimate, AskError> {
        let number = number::read("/to", &query.to, query.country.as_deref())
            .map_err(|error| AskError::Invalid(error.to_string()))?;
        let packing = segments::pack(&words(query)?);
        let priced = self.providers.iter().filter_map(|p| Some((p.price(&number.country)?, p.name())));
        let cheapest = priced.min_by_key(|(price, _)| *price);
        let (price, provider) = cheapest
            .ok_or_else(|| AskError::Invalid(format!("/to: nothing is sent to {}, it has no price", number.country)))?;
        Ok(Estimate {
            country: number.country,
            encoding: packing.encoding,
            characters: packing.characters,
            segments: packing.segments,
            provider: provider.to_owned(),
            estimate_micro: price * i64::from(packing.segments),
            currency: self.currency.clone(),
        })
    }
}

/// The words that would be sent.
fn words(query: EstimateSms) -> Result<String, AskError> {
    match (query.template, query.body.is_empty()) {
        (None, true) => Err(AskError::Faults(vec![Fault::new("", "name a /body, or a /template")])),
        (Some(_), false) => Err(AskError::Faults(vec![Fault::new("", "name a /body or a /template, not both")])),
        (None, false) if query.smart_encoding => Ok(segments::smart(&query.body)),
        (None, false) => Ok(query.body),
        (Some(name), true) => match templates::render(&name, query.locale.as_deref(), &query.variables) {
            Ok(rendered) => Ok(rendered.body),
            Err(Fail::Reject { detail, .. }) => Err(AskError::Invalid(detail)),
            Err(other) => Err(AskError::Failed(anyhow::anyhow!("a template was not filled in: {other:?}"))),
        },
    }
}
