"""Reading: a goAML report of transactions as one TransactionSet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from infoexchange import markup
from infoexchange.bridges import Reading
from infoexchange.bridges.goaml import words
from infoexchange.bridges.goaml.parties import Parties
from infoexchange.catalogue import Handling, TransactionRecord, TransactionSet, labels, values
from infoexchange.errors import Reason, error
from infoexchange.markup import Element

_TEXT_MAX, _REASON_MAX = 4000, 8000
# They say who sends the report and how, to the unit it is sent to.
_ADDRESSED = ("rentity_id", "submission_code", "submission_date", "report_date", "schema_version")


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the one TransactionSet of a report, and notes on what was left out.

    Args:
        data: The report, XML in the goAML schema of any unit.
        handling: The marks of the message. What is unset is filled from marks in the report's texts; what is weaker
            is refused.
        now: The time of reading: whether somebody is a minor is said for it.

    Raises:
        MalformedError: As `markup.parse`; `MALFORMED` where it is no report, `BAD_FIELD` with the line where an
            element stands twice that a report has once.
        RefusedError: `TOO_LARGE` beyond the bounds of `markup`; `MARK_LOST` where `handling` is weaker than the marks.
    """
    root = markup.parse(data)
    if root.name != "report":
        raise error(Reason.MALFORMED, field=root.place, detail="this is no goAML report")
    reading = Reading(lambda _: iter(messages))
    messages = list(_Report(root, handling, reading, now).messages())
    return reading


class _Report:
    """One report being read."""

    def __init__(self, root: Element, handling: Handling, reading: Reading, now: datetime) -> None:
        self.root, self.handling, self.reading = root, handling, reading
        self.message = TransactionSet()
        self.parties = Parties(self.message, reading, now)
        self.parties.currency = self.currency = self.parties.currency_of(root, "currency_code_local")
        self.labels: list[str] = []

    def messages(self) -> Iterator[TransactionSet]:
        """Give the message, unless the report has no transaction."""
        root, message = self.root, self.message
        for name in _ADDRESSED:
            root.value(name)
        self.parties.set_code(message.report_type, "goaml-report-type", root, "report_code")
        message.report_ref, message.unit_ref = root.value("entity_reference")[:200], root.value("fiu_ref_number")[:200]
        message.reason = self.text(root, "reason", _REASON_MAX)
        together = root.one("transactions")
        for element in (*root.all("transaction"), *(together.all("transaction") if together is not None else ())):
            self.transaction(element)
        found = root.one("report_indicators")
        for indicator in found.all("indicator") if found is not None else ():
            if indicator.words:
                values.set_code(message.indicators.add(), "goaml-indicator", indicator.words[:200])
        for place, path in root.unread():
            self.reading.note(place, path[:200], "not carried")
        message.handling.CopyFrom(labels.with_labels(self.handling, self.labels))
        digest = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
        message.set_id = message.report_ref or message.unit_ref or f"goaml-{digest[:24]}"
        count = len(message.transactions)
        message.subject = f"goAML report {message.set_id}: {count} transactions"[:500]
        if count:
            yield message
        else:
            self.reading.note(root.place, "transaction", "the report has no transactions: no message is made")

    def text(self, element: Element, name: str, limit: int) -> str:
        """Return a text without the marks before it, which are taken; where we write none, it stays whole."""
        found = element.one(name)
        whole = found.text.strip() if found is not None else ""
        marks, text = words.parted(whole)
        self.labels += marks
        text = whole if name == "transaction_description" else text
        if len(text) > limit:
            self.reading.note(element.place, name, f"longer than {limit} characters: cut")
        return text[:limit]

    def transaction(self, element: Element) -> None:
        """Add one transaction."""
        record = self.message.transactions.add(local_id=f"transaction-{len(self.message.transactions) + 1}")
        record.number = element.value("transactionnumber")[:200]
        record.location = element.value("transaction_location")[:300]
        record.description = self.text(element, "transaction_description", _TEXT_MAX)
        record.comments = self.text(element, "comments", _TEXT_MAX)
        self.set_time(record, element)
        late = element.value("late_deposit")
        if late in {"true", "1", "false", "0"}:
            record.is_late_deposit = late in {"true", "1"}
        self.parties.set_code(record.mode, "goaml-transmode", element, "transmode_code")
        amount = values.decimal(element.value("amount_local"))
        if amount is not None:
            record.amount_local.amount.CopyFrom(amount)
            record.amount_local.currency = self.currency
        else:
            self.reading.note(element.place, "amount_local", "not a number")
        self.sides(record, element)

    def set_time(self, record: TransactionRecord, element: Element) -> None:
        """Set when it was made, as finely as the report says."""
        text = element.value("date_transaction")
        when = words.instant(text)
        if when is None:
            self.reading.note(element.place, "date_transaction", "not a time")
            return
        record.executed_at.CopyFrom(when)
        if when.stated_as and not when.HasField("local_offset_minutes"):
            detail = "local time of an unknown zone: only the day is kept, and the words"
            self.reading.note(element.place, "date_transaction", detail)

    def sides(self, record: Any, element: Element) -> None:
        """Set both sides, or who took part."""
        found = {}
        for side in ("from", "to"):
            one = element.one(f"t_{side}_my_client") or element.one(f"t_{side}")
            reference = self.side(record, one, side) if one is not None else ""
            if reference:
                found[side] = reference
        involved = element.one("involved_parties")
        for one in involved.all("party") if involved is not None else ():
            self.party(record, one)
        if len(found) == 2 and not record.parties:
            record.from_ref, record.to_ref = found["from"], found["to"]
            return
        for side, reference in found.items():
            party = record.parties.add(party_ref=reference, country=getattr(record, f"{side}_country"))
            if record.HasField(f"{side}_funds"):
                party.funds.CopyFrom(getattr(record, f"{side}_funds"))
            for name in (f"{side}_funds", f"{side}_country"):
                record.ClearField(name)
            self.reading.note(element.place, f"t_{side}", "only one side is said: it took part")

    def side(self, record: Any, element: Element, side: str) -> str:
        """Set one side and return the local id of who or what stands there."""
        self.parties.set_code(getattr(record, f"{side}_funds"), "goaml-funds", element, f"{side}_funds_code")
        if not getattr(record, f"{side}_funds").value:
            record.ClearField(f"{side}_funds")
        setattr(record, f"{side}_country", self.parties.country(element, f"{side}_country"))
        self.foreign(record, element, f"{side}_foreign_currency")
        conductor = element.one("t_conductor")
        if conductor is not None:
            self.parties.tie(self.parties.person(conductor), words.CONDUCTS, record.local_id)
        return self.parties.of(element, f"{side}_account", f"{side}_person", f"{side}_entity")

    def party(self, record: Any, element: Element) -> None:
        """Add somebody or something that took part."""
        reference = self.parties.of(element, "account", "person", "entity")
        if not reference:
            self.reading.note(element.place, "party", "nobody is named: left out")
            return
        party = record.parties.add(party_ref=reference, country=self.parties.country(element, "country"))
        for field, system, name in (("role", "goaml-party-role", "role"), ("funds", "goaml-funds", "funds_code")):
            if words.known(element.value(name)):
                self.parties.set_code(getattr(party, field), system, element, name)
        self.foreign(record, element, "foreign_currency")

    def foreign(self, record: Any, element: Element, name: str) -> None:
        """Set the amount in the currency it was made in; a second one is noted."""
        found = element.one(name)
        if found is None:
            return
        amount, rate = (
            values.decimal(found.value("foreign_amount")),
            values.decimal(found.value("foreign_exchange_rate")),
        )
        made = type(record.foreign)()
        made.money.currency = self.parties.currency_of(found, "foreign_currency_code")
        if amount is None or not made.money.currency:
            self.reading.note(found.place, name, "not an amount with its currency")
            return
        made.money.amount.CopyFrom(amount)
        if rate is not None:
            made.exchange_rate.CopyFrom(rate)
        if record.HasField("foreign") and record.foreign != made:
            self.reading.note(found.place, name, "the other side has another amount: left out")
            return
        record.foreign.CopyFrom(made)
