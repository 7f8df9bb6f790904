"""Courier: makes and takes pouches for relays to which no network leads, with the rules of those that call.

What a pouch brings is decided as if its relay had called: the seal stands for the certificate. Only one pouch is worked
on at a time, in threads, so that callers over the network are not held up.
"""

from __future__ import annotations

import asyncio
import collections
import os
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import structlog

from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.header import LIFETIME_MAX
from infoexchange.listing import Party
from infoexchange.log import LogKeys
from infoexchange.node import courier
from infoexchange.node.courier import Packing
from infoexchange.ports import History
from infoexchange.pouch import Item, Kind, Pouch, Seal, write
from infoexchange.pruning import KEPT_MIN
from infoexchange.states import Event
from infoexchange_relay.answers import OF_THE_PEER
from infoexchange_relay.forward import Writer
from infoexchange_relay.pouches import Shelf
from infoexchange_relay.room import check_room
from infoexchange_relay.unpacking import TakeDirectory, Unpacking

# Implementation constants
_LOOK_SIZE = 64 * 1024 * 1024  # bytes written between two looks at how much of the disk is free

Report = dict[str, object]
_log = structlog.get_logger()


class Courier:
    """The way to every peer to which no network leads."""

    def __init__(
        self,
        writer: Writer,
        take_directory: TakeDirectory,
        keys: LogKeys,
        peers: Collection[str],
        folder: Path,
        *,
        reserve: int,
    ) -> None:
        """Hold what pouches are made of.

        Args:
            writer: The way to the log, and the node behind it.
            take_directory: Takes a directory version that somebody brings.
            keys: Of the relay's log.
            peers: Names of the relays that are reached in this way and in no other.
            folder: Where it is remembered what went and came.
            reserve: Bytes that stay free on the disk, so that pouches never stop the log.
        """
        self._writer = writer
        self._node = writer.node
        self._take_directory = take_directory
        self._keys = keys
        self._peers = frozenset(peers)
        self._folder = folder
        self._reserve = reserve
        self._one = asyncio.Lock()

    async def make(self, to: str, file: Path) -> Report:
        """Write everything that waits for a peer into a new file, and return what it is.

        Raises:
            RefusedError: `NOT_PERMITTED` for a relay that is reached over the network.
            UntrustedError: `UNKNOWN_PARTY` for one that is not in the directory.
            UnavailableError: `OVERLOADED` when the disk is full; whatever the store raises.
            OSError: The file cannot be written.
        """
        async with self._one:
            peer = self._peer(to)
            packing, seal, size = await asyncio.to_thread(self._pack, peer, file)
            await self._end(peer, packing)
        failed = collections.Counter(problem.reason.word for _, problem in packing.failed)
        _log.info("pouch_made", peer=to, count=packing.packed[Kind.ENVELOPE], size=size, digest=seal.digest.hex())
        return {"to": to, "digest": seal.digest.hex(), "bytes": size, "answers": seal.said.answers.hex()} | {
            **_counts(packing.packed),
            "left": dict(failed),
        }

    def _pack(self, peer: Party, file: Path) -> tuple[Packing, Seal, int]:
        shelf = Shelf(self._folder, peer.name)
        memory, now = shelf.read(), self._node.clock()
        # Who was never told anything is told of what may still be open.
        told = courier.place_at(self._node, now - LIFETIME_MAX) if memory.told is None else memory.told
        packing = Packing(self._node, peer, memory.refused if memory.whole else (), told)
        with file.open("xb") as output:
            items = self._with_room(packing.items(), file.parent)
            made_at = memory.next_at(now)
            seal = write(output, items, self._keys, peer.name, made_at=made_at, answers=memory.answers)
            output.flush()
            os.fsync(output.fileno())
            size = output.tell()
        # Before anybody can carry it away: an answer that nobody expects is worth less.
        shelf.write(memory.with_sent(seal, packing.told))
        return packing, seal, size

    def _with_room(self, items: Iterator[Item], folder: Path) -> Iterator[Item]:
        """Yield items for as long as there is room on the disk for them."""
        written = _LOOK_SIZE
        for item in items:
            written += len(item.body)
            if written >= _LOOK_SIZE:
                check_room(folder, self._reserve)
                written = 0
            yield item

    async def _end(self, peer: Party, packing: Packing) -> None:
        """Log the end of envelopes that can never go, as whoever forwards over the network does."""
        for digest, problem in packing.failed:
            _log.warning("envelope_not_packed", peer=peer.name, digest=digest.hex(), reason=problem.reason.word)
            if not isinstance(problem, UnavailableError) and problem.reason not in OF_THE_PEER:
                ended = partial(self._node.ended, Event.REFUSED, peer.name, digest, problem.reason)
                await self._writer.settle([ended], size=0)

    async def take(self, file: Path) -> Report:
        """Take everything that a pouch brings, and return what it was; the same pouch again changes nothing.

        Raises:
            ExchangeError: It is not to be believed, not for this relay, or older than one that was taken; nothing of
                it was taken then. `UNAVAILABLE` and `OVERLOADED`: a part of it was, and it may be taken again.
            OSError: The file cannot be read.
        """
        async with self._one:
            with file.open("rb") as source:
                pouch = await asyncio.to_thread(Pouch.parse, source)
                verify = partial(pouch.verify, recipient=self._node.name, now=self._node.clock())
                contents = await asyncio.to_thread(verify, self._node.directory)
                peer = self._peer(contents.sender.name)
                shelf = Shelf(self._folder, peer.name)
                memory = (await asyncio.to_thread(shelf.read)).begun(pouch.seal)
                # What is older is not taken from now on, whatever becomes of this one.
                await asyncio.to_thread(shelf.write, memory)
                unpacking = Unpacking(
                    self._writer, contents, shelf, memory, self._take_directory, reserve=self._reserve
                )
                await unpacking.run()
            await asyncio.to_thread(shelf.write, memory.ended(unpacking.refused))
            await asyncio.to_thread(shelf.forget, self._node.clock() - KEPT_MIN)
        _log.info("pouch_taken", peer=peer.name, count=unpacking.taken[Kind.ENVELOPE], digest=pouch.seal.digest.hex())
        return {"from": peer.name, "digest": pouch.seal.digest.hex(), "made": pouch.seal.said.made_at.isoformat()} | {
            **_counts(unpacking.taken),
            "forwarded": unpacking.forwarded,
            "refused": len(unpacking.refused),
            "left": {reason.word: count for reason, count in unpacking.left.items()},
        }

    def told(self, peer: str, digest: bytes) -> History:
        """Return what a peer told of an envelope by courier; nothing of one that is reached over the network."""
        return Shelf(self._folder, peer).kept(digest) if peer in self._peers else History((), ())

    def _peer(self, name: str) -> Party:
        """Return a peer that is reached by courier.

        Only one way may lead to a peer: what one brought back could contradict the other.
        """
        if name not in self._peers:
            detail = f"{name} is not among the relays that are reached by courier"
            step = "Name it in the setting `courier`, and start the relay again; it is not dialled from then on."
            raise error(Reason.NOT_PERMITTED, field="courier", detail=detail, next_step=step)
        return self._node.directory.party(name, at=self._node.clock())


def _counts(items: collections.Counter[Kind]) -> Report:
    names = {Kind.ENVELOPE: "envelopes", Kind.RECALL: "recalls", Kind.BUNDLE: "bundles", Kind.DIRECTORY: "directories"}
    names |= {Kind.HISTORY: "histories", Kind.REFUSAL: "refusals"}
    return {name: items[kind] for kind, name in names.items()}
