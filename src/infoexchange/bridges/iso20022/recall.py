"""Recall: camt.056, the request to cancel payments, and StopPaymentRequest."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from infoexchange import markup
from infoexchange.bridges import Reading
from infoexchange.bridges.iso20022 import words
from infoexchange.bridges.iso20022.accounts import Accounts, add_ends
from infoexchange.catalogue import (
    BankRecall,
    Code,
    FinancialAccount,
    Handling,
    StopPaymentAction,
    StopPaymentRequest,
    codes,
)
from infoexchange.errors import Reason, error
from infoexchange.markup import Element

_LIST = "iso20022-cancellation-reason"
_CODE_MAX = 4
_TRANSFERS_MAX = 200  # as many as a StopPaymentRequest holds
# What stands in our own elements, of the request and of one transfer.
REST = frozenset(
    {
        "subject", "incident_ref", "scheme", "scheme_text", "victim_kind", "victim_pseudonym", "reported_at",
        "requested", "bank_recall", "bank_recall_ref", "cancellation_reason", "police_report_no", "is_mla_intended",
        "respond_by", "contact",
    }
)  # fmt: skip
TRANSFER_REST = frozenset({"local_id", "end_to_end_id", "transaction_id", "message_id", "executed_at", "settled_on",
                           "intermediary_bics"})  # fmt: skip
# What a police officer knows and a bank's file does not.
_ASKED = ("scheme", "victim_kind", "reported_at", "contact", "facts")


def write(request: Any, marks: list[str], now: datetime) -> bytes:
    """Return a request as camt.056.

    Raises:
        RefusedError: `RULE_BROKEN` without transfers between banks, or where camt has no room for an amount.
    """
    if not request.transfers:
        step = "Send the request itself; a chain of blocks knows no recall."
        detail = "there is no transfer between banks to call back"
        raise error(Reason.RULE_BROKEN, field="transfers", detail=detail, next_step=step)
    word = words.warning(request.handling)
    accounts = {account.local_id: account for account in request.accounts}
    none = FinancialAccount()
    root, body = words.document("camt.056")
    first = request.transfers[0]
    banks = (accounts.get(first.from_ref, none), accounts.get(first.to_ref, none))
    words.add_assignment(body, words.number_of(request.incident_ref, word), banks, now)
    body.add("CtrlData").add("NbOfTxs", str(len(request.transfers)))
    underlying = body.add("Undrlyg")
    for index, transfer in enumerate(request.transfers):
        ends = (accounts.get(transfer.from_ref, none), accounts.get(transfer.to_ref, none))
        _add_transfer(underlying.add("TxInf"), request, index, ends)
    ours = words.add_ours(body, "Request")
    for mark in marks:
        ours.add("Mark", mark)
    reason = request.cancellation_reason
    names = set(REST) - ({"bank_recall_ref"} if words.fits(request.bank_recall_ref) else set())
    if not word and reason == _code(reason.value):
        names.discard("cancellation_reason")
    words.add_rest(ours, request, names)
    return markup.write(root)


def _code(value: str) -> Code:
    return Code(system=_LIST, version=codes.load(_LIST).version, value=value)


def _add_transfer(transaction: Element, request: Any, index: int, ends: tuple[Any, Any]) -> None:
    """Add one transfer: the numbers banks find it by, why it is called back, and both ends."""
    transfer, word = request.transfers[index], words.warning(request.handling)
    _put_id(transaction, "CxlId", request.bank_recall_ref)
    if words.fits(transfer.message_id):
        group = transaction.add("OrgnlGrpInf")
        group.add("OrgnlMsgId", transfer.message_id)
        group.add("OrgnlMsgNmId", words.NOT_PROVIDED)
    _put_id(transaction, "OrgnlEndToEndId", transfer.end_to_end_id)
    _put_id(transaction, "OrgnlTxId", transfer.transaction_id)
    transaction.put("OrgnlUETR", transfer.uetr)
    if transfer.HasField("amount"):
        words.add_amount(transaction, "OrgnlIntrBkSttlmAmt", transfer.amount, f"transfers[{index}].amount")
    transaction.put("OrgnlIntrBkSttlmDt", words.day_text(transfer.settled_on))
    reason = transaction.add("CxlRsnInf")
    code = request.cancellation_reason.value
    if word:
        # A bank's system acts on a code; on words only a person does.
        reason.add("Rsn").add("Prtry", f"{word} {code}".strip()[: words.ID_MAX])
    elif 0 < len(code) <= _CODE_MAX:
        reason.add("Rsn").add("Cd", code)
    words.add_lines(reason, word, request.facts)
    if not reason.children:
        transaction.children.remove(reason)
    ours = Element("Transfer", words.OURS)
    carried = {
        name for name in ("end_to_end_id", "transaction_id", "message_id") if words.fits(getattr(transfer, name))
    }
    carried |= {"settled_on"} if words.day_text(transfer.settled_on) else set()
    words.add_rest(ours, transfer, TRANSFER_REST - carried)
    add_ends(transaction, ours, *ends)
    words.add_ours(transaction, "Transfer").children.extend(ours.children)


def _put_id(parent: Element, name: str, text: str) -> None:
    if words.fits(text):
        parent.add(name, text)


def read(body: Element, handling: Handling, reading: Reading) -> StopPaymentRequest:
    """Return the request that a camt.056 makes.

    Raises:
        MalformedError: `BAD_FIELD` with the line of an element that cannot be read.
        RefusedError: `MARK_LOST` where `handling` is weaker than the marks of the file.
    """
    ours = words.find_ours(body, "Request")
    assignment = body.one("Assgnmt")
    number = assignment.value("Id") if assignment is not None else ""
    transactions = [found for part in body.all("Undrlyg") for found in part.all("TxInf")]
    if len(transactions) > _TRANSFERS_MAX:
        step = "Ask for a file for each part of the payments."
        detail = f"{len(transactions)} payments, and a message holds {_TRANSFERS_MAX}"
        raise error(Reason.TOO_LARGE, field=body.place, detail=detail, next_step=step)
    reasons = [reason for transaction in transactions for reason in transaction.all("CxlRsnInf")]
    marks = words.marks_of(handling, ours, words.warnings_in(number, reasons))
    request = StopPaymentRequest(handling=marks)
    words.set_rest(request, ours, REST)
    if ours is not None:
        body.skip("Assgnmt", "CtrlData")
    else:
        request.incident_ref = number
        request.subject = f"Recall of payments, camt.056 {number}".strip()
        # The file itself is the bank's recall.
        request.bank_recall = BankRecall.BANK_RECALL_SENT
        request.requested.append(StopPaymentAction.STOP_PAYMENT_ACTION_RECALL)
    accounts = Accounts(request, reading)
    for transaction in transactions:
        _read_transfer(request, transaction, accounts, assignment)
        _read_reference(request, transaction, reading)
    _read_reasons(request, reasons, reading)
    if not transactions:
        reading.note(body.place, "TxInf", "no single payment is named: add transfers before sending")
    stated = {field.name for field, _ in request.ListFields()}
    for name in _ASKED:
        if name not in stated:
            reading.note(body.place, name, "the file does not say it: add it before sending")
    return request


def _read_reference(request: Any, transaction: Element, reading: Reading) -> None:
    """Set the bank's reference of its recall, which is the same for all payments or noted."""
    reference = transaction.value("CxlId")
    if request.bank_recall_ref and reference not in {"", request.bank_recall_ref}:
        reading.note(transaction.place, "CxlId", "another reference of the recall: left out")
    request.bank_recall_ref = request.bank_recall_ref or reference


def _read_transfer(request: Any, transaction: Element, accounts: Accounts, assignment: Element | None) -> None:
    """Add the transfer of one transaction."""
    ours = words.find_ours(transaction, "Transfer")
    transfer = request.transfers.add()
    words.set_rest(transfer, ours, TRANSFER_REST)
    transfer.local_id = transfer.local_id or f"transfer-{len(request.transfers)}"
    transfer.uetr = transaction.value("OrgnlUETR")
    group = transaction.one("OrgnlGrpInf")
    stated = {
        "end_to_end_id": transaction.value("OrgnlEndToEndId"),
        "transaction_id": transaction.value("OrgnlTxId"),
        "message_id": group.value("OrgnlMsgId") if group is not None else "",
    }
    for name, text in stated.items():
        setattr(transfer, name, text or getattr(transfer, name))
    if ours is not None and group is not None:
        group.skip("OrgnlMsgNmId")
    if not words.set_amount(transfer.amount, transaction.one("OrgnlIntrBkSttlmAmt")):
        transfer.ClearField("amount")
        accounts.reading.note(transaction.place, "OrgnlIntrBkSttlmAmt", "no amount: add it before sending")
    day = transaction.one("OrgnlIntrBkSttlmDt")
    if day is not None:
        words.set_day(transfer.settled_on, day)
    if not transfer.HasField("executed_at"):
        detail = "the file does not say when it was made: add it before sending"
        accounts.reading.note(transaction.place, "executed_at", detail)
    sides = (("Dbtr", "Assgnr", "From"), ("Cdtr", "Assgne", "To"))
    names = []
    for side, party, part in sides:
        banks = [transaction.one(party), assignment.walk(party, "Agt") if assignment is not None else None]
        own = ours.one(part) if ours is not None else None
        names.append(accounts.read(transaction, side, [bank for bank in banks if bank is not None], own))
    transfer.from_ref, transfer.to_ref = names


def _read_reasons(request: Any, reasons: list[Element], reading: Reading) -> None:
    """Set why the payments are called back, and the facts."""
    known = codes.load(_LIST)
    for reason in reasons:
        word, own = reason.value("Rsn", "Cd"), reason.value("Rsn", "Prtry")
        if own and not words.warned([own]):
            reading.note(reason.place, "Rsn/Prtry", "a bank's own reason: left out")
        if not word:
            continue
        if known.find(word) is None:
            reading.note(reason.place, "Rsn/Cd", f"not in the list {known.name} {known.version}: left out")
        elif not request.HasField("cancellation_reason"):
            request.cancellation_reason.CopyFrom(_code(word))
        elif word != request.cancellation_reason.value:
            reading.note(reason.place, "Rsn/Cd", "another reason: left out")
    request.facts = words.text_of(reasons)
