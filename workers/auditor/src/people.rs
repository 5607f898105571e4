//! People's keys, and what lies under them: the personal fields of a payload, and the last share of its salt. Who destroys
//! a key makes the fields unreadable and the commitment unanswerable; what the tree proves stays as it was.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnibus_schemas::personal::{Found, Role};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use crate::keys::{self, Keys, Pseudonym};
use crate::tree::{Hash, digest};

/// With more people in one message, none of their fields is kept, and no way to open the commitment.
const MOST: usize = 100;

/// A sealed field, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SealedField {
    /// A JSON pointer into the payload.
    #[serde(rename = "f")]
    pub(crate) field: String,
    /// Whose key opens it: pseudonyms, in hexadecimal. All of them are needed.
    #[serde(rename = "p")]
    pub(crate) people: Vec<String>,
    /// Base64.
    #[serde(rename = "b")]
    pub(crate) bytes: String,
}

/// A message's people, before their keys are known.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// Their pseudonyms; empty if there are too many.
    pub(crate) all: BTreeSet<Pseudonym>,
    fields: Vec<(Found, Option<Pseudonym>)>,
    unopenable: bool,
}

/// A person's key, or that it was destroyed.
pub(crate) type Known = BTreeMap<(String, Pseudonym), Option<[u8; 32]>>;

impl People {
    /// Of a message of which nothing but the commitment is kept, and no way to open it.
    pub(crate) fn unopenable() -> Self {
        People { unopenable: true, ..People::default() }
    }

    /// Of what was found in this payload.
    pub(crate) fn of(keys: &Keys, tenant: &str, found: Vec<Found>, payload: &Value) -> anyhow::Result<Self> {
        let mut people = People::default();
        for found in found {
            let person = match found.role {
                Role::Subject => Some(keys.pseudonym(tenant, &found.text, country(&found, payload))?),
                Role::Data => None,
            };
            people.all.extend(person);
            people.fields.push((found, person));
        }
        if people.all.len() > MOST {
            return Ok(People::unopenable());
        }
        Ok(people)
    }

    /// The salt of the payload's commitment, from the part that is stored and a share of each person's key. `None` if one
    /// of them was erased: then nobody can know it again.
    pub(crate) fn salt(&self, tenant: &str, stored: &[u8], known: &Known) -> Option<Hash> {
        if self.unopenable {
            return None;
        }
        salt(stored, self.all.iter().map(|person| known.get(&(tenant.to_owned(), *person)).copied().flatten()))
    }

    /// The fields, each under its person's key; those of the erased are left out.
    pub(crate) fn seal(&self, tenant: &str, entry: &[u8], known: &Known) -> anyhow::Result<Option<String>> {
        let key = |person: &Pseudonym| known.get(&(tenant.to_owned(), *person)).copied().flatten();
        let mut sealed = Vec::new();
        for (found, person) in &self.fields {
            let (people, key) = match person {
                Some(person) => (vec![keys::hex(person)], key(person)),
                // What is said of the people goes with any of them. Of nobody in particular, it is not kept.
                None if self.all.is_empty() => continue,
                None => {
                    (self.all.iter().map(|person| keys::hex(person)).collect(), common(entry, self.all.iter().map(key)))
                }
            };
            let Some(key) = key else { continue };
            let about = [entry, found.pointer.as_bytes()].concat();
            let bytes = STANDARD.encode(keys::seal(&key, found.text.as_bytes(), &about)?);
            sealed.push(SealedField { field: found.pointer.clone(), people, bytes });
        }
        match sealed.is_empty() {
            true => Ok(None),
            false => Ok(Some(serde_json::to_string(&sealed).context("sealed fields are text")?)),
        }
    }
}

/// Contracts that take a number as it is dialled inside a country name that beside it.
fn country<'a>(found: &Found, payload: &'a Value) -> Option<&'a str> {
    let (beside, _) = found.pointer.rsplit_once('/')?;
    payload.pointer(&format!("{beside}/country"))?.as_str()
}

/// The key of what belongs to several people.
pub(crate) fn common(entry: &[u8], keys: impl Iterator<Item = Option<[u8; 32]>>) -> Option<[u8; 32]> {
    let mut shares = vec![b"omnibus audit common".to_vec()];
    for key in keys {
        shares.push(keys::share(&key?, entry).to_vec());
    }
    Some(digest(&shares.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// See [`People::salt`].
pub(crate) fn salt(stored: &[u8], keys: impl Iterator<Item = Option<[u8; 32]>>) -> Option<Hash> {
    let mut parts = vec![b"omnibus audit salt".to_vec(), stored.to_vec()];
    for key in keys {
        parts.push(keys::share(&key?, stored).to_vec());
    }
    Some(digest(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// What stands in the leaf for the payload.
pub(crate) fn commitment(salt: &Hash, payload: &[u8]) -> Hash {
    digest(&[b"omnibus audit payload", salt, payload])
}

fn owner(tenant: &str, person: &Pseudonym) -> Vec<u8> {
    [tenant.as_bytes(), &[0], person].concat()
}

/// The keys of these people, made for those who have none. In order, so that two writers wait for each other and don't
/// deadlock.
pub(crate) async fn keys_of(
    keys: &Keys,
    db: &mut PgConnection,
    people: BTreeSet<(String, Pseudonym)>,
) -> anyhow::Result<Known> {
    if people.is_empty() {
        return Ok(Known::new());
    }
    let (mut tenants, mut names, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, person) in &people {
        fresh.push(keys.wrap(&keys::chance::<32>()?, &owner(tenant, person))?);
        tenants.push(tenant.as_str());
        names.push(person.as_slice());
    }
    sqlx::query(
        "insert into auditor.subjects (tenant, pseudonym, wrapped)
         select * from unnest($1::text[], $2::bytea[], $3::bytea[]) on conflict do nothing",
    )
    .bind(&tenants)
    .bind(&names)
    .bind(&fresh)
    .execute(&mut *db)
    .await?;
    stored(keys, db, &tenants, &names).await
}

/// The keys of these people, as far as they have one.
pub(crate) async fn stored(
    keys: &Keys,
    db: &mut PgConnection,
    tenants: &[&str],
    names: &[&[u8]],
) -> anyhow::Result<Known> {
    let rows: Vec<(String, Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(
        // One by one, by their key: joined to a table that was never analysed, they may cost a look at everybody.
        "select s.* from unnest($1::text[], $2::bytea[]) as x(tenant, pseudonym)
         cross join lateral (
             select s.tenant, s.pseudonym, s.wrapped from auditor.subjects s
             where s.tenant = x.tenant and s.pseudonym = x.pseudonym limit 1) s",
    )
    .bind(tenants)
    .bind(names)
    .fetch_all(db)
    .await?;
    let mut known = Known::new();
    for (tenant, person, wrapped) in rows {
        let person: Pseudonym = person.try_into().map_err(|_| anyhow::anyhow!("a pseudonym has 16 bytes"))?;
        let key = wrapped.map(|wrapped| keys.unwrap(&wrapped, &owner(&tenant, &person))).transpose()?;
        known.insert((tenant, person), key);
    }
    Ok(known)
}
