"""Targets: every reader of outside bytes.

A new `parse` needs one entry in a list of the modules named here; a test names the one that has none.
"""

from __future__ import annotations

from pathlib import Path

from fuzz.file_targets import files, foreign
from fuzz.log_targets import log
from fuzz.target import Target
from fuzz.wire_targets import protobuf, used
from fuzz.world import World


def all_targets(world: World, folder: Path) -> dict[str, Target]:
    """Return every target by name; readers of files get theirs in `folder`."""
    found = [*protobuf(world), *used(world), *log(world), *files(world, folder), *foreign(world)]
    return {target.name: target for target in found}
