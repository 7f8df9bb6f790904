"""Writing: an Alert or a MaritimeAdvisory as an alert of CAP."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from infoexchange.bridges.cap import reading, words
from infoexchange.catalogue import Alert, OpStatus, Tlp
from infoexchange.errors import Reason, error
from infoexchange.markup import Element

# For a message that names no address to ask at; `.invalid` can never be anybody's (RFC 2606).
_NO_SENDER = "unstated.invalid"
_ADVISORY_EVENT = "maritime advisory"
_ADVISORY_CATEGORIES = ("Security", "Transport")


def alert(message: Any, marks: list[str], now: datetime) -> Element:
    """Return the alert.

    Args:
        message: An Alert or a MaritimeAdvisory.
        marks: Labels of its marks, the TLP label first.
        now: When it is sent.

    Raises:
        RefusedError: `RULE_BROKEN` where it is not said whether the message is about the real world.
    """
    status = words.word_of(words.STATUSES, message.handling.op_status)
    if not status:
        detail = "an alert says whether it is real"
        raise error(Reason.RULE_BROKEN, field="handling.op_status", detail=detail)
    root = Element("alert", words.NAMESPACE)
    root.add("identifier", _identifier(message))
    address = message.contact.email
    root.add("sender", address if words.is_id(address) else _NO_SENDER)
    root.add("sent", f"{now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}-00:00")
    root.add("status", status)
    root.add("msgType", "Alert")
    root.add("scope", "Public" if message.handling.tlp == Tlp.TLP_CLEAR else "Restricted")
    if message.handling.tlp != Tlp.TLP_CLEAR:
        root.add("restriction", marks[0])
    for mark in marks:
        root.add("code", mark)
    if message.handling.op_status != OpStatus.OP_STATUS_ACTUAL:
        root.add("note", f"{status.upper()}. This is no real alert.")
    _add_info(root.add("info"), message)
    return root


def _identifier(message: Any) -> str:
    """Return the message's own number, or one that follows from what it says."""
    number = "" if type(message) is Alert else message.advisory_id
    if words.is_id(number):
        return str(number)
    return f"infoexchange-{hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()[:24]}"


def _add_info(info: Element, message: Any) -> None:
    """Add what the alert says, in the order of the schema."""
    is_alert = type(message) is Alert
    if words.LANGUAGE.fullmatch(message.lang):
        info.add("language", message.lang)
    categories = [words.word_of(words.CATEGORIES, number) for number in message.categories] if is_alert else []
    for word in categories if is_alert else _ADVISORY_CATEGORIES:
        info.put("category", word)
    info.add("event", message.event if is_alert else _ADVISORY_EVENT)
    for number in message.response_types if is_alert else ():
        info.put("responseType", words.word_of(words.RESPONSES, number))
    handling = message.handling
    info.add("urgency", words.word_of(words.URGENCIES, handling.urgency) or "Unknown")
    info.add("severity", words.word_of(words.SEVERITIES, handling.severity) or "Unknown")
    info.add("certainty", words.word_of(words.CERTAINTIES, handling.certainty) or "Unknown")
    if message.HasField("starts_at"):
        info.add("onset", words.time_text(message.starts_at))
    source, field = (handling, "valid_until") if is_alert else (message, "ends_at")
    if source.HasField(field):
        info.add("expires", words.time_text(getattr(source, field)))
    info.put("senderName", message.contact.office)
    info.put("headline", message.headline)
    info.put("description", message.description if is_alert else message.pattern)
    info.put("instruction", message.instruction if is_alert else words.measures_text(message.recommended_measures))
    info.put("contact", words.contact_text(message.contact))
    rest = type(message)()
    for name in reading.apart(message):
        reading.take(rest, message, name)
    parameter = info.add("parameter")
    parameter.add("valueName", f"{words.OURS}{message.DESCRIPTOR.name}")
    parameter.add("value", words.rest_text(rest))
    reading.add_areas(message, info)
