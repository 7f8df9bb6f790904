"""Manifest: what a backup holds and what it does not, and up to where its log goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.tlog import Checkpoint

# Implementation constants
_UNREADABLE = (
    ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError, ExchangeError,
)  # fmt: skip
NAME = "manifest.json"
FORM = "infoexchange relay backup 1"
SIZE_MAX = 256 * 2**20  # a million attachments have one line each
_KEYS = frozenset(
    {"form", "relay", "software", "made_at", "settings", "end", "size", "root", "checkpoint", "logs"}
    | {"files", "attachments", "left_out"}
)


@dataclass(frozen=True)
class Held:
    """A file in a backup."""

    length: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What stands at the end of a backup.

    Attributes:
        relay: Whose data it is.
        software: Version that made it.
        made_at: When its moment was.
        settings: SHA-256 of the settings then, in hexadecimal.
        end: Entries of all its logs together.
        size: Entries of the log that grows.
        root: Root of their tree, in hexadecimal.
        checkpoint: The last signed checkpoint that was latched before that moment; nothing where there was none.
        logs: Entries and root of every log in it, by origin; of one that nothing was signed of the origin is not known.
        files: Every file in it but this one, by its place below the folder `data`.
        attachments: Attachments that messages in it need, as `owner/root`, and whether their bytes are in it.
        left_out: What belongs to the relay and is not in it, with the reason.
    """

    relay: str
    software: str
    made_at: datetime
    settings: str
    end: int
    size: int
    root: str
    checkpoint: bytes
    logs: Mapping[str, tuple[int, str]]
    files: Mapping[str, Held]
    attachments: Mapping[str, bool] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Return the manifest in some bytes.

        Raises:
            MalformedError: `MALFORMED` when they are none.
        """
        try:
            found: Any = json.loads(raw)
            if not isinstance(found, dict) or found.get("form") != FORM or set(found) != _KEYS:
                raise ValueError("not of this form")
            manifest = cls(
                relay=str(found["relay"]),
                software=str(found["software"]),
                made_at=datetime.fromisoformat(found["made_at"]).astimezone(UTC),
                settings=str(found["settings"]),
                end=int(found["end"]),
                size=int(found["size"]),
                root=bytes.fromhex(found["root"]).hex(),
                checkpoint=str(found["checkpoint"]).encode(),
                logs={str(origin): (int(size), str(root)) for origin, (size, root) in found["logs"].items()},
                files={_place(name): Held(int(one[0]), str(one[1])) for name, one in found["files"].items()},
                attachments={str(name): bool(whole) for name, whole in found["attachments"].items()},
                left_out={str(name): str(why) for name, why in found["left_out"].items()},
            )
            if manifest.checkpoint:
                Checkpoint.parse(manifest.checkpoint)
        except _UNREADABLE:
            raise error(
                Reason.MALFORMED, field=NAME, detail="not a manifest of this version", next_step=_STEP
            ) from None
        return manifest

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        content = {
            "form": FORM,
            "relay": self.relay,
            "software": self.software,
            "made_at": self.made_at.isoformat(),
            "settings": self.settings,
            "end": self.end,
            "size": self.size,
            "root": self.root,
            "checkpoint": self.checkpoint.decode(),
            "logs": {origin: list(one) for origin, one in self.logs.items()},
            "files": {name: [held.length, held.sha256] for name, held in self.files.items()},
            "attachments": dict(self.attachments),
            "left_out": dict(self.left_out),
        }
        return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes, in hexadecimal: whoever keeps it elsewhere can tell that nothing was exchanged."""
        return sha256(self.raw).hexdigest()

    @property
    def signed(self) -> Checkpoint | None:
        """The checkpoint, parsed."""
        return Checkpoint.parse(self.checkpoint) if self.checkpoint else None


_STEP = "Name a file that `infoexchange-relay backup` has made, or use the version that made it."


def _place(name: object) -> str:
    """Return the place of a file, which lies below the folder and nowhere else."""
    path = PurePosixPath(str(name))
    if path.is_absolute() or not path.parts or ".." in path.parts or str(path) != name or "\\" in str(name):
        raise ValueError("a place outside")
    return str(name)
