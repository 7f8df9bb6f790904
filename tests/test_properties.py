"""Properties of every reader: whatever comes in, a typed error or an object with exactly those bytes goes out."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forked
import shown
import submitted
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.approval import Approval
from infoexchange.attestation import Attestation
from infoexchange.audit import Routing, Subject
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.disclosure import Disclosure
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.grant import Grant
from infoexchange.header import Header
from infoexchange.keys import Identity
from infoexchange.listing import Listing, Roots
from infoexchange.log import LogKeys
from infoexchange.manifest import Manifest
from infoexchange.misbehaviour import Misbehaviour
from infoexchange.origin import Origin
from infoexchange.quorum import policy_for
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.tlog import Checkpoint, Cosignature, Note, Policy, Proof, VerifierKey
from infoexchange.tlog.note import Signature
from infoexchange.v1 import (
    audit_pb2,
    bundle_pb2,
    content_pb2,
    directory_pb2,
    disclosure_pb2,
    envelope_pb2,
    evidence_pb2,
    grant_pb2,
)
from infoexchange.witness import WitnessKeys
from infoexchange.wrap import Wrap
from messages import officer_acknowledgement
from onward_case import Case
from test_envelope import header_for, seal

# Hypothesis prints what it made when a test fails; that some of it is long is no fault.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

QUICK = settings(
    max_examples=15, deadline=None, derandomize=False, print_blob=True, suppress_health_check=list(HealthCheck)
)
KEY_FILES = ("Identity", "LogKeys", "WitnessKeys")


@dataclass(frozen=True)
class Format:
    """A reader with valid inputs of different shape.

    `message` is the protobuf type behind it, if one is, and `inner` the type of the signed payload.
    """

    parse: Callable[[bytes], Any]
    samples: tuple[bytes, ...]
    raw: Callable[[Any], bytes] = lambda parsed: parsed.raw
    message: Any = None
    inner: Any = None


def _key(raw: bytes) -> VerifierKey:
    return VerifierKey.parse(raw.decode("utf-8", "surrogateescape"))


def _recall(exchange: Exchange, *names: str) -> RecallOrder:
    member = exchange.community.members[SENDER]
    said = Recalled(
        envelope_digest=bytes(32),
        issuer=SENDER,
        issuer_bundle=member.bundle.digest,
        suite=HYBRID_KEM.number,
        recipients=names,
        at=exchange.clock(),
    )
    return RecallOrder.sign(said, member.identity.epochs[0])


def _protobuf(exchange: Exchange, evidence: Evidence) -> dict[str, Format]:
    community, history = exchange.community, evidence.events
    envelopes = [
        seal(exchange, header_for(exchange, suite), *names)
        for suite, names in ((HYBRID, (RECIPIENT, SECOND)), (HYBRID_KEM, (RECIPIENT,)))
    ]
    pruned = envelopes[0].prune({SECOND})
    contents = [
        Content.make("a.B", b"\x0a\x03abc", thread_id=bytes(16), in_reply_to=bytes(32)),
        Content.make("a.B", b""),
        Content.make("a.B", bytes(range(8, 200)) * 9),
        Content.make("a.B", b"\x0a\x03abc", origin=b"any"),
    ]
    bundles = [member.bundle.raw for member in community.members.values()]
    orders = tuple(_recall(exchange, *names).raw for names in ((RECIPIENT,), (RECIPIENT, SECOND)))
    directory, e, manifests = community.directory, envelope_pb2, [m.manifest.raw for m in envelopes]
    onward, said = Case(), tuple(s.raw for s in evidence.statements)
    declared, origin = onward.second.envelope, onward.origin()
    envelopes.append(declared)
    return {
        "Envelope": Format(Envelope.parse, (*(m.raw for m in envelopes), pruned.raw), message=e.Envelope),
        "Manifest": Format(Manifest.parse, tuple(manifests), message=e.Dsse, inner=e.Manifest),
        "Dsse": Format(
            lambda raw: Dsse.parse(raw, payload_type=TYPE_MANIFEST, size_max=2**20), tuple(manifests), message=e.Dsse
        ),
        "Header": Format(Header.parse, tuple(m.header.raw for m in envelopes), message=e.Header),
        "Wrap": Format(Wrap.parse, tuple(w.raw for m in envelopes for w in m.wraps), message=e.RecipientWrap),
        "Content": Format(Content.parse, tuple(c.raw for c in contents), message=content_pb2.Content),
        "Grant": Format(Grant.parse, (onward.grant.raw,), message=e.Dsse, inner=grant_pb2.Grant),
        "Origin": Format(Origin.parse, tuple(step.raw for step in origin), message=content_pb2.Origin),
        "KeyBundle": Format(KeyBundle.parse, tuple(bundles), message=e.Dsse, inner=bundle_pb2.KeyBundle),
        "Listing": Format(
            Listing.parse,
            (directory.listing.payload,),
            raw=lambda listing: listing.payload,
            message=directory_pb2.Directory,
        ),
        "Directory": Format(
            lambda raw: Directory.parse(raw, roots=community.roots),
            (directory.raw,),
            message=e.Dsse,
            inner=directory_pb2.Directory,
        ),
        "Roots": Format(Roots.parse, (community.roots.raw,), message=directory_pb2.Roots),
        "Acknowledgement": Format(
            Acknowledgement.parse, said, message=e.Dsse, inner=audit_pb2.RecipientAcknowledgement
        ),
        "RecallOrder": Format(RecallOrder.parse, orders, message=e.Dsse, inner=audit_pb2.RecallOrder),
        **_shown(exchange),
        "Routing": Format(Routing.parse, tuple(r.routing.raw for r in history), message=audit_pb2.AuditRouting),
        "Subject": Format(Subject.parse, tuple(r.subject.raw for r in history), message=audit_pb2.AuditMessage),
        "Receipt": Format(Receipt.parse, tuple(r.raw for r in history), message=audit_pb2.Receipt),
        "LogRecord": Format(shown.LogRecord.parse, shown.log_records(exchange), message=audit_pb2.LogRecord),
        "Evidence": Format(Evidence.parse, (evidence.raw, evidence.sealed().raw), message=evidence_pb2.Evidence),
    }


def _shown(exchange: Exchange) -> dict[str, Format]:
    """Formats of what is shown to others, and signed inside."""
    dsse, attestation, approval = envelope_pb2.Dsse, content_pb2.Attestation, audit_pb2.DisclosureApproval
    return {
        "Attestation": Format(Attestation.parse, shown.attestations(exchange), message=dsse, inner=attestation),
        "Approval": Format(Approval.parse, shown.approvals(exchange), message=dsse, inner=approval),
        "Disclosure": Format(Disclosure.parse, shown.disclosures(exchange), message=disclosure_pb2.Disclosure),
    }


def _text(exchange: Exchange, evidence: Evidence) -> dict[str, Format]:
    community = exchange.community
    proofs = [receipt.proof for receipt in evidence.events]
    notes = [proof.checkpoint.raw for proof in proofs]
    pairs = [*community.log_keys.values(), *community.witness_keys.values()]
    keys = [str(key).encode() for pair in pairs for key in pair.verifier_keys]
    lines = [line.raw for proof in proofs for line in proof.checkpoint.note.signatures]
    cosigned = [line for line in lines if b"/witness " in line]
    policies = [policy_for(exchange.directory, name).raw for name in community.log_keys]
    return {
        "Note": Format(Note.parse, tuple(notes)),
        "Checkpoint": Format(Checkpoint.parse, tuple(notes)),
        "Submission": Format(submitted.Submission.parse, submitted.submissions(notes)),
        "Proof": Format(Proof.parse, tuple(proof.raw for proof in proofs)),
        "Policy": Format(Policy.parse, (*policies, b"# nobody\nquorum none\n")),
        "VerifierKey": Format(_key, tuple(keys), raw=lambda key: str(key).encode()),
        "Misbehaviour": Format(Misbehaviour.parse, forked.samples()),
        "Signature": Format(Signature.parse, tuple(lines)),
        "Cosignature": Format(Cosignature.parse, tuple(cosigned)),
        "Identity": Format(Identity.parse, tuple(m.identity.raw for m in community.members.values())),
        "LogKeys": Format(LogKeys.parse, tuple(k.raw for k in community.log_keys.values())),
        "WitnessKeys": Format(WitnessKeys.parse, tuple(k.raw for k in community.witness_keys.values())),
    }


@pytest.fixture(scope="session")
def formats() -> dict[str, Format]:
    exchange = Exchange({"th": ["desk.oncb", "desk.navy"], "vn": ["intel.c04", "duty.guard"]})
    for name in (RECIPIENT, SECOND):
        exchange.mailbox(name)
    receipt = exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT, SECOND])
    for name in (RECIPIENT, SECOND):
        for delivery in exchange.mailbox(name).receive():
            exchange.mailbox(name).acknowledge(delivery)
    exchange.witness()
    evidence = exchange.mailbox(SENDER).evidence(receipt.subject.envelope_digest)
    return {**_protobuf(exchange, evidence), **_text(exchange, evidence)}


PROTOBUF = (
    "Envelope", "Manifest", "Dsse", "Header", "Wrap", "Content", "KeyBundle", "Listing", "Directory", "Roots",
    "Grant", "Origin", "Acknowledgement", "RecallOrder", "Attestation", "Approval", "Disclosure", "Routing", "Subject",
    "Receipt", "LogRecord", "Evidence",
)  # fmt: skip
TEXT = ("Note", "Checkpoint", "Proof", "Policy", "VerifierKey", "Signature", "Cosignature", "Misbehaviour")
SIGNED = ("Manifest", "KeyBundle", "Grant", "Acknowledgement", "Attestation", "Approval", "Directory")
EVERY = (*PROTOBUF, *TEXT, "Submission", *KEY_FILES)


def holds(one: Format, name: str, raw: bytes) -> bool:
    """Whether `raw` parses; if so its bytes are kept, or, for a key file, written again to the same keys."""
    try:
        parsed = one.parse(raw)
    except ExchangeError:
        return False
    if name in KEY_FILES:
        assert one.parse(one.raw(parsed)) == parsed
        return True
    assert one.raw(parsed) == raw
    if one.message is not None:
        assert one.message.FromString(raw).SerializeToString(deterministic=True) == raw
    return True


def test_every_format_is_here_and_its_samples_parse(formats: dict[str, Format]) -> None:
    assert set(formats) == set(EVERY)
    for name, one in formats.items():
        assert one.samples, name
        assert all(holds(one, name, sample) for sample in one.samples), name


@pytest.mark.parametrize("name", EVERY)
@QUICK
@given(raw=st.binary(max_size=200))
def test_random_bytes(formats: dict[str, Format], name: str, raw: bytes) -> None:
    holds(formats[name], name, raw)


INTERESTING = (
    b"\x00", b"\xff", b"\x80", b"\x0a", b"\x08\x00", b"\x7a\x00", b"\n", b"\n\n", b" ", b"+", b"=", b"0", b"-1",
    b"\xe2\x80\x94 x y\n", b"\xc2\x85", b"\xed\xa0\x80", b'"', b"[", b"{", b"9" * 30, b"\xfb\x06\xfc\x06",
    b"\xff" * 9 + b"\x01",
)  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, float, float, Any]]:
    """What to do to some bytes; places are fractions, because the length is not known here."""
    place = st.floats(0, 1, exclude_max=True, width=32)
    kinds = st.sampled_from(("flip", "cut", "drop", "insert", "double", "splice", "set"))
    what = st.one_of(st.integers(0, 7), st.sampled_from(INTERESTING), st.binary(min_size=1, max_size=4))
    return draw(st.lists(st.tuples(kinds, place, place, what), min_size=1, max_size=3))


def changed(raw: bytes, other: bytes, steps: list[tuple[str, float, float, Any]]) -> bytes:
    """The bytes after every step."""
    for kind, first, second, what in steps:
        a, b = sorted((int(first * (len(raw) + 1)), int(second * (len(raw) + 1))))
        extra = what if isinstance(what, bytes) else bytes([what])
        if kind == "flip" and a < len(raw):
            bit = what if isinstance(what, int) else what[0] % 8
            raw = raw[:a] + bytes([raw[a] ^ 1 << bit]) + raw[a + 1 :]
        elif kind == "cut":
            raw = raw[:b]
        elif kind == "drop":
            raw = raw[:a] + raw[min(b, a + len(extra)) :]
        elif kind == "insert":
            raw = raw[:a] + extra + raw[a:]
        elif kind == "double":
            raw = raw[:b] + raw[a:]
        elif kind == "set":
            raw = raw[:a] + extra + raw[a + len(extra) :]
        elif kind == "splice":
            raw = raw[:a] + other[int(second * len(other)) :]
    return raw


@pytest.mark.parametrize("name", EVERY)
@QUICK
@given(steps=changes(), pick=st.integers(0, 99), other=st.integers(0, 99))
def test_changed_objects(
    formats: dict[str, Format], name: str, steps: list[tuple[str, float, float, Any]], pick: int, other: int
) -> None:
    one = formats[name]
    samples = one.samples
    holds(one, name, changed(samples[pick % len(samples)], samples[other % len(samples)], steps))


@pytest.mark.parametrize("name", [n for n in EVERY if n in SIGNED])
@QUICK
@given(steps=changes(), pick=st.integers(0, 99))
def test_changed_payloads(
    formats: dict[str, Format], name: str, steps: list[tuple[str, float, float, Any]], pick: int
) -> None:
    """Inside a container that is canonical again, so that the payload's own reader is reached."""
    one = formats[name]
    message = one.message.FromString(one.samples[pick % len(one.samples)])
    message.payload = changed(message.payload, message.payload, steps)
    holds(one, name, message.SerializeToString(deterministic=True))


FIELD_VALUES = (0, 1, 2, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**31), -(2**63))


def set_a_field(message: Any, rng: random.Random) -> None:
    """Put an extreme value into one field, at any depth."""
    fields = list(message.DESCRIPTOR.fields)
    field = rng.choice(fields)
    if field.type == field.TYPE_MESSAGE:
        children = list(getattr(message, field.name)) if field.is_repeated else [getattr(message, field.name)]
        if children and rng.random() < 0.8:
            set_a_field(rng.choice(children), rng)
        elif field.is_repeated:
            getattr(message, field.name).add()
        else:
            getattr(message, field.name).SetInParent()
        return
    strings = ("", "x", "a.b", "x" * 300, "\x00", "é", "A.B")
    value: Any = rng.choice(FIELD_VALUES)
    if field.type == field.TYPE_STRING:
        value = rng.choice(strings)
    elif field.type == field.TYPE_BYTES:
        value = rng.randbytes(rng.choice((0, 1, 16, 32, 33, 300)))
    try:
        if field.is_repeated:
            rng.choice((getattr(message, field.name).append, lambda v: getattr(message, field.name).insert(0, v)))(
                value
            )
        else:
            setattr(message, field.name, value)
    except (ValueError, TypeError, OverflowError):
        return  # outside the field's type


@pytest.mark.parametrize("name", PROTOBUF)
@QUICK
@given(seed=st.integers(0, 2**32), pick=st.integers(0, 99), count=st.integers(1, 3))
def test_extreme_fields(formats: dict[str, Format], name: str, seed: int, pick: int, count: int) -> None:
    """Canonical bytes whose values are not what the format means: nothing but its own checks stands between."""
    one, rng = formats[name], random.Random(seed)
    message = one.message.FromString(one.samples[pick % len(one.samples)])
    if one.inner is not None:
        payload = one.inner.FromString(message.payload)
        for _ in range(count):
            set_a_field(payload, rng)
        message.payload = payload.SerializeToString(deterministic=True)
    else:
        for _ in range(count):
            set_a_field(message, rng)
    holds(one, name, message.SerializeToString(deterministic=True))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def replaced(value: Any, path: list[int], new: Any) -> Any:
    """The tree with one value exchanged, wherever `path` leads."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[path[0] % len(keys)]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(copy[key], path[1:], new)
    return copy


@pytest.mark.parametrize("name", KEY_FILES)
@QUICK
@given(path=st.lists(st.integers(0, 9), max_size=5), new=JSON)
def test_key_files_with_other_values(formats: dict[str, Format], name: str, path: list[int], new: Any) -> None:
    one = formats[name]
    tree = replaced(json.loads(one.samples[0]), path, new)
    holds(one, name, json.dumps(tree).encode())


@pytest.mark.parametrize("name", KEY_FILES)
def test_an_error_shows_no_byte_of_a_key_file(formats: dict[str, Format], name: str) -> None:
    one = formats[name]
    broken = one.samples[0].replace(b'"form"', b'"from"')
    with pytest.raises(ExchangeError) as caught:
        one.parse(broken)
    assert caught.value.reason is Reason.MALFORMED
    secrets = [v for v in json.loads(one.samples[0]).values() if isinstance(v, str) and len(v) == 44]
    assert len(secrets) == (3 if name == "Identity" else 2)
    assert not any(secret in str(caught.value) for secret in secrets)
    assert not any(secret in repr(one.parse(one.samples[0])) for secret in secrets)
    assert caught.value.__cause__ is None
