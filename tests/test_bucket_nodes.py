"""Several nodes over one bucket: whatever order their steps come in, and wherever one dies, nothing claimed is lost."""

from __future__ import annotations

import contextlib
import itertools
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blobs import ciphertext
from buckets import MemoryBucket
from infoexchange.attachment import BLOCK_SIZE, sealed_length, verify_block
from infoexchange.chunks import Blob
from infoexchange.errors import ExchangeError, Reason

bucket_depot = pytest.importorskip("infoexchange_relay.stores.bucket_depot", exc_type=ImportError)
crate = pytest.importorskip("infoexchange_relay.stores.crate")

OWNER = "coast.aa.example"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
LATER = NOW + timedelta(days=8)
SKEW = timedelta(minutes=5)
FOLDER = Path(tempfile.gettempdir())
SIZE = sealed_length(BLOCK_SIZE + 1000)  # two blocks
DATA, REF = ciphertext(size=SIZE)
BLOB = Blob(OWNER, REF.ct_root)
WRONG = bytes(SIZE)
# One short block, where the number of blocks makes no difference: hashing takes most of the time here.
SMALL_DATA, SMALL_REF = ciphertext(size=sealed_length(1000))


class Crashed(BaseException):
    """A node dies."""


class Node:
    """One relay node: its depot, its clock, and what happens before its steps."""

    def __init__(self, objects, *, now=NOW, small=False):
        self.now = now
        self.data, self.ref = (SMALL_DATA, SMALL_REF) if small else (DATA, REF)
        self.blob = Blob(OWNER, self.ref.ct_root)
        self.taken = 0
        self.act = {}
        self.depot = bucket_depot.BucketDepot(
            MemoryBucket(objects, self._step),
            "relay.aa.example",
            folder=FOLDER,
            quota=2**30,
            skew=SKEW,
            clock=lambda: self.now,
        )

    def _step(self):
        number, self.taken = self.taken, self.taken + 1
        self.act.pop(number, lambda: None)()

    def write(self, data=None):
        """Write what is missing, and return how much is there."""
        there = self.depot.length(self.blob, self.ref.ct_length)
        writing = self.depot.begin(self.blob, self.ref.ct_length, there)
        for start in range(there, self.ref.ct_length, BLOCK_SIZE):
            writing.add((data or self.data)[start : start + BLOCK_SIZE])
        return writing.close()

    def claim(self):
        return self.depot.claim(self.blob, self.ref.ct_length, now=self.now)

    def drop(self):
        return self.depot.drop(self.blob, untouched_since=self.now - timedelta(minutes=1))

    def has_all(self):
        """Read everything, each block verified."""
        blocks = self.depot.read(self.blob, 0, self.ref.ct_length)
        return b"".join(verify_block(self.ref, block.index, block) for block in blocks) == self.data

    def makes_good(self):
        """Do what a sender does that asks what is missing: write it, and hand over what names it."""
        return self.write() == self.ref.ct_length and self.claim() and self.has_all()

    def sweep(self):
        """Delete everything, as a relay does that needs none of it."""
        return [self.depot.drop(blob, untouched_since=self.now) for blob in self.depot.untouched(self.now)]


def crash():
    raise Crashed


def refusal(call):
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason


def each_step():
    """Numbers of steps, until the test breaks off."""
    return itertools.takewhile(lambda number: number < 200, itertools.count())


def left(objects):
    return {key for key in objects if not key.startswith("relay/")}


def swept(objects):
    """Whether nothing is left once every clock is far ahead."""
    node = Node(objects, now=LATER + timedelta(days=30))
    node.sweep()
    node.now += timedelta(days=30)
    node.sweep()
    return not left(objects)


def test_a_node_that_dies_at_any_step_loses_at_most_what_did_not_count():
    for step in each_step():
        objects = {}
        node = Node(objects)
        node.act[step] = crash
        try:
            whole = node.write() == SIZE
        except Crashed:
            whole = False
        other = Node(objects)
        assert other.depot.length(BLOB, SIZE) in (0, BLOCK_SIZE, SIZE)
        assert other.makes_good()
        assert swept(objects)
        if whole:
            assert step > 12
            return
    pytest.fail("it never came to an end")


def test_a_node_that_dies_while_it_deletes_leaves_nothing_that_looks_whole():
    for step in each_step():
        objects = {}
        Node(objects, small=True).write()
        node = Node(objects, now=LATER, small=True)
        node.act[step] = crash
        try:
            gone = node.drop()
        except Crashed:
            gone = False
        other = Node(objects, now=LATER, small=True)
        assert not other.claim() or other.has_all()
        assert other.makes_good()
        assert swept(objects)
        if gone:
            assert step > 10
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("slow", [timedelta(0), timedelta(minutes=4), timedelta(minutes=-4)])
def test_what_is_claimed_while_it_is_deleted_stays(slow):
    """At every step of a deletion another node claims, whatever the two clocks say within what is allowed."""
    outcomes = set()
    for step in each_step():
        objects, claimed = {}, []
        Node(objects, small=True).write()
        claiming, dropping = Node(objects, now=LATER - slow, small=True), Node(objects, now=LATER, small=True)
        dropping.act[step] = lambda node=claiming, found=claimed: found.append(node.claim())
        gone = dropping.drop()
        if claimed == [True]:
            assert claiming.has_all()
            assert not Node(objects, now=LATER, small=True).drop()
        outcomes.add((*claimed, gone))
        if not claimed:
            break
    assert {(True, False), (False, True)} <= outcomes
    assert (True, True) not in outcomes


def test_what_is_deleted_while_it_is_claimed_is_not_claimed():
    outcomes = set()
    for step in each_step():
        objects, gone = {}, []
        Node(objects, small=True).write()
        claiming, dropping = Node(objects, now=LATER, small=True), Node(objects, now=LATER, small=True)
        claiming.act[step] = lambda node=dropping, found=gone: found.append(node.drop())
        claimed = claiming.claim()
        assert not claimed or claiming.has_all()
        outcomes.add((claimed, *gone))
        if not gone:
            break
    assert {(False, True), (True, False)} <= outcomes
    assert (True, True) not in outcomes


def test_what_is_deleted_while_it_is_written_can_be_written_again():
    for step in each_step():
        objects, acted = {}, []
        Node(objects).depot.begin(BLOB, SIZE, 0).add(DATA[:BLOCK_SIZE])
        writing, dropping = Node(objects, now=LATER), Node(objects, now=LATER + timedelta(minutes=10))
        writing.act[step] = lambda node=dropping, found=acted: found.append(node.drop())
        with contextlib.suppress(ExchangeError):
            writing.write()
        writing.act.clear()  # later on a clock that is far ahead is none that is allowed
        assert not writing.claim() or writing.has_all()
        assert writing.makes_good()
        assert swept(objects)
        if not acted:
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("data", [DATA, WRONG], ids=["the same", "other bytes"])
def test_two_nodes_may_write_at_once(data):
    """Right bytes win, sooner or later, and what was claimed can be read, whoever writes what in between."""
    for step in each_step():
        objects, acted = {}, []
        right, other = Node(objects), Node(objects)

        def between(node=other, found=acted):
            found.append(1)
            with contextlib.suppress(ExchangeError):
                node.write(data)

        right.act[step] = between
        with contextlib.suppress(ExchangeError):
            right.write()
        right.act.clear()
        assert right.claim() or data is WRONG
        assert not right.claim() or right.has_all()
        with contextlib.suppress(ExchangeError):  # it may have to be told that wrong blocks were among them
            right.write()
        assert right.makes_good()
        assert swept(objects)
        if not acted:
            return
    pytest.fail("it never came to an end")


def test_other_bytes_spoil_nothing_that_was_claimed():
    """At every step of a writing that fails in the end, another node writes the right bytes and claims them."""
    outcomes = set()
    for step in each_step():
        objects, claimed = {}, []
        wrong, right = Node(objects), Node(objects)

        def between(node=right, found=claimed):
            with contextlib.suppress(ExchangeError):
                node.write()
            found.append(node.claim())

        wrong.act[step] = between
        with contextlib.suppress(ExchangeError):
            wrong.write(WRONG)
        if claimed == [True]:
            assert right.claim()
            assert right.has_all()
        outcomes.update(claimed)
        if not claimed:
            break
    assert outcomes == {True, False}


def test_what_is_begun_while_others_look_for_leftovers_stays():
    for step in each_step():
        objects, written = {}, []
        looking, writing = Node(objects, now=LATER, small=True), Node(objects, now=LATER, small=True)
        looking.act[step] = lambda node=writing, found=written: found.append(node.write())
        looking.depot.untouched(LATER)
        if not written:
            return
        assert writing.claim()
        assert writing.has_all()
    pytest.fail("it never came to an end")


def test_another_node_goes_on_and_the_first_one_does_no_harm():
    objects = {}
    first, second = Node(objects), Node(objects)
    writing = first.depot.begin(BLOB, SIZE, 0)
    writing.add(DATA[: BLOCK_SIZE + 7])
    assert second.depot.length(BLOB, SIZE) == BLOCK_SIZE
    assert second.makes_good()
    writing.add(DATA[BLOCK_SIZE + 7 :])
    assert writing.close() == SIZE
    assert first.claim()
    assert first.has_all()
    assert first.depot.kept(OWNER) == [(BLOB, SIZE)]


def test_a_long_writing_is_touched_so_that_nobody_deletes_it():
    objects = {}
    first, second = Node(objects), Node(objects)
    writing = first.depot.begin(BLOB, SIZE, 0)
    first.now += timedelta(days=1)
    writing.add(DATA[:BLOCK_SIZE])
    second.now = first.now + timedelta(seconds=30)
    assert not second.drop()
    assert second.depot.untouched(second.now) == []
    writing.add(DATA[BLOCK_SIZE:])
    assert writing.close() == SIZE


def test_old_touches_are_deleted():
    objects = {}
    node = Node(objects, small=True)
    node.write()
    for _ in range(40):
        node.now += timedelta(minutes=1)
        assert node.claim()
    assert len(left(objects)) < 12


def test_bytes_that_stood_still_while_their_crate_was_deleted_are_deleted_later():
    objects = {}
    first, second = Node(objects), Node(objects, now=LATER)
    writing = first.depot.begin(BLOB, SIZE, 0)
    assert second.drop()
    assert not left(objects)
    writing.add(DATA[:BLOCK_SIZE])  # a machine that was suspended
    assert len(left(objects)) == 1
    assert second.depot.untouched(NOW) == []
    assert not left(objects)
    assert refusal(lambda: writing.add(DATA[BLOCK_SIZE:])) is Reason.UNAVAILABLE
    assert swept(objects)


def test_an_owner_has_one_try_at_a_time_so_that_a_quota_counts_all():
    objects = {}
    node = Node(objects)
    for more in range(3):
        node.depot.begin(BLOB, SIZE + 16 * more, 0).add(DATA[:BLOCK_SIZE])
    assert node.depot.kept(OWNER) == [(BLOB, SIZE + 32)]


def test_the_tree_is_made_in_the_folder_that_was_given(tmp_path, monkeypatch):
    """The system's own place for temporary files may be a small one in memory."""
    node = Node({}, small=True)
    monkeypatch.setattr(node.depot, "folder", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert node.write() == SMALL_REF.ct_length
    assert list(tmp_path.iterdir()) == []


def test_two_relays_never_share_a_place():
    objects = {}
    Node(objects).depot.prepare()
    other = bucket_depot.BucketDepot(
        MemoryBucket(objects), "relay.bb.example", folder=FOLDER, quota=2**30, skew=SKEW, clock=lambda: NOW
    )
    assert refusal(other.prepare) is Reason.NOT_PERMITTED
    assert refusal(lambda: other.untouched(NOW)) is Reason.NOT_PERMITTED
    assert refusal(lambda: other.drop(BLOB, untouched_since=NOW)) is Reason.NOT_PERMITTED
    assert refusal(lambda: other.begin(BLOB, SIZE, 0)) is Reason.UNAVAILABLE  # its sender shall try again


def test_a_store_that_lists_late_is_not_used():
    class Late(MemoryBucket):
        def names(self, prefix, *, limit=0):
            return iter(())

    depot = bucket_depot.BucketDepot(Late(), "relay.aa.example", folder=FOLDER, quota=1, skew=SKEW, clock=lambda: NOW)
    assert refusal(depot.prepare) is Reason.UNAVAILABLE


def test_names_of_others_are_passed_over():
    objects = {}
    node = Node(objects, small=True)
    node.write()
    rng = random.Random(6)
    marks = sorted(key for key in objects if key.startswith("index/"))
    for key in list(objects):
        for _ in range(200):
            place = rng.randrange(len(key))
            changed = key[:place] + chr(rng.randrange(33, 127)) + key[place + 1 :]
            crate.block_in(changed)
            assert len(list(crate.crates_in([changed]))) <= 1
    assert [one.blob for one in crate.crates_in([*marks, "index/x", "index/", "other"])] == [node.blob]
    objects["index/stray"] = b""
    assert node.claim()
    assert node.depot.kept(OWNER) == [(node.blob, node.ref.ct_length)]
