//! What a text would be, and cost. Nothing is sent and nothing is written.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::texter::{Estimate, EstimateSms};

use crate::{Texter, number, segments};

impl Answer<EstimateSms> for Texter {
    async fn answer(&self, _: &mut Ask<'_>, query: EstimateSms) -> Result<Estimate, AskError> {
        let number = number::read("/to", &query.to, query.country.as_deref())
            .map_err(|error| AskError::Invalid(error.to_string()))?;
        let body = if query.smart_encoding { segments::smart(&query.body) } else { query.body };
        let packing = segments::pack(&body);
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
