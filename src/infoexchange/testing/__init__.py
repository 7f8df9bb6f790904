"""Testing: a whole exchange in memory, for tests of programs that embed this library, and for this library's own."""

from infoexchange.testing.archive import MemoryArchive
from infoexchange.testing.clock import FakeClock
from infoexchange.testing.community import Community, Member
from infoexchange.testing.depot import MemoryDepot, MemoryStash
from infoexchange.testing.exchange import DirectRelay, Exchange
from infoexchange.testing.memory import MemoryLatch, MemoryStore
from infoexchange.testing.spool import MemorySpool

__all__ = [
    "Community",
    "DirectRelay",
    "Exchange",
    "FakeClock",
    "Member",
    "MemoryArchive",
    "MemoryDepot",
    "MemoryLatch",
    "MemorySpool",
    "MemoryStash",
    "MemoryStore",
]
