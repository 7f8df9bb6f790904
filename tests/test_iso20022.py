"""ISO 20022: payments called back and what became of them; exact amounts, marks, and a reader that is not ours."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling
from infoexchange import bridges
from infoexchange.catalogue import (
    FinancialAccount,
    Handling,
    OpStatus,
    StopPaymentState,
    StopPaymentStatus,
    Tlp,
    examples,
    rules,
    text,
)
from infoexchange.errors import MalformedError, Reason, RefusedError
from test_bridges import shared

NOW = datetime(2026, 2, 1, 4, tzinfo=UTC)
CAMT = bridges.find("iso20022")
EXAMPLE = examples.read("camt056.xml")


def request():
    """The example, without what banks know nothing of."""
    message = examples.message("StopPaymentRequest")
    for field in ("crypto_transfers", "wallets"):
        message.ClearField(field)
    return message


def status():
    return examples.message("StopPaymentStatus")


def carried(message):
    """An answer as a camt.029 holds it."""
    kept = StopPaymentStatus()
    kept.CopyFrom(message)
    for field in ("moved_to_refs", "transfers", "accounts"):
        kept.ClearField(field)
    return kept


def read(data, marks=None):
    data = data if isinstance(data, bytes) else data.encode()
    reading = CAMT.read(data, marks or request().handling, now=NOW)
    (message,) = reading
    return message, [(note.field, note.detail.split(":")[0]) for note in reading.notes]


def write(*messages, **options):
    return CAMT.write(messages, now=NOW, **options)


def independent(data, kind="camt_056_001_08"):
    """What pyiso20022 makes of a document; it takes no element it does not know, and none out of its order."""
    pytest.importorskip("xsdata", reason="xsdata is not installed: pip install --group tests")
    pytest.importorskip("pyiso20022", reason="pyiso20022 is not installed: pip install --group tests")
    from xsdata.formats.dataclass.parsers import XmlParser
    from xsdata.formats.dataclass.parsers.config import ParserConfig

    strict = ParserConfig(fail_on_unknown_attributes=True, fail_on_converter_warnings=True)
    document = importlib.import_module(f"pyiso20022.camt.{kind}").Document
    return XmlParser(config=strict).from_bytes(data, document)


def test_the_example_is_what_is_written_and_comes_back():
    assert bridges.detect(EXAMPLE) is CAMT
    assert write(examples.message("StopPaymentRequest")) == EXAMPLE
    message, notes = read(EXAMPLE)
    assert (message, notes) == (request(), [])
    rules.check(message)


def test_others_read_a_request():
    body = independent(EXAMPLE).fito_fipmt_cxl_req
    (transaction,) = body.undrlyg[0].tx_inf
    assert transaction.orgnl_uetr == "00000000-0000-4000-8000-000000000001"
    assert transaction.orgnl_intr_bk_sttlm_amt.value == Decimal("48000.00")
    assert str(transaction.orgnl_intr_bk_sttlm_amt.value) == "48000.00"
    assert transaction.orgnl_tx_ref.dbtr_agt.fin_instn_id.bicfi == "EXMPXX21"
    assert transaction.orgnl_tx_ref.cdtr.pty.nm == "Example Receiver"


def test_an_answer_names_the_payments_of_its_request():
    data = write(request(), status())
    (answer,) = independent(data, "camt_029_001_09").rsltn_of_invstgtn.cxl_dtls[0].tx_inf_and_sts
    assert (answer.orgnl_uetr, answer.tx_cxl_sts.value) == ("00000000-0000-4000-8000-000000000001", "PDCR")
    assert read(data) == (carried(status()), [])
    alone = write(status())
    independent(alone, "camt_029_001_09")
    assert b"OrgnlUETR" not in alone
    assert read(alone) == (carried(status()), [])


@pytest.mark.parametrize("state", [number for number in StopPaymentState.values() if number])
def test_every_state_comes_back(state):
    message = carried(status())
    message.state = state
    if state == StopPaymentState.STOP_PAYMENT_STATE_REJECTED:
        message.refusal.code = 4
    if state == StopPaymentState.STOP_PAYMENT_STATE_RETURNED:
        message.amount_returned.CopyFrom(message.amount_held)
    data = write(request(), message)
    independent(data, "camt_029_001_09")
    again, notes = read(data)
    assert again == message
    assert [field for field, _ in notes] == (["moved_to_refs"] if state == 5 else [])


def test_the_shared_document():
    message, notes = read(shared("iso20022/camt056_synthetic.xml"), handling(domain=7))
    (transfer,) = message.transfers
    assert transfer.uetr == "eb6305c9-1f7f-49de-aed0-16487c27b42d"
    assert (transfer.amount.amount.unscaled, transfer.amount.amount.scale, transfer.amount.currency) == (
        100000,
        2,
        "USD",
    )
    assert (message.incident_ref, message.bank_recall_ref) == ("STOP-2026-0001", "CXL-1")
    assert message.cancellation_reason.value == "FRAD"
    assert [account.bic for account in message.accounts] == ["AAAASGSGXXX", "BBBBSGSGXXX"]
    missing = {field for field, detail in notes if detail.startswith(("the file does not say", "no number"))}
    assert missing == {"executed_at", "DbtrAcct", "CdtrAcct", "scheme", "victim_kind", "reported_at", "contact"}
    assert len(rules.violations(message)) == 7
    # What a person adds.
    message.scheme, message.victim_kind, message.contact = 1, 2, "duty desk, fraud@police.example"
    message.reported_at.FromJsonString("2026-11-21T01:00:00Z")
    transfer.executed_at.utc.FromJsonString("2026-11-20T01:00:00Z")
    for account in message.accounts:
        account.account_no = "0000000001"
    rules.check(message)
    data = write(message)
    independent(data)
    assert read(data, message.handling) == (message, [])


# Amounts


@pytest.mark.parametrize("figure", ["0", "1", "0.00", "48000.00", "1.5", "0.00001", "9" * 18, "9999999999999.99999"])
def test_amounts_are_exact(figure):
    whole, _, fraction = figure.partition(".")
    message = request()
    amount = message.transfers[0].amount.amount
    amount.unscaled, amount.scale = int(whole + fraction), len(fraction)
    data = write(message)
    assert f">{figure}<".encode() in data
    assert read(data)[0] == message
    assert independent(data).fito_fipmt_cxl_req.undrlyg[0].tx_inf[0].orgnl_intr_bk_sttlm_amt.value == Decimal(figure)


@pytest.mark.parametrize(("unscaled", "scale"), [(-1, 0), (1, 6), (10**18, 0)])
def test_an_amount_without_room_is_refused(unscaled, scale):
    message = request()
    amount = message.transfers[0].amount.amount
    amount.unscaled, amount.scale = unscaled, scale
    with pytest.raises(RefusedError) as refused:
        write(message)
    assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "transfers[0].amount")


@pytest.mark.parametrize("figure", ["", ".", "1,5", "1e3", "-1", "NaN", "\u0661", "1" * 19, "1.2.3", "0x1"])
def test_an_amount_that_is_none_is_refused(figure):
    with pytest.raises(MalformedError) as refused:
        read(EXAMPLE.replace(b"48000.00", figure.encode()))
    assert (refused.value.reason, refused.value.field) == (Reason.BAD_FIELD, "line 37: OrgnlIntrBkSttlmAmt")


def test_other_forms_of_amounts():
    for figure, unscaled, scale in (("+5", 5, 0), (".50", 50, 2), ("7.", 7, 0)):
        amount = read(EXAMPLE.replace(b"48000.00", figure.encode()))[0].transfers[0].amount.amount
        assert (amount.unscaled, amount.scale) == (unscaled, scale)
    with pytest.raises(MalformedError):
        read(EXAMPLE.replace(b'Ccy="SGD"', b'Ccy="sgd"'))


# Marks


def test_marks_travel_in_the_supplementary_data():
    message = request()
    message.handling.tlp, message.handling.pap = Tlp.TLP_AMBER_STRICT, 3
    message.handling.restrictions.add(kind=4, text="Not for the press\nnor for others")
    data = write(message)
    independent(data)
    assert b"<Mark>TLP:AMBER+STRICT</Mark>" in data
    assert read(data, message.handling) == (message, [])
    bare = Handling(precedence=4, domain=7, purpose="exercise", case_ref="EX-2026-12")
    assert read(data, bare)[0].handling == message.handling
    for weaker in ({"tlp": 3}, {"op_status": 1}):
        marks = Handling()
        marks.CopyFrom(message.handling)
        marks.MergeFrom(Handling(**weaker))
        with pytest.raises(RefusedError) as refused:
            read(data, marks)
        assert refused.value.reason is Reason.MARK_LOST
        assert refused.value.field.startswith("line ")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.releasable_to.append("STATE:SG"),
        lambda m: m.national_classification.MergeFrom(type(m.national_classification)(state="SG")),
        lambda m: m.restrictions.add(kind=4, text="x "),
        lambda m: setattr(m, "tlp", Tlp.TLP_RED),
    ],
)
def test_a_mark_that_cannot_be_carried_is_refused(spoil):
    message = request()
    spoil(message.handling)
    with pytest.raises(RefusedError) as refused:
        write(message)
    assert refused.value.reason is Reason.MARK_LOST


def test_red_leaves_when_somebody_says_so():
    message = request()
    message.handling.tlp = Tlp.TLP_RED
    assert read(write(message, allow_red=True), message.handling)[0] == message


def test_an_answer_is_marked_no_weaker_than_its_request():
    strict, answer = request(), status()
    strict.handling.tlp = Tlp.TLP_AMBER_STRICT
    with pytest.raises(RefusedError) as refused:
        write(strict, answer)
    assert refused.value.reason is Reason.MARK_LOST
    strict.handling.tlp, strict.handling.op_status = Tlp.TLP_AMBER, OpStatus.OP_STATUS_TEST
    with pytest.raises(RefusedError) as refused:
        write(strict, answer)
    assert refused.value.reason is Reason.MARK_LOST


@pytest.mark.parametrize("word", ["EXERCISE", "TEST", "SYSTEM"])
def test_what_is_not_real_never_looks_real(word):
    message = request()
    message.handling.op_status = OpStatus.Value(f"OP_STATUS_{word}")
    data = write(message)
    body = independent(data).fito_fipmt_cxl_req
    reason = body.undrlyg[0].tx_inf[0].cxl_rsn_inf[0]
    assert reason.rsn.cd is None
    assert reason.rsn.prtry == f"{word} FRAD"
    assert reason.addtl_inf[0] == f"{word}. This is no request to act."
    assert body.assgnmt.id == f"{word}-2026-SP-0001"
    assert read(data, message.handling) == (message, [])
    # Even where somebody took our own elements out, one sign is enough.
    start, end = data.index(b"  <SplmtryData>\n   <PlcAndNm>"), data.index(b" </FIToFIPmtCxlReq>")
    stripped = data[:start] + data[end:]
    for taken in (
        (),
        (b"-2026-SP-0001", b". This is no request to act."),
        (f"{word} FRAD".encode(), b" request to act"),
    ):
        left = stripped
        for one in taken:
            left = left.replace(one, b"-" if one.startswith(b"-") else b"x")
        real = Handling()
        real.CopyFrom(message.handling)
        real.op_status = OpStatus.OP_STATUS_ACTUAL
        with pytest.raises(RefusedError) as refused:
            read(left, real)
        assert refused.value.reason is Reason.MARK_LOST


def test_what_is_real_carries_the_code():
    message = request()
    message.handling.op_status = OpStatus.OP_STATUS_ACTUAL
    data = write(message)
    assert independent(data).fito_fipmt_cxl_req.undrlyg[0].tx_inf[0].cxl_rsn_inf[0].rsn.cd == "FRAD"
    assert b"EXERCISE-" not in data
    assert read(data, message.handling) == (message, [])


# What leaves and what stays


def test_what_a_bank_need_not_know_stays_behind():
    message = examples.message("StopPaymentRequest")
    message.persons.add(local_id="p", names=[{"full": "SECRET"}])
    message.organisations.add(local_id="o", name="SECRET")
    account = message.accounts[0]
    account.holder_ref, account.balance.currency, account.status.value = "o", "SECRET", "SECRET"
    message.accounts.add(local_id="third", account_no="SECRET")
    message.attachments.add(attachment_id="SECRET")
    assert b"SECRET" not in write(message)


def test_our_own_part_says_only_what_it_may():
    for old, new in (
        (b'{"subject"', b'{"handling": {"tlp": "TLP_CLEAR"}, "subject"'),
        (b'{"local_id": "transfer-1"', b'{"amount": {"currency": "USD"}, "local_id": "transfer-1"'),
        (b'{"local_id": "account-1"', b'{"balance": {"currency": "USD"}, "local_id": "account-1"'),
        (b'{"subject"', b'{"none": 1, "subject"'),
        (b'{"subject"', b'{"subject": "twice", "subject"'),
        (b'{"subject"', b"[" * 5000),
        (b'"2026-02-01T03:00:00Z"', b'"noon"'),
        (b'"EXERCISE: transfer', b'"\\ud800'),
    ):
        assert old in EXAMPLE
        with pytest.raises(MalformedError) as refused:
            read(EXAMPLE.replace(old, new))
        assert refused.value.reason is Reason.BAD_FIELD
        assert refused.value.field.endswith(": Rest")
    whole = EXAMPLE[EXAMPLE.rindex(b"  <SplmtryData>") : EXAMPLE.index(b" </FIToFIPmtCxlReq>")]
    with pytest.raises(MalformedError):
        read(EXAMPLE.replace(whole, whole + whole))


def test_only_these_messages_are_written():
    for messages in ([], [request(), request()], [status(), request()], [examples.message("Alert")]):
        with pytest.raises(RefusedError) as refused:
            write(*messages)
        assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "schema")
    nothing = request()
    nothing.ClearField("transfers")
    with pytest.raises(RefusedError) as refused:
        write(nothing)
    assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "transfers")
    control = request()
    control.facts = "a\x00b"
    with pytest.raises(RefusedError) as refused:
        write(control)
    assert refused.value.reason is Reason.RULE_BROKEN


# Any request


printable = st.characters(codec="utf-8", exclude_categories=["C", "Z"])
names = st.lists(st.text(printable, min_size=1, max_size=30), min_size=1, max_size=8).map(" ".join)
ids = st.one_of(st.just(""), st.text(printable, min_size=1, max_size=35), st.just("two  spaces"))
account = st.fixed_dictionaries(
    {
        "account_no": st.text("0123456789", min_size=1, max_size=64),
        "bic": st.sampled_from(["", "EXMPXX21", "EXMPXX21XXX"]),
    },
    optional={
        "holder_name": names,
        "institution_name": names,
        "institution_code": st.text("09", min_size=1, max_size=40),
        "currency": st.just("SGD"),
        "country": st.just("SG"),
        "iban": st.just("GB82WEST12345698765432"),
    },
)
transfers = st.tuples(
    st.integers(0, 10**18 - 1), st.integers(0, 5), ids, ids, st.booleans(), st.sampled_from([1, 2]), account, account
)


@settings(max_examples=8, deadline=None)
@given(st.lists(transfers, min_size=1, max_size=3), st.lists(st.text(printable, min_size=1, max_size=105)), ids)
def test_any_right_request_comes_back_and_others_read_it(made, facts, reference):
    message = request()
    message.ClearField("transfers")
    message.ClearField("accounts")
    message.facts, message.bank_recall_ref = " ".join(facts), reference
    for index, (unscaled, scale, end_to_end, number, exact, certain, payer, payee) in enumerate(made):
        found = message.transfers.add(local_id=f"t{index}", uetr=request().transfers[0].uetr, end_to_end_id=end_to_end)
        found.message_id, found.amount.currency = number, "SGD"
        found.amount.amount.unscaled, found.amount.amount.scale = unscaled, scale
        found.executed_at.utc.seconds = 1_700_000_000
        found.settled_on.kind, found.settled_on.year, found.settled_on.month = certain, 2026, 2
        found.settled_on.day = 3 if exact else 0
        for side, parts in (("from", payer), ("to", payee)):
            setattr(found, f"{side}_ref", f"{side}{index}")
            message.accounts.append(FinancialAccount(local_id=f"{side}{index}", **parts))
    data = write(message)
    again, notes = read(data)
    message.facts = " ".join(message.facts.split())
    assert text.to_json(again) == text.to_json(message)
    assert [field for field, _ in notes] == ([] if message.facts else ["facts"])
    independent(data)
