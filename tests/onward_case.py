"""Three transfers between four agencies of three nations, and what is needed to forge around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import EVERY_SUITE
from infoexchange import catalogue
from infoexchange.content import Content
from infoexchange.delivery import Delivery
from infoexchange.draft import Draft
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.grant import Grant, Terms
from infoexchange.mailbox import Mailbox
from infoexchange.origin import Origin
from infoexchange.ports import Result
from infoexchange.suites import DEFAULT_SUITE, OFFERED, Suite
from infoexchange.testing import DirectRelay, Exchange
from infoexchange.v1 import evidence_pb2
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement

A, B, C, D = "desk.oncb.th.example", "intel.c04.vn.example", "duty.guard.vn.example", "desk.lcdc.la.example"
OTHER = "watch.navy.la.example"  # an agency that nobody consented to
AGENCIES = {"th": ["desk.oncb"], "vn": ["intel.c04", "duty.guard"], "la": ["desk.lcdc", "watch.navy"]}
DAY = timedelta(days=1)
CONSENT = "passed on with consent"


def one(mailbox: Mailbox) -> Delivery:
    """The one message that waits, acknowledged."""
    found = list(mailbox.receive())
    assert len(found) == 1, (found, mailbox.refused)
    mailbox.acknowledge(found[0])
    mailbox.flush()
    return found[0]


def consented(holder: Mailbox, originator: Mailbox, delivery: Delivery, to: Sequence[str]) -> Grant:
    """Ask, grant, and receive the grant."""
    holder.request_consent(delivery, to, purpose="The ship has left for their waters.")
    originator.grant(one(originator))
    return Grant.parse(one(holder).message.grant)


class HostileRelay(DirectRelay):
    """A relay that hands out what it likes."""

    handed: Sequence[bytes] = ()

    def fetch(self) -> Iterator[Sequence[bytes]]:
        yield self.handed


class Case:
    """A to B to C, and C's grant for D."""

    def __init__(self, suite: Suite = DEFAULT_SUITE) -> None:
        self.exchange = Exchange(AGENCIES, suites=EVERY_SUITE if suite is not DEFAULT_SUITE else OFFERED)
        self.exchange.clock.advance(3 * DAY)  # there is a past to which a grant can belong
        self.boxes = {name: self.exchange.mailbox(name) for name in (A, B, C, D, OTHER)}
        a, b, c = (self.boxes[name] for name in (A, B, C))
        a.send_all([Draft(officer_acknowledgement(), [B], suite=suite)])
        self.first = one(b)
        consented(b, a, self.first, [C])
        b.pass_on(self.first, [C])
        self.second = one(c)
        self.grant = consented(c, a, self.second, [D])
        self.suite = suite

    @property
    def terms(self) -> Terms:
        return self.grant.terms

    def signed(self, signer: str = A, **changed: object) -> Grant:
        """C's grant with other terms, by anybody's key."""
        keys = self.exchange.community.members[signer].identity.epochs[0]
        return Grant.sign(replace(self.terms, **changed), keys)

    def origin(self, delivery: Delivery | None = None) -> Origin:
        """The Origin that C seals when it passes on what came, with all the keys that a forgery could need."""
        delivery = delivery or self.second
        bundles = [self.exchange.community.members[name].bundle for name in (A, B, C)]
        return Origin.make(delivery.envelope, delivery.content, C, bundles)

    def seal(
        self,
        grant: Grant | None,
        origin: Origin | bytes | None,
        *,
        to: Sequence[str] = (D,),
        payload: bytes = b"",
        **header: object,
    ) -> Envelope:
        """What a dishonest C seals."""
        members = self.exchange.community.members
        sealed = origin.raw if isinstance(origin, Origin) else origin or b""
        content = Content.make(self.second.content.schema, payload or self.second.content.payload, origin=sealed)
        standing = self.boxes[C].spool.standing()
        changed = replace(
            self.second.envelope.header,
            message_id=content.salt_seed[:16],
            sender=C,
            sender_bundle=members[C].bundle.digest,
            sequence=standing.sequence + 1,
            previous=standing.digest,
            **{"created_at": self.exchange.clock(), "expires_at": self.exchange.clock() + DAY, **header},
        )
        bundles = [members[name].bundle for name in to]
        return Envelope.seal(content, changed, bundles, members[C].identity.epochs[0], grant=grant)

    def submit(self, raw: bytes) -> Result:
        """What C's relay makes of it."""
        [result] = self.boxes[C].relay.submit([raw])
        return result

    def proven(self) -> Evidence:
        """The evidence of the third transfer, as its sender makes it, with everything that can be had."""
        receipt = self.boxes[C].pass_on(self.second, [D])
        one(self.boxes[D])
        self.exchange.witness()
        return self.boxes[C].evidence(receipt.subject.envelope_digest)

    def handed(self, *raws: bytes, to: str = D) -> Mailbox:
        """The recipient's mailbox, fresh, on a relay that hands out these bytes."""
        member = self.exchange.community.members[to]
        party = self.exchange.directory.party(to, at=self.exchange.clock())
        relay = HostileRelay(self.exchange, self.exchange.node_of(to), party)
        relay.handed = raws
        spool = type(self.boxes[to].spool)()
        return Mailbox(
            member.identity, [member.bundle], self.exchange.directory, relay, spool, clock=self.exchange.clock
        )


def free(**marks: object) -> dict[str, object]:
    """Marks that leave a message free."""
    return {"onward_transfer": catalogue.ONWARD_TRANSFER_FREE_WITHIN_MARKS, "tlp": catalogue.TLP_GREEN, **marks}


def finding(case: Case, raw: bytes, name: str = CONSENT) -> tuple[Verdict, str]:
    """How one check of an evidence file comes out."""
    report = Evidence.parse(raw).verify(case.exchange.directory, now=case.exchange.clock())
    [check] = [check for check in report.checks if check.name == name]
    return check.verdict, check.reason


def rewritten(evidence: Evidence, envelope: Envelope | None = None, **parts: object) -> bytes:
    """The evidence with other parts, made as good as a forger can make it."""
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    if envelope:
        message.envelope, message.envelope_digest = envelope.raw, envelope.digest
    for name, value in parts.items():
        message.ClearField(name)
        if isinstance(value, bytes):
            setattr(message, name, value)
        else:
            getattr(message, name).extend(value)
    return message.SerializeToString(deterministic=True)


def reason_of(call: Callable[[], object]) -> Reason:
    """The reason for which a call is refused."""
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason
