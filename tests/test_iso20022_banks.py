"""Documents that banks write: what is taken from them, what is noted, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogue_messages import handling
from infoexchange.bridges.iso20022 import resolution, words
from infoexchange.catalogue import StopPaymentState, rules
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from test_iso20022 import CAMT, EXAMPLE, independent, read, request, status, write

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bridges" / "iso20022.md"


def foreign(parts, head="", name="056.001.08", body="FIToFIPmtCxlReq"):
    namespace = f"urn:iso:std:iso:20022:tech:xsd:camt.{name}"
    parts = parts if body != "FIToFIPmtCxlReq" else f"<Undrlyg>{parts}</Undrlyg>"
    return read(f'<Document xmlns="{namespace}"><{body}>{head}{parts}</{body}></Document>', handling(domain=7))


def test_a_bank_of_the_transaction_comes_before_that_of_the_assignment():
    agent = "<FinInstnId><BICFI>{}</BICFI></FinInstnId>"
    head = f"<Assgnmt><Id>1</Id><Assgnr><Agt>{agent.format('AAAAXX21')}</Agt></Assgnr></Assgnmt>"
    own = f"<TxInf><Assgnr>{agent.format('BBBBXX21')}</Assgnr></TxInf>"
    beside = f"<TxInf><OrgnlTxRef><DbtrAgt>{agent.format('CCCCXX21')}</DbtrAgt></OrgnlTxRef></TxInf>"
    message, _ = foreign("<TxInf/>" + own + beside + "<TxInf/>", head)
    assert [account.bic for account in message.accounts] == ["AAAAXX21", "BBBBXX21", "CCCCXX21"]
    assert [found.from_ref for found in message.transfers] == ["account-1", "account-2", "account-3", "account-1"]
    assert {found.to_ref for found in message.transfers} == {""}


def test_reasons_of_banks():
    def reason(code, kind="Cd"):
        return f"<TxInf><CxlRsnInf><Rsn><{kind}>{code}</{kind}></Rsn><AddtlInf>{code}</AddtlInf></CxlRsnInf></TxInf>"

    message, notes = foreign(reason("XXXX") + reason("DUPL") + reason("FRAD") + reason("OWN", "Prtry"))
    assert message.cancellation_reason.value == "DUPL"
    assert message.facts == "XXXX DUPL FRAD OWN"
    assert [detail for field, detail in notes if field.startswith("Rsn")] == [
        "not in the list iso20022-cancellation-reason 2026-11", "another reason", "a bank's own reason",
    ]  # fmt: skip


def test_what_is_not_carried_is_noted():
    parts = "<TxInf><CxlId>1</CxlId><OrgnlInstrId>2</OrgnlInstrId></TxInf><TxInf><CxlId>3</CxlId></TxInf>"
    foreign_data = '<SplmtryData><PlcAndNm>bank</PlcAndNm><Envlp><x xmlns="urn:x">y</x></Envlp></SplmtryData>'
    message, notes = foreign(parts, head=foreign_data)
    fields = [field for field, _ in notes]
    assert "CxlId" in fields
    assert "FIToFIPmtCxlReq/Undrlyg/TxInf/OrgnlInstrId" in fields
    assert "FIToFIPmtCxlReq/SplmtryData/Envlp/x" in fields
    assert message.bank_recall_ref == "1"
    _, notes = foreign("<OrgnlGrpInfAndCxl><OrgnlMsgId>1</OrgnlMsgId></OrgnlGrpInfAndCxl>")
    assert {"TxInf", "FIToFIPmtCxlReq/Undrlyg/OrgnlGrpInfAndCxl"} <= {field for field, _ in notes}


ANSWER = (
    "<Assgnmt><Id>7</Id><CreDtTm>2026-02-01T05:00:00Z</CreDtTm></Assgnmt><Sts><Conf>{}</Conf></Sts><CxlDtls><TxInfAndSts>"
    "<CxlStsId>B1</CxlStsId><OrgnlEndToEndId>E1</OrgnlEndToEndId><TxCxlSts>{}</TxCxlSts><CxlStsRsnInf><Rsn><Cd>AM04</Cd>"
    "</Rsn><AddtlInf>Gone.</AddtlInf></CxlStsRsnInf>{}</TxInfAndSts></CxlDtls>"
)


@pytest.mark.parametrize(
    ("conf", "single", "state"),
    [("CNCL", "ACCR", 9), ("RJCR", "RJCR", 8), ("PDCR", "PDCR", 2), ("UWFW", "PDCR", 0)],
)
def test_answers_of_banks(conf, single, state):
    amount = '<RsltnRltdInf><IntrBkSttlmAmt Ccy="SGD">5.0</IntrBkSttlmAmt></RsltnRltdInf>'
    message, notes = foreign(ANSWER.format(conf, single, amount), name="029.001.09", body="RsltnOfInvstgtn")
    assert (message.state, message.bank_ref) == (state, "B1")
    assert message.note == "About end-to-end E1. Reasons: AM04. Gone."
    assert message.HasField("refusal") == (state == 8)
    assert (message.amount_returned.amount.unscaled, message.amount_returned.amount.scale) == (50, 1)
    assert message.as_of.ToJsonString() == "2026-02-01T05:00:00Z"
    fields = [field for field, _ in notes]
    assert "request_ref" in fields
    assert ("Sts/Conf" in fields) == (state in {0, 9})
    assert ("TxCxlSts" in fields) == (conf == "UWFW")
    message.request_ref = bytes(32)
    message.state = message.state or 1
    rules.check(message)


@pytest.mark.parametrize("minute", ["2026-02-01T05:00:00", "yesterday", ""])
def test_a_time_without_a_zone_is_noted(minute):
    data = ANSWER.replace("2026-02-01T05:00:00Z", minute).format("PDCR", "PDCR", "")
    message, notes = foreign(data, name="029.001.09", body="RsltnOfInvstgtn")
    assert not message.HasField("as_of")
    assert ("CreDtTm", "no time with its zone") in notes


def test_our_own_state_is_taken_and_a_contradiction_noted():
    data = write(request(), status()).replace(b"<Conf>PDCR", b"<Conf>CNCL")
    message, notes = read(data)
    assert message.state == StopPaymentState.STOP_PAYMENT_STATE_PARTLY_ON_HOLD
    assert ("Sts/Conf", "it contradicts the state in our own part, which is taken") in notes


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"camt.056.001.08", b"camt.056.001.07", Reason.UNKNOWN_VERSION),
        (b"camt.056.001.08", b"camt.056.001", Reason.MALFORMED),
        (b"camt.056.001.08", b"camt.055.001.08", Reason.MALFORMED),
        (b"FIToFIPmtCxlReq>", b"Other>", Reason.MALFORMED),
        (b"Document", b"Documents", Reason.MALFORMED),
        (b">2026-02-01<", b">2026-02-30<", Reason.BAD_FIELD),
        (b">2026-02-01<", b">1 February<", Reason.BAD_FIELD),
        (b"<CtrlData>", b"<Assgnmt/><CtrlData>", Reason.BAD_FIELD),
    ],
)
def test_other_documents_are_refused(old, new, reason):
    assert old in EXAMPLE
    with pytest.raises(MalformedError) as refused:
        read(EXAMPLE.replace(old, new))
    assert refused.value.reason is reason
    assert refused.value.field.startswith("line ")


@pytest.mark.parametrize("version", ["08", "09", "10", "11"])
def test_versions_that_are_read(version):
    data = EXAMPLE.replace(b"camt.056.001.08", f"camt.056.001.{version}".encode())
    assert read(data)[0] == request()
    assert independent(data, f"camt_056_001_{version}")


def test_more_payments_than_a_message_holds():
    with pytest.raises(RefusedError) as refused:
        foreign("<TxInf/>" * 201)
    assert refused.value.reason is Reason.TOO_LARGE


def test_a_document_cut_or_flipped_gives_typed_errors_only():
    data = write(request(), status())
    for raw in (EXAMPLE, data):
        for place in range(0, len(raw), 211):
            for spoilt in (raw[:place], raw[:place] + bytes([raw[place] ^ 2]) + raw[place + 1 :]):
                try:
                    read(spoilt)
                except ExchangeError:
                    continue


def test_the_page_says_what_the_code_does():
    page = PAGE.read_text(encoding="utf-8")
    for loss in CAMT.losses:
        assert loss in page
    for state, word in resolution.CONFIRMATIONS.items():
        name = StopPaymentState.Name(state).removeprefix("STOP_PAYMENT_STATE_")
        assert f"| `{name}` | `{word}` | `{resolution.STATUSES[word]}` |" in page
    for word, state in resolution.STATES.items():
        name = StopPaymentState.Name(state).removeprefix("STOP_PAYMENT_STATE_")
        assert f"| `{word}` | `{name}` |" in page
    for kind in words.KINDS.values():
        assert f"{kind.name}.001.{kind.versions[0]}" in page
