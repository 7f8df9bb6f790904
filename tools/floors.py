"""Print the lowest versions that pyproject.toml allows, one pin per line, for `make floors`.

They are computed, not listed, so that raising a floor cannot be forgotten here.

Use: python tools/floors.py [EXTRA ...]
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

FLOOR = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9.]+)")


def floors(extras: list[str]) -> list[str]:
    """Return `name==version` for every base dependency and every dependency of the extras."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins: dict[str, str] = {}
    for requirement in project["dependencies"] + [r for e in extras for r in project["optional-dependencies"][e]]:
        found = FLOOR.match(requirement)
        if not found:
            sys.exit(f"{requirement}: every dependency needs a floor, `name>=version`")
        # An extra may ask for more than the base does: the higher floor is the lowest version that serves both.
        name, version = found["name"], found["version"]
        pins[name] = max(pins.get(name, "0"), version, key=_parts)
    return [f"{name}=={version}" for name, version in pins.items()]


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    print("\n".join(floors(sys.argv[1:])))
