"""`python -m bench.logs`: an audit log of a million entries, exported, and verified by the command that auditors use.

What is measured is the processor time of that command, which other work on the machine does not lengthen much, and the
most memory it ever had, for a log of a tenth of the length as well: it must be the same. Entries are made from their
number, one after the other, so that only the tree is kept while the log is written.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from infoexchange.audit import GROUPS, Entry, EntryRef, Operation, Routing, Subject
from infoexchange.exported import export_log
from infoexchange.exported.folder import directory_path
from infoexchange.log import LogKeys
from infoexchange.ports import Record
from infoexchange.states import Event
from infoexchange.testing import Community
from infoexchange.tlog import Checkpoint, merkle
from infoexchange.tlog.rehash import Rehash

_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)  # before any clock that this runs under
_RELAY = "relay.th.example"
_MIB = 2**20


class LongLog:
    """A log of `size` entries such as a relay writes; what `export_log` reads.

    Args:
        relay: Whose log it is.
        size: Entries in it.
    """

    def __init__(self, relay: str, size: int) -> None:
        self.size = size
        self._relay = relay
        self._tiles: dict[tuple[int, int], bytes] = {}
        tree = Rehash()
        for start in range(0, size, 4096):
            leaves = self.leaves(start, min(4096, size - start))
            self._tiles |= {(tile.level, tile.n): hashes for tile, hashes in tree.extend(leaves)}
        self._tiles |= {(tile.level, tile.n): hashes for tile, hashes in tree.partial()}
        self.root = tree.root

    def sign(self, keys: LogKeys) -> Checkpoint:
        """Return the signed checkpoint of all entries."""
        return keys.sign(self.size, self.root, now=_AT)

    def tiles(self, names: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return tiles by (level, n)."""
        return [self._tiles[name] for name in names]

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order."""
        return [self._entry(index).leaf for index in range(start, min(start + count, self.size))]

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked."""
        return [Record(index, self._entry(index), Event.QUEUED, "") for index in indices]

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return no documents."""
        return []

    def _entry(self, index: int) -> Entry:
        stream = _random(index)
        salts = (next(stream), next(stream), next(stream))
        return Entry(*_groups(self._relay), salts)


@lru_cache
def _groups(relay: str) -> tuple[bytes, bytes, bytes]:
    """Return groups with all that an entry about an envelope for one recipient holds."""
    digest = hashlib.sha256(b"an envelope").digest()
    routing = Routing(
        event=Event.QUEUED,
        logged_at=_AT,
        this_relay=relay,
        sender="desk.oncb.th.example",
        sender_nation="th",
        recipients=("intel.c04.vn.example",),
        op_status=1,
        precedence=2,
        expires_at=_AT,
    )
    subject = Subject(
        envelope_digest=digest,
        message_id=digest[:16],
        envelope_size=4096,
        sender_bundle=digest,
        recipient_bundles=(digest,),
        suite=1,
        directory_digest=digest,
        previous_entry=EntryRef(relay, 1, digest),
    )
    return routing.raw, subject.raw, Operation().raw


def _random(index: int) -> Iterator[bytes]:
    for part in range(3):
        yield hashlib.sha256(b"%d %d" % (index, part)).digest()


@dataclass(frozen=True)
class Verified:
    """What one run of `audit verify-log` took: its exit code, processor seconds and most bytes of memory."""

    code: int
    seconds: float
    memory: int


def write(folder: Path, size: int, shown: Sequence[str]) -> None:
    """Write an exported log of so many entries, with its trust anchor beside it."""
    community = Community.make({"th": ["desk"], "vn": ["desk"]}, now=_AT)
    log = LongLog(_RELAY, size)
    export_log(log, folder / "log", log.sign(community.log_keys[_RELAY]), shown=shown)
    directory = folder / "log" / directory_path(1, community.directory.raw)
    directory.parent.mkdir()
    directory.write_bytes(community.directory.raw)
    (folder / "roots.pb").write_bytes(community.roots.raw)


def verify(folder: Path) -> Verified:
    """Run the command in a process of its own."""
    words = ("audit", "verify-log", folder / "log", "--roots", folder / "roots.pb")
    process = subprocess.Popen([sys.executable, "-m", "infoexchange", *map(str, words)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Verified(process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def hashing() -> float:
    """Return the processor seconds that SHA-256 of a leaf and of a node take now, the fastest of several tries."""
    leaf, node, best = bytes(104), bytes(32), 1.0
    for _ in range(20):
        start = time.process_time()
        for _ in range(5000):
            merkle.leaf_hash(leaf)
            merkle.node_hash(node, node)
        best = min(best, (time.process_time() - start) / 5000)
    return best


def main() -> int:
    """Measure; exit 1 where a log did not verify as it must."""
    parser = argparse.ArgumentParser(prog="python -m bench.logs", description="a long audit log, verified")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--groups", default="", help=f"what is shown of each entry: some of {','.join(GROUPS)}")
    parser.add_argument("--write", metavar="DIR", type=Path, help="write such a log, and do nothing else")
    arguments = parser.parse_args()
    shown = tuple(filter(None, arguments.groups.split(",")))
    if arguments.write:
        write(arguments.write, arguments.entries, shown)
        return 0
    start = verify_of(0, shown)
    rows = [(size, verify_of(size, shown)) for size in (arguments.entries // 10, arguments.entries)]
    print(f"leaf and node hashed alone: {hashing() * 1e6:.2f} us, {1 / hashing():,.0f} entries/s")
    for size, found in rows:
        seconds = found.seconds - start.seconds
        print(
            f"{size:,} entries, showing {arguments.groups or 'nothing'}: {size / seconds:,.0f} entries/s on one core "
            f"({found.seconds:.2f} s processor time, {start.seconds:.2f} s of it to start), "
            f"{found.memory / _MIB:.0f} MiB at most"
        )
    # Nobody has witnessed these logs: that question is open, and no other.
    return 0 if {found.code for _, found in rows} == {2} else 1


def verify_of(size: int, shown: Sequence[str]) -> Verified:
    """Make a log, verify it and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="infoexchange-log-"))
    try:
        # In a process of its own: what this one ever had would count as memory of the command, its child.
        words = ("--write", folder, "--entries", size, "--groups", ",".join(shown))
        subprocess.run([sys.executable, "-m", "bench.logs", *map(str, words)], check=True)
        return verify(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
