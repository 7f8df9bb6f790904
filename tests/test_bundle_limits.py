"""Key bundles as they are read, before anything is proven: how large, how long, how many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import SENDER
from infoexchange import certificates, wire
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.testing import Exchange
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


def offers(*suites: int) -> Change:
    """These suites in this order, each whole."""

    def change(message: bundle_pb2.KeyBundle) -> None:
        for kept in (message.enc_keys, message.sig_keys, message.accept_suites):
            del kept[:]
        message.accept_suites.extend(suites)
        message.enc_keys.extend(bundle_pb2.EncKey(suite=suite, public_key=b"key") for suite in suites)
        message.sig_keys.extend(
            bundle_pb2.SigKey(suite=suite, public_key=b"key", usage=usage)
            for suite in sorted({*suites})
            for usage in (bundle_pb2.KEY_USAGE_MANIFEST, bundle_pb2.KEY_USAGE_ACKNOWLEDGEMENT)
        )

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
        offers(2, 3),
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
        (offers(3, 2), "bundle.enc_keys"),
        (offers(2, 2), "bundle.enc_keys"),
        (lambda m: m.identity_certs.__setitem__(1, bytes(31)), "bundle.identity_certs"),
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


def test_a_bundle_says_whether_it_withdraws_older_ones() -> None:
    assert [KeyBundle.parse(raw_of(epoch(2, withdraws=is_so))).withdraws_older for is_so in (False, True)] == [
        False,
        True,
    ]


def test_the_same_bytes_are_the_same_bundle(shared_exchange: Exchange) -> None:
    """Whatever one of them has been proven to be."""
    member = shared_exchange.community.members[SENDER]
    one, other = (KeyBundle.parse(member.bundle.raw, member.certificates, (member.crl,)) for _ in range(2))
    one.verify(shared_exchange.directory, now=shared_exchange.clock())
    assert one == other
    assert len({one, other}) == 1


def test_proofs_are_remembered_until_they_are_many(shared_exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infoexchange.bundle._PROVEN_MAX", 2)
    member, now = shared_exchange.community.members[SENDER], shared_exchange.clock()
    bundle, held = KeyBundle.parse(member.bundle.raw, member.certificates, (member.crl,)), []
    for minutes in (0, 1, 1, 2, 3, 4):
        bundle.verify(shared_exchange.directory, now=now + timedelta(minutes=minutes))
        held.append(len(bundle._proven))
    assert held == [1, 2, 2, 1, 2, 1]


def test_a_relay_publishes_four_revocation_lists_with_a_bundle(shared_exchange: Exchange) -> None:
    member, node = shared_exchange.community.members[SENDER], shared_exchange.node_of(SENDER)
    party = shared_exchange.directory.party(SENDER, at=shared_exchange.clock())
    for count in (1, 4, 5):
        bundle = KeyBundle.parse(member.bundle.raw, member.certificates, (member.crl,) * count)
        if count <= 4:
            [change] = node.decide_bundle(party, bundle).changes
            assert change.bundle == member.bundle
        else:
            with pytest.raises(ExchangeError) as caught:
                node.decide_bundle(party, bundle)
            assert (caught.value.reason, caught.value.field) == (Reason.TOO_LARGE, "crls")


def test_a_statement_names_its_issuers_bundle() -> None:
    bundle = KeyBundle.parse(raw_of())
    bundle.check_named(bundle.digest, "desk.th.example", field="grant.originator_bundle")
    for digest, owner in ((DIGEST, "desk.th.example"), (bundle.digest, "desk.vn.example"), (DIGEST, "desk.vn.example")):
        with pytest.raises(ExchangeError) as caught:
            bundle.check_named(digest, owner, field="grant.originator_bundle")
        assert (caught.value.reason, caught.value.field) == (Reason.STALE_BUNDLE, "grant.originator_bundle")


def test_the_newest_revocation_list_says_when_it_was_made(shared_exchange: Exchange) -> None:
    member, directory = shared_exchange.community.members[SENDER], shared_exchange.directory
    made = certificates.newest_list((member.crl,), directory.nation("th").identity_cas)
    assert made is not None
    with_list, without = (
        KeyBundle.parse(member.bundle.raw, member.certificates, lists) for lists in ((member.crl,), ())
    )
    assert with_list.lists_made(directory) == made
    assert without.lists_made(directory) < made - timedelta(days=365_000)
    with pytest.raises(ExchangeError) as caught:
        with_list.lists_made(nobody_in(directory))
    assert caught.value.reason is Reason.BAD_CERTIFICATE


def nobody_in(directory: Directory) -> Directory:
    """The content alone, without anybody in it, so that no authority is the owner's."""
    return Directory(replace(directory.listing, parties=()), directory._dsse, ())


def test_certificates_are_found_by_their_digests() -> None:
    bundle = KeyBundle.parse(raw_of(lambda m: m.identity_certs.__setitem__(1, bytes([1]) * 32)))
    found = {DIGEST: b"one", bytes([1]) * 32: b"two", bytes([2]) * 32: b"three"}
    assert bundle.named(found) == [b"one", b"two"]
    assert bundle.named({bytes([1]) * 32: b"two"}) == [b"two"]
    assert bundle.named({}) == []
