//! An entry's personal fields, opened with the keys of its people, as far as those are still there.

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::auditor::{Personal, PersonalField, PersonalFields};
use uuid::Uuid;

use super::index;
use crate::Auditor;
use crate::keys::{self, Pseudonym};
use crate::people::{self, Known, SealedField};

impl Answer<PersonalFields> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: PersonalFields) -> Result<Personal, AskError> {
        if !self.ledger.replayed() {
            return Err(AskError::Failed(anyhow::anyhow!("the ledger of erasures is not replayed yet")));
        }
        let row: Option<(Uuid, Vec<u8>, Option<String>)> =
            sqlx::query_as("select key, salt, sealed from auditor.entries where tenant = $1 and idx = $2")
                .bind(ask.tenant)
                .bind(index(query.index)?)
                .fetch_optional(&mut *ask.db)
                .await?;
        let (entry, salt, sealed) =
            row.ok_or_else(|| AskError::NotFound("the log has no such entry, or no longer".to_owned()))?;
        self.opened(ask, query.index, entry, &salt, sealed.as_deref()).await.map_err(AskError::Failed)
    }
}

impl Auditor {
    async fn opened(
        &self,
        ask: &mut Ask<'_>,
        index: u64,
        entry: Uuid,
        salt: &[u8],
        sealed: Option<&str>,
    ) -> anyhow::Result<Personal> {
        let sealed: Vec<SealedField> = sealed.map_or(Ok(Vec::new()), serde_json::from_str)?;
        let (stored, others) = salt.split_at_checked(32).unwrap_or_default();
        let others: Vec<Pseudonym> =
            others.chunks_exact(16).map(|chunk| chunk.try_into().expect("a chunk has 16 bytes")).collect();
        let mut people: Vec<Pseudonym> = others.clone();
        for field in &sealed {
            for person in &field.people {
                people.push(pseudonym(person)?);
            }
        }
        people.sort_unstable();
        people.dedup();
        let tenants = vec![ask.tenant; people.len()];
        let names: Vec<&[u8]> = people.iter().map(<[u8; 16]>::as_slice).collect();
        let known: Known = people::stored(&self.keys, ask.db, &tenants, &names).await?;
        let key = |person: &Pseudonym| known.get(&(ask.tenant.to_owned(), *person)).copied().flatten();

        let mut fields = Vec::new();
        for field in sealed {
            let owners = field.people.iter().map(|person| pseudonym(person)).collect::<anyhow::Result<Vec<_>>>()?;
            let about = [entry.as_bytes().as_slice(), field.field.as_bytes()].concat();
            // A person's own field is under that person's key, what is said of all of them under all keys together.
            let common = people::common(entry.as_bytes(), owners.iter().map(key));
            let under = [owners.first().filter(|_| owners.len() == 1).and_then(key), common];
            let bytes = STANDARD.decode(&field.bytes).context("what is sealed is base64")?;
            let value = under.into_iter().flatten().find_map(|key| keys::open(&key, &bytes, &about).ok());
            let value = value.map(String::from_utf8).transpose().context("what was sealed is text")?;
            fields.push(PersonalField { field: field.field, value });
        }
        let salt = match stored.is_empty() {
            true => None,
            false => people::salt(stored, others.iter().map(key)),
        };
        Ok(Personal { index, fields, salt: salt.map(|salt| STANDARD.encode(salt)) })
    }
}

fn pseudonym(hex: &str) -> anyhow::Result<Pseudonym> {
    let number = u128::from_str_radix(hex, 16).context("a pseudonym is hexadecimal")?;
    Ok(number.to_be_bytes())
}
