"""Signed, encrypted information exchange between national agencies.

What an agency needs stands here; message types are in `infoexchange.catalogue`, a folder to work from in
`infoexchange.home`, the connection in `infoexchange.transport`. Auditors import `infoexchange.evidence`.
"""

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

__all__ = [
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
