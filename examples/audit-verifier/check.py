"""Plays it through: a command, its entry, an export, both verifiers, and every kind of tampering."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import verify

URL = os.environ["OMNIBUS_URL"]
HOME = pathlib.Path(os.environ["OMNIBUS_HOME"])
API_KEY = (HOME / "demo-key").read_text().strip()


def ask(path, body=None):
    request = urllib.request.Request(URL + path, data=body and json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {API_KEY}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def receipt(command):
    for _ in range(600):
        try:
            return ask(f"/api/v1/audit/receipts/{command}")["entries"]
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            time.sleep(0.1)
    sys.exit(f"the command {command} is not in the log after a minute")


def omnibus(*arguments, fails=False):
    ended = subprocess.run(["omnibus", "audit", *arguments], capture_output=True, text=True)
    if (ended.returncode != 0) != fails:
        sys.exit(f"omnibus audit {' '.join(arguments)}: status {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout.strip()


def main():
    commands = [ask("/api/v1/greetings", {"name": f"Auditor {n}"})["id"] for n in range(20)]
    entries = [receipt(command)[0] for command in commands]

    # A receipt proves itself.
    head = entries[-1]["head"]
    key = verify.Key(head["key"])
    size, root = key.checkpoint(head["checkpoint"])
    leaf = verify.leaf_hash(entries[-1]["leaf"].encode())
    assert verify.included(leaf, entries[-1]["index"], size, verify.hashes(entries[-1]["path"])) == root

    # So does an entry that is asked for by its index, and a head that continues an earlier one.
    first = ask(f"/api/v1/audit/entries/{entries[0]['index']}/proof")
    size, root = key.checkpoint(first["head"]["checkpoint"])
    leaf = verify.leaf_hash(first["leaf"].encode())
    assert verify.included(leaf, first["index"], size, verify.hashes(first["path"])) == root
    old, new = key.checkpoint(head["checkpoint"]), key.checkpoint(ask("/api/v1/audit/head")["checkpoint"])
    path = verify.hashes(ask(f"/api/v1/audit/consistency?from={old[0]}&to={new[0]}")["path"])
    assert verify.continued(old[0], old[1], new[0], path) == (old[1], new[1])

    with tempfile.TemporaryDirectory() as folder:
        export, kept = f"{folder}/export.jsonl", f"{folder}/kept"
        pathlib.Path(kept).write_text(head["checkpoint"])
        ask("/api/v1/greetings", {"name": "One more"})
        omnibus("export", "--tenant", "demo", "--since", kept, "--file", export)
        print(omnibus("verify", export, "--key", head["key"], "--kept", kept))
        lines = pathlib.Path(export).read_text().splitlines()
        print(verify.check(iter(lines), key, head["checkpoint"]))

        def both(what, changed):
            pathlib.Path(export).write_text("\n".join(changed) + "\n")
            ours = omnibus("verify", export, "--key", head["key"], fails=True)
            try:
                sys.exit(f"{what}: not found: {verify.check(iter(changed), key)}")
            except verify.Flaw as flaw:
                theirs = f"NOT OK: {flaw}"
            if ours != theirs:
                sys.exit(f"{what}: the verifiers disagree:\n  {ours}\n  {theirs}")
            print(f"{what}: {ours}")

        at = next(n for n, line in enumerate(lines) if json.loads(line).get("index") == 5)
        both("a byte flipped", [line.replace("demo", "demO") if n == at else line for n, line in enumerate(lines)])
        both("an entry deleted", lines[:at] + lines[at + 1 :])
        both("two entries swapped", lines[:at] + [lines[at + 1], lines[at]] + lines[at + 2 :])
        both("the end cut off", lines[:-3])
        both("everything cut off", lines[:1])
        header = json.loads(lines[0])
        header["head"] = header["head"].replace(f"\n{header['to']}\n", f"\n{header['to'] + 1}\n")
        both("the head changed", [json.dumps(header)] + lines[1:])


if __name__ == "__main__":
    main()
