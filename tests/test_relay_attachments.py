"""Attachments over two real relays on loopback: carried on beside the queue, resumed, and nobody's delay."""

from __future__ import annotations

import contextlib
import random
import threading
from pathlib import Path

import pytest

from infoexchange import Attachment, Draft
from infoexchange.attachment import BLOCK_SIZE
from infoexchange.chunks import Blob
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.mailbox import Mailbox
from infoexchange.receipt import Receipt
from infoexchange.states import Event, Precedence
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import MemorySpool
from infoexchange.transport import utc_now
from infoexchange_relay import carrying
from messages import officer_acknowledgement
from patience import LIMIT, PATIENT, until
from relays import A2, AGENCIES, A, B, Relays, delivered, events, fetched, raised

SIZE = 3 * BLOCK_SIZE + 777
SENT = random.Random(9).randbytes(SIZE)
TH, VN = "relay.th.example", "relay.vn.example"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory):
    with contextlib.closing(Relays(tmp_path_factory.mktemp("relays"), AGENCIES)) as relays:
        relays.nodes = {code: relays.start(code).node for code in ("th", "vn")}
        relays.publish()
        yield relays


@pytest.fixture
def boxes(two: Relays):
    return {name: mailbox(two, name) for name in (A, A2, B)}


def mailbox(two: Relays, name: str, spool: MemorySpool | None = None) -> Mailbox:
    member = two.community.members[name]
    remote = two.remote(name, timeout=PATIENT)
    return Mailbox(member.identity, [member.bundle], two.directory, remote, spool or MemorySpool(), clock=utc_now)


@pytest.fixture
def scan(tmp_path: Path) -> Attachment:
    (tmp_path / "scan.pdf").write_bytes(SENT)
    return Attachment(tmp_path / "scan.pdf")


def draft(scan: Attachment, *to: str, precedence: int = Precedence.ROUTINE) -> Draft:
    message = officer_acknowledgement(precedence=precedence)
    return Draft(message, to, attachments=[scan], suite=HYBRID_KEM)


def digest_of(result: object) -> bytes:
    assert isinstance(result, Receipt), result
    return result.subject.envelope_digest


def refs_of(box: Mailbox, digest: bytes):
    sent = box.spool.sent(digest)
    assert sent is not None
    return Envelope.parse(sent.raw).manifest.attachments


def empty(box: Mailbox) -> None:
    for delivery in box.receive():
        box.acknowledge(delivery)


def test_attachments_travel_from_agency_to_agency(two: Relays, boxes, scan: Attachment, tmp_path: Path) -> None:
    [result] = boxes[A].send_all([draft(scan, B, A2)])
    digest = digest_of(result)
    [ref] = refs_of(boxes[A], digest)
    until(lambda: (Event.FORWARDED, TH) in events(two.remote(A), digest))
    depots = {code: two.nodes[code].depot for code in ("th", "vn")}
    assert depots["vn"].length(Blob(TH, ref.ct_root), ref.ct_length) == ref.ct_length
    for name in (B, A2):
        [delivery] = boxes[name].receive()
        [found] = delivery.attachments
        assert found.read(BLOCK_SIZE - 3, 6) == SENT[BLOCK_SIZE - 3 : BLOCK_SIZE + 3]
        assert Path(found.save(tmp_path / name)).read_bytes() == SENT
        assert raised(lambda name=name: list(boxes[A].relay.chunks.read(ref, 0, 1))).reason is Reason.NOT_PERMITTED
        boxes[name].acknowledge(delivery)
        boxes[name].flush()
        gone = raised(lambda found=found: found.read(0, 1))
        assert (gone.reason, gone.field) == (Reason.NOT_PERMITTED, "attachment")


def test_a_large_attachment_holds_up_no_flash_message(two: Relays, boxes, scan, monkeypatch) -> None:
    held, go = threading.Event(), threading.Event()
    part, take = carrying.Carrier._part, carrying.Carrier.take
    carried, taken = [], []

    def slow(self, manifest):
        carried.append(manifest.digest)
        held.set()
        go.wait(LIMIT)
        return part(self, manifest)

    def noted(self, position, raw):
        take(self, position, raw)
        taken.append(position)

    monkeypatch.setattr(carrying.Carrier, "_part", slow)
    monkeypatch.setattr(carrying.Carrier, "take", noted)
    try:
        [large] = boxes[A].send_all([draft(scan, B)])
        assert held.wait(LIMIT)
        flash = two.seal(A2, [B], precedence=Precedence.FLASH)
        two.remote(A2).submit([flash.raw])
        until(lambda: flash.digest in fetched(two.remote(B)))
        delivered(two.remote(B), [flash.digest])
        assert fetched(two.remote(B)) == []
        # What is urgent goes first among attachments too, as soon as a part is through.
        routine, urgent = boxes[A].send_all([draft(scan, B), draft(scan, B, precedence=Precedence.FLASH)])
        until(lambda: len(taken) == 3)
    finally:
        go.set()
    digests = [digest_of(result) for result in (large, urgent, routine)]
    until(lambda: set(digests) <= set(fetched(two.remote(B))))
    first = [digest for place, digest in enumerate(carried) if digest not in carried[:place]]
    assert first == digests
    empty(boxes[B])


def test_a_peer_that_is_killed_in_between_gets_the_rest_later(two: Relays, boxes, scan, monkeypatch) -> None:
    monkeypatch.setattr("infoexchange.chunks.PART_SIZE", BLOCK_SIZE)
    part, broken = carrying.Carrier._part, []

    def breaking(self, manifest):
        if len(broken) == 1:
            broken.append(1)
            raise error(Reason.UNAVAILABLE, field="line", detail="broke")
        broken.append(0)
        return part(self, manifest)

    monkeypatch.setattr(carrying.Carrier, "_part", breaking)
    monkeypatch.setattr(carrying, "_PAUSE", 0.05)
    two.stop("vn")
    [result] = boxes[A].send_all([draft(scan, B)])
    two.nodes["vn"] = two.start("vn").node
    until(lambda: digest_of(result) in fetched(two.remote(B)))
    [delivery] = boxes[B].receive()
    assert b"".join(delivery.attachments[0].pieces()) == SENT
    boxes[B].acknowledge(delivery)
    empty(boxes[B])


def test_what_a_peer_does_not_take_is_refused_and_holds_up_nothing(two: Relays, boxes, scan, monkeypatch) -> None:
    def refusing(self, manifest):
        raise error(Reason.TOO_LARGE, field="attachment")

    monkeypatch.setattr(carrying.Carrier, "_part", refusing)
    [result] = boxes[A].send_all([draft(scan, B)])
    digest = digest_of(result)
    until(lambda: (Event.REFUSED, TH) in events(two.remote(A), digest))
    last = two.remote(A).events(digest).events[-1].routing
    assert (last.reason, last.next_relay) == (Reason.TOO_LARGE, VN)


def test_an_outbox_goes_on_with_its_upload_after_a_restart_of_both(two: Relays, boxes, scan, monkeypatch) -> None:
    chunks = boxes[A].relay.chunks
    write, calls = chunks.write, []

    def breaking(ref, offset, pieces):
        calls.append(offset)
        if len(calls) > 1:
            raise error(Reason.OVERLOADED, field="line", detail="broke")
        pieces = list(pieces)
        return write(ref, offset, pieces[: len(pieces) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "write", breaking)
        [result] = boxes[A].send_all([draft(scan, A2)])
    assert isinstance(result, ExchangeError)
    two.stop("th")
    two.nodes["th"] = two.start("th").node
    again = mailbox(two, A, boxes[A].spool)
    [sent] = again.spool.unsent(5)
    [ref] = Envelope.parse(sent.raw).manifest.attachments
    assert 0 < again.relay.chunks.length(ref) < ref.ct_length
    [result] = again.flush()
    assert isinstance(result, Receipt)
    [delivery] = boxes[A2].receive()
    assert b"".join(delivery.attachments[0].pieces()) == SENT
    boxes[A2].acknowledge(delivery)
    empty(boxes[A2])
