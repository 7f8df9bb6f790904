"""Logs: paths, notes, checkpoints, proofs, receipts and evidence."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256

from infoexchange.audit import Entry, Operation, Routing, Subject
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.tlog import Proof, merkle
from infoexchange.v1 import audit_pb2
from making.case import Case, changed, clear, edit, inside, put
from making.envelopes import message
from making.world import NOW, RECIPIENT, SENDER, Makers, Worlds

RELAY = "relay.th.example"


def paths() -> Iterator[Case]:
    """Yield inclusion and consistency proofs."""
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(13)]
    root = merkle.root(leaves)

    def inclusion(name: str, expect: str, comment: str, leaf: bytes, index: int, size: int, path: list[bytes]) -> Case:
        more = (("index", str(index)), ("size", str(size)))
        return Case(f"inclusion-{name}", "merkle.inclusion", expect, (leaf, root, *path), comment, "", more)

    for index in (0, 7, 12):
        path = merkle.inclusion_proof(index, leaves)
        yield inclusion(f"ok-{index}", "ok", f"leaf {index} of 13", leaves[index], index, 13, path)
    path, bad = merkle.inclusion_proof(7, leaves), "bad_proof"
    yield inclusion("index", bad, "at another place", leaves[7], 6, 13, path)
    yield inclusion("index-outside", bad, "beyond the tree", leaves[7], 13, 13, path)
    yield inclusion("size", bad, "in a tree of eight", leaves[7], 7, 8, path)
    yield inclusion("leaf", bad, "another leaf", leaves[6], 7, 13, path)
    yield inclusion("short", bad, "a hash is missing", leaves[7], 7, 13, path[:-1])
    yield inclusion("long", bad, "a hash more", leaves[7], 7, 13, [*path, bytes(32)])
    yield inclusion("hash", bad, "a hash of 31 bytes", leaves[7], 7, 13, [path[0][:-1], *path[1:]])
    yield inclusion("order", bad, "two hashes in the other order", leaves[7], 7, 13, [path[1], path[0], *path[2:]])

    def consistency(name: str, expect: str, comment: str, old: int, size: int, path: list[bytes], roots=None) -> Case:
        first, second = roots or (merkle.root(leaves[:old]), merkle.root(leaves[:size]))
        more = (("index", str(old)), ("size", str(size)))
        return Case(f"consistency-{name}", "merkle.consistency", expect, (first, second, *path), comment, "", more)

    for old in (1, 6, 8, 12):
        path = merkle.consistency_proof(old, leaves)
        yield consistency(f"ok-{old}", "ok", f"from {old} to 13 leaves", old, 13, path)
    yield consistency("ok-equal", "ok", "the same tree", 13, 13, [])
    path = merkle.consistency_proof(6, leaves)
    other = merkle.root([*leaves[:5], leaves[0]])
    yield consistency("history", bad, "another past", 6, 13, path, (other, root))
    yield consistency("future", bad, "another present", 6, 13, path, (merkle.root(leaves[:6]), other))
    yield consistency("equal-roots", bad, "one size, two roots", 13, 13, [], (other, root))
    yield consistency("empty", bad, "no proof", 6, 13, [])
    yield consistency("short", bad, "a hash is missing", 6, 13, path[:-1])
    yield consistency("long", bad, "a hash more", 6, 13, [*path, bytes(32)])
    yield consistency("falling", bad, "from the larger to the smaller", 13, 6, path, (root, merkle.root(leaves[:6])))


def notes(makers: Makers) -> Iterator[Case]:
    """Yield notes and checkpoints, well formed and not."""
    keys = makers.community.log_keys[RELAY]
    root = sha256(b"root").digest()
    good = keys.sign(5, root, now=NOW).raw
    texts = tuple(str(key).encode() for key in keys.verifier_keys)
    first, _, rest = good.partition(b"\n")
    text, _, lines = good.partition(b"\n\n")

    def parse(name: str, comment: str, raw: bytes, expect: str = "malformed") -> Case:
        return Case(f"checkpoint-{name}", "checkpoint.parse", expect, (raw,), comment)

    yield parse("ok", "two lines", good, "ok")
    others = {"size-zero-first": "not_canonical", "size-large": "bad_field", "root-short": "bad_field"}
    others["zero-with-root"] = "bad_field"
    for name, comment, raw in (
        ("empty", "no bytes", b""),
        ("no-end", "without the last newline", good[:-1]),
        ("crlf", "lines end with CRLF", good.replace(b"\n", b"\r\n")),
        ("no-lines", "no signature", text + b"\n\n"),
        ("no-blank", "no empty line", text + b"\n" + lines),
        ("tab", "a control character", first + b"\t\n" + rest),
        ("not-utf8", "not UTF-8", b"\xff" + good[1:]),
        ("hyphen", "a hyphen in the place of the dash", good.replace("— ".encode(), b"- ")),
        ("size-plus", "a size with a sign", good.replace(b"\n5\n", b"\n+5\n")),
        ("size-zero-first", "a size with a leading zero", good.replace(b"\n5\n", b"\n05\n")),
        ("size-none", "no size", good.replace(b"\n5\n", b"\n\n", 1)),
        ("size-large", "a size of 2^63", good.replace(b"\n5\n", b"\n9223372036854775808\n")),
        ("size-space", "a size with a space", good.replace(b"\n5\n", b"\n5 \n")),
        ("extra-line", "a fourth line of text", text + b"\nmore\n\n" + lines),
        ("root-short", "a root of 31 bytes", _with_root(good, root, root[:-1])),
        ("root-unpadded", "base64 without padding", good.replace(b"=\n", b"\n", 1)),
        ("zero-with-root", "size 0 with a root that is not the empty one", good.replace(b"\n5\n", b"\n0\n")),
        ("key-id-short", "a line of two bytes", text + b"\n\n" + "— x AAA=\n".encode()),
        ("line-space", "two spaces in a line", good.replace("— ".encode(), "—  ".encode(), 1)),
    ):
        yield parse(name, comment, raw, others.get(name, "malformed"))

    def verify(name: str, expect: str, comment: str, raw: bytes, *with_keys: bytes) -> Case:
        return Case(f"checkpoint-{name}", "checkpoint.verify", expect, (raw, *with_keys), comment)

    yield verify("signed", "ok", "signed by both keys", good, *texts)
    other = makers.community.log_keys["relay.vn.example"]
    strangers = tuple(str(key).encode() for key in other.verifier_keys)
    yield verify("signed-by-others", "unknown_party", "signed by nobody known", good, *strangers)
    yield verify(
        "size-changed", "bad_signature", "another size under the signatures", good.replace(b"\n5\n", b"\n6\n"), *texts
    )


def _with_root(note: bytes, root: bytes, new: bytes) -> bytes:
    return note.replace(base64.b64encode(root), base64.b64encode(new))


def keys_and_policies(makers: Makers) -> Iterator[Case]:
    """Yield verifier keys and policies."""
    good = str(makers.community.log_keys[RELAY].verifier_keys[0])
    name, digest, key = good.split("+", 2)

    def case(label: str, expect: str, comment: str, text: str) -> Case:
        return Case(f"verifier-key-{label}", "verifier-key.parse", expect, (text.encode(),), comment)

    yield case("ok", "ok", "a log's Ed25519 key", good)
    for label, comment, text in (
        ("empty", "no text", ""),
        ("parts", "two parts", f"{name}+{digest}"),
        ("id", "an id that is not the key's", f"{name}+00000000+{key}"),
        ("id-capitals", "an id in capitals", f"{name}+{'A' * 8}+{key}"),
        ("name", "a name with a space", f"a b+{digest}+{key}"),
        ("base64", "no base64", f"{name}+{digest}+!{key[1:]}"),
        ("short", "a key of 31 bytes", f"{name}+{digest}+{key[:-4]}"),
        ("newline", "a newline at the end", good + "\n"),
    ):
        yield case(label, "bad_field" if label in ("id", "short") else "malformed", comment, text)


def proven(makers: Makers) -> tuple[Entry, Receipt, list[bytes]]:
    """Return an entry, its receipt, and the leaves around it."""
    envelope = makers.seal(message())
    header = envelope.header
    routing = Routing(
        event=Event.QUEUED, logged_at=NOW, this_relay="relay.vn.example", sender=SENDER, sender_nation="th",
        recipients=(RECIPIENT,), op_status=header.op_status, precedence=header.precedence, expires_at=header.expires_at,
    )  # fmt: skip
    entry = Entry.make(routing, Subject(envelope_digest=envelope.digest, suite=3), Operation())
    leaves = [merkle.leaf_hash(b"0"), entry.leaf_hash, merkle.leaf_hash(b"2")]
    checkpoint = makers.community.log_keys["relay.vn.example"].sign(3, merkle.root(leaves), now=NOW)
    path = merkle.inclusion_proof(1, leaves)
    return entry, Receipt.make(entry, Proof.make(1, path, checkpoint.raw)), leaves


def _line(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda note: note.replace(old + b"\n", new + b"\n")


def receipts(makers: Makers) -> Iterator[Case]:
    """Yield receipts that hold, and those that each step refuses."""
    entry, receipt, leaves = proven(makers)
    kind = audit_pb2.Receipt
    more = (("world", "one"),)

    def case(name: str, expect: str, step: int, comment: str, raw: bytes) -> Case:
        return Case(f"receipt-{name}", "receipt.verify", expect, (raw,), comment, f"Receipt {step}", more)

    yield case("ok", "ok", 5, "an entry of three", receipt.raw)
    leaf, routing, subject = audit_pb2.AuditLeaf, audit_pb2.AuditRouting, audit_pb2.AuditMessage
    hidden, bad = clear("routing", "routing_salt"), "bad_commitment"
    for name, expect, step, comment, change in (
        ("version", "unknown_version", 1, "a leaf of version 2", inside("leaf", leaf, put(version=2))),
        ("leaf", "malformed", 1, "a leaf that is none", put(leaf=b"\xff")),
        ("commitment", "bad_field", 2, "a commitment of 31 bytes", inside("leaf", leaf, put(c_routing=bytes(31)))),
        ("salt", bad, 2, "another salt", put(routing_salt=bytes(32))),
        ("salt-short", "bad_field", 2, "a salt of 31 bytes", put(routing_salt=bytes(31))),
        ("routing", bad, 2, "another time", inside("routing", routing, put(logged_us=1))),
        ("routing-hidden", "bad_field", 2, "no routing group", hidden),
        ("message", bad, 2, "another envelope", inside("message", subject, put(envelope_digest=bytes(32)))),
        ("proof", "unknown_version", 2, "a proof that is none", put(proof=b"x")),
        ("proof-index", "bad_proof", 5, "at another place", edit("proof", _line(b"index 1", b"index 2"))),
        ("proof-size", "bad_signature", 4, "in a tree of another size", edit("proof", _line(b"\n3", b"\n4"))),
    ):
        yield case(name, expect, step, comment, changed(kind, receipt.raw, change))
    yield case("unknown-field", "not_canonical", 1, "an unknown field", receipt.raw + b"\xfa\x01\x01x")
    log = makers.community.log_keys["relay.vn.example"]
    for name, expect, step, comment, root in (
        ("root", "bad_proof", 5, "another tree under good signatures", bytes(32)),
    ):
        proof = Proof.make(1, merkle.inclusion_proof(1, leaves), log.sign(3, root, now=NOW).raw)
        yield case(name, expect, step, comment, Receipt.make(entry, proof).raw)
    nobody = Entry.make(
        replace(Routing.parse(entry.routing), this_relay="relay.my.example"), Subject.parse(entry.message)
    )
    alone = Proof.make(0, [], log.sign(1, nobody.leaf_hash, now=NOW).raw)
    yield case("no-relay", "unknown_party", 3, "a relay the directory does not list", Receipt.make(nobody, alone).raw)
    wrong = makers.community.log_keys[RELAY].sign(3, merkle.root(leaves), now=NOW)
    proof = Proof.make(1, merkle.inclusion_proof(1, leaves), wrong.raw)
    yield case("another-log", "unknown_party", 4, "the log of another relay", Receipt.make(entry, proof).raw)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    makers = worlds.one
    yield from paths()
    yield from notes(makers)
    yield from keys_and_policies(makers)
    yield from receipts(makers)
