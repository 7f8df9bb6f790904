"""World: a community in memory with one sender and twelve recipients, and envelopes between them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import sha256

from infoexchange.content import Content
from infoexchange.envelope import Draught, Envelope
from infoexchange.header import LIFETIME_DEFAULT, Header
from infoexchange.states import OpStatus, Precedence
from infoexchange.suites import SUITES, Suite
from infoexchange.testing import Exchange
from infoexchange.wrap import EpochKek

SENDER = "desk.a.th.example"
NEIGHBOUR = "desk.b.th.example"
RECIPIENTS = tuple(f"unit{n:02}.vn.example" for n in range(12))
SCHEMA = "infoexchange.catalogue.v1.Note"
PAYLOAD = b"\x0a\xf4\x07" + bytes(1012)  # one field; with it the sealed content pads to just over 1 KiB


class World:
    """An exchange, and its sender's envelopes in the order of their numbers."""

    def __init__(self) -> None:
        """Make everybody's keys."""
        units = [name.split(".")[0] for name in RECIPIENTS]
        self.exchange = Exchange({"th": ["desk.a", "desk.b"], "vn": units}, suites=tuple(SUITES.values()))
        self.members = self.exchange.community.members
        self.sender = self.members[SENDER]
        self._newest = (0, b"")

    def header(self, suite: Suite) -> Header:
        """Return the header of the next envelope, as its sealing completes it."""
        sequence, previous = self._newest
        now = self.exchange.clock()
        return Header(
            suite=suite.number,
            message_id=secrets.token_bytes(16),
            sender=SENDER,
            sender_bundle=self.sender.bundle.digest,
            recipients=(),
            op_status=OpStatus.EXERCISE,
            precedence=Precedence.ROUTINE,
            created_at=now,
            expires_at=now + LIFETIME_DEFAULT,
            sequence=sequence + 1,
            previous=previous,
            content_commitment=b"",
        )

    def seal(self, suite: Suite, names: Sequence[str], *, keks: bool = False) -> Envelope:
        """Return the next envelope; with `keks` under an epoch KEK for each recipient in the place of its bundle."""
        recipients = [self.kek(suite, name) if keks else self.members[name].bundle for name in names]
        keys = self.sender.identity.epochs[0]
        envelope = Envelope.seal(Content.make(SCHEMA, PAYLOAD), self.header(suite), recipients, keys)
        self._newest = (envelope.header.sequence, envelope.digest)
        return envelope

    def kek(self, suite: Suite, name: str) -> EpochKek:
        """Return a KEK as if the sender had shared it with a recipient."""
        end = self.sender.bundle.not_after
        return EpochKek(sha256(name.encode()).digest()[:16], SENDER, name, suite.number, end, bytes(32))

    def sign(self, draughts: Sequence[Draught]) -> list[Envelope]:
        """Return envelopes under one signature."""
        return Envelope.sign(draughts, self.sender.identity.epochs[0])

    def draw_up(self, suite: Suite, name: str) -> Draught:
        """Return an envelope that lacks its signature."""
        content = Content.make(SCHEMA, PAYLOAD)
        return Envelope.draw_up(content, self.header(suite), [self.members[name].bundle], bytes(32))
