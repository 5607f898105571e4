//! The file that an authority asks a host for. Shown at that host alone, while its order is under way.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::brander::ChallengeFile;

use crate::Brander;

impl Receive<ChallengeFile> for Brander {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let token = visit.params.get("token").map(String::as_str).unwrap_or_default();
        let answer: Option<String> = sqlx::query_scalar(
            "select o.answer from brander.certificate_orders o join brander.domains d using (tenant, host)
             where o.token = $1 and o.host = $2 and o.status in ('ordered', 'checking') and d.status = 'verified'",
        )
        .bind(token)
        .bind(visit.host.trim_end_matches('.'))
        .fetch_optional(&mut *at.db)
        .await?;
        let answer = answer.ok_or_else(|| AskError::NotFound("no authority is expected with this question".into()))?;
        Ok(Reply::status(200).content("application/octet-stream", answer).header("cache-control", "no-store"))
    }
}
