"""Log targets: the texts and tiles of transparency logs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fuzz import changing
from fuzz.target import Target, decoded, of
from fuzz.world import World
from infoexchange.tlog import Checkpoint, Cosignature, Note, Policy, Proof, VerifierKey, text, tiles
from infoexchange.tlog.note import Signature


def log(world: World) -> list[Target]:
    """What logs, witnesses and readers of logs write for one another."""
    community, proofs = world.exchange.community, world.proofs
    notes = [proof.checkpoint.raw for proof in proofs]
    keys = [str(key).encode() for half in (community.log_keys, community.witness_keys) for pair in half.values()
            for key in pair.verifier_keys]  # fmt: skip
    signatures = [line.raw for proof in proofs for line in proof.checkpoint.note.signatures]
    cosigned = [line for line in signatures if b"/witness " in line]
    paths = [tiles.tile_path(0, 0), tiles.tile_path(2, 1234067, 8), tiles.tile_path(tiles.ENTRIES, 5)]
    entries = [tiles.write_entries([b"one", b"", b"x" * 300]), tiles.write_entries([b""] * 3)]
    base64 = [line.rsplit(b" ", 1)[1].strip() for line in signatures] + [b"", b"AA==", b"AAA="]

    def lined(name: str, reader: Any, seeds: Iterable[bytes], **how: Any) -> Target:
        return of(name, reader, seeds, change=changing.lines, **how)

    return [
        lined("Note", Note, notes),
        lined("Checkpoint", Checkpoint, notes),
        lined("Proof", Proof, [proof.raw for proof in proofs]),
        lined("Policy", Policy, [*world.policies, b"# nobody\nquorum none\n"]),
        lined("VerifierKey", VerifierKey, keys, read=lambda raw: VerifierKey.parse(decoded(raw)),
              raw=lambda key: str(key).encode()),
        lined("Signature", Signature, signatures),
        lined("Cosignature", Cosignature, cosigned),
        lined("cosignature lines", Cosignature.parse_all, [b"".join(cosigned[:4])]),
        lined("Tile", tiles.Tile, map(str.encode, paths), read=lambda raw: tiles.Tile.parse(decoded(raw)),
              raw=lambda tile: tile.path.encode()),
        lined("tile path", tiles.parse_tile_path, map(str.encode, paths),
              read=lambda raw: tiles.parse_tile_path(decoded(raw))),
        of("tile", tiles.parse_tile, [bytes(96)], read=lambda raw: tiles.parse_tile(raw, 3)),
        of("entries", tiles.parse_entries, entries, read=lambda raw: tiles.parse_entries(raw, 3)),
        of("decimal", text.parse_decimal, [b"0", b"9223372036854775807", b"42"],
            read=lambda raw: text.parse_decimal(raw, field="number"), raw=lambda number: b"%d" % number),
        of("base64", text.parse_base64, base64, raw=text.write_base64,
            read=lambda raw: text.parse_base64(raw, field="base64")),
        of("hash", text.parse_hash, [text.write_base64(bytes(range(32)))], raw=text.write_base64,
            read=lambda raw: text.parse_hash(raw, field="hash")),
        lined("lines", text.parse_lines, notes, read=lambda raw: text.parse_lines(raw, field="lines")),
    ]  # fmt: skip
