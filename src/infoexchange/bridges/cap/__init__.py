"""CAP 1.2: alerts of the Common Alerting Protocol to Alert and back, and MaritimeAdvisory to warning systems.

`status` is the mark that tells an exercise from the real world; the other marks stand in `code` elements, and whoever
does not read those still sees the TLP label as the alert's restriction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from infoexchange import markup
from infoexchange.bridges import Reading
from infoexchange.bridges.cap import reading as alerts
from infoexchange.bridges.cap import writing
from infoexchange.bridges.cap.words import NAMESPACE
from infoexchange.catalogue import Alert, Handling, MaritimeAdvisory, labels
from infoexchange.errors import Reason, error

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller; urgency, severity, certainty "
    "and the end of an alert from the file.",
    "Both ways: parts of a second.",
    "Written: notes on attachments.",
    "Written: white space at the ends of texts.",
    "Read: audience, web pages, resources, heights, codes and parameters of others (each is noted).",
    "Read: an XML signature is not checked, which is noted.",
)

__all__ = ["LOSSES", "read", "write"]


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return an Alert for each info block of an alert, or the MaritimeAdvisory that was written as one.

    Args:
        data: The alert, XML in UTF-8 or UTF-16.
        handling: The marks of the messages. What is unset is filled from the alert; what is weaker is refused.
        now: Not used; every bridge takes it.

    Raises:
        MalformedError: `MALFORMED` with the line for anything but an alert, `UNKNOWN_VERSION` for CAP of another
            version, `BAD_FIELD` with the line of an element that cannot be read, and for cancellations,
            acknowledgements and drafts, which are other messages here.
        RefusedError: `MARK_LOST` where `handling` is weaker than scope, status or marks of the alert; `TOO_LARGE`
            beyond the bounds of `markup`.
    """
    root = markup.parse(data)
    if root.name != "alert":
        raise error(Reason.MALFORMED, field=root.place, detail="this is no alert of CAP")
    if root.namespace != NAMESPACE:
        step = "Ask for the alert in CAP 1.2."
        raise error(Reason.UNKNOWN_VERSION, field=root.place, detail="only CAP 1.2 is read", next_step=step)
    reading = Reading(lambda _: iter(found))
    found = alerts.messages(root, handling, reading)
    return reading


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return one Alert or MaritimeAdvisory as an alert of CAP.

    Args:
        messages: One message that keeps the rules of the catalogue.
        now: When the alert is sent.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be carried; `RULE_BROKEN` for anything but one of these messages.
    """
    found = list(messages)
    if len(found) != 1 or type(found[0]) not in {Alert, MaritimeAdvisory}:
        step = "Export the messages one by one, each to a file of its own."
        detail = "a file holds exactly one Alert or MaritimeAdvisory"
        raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step=step)
    texts = labels.to_labels(found[0].handling, allow_red=allow_red)
    if any(text != text.strip() for text in texts):
        detail = "the text of a restriction begins or ends with white space"
        raise error(Reason.MARK_LOST, field="handling.restrictions", detail=detail)
    return markup.write(writing.alert(found[0], texts, now))
