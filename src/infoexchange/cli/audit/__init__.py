"""Audit: what somebody who trusts nobody asks of a relay's log; each command in a module of its own."""

from __future__ import annotations

from infoexchange.cli.audit import comparing, reporting, verifying
from infoexchange.cli.parser import Subparsers, add_group


def register(subparsers: Subparsers) -> None:
    """Add `audit verify-log | reconcile | report`."""
    group = add_group(subparsers, "audit", "check the log of a relay, without trusting it")
    verifying.register(group)
    comparing.register(group)
    reporting.register(group)
