//! A text that came in: told, and if it is one of the words, done.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::consent::{ConsentSource, Covers};
use omnibus_schemas::texter::{Category, ReceiveSms, SendSms, SmsReceived, WaitsAt};

use crate::consent::{self, Change};
use crate::words::{self, Word};
use crate::{Texter, ledger, number, replies};

impl Handle<ReceiveSms> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ReceiveSms) -> Result<Events, Fail> {
        let of = if cmd.word_only { "word" } else { "inbound" };
        let parts = [of, cx.tenant(), &cmd.provider_id, &cmd.from, &cmd.to, &cmd.body];
        if !self.secret.is_proof(&parts, &cmd.proof) {
            return Err(Fail::reject("forged", "only the texter's webhook writes this command"));
        }
        let meaning = words::meaning(&cmd.body);
        let mut events = Events::none();
        if let Some((word, _)) = meaning {
            events = events.join(self.obey(cx, word, &cmd).await?);
        }
        if cmd.word_only {
            return Ok(events);
        }
        let day = cx.now().date_naive();
        let country = number::read("/from", &cmd.from, None).map(|number| number.country).unwrap_or_default();
        ledger::count(cx, day, &country, "received", 1).await?;
        let reply = cx.follow_up_id(&events);
        if let Some((word, language)) = meaning.filter(|_| self.settings.sms_replies && !cmd.answered)
            && replies::is_due(cx, &cmd.from, word, reply).await?
        {
            events = events.then(SendSms {
                to: cmd.from.clone(),
                country: None,
                body: words::answer(word, language).to_owned(),
                // A service's number is none of the senders by itself.
                from: Some(cmd.to.clone()).filter(|to| self.providers.iter().any(|p| p.senders().contains(to))),
                category: Category::Urgent,
                smart_encoding: false,
                timezone: None,
                send_at: None,
                waits_at: WaitsAt::Here,
            });
        }
        Ok(events.and(SmsReceived {
            provider_id: cmd.provider_id,
            from: cmd.from,
            to: cmd.to,
            body: cmd.body,
            word: meaning.map(|(word, _)| word.as_str().to_owned()),
        }))
    }
}

impl Texter {
    /// The sender's word holds for the number it was written to, and, where that is one of several of a service, for the
    /// service.
    async fn obey(&self, cx: &mut Cx<'_>, word: Word, cmd: &ReceiveSms) -> Result<Events, Fail> {
        let services = self.providers.iter().flat_map(|provider| provider.senders());
        let services = services.filter(|sender| sender.starts_with("MG")).map(String::as_str);
        let mut events = Events::none();
        for sender in std::iter::once(cmd.to.as_str()).chain(services) {
            let change = Change { recipient: &cmd.from, sender, covers: Covers::All, source: ConsentSource::Word };
            events = events.join(match word {
                Word::Stop => consent::opt_out(cx, change).await?,
                Word::Start => consent::opt_in(cx, change).await?,
                Word::Help => Events::none(),
            });
        }
        if word == Word::Start {
            // Whoever writes START wants to hear from us, whatever the reason they did not.
            let change = Change { recipient: &cmd.from, sender: "", covers: Covers::All, source: ConsentSource::Word };
            events = events.join(consent::opt_in(cx, change).await?);
        }
        Ok(events)
    }
}
