"""Cosignatures by themselves: read from a witness's answer, made and verified with a witness's key only."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from infoexchange.errors import ExchangeError, Reason
from infoexchange.tlog.checkpoint import Checkpoint
from infoexchange.tlog.cosignature import Cosignature, verify_cosignatures
from infoexchange.tlog.note import Signature
from test_tlog_policy import signer

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORIGIN = "relay.th.example/audit"
LOG = [signer(ORIGIN, 1), signer(ORIGIN, 6)]
WITNESSES = [signer("relay.la.example/witness", key_type) for key_type in (4, 6)]
CHECKPOINT = Checkpoint.sign(ORIGIN, 300, hashlib.sha256(b"root").digest(), LOG, now=NOW)
MADE = [Cosignature.sign(CHECKPOINT, one, now=NOW) for one in WITNESSES]


def reason_of(call, *args, **named):
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    return caught.value.reason, caught.value.field


def test_an_answer_has_a_line_for_each():
    for one in MADE:
        assert Cosignature.parse(one.raw) == one
        assert one.raw == one.signature.raw
        assert one.time == int(NOW.timestamp())
    assert Cosignature.parse_all(b"".join(one.raw for one in MADE)) == tuple(MADE)
    assert Cosignature.parse_all(MADE[0].raw) == (MADE[0],)
    for wrong in (b"", MADE[0].raw[:-1], MADE[0].raw + b"\n"):
        assert reason_of(Cosignature.parse_all, wrong)[0] is Reason.MALFORMED


@pytest.mark.parametrize("size", [9, 64, 71, 73, 2420, 2427, 2429])
def test_a_cosignature_has_one_of_two_lengths(size):
    line = Signature("relay.la.example/witness", b"1234", b"\x00" * 7 + b"\x01" * (size - 7))
    assert reason_of(Cosignature.of, line) == (Reason.BAD_FIELD, "cosignature")


@pytest.mark.parametrize("place", [0, 1])
def test_a_witness_key_verifies_what_it_signed(place):
    one, key = MADE[place], WITNESSES[place].key
    assert one.verify(CHECKPOINT, key, now=NOW) == key
    assert one.verify(CHECKPOINT, key, now=NOW - timedelta(minutes=5)) == key
    assert reason_of(one.verify, CHECKPOINT, key, now=NOW - timedelta(minutes=6))[0] is Reason.NOT_YET_VALID
    assert reason_of(one.verify, CHECKPOINT, WITNESSES[1 - place].key, now=NOW)[0] is Reason.BAD_SIGNATURE
    other = Checkpoint.sign(ORIGIN, 301, CHECKPOINT.root, LOG, now=NOW)
    assert reason_of(one.verify, other, key, now=NOW)[0] is Reason.BAD_SIGNATURE
    noted = CHECKPOINT.with_signatures([one.signature])
    assert verify_cosignatures(noted, [key], now=NOW) == {key: one}
    early = {"now": NOW - timedelta(minutes=6)}
    assert reason_of(verify_cosignatures, noted, [key], **early)[0] is Reason.NOT_YET_VALID
    moved = other.with_signatures([one.signature])
    assert reason_of(verify_cosignatures, moved, [key], now=NOW)[0] is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("wrong", [signer("w.example", 1), signer(ORIGIN, 4), signer(ORIGIN, 6, "another")])
def test_no_other_key_is_a_witness(wrong):
    """A plain key, and any key under the name of the log."""
    assert reason_of(Cosignature.sign, CHECKPOINT, wrong, now=NOW) == (Reason.BAD_FIELD, "key")
    line = replace(MADE[0].signature, name=wrong.key.name, key_id=wrong.key.id)
    assert reason_of(Cosignature.of(line).verify, CHECKPOINT, wrong.key, now=NOW) == (Reason.BAD_FIELD, "key")
    assert reason_of(verify_cosignatures, CHECKPOINT, [wrong.key], now=NOW) == (Reason.BAD_FIELD, "key")


def test_of_two_by_one_witness_the_earlier_counts():
    later = Cosignature.sign(CHECKPOINT, WITNESSES[0], now=NOW + timedelta(minutes=1))
    for order in ([later, MADE[0]], [MADE[0], later]):
        noted = CHECKPOINT.with_signatures([one.signature for one in order])
        assert verify_cosignatures(noted, [WITNESSES[0].key], now=NOW) == {WITNESSES[0].key: MADE[0]}
    assert verify_cosignatures(CHECKPOINT, [one.key for one in WITNESSES], now=NOW) == {}
    assert verify_cosignatures(CHECKPOINT.with_signatures([later.signature]), [], now=NOW) == {}
