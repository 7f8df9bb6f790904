"""`python -m making`: add the vectors that are missing to `proto/vectors`."""

from __future__ import annotations

import sys
from collections import Counter

from making import (
    attached,
    bundles,
    chains,
    crypto,
    disclosures,
    envelopes,
    evidence,
    forms,
    keks,
    logs,
    objects,
    onward,
    parties,
    recalls,
    relays,
    rotation,
    sealed,
    suites,
)
from making.world import Worlds
from vectors import FOLDER, SUMS, Vector, parts, sums, written

PARTS = (
    *(forms, objects, crypto, suites, envelopes, sealed, keks, parties, bundles),
    *(chains, logs, relays, onward, evidence, rotation, recalls, attached, disclosures),
)


def main() -> int:
    """Write everything, or nothing if something is there; return the exit code."""
    if any(FOLDER.glob("*.txt")) or any(FOLDER.glob("*/*")):
        print("There are vectors, and they are frozen; see proto/vectors/README.md.", file=sys.stderr)
        return 1
    worlds = Worlds()
    worlds.write(FOLDER / "world")
    made = [case.checked() for part in PARTS for case in part.cases(worlds)]
    if len({vector.name for vector in made}) != len(made):
        raise SystemExit(f"two of one name: {[n for n, count in Counter(v.name for v in made).items() if count > 1]}")
    shared(worlds, made)
    for vector in made:
        (FOLDER / f"{vector.name}.txt").write_text(vector.text, "utf-8")
    (FOLDER / SUMS).write_text(sums(), "utf-8")
    print(f"{len(made)} vectors written")
    return 0


def shared(worlds: Worlds, made: list[Vector]) -> None:
    """Write what at least two places share into files of their own, so that the folder stays small."""
    known = sorted(worlds.parts(), key=lambda item: -len(item[1]))
    for _ in range(2):  # a part that is left out may lay open smaller ones inside
        lines = Counter(line for vector in made for block in vector.blocks for line in written(block, known))
        known = [(name, raw) for name, raw in known if lines[f"part {name}"] > 1]
    (FOLDER / "parts").mkdir()
    for name, raw in known:
        (FOLDER / "parts" / f"{name}.txt").write_text("\n".join(written(raw, [])) + "\n", "utf-8")
    parts.cache_clear()


if __name__ == "__main__":
    raise SystemExit(main())
