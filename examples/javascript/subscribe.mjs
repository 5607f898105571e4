// Prints the tenant's events as they happen, one JSON object a line. Ctrl-C ends it.

import { pathToFileURL } from "node:url";
import { open, tenant } from "./bus.mjs";

/** The tenant's events, from now on; nothing of another's. */
export async function* events(client, subscribed = () => {}) {
  const subscription = client.subscribe(`evt.*.*.${tenant}`);
  await client.flush();
  subscribed();
  for await (const message of subscription) {
    const header = (name) => message.headers?.get(name) || undefined;
    yield {
      subject: message.subject,
      id: header("ce-id"),
      type: header("ce-type"),
      time: header("ce-time"),
      // Set on the one event that ends a command: succeeded, rejected, dead_lettered or held.
      outcome: header("ce-outcome"),
      // The command that caused it.
      causation: header("ce-causationid"),
      data: message.json(),
    };
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const client = await open();
  process.once("SIGINT", () => client.close());
  for await (const event of events(client)) console.log(JSON.stringify(event));
}
