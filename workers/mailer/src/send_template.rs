//! Sends one mail that a template makes. From there on it is a mail like any other.

use std::collections::BTreeMap;

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::brand::Brand;
use omnibus_schemas::mailer::{SendEmail, SendTemplate, Uncertain};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Mailer;
use crate::content::{BUILT_IN_VERSION, ContentError, InUse, Rendered, Wanted, in_use};
use crate::delivery::{Dispatch, Order};

impl Dispatch for SendTemplate {
    const NAMES_EMAIL: bool = true;

    async fn order(self, mailer: &Mailer, cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        let email_id = cx.meta().id;
        let wanted = Wanted { name: &self.template, version: self.version, unsubscribe_url: None };
        let said = mailer.words(cx, email_id, wanted, &self.variables, &self.stream).await?;
        // Whoever waits for a code would rather have it twice than not at all.
        let resend = self.resend_uncertain.unwrap_or(said.confidential);
        let mut email = SendEmail {
            to: self.to,
            cc: self.cc,
            bcc: self.bcc,
            from: self.from,
            from_name: self.from_name,
            reply_to: self.reply_to,
            subject: said.subject,
            body: said.text,
            html: said.html,
            headers: BTreeMap::new(),
            stream: self.stream,
            attachments: self.attachments,
            send_at: self.send_at,
            send_at_local: self.send_at_local,
            time_zone: self.time_zone,
            cancel_key: self.cancel_key,
            when_uncertain: if resend { Uncertain::Resend } else { Uncertain::Hold },
            confidential: said.confidential,
        };
        let tenant = cx.tenant();
        mailer.or_their_brands(cx.db(), vec![(tenant, &mut email, &*said.brand)]).await?;
        Ok(Ok(Box::new(Order {
            email_id,
            email,
            template: Some(said.template),
            begins: true,
            only: vec![],
            unheard: false,
            batch: None,
        })))
    }
}

impl Mailer {
    /// What a template says, and a note of what it was made of, without what is confidential.
    pub(crate) async fn words(
        &self,
        cx: &mut Cx<'_>,
        email_id: Uuid,
        wanted: Wanted<'_>,
        variables: &Map<String, Value>,
        stream: &str,
    ) -> Result<Rendered, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        let in_use = in_use(cx.db(), &[(tenant, email_id, wanted.name)]).await?.pop().unwrap_or_default();
        let said = self.said(cx, email_id, wanted, in_use, variables, stream).await?;
        self.content.keep(cx.db(), tenant, email_id, &said, now).await?;
        Ok(said)
    }

    /// What a template says. Whoever calls keeps a note of what it was made of.
    pub(crate) async fn said(
        &self,
        cx: &mut Cx<'_>,
        email_id: Uuid,
        wanted: Wanted<'_>,
        in_use: InUse,
        variables: &Map<String, Value>,
        stream: &str,
    ) -> Result<Rendered, Fail> {
        let link = match self.is_marketing(cx, stream).await? {
            true => Some(self.links.unsubscribe(cx, email_id, 0).await?),
            false => None,
        };
        // A later attempt makes the same mail, whatever version is active by then.
        let version = in_use.before.or(wanted.version).or(in_use.active).unwrap_or(BUILT_IN_VERSION);
        let wanted = Wanted { unsubscribe_url: link.as_deref(), version: Some(version), ..wanted };
        let tenant = cx.tenant();
        self.content.render(cx.db(), tenant, &wanted, variables).await.map_err(|error| match error {
            ContentError::NoTemplate(words) => Fail::reject("no_such_template", words),
            ContentError::Faults(faults) => Fail::Invalid(faults),
            ContentError::Database(error) => error.into(),
        })
    }

    async fn is_marketing(&self, cx: &mut Cx<'_>, stream: &str) -> Result<bool, sqlx::Error> {
        // What these two are stands fast.
        if ["transactional", "marketing"].contains(&stream) {
            return Ok(stream == "marketing");
        }
        let kind: Option<String> =
            sqlx::query_scalar("select kind from mailer.streams where tenant = $1 and stream = $2")
                .bind(cx.tenant())
                .bind(stream)
                .fetch_optional(cx.db())
                .await?;
        Ok(kind.as_deref().unwrap_or(stream) == "marketing")
    }

    /// What these mails (tenant, mail, brand) do not say is their brand's to say: its sender, if its domain is one from
    /// which the tenant may send, else its name alone; and where answers go. Whoever names a sender speaks for itself.
    pub(crate) async fn or_their_brands(
        &self,
        db: &mut PgConnection,
        mails: Vec<(&str, &mut SendEmail, &Brand)>,
    ) -> Result<(), sqlx::Error> {
        let mut silent = Vec::with_capacity(mails.len());
        for (tenant, email, brand) in mails {
            if let (None, Some(sender)) = (&email.from, &brand.sender) {
                let domain = sender.email.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
                silent.push((tenant, domain, email, brand, sender));
            }
        }
        if silent.is_empty() {
            return Ok(());
        }
        let own: Vec<bool> = sqlx::query_scalar(
            "select exists (select from mailer.sender_domains d
                            where d.tenant = x.tenant and d.domain = x.domain and d.confirmed_at is not null)
             from unnest($1::text[], $2::text[]) with ordinality as x(tenant, domain, n) order by x.n",
        )
        .bind(silent.iter().map(|(tenant, ..)| *tenant).collect::<Vec<_>>())
        .bind(silent.iter().map(|(_, domain, ..)| domain.as_str()).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
        for ((_, _, email, brand, sender), own) in silent.into_iter().zip(own) {
            let shared = sender.email.parse().is_ok_and(|address| self.senders.everybodys(&address));
            email.from = (own || shared).then(|| sender.email.clone());
            let name = sender.name.as_ref().unwrap_or(&brand.name);
            email.from_name.get_or_insert_with(|| name.clone());
            email.reply_to = email.reply_to.take().or_else(|| sender.reply_to.clone());
        }
        Ok(())
    }
}
