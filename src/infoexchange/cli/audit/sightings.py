"""Sightings: the folder in which an auditor keeps the checkpoints it was shown, and the proofs that came of them.

One folder for each log, with a C2SP note for each size, so that any of them can be handed to another auditor; those
that were refused too, for another auditor may have been shown what they contradict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoexchange.misbehaviour import Misbehaviour
    from infoexchange.tlog import Checkpoint, VerifierKey
    from infoexchange.watch import Known

_STATE = "state.json"
_NOTE = ".checkpoint"
_REFUSED = "refused-"
_REFUSED_MAX = 64  # of each log: a relay that lies at each look would fill the disk
_AGAIN = "Move it away: the log is then looked at as if for the first time."


class Sightings:
    """What an auditor keeps, by the origin of each log."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if there is none."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def read(self, keys: list[VerifierKey]) -> Known:
        """Return what is kept of the log with these keys; every checkpoint is verified again.

        Raises:
            ExchangeError: A file is damaged; the error names it.
        """
        from infoexchange.home.files import in_file, read_file
        from infoexchange.tlog import Checkpoint
        from infoexchange.watch import Known

        folder, notes = self._of(keys[0].name), []
        for file in _notes(folder):
            with in_file(file):
                checkpoint = Checkpoint.parse(read_file(file, next_step=_AGAIN))
                checkpoint.verify(keys)
            notes.append(checkpoint)
        state = folder / _STATE
        if not state.exists():
            return Known(tuple(notes))
        with in_file(state):
            times = _parsed(read_file(state, next_step=_AGAIN))
        return Known(tuple(notes), *times)

    def write(self, known: Known) -> None:
        """Keep what is known of a log; the times last, so that a crash leaves the older and more careful ones."""
        from infoexchange.home.files import write_file

        newest = known.newest
        if newest is None:
            return
        folder = self._of(newest.origin)
        folder.mkdir(mode=0o700, exist_ok=True)
        wanted = {folder / f"{note.size}{_NOTE}": note.raw for note in known.notes}
        for file, raw in wanted.items():
            if not file.exists() or file.read_bytes() != raw:
                write_file(file, raw)
        for file in _notes(folder):
            if file not in wanted:
                file.unlink()
        state = {
            "looked_at": _written(known.looked_at),
            "waiting_size": known.waiting_size,
            "waiting_since": _written(known.waiting_since),
        }
        write_file(folder / _STATE, json.dumps(state).encode())

    def newest(self, origin: str) -> Path | None:
        """Return the file of the largest tree kept of a log."""
        return next(reversed(list(_notes(self._of(origin)))), None)

    def refuse(self, checkpoint: Checkpoint) -> Path | None:
        """Keep a checkpoint that did not fit beside those that did; return its file, or None if there are enough."""
        from infoexchange.home.files import write_file

        folder = self._of(checkpoint.origin)
        folder.mkdir(mode=0o700, exist_ok=True)
        digest = sha256(checkpoint.note.text).hexdigest()[:12]
        file = folder / f"{_REFUSED}{checkpoint.size}-{digest}{_NOTE}"
        if not file.exists():
            if len(list(folder.glob(f"{_REFUSED}*"))) >= _REFUSED_MAX:
                return None
            write_file(file, checkpoint.raw)
        return file

    def prove(self, proof: Misbehaviour) -> Path:
        """Write a proof, unless there is one of its kind against the same party; return its file."""
        from infoexchange.home.files import write_file

        relay, _, role = proof.accused.partition("/")
        name = f"{relay}-{role.partition('/')[0]}-{proof.kind.value}-{_digest(proof.origin)}.misbehaviour"
        file = self._folder / name.replace("/", "_")
        if not file.exists():
            write_file(file, proof.raw)
        return file

    def _of(self, origin: str) -> Path:
        # An origin may hold characters that no file name may; a relay's name and a digest never do.
        return self._folder / f"{origin.partition('/')[0]}-{_digest(origin)}"


def _digest(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()[:12]


def _notes(folder: Path) -> Iterator[Path]:
    found = [file for file in folder.glob(f"*{_NOTE}") if file.stem.isdecimal()]
    return iter(sorted(found, key=lambda file: int(file.stem)))


def _written(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _parsed(raw: bytes) -> tuple[datetime | None, int, datetime | None]:
    """Return the times of a state file, or raise `MALFORMED`."""
    from infoexchange.errors import Reason, error

    try:
        value = json.loads(raw)
        looked, since = (_time(value[name]) for name in ("looked_at", "waiting_since"))
        size = value["waiting_size"]
        if not isinstance(size, int) or size < 0:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise error(Reason.MALFORMED, detail="not a state file of a watch", next_step=_AGAIN) from None
    return looked, size, since


def _time(text: str) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment
