"""Depot and needs: one contract, kept in memory and on disk; and what only a disk can do wrong."""

import contextlib
import errno
import os
import random
import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

import buckets
from blobs import SIZE, ciphertext, pieces
from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, verify_block
from infoexchange.chunks import Blob
from infoexchange.errors import ExchangeError, Reason, UntrustedError
from infoexchange.testing import MemoryDepot
from infoexchange_relay.stores import FileDepot, shelf
from infoexchange_relay.stores.tree import size_of

OWNER, OTHER = "coast.aa.example", "coast.bb.example"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
DATA, REF = ciphertext()
BLOB = Blob(OWNER, REF.ct_root)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def at(folder, clock, *, quota=2**30, reserve=0):
    return FileDepot(folder / "attachments", quota=quota, reserve=reserve, clock=clock)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="module")
def server():
    with buckets.running() as url:
        yield url


@pytest.fixture(params=["memory", "files"])
def near(request, tmp_path, clock):
    """What answers at once, for tests of many sizes; `test_bucket_depot` has a few of them."""
    return MemoryDepot(clock=clock) if request.param == "memory" else at(tmp_path, clock)


@pytest.fixture(params=["memory", "files", "bucket"])
def depot(request, tmp_path, clock):
    if request.param == "memory":
        return MemoryDepot(clock=clock)
    if request.param == "files":
        return at(tmp_path, clock)
    bucket_depot = pytest.importorskip("infoexchange_relay.stores.bucket_depot", exc_type=ImportError)
    bucket = bucket_depot.Bucket(buckets.place(request.getfixturevalue("server")))
    # One clock: nobody's differs from another's.
    return bucket_depot.BucketDepot(
        bucket, "relay.aa.example", folder=tmp_path, quota=2**30, skew=timedelta(0), clock=clock
    )


def write(depot, data=DATA, ref=REF, *, owner=OWNER, offset=0, size=300_000):
    writing = depot.begin(Blob(owner, ref.ct_root), ref.ct_length, offset)
    for piece in pieces(data, size):
        writing.add(piece)
    return writing.close()


def refusal(call):
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason


def read(depot, blob=BLOB, offset=0, size=SIZE, ref=REF):
    blocks = list(depot.read(blob, offset, size))
    return b"".join(verify_block(ref, block.index, block) for block in blocks)


def test_an_empty_depot(depot):
    assert depot.length(BLOB, SIZE) == 0
    assert not depot.claim(BLOB, SIZE, now=NOW)
    assert depot.kept(OWNER) == depot.untouched(NOW) == []
    assert depot.drop(BLOB, untouched_since=NOW)
    assert refusal(lambda: read(depot)) is Reason.UNAVAILABLE


@pytest.mark.parametrize("size", [1000, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, SIZE])
def test_what_was_written_is_read(near, size):
    data, ref = ciphertext(1) if size == 1000 else (DATA, REF)
    assert write(near, data, ref, size=size if size > 1000 else 70_001) == SIZE
    blob = Blob(OWNER, ref.ct_root)
    assert near.length(blob, SIZE) == SIZE
    assert near.claim(blob, SIZE, now=NOW)
    assert read(near, blob, ref=ref) == data
    assert near.kept(OWNER) == [(blob, SIZE)]
    assert near.kept(OTHER) == []


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11])
def test_trees_of_every_shape_give_paths(near, count):
    data, ref = ciphertext(count, (count - 1) * BLOCK_SIZE + 1000)
    write(near, data, ref, size=BLOCK_SIZE)
    blob = Blob(OWNER, ref.ct_root)
    assert sha256(read(near, blob, size=ref.ct_length, ref=ref)).digest() == sha256(data).digest()
    for index in random.Random(count).sample(range(count), min(count, 3)):
        (block,) = near.read(blob, index * BLOCK_SIZE, 1)
        assert verify_block(ref, index, block) == data[index * BLOCK_SIZE :][:BLOCK_SIZE]


def test_ranges(depot):
    write(depot)
    assert [b.index for b in depot.read(BLOB, 0, 0)] == []
    assert [b.index for b in depot.read(BLOB, BLOCK_SIZE - 1, 2)] == [0, 1]
    assert [b.index for b in depot.read(BLOB, SIZE - 1, 10**15)] == [2]
    assert [b.index for b in depot.read(BLOB, SIZE, 1)] == []


def test_what_is_refused_at_its_beginning_is_not_kept(depot):
    assert refusal(lambda: write(depot, DATA[-5:], offset=5)) is Reason.BAD_FIELD
    assert depot.kept(OWNER) == []


def test_it_grows_from_its_beginning_and_repeats_change_nothing(depot):
    assert write(depot, DATA[: BLOCK_SIZE + 500]) == BLOCK_SIZE  # a block counts when it is whole
    assert depot.length(BLOB, SIZE) == BLOCK_SIZE
    assert depot.length(BLOB, SIZE + 1) == 0
    assert refusal(lambda: read(depot)) is Reason.UNAVAILABLE
    assert not depot.claim(BLOB, SIZE, now=NOW)
    assert refusal(lambda: write(depot, DATA[-5:], offset=SIZE - 5)) is Reason.BAD_FIELD
    assert write(depot, b"") == BLOCK_SIZE
    assert write(depot, bytes(700)) == BLOCK_SIZE  # what counts already is passed over, whatever it says
    assert write(depot, DATA[500:], offset=500) == SIZE
    assert write(depot, DATA) == SIZE
    assert write(depot, b"", offset=SIZE) == SIZE
    assert refusal(lambda: write(depot, DATA + b"x")) is Reason.BAD_FIELD
    assert refusal(lambda: write(depot, b"x", offset=SIZE)) is Reason.BAD_FIELD
    assert read(depot) == DATA


def test_other_bytes_are_refused_as_a_whole_and_can_be_written_again(depot):
    assert refusal(lambda: write(depot, DATA[:-1] + bytes([DATA[-1] ^ 1]))) is Reason.BAD_SIGNATURE
    assert depot.length(BLOB, SIZE) == 0
    swapped = DATA[BLOCK_SIZE : 2 * BLOCK_SIZE] + DATA[:BLOCK_SIZE] + DATA[2 * BLOCK_SIZE :]
    assert refusal(lambda: write(depot, swapped)) is Reason.BAD_SIGNATURE
    assert write(depot) == SIZE


def test_a_root_has_one_length(depot):
    shorter = AttachmentRef(b"", 1000, REF.ct_root)
    assert refusal(lambda: write(depot, DATA[:1000], shorter)) is Reason.BAD_SIGNATURE
    write(depot, DATA[:BLOCK_SIZE])
    assert write(depot, b"", AttachmentRef(b"", SIZE + 16, REF.ct_root)) == 0  # a new claim begins anew
    assert write(depot) == SIZE
    assert not depot.claim(BLOB, 1000, now=NOW)
    assert refusal(lambda: write(depot, b"", shorter)) is Reason.BAD_SIGNATURE
    assert read(depot) == DATA


def test_owners_are_kept_apart(depot):
    write(depot)
    assert depot.length(Blob(OTHER, REF.ct_root), SIZE) == 0
    with contextlib.suppress(UntrustedError):
        write(depot, bytes(SIZE), owner=OTHER)
    assert read(depot) == DATA


def test_the_newest_writer_goes_on(depot):
    first = depot.begin(BLOB, SIZE, 0)
    first.add(DATA[: BLOCK_SIZE + 10])
    second = depot.begin(BLOB, SIZE, 0)
    assert refusal(lambda: first.add(DATA[BLOCK_SIZE + 10 :])) is Reason.UNAVAILABLE
    first.close()
    for piece in pieces(DATA):
        second.add(piece)
    assert second.close() == SIZE
    assert read(depot) == DATA


def test_many_writers_at_once_spoil_nothing(depot):
    """A sender that comes back while its old call is still there, as often as it likes."""
    done = []

    def work(seed):
        rng = random.Random(seed)
        for _ in range(3):
            with contextlib.suppress(ExchangeError):
                done.append(write(depot, size=rng.randint(50_000, 2_000_000)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert write(depot) == SIZE
    assert read(depot) == DATA
    assert all(length % BLOCK_SIZE == 0 or length == SIZE for length in done)


def test_what_is_touched_stays(depot, clock):
    write(depot)
    clock.now += timedelta(days=1)
    assert depot.untouched(NOW) == []
    assert depot.untouched(clock.now) == [BLOB]
    assert depot.claim(BLOB, SIZE, now=clock.now)
    assert depot.untouched(clock.now) == []
    assert not depot.drop(BLOB, untouched_since=clock.now)
    assert depot.drop(BLOB, untouched_since=clock.now + timedelta(seconds=1))
    assert depot.length(BLOB, SIZE) == 0
    assert depot.kept(OWNER) == []
    assert write(depot) == SIZE


# On disk


def test_everything_is_found_again(tmp_path, clock):
    depot = at(tmp_path, clock)
    write(depot)
    other, ref = ciphertext(7)
    write(depot, other[: 2 * BLOCK_SIZE + 5], ref)
    again = at(tmp_path, clock)
    assert again.size == SIZE + 2 * BLOCK_SIZE
    assert read(again) == DATA
    blob = Blob(OWNER, ref.ct_root)
    assert again.length(blob, SIZE) == 2 * BLOCK_SIZE
    assert write(again, other[2 * BLOCK_SIZE :], ref, offset=2 * BLOCK_SIZE) == SIZE
    assert read(again, blob, ref=ref) == other


class Crashed(BaseException):
    """The machine stops."""


class Steps:
    """Every call that changes the disk is a step before it happens, and one after; at the last one all ends."""

    def __init__(self, count):
        self.left = count

    def step(self):
        if self.left == 0:
            raise Crashed
        self.left -= 1

    def counted(self, call):
        def counting(*args):
            self.step()
            result = call(*args)
            self.step()
            return result

        return counting


def test_a_crash_at_every_step_loses_at_most_what_did_not_count(tmp_path, clock, monkeypatch):
    calls = ((os, "pwrite"), (os, "fsync"), (os, "ftruncate"), (shelf.Path, "rename"))
    monkeypatch.setattr(shelf, "_SYNC_BLOCKS", 1)
    for count in range(200):
        folder, steps = tmp_path / str(count), Steps(count)
        folder.mkdir()
        with monkeypatch.context() as patch:
            for owner, name in calls:
                patch.setattr(owner, name, steps.counted(getattr(owner, name)))
            try:
                whole = write(at(folder, clock), size=BLOCK_SIZE) == SIZE
            except Crashed:
                whole = False
        depot = at(folder, clock)
        there = depot.length(BLOB, SIZE)
        assert there % BLOCK_SIZE == 0 or there == SIZE
        assert write(depot, DATA[there:], offset=there) == SIZE
        assert depot.claim(BLOB, SIZE, now=NOW)
        if whole:
            assert count > 30
            assert read(depot) == DATA
            return
        depot.drop(BLOB, untouched_since=NOW + timedelta(days=1))
    pytest.fail("it never came to an end")


def test_bytes_that_a_power_failure_took_do_not_count(tmp_path, clock):
    write(at(tmp_path, clock), DATA[: 2 * BLOCK_SIZE])
    (part,) = (tmp_path / "attachments").glob("*/*.part")
    os.truncate(part, BLOCK_SIZE + 5)
    depot = at(tmp_path, clock)
    assert depot.length(BLOB, SIZE) == BLOCK_SIZE
    assert write(depot, DATA[BLOCK_SIZE:], offset=BLOCK_SIZE) == SIZE


def test_what_nobody_can_go_on_with_is_deleted(tmp_path, clock):
    write(at(tmp_path, clock), DATA[:BLOCK_SIZE])
    folder = tmp_path / "attachments" / OWNER
    (part,) = folder.glob("*.part")
    (folder / "stray").write_bytes(b"x")
    (folder / ("00" * 32)).write_bytes(b"x")
    (folder / ("11" * 32 + ".tree")).write_bytes(bytes(64))
    os.truncate(part.with_suffix(".tree"), 5)
    depot = at(tmp_path, clock)
    assert list(folder.iterdir()) == []
    assert write(depot) == SIZE


def test_damage_on_disk_is_noticed_before_anything_is_handed_out(tmp_path, clock):
    write(at(tmp_path, clock))
    (whole,) = (p for p in (tmp_path / "attachments").glob("*/*") if not p.suffix)
    with whole.open("r+b") as file:
        file.seek(BLOCK_SIZE + 77)
        file.write(bytes([DATA[BLOCK_SIZE + 77] ^ 1]))
    depot = at(tmp_path, clock)
    assert len(read(depot, size=BLOCK_SIZE)) == BLOCK_SIZE
    with pytest.raises(ExchangeError, match="block 1 is damaged") as caught:
        read(depot)
    assert caught.value.reason is Reason.UNAVAILABLE
    os.truncate(whole, SIZE - 1)
    assert at(tmp_path, clock).length(BLOB, SIZE) == 0
    assert write(at(tmp_path, clock)) == SIZE
    tree = whole.with_suffix(".tree")
    assert tree.stat().st_size == size_of(REF)


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, Reason.OVERLOADED), (errno.EIO, Reason.UNAVAILABLE)])
@pytest.mark.parametrize("name", ["pwrite", "fsync"])
def test_errors_of_the_disk(tmp_path, clock, monkeypatch, name, number, reason):
    depot = at(tmp_path, clock)
    write(depot, DATA[:BLOCK_SIZE])
    real, calls = getattr(os, name), []

    def failing(*args):
        calls.append(args)
        if len(calls) > 3:
            raise OSError(number, os.strerror(number))
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing)
        assert refusal(lambda: write(depot, size=BLOCK_SIZE)) is reason
    # After "full" what counted still counts; after anything else nothing of the file is believed.
    assert depot.length(BLOB, SIZE) in ((BLOCK_SIZE, 2 * BLOCK_SIZE) if reason is Reason.OVERLOADED else (0,))
    assert not depot.claim(BLOB, SIZE, now=NOW)
    assert write(depot, DATA) == SIZE
    assert read(depot) == DATA


def test_a_full_disk_takes_nothing_and_breaks_nothing(tmp_path, clock):
    free = os.statvfs(tmp_path)
    depot = at(tmp_path, clock, reserve=free.f_bavail * free.f_frsize + 2**40)
    assert refusal(lambda: write(depot)) is Reason.OVERLOADED
    assert depot.length(BLOB, SIZE) == 0
    assert at(tmp_path, clock).size == 0
    assert depot.kept(OWNER) == []  # nor does it count against the quota
    assert depot.untouched(NOW + timedelta(days=1)) == []


def test_files_are_for_the_relay_only(tmp_path, clock):
    write(at(tmp_path, clock))
    for path in (tmp_path / "attachments").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
