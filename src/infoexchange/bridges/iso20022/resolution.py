"""Resolution: camt.029, what became of a request to cancel payments, and StopPaymentStatus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from infoexchange import markup
from infoexchange.bridges import Reading
from infoexchange.bridges.iso20022 import words
from infoexchange.catalogue import FinancialAccount, Handling, RefusalCode, StopPaymentState, StopPaymentStatus
from infoexchange.markup import Element

State = StopPaymentState

# What banks say of a request as a whole, by what became of the payment: cancelled, refused, or not decided.
CONFIRMATIONS: Mapping[int, str] = {
    State.STOP_PAYMENT_STATE_RECEIVED: "PDCR",
    State.STOP_PAYMENT_STATE_SENT_TO_BANK: "PDCR",
    State.STOP_PAYMENT_STATE_FUNDS_ON_HOLD: "PDCR",
    State.STOP_PAYMENT_STATE_PARTLY_ON_HOLD: "PDCR",
    State.STOP_PAYMENT_STATE_MOVED_ON: "RJCR",
    State.STOP_PAYMENT_STATE_WITHDRAWN: "RJCR",
    State.STOP_PAYMENT_STATE_CRYPTO_CONVERTED: "RJCR",
    State.STOP_PAYMENT_STATE_REJECTED: "RJCR",
    State.STOP_PAYMENT_STATE_RETURNED: "CNCL",
}
# And of one payment.
STATUSES: Mapping[str, str] = {"PDCR": "PDCR", "RJCR": "RJCR", "CNCL": "ACCR"}
# What a bank's own word means here, where no word of ours stands beside it.
STATES: Mapping[str, int] = {
    "PDCR": State.STOP_PAYMENT_STATE_SENT_TO_BANK,
    "RJCR": State.STOP_PAYMENT_STATE_REJECTED,
    "CNCL": State.STOP_PAYMENT_STATE_RETURNED,
    "ACCR": State.STOP_PAYMENT_STATE_RETURNED,
}
REST = frozenset(
    {
        "subject", "request_ref", "state", "transfer_ids", "as_of", "amount_held", "held_until", "amount_returned",
        "refusal", "bank_ref",
    }
)  # fmt: skip
_NO_STATE = "none of the words for cancelled, refused and pending: set the state before sending"


def write(status: Any, request: Any, marks: list[str], now: datetime) -> bytes:
    """Return an answer as camt.029.

    Args:
        status: The answer.
        request: What it answers, by whose numbers a bank finds the payments; or None.
        marks: Labels of the marks.
        now: The time of the document.

    Raises:
        RefusedError: `RULE_BROKEN` where camt has no room for an amount.
    """
    word = words.warning(status.handling)
    confirmation = CONFIRMATIONS.get(status.state, "PDCR")
    accounts = {account.local_id: account for account in request.accounts} if request is not None else {}
    none = FinancialAccount()
    transfers = _transfers(status, request)
    # The answer goes the other way round: from the bank that was asked.
    ends = [accounts.get(getattr(transfers[0], name), none) for name in ("to_ref", "from_ref")] if transfers else []
    root, body = words.document("camt.029")
    number = request.incident_ref if request is not None else status.bank_ref
    banks = (ends[0], ends[1]) if ends else (none, none)
    words.add_assignment(body, words.number_of(number, word), banks, now)
    body.add("Sts").add("Conf", confirmation)
    details = body.add("CxlDtls")
    for index, transfer in enumerate(transfers or [None]):
        answer = details.add("TxInfAndSts")
        if words.fits(status.bank_ref):
            answer.add("CxlStsId", status.bank_ref)
        _add_answer(answer, status, transfer, confirmation, index)
    ours = words.add_ours(body, "Status")
    for mark in marks:
        ours.add("Mark", mark)
    carried = {"bank_ref"} if words.fits(status.bank_ref) else set()
    words.add_rest(ours, status, REST - carried)
    return markup.write(root)


def _transfers(status: Any, request: Any) -> list[Any]:
    """Return the transfers of the request that an answer is about: those it names, or all."""
    if request is None:
        return []
    return [found for found in request.transfers if not status.transfer_ids or found.local_id in status.transfer_ids]


def _add_answer(answer: Element, status: Any, transfer: Any, confirmation: str, index: int) -> None:
    """Add what became of one payment, in the order of the schema."""
    word = words.warning(status.handling)
    if transfer is not None:
        for name, text in (
            ("OrgnlEndToEndId", transfer.end_to_end_id),
            ("OrgnlTxId", transfer.transaction_id),
            ("OrgnlUETR", transfer.uetr),
        ):
            answer.put(name, text if name == "OrgnlUETR" or words.fits(text) else "")
    answer.add("TxCxlSts", STATUSES[confirmation])
    reason = answer.add("CxlStsRsnInf")
    if word:
        reason.add("Rsn").add("Prtry", word)
    words.add_lines(reason, word, status.note)
    if not reason.children:
        answer.children.remove(reason)
    if status.HasField("amount_returned") and index == 0:
        returned = answer.add("RsltnRltdInf")
        words.add_amount(returned, "IntrBkSttlmAmt", status.amount_returned, "amount_returned")
    if transfer is not None and transfer.HasField("amount"):
        words.add_amount(answer, "OrgnlIntrBkSttlmAmt", transfer.amount, f"transfers[{index}].amount")
        answer.put("OrgnlIntrBkSttlmDt", words.day_text(transfer.settled_on))


def read(body: Element, handling: Handling, reading: Reading) -> StopPaymentStatus:
    """Return the answer that a camt.029 gives.

    Raises:
        MalformedError: `BAD_FIELD` with the line of an element that cannot be read.
        RefusedError: `MARK_LOST` where `handling` is weaker than the marks of the file.
    """
    ours = words.find_ours(body, "Status")
    assignment = body.one("Assgnmt")
    number = assignment.value("Id") if assignment is not None else ""
    answers = [found for part in body.all("CxlDtls") for found in part.all("TxInfAndSts")]
    reasons = [reason for answer in answers for reason in answer.all("CxlStsRsnInf")]
    marks = words.marks_of(handling, ours, words.warnings_in(number, reasons))
    status = StopPaymentStatus(handling=marks)
    words.set_rest(status, ours, REST)
    said = body.value("Sts", "Conf")
    for answer in answers:
        status.bank_ref = status.bank_ref or answer.value("CxlStsId")
        _read_amount(status, answer, reading)
        single = answer.value("TxCxlSts")
        said = said or single
        if single and STATES.get(single) != STATES.get(said):
            reading.note(answer.place, "TxCxlSts", "another state than that of the whole: left out")
    status.note = words.text_of(reasons)
    if ours is not None:
        body.skip("Assgnmt")
        for answer in answers:
            answer.skip("OrgnlEndToEndId", "OrgnlTxId", "OrgnlUETR", "OrgnlIntrBkSttlmAmt", "OrgnlIntrBkSttlmDt")
        if CONFIRMATIONS.get(status.state) != said:
            reading.note(body.place, "Sts/Conf", "it contradicts the state in our own part, which is taken")
        if status.state == State.STOP_PAYMENT_STATE_MOVED_ON:
            reading.note(body.place, "moved_to_refs", "camt.029 does not say where: add it before sending")
    else:
        _read_foreign(status, number, said, body, reading)
        _read_payments(status, answers, reasons)
    if not status.request_ref:
        reading.note(body.place, "request_ref", "no bank knows which message was answered: add it before sending")
    return status


def _read_amount(status: Any, answer: Element, reading: Reading) -> None:
    """Set how much was sent back; amounts of several payments are not added up."""
    found = answer.walk("RsltnRltdInf", "IntrBkSttlmAmt")
    if found is None:
        return
    stated = type(status.amount_returned)()
    words.set_amount(stated, found)
    stated_before = status.HasField("amount_returned")
    if stated_before and (stated.amount, stated.currency) != (
        status.amount_returned.amount,
        status.amount_returned.currency,
    ):
        reading.note(answer.place, "RsltnRltdInf", "another amount was sent back: left out")
    elif not stated_before:
        status.amount_returned.CopyFrom(stated)


def _read_foreign(status: Any, number: str, said: str, body: Element, reading: Reading) -> None:
    """Set what an answer of a bank says in words of its own."""
    status.subject = f"Answer to a recall of payments, camt.029 {number}".strip()
    state = STATES.get(said)
    if state is None:
        reading.note(body.place, "Sts/Conf", _NO_STATE)
    else:
        status.state = state
    if state == State.STOP_PAYMENT_STATE_RETURNED:
        reading.note(body.place, "Sts/Conf", "cancelled: whether the money has arrived is for a person to see")
    made = body.walk("Assgnmt", "CreDtTm")
    if made is not None:
        try:
            status.as_of.FromJsonString(made.words)
        except (ValueError, OverflowError):
            status.ClearField("as_of")
            reading.note(made.place, "CreDtTm", "no time with its zone: add as_of before sending")


def _read_payments(status: Any, answers: list[Element], reasons: list[Element]) -> None:
    """Say in words what payments an answer is about, and why it refuses."""
    numbers = [
        f"{label} {answer.value(name)}"
        for answer in answers
        for label, name in (("UETR", "OrgnlUETR"), ("end-to-end", "OrgnlEndToEndId"), ("transaction", "OrgnlTxId"))
        if answer.value(name)
    ]
    codes = dict.fromkeys(filter(None, (r.value("Rsn", "Cd") or r.value("Rsn", "Prtry") for r in reasons)))
    parts = [f"About {', '.join(numbers)}." if numbers else "", f"Reasons: {', '.join(codes)}." if codes else ""]
    if status.state == State.STOP_PAYMENT_STATE_REJECTED:
        text = " ".join(part for part in (parts[1], status.note) if part)
        status.refusal.code, status.refusal.text = RefusalCode.REFUSAL_CODE_OTHER, text or "no reason given"
    status.note = " ".join(part for part in (*parts, status.note) if part)
