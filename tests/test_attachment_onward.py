"""Passing on a message with attachments: those that came with it may go on, or be left out; no other is ever added."""

from __future__ import annotations

from pathlib import Path

import pytest

import attached
from attached import SENT, refusal
from infoexchange import Attachment
from infoexchange.delivery import Delivery
from infoexchange.errors import Reason
from infoexchange.evidence import Evidence
from infoexchange.onward import PassedOn
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement
from onward_case import AGENCIES, A, B, C, D, free, one

files = attached.files  # a fixture


@pytest.fixture
def three() -> Exchange:
    made = Exchange(AGENCIES)
    for name in (A, B, C, D):
        made.mailbox(name)
    return made


@pytest.fixture
def received(three: Exchange, files: list[Attachment]) -> Delivery:
    """What A sent to B, free to be passed on; not acknowledged, so that the relay still has the files."""
    three.mailbox(A).send(officer_acknowledgement(**free()), [B], attachments=files)
    [delivery] = three.mailbox(B).receive()
    return delivery


def test_attachments_go_on_straight_from_the_relay(three: Exchange, received: Delivery, tmp_path: Path) -> None:
    receipt = three.mailbox(B).pass_on(received, [C], attachments=received.attachments)
    [delivery] = three.mailbox(C).receive()
    scan, nothing = delivery.attachments
    assert (scan.meta.file, nothing.meta.file) == tuple(a.meta.file for a in received.attachments)
    assert scan.meta.attachment_id != received.attachments[0].meta.attachment_id  # new keys, new ciphertext
    assert Path(scan.save(tmp_path / "out.pdf")).read_bytes() == SENT
    three.mailbox(C).acknowledge(delivery)
    list(three.mailbox(C).receive())
    three.witness()
    evidence = three.mailbox(B).evidence(receipt.subject.envelope_digest)
    report = Evidence.parse(evidence.raw).verify(three.directory, now=three.clock())
    assert [check for check in report.checks if check.verdict is not Verdict.TOTAL_PASSED] == []


def test_saved_files_go_on_after_the_relay_has_forgotten_them(
    three: Exchange, received: Delivery, tmp_path: Path
) -> None:
    scan = Attachment(received.attachments[0].save(tmp_path / "in.pdf"), name="scan.pdf")
    three.mailbox(B).acknowledge(received)
    three.mailbox(B).flush()
    three.mailbox(B).pass_on(received, [C], attachments=[scan])
    [second] = three.mailbox(C).receive()
    assert [a.name for a in second.attachments] == ["scan.pdf"]
    three.mailbox(C).pass_on(second, [D])  # and C leaves it out
    third = one(three.mailbox(D))
    assert (third.originator, third.attachments) == (A, ())


@pytest.mark.parametrize("change", ["name", "type", "bytes"])
def test_what_did_not_come_with_it_is_refused(three: Exchange, received: Delivery, tmp_path: Path, change: str) -> None:
    path = tmp_path / "mine"
    path.write_bytes(SENT[:-1] + b"\x00" if change == "bytes" else SENT)
    name, kind = ("plan.pdf" if change == "name" else "scan.pdf"), ("text/plain" if change == "type" else "")
    foreign = Attachment(path, name=name, media_type=kind)
    box = three.mailbox(B)
    assert refusal(lambda: box.pass_on(received, [C], attachments=[foreign])) is Reason.RULE_BROKEN
    assert box.spool.stash.kept() == []


def test_the_recipient_refuses_what_a_dishonest_agency_put_in(
    three: Exchange, received: Delivery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forged.pdf").write_bytes(b"not from A")
    monkeypatch.setattr(PassedOn, "check_attachments", lambda *_: None)
    three.mailbox(B).pass_on(received, [C], attachments=[Attachment(tmp_path / "forged.pdf")])
    assert list(three.mailbox(C).receive()) == []
    [refused] = three.mailbox(C).refused
    assert (refused.problem.reason, refused.problem.field) == (Reason.BAD_COMMITMENT, "content.attachments")


def test_what_was_left_out_once_does_not_come_back(
    three: Exchange, received: Delivery, files: list[Attachment], monkeypatch: pytest.MonkeyPatch
) -> None:
    three.mailbox(B).pass_on(received, [C])
    [second] = three.mailbox(C).receive()
    assert refusal(lambda: three.mailbox(C).pass_on(second, [D], attachments=files)) is Reason.RULE_BROKEN
    monkeypatch.setattr(PassedOn, "check_attachments", lambda *_: None)
    three.mailbox(C).pass_on(second, [D], attachments=files)
    assert list(three.mailbox(D).receive()) == []
    assert [r.problem.reason for r in three.mailbox(D).refused] == [Reason.BAD_COMMITMENT]
