// Publishes one email as a command, straight onto the bus, and tells where it was stored.
//
//   node publish.mjs               the body alone, without one header
//   node publish.mjs --envelope    with the envelope: an id of our own, so that a repetition is the same command

import { randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";
import { headers } from "@nats-io/transport-node";
import { open, tenant } from "./bus.mjs";

export const body = { to: ["test@example.com"], subject: "Test", body: "Hello" };

/** CloudEvents in binary mode: every attribute is a header, the body is the payload alone. */
export function envelope(id) {
  const all = headers();
  all.set("ce-specversion", "1.0");
  all.set("ce-id", id);
  all.set("ce-type", "omnibus.mailer.send_email.v1");
  all.set("ce-source", "examples/javascript");
  all.set("ce-time", new Date().toISOString());
  all.set("ce-tenant", tenant);
  all.set("Content-Type", "application/json");
  // The server drops a second message with this id inside its window, the worker's inbox for a month.
  all.set("Nats-Msg-Id", id);
  return all;
}

/** Resolves once the command is stored: from then on it will be decided. */
export async function publish(client, id) {
  const options = { timeout: 10_000, ...(id && { headers: envelope(id) }) };
  // A request, not a bare publish: the answer is the stream's.
  const answer = await client.request(`cmd.mailer.default.send_email.${tenant}`, JSON.stringify(body), options);
  const { error, stream, seq, duplicate = false } = answer.json();
  if (error) throw new Error(`not stored: ${error.description}`);
  return { stream, sequence: seq, duplicate, ...(id && { id }) };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const client = await open();
  console.log(JSON.stringify(await publish(client, process.argv.includes("--envelope") ? randomUUID() : undefined)));
  await client.close();
}
