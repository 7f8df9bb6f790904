"""Mailboxes with attachments over two relays in memory, and lines between them that break."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import RECIPIENT, SENDER
from infoexchange import Attachment
from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, Block, Sealing
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.mailbox import Mailbox
from infoexchange.receipt import Receipt
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
    line, relay, others = Line(mailbox.relay.chunks, **options), mailbox.relay, DirectRelay.chunks.fget
    monkeypatch.setattr(DirectRelay, "chunks", property(lambda self: line if self is relay else others(self)))
    return line


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
