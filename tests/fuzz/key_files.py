"""Key files: real sealed files and registers of a CA to begin from, and what is done with one that was read."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fuzz.world import SENDER, World
from infoexchange import certificates
from infoexchange.cli.register import Issued
from infoexchange.keys.sealed import Cost, Seal, SealedFile

_WORDS = "four words nobody said"
_CHEAP = Cost(memory=64 * 1024, passes=1, lanes=1)


def sealed(world: World) -> bytes:
    """An identity under a passphrase that costs nothing worth speaking of."""
    return Seal.make(_WORDS, cost=_CHEAP).seal(world.identities[0].raw)


def unsealed(raw: bytes) -> Any:
    """A sealed file, opened where that costs as little."""
    found = SealedFile.parse(raw)
    if found.cost.memory * found.cost.passes <= 2**24:
        found.open_with(found.seal_of(_WORDS))
    return found


def register(world: World) -> bytes:
    """What a CA has issued and withdrawn."""
    community = world.exchange.community
    cas = (community.cas["th"].certificate,)
    leaves = [certificates.verify_leaf(der, cas, world.now) for der in community.members[SENDER].certificates]
    revoked = [{"serial": "beef", "at": world.now.isoformat(), "reason": "keyCompromise"}]
    value = {"form": "infoexchange CA register 1", "list_number": 1, "issued": [asdict(Issued.of(v)) for v in leaves]}
    return json.dumps(value | {"revoked": revoked}).encode()
