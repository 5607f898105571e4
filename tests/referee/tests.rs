//! A referee who lets everything pass is none.

use super::*;
use crate::shop::Charge;

const ACME: &str = "acme";

fn message(id: &str, cause: Uuid, outcome: Option<Outcome>) -> Message {
    let (tenant, causation) = (ACME.to_owned(), cause.to_string());
    Message { subject: "evt.shop.put_done.acme".into(), tenant, id: id.into(), causation, outcome, body: vec![] }
}

/// One put that went well and one charge that is held.
fn fair() -> (Vec<Sent>, Evidence) {
    let (put, charge) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let sent = |id, order| Sent { id, tenant: ACME.into(), order };
    let row = |id, outcome| Row { tenant: ACME.into(), id, outcome: Some(outcome), published: true };
    let evidence = Evidence {
        accepted: vec![message(&put.to_string(), Uuid::nil(), None), message(&charge.to_string(), Uuid::nil(), None)],
        events: vec![
            message("1/0", put, Some(Outcome::Succeeded)),
            message("2/0", charge, None),
            message("2/1", charge, Some(Outcome::Held)),
        ],
        rows: vec![row(put, Outcome::Succeeded), row(charge, Outcome::Held)],
        attempts: vec![Attempt { tenant: ACME.into(), id: charge, result: Some("held".into()) }],
        things: vec![(ACME.into(), put)],
        charges: vec![(ACME.into(), charge, "uncertain".into())],
        calls: [(charge, 1)].into(),
        ..Evidence::default()
    };
    let orders = vec![
        sent(put, Order::Put(Put { thing: "apple".into(), how: String::new() })),
        sent(
            charge,
            Order::Charge(Charge {
                thing: "pear".into(),
                how: "unknown".into(),
                reconcile: String::new(),
                resend: false,
            }),
        ),
    ];
    (orders, evidence)
}

#[test]
fn a_run_without_faults_is_counted() {
    let (sent, mut evidence) = fair();
    evidence.events.push(evidence.events[0].clone());
    let verdict = judge(&sent, 0, &evidence).unwrap();
    assert_eq!(verdict, Verdict { ended: [("held", 1), ("succeeded", 1)].into(), repeated: 1, calls: 1 });
}

#[test]
fn every_broken_promise_is_told() {
    type Break = fn(&mut Vec<Sent>, &mut Evidence);
    let breaks: [(&str, Break); 19] = [
        ("nothing was sent", |sent, _| sent.clear()),
        ("was accepted and is gone", |_, e| drop(e.accepted.pop())),
        ("nobody sent", |sent, _| drop(sent.pop())),
        ("two different messages under", |_, e| {
            e.events.push(Message { body: vec![1], ..e.events[0].clone() });
        }),
        ("has no one outcome", |_, e| drop(e.rows.pop())),
        ("has no one outcome", |_, e| e.rows.push(e.rows[0].clone())),
        ("has no one outcome", |_, e| e.rows[0].outcome = None),
        ("may end", |_, e| e.rows[0].outcome = Some(Outcome::Rejected)),
        ("was told to have []", |_, e| drop(e.events.remove(0))),
        ("was told to have [Succeeded, Succeeded]", |_, e| {
            e.events.push(Message { id: "1/1".into(), ..e.events[0].clone() });
        }),
        ("comes after its successor", |_, e| e.events.swap(1, 2)),
        ("has no cause", |_, e| e.events.push(message("3/0", Uuid::from_u128(3), None))),
        ("1 dead letters", |_, e| e.dead.push(message("1/9", Uuid::from_u128(1), None))),
        ("2 rows of things", |_, e| e.things.push(e.things[0].clone())),
        ("with the status [\"queued\"]", |_, e| e.charges[0].2 = "queued".into()),
        ("with 2 calls", |_, e| e.calls.extend([(Uuid::from_u128(2), 2)])),
        ("is open", |_, e| e.attempts[0].result = None),
        ("stands unpublished", |_, e| e.rows[0].published = false),
        ("are pending", |_, e| e.pending = 1),
    ];
    for (words, break_it) in breaks {
        let (mut sent, mut evidence) = fair();
        break_it(&mut sent, &mut evidence);
        let faults = judge(&sent, 0, &evidence).expect_err(words);
        assert!(faults.iter().any(|fault| fault.contains(words)), "{words} is not in {faults:#?}");
    }
}

/// As [`fair`], with a put that collides.
fn colliding() -> (Vec<Sent>, Evidence) {
    let (mut sent, evidence) = fair();
    sent[0].order = Order::Put(Put { thing: "apple".into(), how: "locks:1,2".into() });
    assert!(sent[0].order.collides() && !sent[1].order.collides());
    (sent, evidence)
}

#[test]
fn a_put_that_collides_is_counted_as_any_other() {
    let (sent, mut evidence) = colliding();
    assert_eq!(judge(&sent, 0, &evidence).unwrap().ended["succeeded"], 1);
    evidence.things.clear();
    let faults = judge(&sent, 0, &evidence).unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains("0 rows of things")), "{faults:#?}");
    evidence.things = vec![(ACME.into(), sent[0].id); 2];
    let faults = judge(&sent, 0, &evidence).unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains("2 rows of things")), "{faults:#?}");
}

#[test]
fn a_put_that_collides_may_use_up_its_attempts_only_where_faults_can_have_spent_them() {
    let (sent, mut evidence) = colliding();
    evidence.rows[0].outcome = Some(Outcome::DeadLettered);
    evidence.events[0].outcome = Some(Outcome::DeadLettered);
    evidence.dead.push(message("1/9", sent[0].id, None));
    evidence.things.clear();
    assert_eq!(judge(&sent, ATTEMPTS, &evidence).unwrap().ended["dead_lettered"], 1);
    let faults = judge(&sent, ATTEMPTS - 1, &evidence).unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains("may end")), "{faults:#?}");
}
