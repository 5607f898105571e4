"""Publishes one email as a command, straight onto the bus, and prints where it was stored.

    publish.py              the body alone, without one header
    publish.py --envelope   with the envelope: an id of our own, so that a repetition is the same command
    publish.py --body TEXT  something else, right or wrong

OMNIBUS_HOME names the folder that `omnibus up` keeps (.omnibus by default), OMNIBUS_TENANT the tenant (demo).
"""

import argparse
import asyncio
import json
import uuid
from datetime import datetime, timezone

from bus import connect, tenant

BODY = {"to": ["test@example.com"], "subject": "Test", "body": "Hello"}


def envelope(command_id: str) -> dict[str, str]:
    """CloudEvents in binary mode: every attribute is a header, the body is the payload alone."""
    return {
        "ce-specversion": "1.0",
        "ce-id": command_id,
        "ce-type": "omnibus.mailer.send_email.v1",
        "ce-source": "examples/python",
        "ce-time": datetime.now(timezone.utc).isoformat(),
        "ce-tenant": tenant(),
        "Content-Type": "application/json",
        # The server drops a second message with this id inside its window, the worker's inbox for a month.
        "Nats-Msg-Id": command_id,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envelope", action="store_true", help="send the envelope's headers")
    parser.add_argument("--id", default=str(uuid.uuid4()), help="the command's id, with --envelope")
    parser.add_argument("--body", default=json.dumps(BODY), help="what to send, in place of an email")
    asked = parser.parse_args()

    client = await connect()
    try:
        subject = f"cmd.mailer.default.send_email.{tenant()}"
        # A request, not a bare publish: the answer says that the command is stored. From then on it will be decided.
        answer = await client.request(
            subject,
            asked.body.encode(),
            timeout=10,
            headers=envelope(asked.id) if asked.envelope else None,
        )
        stored = json.loads(answer.data)
        if "error" in stored:
            raise SystemExit(f"not stored: {stored['error']['description']}")
        told = {"stream": stored["stream"], "sequence": stored["seq"], "duplicate": stored.get("duplicate", False)}
        if asked.envelope:
            told["id"] = asked.id
        print(json.dumps(told), flush=True)
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
