"""Depot: attachment bytes of relays and agencies in memory; they keep the contracts of their ports without a disk."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, Block, blocks_for
from infoexchange.attachment.blocks import path_of, verify_root
from infoexchange.chunks import Blob, Path, Progress, Savable
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import Change, Clock
from infoexchange.stash import save
from infoexchange.tlog import merkle

# Implementation constants
QUOTA = 2**32  # more than a test uploads


@dataclass
class _Kept:
    """One blob: whole blocks, and the last one once it is whole itself."""

    ct_length: int
    touched: datetime
    blocks: list[bytes] = field(default_factory=list)
    whole: bool = False
    writing: MemoryWriting | None = None

    @property
    def length(self) -> int:
        return sum(map(len, self.blocks))

    @property
    def hashes(self) -> list[bytes]:
        return [merkle.leaf_hash(block) for block in self.blocks]


class MemoryDepot:
    """A `Depot` that lasts as long as its process."""

    def __init__(self, *, clock: Clock, quota: int = QUOTA) -> None:
        self.quota = quota
        self.lock = threading.RLock()
        self.clock = clock
        self._blobs: dict[Blob, _Kept] = {}

    def length(self, blob: Blob, ct_length: int) -> int:
        """Return how many of so many bytes are there; all of them only if the blob is whole."""
        kept = self._blobs.get(blob)
        return kept.length if kept and kept.ct_length == ct_length else 0

    def begin(self, blob: Blob, ct_length: int, offset: int) -> MemoryWriting:
        """Go on writing a blob; whoever wrote it until now is cut off."""
        with self.lock:
            kept = self._blobs.get(blob)
            if kept is None or (kept.ct_length != ct_length and not kept.whole):
                kept = _Kept(ct_length, self.clock())
            verify_root(AttachmentRef(b"", ct_length, blob.root), kept.ct_length, blob.root)
            if offset > kept.length:
                raise error(Reason.BAD_FIELD, field="offset", detail=f"{offset}, but {kept.length} bytes are here")
            self._blobs[blob] = kept
            kept.touched = self.clock()
            kept.writing = MemoryWriting(self, blob, kept, offset)
            return kept.writing

    def read(self, blob: Blob, offset: int, size: int) -> Iterator[Block]:
        """Yield blocks of a whole blob."""
        kept = self._blobs.get(blob)
        if kept is None or not kept.whole:
            raise error(Reason.UNAVAILABLE, field="attachment", detail="it is not here")
        hashes = kept.hashes
        for index in blocks_for(AttachmentRef(b"", kept.ct_length, blob.root), offset, size):
            yield Block(index, kept.blocks[index], path_of(hashes, index))

    def claim(self, blob: Blob, ct_length: int, *, now: datetime) -> bool:
        """Return whether a blob is whole and has that length, and note the time."""
        with self.lock:
            kept = self._blobs.get(blob)
            if kept is None or not kept.whole or kept.ct_length != ct_length:
                return False
            kept.touched = now
            return True

    def kept(self, owner: str) -> Sequence[tuple[Blob, int]]:
        """Return what an owner has here, begun or whole, each with the bytes it takes in the end."""
        return [(blob, kept.ct_length) for blob, kept in self._blobs.items() if blob.owner == owner]

    def untouched(self, since: datetime) -> Sequence[Blob]:
        """Return the blobs that were neither written nor claimed since a time."""
        return [blob for blob, kept in self._blobs.items() if kept.touched < since]

    def drop(self, blob: Blob, *, untouched_since: datetime) -> bool:
        """Delete a blob unless it was written or claimed since a time; return whether it is gone."""
        with self.lock:
            kept = self._blobs.get(blob)
            if kept and kept.touched >= untouched_since:
                return False
            self.discard(blob)
            return True

    def discard(self, blob: Blob) -> None:
        """Delete a blob, whatever its age."""
        kept = self._blobs.pop(blob, None)
        if kept:
            kept.writing = None


class MemoryWriting:
    """One blob of a `MemoryDepot` that is being written."""

    def __init__(self, depot: MemoryDepot, blob: Blob, kept: _Kept, offset: int) -> None:
        self._depot, self._blob, self._kept = depot, blob, kept
        self._skip = kept.length - offset
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        with self._depot.lock:
            kept = self._kept
            if kept.writing is not self:
                raise error(Reason.UNAVAILABLE, field="attachment", detail="another call goes on with it")
            self._rest += data[self._skip :]
            self._skip = max(0, self._skip - len(data))
            if kept.length + len(self._rest) > kept.ct_length:
                raise error(Reason.BAD_FIELD, field="offset", detail=f"more than {kept.ct_length} bytes")
            kept.touched = self._depot.clock()
            while self._rest and len(self._rest) >= (size := min(BLOCK_SIZE, kept.ct_length - kept.length)):
                kept.blocks.append(self._rest[:size])
                self._rest = self._rest[size:]
            if kept.length == kept.ct_length and not kept.whole:
                self._finish()

    def _finish(self) -> None:
        kept = self._kept
        try:
            verify_root(AttachmentRef(b"", kept.ct_length, self._blob.root), kept.ct_length, merkle.root(kept.hashes))
        except ExchangeError:
            self._depot.discard(self._blob)
            raise
        kept.whole = True

    def close(self) -> int:
        """Return how many bytes are there; what follows the last whole block is forgotten."""
        return self._depot.length(self._blob, self._kept.ct_length)


@dataclass(frozen=True)
class _Need:
    """Until when an attachment is needed, and whether that is over already."""

    expires_at: datetime
    ended: bool = False


class MemoryNeeds:
    """The `Needs` of a `MemoryStore`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needs: dict[tuple[Blob, bytes, str], _Need] = {}

    def follow(self, changes: Sequence[Change]) -> None:
        """Let parties begin and end to need attachments, as changes that were logged say."""
        with self._lock:
            needs = dict(self._needs)
            for change in changes:
                if change.envelope:
                    need = _Need(change.envelope.expires_at)
                    for blob, party in itertools.product(change.blobs, change.starts):
                        needs.setdefault((blob, change.digest, party), need)
                if change.ends:
                    for (blob, digest, party), need in needs.items():
                        if digest == change.digest and change.party in ("", party):
                            needs[blob, digest, party] = replace(need, ended=True)
            self._needs = needs

    def readable(self, party: str, root: bytes) -> Blob | None:
        """Return the attachment of that root that a party needs, if it needs one."""
        found = (blob for (blob, _, who), need in self._needs.items() if who == party and not need.ended)
        return next((blob for blob in found if blob.root == root), None)

    def known(self, blobs: Sequence[Blob]) -> Sequence[bool]:
        """Return of each whether an envelope has named it: until it is forgotten, also when nobody needs it."""
        known = {blob for blob, _, _ in self._needs}
        return [blob in known for blob in blobs]

    def over(self, past: datetime, *, limit: int) -> Sequence[Blob]:
        """Return what is needed by nobody any more; needs of envelopes that ended before `past` are over."""
        known = self._needs.items()
        needed = {blob for (blob, _, _), need in known if not need.ended and need.expires_at >= past}
        return sorted({blob for (blob, _, _), _ in known} - needed)[:limit]

    def forget(self, blobs: Sequence[Blob], past: datetime) -> None:
        """Drop the needs that are over, once the bytes are deleted; a blob that is needed again stays known."""
        with self._lock:
            self._needs = {
                key: need
                for key, need in self._needs.items()
                if key[0] not in blobs or not (need.ended or need.expires_at < past)
            }


class MemoryStash:
    """A `Stash` that lasts as long as its process; what is saved goes to disk."""

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}

    def keep(self, attachment_id: bytes, pieces: Iterable[bytes]) -> None:
        """Keep ciphertext under an id, whole or not at all."""
        self._kept[attachment_id] = b"".join(pieces)

    def kept(self) -> Sequence[bytes]:
        """Return the ids under which ciphertext is kept."""
        return list(self._kept)

    def pieces(self, attachment_id: bytes, offset: int, size: int) -> Iterator[bytes]:
        """Yield kept ciphertext."""
        if attachment_id not in self._kept:
            raise error(Reason.UNAVAILABLE, field="attachment", detail="its ciphertext is not in the spool")
        data = self._kept[attachment_id][offset : offset + size]
        for start in range(0, len(data), BLOCK_SIZE):
            yield data[start : start + BLOCK_SIZE]

    def drop(self, attachment_ids: Iterable[bytes]) -> None:
        """Forget ciphertext."""
        for attachment_id in attachment_ids:
            self._kept.pop(attachment_id, None)

    def save(self, attachment: Savable, path: Path, *, overwrite: bool, progress: Progress) -> str:
        """Keep an attachment as a file, whole or not at all, and return its path."""
        return save(attachment, path, overwrite=overwrite, progress=progress)
