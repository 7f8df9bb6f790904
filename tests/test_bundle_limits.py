"""Key bundles as they are read, before anything is proven: how large, how long, how many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.dsse import TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.v1 import bundle_pb2

DAY_MS = 24 * 3600 * 1000
DIGEST = bytes(32)

Change = Callable[[bundle_pb2.KeyBundle], object]


def raw_of(change: Change = lambda _: None) -> bytes:
    message = bundle_pb2.KeyBundle(
        owner="desk.th.example",
        epoch=1,
        not_before_ms=1_000,
        not_after_ms=1_000 + DAY_MS,
        enc_keys=[bundle_pb2.EncKey(suite=2, public_key=b"key")],
        sig_keys=[
            bundle_pb2.SigKey(suite=2, public_key=b"%d" % usage, usage=usage)
            for usage in (bundle_pb2.KEY_USAGE_MANIFEST, bundle_pb2.KEY_USAGE_ACKNOWLEDGEMENT)
        ],
        accept_suites=[2],
        identity_certs=[DIGEST, DIGEST],
    )
    change(message)
    return Dsse.make(TYPE_KEYBUNDLE, wire.canonical(message), [(b"signature", "")]).raw


def reason_of(raw: bytes, *others: tuple[bytes, ...]) -> tuple[Reason, str]:
    with pytest.raises(ExchangeError) as caught:
        KeyBundle.parse(raw, *others)
    return caught.value.reason, caught.value.field


def epoch(number: int, previous: bytes = DIGEST, *, withdraws: bool = False) -> Change:
    def change(message: bundle_pb2.KeyBundle) -> None:
        message.epoch, message.previous, message.withdraws_older = number, previous, withdraws

    return change


def padded(size: int) -> bytes:
    """A bundle of just that many bytes, by a long public key."""

    def keyed(length: int) -> bytes:
        return raw_of(lambda m: setattr(m.enc_keys[0], "public_key", bytes(length)))

    return keyed(size - (len(keyed(size)) - size))


@pytest.mark.parametrize(
    "change",
    [
        epoch(1, b""),
        epoch(2),
        epoch(2, withdraws=True),
        epoch(2**63 - 1),
        lambda m: setattr(m, "not_after_ms", m.not_before_ms + 1),
        lambda m: setattr(m, "not_after_ms", m.not_before_ms + 30 * DAY_MS),
    ],
)
def test_what_is_allowed_is_kept_as_it_was_read(change: Change) -> None:
    raw = raw_of(change)
    assert KeyBundle.parse(raw).raw == raw


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (epoch(0), "bundle.not_after_ms"),
        (epoch(2**63), "bundle.not_after_ms"),
        (epoch(2**64 - 1), "bundle.not_after_ms"),
        (lambda m: setattr(m, "not_after_ms", m.not_before_ms), "bundle.not_after_ms"),
        (lambda m: setattr(m, "not_after_ms", m.not_before_ms + 30 * DAY_MS + 1), "bundle.not_after_ms"),
        (epoch(0, b""), "bundle.previous"),
        (epoch(1), "bundle.previous"),
        (epoch(2, b""), "bundle.previous"),
        (epoch(1, b"", withdraws=True), "bundle.previous"),
        (epoch(2, bytes(31)), "bundle.previous"),
        (lambda m: m.identity_certs.append(DIGEST), "bundle.identity_certs"),
        (lambda m: m.identity_certs.pop(), "bundle.identity_certs"),
    ],
)
def test_what_does_not_fit_is_refused(change: Change, field: str) -> None:
    assert reason_of(raw_of(change)) == (Reason.BAD_FIELD, field)


def test_a_bundle_has_64_kib_at_most() -> None:
    longest = padded(64 * 1024)
    assert len(longest) == 64 * 1024
    assert KeyBundle.parse(longest).raw == longest
    assert reason_of(padded(64 * 1024 + 1)) == (Reason.TOO_LARGE, "dsse")


def test_a_revocation_list_has_1_mib_at_most() -> None:
    raw, longest = raw_of(), bytes(1024 * 1024)
    assert KeyBundle.parse(raw, (), (b"", longest)).crls == (b"", longest)
    assert reason_of(raw, (), (b"", longest + b"\x00")) == (Reason.TOO_LARGE, "crls")


def test_two_certificates_come_along_at_most() -> None:
    raw = raw_of()
    for ders in ((), (b"one",), (b"one", b"two")):
        assert KeyBundle.parse(raw, ders).certificates == ders
    assert reason_of(raw, (b"one", b"two", b"three")) == (Reason.BAD_FIELD, "bundle.identity_certs")


def test_the_times_of_use_are_those_written() -> None:
    bundle = KeyBundle.parse(raw_of())
    assert bundle.not_after - bundle.not_before == timedelta(days=1)
    assert wire.to_ms(bundle.not_before) == 1_000
