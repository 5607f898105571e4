"""Checks an export of an Omnibus audit log, with nothing but Python and the log's public key.

    python3 verify.py <export.jsonl> <key> [<kept checkpoint>]

Written from RFC 6962, RFC 8032, c2sp.org/signed-note and c2sp.org/tlog-checkpoint; it shares no code with what wrote the
export. Exits with 0 if every entry is as the signed head says, with 1 and the first bad index if not.
"""

import base64
import hashlib
import json
import sys


class Flaw(Exception):
    """What is wrong, with the first bad index if there is one."""


def fail(what, index=None):
    raise Flaw(what if index is None else f"entry {index}: {what}")


# Ed25519 (RFC 8032), the verifying half.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    m, n = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def point(encoded):
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def signed(public, text, signature):
    key, start, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or key is None or start is None or s >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + text).digest()
    left = times(s, BASE)
    right = add(start, times(int.from_bytes(digest, "little") % ORDER, key))
    return all((left[n] * right[2] - right[n] * left[2]) % P == 0 for n in (0, 1))


# Signed notes and checkpoints.


class Key:
    def __init__(self, text):
        name, told, encoded = text.strip().split("+", 2)
        bytes_ = base64.b64decode(encoded, validate=True)
        self.name, self.public = name, bytes_[1:]
        self.id = hashlib.sha256(name.encode() + b"\n" + bytes_).digest()[:4]
        if bytes_[0] != 1 or len(self.public) != 32 or self.id.hex() != told:
            fail(f"{text!r} is no key")

    def open(self, note):
        """The text of a note that this key has signed."""
        text, found, signatures = note.partition("\n\n")
        text += "\n"
        for line in signatures.splitlines() if found else []:
            dash, name, signature = line.split(" ")
            signature = base64.b64decode(signature, validate=True)
            if dash == "\u2014" and name == self.name and signature[:4] == self.id:
                if not signed(self.public, text.encode(), signature[4:]):
                    fail(f"the signature of {name} is wrong")
                return text
        fail(f"it is not signed by {self.name}")

    def checkpoint(self, note, what="the head"):
        """Size and root of a checkpoint of this key's own log."""
        try:
            origin, size, root = self.open(note).splitlines()[:3]
        except Flaw as flaw:
            fail(f"{what}: {flaw}")
        if origin != self.name:
            fail(f"{what}: it is of {origin}, not of {self.name}")
        return int(size), base64.b64decode(root, validate=True)


# The Merkle tree of RFC 6962.


def leaf_hash(leaf):
    return hashlib.sha256(b"\0" + leaf).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes):
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root_of(hashes[:half]), root_of(hashes[half:]))


def included(hash_, index, size, path):
    """The root that `path` leads to; recomputed from the top down, as the RFC defines paths."""
    if size == 1:
        return hash_ if not path else None
    if not path:
        return None
    half = 1 << (size - 1).bit_length() - 1
    if index < half:
        below = included(hash_, index, half, path[:-1])
        return below and node(below, path[-1])
    below = included(hash_, index - half, size - half, path[:-1])
    return below and node(path[-1], below)


def continued(old_size, old_root, size, path, whole=True):
    """Both roots that `path` leads to: the old one and the new one."""
    if old_size == size:
        if whole:
            return (old_root, old_root) if not path else None
        return (path[0], path[0]) if len(path) == 1 else None
    if not path:
        return None
    half = 1 << (size - 1).bit_length() - 1
    if old_size <= half:
        below = continued(old_size, old_root, half, path[:-1], whole)
        return below and (below[0], node(below[1], path[-1]))
    below = continued(old_size - half, old_root, size - half, path[:-1], False)
    return below and (node(path[-1], below[0]), node(path[-1], below[1]))


def hashes(texts):
    return [base64.b64decode(text, validate=True) for text in texts]


# The export.


def held_against(header, size, root, key, kept):
    previous = key.checkpoint(header["previous"], "the previous head") if header.get("previous") else None
    if previous:
        path = hashes(header.get("consistency", []))
        if previous[0] > size or continued(previous[0], previous[1], size, path) != (previous[1], root):
            fail(f"the head of {size} does not continue the previous one of {previous[0]}: forked")
    if kept is None:
        return
    kept = key.checkpoint(kept, "the kept checkpoint")
    if kept[0] > size:
        fail(f"an old head: it ends here, and the kept checkpoint has {kept[0]} entries", size)
    if kept[0] == size and kept[1] != root:
        fail(f"two heads of {size} entries with different roots: forked")
    if kept[0] < size and previous != kept:
        fail("the export does not say how its head continues the kept checkpoint: export with --since")


def check(lines, key, kept=None):
    header = json.loads(next(lines, "{}"))
    if header.get("omnibus_audit_export") != 1:
        fail("the first line is no header: nothing was checked")
    size, root = key.checkpoint(header["head"])
    held_against(header, size, root, key, kept)
    expected, to, checked = header["from"], header["to"], 0
    if not 0 <= expected <= to <= size:
        fail(f"{expected}..{to} is no range of a log of {size}")
    tile, known, removed = None, [], []

    def skip_to(index):
        nonlocal expected
        while expected < index:
            if expected // 256 != tile or not any(first <= expected <= last for first, last in removed):
                fail("it is missing", expected)
            expected += 1

    for line in lines:
        line = json.loads(line)
        if "tile" in line:
            at = max(line["tile"] * 256, expected)
            skip_to(min(at, to))
            tile, packed = line["tile"], base64.b64decode(line["hashes"], validate=True)
            known = [packed[n : n + 32] for n in range(0, len(packed), 32)]
            if not known or len(known) != min(256, size - tile * 256) or len(packed) % 32:
                fail("the tile has not as many hashes as it should", at)
            if included(root_of(known), tile, -(-size // 256), hashes(line["path"])) != root:
                fail("the hashes from here on do not lead to the head", at)
            removed = []
            for note in line.get("tombstones", []):
                title, origin, range_ = key.open(note).splitlines()[:3]
                if (title, origin) != ("omnibus audit tombstone", key.name):
                    fail("a tombstone is not this log's", at)
                removed.append(tuple(int(number) for number in range_.split(" ")))
            continue
        index = line["index"] if "index" in line else line["withheld"]
        if not expected <= index < to:
            fail("it stands twice, or not in its place", index)
        skip_to(index)
        expected = index + 1
        if index // 256 != tile:
            fail("no tile before it has its hash", index)
        if "index" in line:
            if leaf_hash(line["leaf"].encode()) != known[index % 256]:
                fail("it is not what the head has: altered", index)
            checked += 1
        elif header.get("what") is None:
            fail("it is withheld, and the export says of no filter", index)
    skip_to(to)
    if checked != header["count"]:
        fail(f"{header['count']} entries are announced, {checked} are here")
    if not checked:
        fail("there is not one entry: nothing was checked")
    return f"OK: {checked} entries of {key.name} are as the head of {size} says"


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    kept = open(sys.argv[3], encoding="utf-8", newline="").read() if len(sys.argv) == 4 else None
    try:
        with open(sys.argv[1], encoding="utf-8", newline="\n") as export:
            print(check(export, Key(sys.argv[2]), kept))
    except Flaw as flaw:
        sys.exit(f"NOT OK: {flaw}")
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"NOT OK: it can't be read: {error}")


if __name__ == "__main__":
    main()
