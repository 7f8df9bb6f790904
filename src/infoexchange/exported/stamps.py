"""Stamps: checkpoints of a log with what a time authority said of each, as files (SPEC section Log folder).

A relay keeps them in its data, an export carries them along, and an auditor reads them there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.errors import Reason, error
from infoexchange.exported.folder import LogFolder
from infoexchange.home.files import in_file, read_file, remove_leftovers, write_file
from infoexchange.tlog import Checkpoint, VerifierKey, tiles

if TYPE_CHECKING:
    from infoexchange.tsa import Authorities, Stamped

# Where things stand below a folder
TIMESTAMPS = "timestamps"
_TOKEN, _NOTE = ".tsr", ".checkpoint"
_BOTH = "A timestamp is two files: put the missing one back, or remove the other."
_TOKEN_NAME = re.compile(r"(0|[1-9][0-9]{0,18})\.tsr", re.ASCII)  # a size; what has another name is none of ours


@dataclass(frozen=True)
class StampedNote:
    """A checkpoint and the token about it; nothing of them is verified.

    Attributes:
        size: Entries, as the name of the files says.
        note: The exact bytes that were stamped.
        token: The time authority's reply.
    """

    size: int
    note: bytes
    token: bytes


class Stamps:
    """A folder of stamped checkpoints, one for each size of the log."""

    def __init__(self, path: Path | str) -> None:
        """Name the folder; it need not exist."""
        self.path = Path(path)

    def sizes(self) -> list[int]:
        """Return the sizes of the log that have a token, ascending."""
        names = (file.name for file in self.path.iterdir()) if self.path.is_dir() else ()
        return sorted(int(found[1]) for found in map(_TOKEN_NAME.fullmatch, names) if found)

    def read(self, size: int) -> StampedNote:
        """Return the checkpoint of a size, and its token.

        Raises:
            UnavailableError: `UNAVAILABLE` when one of the two files is not there.
            RefusedError: `TOO_LARGE`.
        """
        token, note = (read_file(file, next_step=_BOTH) for file in self.files(size))
        return StampedNote(size, note, token)

    def files(self, size: int) -> tuple[Path, Path]:
        """Return where the token of a size stands, and the note that it stamps."""
        return self.path / f"{size}{_TOKEN}", self.path / f"{size}{_NOTE}"

    def put(self, stamped: StampedNote) -> None:
        """Keep a checkpoint and its token, durably; the token last, as it is nothing without its note."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        token, note = self.files(stamped.size)
        for file, raw in ((note, stamped.note), (token, stamped.token)):
            remove_leftovers(file)
            write_file(file, raw)

    def newest(self) -> tuple[int, datetime] | None:
        """Return the largest size that has a token, and when it was put here."""
        sizes = self.sizes()
        if not sizes:
            return None
        written = self.files(sizes[-1])[0].stat().st_mtime
        return sizes[-1], datetime.fromtimestamp(written, UTC)


def verify_stamp(
    folder: LogFolder, size: int, keys: Sequence[VerifierKey], authorities: Authorities, *, now: datetime
) -> Stamped:
    """Return what a time authority has said of the first entries of an exported log.

    That the tiles of the folder are those of its entries is not asked here: `audit verify-log` does.

    Args:
        folder: The log.
        size: Of the checkpoint that was stamped.
        keys: The log's own keys.
        authorities: Whom the auditor believes about the time.
        now: The auditor's clock.

    Raises:
        ExchangeError: As `Checkpoint.verify` and `TimeStamp.verify`; `BAD_PROOF` when the checkpoint is not one of this
            log's tree. `field` begins with the name of the file.
    """
    from infoexchange.tsa import TimeStamp

    stamps = Stamps(folder.path / TIMESTAMPS)
    token_file, note_file = stamps.files(size)
    found = stamps.read(size)
    with in_file(note_file):
        # (10) a checkpoint of this log, and of the tree that stands here
        checkpoint = Checkpoint.parse(found.note)
        checkpoint.verify(keys, now=now)
        if checkpoint.size != size:
            raise error(Reason.BAD_PROOF, field="size", detail=f"{checkpoint.size} entries, its name says {size}")
        if size > folder.size:
            raise error(Reason.BAD_PROOF, field="size", detail=f"{size} entries, the log here has {folder.size}")
        if tiles.root(size, lambda level, n: folder.tile(level, n) or b"") != checkpoint.root:
            detail = f"not the root of the first {size} entries"
            raise error(Reason.BAD_PROOF, field="root", detail=detail)
    with in_file(token_file):
        # (11) over exactly these bytes
        return TimeStamp.parse(found.token).verify(found.note, authorities, now=now)
