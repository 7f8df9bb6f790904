"""Auditor: what someone who trusts nobody checks of a relay's log."""

from __future__ import annotations

from collections.abc import Callable

from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.log import log_keys
from infoexchange.ports import Log
from infoexchange.tlog import Checkpoint
from infoexchange.tlog.rehash import Rehash

# Implementation constants
_LEAVES_PER_CALL = 1024  # 104-byte leaves: 100 KiB a call

Progress = Callable[[int, int], None]
"""Called with leaves checked and leaves in all."""


def verify_log(log: Log, directory: Directory, relay: str, *, progress: Progress | None = None) -> Checkpoint:
    """Return the newest checkpoint, once every leaf has been hashed again and both signatures hold.

    Args:
        log: Where raw bytes come from; nothing of it is trusted.
        directory: Lists the relay's log keys.
        relay: Whose log it must be.
        progress: Told how far the work is.

    Raises:
        UntrustedError: `UNKNOWN_PARTY`, `BAD_SIGNATURE`, or `BAD_PROOF` when leaves are missing or changed.
    """
    signed = Checkpoint.parse(log.checkpoint())
    signed.verify(log_keys(directory, relay, signed.origin))
    tree = Rehash()
    while tree.size < signed.size:
        leaves = log.leaves(tree.size, min(_LEAVES_PER_CALL, signed.size - tree.size))
        if not leaves:
            raise error(Reason.BAD_PROOF, field="log", detail=f"leaf {tree.size} of {signed.size} is missing")
        tree.extend(leaves[: signed.size - tree.size])
        if progress:
            progress(tree.size, signed.size)
    if tree.root != signed.root:
        raise error(Reason.BAD_PROOF, field="log", detail=f"the leaves of {relay} do not give the signed root")
    return signed
