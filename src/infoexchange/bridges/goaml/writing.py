"""Writing: the transactions of a TransactionSet or FiuResponse as a goAML report."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from infoexchange import markup
from infoexchange.bridges.goaml import words
from infoexchange.bridges.goaml.described import Described
from infoexchange.catalogue import FiuResponse, TransactionSet, labels, values
from infoexchange.errors import Reason, error
from infoexchange.markup import Element

_TYPES = (TransactionSet, FiuResponse)


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return a report with the transactions of one message.

    Args:
        messages: One TransactionSet or FiuResponse that keeps the rules of the catalogue.
        now: The date of the report.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot stand in a text; `RULE_BROKEN` for anything else than one such
            message, for one without transactions, for local amounts in several currencies, and for a text that XML
            cannot hold; `TOO_LARGE` where naming the parties of every transaction makes it too large.
    """
    found = list(messages)
    if len(found) != 1 or not isinstance(found[0], _TYPES):
        step = "Export TransactionSet and FiuResponse one by one, each to a file of its own."
        detail = "a report is made of exactly one TransactionSet or FiuResponse"
        raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step=step)
    message = found[0]
    texts = labels.to_labels(message.handling, allow_red=allow_red)
    if any(set("[]|\n\r\t") & set(text) or text != " ".join(text.split()) for text in texts):
        detail = "the text of a restriction cannot stand in a text of the report"
        raise error(Reason.MARK_LOST, field="handling.restrictions", detail=detail)
    return markup.write(_report(message, texts, now))


def _report(message: Any, texts: list[str], now: datetime) -> Element:
    """Return the report."""
    is_set = isinstance(message, TransactionSet)
    currencies = {record.amount_local.currency for record in message.transactions}
    if len(currencies) != 1:
        detail = "a report has transactions, and their local amounts in one currency"
        raise error(Reason.RULE_BROKEN, field="transactions", detail=detail)
    root = Element("report")
    root.add("submission_code", "E")
    root.put("report_code", message.report_type.value if is_set else "")
    root.put("entity_reference", (message.report_ref or message.set_id) if is_set else message.request_ref.hex())
    root.put("fiu_ref_number", message.unit_ref if is_set else "")
    root.add("report_date", f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S}")
    root.add("currency_code_local", currencies.pop())
    root.add("reason", words.marked(texts, message.reason if is_set else message.subject))
    described = Described(message)
    for index, record in enumerate(message.transactions):
        _transaction(root, record, described, texts, f"transactions[{index}]")
    if is_set and message.indicators:
        indicators = root.add("report_indicators")
        for code in message.indicators:
            indicators.add("indicator", code.value)
    return root


def _transaction(root: Element, record: Any, described: Described, texts: list[str], path: str) -> None:
    """Add one transaction, its elements in the order of the schema."""
    if not record.executed_at.HasField("utc"):
        raise error(Reason.RULE_BROKEN, field=f"{path}.executed_at", detail="a transaction says when it was made")
    made = root.add("transaction")
    made.add("transactionnumber", record.number)
    made.add("transaction_location", record.location)
    made.add("transaction_description", record.description)
    made.add("date_transaction", words.instant_text(record.executed_at))
    if record.HasField("is_late_deposit"):
        made.add("late_deposit", "true" if record.is_late_deposit else "false")
    made.add("transmode_code", record.mode.value or words.UNKNOWN)
    made.add("amount_local", values.number_text(record.amount_local.amount))
    if record.parties:
        involved = made.add("involved_parties")
        for index, party in enumerate(record.parties):
            one = involved.add("party")
            one.add("role", party.role.value or words.UNKNOWN)
            described.add(one, "", party.party_ref, f"{path}.parties[{index}].party_ref")
            one.put("funds_code", party.funds.value)
            if not index:
                _foreign(one, "foreign_currency", record)
            one.add("country", party.country or words.UNKNOWN)
    else:
        _side(made, record, described, "from", path)
        _side(made, record, described, "to", path)
    made.add("comments", words.marked(texts, record.comments))


def _side(parent: Element, record: Any, described: Described, side: str, path: str) -> None:
    """Add one side of a transaction."""
    made = parent.add(f"t_{side}")
    made.add(f"{side}_funds_code", getattr(record, f"{side}_funds").value or words.UNKNOWN)
    if side == "from":
        # Our record has one amount for both sides.
        _foreign(made, "from_foreign_currency", record)
        for conductor in described.tied(words.CONDUCTS, record.local_id)[:1]:
            described.person(made, "t_conductor", conductor)
    described.add(made, f"{side}_", getattr(record, f"{side}_ref"), f"{path}.{side}_ref")
    made.add(f"{side}_country", getattr(record, f"{side}_country") or words.UNKNOWN)


def _foreign(parent: Element, name: str, record: Any) -> None:
    """Add the amount in the currency it was made in."""
    if record.HasField("foreign"):
        made = parent.add(name)
        made.add("foreign_currency_code", record.foreign.money.currency)
        made.add("foreign_amount", values.number_text(record.foreign.money.amount))
        if record.foreign.HasField("exchange_rate"):
            made.add("foreign_exchange_rate", values.number_text(record.foreign.exchange_rate))
