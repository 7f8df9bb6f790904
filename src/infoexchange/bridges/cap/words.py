"""Words of CAP 1.2: its code values and ours, times, and the texts that are written and recognised again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf import json_format

from infoexchange.catalogue import AlertCategory, AlertResponse, Certainty, OpStatus, Severity, Urgency
from infoexchange.markup import Element

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
# Parameters of ours, with what CAP has no element for; the rest of the name is the type of the message.
OURS = "infoexchange:"
# CAP forbids these in identifier and sender, because a reference puts both beside one another.
_NOT_IN_IDS = re.compile(r"[\s,<&]")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[+-][0-9]{2}:[0-9]{2}|Z)")
_EMAIL = re.compile(r"[^\s@,;<>()]+@[^\s@,;<>()]+\.[A-Za-z]{2,}")
_PHONE = re.compile(r"\+[1-9](?:[ .-]?[0-9]){6,14}")
_CONTACT_MAX = 2000  # many times what our own contact takes
LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")


def _words(enum: Any, names: str) -> dict[str, int]:
    """Return the numbers of an enum by CAP's words for them, in the order of the enum."""
    return dict(zip(names.split(), [number for number in enum.values() if number], strict=True))


STATUSES: Mapping[str, int] = _words(OpStatus, "Actual Exercise Test System")
CATEGORIES: Mapping[str, int] = _words(
    AlertCategory, "Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other"
)
RESPONSES: Mapping[str, int] = _words(
    AlertResponse, "Shelter Evacuate Prepare Execute Avoid Monitor Assess AllClear None"
)
URGENCIES: Mapping[str, int] = _words(Urgency, "Immediate Expected Future Past Unknown")
SEVERITIES: Mapping[str, int] = _words(Severity, "Extreme Severe Moderate Minor Unknown")
CERTAINTIES: Mapping[str, int] = _words(Certainty, "Observed Likely Possible Unlikely Unknown")


def word_of(table: Mapping[str, int], number: int) -> str:
    """Return CAP's word for a number of ours, nothing where it has none."""
    return next((word for word, found in table.items() if found == number), "")


def is_id(text: str) -> bool:
    """Tell whether a text can be an identifier or a sender in CAP."""
    return bool(text) and not _NOT_IN_IDS.search(text)


def time_text(stamp: Any) -> str:
    """Return a time as CAP writes it; UTC is `-00:00` there, and never Z."""
    return f"{stamp.ToDatetime().isoformat(timespec='seconds')[:19]}-00:00"


def set_time(field: Any, element: Element) -> None:
    """Set a time from an element.

    Raises:
        MalformedError: `BAD_FIELD` with the line where it is none.
    """
    found = element.words
    try:
        if not _TIME.fullmatch(found):
            raise ValueError
        field.FromDatetime(datetime.fromisoformat(found).astimezone(UTC))
    except (ValueError, OverflowError):
        raise element.refused("a time such as 2026-01-31T08:00:00-00:00 is needed") from None


# Contact


def contact_text(contact: Any) -> str:
    """Return a contact as one text."""
    return "; ".join(part for part in (contact.office, contact.phone, contact.email, contact.hours) if part)


def set_contact(contact: Any, name: str, text: str) -> bool:
    """Set an office with the first number and address that a text holds; False where it holds neither."""
    # Where an address could begin anywhere, a long text would be looked through once from each of its letters.
    text = text[:_CONTACT_MAX]
    phone, email = _PHONE.search(text), _EMAIL.search(text)
    if phone is None and email is None:
        return False
    contact.office = (name or text)[:300]
    if phone is not None:
        contact.phone = re.sub("[ .-]", "", phone[0])
    if email is not None and len(email[0]) <= 254:
        contact.email = email[0]
    return True


# Measures: a list in a text


def measures_text(measures: Any) -> str:
    """Return measures as an instruction, each on a line of its own."""
    return "\n".join(f"- {measure}" for measure in measures)


def measures_of(text: str) -> list[str]:
    """Return the measures of an instruction: its lines."""
    return [line.removeprefix("- ").strip() for line in text.split("\n") if line.removeprefix("- ").strip()]


# Our own parameter


def rest_text(rest: Any) -> str:
    """Return what CAP has no element for, as JSON."""
    return str(json_format.MessageToJson(rest, preserving_proto_field_name=True, indent=None))


def rest_of(message_type: Any, element: Element, names: frozenset[str]) -> Any:
    """Return what our own parameter says, of the fields it may name.

    Raises:
        MalformedError: `BAD_FIELD` with the line where it is damaged.
    """
    rest = message_type()
    try:
        json_format.Parse(element.text, rest)
    except (json_format.ParseError, RecursionError, UnicodeError, ValueError):
        raise element.refused("our own parameter is damaged") from None
    if {field.name for field, _ in rest.ListFields()} - names:
        raise element.refused("our own parameter says what it never holds")
    return rest
