"""Journal: what one agency did and saw, line by line, in a file that outlives every kill of its process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEANT, ACKNOWLEDGED, HANDED, REFUSED, FAILED, CALM = "meant", "acknowledged", "handed", "refused", "failed", "calm"


class Journal:
    """One agency's journal. Each line is one write at the end of the file, so that a kill leaves no half of one."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, kind: str, **parts: object) -> None:
        """Add a line with the time."""
        line = json.dumps({"kind": kind, "at": time.time(), **parts}) + "\n"
        os.write(self._file, line.encode())


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every line that is there."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


class Tally:
    """Counts lines of growing journals, each read once."""

    def __init__(self, paths: list[Path]) -> None:
        self._places = dict.fromkeys(paths, 0)
        self.counts: dict[tuple[str, str], int] = {}
        self.last_calm: dict[str, float] = {}

    def read(self) -> None:
        """Read what was added."""
        for path, place in self._places.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(place)
                raw = file.read()
            whole = raw[: raw.rfind(b"\n") + 1]
            self._places[path] = place + len(whole)
            for line in whole.splitlines():
                self._count(path.stem, json.loads(line))

    def _count(self, name: str, line: dict[str, Any]) -> None:
        key = name, line["kind"]
        self.counts[key] = self.counts.get(key, 0) + 1
        if line["kind"] == CALM:
            self.last_calm[name] = line["at"]

    def total(self, kind: str) -> int:
        """Return the lines of one kind in all journals."""
        return sum(count for (_, found), count in self.counts.items() if found == kind)
