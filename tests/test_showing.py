"""Showing: what an auditor finds of records that were opened, and each way in which it may fail."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from disclosed import COURT, Case
from infoexchange import catalogue
from infoexchange.approval import Approval
from infoexchange.attestation import AttestationRole
from infoexchange.disclosure import Disclosure
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import DISCLOSURES_MAX, Evidence
from infoexchange.evidence.inquiry import Inquiry
from infoexchange.evidence.showing import Showing
from infoexchange.ports import Notice
from infoexchange.states import Event
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.v1 import disclosure_pb2, evidence_pb2
from infoexchange.verdict import Report, Verdict
from shown import attestation
from test_approval import consent, signed


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


@pytest.fixture(scope="module")
def shown(case: Case) -> Evidence:
    return case.disclose("persons", attested=True)


@pytest.fixture
def fresh() -> Case:
    return Case(suite=HYBRID_KEM)


def by_name(report: Report) -> dict[str, tuple[str, str]]:
    return {check.name: (check.verdict.name, check.reason) for check in report.checks}


def changed(evidence: Evidence, change) -> bytes:
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    change(message)
    return message.SerializeToString(deterministic=True)


def showing(case: Case, evidence: Evidence) -> Showing:
    """What an auditor has of disclosures, to change what is asked about."""
    return Inquiry(evidence, case.exchange.directory, case.exchange.clock())._showing()


def test_everything_holds_and_is_said(case, shown):
    report = case.report(shown)
    assert report.verdict is Verdict.TOTAL_PASSED, report
    details = {check.name: check.detail for check in report.checks}
    assert details["disclosure 1"] == "4 of 9 records of infoexchange.catalogue.v1.RequestForInformation"
    assert details["disclosure 1, attestation 1"].startswith(f"supervisor for {SENDER}, signed at ")
    assert details["disclosure 1 approved"] == f"by {RECIPIENT} for '{COURT}'"
    assert details[f"approval 1 by {RECIPIENT}"].startswith(f"4 records for '{COURT}' at ")
    [disclosure] = shown.disclosures
    assert catalogue.RequestForInformation.FromString(disclosure.partial).persons[0].pseudonym == "Alpha"


def test_the_file_holds_no_ciphertext_and_nothing_else_of_the_message(case, shown):
    assert shown.envelope is None
    assert case.delivery.envelope.body not in shown.raw
    for text in (b"Seen at anchor", b"Who owns it?", b"9074729", case.delivery.content.salt_seed):
        assert text not in shown.raw
    assert b"Alpha" in shown.raw


def test_records_of_a_blind_message():
    case = Case(suite=HYBRID_KEM, blind=True)
    report = case.report(case.disclose("background"))
    findings = by_name(report)
    assert findings["disclosure 1"] == findings["disclosure 1 approved"] == ("TOTAL_PASSED", "")
    assert not [c for c in report.checks if c.verdict is Verdict.TOTAL_FAILED]


def test_the_sender_that_kept_its_content_can_show_it_too(fresh):
    sender = fresh.exchange.mailbox(SENDER)
    evidence = sender.disclose(fresh.disclosure("background"), audience=COURT)
    fresh.exchange.witness()
    evidence = sender.disclose(fresh.disclosure("background"), audience=COURT)
    assert fresh.report(evidence).verdict is Verdict.TOTAL_PASSED
    assert evidence.approvals[0].statement.issuer == SENDER


def test_evidence_made_later_tells_of_the_approval_without_the_records(fresh):
    fresh.disclose("background")
    sender = fresh.exchange.mailbox(SENDER)
    evidence = sender.evidence(fresh.digest)
    findings = by_name(fresh.report(evidence))
    assert findings[f"approval 1 by {RECIPIENT}"] == ("TOTAL_PASSED", "")
    assert fresh.report(evidence).verdict is Verdict.TOTAL_PASSED
    assert b"Seen at anchor" not in evidence.raw


def test_several_disclosures_of_one_message(fresh):
    fresh.disclose("background")
    evidence = fresh.disclose("questions", audience="an auditor")
    both = changed(evidence, lambda m: m.disclosures.append(fresh.disclosure("background").raw))
    report = fresh.report(both)
    assert report.verdict is Verdict.TOTAL_PASSED
    named = {check.detail for check in report.checks if check.name.endswith("approved")}
    assert named == {f"by {RECIPIENT} for '{COURT}'", f"by {RECIPIENT} for 'an auditor'"}


def test_a_disclosure_that_nobody_approved_is_open(fresh):
    fresh.exchange.witness()
    evidence = fresh.exchange.mailbox(SENDER).evidence(fresh.digest)
    raw = changed(evidence, lambda m: m.disclosures.append(fresh.disclosure("background").raw))
    report = fresh.report(raw)
    assert report.verdict is Verdict.INDETERMINATE
    assert by_name(report)["disclosure 1"] == ("TOTAL_PASSED", "")
    assert by_name(report)["disclosure 1 approved"] == ("INDETERMINATE", "no approval")


def test_an_approval_for_other_records_is_none(case, shown):
    raw = changed(shown, lambda m: m.disclosures.__setitem__(0, case.disclosure("background").raw))
    assert by_name(case.report(raw))["disclosure 1 approved"] == ("INDETERMINATE", "no approval")


def test_an_approval_without_its_log_entry_is_open(case, shown):
    def without_entry(message) -> None:
        kept = [e for e, r in zip(message.events, shown.events, strict=True) if not _is_disclosure(r)]
        copies = [type(e).FromString(e.SerializeToString()) for e in kept]
        del message.events[:]
        message.events.extend(copies)

    report = case.report(changed(shown, without_entry))
    assert report.verdict is Verdict.INDETERMINATE
    assert by_name(report)["disclosure 1 approved"] == ("INDETERMINATE", "not logged")
    assert by_name(report)[f"approval 1 by {RECIPIENT}"] == ("INDETERMINATE", "not logged")


def _is_disclosure(receipt) -> bool:
    return receipt.routing.event is Event.AUDIT_DISCLOSURE


def test_without_its_handling_marks_it_is_said(fresh):
    bare = Disclosure.make(fresh.delivery.envelope.manifest, fresh.delivery.content, [5])
    fresh.exchange.witness()
    fresh.box.disclose(bare, audience=COURT)
    fresh.exchange.witness()
    report = fresh.report(fresh.box.disclose(bare, audience=COURT))
    detail = {check.name: check.detail for check in report.checks}["disclosure 1"]
    assert detail.endswith("the handling marks are not among them")
    assert report.verdict is Verdict.TOTAL_PASSED


# What an auditor refuses


def swap_statement(message, shown: Evidence, approval: Approval) -> None:
    kept = [raw for raw in message.statements if raw != shown.approvals[0].raw]
    message.statements[:] = sorted([*kept, approval.raw])


FORGED = {
    "in another's name": (lambda c, s: _forged(c, s, signer=SECOND), "bad_signature"),
    "in the name of an agency that has no part": (
        lambda c, s: _forged(c, s, issuer="desk.navy.th.example"),
        "bad_proof",
    ),
    "of another message": (lambda c, s: _forged(c, s, envelope_digest=bytes(32)), "bad_proof"),
    "in another suite": (lambda c, s: _forged(c, s, suite=HYBRID_KEM), "bad_signature"),
}


def _forged(
    case: Case, shown: Evidence, *, signer: str = "", issuer: str = RECIPIENT, suite=HYBRID, **values
) -> Approval:
    bundle = case.exchange.community.members[issuer].bundle.digest
    said = replace(shown.approvals[0].statement, issuer=issuer, issuer_bundle=bundle, **values)
    return signed(case.exchange, said, suite, signer=signer or issuer)


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_approval_fails(case, shown, name):
    make, reason = FORGED[name]
    approval = make(case, shown)

    def forge(message) -> None:
        swap_statement(message, shown, approval)
        bundles = {*message.bundles, case.exchange.community.members[approval.statement.issuer].bundle.raw}
        message.bundles[:] = sorted(bundles)
        certificates = case.exchange.community.members[approval.statement.issuer].bundle.certificates
        message.certificates[:] = sorted({*message.certificates, *certificates})

    report = case.report(changed(shown, forge))
    assert by_name(report)[f"approval 1 by {approval.statement.issuer}"] == ("TOTAL_FAILED", reason)


def test_an_approval_that_counts_other_records_fails(fresh):
    """The issuer itself signs a number that the disclosure does not have."""
    disclosure = fresh.disclosure("background")
    said = consent(fresh.exchange, fresh.digest, disclosure_digest=disclosure.digest, record_count=9)
    approval = signed(fresh.exchange, said, HYBRID_KEM)
    fresh.box.relay.acknowledge([Notice(fresh.digest, Event.AUDIT_DISCLOSURE, approval.raw)])
    fresh.exchange.witness()
    evidence = fresh.box.evidence(fresh.digest, fresh.delivery.envelope)
    report = fresh.report(changed(evidence, lambda m: m.disclosures.append(disclosure.raw)))
    assert by_name(report)["disclosure 1 approved"] == ("TOTAL_FAILED", "bad_proof")


def test_entries_and_approvals_go_together(case, shown):
    """An entry of one step is no proof of another, and one party's none of another's."""
    other = consent(case.exchange, case.digest, SECOND, disclosure_digest=shown.disclosures[0].digest)
    approval = signed(case.exchange, replace(other, record_count=4))
    entry = next(r for r in shown.events if _is_disclosure(r))
    opened = next(r for r in shown.events if r.routing.event is Event.OPENED)
    bundle = case.exchange.community.members[SECOND].bundle.raw
    found = showing(case, Evidence.parse(changed(shown, lambda m: m.bundles.append(bundle))))
    for receipt in (entry, opened):
        told = replace(receipt, subject=replace(receipt.subject, statement_digest=approval.digest))
        with pytest.raises(ExchangeError) as caught:
            replace(found, events=(told,))._check_approval(approval)
        assert caught.value.reason is Reason.BAD_PROOF
    # The issuer's own entries of another event, and one that another relay wrote.
    own = shown.approvals[0]
    steps = [(r.routing.event, r.routing.recipients) for r in shown.events]
    mine = shown.events[steps.index((Event.OPENED, (RECIPIENT,)))]
    elsewhere = replace(entry, routing=replace(entry.routing, this_relay="relay.th.example"))
    for receipt in (mine, elsewhere):
        told = replace(receipt, subject=replace(receipt.subject, statement_digest=own.digest))
        with pytest.raises(ExchangeError) as caught:
            replace(found, events=(told,))._check_approval(own)
        assert caught.value.reason is Reason.BAD_PROOF
    late = signed(
        case.exchange, replace(shown.approvals[0].statement, at=entry.routing.logged_at + timedelta(minutes=6))
    )
    told = replace(entry, subject=replace(entry.subject, statement_digest=late.digest))
    with pytest.raises(ExchangeError) as caught:
        replace(found, events=(told,))._check_approval(late)
    assert caught.value.reason is Reason.BAD_PROOF


def test_keys_that_were_withdrawn_by_then_are_asked_about(case, shown):
    """Of an approval when it was logged, of an attestation when the message was."""
    asked = []
    found = showing(case, shown)
    standing = replace(found.standing, check_not_withdrawn=lambda bundle, at: asked.append((bundle.owner, at)))
    found = replace(found, standing=standing)
    found._check_approval(found.approvals[0])
    found._check_attestation(found.disclosures[0].attestations[0])
    entry = next(r for r in shown.events if _is_disclosure(r))
    accepted = min(r.routing.logged_at for r in shown.events if r.routing.event is Event.ACCEPTED)
    assert asked == [(RECIPIENT, entry.routing.logged_at), (SENDER, accepted)]


def test_missing_bundles_are_named(case, shown):
    sender = case.exchange.community.members[SENDER].bundle.raw
    recipient = case.exchange.community.members[RECIPIENT].bundle.raw
    report = by_name(case.report(changed(shown, lambda m: m.bundles.remove(sender))))
    assert report["disclosure 1"] == report["disclosure 1, attestation 1"] == ("TOTAL_FAILED", "stale_bundle")
    report = by_name(case.report(changed(shown, lambda m: m.bundles.remove(recipient))))
    assert report["disclosure 1 approved"] == ("TOTAL_FAILED", "stale_bundle")
    assert report["disclosure 1"] == ("TOTAL_PASSED", "")


def test_a_changed_record_fails_and_is_open_to_no_approval(case, shown):
    def lie(message) -> None:
        disclosure = disclosure_pb2.Disclosure.FromString(message.disclosures[0])
        record = disclosure.leaves[3].record
        disclosure.leaves[3].record = record.replace(b"Alpha", b"Bravo")
        message.disclosures[0] = disclosure.SerializeToString(deterministic=True)

    report = case.report(changed(shown, lie))
    assert by_name(report)["disclosure 1"] == ("TOTAL_FAILED", "bad_commitment")
    assert by_name(report)["disclosure 1 approved"] == ("INDETERMINATE", "no approval")


def test_an_attestation_of_other_content_fails(case, shown):
    foreign = attestation(case.exchange, bytes(32), HYBRID, AttestationRole.SUPERVISOR)

    def lie(message) -> None:
        disclosure = disclosure_pb2.Disclosure.FromString(message.disclosures[0])
        disclosure.attestations[:] = [foreign.raw]
        message.disclosures[0] = disclosure.SerializeToString(deterministic=True)

    assert by_name(case.report(changed(shown, lie)))["disclosure 1, attestation 1"] == ("TOTAL_FAILED", "bad_signature")


def test_a_disclosure_of_another_message_has_no_place_in_the_file(case, shown, fresh):
    for change in (
        lambda m: m.disclosures.append(fresh.disclosure("background").raw),
        lambda m: m.disclosures.__setitem__(0, fresh.disclosure("background").raw),
    ):
        with pytest.raises(ExchangeError) as caught:
            Evidence.parse(changed(shown, change))
        assert caught.value.reason is Reason.BAD_FIELD


def test_the_number_of_disclosures_is_bounded(case, shown):
    with pytest.raises(ExchangeError) as caught:
        Evidence.parse(changed(shown, lambda m: m.disclosures.extend([m.disclosures[0]] * DISCLOSURES_MAX)))
    assert caught.value.reason is Reason.TOO_LARGE


def test_no_flipped_bit_of_a_disclosure_or_its_approval_gets_through(case, shown):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    parts = (shown.disclosures[0].raw, shown.approvals[0].raw)
    hints = [key for part in (shown.disclosures[0].manifest.dsse, shown.approvals[0].dsse) for key in part.key_ids]
    hints += shown.disclosures[0].attestations[0].dsse.key_ids
    harmless = {i for h in hints for s in _places(shown.raw, h.encode()) for i in range(s, s + len(h))}
    for part in parts:
        start = shown.raw.index(part)
        for place in rng.sample(range(start, start + len(part)), 20):
            raw = bytearray(shown.raw)
            raw[place] ^= 1 << rng.randrange(8)
            try:
                report = case.report(bytes(raw))
            except ExchangeError:
                continue
            # A disclosure whose bytes differ has no approval any more, even where they decide nothing.
            assert report.verdict is not Verdict.TOTAL_PASSED or place in harmless, place


def _places(raw: bytes, part: bytes) -> list[int]:
    return [i for i in range(len(raw)) if raw.startswith(part, i)]
