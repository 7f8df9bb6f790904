"""Endings: shows what ends soon, in tables, as JSON, and as a warning beside whatever an agency does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infoexchange.cli.output import Output, Table
from infoexchange.cli.passphrase import folder_of

if TYPE_CHECKING:
    from infoexchange.endings import Ending
    from infoexchange.home import Home

_KINDS = ("Identity (Ed25519)", "Identity (ML-DSA-65)", "TLS")  # as they stand in the file


def opened(args: argparse.Namespace, out: Output) -> Home:
    """Return the home that a command line names; when the command is done, whoever runs it is told what ends soon."""
    from infoexchange.home import Home

    home = Home.open(folder_of(args))
    out.at_end(lambda: warn(out, home))  # then the home has the newest directory and keys
    return home


def warn(out: Output, home: Home) -> None:
    """Say in one line each what this agency should do soon: what ends within thirty days, and its keys."""
    from infoexchange import endings

    now = datetime.now(UTC)
    step = f"Have the national CA issue certificates for {home.path}/request.pem again, and enroll with them."
    found = endings.of_directory(home.directory.listing, now, party=home.name)
    for ending in endings.upcoming([*found, *endings.of_leaves(home.folder.leaves(), _KINDS, step)], now):
        if ending.at == home.directory.listing.expires_at <= now:
            continue  # the command has failed with just that
        out.warn(f"{'ACT NOW: ' if ending.is_urgent(now) else ''}{ending.sentence(now)}")
    for line in home.reminders(now=now):
        out.warn(line)


def endings_data(endings: Sequence[Ending], now: datetime) -> list[dict[str, Any]]:
    """Return what ends soon as JSON shows it."""
    return [
        {"what": e.what, "at": e.at.isoformat(), "days": e.days(now), "urgent": e.is_urgent(now)}
        | {"next_step": e.next_step}
        for e in endings
    ]


def endings_parts(endings: Sequence[Ending], now: datetime) -> list[str | Table]:
    """Return what ends soon for a person, nothing where nothing does."""
    if not endings:
        return []
    rows = [("NOW" if e.is_urgent(now) else "soon", f"{e.at:%Y-%m-%d %H:%M}Z", e.what, e.next_step) for e in endings]
    return [Table(("act", "ends", "what", "what to do"), rows)]
