//! Many rows by PostgreSQL's binary `COPY`, each of which costs it less than by an `insert` from arrays. The format:
//! <https://www.postgresql.org/docs/15/sql-copy.html>.

use std::fmt;

use sqlx::encode::IsNull;
use sqlx::postgres::PgArgumentBuffer;
use sqlx::{Encode, PgConnection, Postgres};

const START: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: [u8; 2] = (-1_i16).to_be_bytes();
/// In the place of a length.
const NULL: i32 = -1;

/// Rows that are to be added to a table.
///
/// ```
/// # async fn example(db: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
/// let mut rows = omnibus_runtime::Rows::default();
/// rows.push([&"acme", &7_i64, &None::<String>])?;
/// rows.copy(db, "shop.sales (tenant, number, note)").await
/// # }
/// ```
pub struct Rows(PgArgumentBuffer);

// What the rows hold is for the database alone.
impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl Default for Rows {
    fn default() -> Self {
        let mut rows = PgArgumentBuffer::default();
        rows.extend_from_slice(START);
        Rows(rows)
    }
}

impl Rows {
    /// One more. Its values are of the columns' types exactly: nothing is converted.
    ///
    /// # Errors
    /// If a value can't be written in PostgreSQL's form.
    pub fn push<const N: usize>(&mut self, row: [&dyn Encode<'_, Postgres>; N]) -> Result<(), sqlx::Error> {
        let columns = i16::try_from(N).map_err(|error| sqlx::Error::Encode(error.into()))?;
        self.0.extend_from_slice(&columns.to_be_bytes());
        for value in row {
            let at = self.0.len();
            self.0.extend_from_slice(&NULL.to_be_bytes());
            if let IsNull::No = value.encode_by_ref(&mut self.0).map_err(sqlx::Error::Encode)? {
                let from = at + size_of_val(&NULL);
                let length = i32::try_from(self.0.len() - from).map_err(|error| sqlx::Error::Encode(error.into()))?;
                self.0[at..from].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    /// Adds them; `into` names the table and its columns.
    ///
    /// # Errors
    /// The database's, as an `insert` would have; then none of them is added.
    pub async fn copy(mut self, db: &mut PgConnection, into: &'static str) -> Result<(), sqlx::Error> {
        self.0.extend_from_slice(&END);
        let mut copy = db.copy_in_raw(&format!("copy {into} from stdin (format binary)")).await?;
        copy.send(self.0.as_slice()).await?;
        copy.finish().await.map(drop)
    }
}
