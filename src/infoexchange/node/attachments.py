"""Attachments: which bytes a relay takes, for whom it keeps them, and to whom it hands them out (SPEC section Relay).

Bytes come before the envelope that names them. Until then they are their owner's alone; from then on they are kept for
each party that the envelope waits for, until its part of the story has ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import timedelta

from infoexchange.attachment import AttachmentRef, Block
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.chunks import MISSING, Blob, Depot, Writing
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Party, Role
from infoexchange.manifest import Manifest
from infoexchange.node.desk import Desk

# Specification constants
UNNAMED_LIFETIME = timedelta(days=7)  # covers a weekend and an outage between an upload and its envelope
UNNAMED_MAX = 1024  # attachments of one party that no envelope names yet: sixteen full messages

# Implementation constants
_GRACE = timedelta(minutes=1)  # longer than any commit takes: what was claimed just now may be named in a moment
_SWEPT = 256  # blobs of one round


def named(desk: Desk, caller: Party, manifest: Manifest) -> tuple[Blob, ...]:
    """Return the attachments of an envelope, once the caller is known to have written every one of them as a whole.

    Raises:
        UnavailableError: `UNAVAILABLE` for the field `manifest.attachments` when one is missing.
    """
    blobs = tuple(dict.fromkeys(Blob(caller.name, ref.ct_root) for ref in manifest.attachments))
    now = desk.clock()
    for ref in manifest.attachments:
        if not _depot(desk).claim(Blob(caller.name, ref.ct_root), ref.ct_length, now=now):
            raise error(
                Reason.UNAVAILABLE,
                field=MISSING,
                detail=f"{ref.ct_root.hex()[:16]} of {ref.ct_length} bytes is not here as a whole",
                next_step="Upload it, then hand over the same envelope again.",
            )
    return blobs


class PartyChunks:
    """The `Chunks` of one party at a node."""

    def __init__(self, desk: Desk, caller: Party) -> None:
        """Bind a party to a node."""
        self._desk = desk
        self._caller = caller

    def length(self, ref: AttachmentRef) -> int:
        """Return how many bytes this party has written durably."""
        self._check_may_write()
        return _depot(self._desk).length(Blob(self._caller.name, ref.ct_root), ref.ct_length)

    def begin(self, ref: AttachmentRef, offset: int) -> Writing:
        """Go on writing; raises as `Chunks.write`."""
        self._check_may_write()
        desk, depot, blob = self._desk, _depot(self._desk), Blob(self._caller.name, ref.ct_root)
        others = [(other, size) for other, size in depot.kept(blob.owner) if other != blob]
        known = desk.store.needs.known([other for other, _ in others])
        sizes = [size for (_, size), is_known in zip(others, known, strict=True) if not is_known]
        if len(sizes) >= UNNAMED_MAX or sum(sizes) + ref.ct_length > depot.quota:
            detail = f"{len(sizes)} attachments of {sum(sizes)} bytes wait for their envelopes already"
            raise error(Reason.OVERLOADED, field="attachment", detail=detail)
        return depot.begin(blob, ref.ct_length, offset)

    def write(self, ref: AttachmentRef, offset: int, pieces: Iterable[bytes]) -> int:
        """Write bytes from `offset` on; return `length` afterwards."""
        writing = self.begin(ref, offset)
        try:
            for piece in pieces:
                writing.add(piece)
        except BaseException:
            with contextlib.suppress(ExchangeError):
                writing.close()  # what came before the break stays
            raise
        return writing.close()

    def read(self, ref: AttachmentRef, offset: int, size: int) -> Iterator[Block]:
        """Yield the blocks that hold a range."""
        blob = self._desk.store.needs.readable(self._caller.name, ref.ct_root)
        if blob is None:
            raise error(
                Reason.NOT_PERMITTED,
                field="attachment",
                detail=f"no message that waits for {self._caller.name} has it",
                next_step="Fetch it before the message is acknowledged, or ask the sender to send it again.",
            )
        return _depot(self._desk).read(blob, offset, size)

    def _check_may_write(self) -> None:
        if self._caller.role is not Role.RELAY and self._caller.relay != self._desk.name:
            raise error(Reason.NOT_PERMITTED, field="attachment", detail=f"{self._desk.name} is not its relay")


def sweep(desk: Desk) -> int:
    """Delete what nobody needs any more and what was never named in time; return how many.

    Safe at any time: what a crash left is found by the next call.
    """
    if desk.depot is None:
        return 0
    depot, needs, now = desk.depot, desk.store.needs, desk.clock()
    past, count = now - CLOCK_SKEW, 0
    # A clock that has run ahead must delete nothing: by it the directory has expired as well.
    desk.directory.check_current(past)
    # Bytes first, then the record that they are to go: a crash in between repeats it.
    over = needs.over(past, limit=_SWEPT)
    gone = [blob for blob in over if depot.drop(blob, untouched_since=now - _GRACE)]
    needs.forget(gone, past)
    old = depot.untouched(now - UNNAMED_LIFETIME)
    for blob, is_known in zip(old, needs.known(old), strict=True):
        count += not is_known and depot.drop(blob, untouched_since=now - UNNAMED_LIFETIME)
    return count + len(gone)


def _depot(desk: Desk) -> Depot:
    if desk.depot is None:
        raise error(Reason.UNAVAILABLE, field="attachment", detail=f"{desk.name} keeps no attachments")
    return desk.depot
