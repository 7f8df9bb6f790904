"""Stamps: what time authorities say of an exported log, as one finding and as data."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoexchange.cli.parser import Parser
    from infoexchange.exported import LogFolder
    from infoexchange.inspection import Standard
    from infoexchange.tsa import Authorities, Stamped


def add_tsa_roots(command: Parser, where: str = "") -> None:
    """Add the option that says whom an auditor believes about the time."""
    what = "PEM file with the certificates of time authorities; the log's timestamps are judged"
    command.add_argument("--tsa-roots", metavar="FILE", type=Path, help=where + what)


class StampInspection:
    """The time-stamp tokens of one exported log, judged if the auditor named whom to believe.

    Attributes:
        sizes: Sizes of the log that have a token, ascending.
    """

    def __init__(self, folder: LogFolder, roots: Path | None) -> None:
        """Look which tokens there are; `roots` is the auditor's PEM file.

        Raises:
            UnavailableError: There is no such file, or the extra is not installed.
            UntrustedError: `BAD_CERTIFICATE` for what the file holds.
        """
        from infoexchange.exported import Stamps
        from infoexchange.exported.stamps import TIMESTAMPS
        from infoexchange.home.files import in_file, read_file

        self._folder = folder
        self.sizes = Stamps(folder.path / TIMESTAMPS).sizes()
        self._authorities: Authorities | None = None
        self._verified: dict[int, Stamped] = {}
        if roots:
            from infoexchange.tsa import Authorities

            with in_file(roots):
                raw = read_file(roots, next_step="Name a PEM file with the certificates of the time authorities.")
                self._authorities = Authorities.parse(raw)

    @property
    def judged(self) -> bool:
        """Whether the auditor named whom to believe."""
        return self._authorities is not None

    def check(self, standard: Standard, now: datetime) -> str:
        """Return the finding on all tokens.

        Raises:
            ExchangeError: The first token that does not hold, and how many more there are.
            OpenQuestionError: There is none, though the auditor asked for some.
        """
        from infoexchange.errors import ExchangeError, error
        from infoexchange.exported import verify_stamp
        from infoexchange.inspection import keys_of
        from infoexchange.tlog import Checkpoint
        from infoexchange.verdict import OpenQuestionError

        assert self._authorities
        keys = keys_of(Checkpoint.parse(self._folder.checkpoint()), standard)
        faults: list[ExchangeError] = []
        for size in self.sizes:
            try:
                self._verified[size] = verify_stamp(self._folder, size, keys, self._authorities, now=now)
            except ExchangeError as problem:
                faults.append(problem)
        if faults:
            first, more = faults[0], f", and {len(faults) - 1} more" if len(faults) > 1 else ""
            raise error(first.reason, field=first.field, detail=first.detail + more)
        if not self._verified:
            raise OpenQuestionError("no timestamps", "the folder holds none")
        ends = sorted({self.sizes[0], self.sizes[-1]})
        parts = [
            f"the first {size} entries existed by {_time(said.by)}, says {said.authority}"
            for size, said in ((size, self._verified[size]) for size in ends)
        ]
        return f"{len(self.sizes)} verified; {'; '.join(parts)}"

    def data(self) -> list[dict[str, object]]:
        """Return every token in the form that is printed as JSON."""
        return [{"size": size, "verified": size in self._verified} | self._said(size) for size in self.sizes]

    def _said(self, size: int) -> dict[str, object]:
        said = self._verified.get(size)
        if said is None:
            return {}
        accuracy = None if said.accuracy is None else said.accuracy.total_seconds()
        stated: dict[str, object] = {
            "time": _time(said.time),
            "accuracy_seconds": accuracy,
            "existed_by": _time(said.by),
        }
        return stated | {"authority": said.authority, "policy": said.policy}


def _time(moment: datetime) -> str:
    """Return a time in whole seconds; what is less counts as one more, as these times are bounds."""
    whole = moment.replace(microsecond=0)
    return f"{whole if whole == moment else whole + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
