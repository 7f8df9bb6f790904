"""What a reader of vectors holds beside them: a directory, bundles, private keys, and a relay that hands things out."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from infoexchange.attachment import BLOCK_SIZE, Block
from infoexchange.attachment.blocks import block_hash, path_of
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.keys import Identity
from infoexchange.ledger import Ledger
from infoexchange.listing import Roots
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.testing.clock import FakeClock
from infoexchange.testing.memory import MemoryLatch, MemoryStore

FOLDER = Path(__file__).resolve().parent.parent / "proto" / "vectors"


class World:
    """What readers of a vector hold beside it: the trust anchor, a directory, published bundles, and private keys."""

    def __init__(self, name: str) -> None:
        """Read `world/<name>.json`."""
        text = json.loads((FOLDER / "world" / f"{name}.json").read_text("utf-8"))
        decode = base64.b64decode
        self.roots = Roots.parse(decode(text["roots"]))
        self.directory = Directory.parse(decode(text["directory"]), roots=self.roots)
        found = [
            KeyBundle.parse(decode(one["bundle"]), [decode(c) for c in one["certificates"]], map(decode, one["crls"]))
            for one in text["bundles"]
        ]
        self.bundles = {bundle.digest: bundle for bundle in found}
        self.identities = {name: Identity.parse(json.dumps(key).encode()) for name, key in text["identities"].items()}
        self.logs = {name: LogKeys.parse(json.dumps(key).encode()) for name, key in text["logs"].items()}

    def bundle_of(self, name: str) -> KeyBundle:
        """Return the only bundle of a party."""
        [bundle] = [bundle for bundle in self.bundles.values() if bundle.owner == name]
        return bundle

    def node(self, relay: str, now: datetime) -> tuple[Node, FakeClock]:
        """Return a relay that knows every bundle, and its clock."""
        clock = FakeClock(now)
        node = Node(Ledger(self.logs[relay], MemoryStore(), MemoryLatch(), clock=clock), self.directory, clock=clock)
        node.start()
        for bundle in self.bundles.values():
            owner = self.directory.party(bundle.owner, at=now)
            node.commit([node.decide_bundle(self.directory.relay_of(owner), bundle)])
        return node, clock


@functools.cache
def world(name: str) -> World:
    return World(name)


class Waiting:
    """The part of a relay that a recipient sees: bundles, and what waits."""

    def __init__(self, known: World, raws: Sequence[bytes], ciphertext: bytes = b"") -> None:
        self._known = known
        self.raws = list(raws)
        self._ciphertext = ciphertext

    def bundles(self, names):
        return [bundle for bundle in self._known.bundles.values() if bundle.owner in names]

    def fetch(self):
        yield self.raws

    @property
    def chunks(self):
        return self

    def read(self, ref, offset, size):
        """Hand out the blocks of the ciphertext, whatever it is."""
        blocks = [self._ciphertext[at : at + BLOCK_SIZE] for at in range(0, len(self._ciphertext), BLOCK_SIZE)]
        hashes = [block_hash(block) for block in blocks]
        for index in range(offset // BLOCK_SIZE, min(len(blocks), -(-(offset + size) // BLOCK_SIZE))):
            yield Block(index, blocks[index], path_of(hashes, index))

    def submit(self, envelopes):
        return []

    def acknowledge(self, notices):
        return [None] * len(notices)  # whatever is no error was taken
