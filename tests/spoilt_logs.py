"""Exported logs with one thing wrong each, and what an inspection finds of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from infoexchange.exported import LogFolder
from infoexchange.record import parse_records, records_path, write_records
from infoexchange.states import Event
from infoexchange.tlog import merkle, tiles
from infoexchange.v1 import audit_pb2


def write(folder: Path, path: str, change: Callable[[bytes], bytes]) -> None:
    file = folder / path
    file.write_bytes(change(file.read_bytes()))


def in_record(folder: Path, event: Event, change: Callable[[Any], None]) -> None:
    """Change what the record of the first entry of an event shows, with a check sum that fits."""
    log = LogFolder(folder)
    index = next(r.index for r in log.records(0, log.size) if r and r.event is event and r.exhibit)
    file = folder / records_path(0, log.size)
    raws = parse_records(file.read_bytes(), log.size)
    message = audit_pb2.LogRecord.FromString(raws[index])
    change(message)
    raws[index] = message.SerializeToString(deterministic=True)
    file.write_bytes(write_records(raws))


def other_document(folder: Path, event: Event, other: Event) -> None:
    log = LogFolder(folder)
    document = next(r.exhibit for r in log.records(0, log.size) if r and r.event is other and r.exhibit)
    in_record(folder, event, lambda m: setattr(m, "document", document))


def of_size(folder: Path) -> int:
    return LogFolder(folder).size


def rehashed(folder: Path) -> None:
    """A log that was changed and made again, by somebody who lacks the keys."""
    size = of_size(folder)
    write(folder, f"tile/entries/000.p/{size}", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]))
    leaves = tiles.parse_entries((folder / f"tile/entries/000.p/{size}").read_bytes(), size)
    hashes = b"".join(map(merkle.leaf_hash, leaves))
    (folder / f"tile/0/000.p/{size}").write_bytes(hashes)


def without_last(folder: Path) -> None:
    size = of_size(folder)
    (folder / f"tile/entries/000.p/{size}").unlink()


Spoil = Callable[[Path], None]
SPOILT: dict[str, tuple[Spoil, dict[str, str]]] = {
    "checkpoint-form": (lambda f: write(f, "checkpoint", lambda raw: raw[1:-1]), {"checkpoint": "malformed"}),
    "checkpoint-size": (
        lambda f: write(f, "checkpoint", lambda raw: raw.replace(b"\n%d\n" % of_size(f), b"\n1\n", 1)),
        {"checkpoint": "bad_signature", "witnesses": "bad_signature", "entries": "bad_proof", "root": "bad_proof"},
    ),
    "entry-bit": (
        lambda f: write(f, f"tile/entries/000.p/{of_size(f)}", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
        {"root": "bad_proof", "tiles": "bad_proof", "records": "bad_commitment"},
    ),
    "entry-form": (
        lambda f: write(f, f"tile/entries/000.p/{of_size(f)}", lambda raw: raw[:2] + b"\x0a" + raw[3:]),
        {"entries": "malformed", "root": "bad_proof", "tiles": "bad_proof", "records": "malformed"},
    ),
    "entry-version": (
        lambda f: write(f, f"tile/entries/000.p/{of_size(f)}", lambda raw: raw[:3] + b"\x02" + raw[4:]),
        {"entries": "unknown_version", "root": "bad_proof", "tiles": "bad_proof", "records": "unknown_version"},
    ),
    "entry-length": (
        lambda f: write(f, f"tile/entries/000.p/{of_size(f)}", lambda raw: raw + b"\x00"),
        {"entries": "malformed", "root": "bad_proof"},
    ),
    "entries-missing": (without_last, {"entries": "bad_proof", "root": "bad_proof"}),
    "tile-bit": (
        lambda f: write(f, f"tile/0/000.p/{of_size(f)}", lambda raw: bytes([raw[0] ^ 1]) + raw[1:]),
        {"tiles": "bad_proof"},
    ),
    "tile-missing": (lambda f: (f / f"tile/0/000.p/{of_size(f)}").unlink(), {"tiles": "bad_proof"}),
    "made-again": (rehashed, {"root": "bad_proof", "records": "bad_commitment"}),
    "records-sum": (
        lambda f: write(f, records_path(0, of_size(f)), lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
        {"records": "malformed"},
    ),
    "record-salt": (
        lambda f: in_record(f, Event.ACCEPTED, lambda m: setattr(m, "routing_salt", bytes(31))),
        {"records": "bad_field"},
    ),
    "record-without-routing": (
        lambda f: in_record(f, Event.ACCEPTED, lambda m: (m.ClearField("routing"), m.ClearField("routing_salt"))),
        {"records": "bad_field"},
    ),
    "record-without-salt": (
        lambda f: in_record(f, Event.ACCEPTED, lambda m: m.ClearField("routing_salt")),
        {"records": "bad_field"},
    ),
    "document-without-message": (
        lambda f: in_record(f, Event.ACCEPTED, lambda m: (m.ClearField("message"), m.ClearField("message_salt"))),
        {"records": "bad_field"},
    ),
    "record-other-routing": (
        lambda f: in_record(f, Event.ACCEPTED, lambda m: setattr(m, "routing", m.routing.replace(b"desk", b"dusk"))),
        {"records": "bad_commitment"},
    ),
    "record-other-message": (
        lambda f: in_record(f, Event.ACCEPTED, lambda m: setattr(m, "message_salt", bytes(32))),
        {"records": "bad_commitment"},
    ),
    "record-other-operational": (
        lambda f: in_record(f, Event.ACCEPTED, lambda m: setattr(m, "operational", b"\x1a\x01x")),
        {"records": "bad_commitment"},
    ),
    "document-manifest": (lambda f: other_document(f, Event.ACCEPTED, Event.KEY_BUNDLE), {"documents": "bad_field"}),
    "document-bundle": (
        lambda f: in_record(f, Event.KEY_BUNDLE, lambda m: setattr(m, "document", m.document[:-1])),
        {"documents": "malformed"},
    ),
    "document-order": (
        lambda f: other_document(f, Event.RECALL_ORDERED, Event.ACCEPTED),
        {"documents": "bad_field"},
    ),
    "document-receipt": (
        lambda f: other_document(f, Event.FORWARDED, Event.RECALL_FORWARDED),
        {"documents": "bad_proof"},
    ),
}
