"""Signed, encrypted information exchange between national agencies.

What an agency needs stands here; message types are in `infoexchange.catalogue`, a folder to work from in
`infoexchange.home`, the connection in `infoexchange.transport`. Auditors import `infoexchange.evidence`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoexchange.delivery import Delivery
    from infoexchange.directory import Directory
    from infoexchange.draft import Draft
    from infoexchange.errors import (
        ExchangeError,
        MalformedError,
        Reason,
        RefusedError,
        UnavailableError,
        UntrustedError,
    )
    from infoexchange.keys import Identity
    from infoexchange.mailbox import Mailbox
    from infoexchange.receipt import Receipt
    from infoexchange.stash import Attachment

# Loaded when first asked for: an auditor's command, or its help, need not wait for what only agencies use.
_HOMES = {
    "Attachment": "stash",
    "Delivery": "delivery",
    "Directory": "directory",
    "Draft": "draft",
    "ExchangeError": "errors",
    "Identity": "keys",
    "Mailbox": "mailbox",
    "MalformedError": "errors",
    "Reason": "errors",
    "Receipt": "receipt",
    "RefusedError": "errors",
    "UnavailableError": "errors",
    "UntrustedError": "errors",
}

__all__ = [
    "Attachment",
    "Delivery",
    "Directory",
    "Draft",
    "ExchangeError",
    "Identity",
    "Mailbox",
    "MalformedError",
    "Reason",
    "Receipt",
    "RefusedError",
    "UnavailableError",
    "UntrustedError",
]


def __getattr__(name: str) -> object:
    """Give a public name, loading its module the first time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found
