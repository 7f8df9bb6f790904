"""UN list: the Consolidated List of the UN Security Council as XML to SanctionsUpdate, one for each entry. Read only.

The list is published with line breaks inside names, blank aliases and days, countries in many spellings. What can be
put right without guessing is; the rest stays in the source's words, and every doubt becomes a note. For screening, read
the list itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from infoexchange.bridges.unlist.reading import read
from infoexchange.errors import Reason, error

LOSSES: tuple[str, ...] = (
    "Read: the list says who is listed, not what changed: an entry without a day of update is ADD, any other AMEND.",
    "Read: measures are OTHER with a reference to the list: the file names none.",
    "Read: DATAID, VERSIONNUM, LIST_TYPE and the sort keys.",
    "Read: notes on addresses, aliases, documents and places of birth stand in the comments.",
    "Read: white space inside a text becomes one space.",
    "Written: nothing; only the Security Council's committees write this list.",
)

__all__ = ["LOSSES", "read", "write"]


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Refuse: nobody but its publisher writes this list.

    Args:
        messages: Not used.
        now: Not used.
        allow_red: Not used.

    Raises:
        RefusedError: `RULE_BROKEN`, always.
    """
    step = "Export as another format; the UN list is only read."
    raise error(Reason.RULE_BROKEN, field="format", detail="this format is only read", next_step=step)
