"""Proving: every leaf of a store hashed again, and compared with the roots that were signed and stored."""

from __future__ import annotations

from collections.abc import Callable

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ledger import FIRST_BATCH
from infoexchange.ports import Head, Store
from infoexchange.tlog import Checkpoint, merkle
from infoexchange.tlog.rehash import Rehash

# Implementation constants
_LEAVES_PER_READ = 1024  # 100 KiB at a time

Progress = Callable[[int, int], None]


def prove(
    store: Store, signed: Checkpoint | None, verify: Callable[[Checkpoint], object], progress: Progress
) -> tuple[Head, int]:
    """Return the head, and how many entries of its log were signed, once every leaf gives the roots it should.

    Args:
        store: Whose leaves are hashed, those of closed logs too.
        signed: The last checkpoint; None where nothing was signed yet.
        verify: Raises unless it was signed with the keys of the log that grows; not asked about that of a closed log.
        progress: Told how many entries are done, and how many there are.

    Raises:
        UnavailableError: `LOG_STOPPED` when leaves are missing or others than those that were signed.
    """
    head = store.head()
    for log in store.closed():
        _hash(store, log.base, log.checkpoint.size, log.checkpoint.root, "signed", progress)
        if signed and signed.note.text == log.checkpoint.note.text:
            signed = None  # the log after it begins when the relay starts
    if signed:
        verify(signed)
    size, root = (signed.size, signed.root) if signed else (0, merkle.EMPTY_ROOT)
    if not size and head.size > FIRST_BATCH:
        raise _stopped(f"there are {head.size} entries, but no latch: it was lost or is not mounted")
    _hash(store, head.base, size, root, "signed", progress)
    _hash(store, head.base, head.size, head.root, "stored", progress)
    return head, size


def _hash(store: Store, base: int, size: int, root: bytes, what: str, progress: Progress) -> None:
    """Raise unless the leaves of a log, or of its beginning, give a root."""
    tree = Rehash()
    while tree.size < size:
        leaves = store.leaves(base + tree.size, min(_LEAVES_PER_READ, size - tree.size))
        if not leaves:
            raise _stopped(f"entry {tree.size} of {size} is missing: this is an old or a damaged copy")
        tree.extend(leaves)
        progress(base + tree.size, store.head().end)
    if tree.root != root:
        raise _stopped(f"the leaves of the first {size} entries do not give the {what} root")


def _stopped(detail: str) -> ExchangeError:
    next_step = "Put the newest data in place; if it is lost, see `infoexchange-relay recover --help`."
    return error(Reason.LOG_STOPPED, field="log", detail=detail, next_step=next_step)
