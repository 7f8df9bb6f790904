"""Epoch KEKs: shared once, used for many envelopes, and never for anybody or anything else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import suites
from infoexchange.content import Content
from infoexchange.draft import Draft
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.mailbox import Mailbox
from infoexchange.ports import Result
from infoexchange.receipt import Receipt
from infoexchange.states import OpStatus
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.testing.clock import START
from infoexchange.wrap import EPOCH_KEK_NOTICE, EpochKek
from messages import officer_acknowledgement


def taken(results: list[Result]) -> None:
    for result in results:
        assert isinstance(result, Receipt), result


def shared(exchange: Exchange, *names: str) -> Mailbox:
    """Return the sender's mailbox, once it shares a KEK with each of the names."""
    boxes = [exchange.mailbox(name) for name in names]
    sender = exchange.mailbox(SENDER)
    taken(sender.share_keks(names))
    for box in boxes:
        assert list(box.receive()) == []  # nothing reaches the application
        assert box.refused == []
    sender.refresh()
    return sender


def newest(box: Mailbox) -> Envelope:
    sent = box.spool.sent(box.spool.standing().digest)
    assert sent is not None
    return Envelope.parse(sent.raw)


def test_later_envelopes_carry_epoch_wraps_and_open(exchange: Exchange) -> None:
    sender = shared(exchange, RECIPIENT, SECOND)
    sender.send(officer_acknowledgement(), [RECIPIENT, SECOND])
    envelope = newest(sender)
    assert envelope.wraps == ()
    assert len(envelope.manifest.epoch_wraps) == 2
    for name in (RECIPIENT, SECOND):
        [delivery] = exchange.mailbox(name).receive()
        assert delivery.message == officer_acknowledgement()


def test_one_more_recipient_costs_120_bytes_at_most(exchange: Exchange) -> None:
    sender = shared(exchange, RECIPIENT, SECOND)
    sizes = []
    for to in ([RECIPIENT], [RECIPIENT, SECOND]):
        sender.send(officer_acknowledgement(), to)
        sizes.append(len(newest(sender).raw))
    assert sizes[1] - sizes[0] <= 120


def test_a_mixture_of_epoch_keks_and_bundles_opens(exchange: Exchange) -> None:
    sender = shared(exchange, RECIPIENT)
    exchange.mailbox(SECOND)
    sender.send(officer_acknowledgement(), [SECOND, RECIPIENT])
    assert (len(newest(sender).wraps), len(newest(sender).manifest.epoch_wraps)) == (1, 1)
    for name in (RECIPIENT, SECOND):
        assert [delivery.message for delivery in exchange.mailbox(name).receive()] == [officer_acknowledgement()]


def test_it_is_not_used_before_the_recipient_holds_it(exchange: Exchange) -> None:
    exchange.mailbox(RECIPIENT)
    sender = exchange.mailbox(SENDER)
    taken(sender.share_keks([RECIPIENT]))
    sender.refresh()
    sender.send(officer_acknowledgement(), [RECIPIENT])
    assert len(newest(sender).wraps) == 1


def test_it_serves_its_suite_and_its_time_only(exchange: Exchange) -> None:
    sender = shared(exchange, RECIPIENT)
    taken(sender.send_all([Draft(officer_acknowledgement(), [RECIPIENT], suite=HYBRID_KEM)]))
    assert len(newest(sender).wraps) == 1
    taken(sender.send_all([Draft(officer_acknowledgement(), [RECIPIENT], blind=True)]))
    assert len(newest(sender).wraps) == 1


def test_another_process_of_the_same_agency_opens_too(exchange: Exchange) -> None:
    """Nothing but the spool and the key file is needed: no KEK lives in memory alone."""
    sender = shared(exchange, RECIPIENT)
    member = exchange.community.members[RECIPIENT]
    first = exchange.mailbox(RECIPIENT)
    again = Mailbox(
        member.identity, [member.bundle], exchange.directory, first.relay, first.spool, clock=exchange.clock
    )
    sender.send(officer_acknowledgement(), [RECIPIENT])
    assert [delivery.message for delivery in again.receive()] == [officer_acknowledgement()]


def test_what_is_sealed_with_a_kek_not_held_waits(exchange: Exchange) -> None:
    sender = shared(exchange, RECIPIENT)
    box = exchange.mailbox(RECIPIENT)
    rows = box.spool.keks()
    box.spool.forget(exchange.clock() + timedelta(days=365))  # lost, with a backup that was too old
    box._keks._received.clear()
    sender.send(officer_acknowledgement(), [RECIPIENT])
    assert list(box.receive()) == []
    assert [refusal.problem.reason for refusal in box.refused] == [Reason.STALE_BUNDLE]
    for row in rows:
        box.spool.note_kek(row)
    assert len(list(box.receive())) == 1


END = START + timedelta(days=30)


def kek(**changes: object) -> EpochKek:
    made = EpochKek(bytes(16), SENDER, RECIPIENT, 2, END, b"k" * 32)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sender": SECOND}, Reason.BAD_CIPHERTEXT),
        ({"recipient": SECOND}, Reason.BAD_CIPHERTEXT),
        ({"suite": 3}, Reason.BAD_CIPHERTEXT),
        ({"not_after": END - timedelta(days=40)}, Reason.STALE_BUNDLE),
    ],
)
def test_a_kek_is_for_one_pair_one_suite_and_one_epoch(changes: dict[str, object], reason: Reason) -> None:
    at = END - timedelta(days=1)
    kek().check_serves(sender=SENDER, recipient=RECIPIENT, suite=2, at=at)
    with pytest.raises(ExchangeError) as caught:
        kek(**changes).check_serves(sender=SENDER, recipient=RECIPIENT, suite=2, at=at)
    assert caught.value.reason is reason


def test_wraps_of_different_envelopes_recipients_and_keks_differ_and_do_not_open_one_another() -> None:
    content_key, header = b"c" * suites.CONTENT_KEY_SIZE, bytes(32)
    wrapped = kek().wrap(content_key, header)
    assert len(wrapped) == 48
    assert kek().unwrap(wrapped, header) == content_key
    for other, place in (
        (kek(), b"\x01" * 32), (kek(recipient=SECOND), header), (kek(name=b"\x01" * 16), header),
        (kek(suite=3), header), (kek(secret=bytes(32)), header),
    ):  # fmt: skip
        with pytest.raises(ExchangeError) as caught:
            other.unwrap(wrapped, place)
        assert caught.value.reason is Reason.BAD_CIPHERTEXT
    for cut in (wrapped[:-1], wrapped + b"\x00", b"", bytes([wrapped[0] ^ 1]) + wrapped[1:]):
        with pytest.raises(ExchangeError) as caught:
            kek().unwrap(cut, header)
        assert caught.value.reason is Reason.BAD_CIPHERTEXT


def test_a_notice_is_for_one_recipient_alone(exchange: Exchange) -> None:
    """A hostile agency sends one KEK to two, who could then open what is sealed to the other."""
    for name in (RECIPIENT, SECOND):
        exchange.mailbox(name)
    sender = exchange.mailbox(SENDER)
    desk = sender._desk
    now = exchange.clock()
    desk.keyring.learn([RECIPIENT, SECOND], desk.relay)

    def draw_up(after):
        header = desk.header(after, suites.DEFAULT_SUITE, now, timedelta(days=1))
        content = Content.make(EPOCH_KEK_NOTICE, EpochKek.notice(now + timedelta(days=9)))
        bundles = [exchange.community.members[name].bundle for name in (RECIPIENT, SECOND)]
        assert header.op_status is OpStatus.SYSTEM
        return Envelope.draw_up(content, header, bundles, b"c" * 32)

    [(result, _)] = sender._outbox.dispatch([draw_up])
    assert isinstance(result, Receipt)
    box = exchange.mailbox(RECIPIENT)
    assert list(box.receive()) == []
    assert [(refusal.problem.reason, refusal.signed) for refusal in box.refused] == [(Reason.BAD_FIELD, True)]
    assert box.spool.keks() == []


def test_nothing_secret_is_in_the_spool(exchange: Exchange) -> None:
    sender = shared(exchange, RECIPIENT)
    [row] = sender.spool.keks()
    assert row.ready
    envelope = Envelope.parse(row.raw)
    member = exchange.community.members[SENDER]
    content_key = sender._keks._content_key(envelope.header)
    secrets = [content_key, member.identity.epochs[0].wrapping]
    assert not any(secret in row.raw for secret in secrets)
