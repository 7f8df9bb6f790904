"""HTCDS 2.0: a table of trafficking cases, one row per case, as VictimReferral and back.

A victim travels by pseudonym (decision 0021), so columns that say who somebody is are never read: they are refused by
name, before any form is asked, and a note says so without their values. What HTCDS has no column for stands in columns
of our own, named `x_`. How small a group of people a table may show (k-anonymity) is for whoever publishes it to judge.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from infoexchange.bridges import Reading
from infoexchange.catalogue import Handling, VictimReferral, forms, labels, sheets
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the table.",
    "Both ways: of organisations only name, kind and country.",
    "Written: nothing at all without the victim's consent, or after it was withdrawn.",
    "Written: values and fields of a newer version of the message type; empty records.",
    "Written: sex X, exploitation FORCED_CRIMINALITY and codes of other lists in our words, which HTCDS does not have.",
    "Read: who the victim, the people around and those who work on the case are: names, birth dates, addresses.",
    "Read: gender other than feminine, masculine and unknown; the age at the time; exact places; the plan of services.",
    "Read: number of the referral and pseudonym, where the table does not have our columns for them: HTCDS has none.",
)

_FORM = "htcds"
# Any of them tells such a table from others.
_NEEDED = ("vic_traffickingstatus", "con_consent")
# Of these columns no value is ever looked at, whatever a form says.
IDENTITY = frozenset(
    f"prs_{name}"
    for name in (
        "salutation", "firstname", "middlename", "secondname", "birthdate", "identitynumber", "title", "email",
        "homephone", "mobilephone", "mailingcity", "mailingcountry", "mailingstate", "mailingstreet",
        "mailingpostalcode", "mailinglongitude", "mailinglatitude",
    )
) | {"cas_caseowner", "cas_referringprimarycaseworker", "cas_referredprimarycaseworker"}  # fmt: skip
_FREE_TEXT = frozenset({"cas_outgoingreferraldetails", "cas_incomingreferraldetails", "hte_description"})
_PLACE = ("hte_city", "hte_state", "hte_country")
_STAGES = "x_Stages"
_COUNTRY = re.compile(r"[A-Za-z]{2}")


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the referrals of a table, read row by row, and what was not read.

    Args:
        data: CSV in UTF-8 with a line of HTCDS field names.
        handling: The marks of every referral; what a row is marked with beyond them is added or must be covered.
        now: Not used; every bridge takes it.

    Raises:
        MalformedError: `MALFORMED` with the line, at once for the head and while iterating for a broken row,
            `TOO_LARGE` beyond 64 MiB.
        RefusedError: `MARK_LOST` with the line, while iterating, where a row is marked stricter than `handling`.
    """
    sheet = sheets.read_sheet(data)
    form, names = forms.load(_FORM), [name.lower() for name in sheet.names]
    if not any(name in names for name in _NEEDED):
        detail = "no column is vic_TraffickingStatus or con_Consent"
        raise error(Reason.MALFORMED, field="line 1", detail=detail, next_step="Name the columns as HTCDS 2.0 does.")
    reading = Reading(lambda current: _referrals(sheet, handling, now, current))
    for name, lower in zip(sheet.names, names, strict=True):
        if lower in IDENTITY:
            reading.note("line 1", name, f"refused, never read: {form.never[lower]}")
        elif lower in _FREE_TEXT:
            reading.note("line 1", name, "free text: make sure that it names nobody")
        elif lower in _PLACE:
            continue
        elif not form.known(name) and lower not in {labels.COLUMN, "tlp", "pap"}:
            why = form.never.get(lower)
            reading.note("line 1", name[:100], f"never read: {why}" if why else "column not read")
    for column in ("x_ReferralId", "x_Pseudonym"):
        if column.lower() not in names:
            reading.note("line 1", column, "no such column: HTCDS has no field for it, add it to each referral")
    return reading


def _referrals(sheet: sheets.Sheet, handling: Handling, now: datetime, reading: Reading) -> Iterator[Message]:
    """Give one referral per row."""
    form = forms.load(_FORM)
    for row in sheet.rows:
        if isinstance(row, str):
            reading.note(row, "row", f"not {len(sheet.names)} cells as the first line has: row left out")
            continue
        note = functools.partial(reading.note, row.place)
        cells = {name: text for name, text in row.cells.items() if name not in IDENTITY}
        cells["hte_city"] = ", ".join(filter(None, (cells.get(name, "") for name in _PLACE)))
        cells["prs_citizenship"] = _citizenships(cells.get("prs_citizenship", ""), note)
        message: Any = form.read(cells, note, now=now)
        _finish(message)
        if not _has_consent(message):
            note("con_Consent", "no consent: the referral must not be shared before the victim agrees")
        try:
            message.handling.CopyFrom(labels.with_cells(handling, row.cells))
        except ExchangeError as refused:
            raise forms.refused_at(row.place, refused) from None
        yield message


def _citizenships(text: str, note: forms.TakeNote) -> str:
    """Return the countries of a cell in capital letters, without what is no code of two letters."""
    found = [part.strip() for part in re.split(r"[;,|]", text) if part.strip()]
    known = [part.upper() for part in found if _COUNTRY.fullmatch(part)]
    if len(known) != len(found):
        note("prs_Citizenship", "not a code of two letters (ISO 3166-1): left out")
    return ";".join(known)


def _finish(message: Any) -> None:
    """Name the records of a message that the table gives no name."""
    for name, local_id in (("referring_org", "org-1"), ("referred_org", "org-2")):
        if message.HasField(name) and not getattr(message, name).local_id:
            getattr(message, name).local_id = local_id
    for index, stage in enumerate(message.stages):
        stage.local_id = stage.local_id or f"stage-{index + 1}"


def _has_consent(message: Any) -> bool:
    return bool(message.consent.given and not message.consent.HasField("withdrawn_at"))


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return a table of referrals, with their marks in a column of their own.

    Args:
        messages: Referrals of victims who agreed to it.
        now: Not used, except by the check that what was written can be read; every bridge takes it.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot stand in a cell, `RULE_BROKEN` for another type of message or a
            victim who did not agree, `TOO_LARGE` where a cell is longer than a reader takes.
    """
    form = forms.load(_FORM)
    rows = []
    for message in messages:
        if not isinstance(message, VictimReferral):
            detail = "the table holds referrals of victims only"
            raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step="Choose another format.")
        if not _has_consent(message):
            detail = "the victim did not agree, or does not any more"
            step = "Ask the victim first; without consent nothing leaves the exchange."
            raise error(Reason.RULE_BROKEN, field="consent.given", detail=detail, next_step=step)
        marks = labels.to_cell(message.handling, allow_red=allow_red)
        rows.append(_plain(form, message, now) | {labels.COLUMN: marks})
    columns = [column.name for column in form.columns]
    return sheets.write_sheet((*columns, labels.COLUMN), rows)


def _plain(form: forms.Form, message: Any, now: datetime) -> dict[str, str]:
    """Return the cells of a referral; stages as JSON only where the columns of HTCDS do not say them all."""
    row = form.write(message)
    shown = {name.lower(): text for name, text in row.items() if name != _STAGES}
    again: Any = form.read(shown, lambda _name, _why: None, now=now)
    _finish(again)
    return row | {_STAGES: ""} if list(again.stages) == list(message.stages) else row
