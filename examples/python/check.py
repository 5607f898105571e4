"""Plays the example through: the same email three ways (bare NATS, NATS with the envelope, HTTP), and checks that each
is answered by the same outcome. Needs OMNIBUS_URL and OMNIBUS_HOME."""

import json
import os
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path

from bus import home
from publish import BODY

HERE = Path(__file__).parent


def run(program: str, *arguments: str) -> dict:
    ran = subprocess.run([sys.executable, HERE / program, *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(ran.stdout)


def over_nats(*arguments: str) -> tuple[dict, dict]:
    """What the publisher was answered, and the last of the two events that follow: queued, then sent."""
    listener = subprocess.Popen(
        [sys.executable, HERE / "subscribe.py", "--count", "2", "--seconds", "30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = listener.stderr.readline().strip()
        if said != "listening":
            raise SystemExit(f"subscribe.py: {said} {listener.stderr.read()}")
        stored = run("publish.py", *arguments)
        told, trouble = listener.communicate(timeout=40)
        if listener.returncode != 0:
            raise SystemExit(f"subscribe.py: {trouble.strip()}")
        return stored, json.loads(told.splitlines()[-1])
    finally:
        listener.kill()
        listener.wait()


def over_http() -> dict:
    request = urllib.request.Request(
        os.environ["OMNIBUS_URL"] + "/api/v1/email/send",
        data=json.dumps(BODY).encode(),
        headers={
            "Authorization": "Bearer " + (home() / "demo-key").read_text().strip(),
            "Content-Type": "application/json",
            "Prefer": "wait=20",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200, f"HTTP answered {answer.status}: not decided in time"
        return json.load(answer)


def same(data: dict) -> dict:
    """What must not depend on the way. Every email has an id and a Message-ID of its own."""
    return {name: value for name, value in data.items() if name not in ("email_id", "message_id")}


def main() -> None:
    stored, bare = over_nats()
    assert stored["stream"] == "CMD_MAILER", stored
    assert (bare["type"], bare["outcome"]) == ("omnibus.mailer.email_sent.v1", "succeeded"), bare
    # Nobody gave the command an id: it has the one of its place on the bus.
    assert bare["causation"] and bare["causation"] == bare["data"]["email_id"], bare
    print(f"bare publish, number {stored['sequence']}: {bare['outcome']}, caused by {bare['causation']}")

    command_id = str(uuid.uuid4())
    stored, ours = over_nats("--envelope", "--id", command_id)
    assert (ours["outcome"], ours["causation"]) == ("succeeded", command_id), ours
    assert not stored["duplicate"], stored
    print(f"with the envelope, number {stored['sequence']}: {ours['outcome']}, caused by {ours['causation']}")

    again = run("publish.py", "--envelope", "--id", command_id)
    assert again["duplicate"] and again["sequence"] == stored["sequence"], again
    print("the same id again: the same command")

    door = over_http()
    assert (door["outcome"], door["event"]["type"]) == (bare["outcome"], bare["type"]), door
    assert same(door["event"]["data"]) == same(bare["data"]) == same(ours["data"]), (door, bare, ours)
    assert door["event"]["data"].keys() == bare["data"].keys(), (door, bare)
    print("over HTTP: the same outcome")


if __name__ == "__main__":
    main()
