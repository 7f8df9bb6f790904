"""Words of camt.056 and camt.029: names, numbers, amounts and days, and our own elements in the supplementary data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from google.protobuf import json_format

from infoexchange.catalogue import DateKind, Handling, Money, OpStatus, PartialDate, labels
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.markup import Element

# Our elements, in a namespace of our own: what they hold is not for the systems of banks.
OURS = "urn:infoexchange:camt:1"
_PLACE = "infoexchange"
# Convention of ISO 20022 for what an element demands and nobody knows.
NOT_PROVIDED = "NOTPROVIDED"
ID_MAX, LINE_MAX = 35, 105  # Max35Text, Max105Text
_DIGITS_MAX, _FRACTION_MAX = 18, 5  # ActiveOrHistoricCurrencyAndAmount
_NO_REQUEST = ". This is no request to act."
_AMOUNT = re.compile(r"\+?([0-9]*)(?:\.([0-9]*))?")
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?")


class Kind(NamedTuple):
    """One kind of document: its name, its body, and the versions that are read; the first is written."""

    name: str
    body: str
    versions: tuple[str, ...]


_TECHNICAL = "urn:iso:std:iso:20022:tech:xsd:"
# In these versions every element that is read here stands in the same place.
KINDS: Mapping[str, Kind] = {
    f"{_TECHNICAL}camt.056.001": Kind("camt.056", "FIToFIPmtCxlReq", ("08", "09", "10", "11")),
    f"{_TECHNICAL}camt.029.001": Kind("camt.029", "RsltnOfInvstgtn", ("09", "10", "11", "12", "13")),
}


def document(name: str) -> tuple[Element, Element]:
    """Return a new document of a kind, and its body."""
    (namespace, kind), *_ = ((key, kind) for key, kind in KINDS.items() if kind.name == name)
    root = Element("Document", f"{namespace}.{kind.versions[0]}")
    return root, root.add(kind.body)


def add_assignment(body: Element, number: str, banks: tuple[Any, Any], now: datetime) -> None:
    """Add who asks whom: two accounts, of which only the bank is named."""
    assignment = body.add("Assgnmt")
    assignment.add("Id", number)
    for name, bank in zip(("Assgnr", "Assgne"), banks, strict=True):
        add_bank(assignment.add(name).add("Agt"), bank)
    assignment.add("CreDtTm", now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))


def add_bank(parent: Element, account: Any) -> None:
    """Add the bank of an account."""
    bank = parent.add("FinInstnId")
    bank.put("BICFI", account.bic)
    if 0 < len(account.institution_code) <= ID_MAX:
        bank.add("ClrSysMmbId").add("MmbId", account.institution_code)
    bank.put("Nm", account.institution_name[:140])
    if not bank.children:
        bank.add("Nm", NOT_PROVIDED)


# Reality


def warning(marks: Handling) -> str:
    """Return the word that must be seen on what is not about the real world, nothing on what is."""
    if marks.op_status == OpStatus.OP_STATUS_ACTUAL:
        return ""
    name = OpStatus.DESCRIPTOR.values_by_number.get(marks.op_status)
    return name.name.removeprefix("OP_STATUS_") if name is not None and marks.op_status else "UNKNOWN"


# As a line, before a number, or before a code.
_WARNED = re.compile(r"(EXERCISE|TEST|SYSTEM)(?:" + re.escape(_NO_REQUEST) + r"|-.*| [A-Z0-9]{0,4})?")


def warned(texts: Iterable[str]) -> list[str]:
    """Return the marks that our warnings in some texts stand for: they hold even where our own elements are gone."""
    found = (_WARNED.fullmatch(text) for text in texts)
    return sorted({f"OP_STATUS:{one[1]}" for one in found if one})


def warning_line(word: str) -> str:
    """Return the line that says so to a person at a bank."""
    return f"{word}{_NO_REQUEST}"


def number_of(reference: str, word: str) -> str:
    """Return the number of a document: our reference where it fits, and the word of warning before it."""
    number = f"{word}-{reference}" if word else reference
    if fits(number):
        return number
    digest = hashlib.sha256(reference.encode()).hexdigest()[:20]
    return f"{word}-{digest}" if word else digest


# Texts


def fits(text: str) -> bool:
    """Tell whether a text can stand as it is where camt has a number."""
    return 0 < len(text) <= ID_MAX and text == " ".join(text.split())


def add_lines(parent: Element, word: str, text: str) -> None:
    """Add a text in lines as camt has them, the warning first."""
    lines = [warning_line(word)] if word else []
    line = ""
    for part in text.split():
        for piece in (part[start : start + LINE_MAX] for start in range(0, len(part), LINE_MAX)):
            if line and len(line) + 1 + len(piece) > LINE_MAX:
                lines.append(line)
                line = piece
            else:
                line = f"{line} {piece}".strip()
    for found in [*lines, line]:
        parent.put("AddtlInf", found)


def text_of(elements: Iterable[Element]) -> str:
    """Return the text of some reasons: every one once, without our line of warning."""
    texts = []
    for element in elements:
        lines = [found.words for found in element.all("AddtlInf")]
        if lines and lines[0].endswith(_NO_REQUEST):
            del lines[0]
        texts.append(" ".join(lines))
    return " ".join(dict.fromkeys(filter(None, texts)))


# Amounts and days


def add_amount(parent: Element, name: str, money: Any, field: str) -> None:
    """Add an amount with its currency, to the last stated digit.

    Raises:
        RefusedError: `RULE_BROKEN` where camt has no room for its digits, or for less than nothing.
    """
    amount, scale = money.amount, money.amount.scale
    if amount.unscaled < 0 or not 0 <= scale <= _FRACTION_MAX or len(str(amount.unscaled)) > _DIGITS_MAX:
        detail = f"camt holds {_DIGITS_MAX} digits, {_FRACTION_MAX} of them behind the point, and none below zero"
        raise error(Reason.RULE_BROKEN, field=field, detail=detail)
    digits = str(amount.unscaled).rjust(scale + 1, "0")
    text = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    parent.add(name, text, {"Ccy": money.currency})


def set_amount(field: Money, element: Element | None) -> bool:
    """Set an amount from an element, to the last stated digit; False where there is none.

    Raises:
        MalformedError: `BAD_FIELD` with the line where it is no amount.
    """
    if element is None:
        return False
    found = _AMOUNT.fullmatch(element.words)
    whole, fraction = (found[1], found[2] or "") if found else ("", "")
    currency = element.attribute("Ccy")
    if not whole + fraction or len(whole + fraction) > _DIGITS_MAX or not re.fullmatch("[A-Z]{3}", currency):
        raise element.refused(f"an amount of at most {_DIGITS_MAX} digits with a currency in Ccy is needed")
    field.amount.unscaled, field.amount.scale = int(whole + fraction), len(fraction)
    field.currency = currency
    return True


def day_text(day: Any) -> str:
    """Return a day as camt writes it; nothing for one that is not known exactly."""
    if day.kind != DateKind.DATE_KIND_EXACT or day.note:
        return ""
    try:
        return date(day.year, day.month, day.day).isoformat()
    except ValueError:
        return ""


def set_day(field: PartialDate, element: Element | None) -> None:
    """Set a day from an element, if it is there.

    Raises:
        MalformedError: `BAD_FIELD` with the line where it is no day.
    """
    if element is None:
        return
    found = _DAY.fullmatch(element.words)
    try:
        day = date(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:
        day = None
    if day is None:
        raise element.refused("a day such as 2026-01-31 is needed")
    field.Clear()
    field.kind = DateKind.DATE_KIND_EXACT
    field.year, field.month, field.day = day.year, day.month, day.day


# Our own elements


def add_ours(parent: Element, name: str) -> Element:
    """Add supplementary data with an element of ours in it, and return that."""
    data = parent.add("SplmtryData")
    data.add("PlcAndNm", _PLACE)
    ours = Element(name, OURS)
    data.add("Envlp").children.append(ours)
    return ours


def find_ours(parent: Element, name: str) -> Element | None:
    """Return our element in the supplementary data, or None; other supplementary data stays unread.

    Raises:
        MalformedError: `BAD_FIELD` where there are several: two readers could choose different marks.
    """
    found = []
    for data in parent.all("SplmtryData"):
        ours = [inside for envelope in data.all("Envlp") for inside in envelope.all(name, OURS)]
        if ours:
            data.skip("PlcAndNm")
        found += ours
    if len(found) > 1:
        raise found[1].refused("the element stands more than once")
    return found[0] if found else None


def add_rest(ours: Element, message: Any, names: Iterable[str]) -> None:
    """Add the fields of a message that camt has no element for, as JSON; only those that are named."""
    rest = type(message)()
    for descriptor, value in message.ListFields():
        if descriptor.name in names:
            if descriptor.is_repeated:
                getattr(rest, descriptor.name).extend(value)
            elif descriptor.message_type:
                getattr(rest, descriptor.name).CopyFrom(value)
            else:
                setattr(rest, descriptor.name, value)
    ours.add("Rest", json_format.MessageToJson(rest, preserving_proto_field_name=True, indent=None))


def set_rest(message: Any, ours: Element | None, names: Iterable[str]) -> None:
    """Set the fields of a message that an element of ours holds; any that is not named is refused.

    Raises:
        MalformedError: `BAD_FIELD` with the line where it is damaged.
    """
    found = ours.one("Rest") if ours is not None else None
    if found is None:
        return
    rest = type(message)()
    try:
        json_format.Parse(found.text, rest)
    except (json_format.ParseError, RecursionError, UnicodeError, ValueError):
        raise found.refused("our own part of the file is damaged") from None
    if {descriptor.name for descriptor, _ in rest.ListFields()} - set(names):
        raise found.refused("our own part of the file says what it never holds")
    message.MergeFrom(rest)


def marks_of(handling: Handling, ours: Element | None, texts: Iterable[str]) -> Handling:
    """Return the marks of a message: the caller's, with those of our part of the file and of warnings in its texts.

    Raises:
        RefusedError: `MARK_LOST` with the line where the caller's are weaker.
    """
    found = [mark.text for mark in ours.all("Mark")] if ours is not None else []
    try:
        return labels.with_labels(handling, [*found, *warned(texts)])
    except ExchangeError as refused:
        where = f"{ours.place}: {refused.field}" if ours is not None else refused.field
        raise error(refused.reason, field=where, detail=refused.detail, next_step=refused.next_step) from None


def warnings_in(number: str, reasons: Iterable[Element]) -> list[str]:
    """Return the texts of a document in which a warning would stand: its number, lines and own reasons."""
    found = [number]
    for reason in reasons:
        found += [line.words for line in reason.all("AddtlInf")]
        found.append(reason.value("Rsn", "Prtry"))
    return found
