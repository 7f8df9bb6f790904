"""Attachments on their way out: sealed, kept, uploaded after everything else, and taken up again after a break."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import attached
from attached import SENT, SIZE, kept, on_line, refusal, send
from conftest import RECIPIENT, SENDER
from infoexchange import Attachment, Draft
from infoexchange.attachment import BLOCK_SIZE, sealed_length
from infoexchange.chunks import is_missing
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from messages import officer_acknowledgement

files = attached.files  # a fixture


# The way there


def test_attachments_cross_two_countries(exchange: Exchange, files: list[Attachment], tmp_path: Path) -> None:
    receipt = send(exchange, files)
    assert exchange.mailbox(SENDER).spool.stash.kept() == []
    [delivery] = exchange.mailbox(RECIPIENT).receive()
    scan, nothing = delivery.attachments
    assert (scan.name, scan.media_type, scan.length) == ("scan.pdf", "application/pdf", SIZE)
    assert (nothing.name, nothing.media_type, nothing.length) == ("nothing.txt", "text/plain", 0)
    assert scan.meta.sha256 == hashlib.sha256(SENT).digest()
    folder = tmp_path / "in"
    folder.mkdir()
    heard: list[tuple[int, int]] = []
    path = scan.save(folder, progress=lambda done, total: heard.append((done, total)))
    assert (path, Path(path).read_bytes()) == (str(folder / "scan.pdf"), SENT)
    assert Path(nothing.save(folder / "other name")).read_bytes() == b""
    assert sorted(os.listdir(folder)) == ["other name", "scan.pdf"]
    assert heard[0] == (0, SIZE)
    assert heard[-1] == (SIZE, SIZE)
    assert heard == sorted(heard)
    assert scan.read(BLOCK_SIZE - 5, 10) == SENT[BLOCK_SIZE - 5 : BLOCK_SIZE + 5]
    assert b"".join(scan.pieces()) == SENT
    exchange.mailbox(RECIPIENT).acknowledge(delivery)
    list(exchange.mailbox(RECIPIENT).receive())
    events = [e.routing.event for e in exchange.mailbox(SENDER).history(receipt.subject.envelope_digest).events]
    assert events[-1] is Event.OPENED


def test_the_manifest_tells_relays_and_auditors_only_padded_lengths(exchange: Exchange, files: Any) -> None:
    receipt = send(exchange, files)
    digest = receipt.subject.envelope_digest
    evidence = exchange.mailbox(SENDER).evidence(digest)
    refs = evidence.manifest.attachments
    assert sorted(ref.ct_length for ref in refs) == [sealed_length(0), sealed_length(SIZE)]
    assert all(word not in evidence.raw for word in (b"scan.pdf", b"nothing.txt", b"application/pdf"))
    for node in exchange.nodes.values():
        stored = b"".join(block for blob in node.depot._blobs.values() for block in blob.blocks)  # type: ignore[union-attr]
        assert SENT[:64] not in stored


def test_a_relay_takes_no_envelope_before_its_attachments(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    on_line(mailbox, monkeypatch, blocks=1)
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files[:1])) is (
        Reason.UNAVAILABLE
    )
    [sent] = mailbox.spool.unsent(10)
    [result] = mailbox.relay.submit([sent.raw])
    assert is_missing(result)
    assert list(exchange.mailbox(RECIPIENT).receive()) == []


def test_an_upload_goes_on_where_it_stopped(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    line = on_line(mailbox, monkeypatch, blocks=1)
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files)) is (
        Reason.UNAVAILABLE
    )
    assert len(mailbox.spool.stash.kept()) == 2
    line.left, line.written = 10**9, 0
    [result] = mailbox.flush()
    assert isinstance(result, Receipt)
    assert line.written == 3  # one of the four blocks was there already
    assert mailbox.spool.stash.kept() == []
    [delivery] = exchange.mailbox(RECIPIENT).receive()
    assert sorted(b"".join(a.pieces()) for a in delivery.attachments) == sorted([SENT, b""])


def test_what_the_relay_has_already_is_not_uploaded_again(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    """The answer to the envelope got lost; by the next attempt all is delivered, opened and deleted there."""
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    submit = mailbox.relay.submit

    def lossy(envelopes: Any) -> Any:
        results = submit(envelopes)
        if isinstance(results[0], Receipt):
            raise error(Reason.UNAVAILABLE, detail="answer lost")
        return results

    monkeypatch.setattr(mailbox.relay, "submit", lossy)
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files)) is (
        Reason.UNAVAILABLE
    )
    monkeypatch.setattr(mailbox.relay, "submit", submit)
    inbox = exchange.mailbox(RECIPIENT)
    for delivery in inbox.receive():
        inbox.acknowledge(delivery)
    exchange.clock.advance(timedelta(minutes=2))
    exchange.expire()
    assert kept(exchange) == (0, 0)
    line = on_line(mailbox, monkeypatch)
    [result] = mailbox.flush()
    assert isinstance(result, Receipt)
    assert (line.written, mailbox.spool.stash.kept()) == (0, [])


def test_an_upload_holds_up_no_other_message(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    line = on_line(mailbox, monkeypatch, blocks=0)
    drafts = [
        Draft(officer_acknowledgement(), [RECIPIENT], attachments=files),
        Draft(officer_acknowledgement(precedence=4), [RECIPIENT]),
        Draft(officer_acknowledgement(precedence=4), [RECIPIENT], attachments=files[1:]),
    ]
    first, second, third = mailbox.send_all(drafts)
    assert isinstance(first, UnavailableError)
    assert isinstance(second, Receipt)
    assert isinstance(third, UnavailableError)
    line.left = 1  # enough for the small one, which is a flash message and goes first
    results = mailbox.flush()
    assert [type(result) for result in results] == [UnavailableError, Receipt]
    line.left = 10**9
    assert [type(result) for result in mailbox.flush()] == [Receipt]
    # Urgent messages that wait are seen before an upload goes on.
    assert [d.envelope.header.sequence for d in exchange.mailbox(RECIPIENT).receive()] == [2, 3, 1]


def test_receiving_comes_before_uploading(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    line = on_line(mailbox, monkeypatch, blocks=0)
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files)) is (
        Reason.UNAVAILABLE
    )
    exchange.mailbox(RECIPIENT).send(officer_acknowledgement(), [SENDER])
    line.left = 10**9
    deliveries = mailbox.receive()
    next(deliveries)
    assert line.written == 0
    assert list(deliveries) == []
    assert line.written == 4
    assert mailbox.spool.unsent(10) == []


def test_a_crash_before_the_envelope_was_signed_leaves_nothing(
    exchange: Exchange, files: Any, monkeypatch: Any
) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mailbox.spool, "put", crash)
    with pytest.raises(KeyboardInterrupt):
        mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files)
    assert len(mailbox.spool.stash.kept()) == 2
    assert mailbox.flush() == []
    assert mailbox.spool.stash.kept() == []


def test_files_that_cannot_be_sent(exchange: Exchange, files: Any, tmp_path: Path) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    for wrong, reason in (
        ([Attachment(tmp_path / "missing.pdf")], Reason.BAD_FIELD),
        ([Attachment(tmp_path)], Reason.BAD_FIELD),
        ([Attachment(tmp_path / "empty", name="../x")], Reason.BAD_FIELD),
        ([Attachment(tmp_path / "empty", media_type="x")], Reason.BAD_FIELD),
        ([files[0], files[0]], Reason.BAD_FIELD),
        ([files[1]] * 65, Reason.TOO_LARGE),
    ):
        assert refusal(lambda w=wrong: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=w)) is reason
    assert mailbox.spool.unsent(10) == []
    results = mailbox.send_all(
        [
            Draft(officer_acknowledgement(), [RECIPIENT], attachments=[files[0]] * 2),
            Draft(officer_acknowledgement(), [RECIPIENT]),
        ]
    )
    assert [isinstance(result, Receipt) for result in results] == [False, True]
