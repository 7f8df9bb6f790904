"""Two relays whose attachments lie in a bucket: one attachment from end to end, and no message waits for the bucket."""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import buckets
from infoexchange import Attachment, Draft
from infoexchange.attachment import BLOCK_SIZE
from infoexchange.chunks import Blob
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.mailbox import Mailbox
from infoexchange.node import attachments as node_attachments
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import MemorySpool
from infoexchange.transport import utc_now
from lines import Fault, line_to
from messages import officer_acknowledgement
from patience import LIMIT, PATIENT, until
from relays import A2, AGENCIES, A, B, Relays, delivered, events, fetched

bucket = pytest.importorskip("infoexchange_relay.stores.bucket", exc_type=ImportError)

SIZE = BLOCK_SIZE + 777
SENT = random.Random(9).randbytes(SIZE)
TH = "relay.th.example"


@pytest.fixture(scope="module")
def line():
    with buckets.running() as url, line_to(url) as line:
        yield line


@pytest.fixture(scope="module")
def two(line, tmp_path_factory: pytest.TempPathFactory):
    with contextlib.closing(Relays(tmp_path_factory.mktemp("relays"), AGENCIES)) as relays:
        for code, config in relays.configs.items():
            place = buckets.place(line.url)
            relays.configs[code] = replace(
                config,
                attachments_bucket=str(place),
                attachments_endpoint=place.endpoint,
                attachments_region=place.region,
            )
        relays.nodes = {code: relays.start(code).node for code in ("th", "vn")}
        relays.publish()
        yield relays


@pytest.fixture
def boxes(two: Relays):
    return {name: mailbox(two, name) for name in (A, B)}


def mailbox(two: Relays, name: str, spool: MemorySpool | None = None) -> Mailbox:
    member = two.community.members[name]
    remote = two.remote(name, timeout=PATIENT)
    return Mailbox(member.identity, [member.bundle], two.directory, remote, spool or MemorySpool(), clock=utc_now)


@pytest.fixture
def scan(tmp_path: Path) -> Attachment:
    (tmp_path / "scan.pdf").write_bytes(SENT)
    return Attachment(tmp_path / "scan.pdf")


def draft(scan: Attachment, *to: str) -> Draft:
    return Draft(officer_acknowledgement(), to, attachments=[scan], suite=HYBRID_KEM)


def test_an_attachment_travels_from_bucket_to_bucket(two: Relays, boxes, scan, tmp_path, line, monkeypatch) -> None:
    askers: set[str] = set()
    names = bucket.Bucket.names

    def noted(self, *args, **kwargs):
        askers.add(threading.current_thread().name.partition("_")[0])
        return names(self, *args, **kwargs)

    monkeypatch.setattr(bucket.Bucket, "names", noted)
    [result] = boxes[A].send_all([draft(scan, B)])
    assert isinstance(result, Receipt), result
    digest = result.subject.envelope_digest
    sent = boxes[A].spool.sent(digest)
    [ref] = Envelope.parse(sent.raw).manifest.attachments
    until(lambda: (Event.FORWARDED, TH) in events(two.remote(A), digest))
    depots = {code: two.nodes[code].depot for code in ("th", "vn")}
    assert depots["vn"].length(Blob(TH, ref.ct_root), ref.ct_length) == ref.ct_length
    [delivery] = boxes[B].receive()
    assert Path(delivery.attachments[0].save(tmp_path / "got")).read_bytes() == SENT
    boxes[B].acknowledge(delivery)
    boxes[B].flush()
    # Those who transfer, and never one that checks, commits or reads for everybody, nor the loop.
    assert "chunk" in askers
    assert not askers & {"check", "write", "read", "relays"}
    for code in ("th", "vn"):
        assert not (two.configs[code].data / "attachments").exists()
        later = utc_now() + 2 * node_attachments.UNNAMED_LIFETIME
        monkeypatch.setattr(two.nodes[code].depot, "_skew", utc_now() - later)
        until(two.nodes[code].sweep)
    for depot in depots.values():
        assert [key for key in depot.bucket.names("") if not key.startswith("relay/")] == []


def test_a_bucket_that_stands_still_holds_up_no_message(two: Relays, boxes, scan, line) -> None:
    reached, over = threading.Event(), threading.Event()

    def stand() -> None:
        reached.set()
        over.wait(LIMIT)

    line.faults.append(Fault("", times=10_000, then=stand))
    sending = threading.Thread(target=boxes[A].send_all, args=([draft(scan, B)],))
    sending.start()
    try:
        assert reached.wait(LIMIT)
        short = [two.seal(A2, [B]) for _ in range(8)]
        results = two.remote(A2).submit([envelope.raw for envelope in short])
        assert all(isinstance(result, Receipt) for result in results)
        until(lambda: {envelope.digest for envelope in short} <= set(fetched(two.remote(B))))
    finally:
        line.faults.clear()
        over.set()
        sending.join(LIMIT)
    delivered(two.remote(B), [envelope.digest for envelope in short])
    until(lambda: fetched(two.remote(B)))
    [delivery] = boxes[B].receive()
    assert b"".join(delivery.attachments[0].pieces()) == SENT
    boxes[B].acknowledge(delivery)


def test_an_upload_goes_on_at_a_node_that_never_saw_it(two: Relays, boxes, scan, monkeypatch) -> None:
    chunks = boxes[A].relay.chunks
    write, calls = chunks.write, []

    def breaking(ref, offset, pieces):
        calls.append(offset)
        if len(calls) > 1:
            raise error(Reason.OVERLOADED, field="line", detail="broke")
        pieces = list(pieces)
        return write(ref, offset, [b"".join(pieces)[: BLOCK_SIZE + 10]])

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "write", breaking)
        [result] = boxes[A].send_all([draft(scan, B)])
    assert isinstance(result, ExchangeError)
    two.stop("th")
    two.nodes["th"] = two.start("th").node
    again = mailbox(two, A, boxes[A].spool)
    [sent] = again.spool.unsent(5)
    [ref] = Envelope.parse(sent.raw).manifest.attachments
    assert again.relay.chunks.length(ref) == BLOCK_SIZE
    [result] = again.flush()
    assert isinstance(result, Receipt)
    until(lambda: fetched(two.remote(B)))
    [delivery] = boxes[B].receive()
    assert b"".join(delivery.attachments[0].pieces()) == SENT
    boxes[B].acknowledge(delivery)
