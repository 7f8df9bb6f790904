"""Target: one reader of outside bytes, with what to begin from and the way to spoil it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fuzz import changing
from infoexchange.errors import ExchangeError

Change = Callable[[bytes, Sequence[bytes], random.Random], bytes]
SIZE_MAX = 1 << 20  # bytes of one input


@dataclass(frozen=True)
class Target:
    """A reader of bytes.

    Attributes:
        name: What it reads.
        covers: Names of the functions it exercises.
        read: The reader; returns an object or raises.
        seeds: Real bytes.
        change: How to spoil what they mean; without it only the bytes themselves are.
        mend: What is done to spoilt bytes so that the reader's first check lets them through.
        allowed: What it may raise.
        raw: The bytes of what was read, where they must be those that came in.
    """

    name: str
    covers: tuple[str, ...]
    read: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    change: Change | None = None
    mend: changing.Mend | None = None
    allowed: tuple[type[Exception], ...] = (ExchangeError,)
    raw: Callable[[Any], bytes] | None = None

    def changed(self, raw: bytes, rng: random.Random) -> bytes:
        """Return spoilt bytes of at most `SIZE_MAX`."""
        if self.change is None or rng.random() < 0.3:
            made = changing.plain(raw, self.seeds, rng)
        else:
            made = self.change(raw, self.seeds, rng)
        if self.mend is not None and rng.random() < 0.8:
            made = self.mend(made)
        return made[:SIZE_MAX]


def qualified(reader: Callable[..., Any]) -> str:
    """Return the name of a function as the code has it."""
    return f"{reader.__module__}.{reader.__qualname__}"


def of(name: str, reader: Any, seeds: Iterable[bytes], **how: Any) -> Target:
    """Return the target of a class or function that reads bytes."""
    parse = getattr(reader, "parse", reader)
    how.setdefault("raw", (lambda found: found.raw) if hasattr(reader, "raw") else None)
    return Target(name, (qualified(parse),), how.pop("read", parse), tuple(seeds), **how)


def message_of(name: str, reader: Any, kind: Any, seeds: Iterable[bytes], **how: Any) -> Target:
    """Return the target of a class whose bytes are a protobuf message."""
    return of(name, reader, seeds, change=changing.fields(kind), **how)
