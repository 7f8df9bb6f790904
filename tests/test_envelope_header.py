"""Headers by themselves: how long, how many and how late at most, and which fields go together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from infoexchange import wire
from infoexchange.errors import ExchangeError, Reason
from infoexchange.header import LIFETIME_DEFAULT, Header, Recipient
from infoexchange.states import OpStatus, Precedence
from infoexchange.v1 import envelope_pb2

DAY_MS = 24 * 3600 * 1000
DIGEST = bytes(32)

Change = Callable[[envelope_pb2.Header], object]


def raw_of(change: Change = lambda _: None) -> bytes:
    message = envelope_pb2.Header(
        version=1,
        suite=2,
        message_id=bytes(range(16)),
        sender="desk.th.example",
        sender_bundle=DIGEST,
        recipients=[envelope_pb2.Recipient(name="a.vn.example", bundle=DIGEST)],
        op_status=envelope_pb2.OP_STATUS_EXERCISE,
        precedence=envelope_pb2.PRECEDENCE_ROUTINE,
        created_ms=1_000,
        expires_ms=1_000 + DAY_MS,
        sequence=1,
        content_commitment=DIGEST,
    )
    change(message)
    return wire.canonical(message)


def reason_of(raw: bytes) -> tuple[Reason, str]:
    with pytest.raises(ExchangeError) as caught:
        Header.parse(raw)
    return caught.value.reason, caught.value.field


def named(count: int, **fields: bytes) -> Change:
    """As many recipients as that."""
    recipients = [
        envelope_pb2.Recipient(name=f"a{i}.vn.example", **(fields or {"bundle": DIGEST})) for i in range(count)
    ]

    def change(message: envelope_pb2.Header) -> None:
        message.ClearField("recipients")
        message.recipients.extend(recipients)

    return change


def blind(count: int) -> Change:
    return lambda m: (named(count)(m), setattr(m, "blind_recipients", True))


def follows(sequence: int, previous: bytes) -> Change:
    return lambda m: (setattr(m, "sequence", sequence), setattr(m, "previous", previous))


@pytest.mark.parametrize(
    "change",
    [
        named(1),
        named(2),
        named(64),
        named(1, epoch_kek=bytes(16)),
        blind(0),
        lambda m: setattr(m, "expires_ms", m.created_ms + 1),
        lambda m: setattr(m, "expires_ms", m.created_ms + 90 * DAY_MS),
        follows(1, b""),
        follows(2, DIGEST),
        follows(2**40, DIGEST),
        lambda m: setattr(m, "grant", DIGEST),
    ],
)
def test_what_is_allowed_is_written_as_it_was_read(change: Change) -> None:
    raw = raw_of(change)
    assert Header.parse(raw).raw == raw


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (named(0), "header.recipients"),
        (named(65), "header.recipients"),
        (lambda m: m.recipients.append(m.recipients[0]), "header.recipients"),
        (blind(1), "header.recipients"),
        (blind(2), "header.recipients"),
        (lambda m: setattr(m, "expires_ms", m.created_ms), "header.expires_ms"),
        (lambda m: setattr(m, "expires_ms", m.created_ms - 1), "header.expires_ms"),
        (lambda m: setattr(m, "expires_ms", m.created_ms + 90 * DAY_MS + 1), "header.expires_ms"),
        (follows(0, b""), "header.sequence"),
        (follows(0, DIGEST), "header.sequence"),
        (follows(1, DIGEST), "header.sequence"),
        (follows(2, b""), "header.sequence"),
        (lambda m: setattr(m, "message_id", bytes(15)), "header.message_id"),
        (lambda m: setattr(m, "message_id", bytes(17)), "header.message_id"),
        (lambda m: setattr(m, "message_id", b""), "header.message_id"),
        (lambda m: setattr(m, "grant", bytes(31)), "header.grant"),
        (follows(2, bytes(31)), "header.previous"),
        (named(1, epoch_kek=bytes(15)), "header.recipients.epoch_kek"),
        (named(1, epoch_kek=bytes(17)), "header.recipients.epoch_kek"),
        (named(1, bundle=bytes(31)), "header.recipients.bundle"),
        (named(1, bundle=DIGEST, epoch_kek=bytes(16)), "header.recipients.bundle"),
        (named(1, bundle=b""), "header.recipients.bundle"),
        (lambda m: setattr(m, "op_status", 9), "header.op_status"),
        (lambda m: setattr(m, "precedence", 9), "header.precedence"),
    ],
)
def test_what_does_not_fit_is_refused(change: Change, field: str) -> None:
    assert reason_of(raw_of(change)) == (Reason.BAD_FIELD, field)


@pytest.mark.parametrize("version", [0, 2])
def test_there_is_one_version(version: int) -> None:
    assert reason_of(raw_of(lambda m: setattr(m, "version", version)))[0] is Reason.UNKNOWN_VERSION


def test_a_header_has_16_kib_at_most() -> None:
    assert reason_of(bytes(16 * 1024)) == (Reason.MALFORMED, "header")
    assert reason_of(bytes(16 * 1024 + 1)) == (Reason.TOO_LARGE, "header")


def test_what_is_left_out_is_empty() -> None:
    assert Recipient("a.vn.example") == Recipient("a.vn.example", bundle=b"", epoch_kek=b"")
    created = datetime(2026, 1, 1, tzinfo=UTC)
    header = Header(
        suite=2,
        message_id=bytes(16),
        sender="desk.th.example",
        sender_bundle=DIGEST,
        recipients=(),
        op_status=OpStatus.EXERCISE,
        precedence=Precedence.ROUTINE,
        created_at=created,
        expires_at=created + LIFETIME_DEFAULT,
        sequence=1,
        previous=b"",
        content_commitment=DIGEST,
    )
    assert (header.blind, header.grant) == (False, b"")
    assert header.expires_at == created + timedelta(days=14)


def test_an_envelope_is_claimed_by_sender_and_message_id() -> None:
    assert Header.parse(raw_of()).claim == sha256(b"desk.th.example\x00" + bytes(range(16))).digest()


def test_what_is_left_out_is_not_there() -> None:
    """Whoever makes a header without these fields says nothing of them: signed long ago, it must stay so."""
    assert timedelta(days=14) == LIFETIME_DEFAULT
    plain = Recipient("a.vn.example")
    assert (plain.bundle, plain.epoch_kek) == (b"", b"")
    fields = Header.__dataclass_fields__
    assert (fields["blind"].default, fields["grant"].default) == (False, b"")
