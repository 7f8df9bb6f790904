"""Overtaking: urgent frames come between those of a long queue, once, and whatever becomes of their stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.transport import overtaking
from infoexchange.transport.overtaking import overtaken
from patience import LIMIT, until

Frame = Sequence[bytes]


class Told:
    """A stream of frames in memory; a function among them is called when its turn comes."""

    def __init__(self, *parts: Frame | Callable[[], object]) -> None:
        self._parts = parts
        self._cancelled = threading.Event()
        self.begun = False

    def frames(self) -> Iterator[Frame]:
        self.begun = True
        for part in self._parts:
            if callable(part):
                part()
            elif self._cancelled.is_set():
                return
            else:
                yield part

    def cancel(self) -> None:
        self._cancelled.set()

    def held(self) -> None:
        """Wait until it is cancelled, as a stream that follows does."""
        assert self._cancelled.wait(LIMIT)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "urgent"]


def waited(side: Told, *parts: Frame | Callable[[], object]) -> Told:
    """A stream that follows: these frames, and then nothing until it is cancelled."""
    side._parts = (*parts, side.held)
    return side


def test_urgent_frames_come_before_the_next_of_the_queue() -> None:
    came = threading.Event()
    side = waited(Told(), [b"flash"], came.set)
    main = Told([b"1"], [b"2"], lambda: came.wait(LIMIT), [b"3"])
    found = list(overtaken(main, lambda: side))
    assert sorted(found) == [(b"1",), (b"2",), (b"3",), (b"flash",)]
    assert found[-1] == (b"3",)
    assert readers() == []


def test_a_short_queue_asks_for_nothing_else() -> None:
    side = Told()
    assert list(overtaken(Told([b"1", b"2"]), lambda: side)) == [(b"1", b"2")]
    assert not side.begun


def test_what_comes_both_ways_is_handed_over_once() -> None:
    main = Told([b"1"], [b"2"], lambda: until(lambda: not readers()), [b"3"], [b"flash", b"4"])
    found = [raw for frame in overtaken(main, lambda: Told([b"flash", b"2"])) for raw in frame]
    assert sorted(found) == [b"1", b"2", b"3", b"4", b"flash"]
    assert found.index(b"flash") < found.index(b"3")


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overtaking, "_KNOWN", 2)
    frames = [[b"1"], [b"1"], [b"2"], [b"3"], [b"3"], [b"1"]]
    found = [raw for frame in overtaken(Told(*frames), Told) for raw in frame]
    assert found == [b"1", b"2", b"3", b"1"]


def test_an_urgent_stream_that_fails_takes_nothing_away() -> None:
    def fail() -> None:
        raise error(Reason.UNAVAILABLE, field="relay", detail="too many calls")

    found = overtaken(Told([b"1"], [b"2"], [b"3"]), lambda: Told(fail))
    assert list(found) == [(b"1",), (b"2",), (b"3",)]
    with pytest.raises(ExchangeError, match="too many calls"):
        list(overtaken(Told([b"1"], [b"2"], fail), Told))
    assert readers() == []


def test_whoever_stops_early_leaves_nothing_running() -> None:
    side, main = Told(), Told([b"1"], [b"2"], [b"3"])
    frames = overtaken(main, lambda: waited(side))
    assert [next(frames), next(frames)] == [(b"1",), (b"2",)]
    assert len(readers()) == 1
    frames.close()
    assert readers() == []
    assert main._cancelled.is_set()


def test_the_newest_are_kept_for_a_reader_who_is_late() -> None:
    side = Told(*([b"%d" % n] for n in range(20)))
    main = Told([b"a"], [b"b"], lambda: until(lambda: not readers()), [b"c"])
    found = [raw for frame in overtaken(main, lambda: side) for raw in frame]
    assert found.index(b"19") < found.index(b"c")
