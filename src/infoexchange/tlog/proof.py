"""Proof: one small file that shows, offline, that a log holds an entry (C2SP tlog-proof).

It carries the entry's index, the path to the root and the signed checkpoint with that root, so a verifier needs only
the entry and the log's keys. The format's `extra` line is not authenticated; we never write it and refuse it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from infoexchange.errors import Reason, error
from infoexchange.tlog import merkle
from infoexchange.tlog.checkpoint import Checkpoint
from infoexchange.tlog.merkle import PATH_MAX
from infoexchange.tlog.note import VerifierKey
from infoexchange.tlog.text import parse_decimal, parse_hash, write_base64

# Specification constants
_HEADING = b"c2sp.org/tlog-proof@v1"

# Implementation constants
_CHECKPOINTS_MAX = 16  # parsed ones kept: entries that are fetched together share one for each log on the way


@dataclass(frozen=True)
class Proof:
    """A parsed proof file; it proves nothing until `verify` has returned.

    Attributes:
        raw: The exact bytes.
        index: Place of the entry in the log.
        path: Inclusion proof, the leaf's sibling first.
        checkpoint: The log's statement that the path leads to.
    """

    raw: bytes = field(repr=False)
    index: int
    path: tuple[bytes, ...] = field(repr=False)
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, raw: bytes) -> Proof:
        """Return the proof in `raw`.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or, for another version, `UNKNOWN_VERSION`.
            UntrustedError: `BAD_PROOF` for an index outside the tree or more hashes than any tree needs.
            RefusedError: `TOO_LARGE`, as `Note.parse`.
        """
        heading, newline, rest = raw.partition(b"\n")
        if heading != _HEADING or not newline:
            raise error(Reason.UNKNOWN_VERSION, field="proof", detail="not a tlog-proof of version 1")
        head, blank, note = rest.partition(b"\n\n")
        if not blank:
            raise error(Reason.MALFORMED, field="proof", detail="no blank line before the checkpoint")
        index_line, *hash_lines = head.split(b"\n", PATH_MAX + 1)
        keyword, _, number = index_line.partition(b" ")
        if keyword != b"index":
            raise error(Reason.MALFORMED, field="proof.index", detail="no index line after the first line")
        if len(hash_lines) > PATH_MAX:
            raise error(Reason.BAD_PROOF, field="proof", detail=f"more than {PATH_MAX} hashes")
        index = parse_decimal(number, field="proof.index")
        path = tuple(parse_hash(line, field="proof") for line in hash_lines)
        checkpoint = _checkpoint(note)
        if index >= checkpoint.size:
            raise error(Reason.BAD_PROOF, field="proof.index", detail=f"no entry {index} in {checkpoint.size}")
        return cls(raw, index, path, checkpoint)

    @classmethod
    def make(cls, index: int, path: Sequence[bytes], checkpoint_raw: bytes) -> Proof:
        """Return the proof file of these parts; raises as `parse`."""
        return cls.parse(_raw(index, path, checkpoint_raw))

    @classmethod
    def of(cls, index: int, path: Sequence[bytes], checkpoint: Checkpoint) -> Proof:
        """Return the proof of parts that were just made; nothing is parsed again, which counts in batches."""
        return cls(_raw(index, path, checkpoint.raw), index, tuple(path), checkpoint)

    def verify(
        self, leaf: bytes, origin: str, keys: Iterable[VerifierKey], *, now: datetime | None = None
    ) -> Checkpoint:
        """Return the checkpoint, once it is the log's and the entry is shown to be in it.

        Args:
            leaf: The exact bytes of the entry.
            origin: The log it must be in.
            keys: That log's own keys, all of which must have signed.
            now: As in `Checkpoint.verify`.

        Raises:
            UntrustedError: `UNKNOWN_PARTY` for another log, `BAD_SIGNATURE` or `BAD_PROOF`.
            RefusedError: `NOT_YET_VALID`.
        """
        # (1) the checkpoint is of the log expected
        if self.checkpoint.origin != origin:
            raise error(Reason.UNKNOWN_PARTY, field="checkpoint.origin", detail="another log than expected")
        # (2) all of its keys signed it
        self.checkpoint.verify(keys, now=now)
        # (3) the path leads from the entry to its root
        head = self.checkpoint
        merkle.verify_inclusion(merkle.leaf_hash(leaf), self.index, head.size, self.path, head.root)
        return head


@functools.lru_cache(maxsize=_CHECKPOINTS_MAX)
def _checkpoint(raw: bytes) -> Checkpoint:
    return Checkpoint.parse(raw)


def _raw(index: int, path: Sequence[bytes], checkpoint_raw: bytes) -> bytes:
    lines = [_HEADING, b"index %d" % index, *(write_base64(entry) for entry in path), b"", checkpoint_raw]
    return b"\n".join(lines)
