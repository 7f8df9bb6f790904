"""Endings: shows what ends soon, in tables, as JSON, and as a warning beside whatever an agency does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infoexchange.cli.output import Output, Table

if TYPE_CHECKING:
    from infoexchange.endings import Ending
    from infoexchange.home import Home

_KINDS = ("Identity (Ed25519)", "Identity (ML-DSA-65)", "TLS")  # as they stand in the file


def opened(path: Path, out: Output) -> Home:
    """Return the home in a folder; when the command is done, whoever runs it is told what ends soon."""
    from infoexchange.home import Home

    home = Home.open(path)
    out.at_end(lambda: warn(out, home))  # then the home has the newest directory
    return home


def warn(out: Output, home: Home) -> None:
    """Say in one line each what ends within thirty days for this agency."""
    from infoexchange import certificates, endings
    from infoexchange.home import CERTIFICATES
    from infoexchange.home.files import read_file

    now = datetime.now(UTC)
    step = f"Have the national CA issue certificates for {home.path}/request.pem again, and enroll with them."
    leaves = certificates.from_pem(read_file(home.path / CERTIFICATES, next_step="Enroll again."))
    found = endings.of_directory(home.directory.listing, now, party=home.name)
    for ending in endings.upcoming([*found, *endings.of_leaves(leaves, _KINDS, step)], now):
        if ending.at == home.directory.listing.expires_at <= now:
            continue  # the command has failed with just that
        out.warn(f"{'ACT NOW: ' if ending.is_urgent(now) else ''}{ending.sentence(now)}")


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
