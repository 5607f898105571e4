//! Sends one row of a batch: a mail like any other, made from what the batch says and what the row adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use omnibus_runtime::{Cx, Each, Events, Fail, Meta, One};
use omnibus_schemas::brand::Brand;
use omnibus_schemas::mailer::{SendBatch, SendBatchRow, SendEmail, Uncertain};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::Mailer;
use crate::content::{InUse, Made, Wanted, in_use, keep_all};
use crate::delivery::{Dispatch, Order, refused};

impl Dispatch for SendBatchRow {
    const NAMES_EMAIL: bool = false;

    async fn order(self, mailer: &Mailer, cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        let meta = cx.meta();
        let mut orders = orders_of(mailer, cx.db(), vec![(meta, self)]).await?;
        orders.pop().expect("there is one for each row")
    }

    async fn orders(
        mailer: &Mailer,
        db: &mut PgConnection,
        many: Vec<One<'_, Self>>,
    ) -> Each<Result<Box<Order>, Events>> {
        orders_of(mailer, db, many.into_iter().map(|one| (one.meta(), one.command)).collect()).await
    }
}

/// One order for each row, in their order. What the rows add, what their template is, and whether their brand may send from
/// its address, is read for all at once.
async fn orders_of(
    mailer: &Mailer,
    db: &mut PgConnection,
    many: Vec<(&Meta, SendBatchRow)>,
) -> Each<Result<Box<Order>, Events>> {
    let keys: Vec<_> = many.iter().map(|(meta, row)| (meta.tenant.as_str(), row.batch_id, row.row)).collect();
    let mut rows = Vec::with_capacity(many.len());
    for ((meta, row), adds) in many.iter().zip(added(db, &keys).await?) {
        let batch = mailer.specs.of(&mut Cx::new(meta, &mut *db), row.batch_id).await?;
        rows.push(adds.zip(batch));
    }
    let templates: Vec<_> = many
        .iter()
        .zip(&rows)
        .map(|((meta, _), row)| {
            let (adds, batch) = row.as_ref()?;
            Some((meta.tenant.as_str(), adds.email_id, batch.template.as_deref()?))
        })
        .collect();
    let mut found = in_use(db, &templates.iter().flatten().copied().collect::<Vec<_>>()).await?.into_iter();
    let versions: Vec<InUse> =
        templates.iter().map(|template| template.and_then(|_| found.next()).unwrap_or_default()).collect();
    let (mut orders, mut made, mut brands) = (Vec::with_capacity(many.len()), Vec::new(), Vec::new());
    for (((meta, command), row), version) in many.into_iter().zip(rows).zip(versions) {
        let mut cx = Cx::new(meta, &mut *db);
        let order = mailer.order_of_row(&mut cx, command, row, version).await;
        let mut brand = None;
        orders.push(order.map(|order| {
            order.map(|(order, template)| {
                if let Some((of, dress)) = template {
                    made.push((meta.tenant.as_str(), order.email_id, of, meta.time));
                    brand = Some((meta.tenant.as_str(), dress));
                }
                order
            })
        }));
        brands.push(brand);
    }
    keep_all(db, &made).await?;
    let dressed = orders.iter_mut().zip(&brands).filter_map(|(order, brand)| match (order, brand) {
        (Ok(Ok(order)), Some((tenant, brand))) => Some((*tenant, &mut order.email, &**brand)),
        _ => None,
    });
    mailer.or_their_brands(db, dressed.collect()).await?;
    Ok(orders)
}

/// What a row adds to what its batch says.
struct Adds {
    address: String,
    variables: Value,
    email_id: Uuid,
}

/// Of each of these rows (tenant, batch, number), in their order; none if there is no such row, or it is no mail.
async fn added(db: &mut PgConnection, rows: &[(&str, Uuid, u32)]) -> Result<Vec<Option<Adds>>, sqlx::Error> {
    // Each is looked up by its key: of a table that was never analysed, a join would read all rows there are.
    let found = sqlx::query(
        "select b.address, b.variables, b.email_id
         from unnest($1::text[], $2::uuid[], $3::int[]) with ordinality as x(tenant, batch_id, row, n)
         left join lateral (
             select address, variables, email_id from mailer.batch_rows r
             where r.tenant = x.tenant and r.batch_id = x.batch_id and r.row = x.row and r.rejected is null limit 1) b
             on true
         order by x.n",
    )
    .bind(rows.iter().map(|(tenant, ..)| *tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, batch_id, _)| *batch_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., row)| *row as i32).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let read = |row: &PgRow| {
        let Some(address) = row.try_get::<Option<String>, _>(0)? else { return Ok(None) };
        Ok(Some(Adds { address, variables: row.try_get(1)?, email_id: row.try_get(2)? }))
    };
    found.iter().map(read).collect()
}

impl Mailer {
    async fn order_of_row(
        &self,
        cx: &mut Cx<'_>,
        command: SendBatchRow,
        row: Option<(Adds, Arc<SendBatch>)>,
        version: InUse,
    ) -> Result<Result<(Box<Order>, Option<(Made, Arc<Brand>)>), Events>, Fail> {
        let Some((adds, batch)) = row else {
            return Err(Fail::reject("not_found", "there is no such row, or it is no mail"));
        };
        let SendBatchRow { batch_id, row } = command;
        let Adds { address, variables: own, email_id } = adds;
        let mut variables: Map<String, Value> = batch.variables.clone();
        variables.extend(own.as_object().cloned().unwrap_or_default());
        let mut said = None;
        if let Some(template) = &batch.template {
            let wanted = Wanted { name: template, version: batch.version, unsubscribe_url: None };
            match self.said(cx, email_id, wanted, version, &variables, &batch.stream).await {
                Ok(words) => said = Some(words),
                Err(fail) => return refused(cx, email_id, Some((batch_id, row)), &[], fail).await.map(Err),
            }
        }
        let confidential = said.as_ref().is_some_and(|said| said.confidential);
        let template = said.as_ref().map(|said| said.template.clone());
        let made = said.as_ref().map(|said| (Made::of(said), said.brand.clone()));
        let (subject, body, html) = match said {
            Some(said) => (said.subject, said.text, said.html),
            None => {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                (text(&batch.subject), text(&batch.body), batch.html.clone())
            }
        };
        let email = SendEmail {
            to: vec![address],
            cc: vec![],
            bcc: vec![],
            from: batch.from.clone(),
            from_name: batch.from_name.clone(),
            reply_to: batch.reply_to.clone(),
            subject,
            body,
            html,
            headers: BTreeMap::new(),
            stream: batch.stream.clone(),
            attachments: vec![],
            send_at: None,
            send_at_local: None,
            time_zone: None,
            cancel_key: batch.cancel_key.clone(),
            when_uncertain: Uncertain::Hold,
            confidential,
        };
        let order = Order {
            email_id,
            email,
            template,
            begins: true,
            only: vec![],
            unheard: false,
            batch: Some((batch_id, row)),
        };
        Ok(Ok((Box::new(order), made)))
    }
}
