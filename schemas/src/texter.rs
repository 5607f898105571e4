//! Texts by SMS: what the texter takes, says and answers.

mod codes;
mod consent;
mod costs;
mod fate;
mod hooks;
mod many;
mod send;

pub use codes::{
    CodeFailed, CodeSent, CodeVerified, FraudKind, FraudSuspected, SealCode, SealedCode, SendCode, VerifyCode,
};
pub use consent::{
    ClearQuietHours, ConsentChanged, ConsentState, Covers, DeleteOptOut, OptOut, OptOutList, OptOuts, PutOptOut,
    QuietHoursChanged, SetQuietHours,
};
pub use costs::{
    Budget, BudgetList, BudgetSet, Budgets, CostBooked, CostLine, CostReport, CostTotal, Costs, Estimate, EstimateSms,
    ProviderResumed, ProviderStopped, ResetFuse, ResumeProvider, SetBudget, SpendFuseReset, SpendFuseTripped,
};
pub use fate::{CheckMessage, NoteStatus, NoteTrouble, ReceiveSms, RetrySms, SmsReceived};
pub use hooks::{TwilioInbound, TwilioStatus};
pub use many::{
    BatchAccepted, BatchRow, DayStats, SendBatch, SendTemplate, SmsStats, SmsTemplate, SmsTemplates, StatsReport,
    TemplateList,
};
pub use send::{
    CancelSms, Category, SendSms, SmsEncoding, SmsFailed, SmsReport, SmsSent, SmsState, SmsStatus, SmsStatusChanged,
    SmsUncertain, WaitsAt, WaitsFor,
};

use uuid::Uuid;

use crate::catalogue::Domain;

const DOMAIN: &str = "texter";

/// The domain's catalogue.
pub fn domain() -> Domain {
    Domain::new(DOMAIN, "SMS")
        .command::<SetQuietHours>()
        .command::<ClearQuietHours>()
        .command::<SendSms>()
        .command::<SendTemplate>()
        .command::<SendBatch>()
        .command::<CancelSms>()
        .command::<SendCode>()
        .command::<VerifyCode>()
        .command::<PutOptOut>()
        .command::<DeleteOptOut>()
        .command::<SetBudget>()
        .command::<ResetFuse>()
        .command::<ResumeProvider>()
        .command::<NoteStatus>()
        .command::<NoteTrouble>()
        .command::<ReceiveSms>()
        .command::<CheckMessage>()
        .command::<RetrySms>()
        .event::<SmsSent>()
        .event::<SmsStatusChanged>()
        .event::<SmsFailed>()
        .event::<SmsUncertain>()
        .event::<SmsReceived>()
        .event::<BatchAccepted>()
        .event::<CodeSent>()
        .event::<CodeVerified>()
        .event::<CodeFailed>()
        .event::<FraudSuspected>()
        .event::<ConsentChanged>()
        .event::<QuietHoursChanged>()
        .event::<CostBooked>()
        .event::<BudgetSet>()
        .event::<SpendFuseTripped>()
        .event::<SpendFuseReset>()
        .event::<ProviderStopped>()
        .event::<ProviderResumed>()
        .query::<SmsStatus>()
        .query::<SmsTemplates>()
        .query::<SmsStats>()
        .query::<OptOuts>()
        .query::<Costs>()
        .query::<Budgets>()
        .query::<EstimateSms>()
        .query::<SealCode>()
        .hook::<TwilioStatus>()
        .hook::<TwilioInbound>()
}

fn a_message() -> Uuid {
    Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0005)
}

fn is_false(flag: &bool) -> bool {
    !*flag
}
