// How a tenant connects: its nkey, and an inbox that is its own.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

/** Where `omnibus up` keeps its data. */
export const home = process.env.OMNIBUS_HOME ?? ".omnibus";

/** Whose commands and events these are: the last word of every subject. */
export const tenant = process.env.OMNIBUS_TENANT ?? "demo";

/** The one line of a file in the home folder. */
export const line = (...path) => readFileSync(join(home, ...path), "utf8").trim();

/** Connects as the tenant's bus user. */
export const open = () =>
  connect({
    servers: process.env.NATS_URL ?? line("nats.url"),
    authenticator: nkeyAuthenticator(new TextEncoder().encode(line("creds", `tenant_${tenant}.nk`))),
    // Answers come to an inbox that no other user may listen to; the common prefix is refused.
    inboxPrefix: `_INBOX_tenant_${tenant}`,
    maxReconnectAttempts: 5,
  });
