"""Manipulations: what a hostile relay, agency or recipient does to an envelope, refused three times over.

The same list goes to the recipient's library, to the relay, and into an evidence file.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from conftest import EVERY_SUITE, RECIPIENT, SECOND, SENDER
from envelopes import signed_manifest
from infoexchange.draft import Draft
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.receipt import Receipt
from infoexchange.suites import CLASSICAL, HYBRID, NIST_HIGH, Suite
from infoexchange.testing import DirectRelay, Exchange
from infoexchange.v1 import envelope_pb2, evidence_pb2
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement

Wire = envelope_pb2.Envelope
COLLEAGUE = "desk.navy.th.example"  # another agency of the sender's own country, behind the same relay


class Case:
    """One message that was sent for real, and what is needed to forge around it."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.exchange = Exchange(
            {"th": ["desk.oncb", "desk.navy"], "vn": ["intel.c04", "duty.guard"]}, suites=EVERY_SUITE
        )
        for name in (RECIPIENT, SECOND, COLLEAGUE):
            self.exchange.mailbox(name)
        sender = self.exchange.mailbox(SENDER)
        [sent_off] = sender.send_all([Draft(officer_acknowledgement(), [RECIPIENT, SECOND], suite=suite)])
        assert isinstance(sent_off, Receipt), sent_off
        self.digest = sent_off.subject.envelope_digest
        for name in (RECIPIENT, SECOND):
            box = self.exchange.mailbox(name)
            for delivery in box.receive():
                box.acknowledge(delivery)
            box.flush()
        self.exchange.witness()
        sent = sender.spool.sent(self.digest)
        assert sent is not None
        self.envelope = Envelope.parse(sent.raw)
        self.evidence = sender.evidence(self.digest)

    def forge(self, change: Callable[[Case, Wire], None]) -> bytes:
        message = Wire.FromString(self.envelope.raw)
        change(self, message)
        return message.SerializeToString(deterministic=True)

    @property
    def split(self) -> int:
        """Where the second half of a composite signature begins; the middle of any other."""
        [signature] = self.envelope.manifest.dsse.signatures
        return {HYBRID.number: 3309, NIST_HIGH.number: 4627}.get(self.suite.number, len(signature) // 2)


@pytest.fixture(scope="module", params=EVERY_SUITE, ids=lambda suite: suite.name)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def resign(case: Case, message: Wire, *, as_name: str, **header: object) -> None:
    """Let another agency of the same relay sign what it could get hold of."""
    keys = case.exchange.community.members[as_name].identity.epochs[0]
    changed = replace(case.envelope.header, **header)
    manifest = signed_manifest(changed.raw, list(message.wraps), message.body, keys)
    message.manifest.CopyFrom(manifest.dsse.to_wire())


def half_removed(case: Case, message: Wire, *, first: bool) -> None:
    signature = message.manifest.signatures[0]
    signature.sig = signature.sig[case.split :] if first else signature.sig[: case.split]


def zeroed_half(case: Case, message: Wire, *, first: bool) -> None:
    signature = message.manifest.signatures[0]
    before, after = signature.sig[: case.split], signature.sig[case.split :]
    signature.sig = bytes(len(before)) + after if first else before + bytes(len(after))


def readdressed_wrap(case: Case, message: Wire) -> None:
    wrap = envelope_pb2.RecipientWrap.FromString(message.wraps[0])
    wrap.recipient = COLLEAGUE
    message.wraps[0] = wrap.SerializeToString(deterministic=True)


def readdressed_header(case: Case, message: Wire) -> None:
    manifest = envelope_pb2.Manifest.FromString(message.manifest.payload)
    header = envelope_pb2.Header.FromString(manifest.header)
    header.recipients[0].name = COLLEAGUE
    manifest.header = header.SerializeToString(deterministic=True)
    message.manifest.payload = manifest.SerializeToString(deterministic=True)


def swapped_wraps(case: Case, message: Wire) -> None:
    first, second = message.wraps
    message.wraps[:] = [second, first]


def other_body(case: Case, message: Wire) -> None:
    message.body = message.body[:-1] + bytes([message.body[-1] ^ 1])


def other_suite(case: Case, message: Wire, *, stripped: bool) -> None:
    """The weakest suite, or from that one the next; with the half of the signature that would be one of it."""
    manifest = envelope_pb2.Manifest.FromString(message.manifest.payload)
    header = envelope_pb2.Header.FromString(manifest.header)
    header.suite = 3 if case.suite is CLASSICAL else CLASSICAL.number
    manifest.header = header.SerializeToString(deterministic=True)
    message.manifest.payload = manifest.SerializeToString(deterministic=True)
    if stripped:
        message.manifest.signatures[0].sig = message.manifest.signatures[0].sig[case.split :]


def unknown_suite(case: Case, message: Wire, *, number: int) -> None:
    manifest = envelope_pb2.Manifest.FromString(message.manifest.payload)
    header = envelope_pb2.Header.FromString(manifest.header)
    header.suite = number
    manifest.header = header.SerializeToString(deterministic=True)
    message.manifest.payload = manifest.SerializeToString(deterministic=True)


MANIPULATIONS: dict[str, tuple[Callable[[Case, Wire], None], Reason]] = {
    "first half removed": (lambda c, m: half_removed(c, m, first=True), Reason.BAD_SIGNATURE),
    "second half removed": (lambda c, m: half_removed(c, m, first=False), Reason.BAD_SIGNATURE),
    "first half zeroed": (lambda c, m: zeroed_half(c, m, first=True), Reason.BAD_SIGNATURE),
    "second half zeroed": (lambda c, m: zeroed_half(c, m, first=False), Reason.BAD_SIGNATURE),
    "re-signed under the victim's name": (
        lambda c, m: resign(c, m, as_name=COLLEAGUE),
        Reason.BAD_SIGNATURE,
    ),
    "wrap re-addressed": (readdressed_wrap, Reason.BAD_SIGNATURE),
    "header re-addressed": (readdressed_header, Reason.BAD_SIGNATURE),
    "wraps swapped": (swapped_wraps, Reason.BAD_SIGNATURE),
    "body changed": (other_body, Reason.BAD_SIGNATURE),
    "suite lowered": (lambda c, m: other_suite(c, m, stripped=True), Reason.BAD_SIGNATURE),
    "suite renamed": (lambda c, m: other_suite(c, m, stripped=False), Reason.BAD_SIGNATURE),
    "suite of nobody": (lambda c, m: unknown_suite(c, m, number=5), Reason.SUITE_NOT_ACCEPTED),
    "suite of another nation": (lambda c, m: unknown_suite(c, m, number=0x0100), Reason.SUITE_NOT_ACCEPTED),
    "unknown field added": (lambda c, m: m.MergeFromString(b"\x7a\x01x"), Reason.NOT_CANONICAL),
    "hint added": (lambda c, m: m.hints.append(b"x"), Reason.BAD_FIELD),
}
NAMED = pytest.mark.parametrize("name", MANIPULATIONS)


def refused(call: Callable[[], object]) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason


@NAMED
def test_the_recipient_refuses(case: Case, name: str) -> None:
    change, reason = MANIPULATIONS[name]
    member = case.exchange.community.members[RECIPIENT]
    sender = case.exchange.community.members[SENDER].bundle

    def take() -> None:
        envelope = Envelope.parse(case.forge(change))
        own = {member.bundle.digest: member.bundle}
        envelope.open(member.identity, own, case.exchange.directory, sender, now=case.exchange.clock())

    assert refused(take) is reason


@NAMED
def test_the_relay_refuses(case: Case, name: str) -> None:
    change, reason = MANIPULATIONS[name]
    # A relay that has not accepted the original yet: one that has gives its receipt again, whatever the wrapper says.
    node = case.exchange._node("relay.th.example")
    party = case.exchange.directory.party(SENDER, at=case.exchange.clock())
    relay = DirectRelay(case.exchange, node, party)
    relay.publish([case.exchange.community.members[SENDER].bundle])
    size = node.ledger.size
    [result] = relay.submit([case.forge(change)])
    assert isinstance(result, ExchangeError)
    assert (result.reason, node.ledger.size) == (reason, size)


@NAMED
def test_the_auditor_refuses(case: Case, name: str) -> None:
    change, reason = MANIPULATIONS[name]
    raw = case.forge(change)
    message = evidence_pb2.Evidence.FromString(case.evidence.raw)
    message.envelope = raw
    try:
        message.envelope_digest = Envelope.parse(raw).digest  # the forger makes the file as good as it can be made
        evidence = Evidence.parse(message.SerializeToString(deterministic=True))
    except ExchangeError as problem:
        found = problem.reason
    else:
        report = evidence.verify(case.exchange.directory, now=case.exchange.clock())
        assert report.verdict is Verdict.TOTAL_FAILED
        found = Reason[{c.name: c.reason for c in report.checks}["sender's signature"].upper()]
    assert found is reason


def test_another_agency_may_sign_it_as_its_own_and_nobody_can_open_it(case: Case) -> None:
    thief = case.exchange.community.members[COLLEAGUE]
    raw = case.forge(lambda c, m: resign(c, m, as_name=COLLEAGUE, sender=COLLEAGUE, sender_bundle=thief.bundle.digest))
    [result] = case.exchange.mailbox(COLLEAGUE).relay.submit([raw])
    assert isinstance(result, Receipt)  # a relay cannot know what is inside
    for name in (RECIPIENT, SECOND):
        box = case.exchange.mailbox(name)
        assert list(box.receive()) == []
        assert [(r.sender, r.problem.reason, r.signed) for r in box.refused] == [
            (COLLEAGUE, Reason.BAD_CIPHERTEXT, True)
        ]
    [result] = case.exchange.mailbox(SENDER).relay.submit([raw])
    assert isinstance(result, ExchangeError)
    assert result.reason is Reason.NOT_PERMITTED


def test_no_single_byte_can_change_on_the_way_to_a_relay(case: Case) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    node = case.exchange._node("relay.th.example")
    party = case.exchange.directory.party(SENDER, at=case.exchange.clock())
    relay = DirectRelay(case.exchange, node, party)
    relay.publish([case.exchange.community.members[SENDER].bundle])
    raws = []
    for place in rng.sample(range(len(case.envelope.raw)), 300):
        changed = bytearray(case.envelope.raw)
        changed[place] ^= 1 << rng.randrange(8)
        raws.append(bytes(changed))
    for raw, result in zip(raws, relay.submit(raws), strict=True):
        if isinstance(result, Receipt):
            # Only the key id, a hint that decides nothing, may differ: it is the same envelope.
            assert result.subject.envelope_digest == case.digest
            assert Envelope.parse(raw).manifest.dsse.signatures == case.envelope.manifest.dsse.signatures
