"""How a tenant connects: its nkey, and an inbox that is its own."""

import os
import sys
from pathlib import Path

import nats
from nats.aio.client import Client


def home() -> Path:
    """Where `omnibus up` keeps its data."""
    return Path(os.environ.get("OMNIBUS_HOME", ".omnibus"))


def tenant() -> str:
    """Whose commands and events these are: the last word of every subject."""
    return os.environ.get("OMNIBUS_TENANT", "demo")


async def refused(error: Exception) -> None:
    """A permission that is missing comes as an error of the connection, so it is shown rather than waited for."""
    print(f"bus: {error}", file=sys.stderr, flush=True)


async def connect() -> Client:
    """Connects as the tenant's bus user."""
    url = os.environ.get("NATS_URL") or (home() / "nats.url").read_text().strip()
    seed = (home() / "creds" / f"tenant_{tenant()}.nk").read_text().strip()
    return await nats.connect(
        url,
        nkeys_seed_str=seed,
        # Answers come to an inbox that no other user may listen to; the common prefix is refused.
        inbox_prefix=f"_INBOX_tenant_{tenant()}".encode(),
        error_cb=refused,
        max_reconnect_attempts=5,
    )
