"""Finance: the readers of FollowTheMoney and goAML; their marks come from the files."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fuzz import changing
from fuzz.target import Target, of
from fuzz.world import World
from infoexchange.bridges import ftm, goaml
from infoexchange.catalogue import Handling, examples
from infoexchange.testing.clock import START


def _entities() -> Sequence[bytes]:
    """Entities of others, and messages of ours as entities, in arrays."""
    types = ("SanctionsUpdate", "TransactionSet", "PersonNotice")
    found = [examples.read("people.ftm.json"), ftm.write([examples.message(name) for name in types], now=START)]
    return [b"[" + b",".join(raw.splitlines()) + b"]" for raw in found]


def _in_lines(raw: bytes) -> bytes:
    """An array of JSON in lines, which is how its entities mostly come."""
    try:
        found = json.loads(raw)
        lines = [json.dumps(one) for one in found] if isinstance(found, list) else []
    except (ValueError, RecursionError):
        lines = []
    return "\n".join(lines).encode() or raw


def _reports() -> Sequence[bytes]:
    """A report of others, and messages of ours as reports."""
    types = ("TransactionSet", "FiuResponse")
    written = [goaml.write([examples.message(name)], now=START) for name in types]
    return [examples.read("report.goaml.xml"), *written]


def targets(world: World) -> list[Target]:
    """Return the targets of both formats."""
    return [
        of("FollowTheMoney entities", ftm.read, _entities(), change=changing.tree, mend=_in_lines,
            read=lambda raw: list(ftm.read(raw, Handling(), now=world.now))),
        of("goAML report", goaml.read, _reports(), change=changing.elements,
            read=lambda raw: list(goaml.read(raw, Handling(), now=world.now))),
    ]  # fmt: skip
