//! A version as readers will get it.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::brand::Brand;
use omnibus_schemas::brander::BrandOfVersion;

use crate::Brander;
use crate::version::Version;

impl Answer<BrandOfVersion> for Brander {
    async fn answer(&self, ask: &mut Ask<'_>, query: BrandOfVersion) -> Result<Brand, AskError> {
        let found = Version::find(&mut *ask.db, ask.tenant, query.version).await?;
        let found = found.ok_or_else(|| AskError::NotFound("there is no such version; set a look first".into()))?;
        // Revisions are handed out by activations; a draft has none.
        Ok(found.brand(&mut *ask.db, ask.tenant, 0, self.settings.base()).await?)
    }
}
