//! How well a version's colours can be told apart.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::brander::{ContrastReport, Contrasts};

use crate::Brander;
use crate::look::contrast;
use crate::version::Version;

impl Answer<ContrastReport> for Brander {
    async fn answer(&self, ask: &mut Ask<'_>, query: ContrastReport) -> Result<Contrasts, AskError> {
        let found = Version::find(&mut *ask.db, ask.tenant, query.version).await?;
        let found = found.ok_or_else(|| AskError::NotFound("there is no such version; set a look first".into()))?;
        let pairs = contrast::pairs(&found.look);
        Ok(Contrasts { version: found.version, passes: pairs.iter().all(|pair| pair.passes), pairs })
    }
}
