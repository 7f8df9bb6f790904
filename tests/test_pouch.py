"""The pouch as a file: what is read is what was sealed, or nothing."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from conftest import AGENCIES
from infoexchange import wire
from infoexchange.attachment.form import sealed_length
from infoexchange.dsse import TYPE_POUCH, TYPE_RECALL, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.pouch import (
    ITEM_SIZE_MAX,
    PART_SIZE_MAX,
    SEAL_SIZE_MAX,
    Contents,
    Item,
    Kind,
    Part,
    Pouch,
    Refusal,
    Seal,
    Sealed,
    Told,
    bundle_of,
)
from infoexchange.pouch import file as pouch_file
from infoexchange.pouch.file import BEGINNING, END
from infoexchange.pouch.items import FRAME
from infoexchange.testing import Community
from infoexchange.testing.clock import START
from infoexchange.v1 import pouch_pb2
from pouches import FIRST, SECOND, written

ITEMS = [
    Item(Kind.ENVELOPE, b"envelope"),
    Item(Kind.REFUSAL, Refusal(bytes(32), b"", Reason.EXPIRED).raw),
    Item(Kind.ENVELOPE, b""),
]


@pytest.fixture(scope="module")
def community() -> Community:
    return Community.make(AGENCIES, now=START)


@pytest.fixture(scope="module")
def raw(community: Community) -> bytes:
    return written(ITEMS, community, now=START)[0]


def opened(raw: bytes, community: Community, *, by: str = SECOND, at: timedelta = timedelta()) -> Contents:
    return Pouch.parse(io.BytesIO(raw)).verify(community.directory, recipient=by, now=START + at)


def refused(call: Callable[[], Any]) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason


def test_what_comes_out_is_what_was_put_in(raw: bytes, community: Community) -> None:
    contents = opened(raw, community)
    assert list(contents.items()) == ITEMS
    assert list(contents.items()) == ITEMS  # as often as it is asked for
    said = contents.seal.said
    assert (contents.sender.name, said.sender, said.recipient, said.items) == (FIRST, FIRST, SECOND, 3)
    assert (said.made_at, said.answers, said.origin) == (START, b"", community.log_keys[FIRST].origin)
    assert Pouch.parse(io.BytesIO(raw)).seal == Seal.parse(contents.seal.raw)
    assert "envelope" not in repr(contents)


def test_an_empty_pouch_is_one(community: Community) -> None:
    assert list(opened(written([], community, now=START)[0], community).items()) == []


def test_every_flipped_bit_is_noticed(raw: bytes, community: Community) -> None:
    """But in a key id, which is a hint, and changes nothing."""
    seal, rng, seen = opened(raw, community).seal, random.Random(33), set[Reason]()
    edges = [*range(40), *range(len(raw) - 40, len(raw))]
    for place in (*edges, *rng.sample(range(len(raw)), 200)):
        spoilt = bytearray(raw)
        spoilt[place] ^= 1 << rng.randrange(8)
        try:
            assert opened(bytes(spoilt), community).seal.digest == seal.digest
            assert bytes(spoilt)[: len(raw) - len(seal.raw)] == raw[: len(raw) - len(seal.raw)]
        except ExchangeError as problem:
            seen.add(problem.reason)
    assert {Reason.MALFORMED, Reason.BAD_COMMITMENT, Reason.BAD_SIGNATURE, Reason.BAD_FIELD} <= seen


def test_what_is_cut_off_or_longer_is_no_pouch(raw: bytes, community: Community) -> None:
    for length in (*range(0, len(raw), 97), len(raw) - 1):
        assert refused(lambda length=length: opened(raw[:length], community)) is Reason.MALFORMED
    for spoilt in (raw + b"x", b"x" + raw, raw + raw, raw.replace(BEGINNING, BEGINNING + b"x")):
        assert refused(lambda spoilt=spoilt: opened(spoilt, community)) is Reason.MALFORMED
    assert refused(lambda: opened(raw.replace(b"pouch/1", b"pouch/2", 1), community)) is Reason.UNKNOWN_VERSION
    long = raw[: -len(END) - 4] + (SEAL_SIZE_MAX + 1).to_bytes(4, "big") + END
    assert refused(lambda: opened(long, community)) is Reason.TOO_LARGE


def test_items_cannot_be_moved_left_out_or_taken_from_elsewhere(raw: bytes, community: Community) -> None:
    tail = raw[len(BEGINNING) + sum(len(item.raw) for item in ITEMS) :]
    for items in (ITEMS[::-1], ITEMS[:2], [ITEMS[0], ITEMS[0], ITEMS[2]]):
        spoilt = BEGINNING + b"".join(item.raw for item in items) + tail
        assert refused(lambda spoilt=spoilt: opened(spoilt, community)) in {Reason.BAD_COMMITMENT, Reason.MALFORMED}
    # The lengths of items within the same bytes.
    spoilt = raw.replace(FRAME.pack(8, Kind.ENVELOPE), FRAME.pack(9, Kind.ENVELOPE))
    assert refused(lambda: opened(spoilt, community)) in {Reason.BAD_COMMITMENT, Reason.BAD_FIELD}


def test_a_disk_that_changes_after_it_was_verified_is_noticed(raw: bytes, community: Community) -> None:
    file = io.BytesIO(raw)
    contents = Pouch.parse(file).verify(community.directory, recipient=SECOND, now=START)
    items = contents.items()
    assert next(items) == ITEMS[0]
    file.seek(0)
    file.write(raw.replace(b"envelope", b"ENVELOPE"))
    assert refused(lambda: next(contents.items())) is Reason.BAD_COMMITMENT
    file.seek(0)
    file.truncate(30)
    assert refused(lambda: list(contents.items())) is Reason.BAD_COMMITMENT
    file.seek(0)
    file.write(BEGINNING + FRAME.pack(ITEM_SIZE_MAX + 1, 1))
    assert refused(lambda: list(contents.items())) is Reason.BAD_COMMITMENT


def test_a_pouch_is_for_one_relay_of_one_time(raw: bytes, community: Community) -> None:
    assert refused(lambda: opened(raw, community, by=FIRST)) is Reason.NOT_ADDRESSED
    late, early = community.directory.listing.expires_at - START, timedelta(minutes=-5)
    assert opened(raw, community, at=late).sender.name == FIRST  # whether a directory is current, the rules ask
    future = written(ITEMS, community, now=START + timedelta(minutes=6))[0]
    assert refused(lambda: opened(future, community)) is Reason.NOT_YET_VALID
    assert opened(written(ITEMS, community, now=START - early)[0], community).seal.said.made_at == START - early


def test_only_both_keys_of_a_log_in_the_directory_sign(raw: bytes, community: Community) -> None:
    stranger = Community.make(AGENCIES, now=START)
    assert refused(lambda: opened(raw, stranger)) is Reason.BAD_SIGNATURE
    keys = community.log_keys[FIRST]
    for name, reason in (
        (f"{FIRST}/audit/2031h1", Reason.UNKNOWN_PARTY),
        ("relay.xx.example/audit/2026h2", Reason.UNKNOWN_PARTY),
        (community.log_keys[SECOND].origin, Reason.BAD_SIGNATURE),
    ):
        forged = replace(community, log_keys={FIRST: type(keys)(name, keys.ed25519, keys.mldsa44)})
        spoilt = written(ITEMS, forged, now=START)[0]
        assert refused(lambda spoilt=spoilt: opened(spoilt, community)) is reason
    seal = opened(raw, community).seal
    for place in (0, 1):
        signatures = [bytes(s) for s in seal.dsse.signatures]
        signatures[place] = bytes([signatures[place][0] ^ 1]) + signatures[place][1:]
        spoilt = Dsse.make(TYPE_POUCH, seal.dsse.payload, [(s, "") for s in signatures]).raw
        check = partial(Seal.parse(spoilt).verify, community.directory, recipient=SECOND, now=START)
        assert refused(check) is Reason.BAD_SIGNATURE


SEALED = {"sender": FIRST, "recipient": SECOND, "origin": f"{FIRST}/audit/2026h2", "made_ms": 1, "contents": bytes(32)}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"answers": bytes(32)}, None),
        ({"sender": "relay"}, Reason.BAD_FIELD),
        ({"sender": SECOND}, Reason.BAD_FIELD),
        ({"recipient": ""}, Reason.BAD_FIELD),
        ({"origin": FIRST}, Reason.BAD_FIELD),
        ({"made_ms": -1}, Reason.BAD_FIELD),
        ({"contents": bytes(31)}, Reason.BAD_FIELD),
        ({"answers": bytes(31)}, Reason.BAD_FIELD),
        ({"origin": f"{FIRST}/" + "x" * SEAL_SIZE_MAX}, Reason.TOO_LARGE),
    ],
)
def test_fields_of_the_seal(changed: dict[str, Any], reason: Reason | None) -> None:
    payload = wire.canonical(pouch_pb2.PouchSeal(**(SEALED | changed)))
    made = Dsse.make(TYPE_POUCH, payload, [(b"1", ""), (b"2", "")]).raw
    if reason is None:
        assert Seal.parse(made).raw == made
        assert isinstance(Seal.parse(made).said, Sealed)
    else:
        assert refused(lambda: Seal.parse(made)) is reason


def test_forms_of_the_seal() -> None:
    payload = wire.canonical(pouch_pb2.PouchSeal(**SEALED))
    one = Dsse.make(TYPE_POUCH, payload, [(b"1", "")]).raw
    other = Dsse.make(TYPE_RECALL, payload, [(b"1", ""), (b"2", "")]).raw
    loose = Dsse.make(TYPE_POUCH, payload + b"\x7a\x00", [(b"1", ""), (b"2", "")]).raw
    assert [refused(lambda made=made: Seal.parse(made)) for made in (one, other, loose, b"\xff")] == [
        Reason.BAD_FIELD,
        Reason.BAD_FIELD,
        Reason.NOT_CANONICAL,
        Reason.MALFORMED,
    ]


LENGTH = sealed_length(2**23)
PART = {"ct_root": bytes(32), "ct_length": LENGTH, "offset": 5, "data": b"x"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ct_root": bytes(31)}, Reason.BAD_FIELD),
        ({"ct_length": LENGTH - 1}, Reason.BAD_FIELD),
        ({"ct_length": 2**60}, Reason.TOO_LARGE),
        ({"data": b""}, Reason.BAD_FIELD),
        ({"offset": LENGTH}, Reason.BAD_FIELD),
        ({"offset": 2**64 - 1}, Reason.BAD_FIELD),
        ({"data": bytes(PART_SIZE_MAX + 1)}, Reason.TOO_LARGE),
        ({"data": bytes(ITEM_SIZE_MAX)}, Reason.TOO_LARGE),
    ],
)
def test_fields_of_a_part(changed: dict[str, Any], reason: Reason) -> None:
    made = wire.canonical(pouch_pb2.PouchPart(**(PART | changed)))
    assert refused(lambda: Part.parse(made)) is reason


def test_parts_at_their_limits() -> None:
    for part in (
        Part(bytes(32), LENGTH, LENGTH - 1, b"x"),
        Part(bytes(32), LENGTH, 0, bytes(PART_SIZE_MAX)),
    ):
        assert Part.parse(part.raw) == part


@pytest.mark.parametrize(
    ("envelope", "order", "reason", "refusal"),
    [
        (bytes(31), b"", 35, Reason.BAD_FIELD),
        (bytes(32), bytes(31), 35, Reason.BAD_FIELD),
        (bytes(32), b"", 0, Reason.BAD_FIELD),
        (bytes(32), b"", 49, Reason.BAD_FIELD),
        (bytes(32), b"", int(Reason.UNAVAILABLE), Reason.BAD_FIELD),
        (bytes(32), b"", int(Reason.LOG_STOPPED), Reason.BAD_FIELD),
    ],
)
def test_fields_of_a_refusal(envelope: bytes, order: bytes, reason: int, refusal: Reason) -> None:
    made = pouch_pb2.PouchRefusal(envelope_digest=envelope, order_digest=order, reason=reason)
    assert refused(lambda: Refusal.parse(wire.canonical(made))) is refusal


def test_forms_of_histories_refusals_and_bundles(community: Community) -> None:
    told = Told(bytes(32), (b"a", b"b"), (b"c",))
    assert Told.parse(told.raw) == told
    assert refused(lambda: Told.parse(Told(bytes(31), (), ()).raw)) is Reason.BAD_FIELD
    refusal = Refusal(bytes(32), bytes(32), Reason.MARK_LOST)
    assert Refusal.parse(refusal.raw) == refusal
    [bundle] = [member.bundle for member in community.members.values()][:1]
    again = bundle_of(Item.bundle(bundle).body)
    assert (again.raw, again.certificates, again.crls) == (bundle.raw, bundle.certificates, bundle.crls)
    for parse in (Told.parse, Refusal.parse, Part.parse, bundle_of):
        assert refused(lambda parse=parse: parse(b"\xff")) is Reason.MALFORMED
        assert refused(lambda parse=parse: parse(b"\x7a\x00")) in {Reason.NOT_CANONICAL, Reason.MALFORMED}
        assert refused(lambda parse=parse: parse(bytes(ITEM_SIZE_MAX + 1))) is Reason.TOO_LARGE


def test_forms_of_an_item() -> None:
    for item in ITEMS:
        assert Item.parse(item.raw) == item
    assert refused(lambda: Item.parse(b"")) is Reason.MALFORMED
    assert refused(lambda: Item.parse(ITEMS[0].raw + b"x")) is Reason.MALFORMED
    assert refused(lambda: Item.parse(FRAME.pack(0, 0))) is Reason.BAD_FIELD
    assert refused(lambda: Item.parse(FRAME.pack(0, 8))) is Reason.BAD_FIELD
    assert refused(lambda: Item.parse(Item(Kind.PART, bytes(ITEM_SIZE_MAX + 1)).raw)) is Reason.TOO_LARGE


def test_too_many_items_are_neither_written_nor_read(
    raw: bytes, community: Community, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pouch_file, "ITEMS_MAX", 2)
    assert refused(lambda: written(ITEMS, community, now=START)) is Reason.TOO_LARGE
    assert refused(lambda: opened(raw, community)) is Reason.TOO_LARGE
    assert len(list(opened(written(ITEMS[:2], community, now=START)[0], community).items())) == 2
