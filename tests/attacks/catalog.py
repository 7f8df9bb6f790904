"""Catalog: all attacks there are, in the order of their modules."""

from __future__ import annotations

import importlib

from attacks.table import ATTACKS, Attack

MODULES = (
    "relay_parts",
    "relay_signature",
    "relay_routes",
    "relay_receipts",
    "relay_logs",
    "relay_bulletin",
    "agency_sealing",
    "agency_keys",
    "agency_chain",
    "fellow",
    "confusion",
    "recalls",
    "disclosures",
    "onward",
    "attachments",
    "uploads",
    "harmless",
)


def every() -> list[Attack]:
    """Every attack, whichever module was loaded first."""
    order = {f"attacks.{name}": place for place, name in enumerate(MODULES)}
    for name in order:
        importlib.import_module(name)
    return sorted(ATTACKS, key=lambda attack: order[attack.act.__module__])
