"""Room: how much of a disk is free, for whatever must leave the reserve to the log."""

from __future__ import annotations

import os
from pathlib import Path

from infoexchange.errors import Reason, error


def free_bytes(folder: Path) -> int:
    """Return how many bytes may still be written to the disk of a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def check_room(folder: Path, needed: int) -> None:
    """Return if so many bytes are free on a folder's disk, or raise `OVERLOADED`."""
    if free_bytes(folder) < needed:
        step = "Free some space, or lower `reserve_gib`, and run it again; nothing was lost."
        raise error(Reason.OVERLOADED, field=str(folder), detail="the relay's disk is full", next_step=step)
