"""ISO 20022: camt.056, by which a payment is called back, and camt.029, its answer, as StopPaymentRequest and reply.

Banks find a payment by its UETR and compare amounts exactly, so both travel as they stand. What camt has no element for
stands in its supplementary data, in elements of our own; what a bank has no need to know stays behind. A file that is
not about the real world says so in words, in its number and in place of the code a bank's system would act on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from infoexchange import markup
from infoexchange.bridges import Reading
from infoexchange.bridges.iso20022 import recall, resolution
from infoexchange.bridges.iso20022.words import KINDS
from infoexchange.catalogue import Handling, StopPaymentRequest, StopPaymentStatus, labels
from infoexchange.errors import Reason, error

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the file.",
    "Written: persons, organisations, wallets, transfers on chains, notes on attachments, accounts of no transfer.",
    "Written: of an account its standing, balance, days and the reference to its holder.",
    "Written: of an amount its day and its value in dollars.",
    "Written: white space inside the facts becomes one space, and a word of more than 105 characters is parted.",
    "Written: in a camt.029, transfers onward and the accounts they went to.",
    "Read: what only a bank needs, such as charges and settlement; each element that is not carried is noted.",
    "Read: what the file cannot know, such as the kind of fraud, is left for a person to add, and noted.",
)

__all__ = ["LOSSES", "read", "write"]


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the one message of a camt.056 or camt.029, and notes on what is missing or not carried.

    Args:
        data: The document, XML in UTF-8 or UTF-16.
        handling: The marks of the message. What is unset is filled from a file of ours; what is weaker is refused.
        now: Not used; every bridge takes it.

    Raises:
        MalformedError: `MALFORMED` with the line for anything but a document of these kinds, `UNKNOWN_VERSION` for
            another version of them, `BAD_FIELD` with the line of an element that cannot be read.
        RefusedError: `MARK_LOST` where `handling` is weaker than the marks of the file, `TOO_LARGE` beyond the bounds
            of `markup`.
    """
    root = markup.parse(data)
    kind, _, version = root.namespace.rpartition(".")
    known = KINDS.get(kind)
    if root.name != "Document" or known is None:
        raise error(Reason.MALFORMED, field=root.place, detail="this is no camt.056 and no camt.029")
    if version not in known.versions:
        detail = f"read are versions {known.versions[0]} to {known.versions[-1]} of {known.name}"
        raise error(Reason.UNKNOWN_VERSION, field=root.place, detail=detail, next_step="Ask for one of these versions.")
    body = root.one(known.body)
    if body is None:
        raise error(Reason.MALFORMED, field=root.place, detail=f"there is no {known.body} in it")
    part = recall if known.name == "camt.056" else resolution
    reading = Reading(lambda _: iter([message]))
    message = part.read(body, handling, reading)
    for place, path in root.unread():
        reading.note(place, path, "not carried")
    return reading


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return one StopPaymentRequest as camt.056, or one StopPaymentStatus as camt.029.

    Args:
        messages: The request; or the answer, and before it the request it answers, whose transfers it then names.
        now: The time of the document.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be carried or an answer is marked weaker than its request;
            `RULE_BROKEN` for other messages, a request without transfers between banks, and amounts that camt
            cannot hold.
    """
    found = list(messages)
    kinds = [type(message) for message in found]
    if kinds not in ([StopPaymentRequest], [StopPaymentStatus], [StopPaymentRequest, StopPaymentStatus]):
        step = "Export one request; or one answer, with the request before it."
        detail = "a document holds one StopPaymentRequest or one StopPaymentStatus"
        raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step=step)
    marks = found[-1].handling
    if len(found) == 2:
        # The answer names the request's transfers, so it must be marked no weaker than the request.
        marks = labels.with_labels(marks, labels.to_labels(found[0].handling, allow_red=allow_red))
    texts = labels.to_labels(marks, allow_red=allow_red)
    if any(text != text.strip() for text in texts):
        detail = "the text of a restriction begins or ends with white space"
        raise error(Reason.MARK_LOST, field="handling.restrictions", detail=detail)
    if kinds == [StopPaymentRequest]:
        return recall.write(found[0], texts, now)
    return resolution.write(found[-1], found[0] if len(found) == 2 else None, texts, now)
