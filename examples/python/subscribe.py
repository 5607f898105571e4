"""Prints the tenant's events as they happen, one JSON object a line.

    subscribe.py [--count N] [--seconds S]

Ends after N events (never by default), or with status 1 if they have not come within S seconds. Prints `listening` on
standard error once it would miss nothing.
"""

import argparse
import asyncio
import json
import sys

import msgpack
from bus import connect, tenant
from nats.aio.msg import Msg


def decoded(message: Msg) -> dict:
    """Events are JSON; whoever writes MessagePack says so in Content-Type."""
    headers = message.headers or {}
    if headers.get("Content-Type") == "application/msgpack":
        data = msgpack.unpackb(message.data)
    else:
        data = json.loads(message.data)
    return {
        "subject": message.subject,
        "id": headers.get("ce-id"),
        "type": headers.get("ce-type"),
        "time": headers.get("ce-time"),
        # Set on the one event that ends a command: succeeded, rejected, dead_lettered or held.
        "outcome": headers.get("ce-outcome"),
        # The command that caused it.
        "causation": headers.get("ce-causationid"),
        "data": data,
    }


async def events(count: int | None) -> None:
    client = await connect()
    try:
        # evt.<domain>.<event>.<tenant>: everything of this tenant, and nothing of another.
        subscription = await client.subscribe(f"evt.*.*.{tenant()}")
        await client.flush()
        print("listening", file=sys.stderr, flush=True)
        seen = 0
        async for message in subscription.messages:
            print(json.dumps(decoded(message)), flush=True)
            seen += 1
            if seen == count:
                return
    finally:
        await client.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="end after so many events")
    parser.add_argument("--seconds", type=float, help="give up after so many seconds")
    asked = parser.parse_args()
    try:
        await asyncio.wait_for(events(asked.count), asked.seconds)
    except asyncio.TimeoutError:
        raise SystemExit(f"fewer than {asked.count} events within {asked.seconds:g} s") from None


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
