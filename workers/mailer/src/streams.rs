//! A tenant's streams, and by which providers their mails leave.

use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{
    MailRoute, MailRouteList, MailRoutes, Provider, PutMailRoute, PutMailStream, StreamKind,
};
use sqlx::Row;

use crate::Mailer;

impl Handle<PutMailStream> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: PutMailStream) -> Result<Events, Fail> {
        let built_in = [StreamKind::Transactional, StreamKind::Marketing].into_iter();
        if let Some(kind) = built_in.into_iter().find(|kind| kind.as_str() == cmd.stream)
            && kind != cmd.kind
        {
            let detail = format!("the stream {} is always {}", cmd.stream, kind.as_str());
            return Err(Fail::reject("built_in", detail));
        }
        sqlx::query(
            "insert into mailer.streams (tenant, stream, kind) values ($1, $2, $3)
             on conflict (tenant, stream) do update set kind = excluded.kind",
        )
        .bind(cx.tenant())
        .bind(&cmd.stream)
        .bind(cmd.kind.as_str())
        .execute(cx.db())
        .await?;
        Ok(Events::none())
    }
}

impl Handle<PutMailRoute> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: PutMailRoute) -> Result<Events, Fail> {
        if let Some(closed) = cmd.providers.iter().find(|way| !self.transport.has(**way)) {
            let detail = format!("this installation is not set up for {}", closed.as_str());
            return Err(Fail::reject("provider_not_set_up", detail));
        }
        let built_in = ["transactional", "marketing"].contains(&cmd.stream.as_str());
        let done = sqlx::query(
            "with put as (
                 insert into mailer.streams (tenant, stream, kind, providers)
                 select $1, $2, $2, $3 where $4
                 on conflict (tenant, stream) do update set providers = excluded.providers
                 returning 1),
             changed as (
                 update mailer.streams set providers = $3 where tenant = $1 and stream = $2 and not $4 returning 1)
             select (select count(*) from put) + (select count(*) from changed)",
        )
        .bind(cx.tenant())
        .bind(&cmd.stream)
        .bind(cmd.providers.iter().map(|way| way.as_str()).collect::<Vec<_>>())
        .bind(built_in)
        .fetch_one(cx.db())
        .await?;
        match done.try_get::<i64, _>(0)? {
            0 => Err(Fail::reject("unknown_stream", "name the stream first: PUT /api/v1/email/streams/{stream}")),
            _ => Ok(Events::none()),
        }
    }
}

impl Answer<MailRoutes> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, _: MailRoutes) -> Result<MailRouteList, AskError> {
        let rows = sqlx::query("select stream, kind, providers from mailer.streams where tenant = $1 order by stream")
            .bind(ask.tenant)
            .fetch_all(&mut *ask.db)
            .await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let kind: String = row.try_get(1)?;
            let providers: Vec<String> = row.try_get(2)?;
            Ok(MailRoute {
                stream: row.try_get(0)?,
                kind: if kind == "marketing" { StreamKind::Marketing } else { StreamKind::Transactional },
                providers: providers.iter().filter_map(|word| Provider::parse(word)).collect(),
            })
        };
        Ok(MailRouteList { routes: rows.iter().map(read).collect::<Result<_, sqlx::Error>>()? })
    }
}
