"""A manifest of a backup, as the formats' own tests use one."""

from __future__ import annotations

from datetime import UTC, datetime

from infoexchange_relay.backup import Manifest
from infoexchange_relay.backup.manifest import Held

MANIFEST = Manifest(
    relay="relay.th.example",
    software="0.1.0",
    made_at=datetime(2026, 11, 22, 8, 0, tzinfo=UTC),
    settings="ab" * 32,
    end=7,
    size=5,
    root="cd" * 32,
    checkpoint=b"",
    logs={"relay.th.example/audit/2026h1": (2, "ef" * 32)},
    files={"relay.sqlite3": Held(4096, "01" * 32), "lost-1/relay.sqlite3": Held(0, "23" * 32)},
    attachments={"desk.th.example/aa": True},
    left_out={"latch": "NEVER"},
)
