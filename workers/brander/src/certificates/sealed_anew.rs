//! After another `CERTIFICATE_KEY` was put before the one that there was: what lies sealed with the earlier one is sealed with
//! the first, so that the earlier one is soon needed by nobody.

use omnibus_runtime::seal::Seal;
use sqlx::PgPool;

/// Where private keys lie, and for whom each is sealed.
const PLACES: [(&str, &str); 3] = [
    (
        "select tenant || '/' || host, sealed_key from brander.certificates",
        "update brander.certificates set sealed_key = $2 where sealed_key = $1",
    ),
    (
        "select tenant || '/' || host, sealed_key from brander.certificate_orders
         where sealed_key is not null and status not in ('issued', 'failed')",
        "update brander.certificate_orders set sealed_key = $2 where sealed_key = $1",
    ),
    (
        "select name, value from brander.keys where name like 'acme %'",
        "update brander.keys set value = $2 where value = $1",
    ),
];

pub(super) async fn seal_anew(db: &PgPool, seal: &Seal) -> Result<(), sqlx::Error> {
    let (mut changed, mut lost) = (0, 0);
    for (all, change) in PLACES {
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(all).fetch_all(db).await?;
        for (owner, sealed) in rows {
            match seal.close_again(&sealed, &owner) {
                Ok(None) => {}
                // No two seals are alike, so the old one names its row; one that was replaced meanwhile is left alone.
                Ok(Some(again)) => {
                    changed += sqlx::query(change).bind(sealed).bind(again).execute(db).await?.rows_affected();
                }
                Err(_) => lost += 1,
            }
        }
    }
    if changed > 0 {
        tracing::info!(changed, "private keys were sealed with the first CERTIFICATE_KEY");
    }
    if lost > 0 {
        tracing::error!(
            lost,
            "private keys can't be opened with any CERTIFICATE_KEY: their certificates must be ordered anew"
        );
    }
    Ok(())
}
