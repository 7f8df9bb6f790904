"""Bucket depot: attachment bytes in an S3-compatible store, for any number of relay nodes at once.

Nothing that matters is kept by a node: what is there is what the store lists. Nodes need no lock, because each step
leaves names behind that the others see: whoever claims a crate touches it first and then looks whether somebody wants
to delete it; whoever deletes one says so first and then looks whether somebody has touched it. At least one of the two
sees the other. That rests on a store which shows at once, in lists too, what it has taken; `prepare` tries it.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, Block, blocks_for, verify_block
from infoexchange.attachment.blocks import block_hash, verify_root
from infoexchange.chunks import Blob
from infoexchange.errors import ExchangeError, Reason, RefusedError, UntrustedError, error
from infoexchange.ports import Clock
from infoexchange_relay.stores.bucket import Bucket
from infoexchange_relay.stores.claims import FRESH_SECONDS, Claims, is_hurried
from infoexchange_relay.stores.crate import (
    DATA,
    DOOMED,
    INDEX,
    MADE,
    TOUCHED,
    WHOLE,
    Crate,
    block_in,
    crates_in,
    index_of,
)
from infoexchange_relay.stores.cutting import Cutting
from infoexchange_relay.stores.shelf import damaged_block, disk_error
from infoexchange_relay.stores.tree import PagedTree, TreeFile

# Implementation constants
_FRESH = timedelta(seconds=FRESH_SECONDS)  # a touch this young needs no other
_TOUCHES_MAX = 4  # marks of one crate before old ones are deleted
_OWNER = "relay/"  # below it the name of the relay whose attachments these are


class BucketDepot:
    """A `Depot` below one prefix of a bucket.

    Attributes:
        quota: Bytes that one owner may have here without an envelope that names them.
        claims: What was answered to claims lately.
        bucket: Where the objects are.
        folder: Of this node, for what lies there while an attachment is finished.
    """

    def __init__(self, bucket: Bucket, name: str, *, folder: Path, quota: int, skew: timedelta, clock: Clock) -> None:
        """Use a bucket; nothing is asked yet.

        Args:
            bucket: Objects below the relay's own prefix.
            name: The relay's name, the same for all its nodes.
            folder: Of this node, for the tree of an attachment while it is finished: 64 MiB for the largest.
            quota: See above.
            skew: How far the clocks of two nodes may differ; so much later than asked for anything is deleted.
            clock: Gives the time now.
        """
        self.quota = quota
        self.claims = Claims()
        self.bucket = bucket
        self.folder = folder
        self._name = name
        self._skew = skew
        self._clock = clock
        self._prepared = False
        self._lock = threading.Lock()
        self._fillings: dict[Blob, Filling] = {}

    def prepare(self) -> None:
        """See that the store works as it must, and that no other relay has its attachments here.

        Raises:
            UnavailableError: `UNAVAILABLE` when the store cannot be used now, or does not list what it has taken.
            RefusedError: `NOT_PERMITTED` when another relay uses the same place: each would delete the other's.
        """
        if self._prepared:
            return
        own = _OWNER + self._name
        self.bucket.put(own, b"")
        found = set(self.bucket.names(_OWNER))
        if own not in found:
            detail = "the store does not list at once what it has taken"
            raise error(Reason.UNAVAILABLE, field=str(self.bucket), detail=detail, next_step="Use another store.")
        if others := sorted(found - {own}):
            detail = f"the attachments of {others[0].removeprefix(_OWNER)} are there"
            step = "Give each relay a prefix of its own in `attachments_bucket`."
            raise error(Reason.NOT_PERMITTED, field=str(self.bucket), detail=detail, next_step=step)
        self._prepared = True

    def length(self, blob: Blob, ct_length: int) -> int:
        """Return how many of so many bytes are durable; all of them only if the blob is whole."""
        crate = _best(self._crates(blob), ct_length)
        return _length(crate, self._stored(crate)) if crate else 0

    def begin(self, blob: Blob, ct_length: int, offset: int) -> Filling:
        """Go on writing a blob; whoever wrote it on this node until now is cut off."""
        with _not_now():
            self.prepare()
        crates = self._crates(blob)
        for crate in crates:
            if crate.whole and crate.sound:
                verify_root(AttachmentRef(b"", ct_length, blob.root), crate.ct_length, blob.root)
        chosen = _best(crates, ct_length)
        stored = self._stored(chosen) if chosen else 0
        if offset > (there := _length(chosen, stored) if chosen else 0):
            raise error(Reason.BAD_FIELD, field="offset", detail=f"{offset}, but {there} bytes are here")
        chosen = self.touch(chosen) if chosen else self._made(Crate.new(blob, ct_length))
        for crate in crates:  # one try at a time, or an owner could have more here than the quota
            if crate.token != chosen.token and not crate.whole:
                self.end(crate)
        blocks = chosen.ref.blocks if chosen.whole else min(stored, chosen.ref.blocks - 1)
        filling = Filling(self, chosen, blocks, offset)
        with self._lock:
            self._fillings[blob] = filling
        return filling

    def _made(self, crate: Crate) -> Crate:
        mark = crate.mark(MADE, self._clock())
        self.bucket.put(mark, b"")
        return replace(crate, marks=frozenset({mark}))

    def check(self, filling: Filling) -> None:
        """Raise `UNAVAILABLE` if somebody else goes on with what is being written."""
        if self._fillings.get(filling.crate.blob) is not filling:
            raise error(Reason.UNAVAILABLE, field="attachment", detail="another call goes on with it")

    def leave(self, filling: Filling) -> None:
        """Forget who writes it."""
        with self._lock:
            if self._fillings.get(filling.crate.blob) is filling:
                del self._fillings[filling.crate.blob]

    def read(self, blob: Blob, offset: int, size: int) -> Iterator[Block]:
        """Yield blocks of a whole blob, each compared with the root."""
        whole = sorted((crate for crate in self._crates(blob) if crate.whole), key=lambda crate: not crate.sound)
        if not whole:
            raise error(Reason.UNAVAILABLE, field="attachment", detail="it is not here")
        crate = whole[0]
        tree = PagedTree(crate.ref, lambda start, length: self.bucket.get(crate.tree, start, length) or b"")
        for index in blocks_for(crate.ref, offset, size):
            data = self.bucket.get(crate.block(index, tree.leaf(index)))
            try:
                block = Block(index, data or b"", tree.path(index))
                verify_block(crate.ref, index, block)
            except UntrustedError:
                raise damaged_block(blob, index) from None
            yield block

    def claim(self, blob: Blob, ct_length: int, *, now: datetime) -> bool:
        """Return whether a blob is whole and has that length, and note the time, so that it is kept a while.

        Whoever is in a hurry gets the answer that was given lately, or `UNAVAILABLE`, of which `is_unasked` is true.
        """
        if is_hurried():
            return self.claims.get(blob, ct_length)
        try:
            answer = any(self._claim(crate, now) for crate in self._crates(blob) if crate.ct_length == ct_length)
        except ExchangeError as problem:
            self.claims.put(blob, ct_length, problem)
            raise
        self.claims.put(blob, ct_length, answer)
        return answer

    def _claim(self, crate: Crate, now: datetime) -> bool:
        if not (crate.whole and crate.sound):
            return False
        if crate.touched > now - _FRESH:
            return True  # it is kept for as long as if it were touched again
        crate = self._touched(crate, now)
        return crate.whole and crate.sound

    def touch(self, crate: Crate) -> Crate:
        """Note that a crate is being written, unless that was noted just now, and return it as it is then.

        Raises:
            UnavailableError: `UNAVAILABLE` when somebody deletes it.
        """
        if crate.touched <= self._clock() - _FRESH:
            crate = self._touched(crate, self._clock())
            if not crate.sound:
                raise error(Reason.UNAVAILABLE, field="attachment", detail="what was begun is being deleted")
        return crate

    def _touched(self, crate: Crate, now: datetime) -> Crate:
        """Note a time, and return the crate as it is listed afterwards."""
        mark = crate.mark(TOUCHED, now)
        self.bucket.put(mark, b"")
        crate = self._listed(crate)
        older = sorted(key for key in crate.marked(TOUCHED) if key < mark)
        if len(older) > _TOUCHES_MAX:
            self.bucket.delete(older)
        return crate

    def kept(self, owner: str) -> Sequence[tuple[Blob, int]]:
        """Return what an owner has here, begun or whole, each with the bytes it takes in the end."""
        return [(crate.blob, crate.ct_length) for crate in crates_in(self.bucket.names(f"{INDEX}{owner}/"))]

    def untouched(self, since: datetime) -> Sequence[Blob]:
        """Return the blobs of which something was neither written nor claimed since a time.

        What a node left that stood still while others deleted a crate is deleted: no index names it.
        """
        self.prepare()
        # The bytes first: whoever makes a crate writes its mark before them, so what has none by now is dead.
        tokens = set(self.bucket.folders(DATA))
        crates = list(crates_in(self.bucket.names(INDEX)))
        for token in sorted(tokens - {crate.token for crate in crates}):
            self.bucket.delete(self.bucket.names(f"{DATA}{token}/"))
        return list(dict.fromkeys(crate.blob for crate in crates if crate.touched < since - self._skew))

    def drop(self, blob: Blob, *, untouched_since: datetime) -> bool:
        """Delete a blob unless it was written or claimed since a time; return whether it is gone."""
        self.prepare()
        since = untouched_since - self._skew
        gone = [self._drop(crate, since) for crate in self._crates(blob)]  # each of them, whatever became of another
        return all(gone)

    def _drop(self, crate: Crate, since: datetime) -> bool:
        if crate.touched >= since:
            return False
        mark = crate.mark(DOOMED)
        self.bucket.put(mark, b"")
        again = self._listed(crate)
        # Whatever the clock of whoever touched it says.
        if again.marked(TOUCHED) - crate.marked(TOUCHED):
            self.bucket.delete([mark])
            return False
        self._delete(again)
        return True

    def end(self, crate: Crate) -> None:
        """Take a crate apart in which something is wrong, or that nobody goes on with, unless it is whole after all."""
        mark = crate.mark(DOOMED)
        self.bucket.put(mark, b"")
        again = self._listed(crate)
        if again.whole:
            self.bucket.delete([mark])
        else:
            self._delete(again)

    def _delete(self, crate: Crate) -> None:
        """Delete a doomed crate: first what could be read, then what could be claimed, then that it is doomed."""
        doomed = crate.marked(DOOMED)
        self.bucket.delete(self.bucket.names(crate.folder))
        self.bucket.delete(sorted(crate.marks - doomed))
        self.bucket.delete(sorted(doomed))

    def _crates(self, blob: Blob) -> list[Crate]:
        return list(crates_in(self.bucket.names(index_of(blob))))

    def _listed(self, crate: Crate) -> Crate:
        """Return a crate with the marks that it has now."""
        found = crates_in(self.bucket.names(crate.place))
        return next(found, Crate(crate.blob, crate.ct_length, crate.token))

    def _stored(self, crate: Crate) -> int:
        """Return how many blocks of a crate are there: the newest is listed first, and has all others before it."""
        newest = next(self.bucket.names(crate.folder, limit=1), "")
        found = block_in(newest)
        return found[0] + 1 if found else 0


class Filling:
    """One crate that is being filled, block by block; its methods may be called from any thread, one at a time.

    A block counts once it is stored: whoever goes on, on this node or another, finds it. The whole counts once all
    blocks are listed again and their hashes give the root.

    Attributes:
        crate: What is filled.
    """

    def __init__(self, depot: BucketDepot, crate: Crate, blocks: int, offset: int) -> None:
        """Go on after so many blocks; `offset` is where the bytes to come begin."""
        self.crate = crate
        self._depot = depot
        self._bucket = depot.bucket
        self._stored = blocks
        self._whole = crate.whole
        self._cutting = Cutting(crate.ref, blocks, offset)

    def add(self, data: bytes) -> None:
        """Take the next bytes; what makes up a block is stored."""
        self._depot.check(self)
        try:
            for block in self._cutting.take(data):
                self.crate = self._depot.touch(self.crate)
                self._bucket.put(self.crate.block(self._stored, block_hash(block)), block)
                self._stored += 1
                if self._stored == self.crate.ref.blocks:
                    self._finish()
        except ExchangeError:
            self._depot.leave(self)  # what followed would have a gap before it
            raise

    def _finish(self) -> None:
        """Compare the whole with its root, and say so where everybody finds it."""
        crate, ref = self.crate, self.crate.ref
        try:
            with tempfile.TemporaryFile(dir=self._depot.folder) as file:  # 64 bytes for each block
                tree = TreeFile(file.fileno(), ref)
                tree.write_length()
                if self._write_leaves(tree) < ref.blocks:
                    self._depot.end(crate)
                    raise error(Reason.UNAVAILABLE, field="attachment", detail="blocks are gone; it begins anew")
                tree.write_levels()
                verify_root(ref, ref.ct_length, tree.root)
                file.seek(0)
                self._bucket.put(crate.tree, file)
        except UntrustedError:
            self._depot.end(crate)
            raise
        except OSError as problem:
            raise disk_error(ref.ct_root, problem) from None
        self._bucket.put(crate.mark(WHOLE), b"")
        self._whole = True

    def _write_leaves(self, tree: TreeFile) -> int:
        """Write the hash of each block that is stored; return how many there are."""
        last, count = -1, 0
        for key in self._bucket.names(self.crate.folder):
            found = block_in(key)
            if found and found[0] < tree.ref.blocks:
                tree.write_leaves(found[0], [found[1]])
                count += found[0] != last
                last = found[0]
        return count

    def close(self) -> int:
        """Return how many bytes count; what follows the last whole block is forgotten."""
        self._depot.leave(self)
        ref = self.crate.ref
        return ref.ct_length if self._whole else min(self._stored, ref.blocks - 1) * BLOCK_SIZE


@contextlib.contextmanager
def _not_now() -> Iterator[None]:
    """Tell a caller that what its operator has to mend passes."""
    try:
        yield
    except RefusedError as problem:
        raise error(Reason.UNAVAILABLE, field="attachment", detail="the relay's store is not its own") from problem


def _best(crates: Sequence[Crate], ct_length: int) -> Crate | None:
    """Return the crate to go on with: a whole one, else that which every node would choose."""
    fit = [crate for crate in crates if crate.sound and crate.ct_length == ct_length]
    return min(fit, key=lambda crate: (not crate.whole, sorted(crate.marked(MADE)), crate.token), default=None)


def _length(crate: Crate, stored: int) -> int:
    """Return how many bytes count; what was not compared with its root lacks its last block."""
    return crate.ct_length if crate.whole else min(stored, crate.ref.blocks - 1) * BLOCK_SIZE
