//! A tenant's own templates: saved, activated, deleted, shown, tried on what was sent; each tenant by itself.

use std::collections::BTreeMap;

use omnibus_mailer::content::{Brands, Content, Wanted};
use omnibus_mailer::worker;
use omnibus_runtime::testing::{Running, Stage};
use omnibus_schemas::brand::Brand;
use omnibus_schemas::mailer::{
    ActivateTemplate, DeleteTemplate, OneTemplate, Origin, Preview, PreviewTemplate, ReplayTemplate, SaveTemplate,
    TemplateDraft, Templates,
};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::template::{Field, FieldKind, Kind, Variable};
use omnibus_schemas::{Catalogue, Command, Query};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::folder_settings;

async fn start() -> (Stage, Running, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new(Catalogue::omnibus()).await;
    let running = stage.run(worker(folder_settings(dir.path())).unwrap()).await;
    (stage, running, dir)
}

fn welcome(subject: &str) -> SaveTemplate {
    SaveTemplate {
        subject: subject.into(),
        text: "Hello {{name}}".into(),
        html: Some("<h1>Hello {{name}}</h1>".into()),
        variables: vec![Variable::new("name", Kind::Text, "Whom it greets.")],
        ..SaveTemplate::example()
    }
}

fn preview(name: &str) -> PreviewTemplate {
    PreviewTemplate { name: name.into(), variables: None, ..PreviewTemplate::example() }
}

async fn shown(stage: &Stage, tenant: &str, query: &PreviewTemplate) -> Result<Preview, (u16, String)> {
    stage.ask("mailer", tenant, query).await
}

fn variables(value: Value) -> Option<BTreeMap<String, Value>> {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_saved_template_takes_the_place_of_the_one_that_everybody_has_for_its_tenant_alone() {
    let (stage, running, _dir) = start().await;
    let id = stage.publish("acme", &welcome("Good day, {{name}}")).await;
    let saved = stage.outcome(id).await;
    assert_eq!((saved.name.as_str(), saved.outcome), ("template_saved", Some(Outcome::Succeeded)));
    assert_eq!(saved.data, json!({ "name": "welcome", "version": 1, "active": true, "revision": 1 }));

    let mut query = preview("welcome");
    query.variables = variables(json!({ "name": "<Ada>" }));
    let acme = shown(&stage, "acme", &query).await.unwrap();
    assert_eq!((acme.subject.as_str(), acme.version), ("Good day, <Ada>", Some(1)));
    assert!(acme.html.unwrap().contains(">Hello &lt;Ada&gt;</h1>") && acme.text.starts_with("Hello <Ada>\n\n--\nacme"));
    let globex = shown(&stage, "globex", &preview("welcome")).await.unwrap();
    assert_eq!((globex.subject.as_str(), globex.version), ("Welcome to globex, Ada", Some(0)));

    // The same command once more is the same version.
    stage.publish_as(id, "acme", &welcome("Good day, {{name}}")).await;
    let second = stage.publish("acme", &welcome("Hi {{name}}")).await;
    assert_eq!(stage.outcome(second).await.data["version"], 2);

    let list = stage.ask("mailer", "acme", &Templates::example()).await.unwrap().templates;
    let own: Vec<_> = list.iter().filter(|t| t.origin == Origin::Own).map(|t| (t.name.as_str(), t.version)).collect();
    assert_eq!((list.len(), own), (8, vec![("welcome", 2)]));
    let list = stage.ask("mailer", "globex", &Templates::example()).await.unwrap().templates;
    assert!(list.len() == 8 && list.iter().all(|t| t.origin == Origin::BuiltIn && !t.variables.is_empty()));
    let foreign = OneTemplate { name: "welcome".into(), version: Some(1) };
    assert_eq!(stage.ask("mailer", "globex", &foreign).await.unwrap_err().0, 404);
    running.stop().await;
}

/// The version that acme's next welcome would be made by.
async fn in_use(stage: &Stage) -> u32 {
    shown(stage, "acme", &preview("welcome")).await.unwrap().version.unwrap()
}

#[tokio::test]
async fn versions_are_activated_rolled_back_and_put_out_of_use() {
    let (stage, running, _dir) = start().await;
    let done = async |id: Uuid| stage.outcome(id).await.data;
    done(stage.publish("acme", &welcome("One, {{name}}")).await).await;
    let draft = SaveTemplate { activate: false, ..welcome("Two, {{name}}") };
    assert_eq!(done(stage.publish("acme", &draft).await).await["active"], false);
    assert_eq!(in_use(&stage).await, 1);

    let activate = |version| ActivateTemplate { name: "welcome".into(), version };
    let data = done(stage.publish("acme", &activate(2)).await).await;
    assert_eq!(data, json!({ "name": "welcome", "version": 2, "before": 1, "revision": 3 }));
    assert_eq!(in_use(&stage).await, 2);
    done(stage.publish("acme", &activate(1)).await).await;
    assert_eq!(in_use(&stage).await, 1);

    let page = stage.ask("mailer", "acme", &OneTemplate { name: "welcome".into(), version: Some(2) }).await.unwrap();
    assert_eq!((page.version, page.active, page.subject.as_str()), (2, Some(1), "Two, {{name}}"));
    assert_eq!(page.html.as_deref(), Some("<h1>Hello {{name}}</h1>"));
    assert_eq!(page.versions.iter().map(|v| v.version).collect::<Vec<_>>(), [2, 1]);

    let delete = DeleteTemplate { name: "welcome".into() };
    let data = done(stage.publish("acme", &delete).await).await;
    assert_eq!(data, json!({ "name": "welcome", "built_in": true, "revision": 5 }));
    assert_eq!(in_use(&stage).await, 0);
    // What was sent by a version can still be said, and it can come back.
    assert!(stage.ask("mailer", "acme", &OneTemplate { name: "welcome".into(), version: Some(1) }).await.is_ok());
    done(stage.publish("acme", &activate(2)).await).await;
    assert_eq!(in_use(&stage).await, 2);

    for (id, code) in [
        (stage.publish("acme", &activate(3)).await, "no_such_version"),
        (stage.publish("globex", &activate(1)).await, "no_such_template"),
        (stage.publish("globex", &delete).await, "no_such_template"),
    ] {
        let rejected = stage.outcome(id).await;
        assert_eq!((rejected.outcome, &rejected.data["code"]), (Some(Outcome::Rejected), &json!(code)));
    }
    assert_eq!(in_use(&stage).await, 2);
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_template_is_rejected_field_by_field_and_changes_nothing() {
    let (stage, running, _dir) = start().await;
    let with = |change: &dyn Fn(&mut SaveTemplate)| {
        let mut template = welcome("Hi {{name}}");
        change(&mut template);
        template
    };
    for (template, pointer, words) in [
        (with(&|t| t.text = "Hi\n {{nmae}}".into()), "/text", "line 2, column 2: nmae is not declared; declared: name"),
        (with(&|t| t.subject = "Hi {{{name}}}".into()), "/subject", "every value is escaped"),
        (with(&|t| t.subject = "Hi\r\nBcc: x@example.com".into()), "/subject", "one line"),
        (with(&|t| t.html = Some("<p>{{> layout}}</p>".into())), "/html", "partials"),
        (with(&|t| t.html = Some("<p>{{lookup name 0}}</p>".into())), "/html", "functions"),
        (with(&|t| t.html = Some("<a href=\"{{name}}\">x</a>".into())), "/html", "kind url"),
        (with(&|t| t.html = Some("<script>x</script>".into())), "/html", "<script> is not allowed"),
        (with(&|t| t.html = Some("<style>p { color: {{name}} }</style>".into())), "/html", "in a style"),
        (with(&|t| t.text = "{{#if name}}".repeat(200)), "/text", "more than 6 blocks"),
        (with(&|t| t.variables.push(Variable::new("brand", Kind::Text, ""))), "/variables/1/name", "brand: is there"),
        (with(&|t| t.variables.push(Variable::new("rows", Kind::List, ""))), "/variables/1/fields", "rows: a list"),
        (with(&|t| t.variables[0].doc = "x".repeat(500)), "", ""),
    ] {
        let id = stage.publish("acme", &template).await;
        let outcome = stage.outcome(id).await;
        if pointer.is_empty() {
            assert_eq!(outcome.outcome, Some(Outcome::Succeeded));
            continue;
        }
        assert_eq!((outcome.outcome, &outcome.data["code"]), (Some(Outcome::Rejected), &json!("invalid")), "{words}");
        let fault = &outcome.data["faults"][0];
        assert_eq!(fault["pointer"], pointer, "{fault}");
        assert!(fault["reason"].as_str().unwrap().contains(words), "{fault}");
    }
    let page = stage.ask("mailer", "acme", &OneTemplate { name: "welcome".into(), version: None }).await.unwrap();
    assert_eq!((page.version, page.versions.len()), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn a_preview_names_every_variable_that_is_missing_unknown_or_unfit() {
    let (stage, running, _dir) = start().await;
    let mut query = preview("invoice");
    query.variables = variables(json!({ "number": 7, "isued_on": "2026-03-31", "lines": [{ "amount": 5 }] }));
    let (code, words) = shown(&stage, "acme", &query).await.unwrap_err();
    assert_eq!(code, 422);
    for fault in [
        "/variables/isued_on: is no variable of this template",
        "/variables/number: must be text",
        "/variables/issued_on: missing",
        "/variables/lines/0/description: missing",
        "/variables/lines/0/amount: must be an object",
        "/variables/total: missing",
    ] {
        assert!(words.contains(fault), "{fault}: {words}");
    }
    assert_eq!(shown(&stage, "acme", &preview("no_such")).await.unwrap_err().0, 404);
    let missing = PreviewTemplate { version: Some(9), ..preview("welcome") };
    assert_eq!(
        shown(&stage, "acme", &missing).await.unwrap_err(),
        (404, "the template welcome has no version 9".into())
    );

    let shown_code = shown(&stage, "acme", &preview("two_factor")).await.unwrap();
    assert_eq!(shown_code.confidential, ["code"]);
    running.stop().await;
}

#[tokio::test]
async fn a_draft_in_a_draft_of_a_brand_is_shown_and_saves_nothing() {
    let (stage, running, _dir) = start().await;
    let draft = TemplateDraft {
        subject: "{{brand.name}} says hi to {{who}}".into(),
        text: "Hi {{who}}".into(),
        html: Some("<h1>Hi {{who}}</h1>".into()),
        variables: vec![Variable::new("who", Kind::Text, "")],
    };
    let query = PreviewTemplate { draft: Some(draft.clone()), brand: Some(Brand::example()), ..preview("brand_new") };
    let preview = shown(&stage, "acme", &query).await.unwrap();
    assert_eq!((preview.subject.as_str(), preview.version), ("Northwind Coffee says hi to who", None));
    assert!(preview.html.unwrap().contains("#fdba74"));
    let broken = TemplateDraft { html: Some("<p>{{whom}}</p>".into()), ..draft };
    let query = PreviewTemplate { draft: Some(broken), ..query };
    let (code, words) = shown(&stage, "acme", &query).await.unwrap_err();
    assert!(code == 422 && words.starts_with("/draft/html: line 1, column 4: whom is not declared"), "{words}");
    let templates: i64 =
        sqlx::query_scalar("select count(*) from mailer.templates").fetch_one(&stage.db).await.unwrap();
    assert_eq!(templates, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_mail_that_fits_into_no_answer_is_said_to_be_too_large() {
    let (stage, running, _dir) = start().await;
    let row = "{{#each rows}}{{what}}{{/each}}";
    let draft = TemplateDraft {
        subject: "Large".into(),
        text: row.into(),
        html: Some(format!("<p>{row}</p>")),
        variables: vec![Variable::new("rows", Kind::List, "").fields(vec![Field::new("what", FieldKind::Text, "")])],
    };
    let rows = vec![json!({ "what": "x".repeat(1000) }); 100];
    let mut query = PreviewTemplate { draft: Some(draft.clone()), ..preview("large") };
    query.variables = variables(json!({ "rows": rows }));
    assert_eq!(shown(&stage, "acme", &query).await.unwrap().text.len(), 100_000 + "\n\n--\nacme\n".len());
    let draft =
        TemplateDraft { text: row.repeat(5).trim().into(), html: Some(format!("<p>{}</p>", row.repeat(5))), ..draft };
    query.draft = Some(draft);
    let (code, words) = shown(&stage, "acme", &query).await.map(|preview| preview.text.len()).unwrap_err();
    assert!(code == 422 && words.contains("too large to be shown"), "{words}");
    running.stop().await;
}

#[tokio::test]
async fn templates_are_listed_page_by_page() {
    let (stage, running, _dir) = start().await;
    for name in ["zebra", "aardvark"] {
        let id = stage.publish("acme", &SaveTemplate { name: name.into(), ..welcome("Hi {{name}}") }).await;
        stage.outcome(id).await;
    }
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = stage.ask("mailer", "acme", &Templates { after, limit: 3 }).await.unwrap();
        assert!(page.templates.len() <= 3);
        names.extend(page.templates.into_iter().map(|template| template.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names.len(), 10);
    assert!(names.is_sorted() && names[0] == "aardvark" && names[9] == "zebra", "{names:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_was_sent_is_rendered_by_a_new_version_without_being_sent_or_told() {
    let (stage, running, _dir) = start().await;
    let mut content = Content::new().unwrap();
    content.brands = Brands::of_these([]);
    let mut db = stage.db.acquire().await.unwrap();
    let mut ids = Vec::new();
    for (tenant, minutes) in [("acme", json!(10)), ("acme", Value::Null), ("globex", json!(5))] {
        let values = json!({ "code": "918273", "requested_from": "Bristol", "expires_in_minutes": minutes });
        let wanted = Wanted { name: "two_factor", ..Wanted::default() };
        let rendered = content.render(&mut db, tenant, &wanted, values.as_object().unwrap()).await.unwrap();
        assert!(rendered.text.contains("918273") && rendered.confidential);
        assert!(!serde_json::to_string(&rendered.keepable).unwrap().contains("918273"));
        let id = Uuid::from_u128(ids.len() as u128 + 1);
        let at = format!("2026-03-0{}T00:00:00Z", ids.len() + 1).parse().unwrap();
        content.keep(&mut db, tenant, id, &rendered, at).await.unwrap();
        content.keep(&mut db, tenant, id, &rendered, at).await.unwrap();
        ids.push(id);
    }
    let draft = TemplateDraft {
        subject: "{{code}} is your code".into(),
        text: "For {{requested_from}}, {{expires_in_minutes}} minutes".into(),
        html: Some("<p>{{code}}</p>".into()),
        variables: vec![
            Variable::new("code", Kind::Code, ""),
            Variable::new("requested_from", Kind::Text, ""),
            Variable::new("expires_in_minutes", Kind::Integer, ""),
        ],
    };
    let query =
        ReplayTemplate { name: "two_factor".into(), version: None, draft: Some(draft), ..ReplayTemplate::example() };
    let replay = stage.ask("mailer", "acme", &query).await.unwrap();
    assert_eq!((replay.rendered, replay.failed, replay.version), (1, 1, None));
    let mails: Vec<_> = replay.mails.iter().map(|mail| (mail.email_id, mail.sent_by_version)).collect();
    assert_eq!(mails, [(ids[1], 0), (ids[0], 0)]);
    assert_eq!(replay.mails[0].faults[0].to_string(), "/variables/expires_in_minutes: missing: must be a whole number");
    assert_eq!(replay.mails[1].subject.as_deref(), Some("[not kept] is your code"));
    assert_eq!(replay.mails[1].text, None);

    let one = ReplayTemplate { email_id: Some(ids[0]), ..query.clone() };
    let mail = stage.ask("mailer", "acme", &one).await.unwrap().mails.remove(0);
    assert!(mail.text.unwrap().starts_with("For Bristol, 10 minutes") && mail.html.unwrap().contains("[not kept]"));
    assert_eq!(stage.ask("mailer", "globex", &one).await.unwrap_err().0, 404);
    let later = ReplayTemplate { since: Some("2026-03-02T00:00:00Z".parse().unwrap()), ..query };
    assert_eq!(stage.ask("mailer", "acme", &later).await.unwrap().mails.len(), 1);
    assert!(stage.told().is_empty());
    running.stop().await;
}
