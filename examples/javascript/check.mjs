// Plays the example through: the same email three ways (bare NATS, NATS with the envelope, HTTP), and checks that each
// is answered by the same outcome. Needs OMNIBUS_URL and OMNIBUS_HOME.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { line, open } from "./bus.mjs";
import { body, publish } from "./publish.mjs";
import { events } from "./subscribe.mjs";

// Whatever does not come in time is an error, not a hang.
const tooLong = setTimeout(() => {
  console.error("error: no outcome within 60 s");
  process.exit(1);
}, 60_000);

const client = await open();
const told = [];
const waiting = new Set();
const listening = new Promise((subscribed, failed) => {
  (async () => {
    for await (const event of events(client, subscribed)) {
      told.push(event);
      for (const look of waiting) look();
    }
  })().catch(failed);
});
await listening;

/** The first event of this kind, past or to come. */
const event = (wanted) =>
  new Promise((found) => {
    const look = () => {
      const hit = told.find(wanted);
      if (hit) {
        waiting.delete(look);
        found(hit);
      }
    };
    waiting.add(look);
    look();
  });

// What must not depend on the way. Every email has an id and a Message-ID of its own.
const same = ({ email_id, message_id, ...rest }) => rest;

const stored = await publish(client);
assert.equal(stored.stream, "CMD_MAILER");
const bare = await event(({ type }) => type === "omnibus.mailer.email_sent.v1");
assert.equal(bare.outcome, "succeeded");
// Nobody gave the command an id: it has the one of its place on the bus.
assert.ok(bare.causation);
assert.equal(bare.causation, bare.data.email_id);
console.log(`bare publish, number ${stored.sequence}: ${bare.outcome}, caused by ${bare.causation}`);

const id = randomUUID();
const first = await publish(client, id);
assert.equal(first.duplicate, false);
// An event before the last has no outcome.
const ours = await event(({ causation, outcome }) => causation === id && outcome);
assert.equal(ours.outcome, "succeeded");
console.log(`with the envelope, number ${first.sequence}: ${ours.outcome}, caused by ${ours.causation}`);

const again = await publish(client, id);
assert.deepEqual([again.duplicate, again.sequence], [true, first.sequence]);
console.log("the same id again: the same command");

const answer = await fetch(`${process.env.OMNIBUS_URL}/api/v1/email/send`, {
  method: "POST",
  headers: {
    authorization: `Bearer ${line("demo-key")}`,
    "content-type": "application/json",
    prefer: "wait=20",
  },
  body: JSON.stringify(body),
});
assert.equal(answer.status, 200, `HTTP answered ${answer.status}`);
const door = await answer.json();
assert.deepEqual([door.outcome, door.event.type], [bare.outcome, bare.type]);
assert.deepEqual(same(door.event.data), same(bare.data));
assert.deepEqual(same(ours.data), same(bare.data));
assert.deepEqual(Object.keys(door.event.data).sort(), Object.keys(bare.data).sort());
console.log("over HTTP: the same outcome");

clearTimeout(tooLong);
await client.close();
