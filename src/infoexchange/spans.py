"""Spans: which entries of a log a number rests on, as ranges, so that a million of them take little room."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """A set of places in a log, added in ascending order; neighbours share one range."""

    __slots__ = ("_ends", "_starts", "count")

    def __init__(self, places: Iterable[int] = ()) -> None:
        """Hold some places."""
        self._starts = array("Q")
        self._ends = array("Q")
        self.count = 0
        for place in places:
            self.add(place)

    def add(self, place: int) -> None:
        """Add a place; once more the last one changes nothing.

        Raises:
            ValueError: It lies before one that was added.
        """
        if self._ends and place <= self._ends[-1]:
            if place == self._ends[-1]:
                return
            raise ValueError("places are added in ascending order")
        if self._ends and place == self._ends[-1] + 1:
            self._ends[-1] = place
        else:
            self._starts.append(place)
            self._ends.append(place)
        self.count += 1

    def extend(self, other: Spans) -> None:
        """Add all places of another set, which lie behind all of this one."""
        for first, last in other:
            self.add(first)
            self._ends[-1] = last
            self.count += last - first

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last place of each range, ascending."""
        return iter(zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        """Return how many ranges there are; `count` says how many places."""
        return len(self._starts)

    def __bool__(self) -> bool:
        return self.count > 0

    def __contains__(self, place: object) -> bool:
        if not isinstance(place, int) or place < 0:
            return False
        at = bisect_right(self._starts, place) - 1
        return at >= 0 and place <= self._ends[at]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Spans) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def text(self, most: int) -> str:
        """Return the ranges as a person reads them, such as `3-7, 12`; at most so many, then how many more."""
        shown = [f"{a}" if a == b else f"{a}-{b}" for _, (a, b) in zip(range(most), self, strict=False)]
        more = len(self) - len(shown)
        return ", ".join(shown) + (f" and {more} more ranges" if more else "")
