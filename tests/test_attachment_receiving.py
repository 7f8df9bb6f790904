"""Attachments that arrived: fetched, verified, saved whole or not at all; who may have them, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import attached
from attached import NAVY, SENT, SealingOfAnother, depot, kept, on_line, refs_of, refusal, send
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.attachment import BLOCK_SIZE, AttachmentRef
from infoexchange.errors import ExchangeError, Reason, RefusedError
from infoexchange.mailbox import enclosing
from infoexchange.node import attachments
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import DirectRelay, Exchange
from messages import officer_acknowledgement

files = attached.files  # a fixture


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
