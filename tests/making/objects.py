"""Objects: every format that is parsed by itself, right and wrong."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from infoexchange.tlog import Cosignature, Policy
from infoexchange.tlog.policy import Group, Witness
from infoexchange.v1 import audit_pb2, directory_pb2, envelope_pb2
from making.case import Case, changed, clear, put, within
from making.disclosures import Shown
from making.envelopes import message
from making.files import Files
from making.logs import RELAY, proven
from making.onward import Onward
from making.recalls import Orders
from making.world import NOW, RECIPIENT, SECOND, Makers, Worlds

UNKNOWN = b"\xa2\x06\x01x"  # field 100, which no message has
KIB = 1024


def signed_objects(worlds: Worlds) -> Iterator[tuple[str, bytes, int]]:
    """Yield `(entry, right bytes, largest length)` of every canonical object; 0 where another limit comes first."""
    one = worlds.one
    envelope = one.seal(message(), [RECIPIENT, SECOND])
    entry, receipt, _ = proven(one)
    files, onward = Files(worlds.three), Onward(worlds.three)
    assert files.opened
    yield "envelope", envelope.raw, 1536 * KIB
    yield "manifest", envelope.manifest.raw, 0
    yield "header", envelope.header.raw, 16 * KIB
    yield "wrap", envelope.wraps[0].raw, 4 * KIB
    yield "dsse", envelope.manifest.raw, 1024 * KIB
    yield "bundle", one.members[RECIPIENT].bundle.raw, 64 * KIB
    yield "listing", one.directory.listing.payload, 4096 * KIB
    yield "roots", one.community.roots.raw, 4096 * KIB
    yield "acknowledgement", files.opened.raw, 16 * KIB
    yield "routing", entry.routing, 64 * KIB
    yield "subject", entry.message, 64 * KIB
    yield "receipt", receipt.raw, 512 * KIB
    yield "evidence", files.file(), 16 * KIB * KIB
    shown = Shown(one)
    yield "attestation", shown.attestation.raw, 16 * KIB
    yield "disclosure", shown.disclosure.raw, 4096 * KIB
    yield "approval", shown.approval.raw, 16 * KIB
    yield "recall", Orders(one).good.raw, 32 * KIB
    yield "grant", onward.grant.raw, 24 * KIB
    yield "origin", onward.origin().raw, 512 * KIB


def canonical_objects(worlds: Worlds) -> Iterator[Case]:
    """Yield each of them as it is, with an unknown field, without its last byte, and too long."""
    for name, raw, limit in signed_objects(worlds):
        for label, expect, comment, other in (
            ("ok", "ok", "right bytes", raw),
            ("unknown-field", "not_canonical", "an unknown field", raw + UNKNOWN),
            ("cut", "malformed", "the last byte is missing", raw[:-1]),
            ("large", "too_large", "a byte more than its limit", bytes(limit + 1)),
        ):
            if label != "large" or limit:
                yield Case(f"{name}-parse-{label}", f"{name}.parse", expect, (other,), comment, "Canonical form 1")


def fields(worlds: Worlds) -> Iterator[Case]:
    """Yield objects with values that their format does not allow."""
    one = worlds.one
    envelope = one.seal(message(), [RECIPIENT, SECOND])
    entry, _, _ = proven(one)
    dsse, roots = envelope.manifest.raw, one.community.roots.raw

    def case(entry: str, name: str, expect: str, comment: str, raw: bytes) -> Case:
        return Case(f"{entry}-parse-{name}", f"{entry}.parse", expect, (raw,), comment, "Canonical form 1")

    bad = "bad_field"
    for name, comment, change in (
        ("type", "another type", put(payload_type="application/vnd.infoexchange.grant.v1+protobuf")),
        ("no-type", "no type", clear("payload_type")),
        ("unsigned", "no signature", clear("signatures")),
        ("signatures-65", "65 signatures", lambda m: m.signatures.extend([_signature()] * 64)),
        ("key-id", "a key id of 65 letters", within("signatures", put(keyid="0" * 65))),
        ("signature", "a signature over 8 KiB", within("signatures", put(sig=bytes(8 * KIB + 1)))),
    ):
        yield case("dsse", name, bad, comment, changed(envelope_pb2.Dsse, dsse, change))
    payload = envelope.manifest.dsse.payload

    def manifest(change: Any) -> bytes:
        inner = changed(envelope_pb2.Manifest, payload, change)
        return changed(envelope_pb2.Dsse, dsse, put(payload=inner))

    for name, expect, comment, change in (
        ("digest", bad, "a wrap digest of 31 bytes", lambda m: m.wrap_digests.__setitem__(0, bytes(31))),
        ("digests", bad, "one digest for two recipients", lambda m: m.wrap_digests.pop()),
        ("body-digest", bad, "no body digest", clear("body_digest")),
        ("header", "malformed", "a header that is none", put(header=b"\xff")),
    ):
        yield case("manifest", name, expect, comment, manifest(change))
    for name, expect, comment, change in (
        ("threshold-0", bad, "nobody need sign", clear("threshold")),
        ("threshold-4", bad, "four of three must sign", put(threshold=4)),
        ("order", bad, "keys that fall", _fall),
        ("holder", bad, "one party with two keys", lambda m: setattr(m.keys[1], "holder", m.keys[0].holder)),
        ("holder-none", bad, "a key that nobody holds", within("keys", clear("holder"))),
        ("suite", "suite_not_accepted", "a key of an unknown suite", within("keys", put(suite=0x99))),
        (
            "key",
            "bad_certificate",
            "a key that is too long",
            lambda m: setattr(m.keys[-1], "public_key", m.keys[-1].public_key + b"x"),
        ),
    ):
        yield case("roots", name, expect, comment, changed(directory_pb2.Roots, roots, change))
    for name, comment, change in (
        ("event", "an event outside the list", put(event=16)),
        ("no-event", "no event", clear("event")),
        ("time", "logged before 1970", put(logged_us=-1)),
        ("late", "logged after the year 9999", put(logged_us=253402300800000000)),
    ):
        yield case("routing", name, bad, comment, changed(audit_pb2.AuditRouting, entry.routing, change))


def _signature() -> Any:
    return envelope_pb2.Dsse().signatures.add(sig=b"x")


def _fall(m: Any) -> None:
    rows = list(m.keys)[::-1]
    del m.keys[:]
    m.keys.extend(rows)


def notes(makers: Makers) -> Iterator[Case]:
    """Yield notes and cosignature lines."""
    community = makers.community
    checkpoint = community.log_keys[RELAY].sign(5, bytes(32), now=NOW)
    raw = checkpoint.raw
    head, _, lines = raw.partition(b"\n\n")

    def case(entry: str, name: str, expect: str, comment: str, raw: bytes) -> Case:
        return Case(f"{entry}-parse-{name}", f"{entry}.parse", expect, (raw,), comment)

    yield case("note", "ok", "ok", "a checkpoint's note", raw)
    yield case("note", "ok-text", "ok", "a note about anything", b"hello\n\n" + lines)
    for name, expect, comment, other in (
        ("empty", "malformed", "no bytes", b""),
        ("no-text", "malformed", "no text", b"\n\n" + lines),
        ("no-lines", "malformed", "no line", head + b"\n\n"),
        ("control", "malformed", "a control character", b"hel\x07lo\n\n" + lines),
        ("not-utf8", "malformed", "not UTF-8", b"\xff\n\n" + lines),
        ("no-end", "malformed", "without the last newline", raw[:-1]),
        ("large", "too_large", "over 256 KiB", bytes(256 * KIB + 1)),
        ("lines-65", "too_large", "65 lines", head + b"\n\n" + "— x AAAAAAA=\n".encode() * 65),
    ):
        yield case("note", name, expect, comment, other)
    keys = community.witness_keys["relay.vn.example"]
    for signer, name in zip(keys.signers, ("ok", "ok-mldsa44"), strict=True):
        line = Cosignature.sign(checkpoint, signer, now=NOW).raw
        yield case("cosignature", name, "ok", "a witness's line", line)
    line = Cosignature.sign(checkpoint, keys.signers[0], now=NOW).raw
    name, blob = line.decode().split(" ")[1], base64.b64decode(line.split(b" ")[2])

    def with_(blob: bytes) -> bytes:
        return f"— {name} {base64.b64encode(blob).decode()}\n".encode()

    for label, expect, comment, other in (
        ("short", "bad_field", "a byte less", with_(blob[:-1])),
        ("long", "bad_field", "a byte more", with_(blob + b"\x00")),
        ("time-0", "bad_field", "time 0", with_(blob[:4] + bytes(8) + blob[12:])),
        ("time-large", "bad_field", "a time of 2^63", with_(blob[:4] + b"\x80" + bytes(7) + blob[12:])),
        ("no-name", "malformed", "no name", f"—  {line.decode().split(' ')[2]}".encode()),
        ("no-newline", "malformed", "without its newline", line[:-1]),
        ("two", "malformed", "two lines", line * 2),
        ("not-base64", "malformed", "no base64", line.replace(b" ", b" !", 2)),
    ):
        yield case("cosignature", label, expect, comment, other)


def policies(makers: Makers) -> Iterator[Case]:
    """Yield witness policies."""
    community = makers.community
    logs = community.log_keys[RELAY].verifier_keys
    keys = [key for name in sorted(community.witness_keys) for key in community.witness_keys[name].verifier_keys]
    witnesses = [Witness(f"w{n}".encode(), key) for n, key in enumerate(keys)]
    names = tuple(one.name for one in witnesses)
    good = Policy.make(logs, witnesses, [Group(b"most", 2, names)], b"most").raw

    def case(name: str, expect: str, comment: str, raw: bytes) -> Case:
        return Case(f"policy-{name}", "policy.parse", expect, (raw,), comment)

    yield case("ok", "ok", "two of four witnesses", good)
    yield case("ok-none", "ok", "no quorum", b"quorum none\n")
    yield case(
        "ok-comment", "ok", "comments, blanks and addresses", b"# rules\n\n" + good.replace(b"quorum ", b"quorum \t")
    )
    first = good.splitlines()[0] + b"\n"
    for name, expect, comment, raw in (
        ("no-quorum", "malformed", "no quorum line", good.replace(b"quorum most\n", b"")),
        ("quorum-twice", "malformed", "two quorum lines", good + b"quorum most\n"),
        ("quorum-unknown", "malformed", "a quorum that is not defined", good.replace(b"quorum most", b"quorum all")),
        ("word", "malformed", "a line of another kind", b"rule x\n" + good),
        ("control", "malformed", "a control character", b"\x00\n" + good),
        ("member-unknown", "malformed", "a member that is not defined", good.replace(b" w3\n", b" w4\n")),
        ("member-twice", "malformed", "a member twice", good.replace(b" w2 w3\n", b" w2 w2\n")),
        ("name-twice", "malformed", "a name twice", good.replace(b"group most", b"group w0")),
        ("name-none", "malformed", "a group of the name none", good.replace(b"group most", b"group none")),
        ("threshold-0", "bad_field", "none of four", good.replace(b"most 2", b"most 0")),
        ("threshold-5", "bad_field", "five of four", good.replace(b"most 2", b"most 5")),
        ("threshold-sign", "malformed", "a threshold with a sign", good.replace(b"most 2", b"most +2")),
        ("threshold-zero", "not_canonical", "a threshold with a leading zero", good.replace(b"most 2", b"most 02")),
        ("key-twice", "bad_field", "one log key twice", first + good),
        ("key-role", "bad_field", "a witness's key as a log's", good.replace(b"witness w0 ", b"log ")),
        ("no-end", "malformed", "without the last newline", good[:-1]),
    ):
        yield case(name, expect, comment, raw)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    yield from canonical_objects(worlds)
    yield from fields(worlds)
    yield from notes(worlds.one)
    yield from policies(worlds.one)
