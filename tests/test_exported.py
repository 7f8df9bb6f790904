"""An exported log: written whole or not at all, extended without touching what is complete, read back as it was."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from changes import change
from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange.audit import GROUPS
from infoexchange.auditor import verify_log
from infoexchange.errors import ExchangeError, Reason, UnavailableError, UntrustedError
from infoexchange.exported import LogFolder, export_log, writing
from infoexchange.log import LogKeys
from infoexchange.ports import Record
from infoexchange.states import Event
from infoexchange.testing import Exchange, FakeClock
from infoexchange.testing.memory import MemoryStore
from infoexchange.tlog import Checkpoint
from messages import officer_acknowledgement

HOME = "relay.th.example"
ROUTING_MESSAGE = ("routing", "message")
clock = FakeClock()
KEYS = LogKeys.make(HOME, now=clock())


def filled(count: int) -> MemoryStore:
    store = MemoryStore()
    store.append([change(Event.QUEUED, b"%032d" % i) for i in range(count)])
    return store


def signed(store: MemoryStore, keys: LogKeys = KEYS) -> Checkpoint:
    head = store.head()
    return keys.sign(head.size, head.root, now=clock())


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def busy() -> Exchange:
    """Relays whose logs hold entries of several kinds."""
    exchange = Exchange(AGENCIES)
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    box = exchange.mailbox(RECIPIENT)
    for delivery in box.receive():
        box.acknowledge(delivery)
    return exchange


def exported(exchange: Exchange, folder: Path, shown: tuple[str, ...] = ()) -> LogFolder:
    ledger = exchange.nodes[HOME].ledger
    export_log(ledger.store, folder, Checkpoint.parse(ledger.checkpoint()), shown=shown)
    return LogFolder(folder)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 600])
def test_a_folder_is_the_same_in_one_run_or_in_several(tmp_path: Path, size: int) -> None:
    store = filled(size)
    once = export_log(store, tmp_path / "once", signed(store), shown=GROUPS)
    assert (once.before, once.size) == (0, size)
    grown = MemoryStore()
    steps = sorted({0, min(1, size), size // 3, size // 2, size})
    for start, end in itertools.pairwise([0, *steps]):
        changes = [change(Event.QUEUED, b"%032d" % i) for i in range(start, end)]
        made = store.records(range(start, end))
        grown.append([replace(c, entry=r.entry) for c, r in zip(changes, made, strict=True)])
        done = export_log(grown, tmp_path / "grown", signed(grown), shown=GROUPS)
        assert (done.before, done.size) == (start, end)
    left, right = files(tmp_path / "once"), files(tmp_path / "grown")
    assert left.pop("checkpoint").splitlines()[:3] == right.pop("checkpoint").splitlines()[:3]
    assert left == right
    folder = LogFolder(tmp_path / "grown")
    assert folder.leaves(0, size + 9) == [r.entry.leaf for r in store.records(range(size))]
    found = folder.records(0, size + 9)
    assert [r and (r.index, r.entry.routing, r.entry.salts, r.event) for r in found] == [
        (r.index, r.entry.routing, r.entry.salts, r.event) for r in store.records(range(size))
    ]


def test_what_is_complete_is_never_written_again(tmp_path: Path) -> None:
    store = filled(300)
    export_log(store, tmp_path, signed(store), shown=ROUTING_MESSAGE)
    complete = ["tile/0/000", "tile/entries/000", "records/000"]
    for path in complete:
        (tmp_path / path).write_bytes(b"not to be touched")
    (tmp_path / "records/000").write_bytes(b"")
    with pytest.raises(ExchangeError):  # it is looked at, to see what is shown
        export_log(store, tmp_path, signed(store), shown=ROUTING_MESSAGE)
    store.append([change(Event.QUEUED, b"%032d" % i) for i in range(300, 700)])
    complete = ["tile/0/000", "tile/entries/000"]
    (tmp_path / "records/000").unlink()
    export_log(store, tmp_path, signed(store), shown=ROUTING_MESSAGE)
    assert {(tmp_path / path).read_bytes() for path in complete} == {b"not to be touched"}
    assert not list(tmp_path.rglob("*.p/44"))
    assert (tmp_path / "tile/0/002.p/188").exists()


def test_a_real_log_comes_back_with_what_is_shown(tmp_path: Path, busy: Exchange) -> None:
    node = busy.nodes[HOME]
    stored = node.store.records(range(node.ledger.size))
    folder = exported(busy, tmp_path / "all", GROUPS)
    assert verify_log(folder, busy.directory, HOME).size == len(stored)
    found = folder.records(0, len(stored))
    for there, here in zip(found, stored, strict=True):
        assert isinstance(there, Record)
        assert there.entry.leaf == here.entry.leaf
        assert (there.event, there.exhibit) == (here.event, here.exhibit)
        assert (there.entry.routing, there.entry.message) == (here.entry.routing, here.entry.message)
        if here.event is not Event.KEY_BUNDLE:  # a name that the store alone has use for
            assert there.party == here.party
    assert folder.directories() == [busy.directory.raw]
    assert folder.records(3, 2) == found[3:5]
    routing = exported(busy, tmp_path / "routing", ("routing",)).records(0, 99)
    assert [(r.event, r.entry.message, r.exhibit, r.entry.salts[1:]) for r in routing if r] == [
        (r.event, b"", b"", (b"", b"")) for r in stored
    ]
    assert exported(busy, tmp_path / "none").records(0, 99) == [None] * len(stored)
    assert not (tmp_path / "none/records").exists()
    secrets = b"".join(salt for record in stored for salt in record.entry.salts)
    everything = b"".join(files(tmp_path / "none").values())
    assert not any(secrets[i : i + 32] in everything for i in range(0, len(secrets), 32))


def test_what_was_erased_is_an_empty_record(tmp_path: Path) -> None:
    store = filled(3)

    class Erased(MemoryStore):
        def records(self, indices):
            return [
                replace(r, entry=replace(r.entry, routing=b"", message=b"", operational=b"", salts=(b"", b"", b"")))
                if r.index == 1
                else r
                for r in store.records(indices)
            ]

        tiles, leaves = store.tiles, store.leaves

    export_log(Erased(), tmp_path, signed(store), shown=GROUPS)
    assert [record is None for record in LogFolder(tmp_path).records(0, 3)] == [False, True, False]


def test_a_folder_of_another_log_is_left_alone(tmp_path: Path) -> None:
    store, other = filled(5), filled(6)
    export_log(store, tmp_path, signed(store))
    before = files(tmp_path)
    with pytest.raises(UntrustedError) as caught:
        export_log(other, tmp_path, signed(other))
    assert caught.value.reason is Reason.LOG_FORK
    with pytest.raises(UntrustedError) as caught:
        export_log(store, tmp_path, signed(store, LogKeys.make("relay.vn.example", now=clock())))
    assert caught.value.reason is Reason.LOG_FORK
    shorter = filled(0)
    with pytest.raises(UntrustedError) as caught:
        export_log(shorter, tmp_path, signed(shorter))
    assert caught.value.reason is Reason.LOG_FORK
    with pytest.raises(UnavailableError) as stopped:
        export_log(other, tmp_path, signed(store))
    assert stopped.value.reason is Reason.LOG_STOPPED
    assert files(tmp_path) == before


def test_groups_are_chosen_once_for_a_folder(tmp_path: Path) -> None:
    store = filled(5)
    for wrong in (("message",), ("routing", "other")):
        with pytest.raises(ExchangeError) as caught:
            export_log(store, tmp_path, signed(store), shown=wrong)
        assert caught.value.reason is Reason.BAD_FIELD
    export_log(store, tmp_path, signed(store), shown=("routing",))
    for other in ((), ROUTING_MESSAGE):
        with pytest.raises(ExchangeError) as caught:
            export_log(store, tmp_path, signed(store), shown=other)
        assert caught.value.reason is Reason.NOT_PERMITTED
    # None were shown before: they can still be added to all entries.
    export_log(store, tmp_path / "later", signed(store))
    export_log(store, tmp_path / "later", signed(store), shown=ROUTING_MESSAGE)
    assert all(LogFolder(tmp_path / "later").records(0, 5))


@pytest.mark.parametrize("begun", [False, True], ids=["first run", "later run"])
def test_an_interrupted_run_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """However many files were written, a reader finds the old log whole; the next run ends as if nothing had been."""
    store, small = filled(700), filled(0)
    export_log(store, tmp_path / "whole", signed(store), shown=ROUTING_MESSAGE)
    expected = files(tmp_path / "whole")
    write = writing.write_file
    for stop in range(1, 11):
        folder, written = tmp_path / f"{stop}", itertools.count()
        if begun:
            export_log(small, folder, signed(small), shown=ROUTING_MESSAGE)

        def failing(path: Path, data: bytes, stop: int = stop, written: Iterator[int] = written) -> None:
            if next(written) == stop:
                raise KeyboardInterrupt
            write(path, data)

        monkeypatch.setattr(writing, "write_file", failing)
        with pytest.raises(KeyboardInterrupt):  # what it was to show is not what the next run shows
            export_log(store, folder, signed(store), shown=GROUPS)
        monkeypatch.setattr(writing, "write_file", write)
        assert (folder / "checkpoint").exists() == begun
        assert not begun or LogFolder(folder).size == 0
        export_log(store, folder, signed(store), shown=ROUTING_MESSAGE)
        found = files(folder)
        assert found.pop("checkpoint")
        assert found == {path: raw for path, raw in expected.items() if path != "checkpoint"}


def test_what_is_left_over_is_removed_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash after the checkpoint was written, before the files of the one before were removed."""
    store = filled(200)
    export_log(store, tmp_path, signed(store), shown=GROUPS)
    store.append([change(Event.QUEUED, b"%032d" % i) for i in range(200, 700)])

    def crash(run: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing._Run, "_clear", crash)
        with pytest.raises(KeyboardInterrupt):
            export_log(store, tmp_path, signed(store), shown=GROUPS)
    (tmp_path / "tile/entries/.002.12345678").write_bytes(b"of a process that was killed")
    assert (tmp_path / "tile/0/000.p/200").exists()
    assert LogFolder(tmp_path).size == 700
    store.append([change(Event.QUEUED, b"%032d" % 700)])
    export_log(store, tmp_path, signed(store), shown=GROUPS)
    partial = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.p/*")]
    expected = ["tile/0/002.p/189", "tile/1/000.p/2", "tile/entries/002.p/189", "records/002.p/189"]
    assert sorted(partial) == sorted(expected)
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_that_grows_while_it_is_read_can_still_be_read(tmp_path: Path) -> None:
    store = filled(200)
    export_log(store, tmp_path, signed(store), shown=GROUPS)
    folder = LogFolder(tmp_path)
    assert folder.size == 200
    store.append([change(Event.QUEUED, b"%032d" % i) for i in range(200, 300)])
    export_log(store, tmp_path, signed(store), shown=GROUPS)
    assert len(folder.leaves(0, 300)) == 200
    assert [record.index for record in folder.records(0, 300) if record] == list(range(200))
    assert folder.tile(0, 0) == store.tiles([(0, 0)])[0][: 200 * 32]


def test_one_program_at_a_time(tmp_path: Path) -> None:
    store = filled(1)
    with writing._alone(tmp_path), pytest.raises(UnavailableError, match="another program is exporting"):
        export_log(store, tmp_path, signed(store))
