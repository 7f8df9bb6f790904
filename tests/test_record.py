"""Records of an exported log and their bundles: one form each, every other refused."""

from __future__ import annotations

from hashlib import sha256

import pytest

from changes import RELAY
from community import NOW
from infoexchange.audit import GROUPS, Entry, Operation, Routing, Subject
from infoexchange.errors import ExchangeError, Reason
from infoexchange.record import (
    EMPTY,
    RECORD_SIZE_MAX,
    RECORDS_SIZE_MAX,
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
