"""Latch: moves one way, from what stands there to what is new, for whoever comes first."""

import os
import resource
import threading

import pytest

from infoexchange.errors import Reason, UnavailableError, UntrustedError
from infoexchange.testing.memory import MemoryLatch
from infoexchange_relay.stores import FileLatch
from patience import LIMIT


@pytest.fixture(params=["memory", "file"])
def latch(request, tmp_path):
    return MemoryLatch() if request.param == "memory" else FileLatch(tmp_path / "latch")


def test_it_starts_empty_and_moves_on(latch):
    assert latch.read() == b""
    latch.replace(b"", b"first")
    latch.replace(b"first", b"second")
    assert latch.read() == b"second"


@pytest.mark.parametrize("old", [b"", b"zeroth", b"second"])
def test_something_else_stands_there(latch, old):
    latch.replace(b"", b"first")
    with pytest.raises(UntrustedError) as caught:
        latch.replace(old, b"second")
    assert caught.value.reason is Reason.LOG_FORK
    assert latch.read() == b"first"


def test_it_never_becomes_empty_again(latch):
    latch.replace(b"", b"first")
    with pytest.raises(ValueError, match="empty"):
        latch.replace(b"first", b"")


def test_of_racing_writers_one_wins(latch):
    outcomes = []

    def race(name):
        for step in range(20):
            barrier.wait()
            old = latch.read()
            barrier.wait()
            try:
                latch.replace(old, b"%d by %d" % (step, name))
                outcomes.append(step)
            except UntrustedError:
                pass

    barrier = threading.Barrier(4, timeout=LIMIT)  # a thread that fails must not hang the rest
    threads = [threading.Thread(target=race, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == list(range(20))


def test_a_file_latch_outlives_its_process(tmp_path):
    FileLatch(tmp_path / "latch").replace(b"", b"first")
    assert FileLatch(tmp_path / "latch").read() == b"first"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("torn", [b"", b"half of the sec"])
def test_what_a_crash_left_beside_it_is_ignored(tmp_path, torn):
    latch = FileLatch(tmp_path / "latch")
    latch.replace(b"", b"first")
    (tmp_path / "latch.new").write_bytes(torn)
    assert latch.read() == b"first"
    latch.replace(b"first", b"second")
    assert latch.read() == b"second"


def test_an_emptied_file_is_not_a_new_latch(tmp_path):
    """A lost checkpoint must not look like a log that has not begun."""
    (tmp_path / "latch").touch()
    with pytest.raises(UnavailableError) as caught:
        FileLatch(tmp_path / "latch").read()
    assert caught.value.reason is Reason.LOG_STOPPED


def test_a_folder_in_its_place(tmp_path):
    with pytest.raises(UnavailableError) as caught:
        FileLatch(tmp_path).read()
    assert (caught.value.reason, caught.value.field) == (Reason.LOG_STOPPED, str(tmp_path))


def test_after_a_failed_write_it_refuses(tmp_path):
    """A file size limit makes the kernel refuse the write, as a broken disk would."""
    latch = FileLatch(tmp_path / "latch")
    latch.replace(b"", b"first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        with pytest.raises(UnavailableError) as caught:
            latch.replace(b"first", b"second" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.reason is Reason.LOG_STOPPED
    with pytest.raises(UnavailableError):
        latch.replace(b"first", b"second")
    assert FileLatch(tmp_path / "latch").read() == b"first"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_disk_passes(tmp_path):
    latch = FileLatch(tmp_path / "latch")
    latch.replace(b"", b"first")
    (tmp_path / "latch.new").unlink(missing_ok=True)
    (tmp_path / "latch.new").symlink_to("/dev/full")
    with pytest.raises(UnavailableError) as caught:
        latch.replace(b"first", b"second")
    assert caught.value.reason is Reason.OVERLOADED
    (tmp_path / "latch.new").unlink()
    latch.replace(b"first", b"second")
    assert latch.read() == b"second"
