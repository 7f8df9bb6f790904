"""Pouches made by hand, for tests of the format."""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from infoexchange.attachment.form import sealed_length
from infoexchange.errors import Reason
from infoexchange.pouch import Item, Kind, Part, Refusal, Seal, Told, write
from infoexchange.testing import Community

FIRST, SECOND = "relay.th.example", "relay.vn.example"


def items_of(bundle: Any, order: Any, envelope: Any, told: Told, directory: bytes) -> list[Item]:
    """Return one item of every kind."""
    length = sealed_length(1)
    return [
        Item(Kind.REFUSAL, Refusal(bytes(32), b"", Reason.EXPIRED).raw),
        Item(Kind.REFUSAL, Refusal(bytes(32), b"\x01" * 32, Reason.NOT_PERMITTED).raw),
        Item(Kind.DIRECTORY, directory),
        Item.bundle(bundle),
        Item(Kind.RECALL, order.raw),
        Item(Kind.PART, Part(bytes(32), length, 0, b"x" * 10).raw),
        Item(Kind.PART, Part(bytes(32), length, 10, b"x" * (length - 10)).raw),
        Item(Kind.ENVELOPE, envelope.raw),
        Item(Kind.HISTORY, told.raw),
    ]


def written(
    items: Iterable[Item], community: Community, *, now: datetime, to: str = SECOND, by: str = FIRST
) -> tuple[bytes, Seal]:
    """Return the bytes of a pouch, and its seal."""
    file = io.BytesIO()
    seal = write(file, items, community.log_keys[by], to, made_at=now, answers=b"")
    return file.getvalue(), seal
