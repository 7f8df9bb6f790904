"""File: a pouch as a file: a first line, the items, and behind them the seal (SPEC section Pouch).

It is written in one go, for the seal comes last, and read twice: once for the signature, and then item by item. Between
the two a disk may be changed; every item is therefore compared with the digest that was signed when it is used.
Attachments of a terabyte travel in it, so no more than one item is ever in memory, and 32 bytes for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from struct import Struct
from typing import BinaryIO

from infoexchange import wire
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Party
from infoexchange.log import LogKeys
from infoexchange.pouch.items import FRAME, Item, check_frame
from infoexchange.pouch.seal import SEAL_SIZE_MAX, Seal, Sealed

# Specification constants
BEGINNING = b"infoexchange-pouch/1\n"
END = b"\ninfoexchange-pouch-end\n"
ITEMS_MAX = 2**20  # a million messages, or four of the largest attachments: 32 MiB of digests

_SEAL_SIZE = Struct(">I")
_FROM_END = 2  # as for `lseek`
_ANY_VERSION = b"infoexchange-pouch/"
_CUT_OFF = "Copy the file again, or have it made again."


@dataclass(frozen=True)
class Pouch:
    """A file that says it is a pouch: nothing of its items is read before `verify` has returned."""

    seal: Seal
    _file: BinaryIO = field(repr=False)

    @classmethod
    def parse(cls, file: BinaryIO) -> Pouch:
        """Return the pouch in a file that can be read at any place; it has to stay open for as long as it is used.

        Raises:
            MalformedError: `MALFORMED` when it is none or was cut off, `UNKNOWN_VERSION`, and as `Seal.parse`.
            RefusedError: `TOO_LARGE`.
            OSError: It cannot be read.
        """
        # (1) first line, last line, and a seal between that says just as many bytes as there are
        length = file.seek(0, _FROM_END)
        file.seek(0)
        first = file.read(len(BEGINNING))
        if first != BEGINNING:
            if first.startswith(_ANY_VERSION):
                raise error(Reason.UNKNOWN_VERSION, field="pouch", detail="of another version")
            raise error(Reason.MALFORMED, field="pouch", detail="no pouch")
        tail = _SEAL_SIZE.size + len(END)
        if length < len(BEGINNING) + tail:
            raise _cut_off()
        file.seek(length - tail)
        size, end = file.read(_SEAL_SIZE.size), file.read(len(END))
        if end != END:
            raise _cut_off()
        [seal_size] = _SEAL_SIZE.unpack(size)
        if seal_size > SEAL_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="pouch", detail=f"a seal of {seal_size} bytes")
        if length < len(BEGINNING) + seal_size + tail:
            raise _cut_off()
        file.seek(length - tail - seal_size)
        seal = Seal.parse(file.read(seal_size))
        if length != len(BEGINNING) + seal.said.size + seal_size + tail:
            raise _cut_off()
        if seal.said.items > ITEMS_MAX:
            raise error(Reason.TOO_LARGE, field="pouch.items", detail=f"{seal.said.items}, at most {ITEMS_MAX}")
        return cls(seal, file)

    def verify(self, directory: Directory, *, recipient: str, now: datetime) -> Contents:
        """Return the contents, once the seal and the digests of all items have been checked.

        Spec: section Pouch, steps 3 to 6.

        Args:
            directory: Who is who.
            recipient: The relay that opens it.
            now: The time the checks use.

        Raises:
            UntrustedError: `BAD_COMMITMENT`, and as `Seal.verify`.
            MalformedError: `MALFORMED` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`, and as `Seal.verify`.
            OSError: It cannot be read.
        """
        sender = self.seal.verify(directory, recipient=recipient, now=now)
        # (6) as many items as were sealed, and those
        digests = bytearray()
        for item in _items(self._file, self.seal.said):
            digests += item.digest
        if sha256(digests).digest() != self.seal.said.contents:
            raise _changed()
        return Contents(sender, self.seal, self._file, bytes(digests))


@dataclass(frozen=True)
class Contents:
    """The verified contents of a pouch.

    Attributes:
        sender: The relay that made it.
        seal: What it signed.
    """

    sender: Party
    seal: Seal
    _file: BinaryIO = field(repr=False)
    _digests: bytes = field(repr=False)

    def items(self) -> Iterator[Item]:
        """Yield the items in order, each found to be the one that was sealed.

        Raises:
            UntrustedError: `BAD_COMMITMENT` when the file was changed since it was verified.
            OSError: It cannot be read.
        """
        try:
            for place, item in enumerate(_items(self._file, self.seal.said)):
                if item.digest != self._digests[place * wire.DIGEST_SIZE : (place + 1) * wire.DIGEST_SIZE]:
                    raise _changed()
                yield item
        except ExchangeError:
            raise _changed() from None


def write(file: BinaryIO, items: Iterable[Item], keys: LogKeys, to: str, *, made_at: datetime, answers: bytes) -> Seal:
    """Write a pouch, and return its seal; whoever lends the file makes it durable.

    Args:
        file: At its beginning.
        items: What it holds; they are asked for one by one.
        keys: Of the sender's log.
        to: The relay it is for.
        made_at: Later than that of every pouch before it on this way.
        answers: Digest of the last pouch that was taken from that relay; empty for none.

    Raises:
        RefusedError: `TOO_LARGE` for too many items.
        OSError: It cannot be written.
    """
    file.write(BEGINNING)
    digests, size = bytearray(), 0
    for item in items:
        if len(digests) == ITEMS_MAX * wire.DIGEST_SIZE:
            raise error(Reason.TOO_LARGE, field="pouch.items", detail=f"more than {ITEMS_MAX}")
        size += file.write(item.raw)
        digests += item.digest
    said = Sealed(
        sender=keys.relay,
        recipient=to,
        origin=keys.origin,
        made_at=made_at,
        items=len(digests) // wire.DIGEST_SIZE,
        size=size,
        contents=sha256(digests).digest(),
        answers=answers,
    )
    seal = Seal.sign(said, keys)
    file.write(seal.raw + _SEAL_SIZE.pack(len(seal.raw)) + END)
    return seal


def _items(file: BinaryIO, said: Sealed) -> Iterator[Item]:
    """Yield the items that stand in a file; they end where the seal begins."""
    at, end = len(BEGINNING), len(BEGINNING) + said.size
    for _ in range(said.items):
        file.seek(at)  # whoever takes an item may read elsewhere in between
        frame = file.read(FRAME.size) if at + FRAME.size <= end else b""
        if len(frame) < FRAME.size:
            raise _changed()
        size, kind = check_frame(frame)
        body = file.read(size) if at + FRAME.size + size <= end else b""
        if len(body) < size:
            raise _changed()
        at += FRAME.size + size
        yield Item(kind, body)
    if at != end:
        raise _changed()


def _cut_off() -> ExchangeError:
    return error(Reason.MALFORMED, field="pouch", detail="cut off, or something was added", next_step=_CUT_OFF)


def _changed() -> ExchangeError:
    step = "Copy the file again; if it fails again, report it: somebody has changed it."
    return error(Reason.BAD_COMMITMENT, field="pouch.contents", detail="not what was sealed", next_step=step)
