"""Records of an exported log and their bundles: one form each, every other refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import sha256

import pytest

from changes import RELAY
from community import NOW
from infoexchange import audit
from infoexchange.audit import GROUPS, Entry, Operation, Routing, Subject, commitments_in
from infoexchange.errors import ExchangeError, Reason
from infoexchange.record import (
    EMPTY,
    RECORD_SIZE_MAX,
    RECORDS_SIZE_MAX,
    Glance,
    LogRecord,
    check_record,
    parse_records,
    records_path,
    write_records,
)
from infoexchange.states import Event
from infoexchange.tlog import tiles
from infoexchange.v1 import audit_pb2

ENTRY = Entry.make(
    Routing(event=Event.QUEUED, logged_at=NOW, this_relay=RELAY),
    Subject(envelope_digest=bytes(32)),
    Operation(detail="how"),
)
COMMITTED = (ENTRY.leaf[4:36], ENTRY.leaf[38:70], ENTRY.leaf[72:104])
CHOICES = [(), ("routing",), ("routing", "message"), ("routing", "operational"), GROUPS]


def refused(reason: Reason, raw: bytes) -> None:
    with pytest.raises(ExchangeError) as caught:
        LogRecord.parse(raw)
    assert caught.value.reason is reason
    with pytest.raises(ExchangeError) as caught:
        check_record(raw, COMMITTED)
    assert caught.value.reason is reason


def message(*shown: str, document: bytes = b"") -> audit_pb2.LogRecord:
    return audit_pb2.LogRecord.FromString(LogRecord.make(ENTRY, document, shown).raw)


def written(m: audit_pb2.LogRecord) -> bytes:
    return m.SerializeToString(deterministic=True)


@pytest.mark.parametrize("shown", CHOICES, ids="+".join)
def test_what_is_shown_comes_back_and_nothing_else(shown: tuple[str, ...]) -> None:
    made = LogRecord.make(ENTRY, b"a document", shown)
    read = LogRecord.parse(made.raw)
    assert read == made
    assert read.is_empty == (not shown)
    groups = (ENTRY.routing, ENTRY.message, ENTRY.operational)
    for group, raw, salt, found, its in zip(GROUPS, groups, ENTRY.salts, read.groups, read.salts, strict=True):
        assert (found, its) == ((raw, salt) if group in shown else (b"", b""))
        assert (raw in made.raw, salt in made.raw) == (group in shown, group in shown)
    assert read.document == (b"a document" if "message" in shown else b"")
    entry = read.verify(ENTRY.leaf)
    assert (entry.leaf, entry.leaf_hash, entry.routing) == (ENTRY.leaf, ENTRY.leaf_hash, read.groups[0])
    assert check_record(made.raw, COMMITTED) == bool(read.document)
    assert ENTRY.salts[0].hex() not in repr(read)


@pytest.mark.parametrize("shown", CHOICES, ids="+".join)
def test_at_a_glance_nothing_is_judged_otherwise(shown: tuple[str, ...]) -> None:
    """Whatever is changed in a record, or in the leaf beside it, comes out as if everything had been parsed."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    glance, good = Glance(), LogRecord.make(ENTRY, b"", shown).raw
    documented = LogRecord.make(ENTRY, b"a document", shown).raw

    def judged(check: Callable[[], bool]) -> object:
        try:
            return check()
        except ExchangeError as problem:
            return problem.reason, problem.field, problem.detail

    def same(raw: bytes, leaf: bytes = ENTRY.leaf) -> object:
        found = judged(lambda: glance.check(raw, leaf))
        assert found == judged(lambda: check_record(raw, commitments_in(leaf))), raw.hex()
        return found

    assert [same(good), same(good), same(documented), same(good)] == [False, False, "message" in shown, False]
    for _ in range(300 if good else 0):
        place = rng.randrange(len(good))
        changed = bytearray(good)
        changed[place] ^= 1 << rng.randrange(8)
        assert same(bytes(changed)) is not False
        assert same(good) is False
    for place in (0, 1, 2, 3, len(good) // 2, len(good) - 1):
        same(good[:place])
        same(good[:place] + good[place + 1 :])
        same(good[:place] + b"\x00" + good[place:])
    for place, group in zip((4, 38, 72), GROUPS, strict=True):
        leaf = bytearray(ENTRY.leaf)
        leaf[place] ^= 1
        assert (same(good, bytes(leaf)) is False) == (group not in shown)


def test_lengths_told_by_two_bytes_are_read_at_a_glance_too() -> None:
    glance = Glance()
    for size in (*range(120, 135), 16 * 1024 - 1, 16 * 1024, audit.GROUP_SIZE_MAX):
        salts = (bytes(32), bytes([1]) * 32, bytes([2]) * 32)
        entry = Entry(bytes([7]) * size, b"", bytes([8]) * (size - 119), salts)
        raw = LogRecord.make(entry, b"", GROUPS).raw
        for _ in range(2):
            assert glance.check(raw, entry.leaf) is False
        wrong = raw.replace(bytes([8]) * 8, bytes([9]) * 8, 1) if size > 127 else raw[:-1] + b"\x00"
        if wrong != raw:
            with pytest.raises(ExchangeError):
                glance.check(wrong, entry.leaf)


def test_of_lengths_that_never_end_only_so_many_are_kept() -> None:
    glance = Glance()
    for size in range(1, 1300):
        entry = Entry(bytes(size), b"", b"", (bytes(32), b"", b""))
        raw = LogRecord.make(entry, b"", GROUPS).raw
        leaf = Entry(bytes(size), b"", b"", (bytes(32), bytes(32), bytes(32))).leaf
        assert glance.check(raw, leaf) is False
        assert glance.check(raw, leaf) is False
    assert len(glance._frames) == 1024


def test_an_erased_entry_shows_nothing() -> None:
    erased = Entry(b"", b"", b"", (b"", b"", b""))
    assert LogRecord.make(erased, b"", GROUPS).raw == EMPTY


def test_another_leaf_or_group_is_refused() -> None:
    other = Entry.make(Routing(event=Event.QUEUED, logged_at=NOW, this_relay=RELAY), Subject())
    for shown in CHOICES[1:]:
        raw = LogRecord.make(ENTRY, b"", shown).raw
        with pytest.raises(ExchangeError) as caught:
            LogRecord.parse(raw).verify(other.leaf)
        assert caught.value.reason is Reason.BAD_COMMITMENT
    for group in GROUPS:
        for part in (group, f"{group}_salt"):
            m = message(*GROUPS)
            value = getattr(m, part)
            setattr(m, part, value[:-1] + bytes([value[-1] ^ 1]))
            with pytest.raises(ExchangeError) as caught:
                check_record(written(m), COMMITTED)
            assert (caught.value.reason, caught.value.field) == (Reason.BAD_COMMITMENT, f"record.{group}")


def test_records_of_another_form_are_refused() -> None:
    whole = written(message(*GROUPS, document=b"x"))
    refused(Reason.MALFORMED, whole[:-1])
    refused(Reason.NOT_CANONICAL, whole + b"\x40\x01")
    refused(Reason.TOO_LARGE, bytes(RECORD_SIZE_MAX + 1))
    for salt in (b"", bytes(31), bytes(33)):
        for group in GROUPS:
            m = message(*GROUPS)
            setattr(m, f"{group}_salt", salt)
            refused(Reason.BAD_FIELD, written(m))
    for group in ("message", "operational"):
        m = message("routing", group)
        m.ClearField("routing")
        m.ClearField("routing_salt")
        refused(Reason.BAD_FIELD, written(m))
    m = message("routing")
    m.document = b"x"
    refused(Reason.BAD_FIELD, written(m))
    refused(Reason.BAD_FIELD, written(audit_pb2.LogRecord(document=b"x")))


@pytest.mark.parametrize("leaf", [b"", ENTRY.leaf[:-1], ENTRY.leaf + b"\x00", b"\x08\x02" + ENTRY.leaf[2:], bytes(257)])
def test_what_is_no_leaf_is_refused(leaf: bytes) -> None:
    with pytest.raises(ExchangeError) as caught:
        LogRecord.parse(EMPTY).verify(leaf)
    assert caught.value.reason in (
        Reason.MALFORMED, Reason.NOT_CANONICAL, Reason.UNKNOWN_VERSION, Reason.TOO_LARGE
    )  # fmt: skip


# Bundles


def test_bundles_stand_beside_those_of_entries() -> None:
    assert records_path(0, 5) == "records/000.p/5"
    assert records_path(1234067) == "records/x001/x234/067"
    assert records_path(7, 256) == tiles.tile_path(tiles.ENTRIES, 7).replace("tile/entries", "records")


@pytest.mark.parametrize("raws", [[b""], [b"", b"one", b""], [b"x" * 300] * 256], ids=len)
def test_a_bundle_comes_back(raws: list[bytes]) -> None:
    raw = write_records(raws)
    assert parse_records(raw, len(raws)) == raws
    assert len(raw) == sum(4 + len(each) for each in raws) + 32
    for width in {0, len(raws) - 1, len(raws) + 1}:
        with pytest.raises(ExchangeError) as caught:
            parse_records(raw, width)
        assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"\x00\x00\x00\x02x", b"\x00\x00\x00\x01xy", b"\xff\xff\xff\xffx", b"\x00\x00\x00\x20"],
    ids=bytes.hex,
)
def test_bundles_of_another_form_are_refused(body: bytes) -> None:
    with pytest.raises(ExchangeError) as caught:
        parse_records(body + sha256(body).digest(), 1)
    assert caught.value.reason is Reason.MALFORMED


def test_no_changed_bit_of_a_bundle_is_taken() -> None:
    raw = write_records([b"one", b"", b"three"])
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ExchangeError) as caught:
            parse_records(bytes(changed), 3)
        assert caught.value.reason is Reason.MALFORMED
    for end in range(len(raw)):
        with pytest.raises(ExchangeError):
            parse_records(raw[:end], 3)


def test_any_bundle_of_records_fits_the_limit() -> None:
    assert RECORDS_SIZE_MAX == 256 * (4 + RECORD_SIZE_MAX) + 32
