"""Audit: what somebody who trusts nobody asks of a relay's log; each command in a module of its own."""

from __future__ import annotations

from infoexchange.cli.audit import comparing, misbehaving, reporting, sequences, verifying, watching
from infoexchange.cli.parser import Subparsers, add_group


def register(subparsers: Subparsers) -> None:
    """Add `audit verify-log | reconcile | report | watch | misbehaviour | sequence`."""
    group = add_group(subparsers, "audit", "check the log of a relay, without trusting it")
    for command in (verifying, comparing, reporting, watching, misbehaving, sequences):
        command.register(group)
