"""Who learns of whom: blind recipients, groups, gateways, and several envelopes under one signature."""

from __future__ import annotations

from hashlib import sha256

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.draft import Draft
from infoexchange.dsse import Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.ports import Result
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.v1 import envelope_pb2
from messages import officer_acknowledgement


def sent(results: list[Result]) -> list[Receipt]:
    for result in results:
        assert isinstance(result, Receipt), result
    return results  # type: ignore[return-value]


def blind(exchange: Exchange, *to: str) -> bytes:
    for name in to:
        exchange.mailbox(name)
    draft = Draft(officer_acknowledgement(), list(to), blind=True)
    [receipt] = sent(exchange.mailbox(SENDER).send_all([draft]))
    return receipt.subject.envelope_digest


def test_blind_recipients_learn_of_no_other(exchange: Exchange) -> None:
    digest = blind(exchange, RECIPIENT, SECOND)
    for name, other in ((RECIPIENT, SECOND), (SECOND, RECIPIENT)):
        box = exchange.mailbox(name)
        [delivery] = box.receive()
        assert delivery.digest == digest
        assert other.encode() not in delivery.envelope.raw
        box.acknowledge(delivery)
        assert list(box.receive()) == []
        history = box.history(digest)
        named = {recipient for receipt in history.events for recipient in receipt.routing.recipients}
        assert named == {name}
        assert Event.OPENED in {receipt.routing.event for receipt in history.events}
        assert all(other.encode() not in receipt.raw for receipt in history.events)
        assert len(history.statements) == 1


def test_the_sender_of_a_blind_envelope_sees_what_became_of_it(exchange: Exchange) -> None:
    digest = blind(exchange, RECIPIENT, SECOND)
    for name in (RECIPIENT, SECOND):
        box = exchange.mailbox(name)
        for delivery in box.receive():
            box.acknowledge(delivery)
        list(box.receive())
    events = exchange.mailbox(SENDER).history(digest).events
    opened = {receipt.routing.recipients for receipt in events if receipt.routing.event is Event.OPENED}
    assert opened == {(RECIPIENT,), (SECOND,)}


def test_the_number_of_blind_recipients_is_hidden(exchange: Exchange) -> None:
    blind(exchange, *[name for name in exchange.community.members if name != SENDER][:3])
    [delivery] = exchange.mailbox(RECIPIENT).receive()
    digests = delivery.envelope.manifest.wrap_digests
    assert len(digests) == 4
    assert list(digests) == sorted(digests)
    assert delivery.envelope.header.recipients == ()


def test_evidence_of_a_blind_envelope_holds(exchange: Exchange) -> None:
    digest = blind(exchange, RECIPIENT)
    box = exchange.mailbox(RECIPIENT)
    for delivery in box.receive():
        box.acknowledge(delivery)
    list(box.receive())
    report = exchange.mailbox(SENDER).evidence(digest).verify(exchange.directory, now=exchange.clock())
    assert {check.name for check in report.checks if check.reason} == {"checkpoints witnessed"}  # nobody witnesses here
    assert f"outcome for {RECIPIENT}" in {check.name for check in report.checks}


def test_a_relay_is_not_made_to_deliver_to_whom_the_sender_did_not_seal(exchange: Exchange) -> None:
    """The wrap of a blind envelope cannot be readdressed, and none can be added."""
    blind(exchange, RECIPIENT)
    [sent_one] = [exchange.mailbox(SENDER).spool.sent(d) for d in [exchange.mailbox(SENDER).spool.standing().digest]]
    assert sent_one is not None
    message = envelope_pb2.Envelope.FromString(sent_one.raw)
    wrap = envelope_pb2.RecipientWrap.FromString(message.wraps[0])
    wrap.recipient = SECOND
    message.wraps[0] = wrap.SerializeToString(deterministic=True)
    envelope = Envelope.parse(message.SerializeToString(deterministic=True))
    bundle = exchange.community.members[SENDER].bundle
    with pytest.raises(ExchangeError) as caught:
        envelope.verify(exchange.directory, bundle, now=exchange.clock())
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_groups_and_addressees_are_recorded_sealed_and_committed_to(exchange: Exchange) -> None:
    exchange.mailbox(RECIPIENT)
    draft = Draft(officer_acknowledgement(), [RECIPIENT], addressees=[SECOND])
    sent(exchange.mailbox(SENDER).send_all([draft]))
    [delivery] = exchange.mailbox(RECIPIENT).receive()
    assert delivery.content.addressees == (SECOND,)
    assert b"D" + SECOND.encode() in delivery.content.records
    assert SECOND.encode() not in delivery.envelope.raw


# One signature for many


def test_a_batch_is_delivered_one_by_one_under_one_signature(exchange: Exchange) -> None:
    exchange.mailbox(RECIPIENT)
    drafts = [Draft(officer_acknowledgement(), [RECIPIENT]) for _ in range(5)]
    sent(exchange.mailbox(SENDER).send_all(drafts))
    deliveries = list(exchange.mailbox(RECIPIENT).receive())
    containers = [delivery.envelope.manifest.dsse for delivery in deliveries]
    assert len({container.signatures for container in containers}) == 1
    assert sorted(container.batch.index for container in containers if container.batch) == [0, 1, 2, 3, 4]
    assert len({delivery.digest for delivery in deliveries}) == 5


def test_one_alone_is_signed_for_itself(exchange: Exchange) -> None:
    exchange.mailbox(RECIPIENT)
    sent(exchange.mailbox(SENDER).send_all([Draft(officer_acknowledgement(), [RECIPIENT])]))
    [delivery] = exchange.mailbox(RECIPIENT).receive()
    assert delivery.envelope.manifest.dsse.batch is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda proof: setattr(proof, "index", 1), Reason.BAD_SIGNATURE),
        (lambda proof: setattr(proof, "index", 3), Reason.BAD_FIELD),
        (lambda proof: setattr(proof, "count", 4), Reason.BAD_SIGNATURE),
        (lambda proof: setattr(proof, "count", 1), Reason.BAD_FIELD),
        (lambda proof: setattr(proof, "count", 257), Reason.BAD_FIELD),
        (lambda proof: proof.path.pop(), Reason.BAD_FIELD),
        (lambda proof: proof.path.append(bytes(32)), Reason.BAD_FIELD),
        (lambda proof: proof.path.__setitem__(0, bytes(32)), Reason.BAD_SIGNATURE),
        (lambda proof: proof.path.__setitem__(0, bytes(31)), Reason.BAD_FIELD),
    ],
)
def test_a_changed_batch_proof_is_refused(exchange: Exchange, change: object, reason: Reason) -> None:
    exchange.mailbox(RECIPIENT)
    sent(exchange.mailbox(SENDER).send_all([Draft(officer_acknowledgement(), [RECIPIENT]) for _ in range(3)]))
    delivery = next(d for d in exchange.mailbox(RECIPIENT).receive() if d.envelope.manifest.dsse.batch.index == 0)
    message = envelope_pb2.Envelope.FromString(delivery.envelope.raw)
    change(message.manifest.batch)  # type: ignore[operator]
    bundle, raw = exchange.community.members[SENDER].bundle, message.SerializeToString(deterministic=True)
    with pytest.raises(ExchangeError) as caught:
        Envelope.parse(raw).verify(exchange.directory, bundle, now=exchange.clock())
    assert caught.value.reason is reason


def test_only_manifests_are_signed_in_batches(exchange: Exchange) -> None:
    bundle = exchange.community.members[SENDER].bundle
    container = envelope_pb2.Dsse.FromString(bundle.raw)
    container.batch.count, container.batch.index = 2, 0
    container.batch.path.append(sha256(b"").digest())
    with pytest.raises(ExchangeError) as caught:
        Dsse.parse(
            container.SerializeToString(deterministic=True), payload_type=container.payload_type, size_max=1 << 20
        )
    assert caught.value.reason is Reason.BAD_FIELD
