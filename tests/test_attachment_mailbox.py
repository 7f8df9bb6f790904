"""Attachments from mailbox to mailbox over two relays in memory: kept, resumed, fetched, deleted when all is said."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import Attachment, Draft
from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, Block, Sealing, sealed_length
from infoexchange.chunks import is_missing
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, RefusedError, UnavailableError, error
from infoexchange.mailbox import Mailbox, enclosing
from infoexchange.node import attachments
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import DirectRelay, Exchange, MemoryDepot
from messages import officer_acknowledgement

SIZE = 2 * BLOCK_SIZE + 12_345
SENT = random.Random(5).randbytes(SIZE)
NAVY = "desk.navy.th.example"


@pytest.fixture
def files(tmp_path: Path) -> list[Attachment]:
    (tmp_path / "scan.pdf").write_bytes(SENT)
    (tmp_path / "empty").write_bytes(b"")
    return [Attachment(tmp_path / "scan.pdf"), Attachment(str(tmp_path / "empty"), name="nothing.txt")]


def send(exchange: Exchange, files: list[Attachment], *to: str) -> Receipt:
    for name in exchange.community.members:
        exchange.mailbox(name)
    return exchange.mailbox(SENDER).send(officer_acknowledgement(), to or [RECIPIENT], attachments=files)


def refs_of(exchange: Exchange, receipt: Receipt) -> tuple[AttachmentRef, ...]:
    sent = exchange.mailbox(SENDER).spool.sent(receipt.subject.envelope_digest)
    assert sent is not None
    return Envelope.parse(sent.raw).manifest.attachments


def depot(exchange: Exchange, agency: str) -> MemoryDepot:
    found = exchange.node_of(agency).depot
    assert isinstance(found, MemoryDepot)
    return found


def kept(exchange: Exchange) -> tuple[int, int]:
    """How many blobs the sender's and the recipient's relay keep."""
    return tuple(len(depot(exchange, name)._blobs) for name in (SENDER, RECIPIENT))  # type: ignore[return-value]


def refusal(call: Any) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason


class Line:
    """A line to the relay that breaks where a test says, before or after the work was done."""

    def __init__(self, chunks: Any, *, blocks: int = 10**9) -> None:
        self.chunks, self.left, self.written = chunks, blocks, 0

    def length(self, ref: AttachmentRef) -> int:
        return self.chunks.length(ref)

    def write(self, ref: AttachmentRef, offset: int, pieces: Any) -> int:
        def breaking() -> Iterator[bytes]:
            for piece in pieces:
                if not self.left:
                    raise error(Reason.UNAVAILABLE, detail="the line broke")
                self.left -= 1
                self.written += 1
                yield piece

        return self.chunks.write(ref, offset, breaking())

    def read(self, ref: AttachmentRef, offset: int, size: int) -> Iterator[Block]:
        for block in self.chunks.read(ref, offset, size):
            if not self.left:
                raise error(Reason.UNAVAILABLE, detail="the line broke")
            self.left -= 1
            yield block


def on_line(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, **options: int) -> Line:
    line = Line(mailbox.relay.chunks, **options)
    monkeypatch.setattr(mailbox.relay, "chunks", line)
    return line


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


# The other end


def test_saving_goes_on_where_it_stopped(exchange: Exchange, files: Any, tmp_path: Path, monkeypatch: Any) -> None:
    send(exchange, files[:1])
    inbox = exchange.mailbox(RECIPIENT)
    line = on_line(inbox, monkeypatch, blocks=2)
    [delivery] = inbox.receive()
    [scan] = delivery.attachments
    target = tmp_path / "copy.pdf"
    assert refusal(lambda: scan.save(target)) is Reason.UNAVAILABLE
    [part] = tmp_path.glob("*.part")
    assert SENT.startswith(part.read_bytes())
    assert part.stat().st_size > BLOCK_SIZE
    assert part.stat().st_mode & 0o777 == 0o600
    assert not target.exists()
    line.left = 10**9
    assert Path(scan.save(target)).read_bytes() == SENT
    assert list(tmp_path.glob("*.part")) == []


def test_a_damaged_part_is_noticed_and_thrown_away(
    exchange: Exchange, files: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    send(exchange, files[:1])
    inbox = exchange.mailbox(RECIPIENT)
    line = on_line(inbox, monkeypatch, blocks=2)
    [[scan]] = [delivery.attachments for delivery in inbox.receive()]
    assert refusal(lambda: scan.save(tmp_path / "copy")) is Reason.UNAVAILABLE
    [part] = tmp_path.glob("*.part")
    part.write_bytes(b"x" + part.read_bytes()[1:])
    line.left = 10**9
    assert refusal(lambda: scan.save(tmp_path / "copy")) is Reason.BAD_COMMITMENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "scan.pdf"]
    assert Path(scan.save(tmp_path / "copy")).read_bytes() == SENT


def test_nothing_is_overwritten_without_being_told(exchange: Exchange, files: Any, tmp_path: Path) -> None:
    send(exchange, files[:1])
    [[scan]] = [delivery.attachments for delivery in exchange.mailbox(RECIPIENT).receive()]
    target = tmp_path / "copy"
    target.write_text("mine")
    assert refusal(lambda: scan.save(target)) is Reason.NOT_PERMITTED
    assert target.read_text() == "mine"
    dangling = tmp_path / "link"
    dangling.symlink_to("nowhere")
    assert refusal(lambda: scan.save(dangling)) is Reason.NOT_PERMITTED
    assert Path(scan.save(target, overwrite=True)).read_bytes() == SENT
    assert refusal(lambda: scan.save(tmp_path / "no folder" / "x")) is Reason.UNAVAILABLE


def test_a_lying_relay_is_found_out(exchange: Exchange, files: Any, tmp_path: Path) -> None:
    send(exchange, files[:1])
    for blob in depot(exchange, RECIPIENT)._blobs.values():
        blob.blocks[1] = bytes(1) + blob.blocks[1][1:]
    inbox = exchange.mailbox(RECIPIENT)
    [delivery] = inbox.receive()
    [scan] = delivery.attachments
    assert refusal(lambda: scan.save(tmp_path / "copy")) is Reason.BAD_SIGNATURE
    assert refusal(lambda: scan.read(BLOCK_SIZE, 1)) is Reason.BAD_SIGNATURE
    assert not (tmp_path / "copy").exists()


def test_what_does_not_open_is_refused_with_a_signed_statement(
    exchange: Exchange, files: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(enclosing, "Sealing", SealingOfAnother)
    receipt = send(exchange, files[:1])
    inbox = exchange.mailbox(RECIPIENT)
    [delivery] = inbox.receive()
    with pytest.raises(ExchangeError) as caught:
        b"".join(delivery.attachments[0].pieces())
    assert caught.value.reason is Reason.BAD_COMMITMENT
    inbox.refuse(delivery, caught.value.reason)
    list(inbox.receive())
    last = exchange.mailbox(SENDER).history(receipt.subject.envelope_digest).events[-1].routing
    assert (last.event, last.reason) == (Event.REFUSED, Reason.BAD_COMMITMENT)


class SealingOfAnother:
    """Seals zeros of the length described."""

    def __init__(self, meta: Any, key: Any) -> None:
        other = bytes(meta.length)
        self._meta = replace(meta, sha256=hashlib.sha256(other).digest())
        self._other, self._sealing = other, Sealing(self._meta, key)

    def pieces(self, plaintext: Any) -> Iterator[bytes]:
        return self._sealing.pieces([self._other])

    @property
    def ref(self) -> AttachmentRef:
        return self._sealing.ref


# Who may, and for how long


def direct(exchange: Exchange, name: str, node: str) -> DirectRelay:
    return DirectRelay(exchange, exchange.nodes[node], exchange.directory.party(name, at=exchange.clock()))


def test_only_who_waits_for_it_can_read_and_only_until_its_end(exchange: Exchange, files: Any) -> None:
    [ref] = refs_of(exchange, send(exchange, files[:1], RECIPIENT))
    th, vn = "relay.th.example", "relay.vn.example"

    def reads(name: str, node: str) -> bool:
        try:
            return len(list(direct(exchange, name, node).chunks.read(ref, 0, 1))) == 1
        except RefusedError:  # NOT_PERMITTED, whether it is there or not
            return False

    assert [reads(name, vn) for name in (RECIPIENT, SECOND, SENDER, th)] == [True, False, False, False]
    assert [reads(name, th) for name in (SENDER, NAVY, vn)] == [False, False, False]
    inbox = exchange.mailbox(RECIPIENT)
    [delivery] = inbox.receive()
    assert reads(RECIPIENT, vn)
    inbox.acknowledge(delivery)
    inbox.flush()
    assert not reads(RECIPIENT, vn)
    assert refusal(lambda: b"".join(delivery.attachments[0].pieces())) is Reason.NOT_PERMITTED


def test_nobody_learns_or_spoils_what_another_uploads(exchange: Exchange, files: Any) -> None:
    [ref] = refs_of(exchange, send(exchange, files[:1], SECOND, NAVY))
    own, other = direct(exchange, SENDER, "relay.th.example"), direct(exchange, NAVY, "relay.th.example")
    assert own.chunks.length(ref) == ref.ct_length  # still kept for the navy
    assert other.chunks.length(ref) == 0
    other.chunks.write(ref, 0, [bytes(BLOCK_SIZE)])
    assert own.chunks.length(ref) == ref.ct_length
    stranger = direct(exchange, RECIPIENT, "relay.th.example")
    for call in (lambda: stranger.chunks.length(ref), lambda: stranger.chunks.write(ref, 0, [])):
        assert refusal(call) is Reason.NOT_PERMITTED


def test_an_envelope_may_not_name_what_another_party_uploaded(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    [ref] = refs_of(exchange, send(exchange, files[:1], NAVY, SECOND))
    thief = exchange.mailbox(NAVY)

    class Claiming(SealingOfAnother):
        @property
        def ref(self) -> AttachmentRef:
            return replace(self._sealing.ref, ct_root=ref.ct_root)

    monkeypatch.setattr(enclosing, "Sealing", Claiming)
    assert refusal(lambda: thief.send(officer_acknowledgement(), [SENDER], attachments=files[:1])) is (
        Reason.BAD_SIGNATURE
    )
    assert list(exchange.mailbox(SENDER).receive()) == []


def test_bytes_are_kept_until_every_recipient_has_ended(exchange: Exchange, files: Any) -> None:
    send(exchange, files, RECIPIENT, SECOND, NAVY)

    def later() -> tuple[int, int]:
        exchange.clock.advance(timedelta(minutes=2))
        exchange.expire()
        return kept(exchange)

    assert later() == (2, 2)
    for name, left in ((RECIPIENT, (2, 2)), (NAVY, (0, 2)), (SECOND, (0, 0))):
        box = exchange.mailbox(name)
        for delivery in box.receive():
            assert later() != (0, 0)
            box.acknowledge(delivery)
        box.flush()
        assert later() == left
    assert all(node.store.needs.over(exchange.clock(), limit=9) == [] for node in exchange.nodes.values())


def test_what_nobody_fetches_goes_with_the_envelope(exchange: Exchange, files: Any) -> None:
    send(exchange, files)
    [delivery] = exchange.mailbox(RECIPIENT).receive()
    exchange.clock.advance(timedelta(days=14))
    exchange.expire()
    assert kept(exchange) == (0, 2)
    exchange.clock.advance(timedelta(minutes=6))
    exchange.expire()
    assert kept(exchange) == (0, 0)
    assert refusal(lambda: delivery.attachments[0].read(0, 1)) is Reason.NOT_PERMITTED


def test_uploads_without_an_envelope_go_after_seven_days(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    line = on_line(mailbox, monkeypatch, blocks=1)
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files)) is (
        Reason.UNAVAILABLE
    )
    exchange.clock.advance(attachments.UNNAMED_LIFETIME)
    exchange.expire()
    assert kept(exchange) == (1, 0)
    exchange.clock.advance(timedelta(seconds=1))
    exchange.expire()
    assert kept(exchange) == (0, 0)
    line.left, line.written = 10**9, 0
    [result] = mailbox.flush()  # the sender still has everything
    assert isinstance(result, Receipt)
    assert line.written == 4


def test_a_quota_bounds_what_no_envelope_names(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    place = depot(exchange, SENDER)
    place.quota = 3 * BLOCK_SIZE
    for _ in range(3):  # what was named does not count any more
        mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files[:1])
    line = on_line(mailbox, monkeypatch, blocks=1)
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files[:1])) is (
        Reason.UNAVAILABLE
    )
    line.left = 10**9
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files[:1])) is (
        Reason.OVERLOADED
    )
    assert [type(result) for result in mailbox.flush()] == [Receipt, Receipt]  # one after the other there is room
    monkeypatch.setattr(attachments, "UNNAMED_MAX", 0)
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files[:1])) is (
        Reason.OVERLOADED
    )


def test_a_relay_without_a_place_for_attachments_says_so(exchange: Exchange, files: Any) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    exchange.node_of(SENDER).depot = None
    with pytest.raises(ExchangeError) as caught:
        mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files)
    assert (caught.value.reason, caught.value.field) == (Reason.UNAVAILABLE, "attachment")
    assert exchange.node_of(SENDER).sweep() == 0


def test_damaged_ciphertext_in_the_spool_ends_the_message(exchange: Exchange, files: Any, monkeypatch: Any) -> None:
    exchange.mailbox(RECIPIENT)
    mailbox = exchange.mailbox(SENDER)
    line = on_line(mailbox, monkeypatch, blocks=0)
    assert refusal(lambda: mailbox.send(officer_acknowledgement(), [RECIPIENT], attachments=files[:1])) is (
        Reason.UNAVAILABLE
    )
    stash = mailbox.spool.stash
    [name] = stash.kept()
    stash._kept[name] = stash._kept[name][:-1] + b"x"  # type: ignore[attr-defined]
    line.left = 10**9
    [result] = mailbox.flush()
    assert isinstance(result, ExchangeError)
    assert result.reason is Reason.BAD_SIGNATURE
    assert (mailbox.spool.unsent(10), list(stash.kept()), kept(exchange)) == ([], [], (0, 0))
