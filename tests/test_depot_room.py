"""Room on the disk for attachments: however many come at once, the reserve stays free for the log."""

import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from blobs import SIZE, ciphertext
from infoexchange.attachment import BLOCK_SIZE
from infoexchange.chunks import Blob
from infoexchange.errors import ExchangeError, Reason
from infoexchange_relay.stores import FileDepot, shelf

OWNER = "coast.aa.example"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
DATA, REF = ciphertext()
OTHER_DATA, OTHER_REF = ciphertext(7)
BLOB = Blob(OWNER, REF.ct_root)


def at(folder, *, reserve):
    return FileDepot(folder / "attachments", quota=2**30, reserve=reserve, clock=lambda: NOW)


def write(depot, data=DATA, ref=REF, *, offset=0):
    writing = depot.begin(Blob(OWNER, ref.ct_root), ref.ct_length, offset)
    writing.add(data)
    return writing.close()


def refusal(call):
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason


class Disk:
    """A disk of which so much is free."""

    def __init__(self, monkeypatch, free):
        self.free = free
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=self.free, f_frsize=1))


def test_each_upload_leaves_room_for_what_the_others_still_need(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, free=BLOCK_SIZE + 2 * SIZE - 1)
    depot = at(tmp_path, reserve=BLOCK_SIZE)
    depot.begin(BLOB, SIZE, 0)
    assert refusal(lambda: write(depot, OTHER_DATA, OTHER_REF)) is Reason.OVERLOADED
    assert depot.kept(OWNER) == [(BLOB, SIZE)]
    first = depot.begin(BLOB, SIZE, 0)  # who comes again needs nothing twice
    first.add(DATA)
    assert first.close() == SIZE
    disk.free -= SIZE
    assert refusal(lambda: write(depot, OTHER_DATA, OTHER_REF)) is Reason.OVERLOADED
    assert write(depot, DATA) == SIZE  # what is here already needs no room
    disk.free += 1
    assert write(depot, OTHER_DATA, OTHER_REF) == SIZE


def test_who_has_stopped_writing_holds_no_room(tmp_path, monkeypatch):
    Disk(monkeypatch, free=BLOCK_SIZE + SIZE)
    depot = at(tmp_path, reserve=BLOCK_SIZE)
    depot.begin(BLOB, SIZE, 0).close()
    assert write(depot, OTHER_DATA, OTHER_REF) == SIZE


def test_an_upload_stops_when_the_reserve_is_touched_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "_SYNC_BLOCKS", 1)
    disk = Disk(monkeypatch, free=2 * SIZE)
    depot = at(tmp_path, reserve=SIZE)
    writing = depot.begin(BLOB, SIZE, 0)
    writing.add(DATA[:BLOCK_SIZE])
    disk.free = SIZE - 1  # something else was faster
    assert refusal(lambda: writing.add(DATA[BLOCK_SIZE : 2 * BLOCK_SIZE])) is Reason.OVERLOADED
    assert writing.close() == BLOCK_SIZE
    (part,) = (tmp_path / "attachments").glob("*/*.part")
    assert part.stat().st_size == BLOCK_SIZE  # what does not count has given its room back
    disk.free = 2 * SIZE
    assert write(depot, DATA[BLOCK_SIZE:], offset=BLOCK_SIZE) == SIZE
    assert depot.claim(BLOB, SIZE, now=NOW)
