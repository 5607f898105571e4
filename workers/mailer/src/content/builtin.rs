//! The templates that everybody has. A tenant's own of the same name takes the place of one.

use omnibus_templates::{Field, FieldKind, Kind, Source, Variable};
use serde_json::json;

/// One of them, as it is written.
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) text: &'static str,
    pub(crate) html: &'static str,
    pub(crate) variables: fn() -> Vec<Variable>,
}

impl BuiltIn {
    pub(crate) fn source(&self) -> Source {
        Source {
            subject: Some(self.subject.trim_end().to_owned()),
            text: self.text.to_owned(),
            html: Some(self.html.to_owned()),
        }
    }
}

macro_rules! built_in {
    ($name:literal, $summary:literal, $variables:expr) => {
        BuiltIn {
            name: $name,
            summary: $summary,
            subject: include_str!(concat!("templates/", $name, "/subject.hbs")),
            text: include_str!(concat!("templates/", $name, "/text.hbs")),
            html: include_str!(concat!("templates/", $name, "/html.hbs")),
            variables: $variables,
        }
    };
}

/// All of them.
pub(crate) const BUILT_IN: [BuiltIn; 8] = [
    built_in!("welcome", "Greets somebody who has just signed up.", || {
        vec![
            name(),
            Variable::new("action_url", Kind::Url, "Where the button leads.")
                .example("https://northwind.example/start"),
            label(),
            Variable::new("message", Kind::Text, "What else there is to say.")
                .optional()
                .max_len(2000)
                .example("Your first order ships free of charge until the end of the month."),
        ]
    }),
    built_in!("password_reset", "Lets somebody choose a new password.", || {
        vec![
            name(),
            Variable::new("reset_url", Kind::Url, "The link that lets them choose one.")
                .confidential()
                .example("https://northwind.example/reset/9f3c1a"),
            minutes(),
            requested_from(),
        ]
    }),
    built_in!("invoice", "Shows what is to be paid, line by line.", || {
        vec![
            name(),
            Variable::new("number", Kind::Text, "The invoice's number.").max_len(60).example("2026-0117"),
            Variable::new("issued_on", Kind::Date, "Its date.").example("2026-03-31"),
            Variable::new("due_on", Kind::Date, "Until when it is to be paid.").optional().example("2026-04-14"),
            Variable::new("lines", Kind::List, "What it is for.")
                .fields(vec![
                    Field::new("description", FieldKind::Text, "What it is."),
                    Field::new("quantity", FieldKind::Integer, "How many.").optional(),
                    Field::new("amount", FieldKind::Money, "What the line comes to."),
                ])
                .example(json!([
                    { "description": "House blend, 1 kg", "quantity": 4, "amount": { "amount": 9600, "currency": "EUR" } },
                    { "description": "Delivery", "quantity": 1, "amount": { "amount": 590, "currency": "EUR" } },
                ])),
            Variable::new("tax", Kind::Money, "The tax in it.")
                .optional()
                .example(json!({ "amount": 1936, "currency": "EUR" })),
            Variable::new("total", Kind::Money, "What is to be paid.")
                .example(json!({ "amount": 12126, "currency": "EUR" })),
            Variable::new("pay_url", Kind::Url, "Where it is paid.")
                .optional()
                .example("https://northwind.example/pay/2026-0117"),
            Variable::new("note", Kind::Text, "What else there is to say.")
                .optional()
                .max_len(2000)
                .example("Bank transfer: DE00 0000 0000 0000 0000 00\nPlease name the invoice's number."),
        ]
    }),
    built_in!("notification", "Says one thing.", || {
        vec![
            title().example("Your parcel is on its way"),
            Variable::new("message", Kind::Text, "What there is to say.")
                .max_len(10_000)
                .example("It left our warehouse this morning.\nExpect it on Thursday."),
            Variable::new("action_url", Kind::Url, "Where the button leads; without it there is none.")
                .optional()
                .example("https://northwind.example/parcels/88"),
            label().example("Follow it"),
        ]
    }),
    built_in!("two_factor", "Carries a one-time code to sign in with.", || {
        vec![Variable::new("code", Kind::Code, "The code.").example("418-207"), minutes(), requested_from()]
    }),
    built_in!("subscription", "Tells of a subscription that was started, renewed, changed or ended.", || {
        vec![
            name(),
            Variable::new("plan", Kind::Text, "The plan's name.").max_len(60).example("Monthly Roast"),
            Variable::new("change", Kind::Text, "What was done: started, renewed, changed, paused, ended.")
                .max_len(40)
                .example("renewed"),
            Variable::new("price", Kind::Money, "What it costs.")
                .optional()
                .example(json!({ "amount": 2400, "currency": "EUR" })),
            Variable::new("period", Kind::Text, "For how long: a month.").optional().max_len(40).example("a month"),
            Variable::new("renews_on", Kind::Date, "When it is renewed.").optional().example("2026-04-30"),
            Variable::new("ends_on", Kind::Date, "When it ends.").optional(),
            Variable::new("manage_url", Kind::Url, "Where it is seen and changed.")
                .optional()
                .example("https://northwind.example/subscription"),
        ]
    }),
    built_in!("alert", "Says that something needs attention.", || {
        vec![
            title().example("Checkout answers slowly"),
            Variable::new("severity", Kind::Text, "How bad it is, in a word.").max_len(30).example("Critical"),
            Variable::new("message", Kind::Text, "What is wrong and what to do.").max_len(10_000).example(
                "The 99th percentile has been above 2 s for 10 minutes.\nThe last release was rolled out at 13:48 UTC.",
            ),
            Variable::new("occurred_at", Kind::Time, "When it began.").example("2026-03-31T13:52:00Z"),
            Variable::new("source", Kind::Text, "What it is about: a host, a service.")
                .optional()
                .max_len(200)
                .example("checkout, eu-west"),
            Variable::new("details_url", Kind::Url, "Where there is more.")
                .optional()
                .example("https://status.northwind.example/incidents/12"),
        ]
    }),
    built_in!("report", "Lists the figures of a period.", || {
        vec![
            title().example("Weekly sales"),
            Variable::new("period", Kind::Text, "Which period.").max_len(100).example("23 to 29 March 2026"),
            Variable::new("summary", Kind::Text, "What they say, in words.")
                .optional()
                .max_len(4000)
                .example("A good week: the new blend sold out on Friday."),
            Variable::new("figures", Kind::List, "The figures.")
                .fields(vec![
                    Field::new("label", FieldKind::Text, "What it counts."),
                    Field::new("value", FieldKind::Text, "The figure, as it is to be shown."),
                    Field::new("change", FieldKind::Text, "Against the period before.").optional(),
                ])
                .example(json!([
                    { "label": "Orders", "value": "1,284", "change": "+12 %" },
                    { "label": "Revenue", "value": "EUR 31,870.50", "change": "+9 %" },
                    { "label": "Returned", "value": "17" },
                ])),
            Variable::new("report_url", Kind::Url, "Where the whole report is.")
                .optional()
                .example("https://northwind.example/reports/2026-13"),
        ]
    }),
];

fn name() -> Variable {
    Variable::new("name", Kind::Text, "Whom it greets.").optional().max_len(100).example("Ada")
}

fn title() -> Variable {
    Variable::new("title", Kind::Text, "The subject and the heading.").max_len(150)
}

fn label() -> Variable {
    Variable::new("action_label", Kind::Text, "What the button says.").optional().max_len(40).example("Get started")
}

fn minutes() -> Variable {
    Variable::new("expires_in_minutes", Kind::Integer, "For how many minutes it works.").optional().example(15)
}

fn requested_from() -> Variable {
    Variable::new("requested_from", Kind::Text, "From where it was asked for: a device, a town.")
        .optional()
        .max_len(200)
        .example("Firefox on Linux, near Bristol")
}
