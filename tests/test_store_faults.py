"""Store on a bad day: killed processes, full and broken disks, rotten bytes, wrong files. Seeds are printed."""

import contextlib
import os
import random
import resource
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from changes import accepted, change, delivered
from community import Community
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, UnavailableError
from infoexchange.ports import Head
from infoexchange.states import Event
from infoexchange.tlog import merkle, tiles
from infoexchange_relay.stores import open_store

COAST_A, COAST_B = "coast.aa.example", "coast.bb.example"
ROOT = Path(__file__).resolve().parent.parent
KILLS = 20


@pytest.fixture(scope="module")
def community():
    return Community()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "relay.db"


def events(count):
    return [change(Event.QUEUED, secrets.token_bytes(32)) for _ in range(count)]


def root_of(leaves):
    return merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])


# Killed processes. One process imports everything once and forks a new victim for every line it is given.


def breed_victims(path, envelope):
    for _ in sys.stdin:
        victim = os.fork()
        if not victim:
            append_for_ever(path, envelope)
        os.waitpid(victim, 0)
        os.write(1, b"dead\n")


def append_for_ever(path, envelope):
    """Say which process to kill, then say of each batch that it is acknowledged, once it is."""
    os.write(1, b"%d\n" % os.getpid())
    store, unread = open_store(path), []
    while True:
        batch = events(random.randrange(12))
        digest = secrets.token_bytes(32)  # the store never looks inside, so one envelope serves under many names
        batch.append(change(Event.ACCEPTED, digest, claim=digest, envelope=envelope, starts=(COAST_B,)))
        if len(unread) > 5:
            batch.append(delivered(unread.pop(0), COAST_B))
        unread.append(digest)
        indices = store.append(batch)
        leaves = b"".join(c.entry.leaf for c in batch)
        os.write(1, b"%d %d %s\n" % (indices[0], len(batch), sha256(leaves).hexdigest().encode()))


def test_killed_at_any_moment_nothing_acknowledged_is_lost(path, community, tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance, acknowledged = random.Random(seed), []
    envelope = community.seal(COAST_A, [COAST_B])
    (tmp_path / "envelope").write_bytes(envelope.raw)
    command = [sys.executable, __file__, str(path), str(tmp_path / "envelope")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("src", "relay", "tests"))}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, bufsize=0) as breeder:
        lines = iter(breeder.stdout.readline, b"")
        for _ in range(KILLS):
            breeder.stdin.write(b"another\n")
            victim = int(next(lines))
            time.sleep(chance.uniform(0, 0.15))
            os.kill(victim, signal.SIGKILL)
            while (line := next(lines)) != b"dead\n":
                acknowledged.append(line.split())
            with open_store(path) as store:
                check_whole(store, acknowledged, envelope)
    assert len(acknowledged) > KILLS


def check_whole(store, acknowledged, envelope):
    head = store.head()
    leaves = store.leaves(0, head.size)
    assert head.root == root_of(leaves) == tiles.root(head.size, lambda level, n: store.tiles([(level, n)])[0])
    for first, count, digest in acknowledged:
        batch = leaves[int(first) : int(first) + int(count)]
        assert sha256(b"".join(batch)).hexdigest().encode() == digest
    open_ones = []
    with contextlib.closing(sqlite3.connect(store.engine.place)) as connection:
        for digest, event in connection.execute("SELECT digest, event FROM entry ORDER BY idx").fetchall():
            if event == Event.ACCEPTED:
                open_ones.append(digest)
            elif event == Event.DELIVERED:
                open_ones.remove(digest)
        assert connection.execute("SELECT count(*) FROM envelope").fetchone() == (len(open_ones),)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    waiting = store.waiting(COAST_B, limit=10**6)
    assert [w.digest for w in waiting] == open_ones
    assert {w.raw for w in waiting} <= {envelope.raw}


# Disks


def test_a_commit_waits_for_the_disk(path):
    with open_store(path) as store:
        assert store.engine.writer.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store.engine.writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store.engine.writer.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_full_disk_is_a_pause(path, community):
    envelope = community.seal(COAST_A, [COAST_B])
    with open_store(path) as store:
        store.append([*events(3), accepted(envelope)])
        head = store.head()
        (pages,) = store.engine.writer.execute("PRAGMA page_count").fetchone()
        store.engine.writer.execute(f"PRAGMA max_page_count = {pages}")
        batch = events(300)
        with pytest.raises(UnavailableError) as caught:
            store.append(batch)
        assert caught.value.reason is Reason.OVERLOADED
        # Nothing of it stands, and what was there can still be read.
        assert store.head() == head
        assert root_of(store.leaves(0, 400)) == head.root
        assert [w.raw for w in store.waiting(COAST_B, limit=10)] == [envelope.raw]
        store.engine.writer.execute(f"PRAGMA max_page_count = {pages + 1000}")
        assert store.append(batch) == list(range(4, 304))
        assert store.head() == Head(304, root_of(store.leaves(0, 400)))


@contextlib.contextmanager
def no_file_grows_beyond(size):
    """Let the kernel refuse writes, as a broken disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_after_an_error_of_the_disk_nothing_is_appended(path):
    with open_store(path) as store:
        store.append(events(3))
        head = store.head()
        wal = path.with_name("relay.db-wal")
        with no_file_grows_beyond(wal.stat().st_size), pytest.raises(UnavailableError) as caught:
            store.append(events(300))
        assert caught.value.reason is Reason.LOG_STOPPED
        with pytest.raises(UnavailableError) as caught:
            store.append(events(1))
        assert caught.value.reason is Reason.LOG_STOPPED
        assert store.head() == head
    with open_store(path) as store:  # a new process may go on
        assert store.head() == head
        assert store.append(events(1)) == [3]


def test_another_process_that_writes_is_waited_for_and_its_entries_count(path):
    with open_store(path) as one, open_store(path) as two:
        size = 0
        for store, count in ((one, 2), (two, 3), (one, 2), (two, 300), (one, 2)):
            assert store.append(events(count)) == list(range(size, size + count))
            size += count
            assert two.head() == one.head() == Head(size, root_of(two.leaves(0, 400)))


# Rot


@pytest.fixture
def rotten(path, community):
    """Return a function that changes the file behind a closed store's back."""
    envelope = community.seal(COAST_A, [COAST_B])
    bundle = community.bundles[COAST_A]
    with open_store(path) as store:
        store.append([*events(299), accepted(envelope)])
        published = change(Event.KEY_BUNDLE, bundle.digest, exhibit=b"the document" * 9, bundle=bundle)
        store.append([published])
        content = {
            "leaf": store.leaves(200, 1)[0],
            "group": store.records([300])[0].entry.salts[1],
            "exhibit": published.exhibit,
            "envelope": envelope.raw[200:264],
            "bundle": bundle.raw[200:264],
            "tile": store.tiles([(0, 0)])[0][64:128],
        }

    def flip(name):
        raw, seed = bytearray(path.read_bytes()), random.randrange(2**32)
        print("seed", seed)
        assert raw.count(content[name]) == 1
        chance = random.Random(seed)
        raw[raw.index(content[name]) + chance.randrange(len(content[name]))] ^= 1 << chance.randrange(8)
        path.write_bytes(raw)
        return bundle, envelope

    return flip


@pytest.mark.parametrize(
    ("name", "table", "row", "read"),
    [
        ("leaf", "entry", "200", lambda store, *_: store.leaves(150, 100)),
        ("leaf", "entry", "200", lambda store, *_: store.records([199, 200])),
        ("group", "entry", "300", lambda store, *_: store.records([300])),
        ("exhibit", "exhibit", "300", lambda store, *_: store.records([300])),
        ("exhibit", "exhibit", "300", lambda store, *_: store.exhibits(Event.KEY_BUNDLE)),
        ("envelope", "envelope", "299", lambda store, bundle, envelope: store.envelope(envelope.digest)),
        ("bundle", "bundle", "", lambda store, bundle, envelope: store.bundle(bundle.digest)),
        ("bundle", "bundle", "", lambda store, *_: store.bundles([COAST_A])),
        ("tile", "tile", "0/0", lambda store, *_: store.tiles([(0, 0)])),
    ],
)
def test_one_flipped_bit_is_seen_on_read(rotten, path, name, table, row, read):
    things = rotten(name)
    with open_store(path) as store, pytest.raises(UnavailableError) as caught:
        read(store, *things)
    assert (caught.value.reason, caught.value.field) == (Reason.LOG_STOPPED, table)
    assert f"row {row}" in caught.value.detail


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE entry SET idx = CASE idx WHEN 1 THEN -1 ELSE 1 END WHERE idx IN (1, 2)", "leaves"),
        ("DELETE FROM entry WHERE idx = 1", "leaves"),
        ("DELETE FROM entry WHERE idx = 4", "leaves"),
        ("DELETE FROM entry WHERE idx = 1", "records"),
        ("DELETE FROM entry WHERE idx = 4", "open"),
        ("DELETE FROM tile WHERE level = 0", "open"),
        ("UPDATE head SET size = 4", "open"),
    ],
)
def test_rows_that_moved_or_vanished_are_seen(path, community, statement, read):
    reads = {
        "open": lambda store: open_store(path),
        "leaves": lambda store: store.leaves(0, 3) and store.leaves(2, 3),
        "records": lambda store: store.records([0, 1]),
    }
    with open_store(path) as store:
        store.append([accepted(community.seal(COAST_A, [COAST_B])), *events(4)])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(statement)
        with pytest.raises(UnavailableError) as caught:
            reads[read](store)
    assert caught.value.reason is Reason.LOG_STOPPED


def test_a_damaged_envelope_holds_up_nothing_behind_it(path, community):
    """Whatever bit of its row is another one: it waits as damaged, with the digest that the log has."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    envelopes = [community.seal(COAST_A, [COAST_B]) for _ in range(3)]
    with open_store(path) as store, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        store.append([accepted(envelope) for envelope in envelopes])
        column = chance.choice(["digest", "raw", "sha256", "precedence", "expires_ms"])
        (value,) = connection.execute(f"SELECT {column} FROM envelope WHERE idx = 1").fetchone()
        if isinstance(value, bytes):
            at = chance.randrange(len(value))
            value = value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :]
        else:
            value ^= 1 << chance.randrange(40)
        connection.execute(f"UPDATE envelope SET {column} = ? WHERE idx = 1", (value,))
        waiting = store.waiting(COAST_B, limit=9)
        assert [item.digest for item in waiting] == [envelope.digest for envelope in envelopes]
        assert [item.damaged for item in waiting] == [False, True, False]
        assert waiting[1].raw == b""
        assert len(waiting[1].remains) == len(envelopes[1].raw)
        # It can still leave, unless its own name is what is damaged.
        store.append([delivered(envelope.digest, COAST_B) for envelope in envelopes])
        assert [item.digest for item in store.waiting(COAST_B, limit=9)] == [envelopes[1].digest][: column == "digest"]


@pytest.mark.parametrize("spoil", ["DELETE FROM envelope", "UPDATE entry SET leaf = zeroblob(104)"])
def test_what_is_left_of_a_damaged_envelope_is_told(path, community, spoil):
    envelope = community.seal(COAST_A, [COAST_B])
    with open_store(path) as store, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        store.append([accepted(envelope)])
        connection.execute("UPDATE envelope SET raw = zeroblob(9)")
        connection.execute(spoil)
        [item] = store.waiting(COAST_B, limit=1)
        gone = spoil.startswith("DELETE")
        assert (item.digest, item.remains) == ((envelope.digest, b"") if gone else (b"", bytes(9)))


# Wrong files


def other_program(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    path.chmod(0o600)


def newer(path):
    open_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def text(path):
    path.write_bytes(b"This is a letter and no database. " * 99)
    path.chmod(0o600)


def open_to_others(path):
    open_store(path).close()
    path.chmod(0o640)


def in_an_open_folder(path):
    path.parent.chmod(0o755)


def in_no_folder(path):
    path.parent.rmdir()


def unreadable(path):
    open_store(path).close()
    path.chmod(0o000)


@pytest.mark.parametrize(
    "spoil",
    [
        Path.mkdir,
        other_program,
        newer,
        text,
        open_to_others,
        in_an_open_folder,
        in_no_folder,
        pytest.param(unreadable, marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(path, spoil):
    spoil(path)
    with pytest.raises(UnavailableError) as caught:
        open_store(path)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert caught.value.field in (str(path), str(path.parent))
    assert caught.value.detail
    assert caught.value.next_step.endswith(".")


def test_files_are_private_whatever_the_umask(path):
    before = os.umask(0)
    try:
        with open_store(path) as store:
            store.append(events(1))
            store.head()
            assert {p.stat().st_mode & 0o777 for p in path.parent.iterdir()} == {0o600}
            assert len(list(path.parent.iterdir())) == 3
    finally:
        os.umask(before)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_closed_store_says_so(path):
    store = open_store(path)
    store.close()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.head()
    with pytest.raises(ValueError, match="closed"):
        store.append(events(1))


if __name__ == "__main__":
    breed_victims(Path(sys.argv[1]), Envelope.parse(Path(sys.argv[2]).read_bytes()))
