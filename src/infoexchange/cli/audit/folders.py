"""Folders: an exported log judged under a trust anchor, and its records read as far as they can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.anchor import Anchor
from infoexchange.cli.audit.stamps import StampInspection
from infoexchange.cli.audit.verifying import inspect_folder

if TYPE_CHECKING:
    from infoexchange.cli.output import Output
    from infoexchange.directory import Directory
    from infoexchange.exported import LogFolder
    from infoexchange.ports import Record
    from infoexchange.tlog import Checkpoint
    from infoexchange.verdict import Check

# Implementation constants
_RECORDS_PER_CALL = 256  # one file of records


class JudgedLog:
    """An exported log with what was found of it. Whatever it holds, reading it raises nothing: findings tell."""

    def __init__(self, path: Path, anchor: Anchor, out: Output, tsa_roots: Path | None = None) -> None:
        """Hash the whole log and every record of it again, and its timestamps if `tsa_roots` names whom to believe.

        Raises:
            UnavailableError: There is no log in the folder, or as `StampInspection`.
            MalformedError: Its checkpoint is none.
            UntrustedError: As `StampInspection`.
        """
        from infoexchange.exported import LogFolder
        from infoexchange.home.files import in_file
        from infoexchange.tlog import Checkpoint

        self._folder: LogFolder = LogFolder(path)
        with in_file(path / "checkpoint"):
            self.checkpoint: Checkpoint = Checkpoint.parse(self._folder.checkpoint())
        self.relay = self.checkpoint.origin.partition("/")[0]
        with out.progress(f"Hashing the log of {self.relay} again") as progress:
            stamps = StampInspection(self._folder, tsa_roots) if tsa_roots else None
            report = inspect_folder(self._folder, anchor.roots, anchor.own, stamps=stamps, progress=progress)
        self.checks: tuple[Check, ...] = report.checks
        self._anchor = anchor

    @property
    def directories(self) -> list[Directory]:
        """Verified versions, ascending, as far as there are any."""
        from infoexchange.errors import ExchangeError
        from infoexchange.inspection import history

        try:
            found = history(self._folder.directories(), self._anchor.roots)
        except ExchangeError:
            found = []
        return [*found, *([self._anchor.own] if self._anchor.own else [])]

    @property
    def nations(self) -> Mapping[str, str]:
        """Nation of every party that any version lists, the newest one counting."""
        return {p.name: p.nation for directory in self.directories for p in directory.listing.parties}

    def records(self) -> Iterator[Record | None]:
        """Yield every entry's record; nothing in the place of one that is not shown, or is not what was logged."""
        from infoexchange.errors import ExchangeError

        for start in range(0, self._folder.size, _RECORDS_PER_CALL):
            count = min(_RECORDS_PER_CALL, self._folder.size - start)
            try:
                found = self._folder.records(start, count)
            except ExchangeError:  # a finding already; the others of this file are read one by one
                found = [self._one(index) for index in range(start, start + count)]
            yield from found
            yield from [None] * (count - len(found))

    def _one(self, index: int) -> Record | None:
        from infoexchange.errors import ExchangeError

        try:
            return next(iter(self._folder.records(index, 1)), None)
        except ExchangeError:
            return None
