"""Pouches: what a relay remembers of the pouches that it sent to each peer and took from it, and what they told.

Files in a folder of the relay's data, each written whole or not at all. Who forgets them takes nothing twice and loses
no message; refusals in an answer then count only from the next pouch on, and a peer is told again what it knows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from infoexchange import wire
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home.files import write_file
from infoexchange.ports import History
from infoexchange.pouch import Refusal, Seal, Told
from infoexchange.receipt import Receipt
from infoexchange_relay.room import check_room

# Implementation constants
_SENT_MAX = 16  # pouches that may be on their way at once; the answer to an older one tells nothing new
_TOLD, _STATE = "told", "state.json"
_RESTORE = "Restore it from a backup, or move it away: refusals then count from the next pouch on."


@dataclass(frozen=True)
class Sent:
    """A pouch that was made: its name, its time, and the place in the log up to which it told what happened."""

    digest: bytes
    made_at: datetime
    told: int


@dataclass(frozen=True)
class Memory:
    """What is known of the pouches to and from one peer.

    Attributes:
        sent: The last ones that were made, newest last.
        told: Place in the log up to which the peer knows what happened; none before the first answer.
        taken: Digest of the newest pouch from there; empty before the first.
        taken_at: When that was made.
        whole: Whether all of it was taken.
        refused: What was not taken of it, and why.
    """

    sent: tuple[Sent, ...] = ()
    told: int | None = None
    taken: bytes = b""
    taken_at: datetime | None = None
    whole: bool = False
    refused: tuple[Refusal, ...] = field(default=(), repr=False)

    @property
    def answers(self) -> bytes:
        """Digest of the pouch that the next one answers; empty for none."""
        return self.taken if self.whole else b""

    def next_at(self, now: datetime) -> datetime:
        """Return the time of the next pouch: later than that of the last, wherever the clock has gone."""
        now = wire.from_ms(wire.to_ms(now), field=_STATE)  # as the seal says it
        return max(now, self.sent[-1].made_at + timedelta(milliseconds=1)) if self.sent else now

    def with_sent(self, seal: Seal, told: int) -> Memory:
        """Return the memory with one more pouch."""
        return replace(self, sent=(*self.sent, Sent(seal.digest, seal.said.made_at, told))[-_SENT_MAX:])

    def begun(self, seal: Seal) -> Memory:
        """Return the memory with a pouch that is about to be taken, perhaps again.

        Raises:
            RefusedError: `REPLAYED` for one that a newer one has taken the place of.
        """
        made_at = seal.said.made_at
        if self.taken_at and (made_at < self.taken_at or (made_at == self.taken_at and seal.digest != self.taken)):
            detail = f"made {made_at:%Y-%m-%d %H:%M:%S}, and one made {self.taken_at:%Y-%m-%d %H:%M:%S} was taken"
            step = "Nothing to do: the newer one held whatever still waited."
            raise error(Reason.REPLAYED, field="pouch.made_ms", detail=detail, next_step=step)
        heard = next((sent for sent in self.sent if sent.digest == seal.said.answers), None)
        told = max(self.told or 0, heard.told) if heard else self.told
        again = self if seal.digest == self.taken else replace(self, whole=False, refused=())
        return replace(again, taken=seal.digest, taken_at=made_at, told=told)

    def ended(self, refused: tuple[Refusal, ...]) -> Memory:
        """Return the memory when all of the pouch that was begun is taken, less what was refused."""
        return replace(self, whole=True, refused=refused)

    def is_answer(self, seal: Seal) -> bool:
        """Whether a pouch answers the newest one: what it says of an older one, the peer may have changed since."""
        return bool(self.sent) and self.sent[-1].digest == seal.said.answers


class Shelf:
    """The folder of one peer."""

    def __init__(self, folder: Path, peer: str) -> None:
        """Name the folder; nothing is read or made yet."""
        self._folder = folder / peer

    def read(self) -> Memory:
        """Return what is remembered.

        Raises:
            MalformedError: `MALFORMED` for a file that is none of ours.
        """
        file = self._folder / _STATE
        try:
            return _memory(json.loads(file.read_bytes()))
        except FileNotFoundError:
            return Memory()
        except (ValueError, KeyError, TypeError, ExchangeError):
            detail = "not what a relay wrote"
            raise error(Reason.MALFORMED, field=str(file), detail=detail, next_step=_RESTORE) from None

    def write(self, memory: Memory) -> None:
        """Remember, durably."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(self._folder / _STATE, json.dumps(_written(memory)).encode())

    def check_room(self, reserve: int) -> None:
        """Return if more bytes than so many are free on the disk, or raise `OVERLOADED`."""
        check_room(self._folder, reserve)

    def keep(self, digest: bytes, history: History) -> None:
        """Keep what the peer tells of an envelope beside what it told before, durably."""
        merged = History.merged([self.kept(digest), history])
        told = Told(digest, tuple(receipt.raw for receipt in merged.events), merged.statements)
        (self._folder / _TOLD).mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(self._folder / _TOLD / digest.hex(), told.raw)

    def kept(self, digest: bytes) -> History:
        """Return what the peer told of an envelope; nothing where it told nothing, or the file is damaged."""
        try:
            told = Told.parse((self._folder / _TOLD / digest.hex()).read_bytes())
            return History(tuple(Receipt.parse(raw) for raw in told.events), told.statements)
        except (FileNotFoundError, ExchangeError):
            return History((), ())

    def forget(self, before: datetime) -> int:
        """Delete what was told before a time and not again since; return how many envelopes it was about."""
        old = [file for file in self._told() if file.stat().st_mtime < before.timestamp()]
        for file in old:
            file.unlink(missing_ok=True)
        return len(old)

    def _told(self) -> list[Path]:
        return list((self._folder / _TOLD).iterdir()) if (self._folder / _TOLD).is_dir() else []


def _written(memory: Memory) -> dict[str, object]:
    return {
        "sent": [[sent.digest.hex(), wire.to_ms(sent.made_at), sent.told] for sent in memory.sent],
        "told": memory.told,
        "taken": memory.taken.hex(),
        "taken_ms": wire.to_ms(memory.taken_at) if memory.taken_at else None,
        "whole": memory.whole,
        "refused": [refusal.raw.hex() for refusal in memory.refused],
    }


def _memory(value: dict[str, object]) -> Memory:
    """Return what `_written` wrote; raises whatever another value brings about."""
    sent, told, taken_ms, refused = value["sent"], value["told"], value["taken_ms"], value["refused"]
    if not isinstance(sent, list) or not isinstance(refused, list) or not isinstance(told, int | None):
        raise TypeError
    return Memory(
        tuple(Sent(bytes.fromhex(digest), wire.from_ms(ms, field=_STATE), int(end)) for digest, ms, end in sent),
        told,
        bytes.fromhex(str(value["taken"])),
        None if taken_ms is None else wire.from_ms(int(str(taken_ms)), field=_STATE),
        value["whole"] is True,
        tuple(Refusal.parse(bytes.fromhex(raw)) for raw in refused),
    )
