"""What a time authority says: read and verified offline, against `openssl ts`, and against what a liar would make."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from infoexchange import tsa
from infoexchange.errors import ExchangeError, Reason
from infoexchange.tsa import TOKEN_SIZE_MAX, Authorities, Stamped, TimeQuery, TimeStamp
from timekeeper import FROZEN, FROZEN_AT, FROZEN_ROOT, NAME, POLICY, Timekeeper, timekeeper

MESSAGE = b"relay.th.example/log\n5\n...\n"
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Timekeeper:
    return timekeeper(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture(scope="module")
def reply(keeper: Timekeeper) -> bytes:
    return keeper.reply(TimeQuery.make(MESSAGE).raw)


def verified(keeper: Timekeeper, raw: bytes, message: bytes = MESSAGE, **how: object) -> Stamped:
    how.setdefault("now", datetime.now(UTC))
    return TimeStamp.parse(raw).verify(message, Authorities.parse(keeper.roots), **how)


def refused(call: Callable[..., object], *args: object, **how: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **how)
    return caught.value.reason


def test_a_token_tells_when_by_whom_and_how_exactly(keeper: Timekeeper) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    query = TimeQuery.make(MESSAGE)
    raw = keeper.reply(query.raw)
    found = verified(keeper, raw, nonce=query.nonce)
    assert before <= found.time <= datetime.now(UTC)
    assert (found.accuracy, found.authority, found.policy) == (1.5 * SECOND, NAME, POLICY)
    assert found.by == found.time + 2.5 * SECOND
    assert TimeStamp.parse(raw).raw == raw


def test_a_clock_that_says_nothing_of_its_accuracy_and_one_with_fractions(keeper: Timekeeper) -> None:
    raw = keeper.reply(TimeQuery.make(MESSAGE).raw, "accuracy", "clock_precision_digits = 6", "tsa_name = yes")
    found = verified(keeper, raw)
    assert found.accuracy is None
    assert found.by == found.time + SECOND > datetime.now(UTC) - 60 * SECOND


def test_openssl_judges_the_same_files(keeper: Timekeeper, reply: bytes) -> None:
    (keeper.folder / "5.tsr").write_bytes(reply)
    (keeper.folder / "5.checkpoint").write_bytes(MESSAGE)
    keeper.openssl("ts", "-verify", "-data", "5.checkpoint", "-in", "5.tsr", "-CAfile", "roots.pem")


def test_an_authority_may_leave_its_certificate_out(keeper: Timekeeper) -> None:
    raw = keeper.reply(keeper.query(MESSAGE, "-sha256"))
    now = datetime.now(UTC)
    assert refused(verified, keeper, raw) is Reason.BAD_SIGNATURE
    both = Authorities.parse(keeper.roots + (keeper.folder / "signer.pem").read_bytes())
    assert TimeStamp.parse(raw).verify(MESSAGE, both, now=now).authority == NAME
    alone = Authorities.parse((keeper.folder / "signer.pem").read_bytes())
    assert refused(TimeStamp.parse(raw).verify, MESSAGE, alone, now=now) is Reason.BAD_SIGNATURE  # no root was named


def test_what_is_stamped_and_asked_is_compared(keeper: Timekeeper, reply: bytes) -> None:
    assert refused(verified, keeper, reply, MESSAGE + b"\n") is Reason.BAD_PROOF
    assert refused(verified, keeper, reply, nonce=5) is Reason.REPLAYED
    longer = keeper.reply(keeper.query(MESSAGE, "-sha512", "-cert"))
    assert refused(verified, keeper, longer) is Reason.BAD_FIELD


def test_times_that_cannot_be(keeper: Timekeeper, reply: bytes) -> None:
    time = verified(keeper, reply).time
    assert verified(keeper, reply, now=time - 300 * SECOND).time == time
    assert refused(verified, keeper, reply, now=time - 301 * SECOND) is Reason.NOT_YET_VALID
    assert verified(keeper, reply, now=time + timedelta(days=3650)).time == time  # long after the certificate's end
    query = TimeQuery.make(MESSAGE).raw
    assert verified(keeper, keeper.reply(query, "accuracy = secs:86400")).accuracy == timedelta(days=1)
    assert refused(verified, keeper, keeper.reply(query, "accuracy = secs:86401")) is Reason.BAD_FIELD


def test_others_cannot_sign(keeper: Timekeeper, reply: bytes, tmp_path: Path) -> None:
    other = Timekeeper(tmp_path / "other")
    assert refused(verified, other, reply) is Reason.BAD_SIGNATURE
    # What is under the right root, but no time authority
    keeper.certify("server", "Web server", usage=x509.ExtendedKeyUsageOID.SERVER_AUTH)
    assert verified(keeper, keeper.forged(reply, "signer")).authority == NAME  # so the forging itself is not refused
    assert refused(verified, keeper, keeper.forged(reply, "server")) is Reason.BAD_SIGNATURE
    # What was one until yesterday
    keeper.certify("late", "Late authority", until=timedelta(days=-1))
    assert refused(verified, keeper, keeper.forged(reply, "late")) is Reason.BAD_SIGNATURE


def test_a_second_certificate_that_could_be_meant(keeper: Timekeeper, reply: bytes) -> None:
    keeper.second(of=keeper.signer)
    raw = keeper.forged(reply, "signer", "-certfile", "second.pem")
    assert len(TimeStamp.parse(raw)._parsed.signed_data.certificates) == 2
    assert refused(verified, keeper, raw) is Reason.BAD_SIGNATURE


def test_an_authority_that_says_no(keeper: Timekeeper, reply: bytes) -> None:
    rejected = keeper.reply(keeper.query(MESSAGE, "-sha1", "-cert"))
    assert refused(TimeStamp.parse, rejected) is Reason.MALFORMED
    at = reply.index(bytes.fromhex("3003020100")) + 4
    changed = reply[:at] + b"\x01" + reply[at + 1 :]  # granted, but with modifications
    assert refused(verified, keeper, changed) is Reason.BAD_FIELD
    assert refused(verified, keeper, reply[:at] + b"\x40" + reply[at + 1 :]) is Reason.BAD_FIELD  # no status at all


# Bytes, of a token that was made once: no OpenSSL is needed


@pytest.fixture
def frozen() -> Authorities:
    pytest.importorskip("rfc3161_client", reason="the extra tsa is not installed")
    return Authorities.parse(FROZEN_ROOT)


def test_each_flipped_bit_is_refused_or_changes_nothing(frozen: Authorities) -> None:
    expected = TimeStamp.parse(FROZEN).verify(b"hello", frozen, now=FROZEN_AT)
    assert (expected.time, expected.authority) == (FROZEN_AT, NAME)
    idle = 0
    for bit in range(0, 8 * len(FROZEN), 23):
        spoilt = bytearray(FROZEN)
        spoilt[bit // 8] ^= 1 << bit % 8
        try:
            assert TimeStamp.parse(bytes(spoilt)).verify(b"hello", frozen, now=FROZEN_AT) == expected
            idle += 1
        except ExchangeError:
            pass
    assert idle < 8  # versions, and the name of the signature algorithm


def test_each_end_that_is_missing_is_refused(frozen: Authorities) -> None:
    for length in (*range(0, len(FROZEN), 17), len(FROZEN) - 1):
        assert refused(TimeStamp.parse, FROZEN[:length]) is Reason.MALFORMED
    assert refused(TimeStamp.parse, FROZEN + b"\0") is Reason.MALFORMED


def test_bytes_of_nobody(frozen: Authorities) -> None:
    rng = random.Random(5)
    for _ in range(200):
        spoilt = bytearray(FROZEN)
        for _ in range(rng.randrange(1, 4)):
            spoilt[rng.randrange(len(spoilt))] = rng.choice((0, 1, 0x30, 0x7F, 0x80, 0xFF))
        with contextlib.suppress(ExchangeError):  # and nothing else
            TimeStamp.parse(bytes(spoilt)).verify(b"hello", frozen, now=FROZEN_AT)
    assert refused(TimeStamp.parse, bytes(TOKEN_SIZE_MAX)) is Reason.MALFORMED
    assert refused(TimeStamp.parse, bytes(TOKEN_SIZE_MAX + 1)) is Reason.TOO_LARGE


def test_authorities_are_a_file_of_certificates(frozen: Authorities) -> None:
    assert len(Authorities.parse(FROZEN_ROOT * 2).certificates) == 2
    for pem in (b"", b"nothing", FROZEN_ROOT[:200], FROZEN):
        assert refused(Authorities.parse, pem) is Reason.BAD_CERTIFICATE


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    for call in (TimeQuery.make, TimeStamp.parse, Authorities.parse):
        with pytest.raises(ExchangeError) as caught:
            call(FROZEN_ROOT)
        assert caught.value.reason is Reason.UNAVAILABLE
        assert "pip install 'infoexchange[tsa]'" in str(caught.value)
    assert tsa.TOKEN_SIZE_MAX == TOKEN_SIZE_MAX  # the module itself is there
