"""Engine: what the store asks of a database: transactions for writing, moments for reading, and rows.

The statements are written once, in SQL that every engine takes, with `?` for each value; tables and errors are the
engine's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[bytes | str | int, ...]


class Answer(Protocol):
    """What a query found."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all other rows."""

    def __iter__(self) -> Iterator[Any]:
        """Give the other rows one by one."""


class Rows(Protocol):
    """An open transaction."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Answer:
        """Run one statement."""

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run one statement for each row."""


class Engine(Protocol):
    """A database with the store's tables.

    Attributes:
        place: Names it in errors, without secrets.
        none_of: Condition that the column `{column}` is none of the values of one parameter, made by `several`.
    """

    place: str
    none_of: str

    def several(self, values: Collection[int]) -> object:
        """Return many values as one parameter, because there may be more than a statement takes parameters."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep every other process from writing while the block lasts, and the thread that runs it from waiting for it.

        Raises:
            UnavailableError: As `changing`.
        """

    def changing(self, *, secure: bool = False) -> AbstractContextManager[Rows]:
        """Lend a transaction that alone may write, durable once it is left without an error.

        With `secure`, what it deletes is overwritten as far as the engine can.

        Raises:
            UnavailableError: `OVERLOADED` when the disk is full, `UNAVAILABLE` when the database cannot be had now:
                nothing was changed, or nobody can know, and later calls may succeed. `LOG_STOPPED` after any other
                error, and from then on: a second fsync may succeed although the first one lost data.
            ValueError: Changes that no store can hold.
        """

    def reading(self, table: str) -> AbstractContextManager[Rows]:
        """Lend a transaction that only reads: all its answers are of one moment, and it waits for no writer.

        Raises:
            UnavailableError: `UNAVAILABLE` when the database cannot be had now, `LOG_STOPPED`, naming the table, when
                it cannot be read.
        """

    def close(self) -> None:
        """Give everything back; further calls raise ValueError."""
