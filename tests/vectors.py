"""Vectors: one file, one outcome; how they are read, and the entry point of the library that each of them exercises.

A file is headers, an empty line, and blocks of base64 with an empty line between two of them (see README.md there).
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from infoexchange.errors import ExchangeError, Reason
from vector_entries import ENTRIES
from vector_world import FOLDER

HEADERS = frozenset(
    {"expect", "entry", "step", "comment", "now", "world", "party", "suite", "size", "index", "relay", "result"}
)


@dataclass(frozen=True)
class Vector:
    """One file."""

    name: str
    headers: Mapping[str, str]
    blocks: tuple[bytes, ...]

    @classmethod
    def parse(cls, name: str, text: str) -> Vector:
        """Return the vector of a file's text; a `ValueError` for anything unexpected, so that none passes unread."""
        head, *rest = text.rstrip("\n").split("\n\n")
        headers: dict[str, str] = {}
        for line in head.split("\n"):
            key, found, value = line.partition(": ")
            if not found or key not in HEADERS or key in headers:
                raise ValueError(f"{name}: header line {line!r}")
            headers[key] = value
        if headers["expect"] != "ok" and headers["expect"] not in {reason.word for reason in Reason}:
            raise ValueError(f"{name}: outcome {headers['expect']!r}")
        blocks = [_bytes(block) for block in rest]
        if headers["entry"] not in ENTRIES or not blocks:
            raise ValueError(f"{name}: entry {headers['entry']!r} with {len(blocks)} blocks")
        return cls(name, headers, tuple(blocks))

    @property
    def text(self) -> str:
        """The file."""
        head = "\n".join(f"{key}: {value}" for key, value in self.headers.items())
        known = [*parts().items()]
        return "\n\n".join([head, *("\n".join(written(block, known)) for block in self.blocks)]) + "\n"

    @property
    def now(self) -> datetime:
        """The time at which the entry point judges."""
        return datetime.strptime(self.headers["now"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

    def run(self) -> str:
        """Return what the entry point makes of the blocks, as a word or a digest, or raise what it raises."""
        return ENTRIES[self.headers["entry"]](self)

    def outcome(self) -> str:
        """Return `ok`, or the word of the reason."""
        try:
            found = self.run()
        except ExchangeError as problem:
            return problem.reason.word
        if "result" in self.headers and found != self.headers["result"]:
            return f"ok, but {found}"
        return "ok"


@functools.cache
def parts() -> dict[str, bytes]:
    """Return the bytes that many vectors share, the longest first, from `parts/<name>.txt`."""
    found = {path.stem: _bytes(path.read_text("ascii").rstrip("\n")) for path in sorted(FOLDER.glob("parts/*.txt"))}
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def written(block: bytes, known: Sequence[tuple[str, bytes]]) -> list[str]:
    """Return the lines of a block: base64, `part NAME` for what is in a file of its own, `zeros N` for a long run."""
    if not block.strip(b"\x00") and (not block or len(block) > 75):
        return [f"zeros {len(block)}"]
    for place, (name, raw) in enumerate(known):
        before, found, after = block.partition(raw)
        if found:
            around = [written(piece, known[place:]) if piece else [] for piece in (before, after)]
            return [*around[0], f"part {name}", *around[1]]
    before, found, rest = block.partition(bytes(ZEROS_LEAST))
    if found:
        after = rest.lstrip(b"\x00")
        around = [written(piece, []) if piece else [] for piece in (before, after)]
        return [*around[0], f"zeros {len(block) - len(before) - len(after)}", *around[1]]
    text = base64.b64encode(block).decode()
    return [text[i : i + 100] for i in range(0, len(text), 100)]


def _bytes(block: str) -> bytes:
    return b"".join(map(_line, block.split("\n")))


def _line(line: str) -> bytes:
    word, _, rest = line.partition(" ")
    if word == "part":
        return parts()[rest]
    return bytes(int(rest)) if word == "zeros" else base64.b64decode(line, validate=True)


SUMS = "SHA256SUMS"
ZEROS_LEAST = 1000  # a run of so many is written as `zeros N` wherever it stands


def sums() -> str:
    """Return what `sha256sum` prints for vectors and worlds, so that `sha256sum -c` checks it too."""
    paths = sorted([*FOLDER.glob("*.txt"), *FOLDER.glob("*/*.*")])
    return "".join(f"{sha256(p.read_bytes()).hexdigest()}  {p.relative_to(FOLDER).as_posix()}\n" for p in paths)


def load() -> list[Vector]:
    """Return every vector; an empty folder is an error."""
    found = [Vector.parse(path.stem, path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.txt"))]
    if not found:
        raise ValueError(f"{FOLDER} holds no vector")
    return found
