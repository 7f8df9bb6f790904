"""Scene: real messages of one suite, sent from one agency to others, and everybody who may be shown a forgery of them.

desk.oncb.th sends, intel.c04.vn, duty.guard.vn and desk.lcdc.la receive; desk.navy.th sits behind the sender's relay,
and duty.port.kh and its relay have no part in anything.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from attacks.table import NOTHING, PASSES, Answer, Judge, Kind, Shown
from conftest import EVERY_SUITE, RECIPIENT, SECOND, SENDER
from infoexchange.bundle import KeyBundle
from infoexchange.draft import Draft
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.evidence import Evidence
from infoexchange.keys import EpochKeys
from infoexchange.listing import Party
from infoexchange.mailbox import Mailbox
from infoexchange.node import Node
from infoexchange.ports import History, Notice, Result
from infoexchange.receipt import Receipt
from infoexchange.statement import parse_statement
from infoexchange.suites import Suite
from infoexchange.testing import Exchange, Member, MemorySpool
from infoexchange.v1 import evidence_pb2
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement

T = TypeVar("T")
COLLEAGUE, FELLOW, OUTSIDER = "desk.navy.th.example", "desk.lcdc.la.example", "duty.port.kh.example"
HOME, PEER, FELLOW_RELAY, STRANGER = (f"relay.{code}.example" for code in ("th", "vn", "la", "kh"))
NATIONS = {
    "th": ["desk.oncb", "desk.navy"],
    "vn": ["intel.c04", "duty.guard"],
    "la": ["desk.lcdc"],
    "kh": ["duty.port"],
}
RECIPIENTS = [RECIPIENT, SECOND, FELLOW]


@dataclass(frozen=True)
class Letter:
    """An envelope as its sender sealed it, and the proof that it was taken."""

    kind: Kind
    envelope: Envelope
    receipt: Receipt

    @property
    def raw(self) -> bytes:
        """The transport form with every wrap."""
        return self.envelope.raw


class Hostile:
    """A relay that hands out what it is told to, and remembers what it is told."""

    def __init__(
        self,
        raws: Sequence[bytes] = (),
        *,
        bundles: Sequence[KeyBundle] = (),
        directories: Sequence[bytes] = (),
        answer: Callable[[bytes], Result] | None = None,
    ) -> None:
        self._raws, self._bundles, self._directories, self._answer = raws, bundles, directories, answer
        self.told: list[Notice] = []
        self.chunks: object = None  # no attachment comes with what it hands out, unless one is put here
        self.receipt: Receipt | None = None

    def fetch(self) -> Iterator[Sequence[bytes]]:
        if self._raws:
            yield list(self._raws)

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        return self._bundles

    def directories(self, after: int) -> Sequence[bytes]:
        return self._directories

    def publish(self, bundles: Sequence[KeyBundle]) -> Sequence[Result]:
        return []

    def submit(self, envelopes: Sequence[bytes]) -> Sequence[Result]:
        assert self._answer
        return [self._answer(raw) for raw in envelopes]

    def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Result]:
        self.told += notices
        assert self.receipt
        return [self.receipt] * len(notices)

    def events(self, digest: bytes) -> History:
        return History((), ())

    def __getattr__(self, name: str) -> Callable[..., object]:
        """Nothing else can be had of it."""

        def silent(*_: object, **__: object) -> object:
            raise error(Reason.UNAVAILABLE, field=name, detail="a hostile relay")

        return silent


class Scene:
    """One suite: the letters, and the judges."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.exchange = Exchange(NATIONS, suites=EVERY_SUITE)
        self.now = self.exchange.clock.advance(timedelta(hours=2))  # there is a time before the messages
        for name in self.exchange.community.members:
            self.exchange.mailbox(name)
        self.letters: dict[Kind, Letter] = {}
        self.accepted: dict[tuple[str, bytes], Receipt] = {}  # by relay and envelope, once they were asked for
        # The one to take parts from; also the first, so that the others have one before them.
        self.other = self._send(Kind.SINGLE, Draft(officer_acknowledgement(), [RECIPIENT], suite=suite))
        to_one = Draft(officer_acknowledgement(), [RECIPIENT], suite=suite)
        to_all = Draft(officer_acknowledgement(), RECIPIENTS, suite=suite)
        blind = Draft(officer_acknowledgement(), RECIPIENTS, suite=suite, blind=True)
        for kind, *drafts in ((Kind.SINGLE, to_one), (Kind.SEVERAL, to_all), (Kind.BLIND, blind)):
            self.letters[kind] = self._send(kind, *drafts)
        self.letters[Kind.BATCH] = self._send(Kind.BATCH, to_one, to_all, to_all)
        self._receive()
        sender = self.exchange.mailbox(SENDER)
        assert all(isinstance(result, Receipt) for result in sender.share_keks(RECIPIENTS, suite))
        self._receive()
        sender.refresh()
        self.letters[Kind.EPOCH_KEK] = self._send(Kind.EPOCH_KEK, to_all)
        self._receive()
        self.exchange.witness()
        self.fresh = {name: self.fresh_node(name) for name in self.exchange.nodes}

    def _send(self, kind: Kind, *drafts: Draft) -> Letter:
        sender = self.exchange.mailbox(SENDER)
        receipts = sender.send_all(drafts)
        receipt = receipts[len(drafts) // 2]
        assert isinstance(receipt, Receipt), receipt
        sent = sender.spool.sent(receipt.subject.envelope_digest)
        assert sent
        return Letter(kind, Envelope.parse(sent.raw), receipt)

    def _receive(self) -> None:
        for name in RECIPIENTS:
            box = self.exchange.mailbox(name)
            for delivery in box.receive():
                box.acknowledge(delivery)
            box.flush()
            assert box.refused == []

    # Who is who

    def member(self, name: str) -> Member:
        return self.exchange.community.members[name]

    def keys(self, name: str) -> EpochKeys:
        return self.member(name).identity.epochs[0]

    def bundle(self, name: str) -> KeyBundle:
        return self.member(name).bundle

    def party(self, name: str) -> Party:
        return self.exchange.directory.party(name, at=self.now)

    @functools.cached_property
    def bundles(self) -> list[KeyBundle]:
        return [member.bundle for member in self.exchange.community.members.values()]

    @contextlib.contextmanager
    def at(self, time: datetime) -> Iterator[None]:
        """Let everybody's clock stand at another time."""
        self.exchange.clock.now = time
        try:
            yield
        finally:
            self.exchange.clock.now = self.now

    def fresh_node(self, name: str) -> Node:
        """A relay that knows everybody's keys and no envelope."""
        node = self.exchange._node(name)
        someone = self.party(HOME)
        node.commit([node.decide_bundle(someone, bundle) for bundle in self.bundles])
        return node

    # Judges

    def shown(
        self, *raws: bytes, caller: str = SENDER, recipient: str = RECIPIENT, bundles: Sequence[KeyBundle] | None = None
    ) -> Shown:
        """Put envelopes before all four: each relay as the hop before hands it over. Of several all get one answer."""
        own, peer = self.party(caller).relay, self.party(recipient).relay
        shown: dict[Judge, Callable[[], object]] = {
            Judge.OWN_RELAY: alike(raws, lambda raw: self.fresh[own].decide(self.party(caller), raw)),
            Judge.PEER_RELAY: alike(raws, lambda raw: self.fresh[peer].decide(self.party(own), raw)),
            Judge.RECIPIENT: alike(raws, lambda raw: self.delivered(recipient, raw, bundles=bundles)),
            Judge.AUDITOR: alike(raws, lambda raw: self.audited(raw, bundles=bundles)),
        }
        return shown

    def node(self, name: str, *knows: str) -> Node:
        """A relay that knows the keys of these agencies and no envelope."""
        node = self.exchange._node(name)
        node.commit([node.decide_bundle(self.party(HOME), self.bundle(agency)) for agency in knows])
        return node

    def box(self, name: str, relay: Hostile, *, spool: MemorySpool | None = None) -> Mailbox:
        """An agency's library, which knows the KEKs it was given and no envelope, at a hostile relay."""
        known = self.exchange.mailbox(name).spool
        if spool is None:
            spool = MemorySpool()
            for row in known.keks():
                spool.note_kek(row)
        relay.receipt = self.other.receipt
        member = self.member(name)
        return Mailbox(
            member.identity, [member.bundle], self.exchange.directory, relay, spool, clock=self.exchange.clock
        )

    def delivered(
        self, name: str, *raws: bytes, bundles: Sequence[KeyBundle] | None = None, spool: MemorySpool | None = None
    ) -> Answer:
        """What an agency's library makes of the last of some envelopes that a relay hands out."""
        answer: Answer = NOTHING
        for raw in raws:
            box = self.box(name, Hostile([raw], bundles=self.bundles if bundles is None else bundles), spool=spool)
            spool = box.spool  # type: ignore[assignment]
            deliveries = list(box.receive())
            assert not (deliveries and box.refused)
            answer = box.refused[0].problem.reason if box.refused else PASSES if deliveries else NOTHING
        return answer

    def evidence(self, letter: Letter) -> Evidence:
        return self.exchange.mailbox(SENDER).evidence(letter.envelope.digest)

    @functools.cached_property
    def _file(self) -> evidence_pb2.Evidence:
        """An evidence file without keys and events."""
        message = evidence_pb2.Evidence.FromString(self.evidence(self.other).raw)
        del message.events[:], message.statements[:], message.bundles[:], message.certificates[:], message.crls[:]
        return message

    def file_of(self, raw: bytes, bundles: Sequence[KeyBundle] | None = None, *others: str) -> evidence_pb2.Evidence:
        """A file for an envelope, as good as a forger can make it, with the keys of its sender and of others."""
        message = evidence_pb2.Evidence()
        message.CopyFrom(self._file)
        message.envelope = raw
        wanted = {SENDER, *others}
        with contextlib.suppress(ExchangeError):
            envelope = Envelope.parse(raw)
            message.envelope_digest = envelope.digest
            wanted.add(envelope.header.sender)
        if bundles is None:
            bundles = [bundle for bundle in self.bundles if bundle.owner in wanted]
        message.bundles[:] = sorted(bundle.raw for bundle in bundles)
        message.certificates[:] = sorted({c for bundle in bundles for c in bundle.certificates})
        message.crls[:] = sorted({crl for bundle in bundles for crl in bundle.crls})
        return message

    def audited(
        self,
        raw: bytes,
        *,
        events: Sequence[Receipt] = (),
        statements: Sequence[bytes] = (),
        bundles: Sequence[KeyBundle] | None = None,
        check: str = "",
    ) -> Answer:
        """What an auditor finds in a file about an envelope: the first failure, or how one named check came out."""
        issuers = [parse_statement(statement).statement.issuer for statement in statements]
        message = self.file_of(raw, bundles, *issuers)
        for receipt in events:
            message.events.add().ParseFromString(receipt.raw)
        message.statements[:] = sorted(statements)
        return self.judged(message, check)

    def judged(self, message: evidence_pb2.Evidence, check: str = "") -> Answer:
        """What an auditor finds in an evidence file: the first failure, or how one named check came out."""
        evidence = Evidence.parse(message.SerializeToString(deterministic=True))
        report = evidence.verify(self.exchange.directory, now=self.exchange.clock())
        failed = [c for c in report.checks if c.verdict is Verdict.TOTAL_FAILED]
        named = [c for c in report.checks if c.name == check and c.verdict is not Verdict.TOTAL_PASSED]
        word = next((c.reason for c in (*failed, *named)), PASSES)
        return next((reason for reason in Reason if reason.word == word), word)


def alike(things: Sequence[T], judge: Callable[[T], object]) -> Callable[[], object]:
    """Put one thing after the other before a judge, who must answer all alike."""

    def judged() -> Answer:
        answers = [answer_of(lambda thing=thing: judge(thing)) for thing in things]
        assert len(set(answers)) == 1, [
            (answer, str(thing)[:99]) for answer, thing in zip(answers, things, strict=True)
        ]
        return answers[0]

    return judged


def answer_of(call: Callable[[], object]) -> Answer:
    """What a judge says: the reason of a refusal, its own word, or that it passes."""
    try:
        found = call()
    except ExchangeError as problem:
        return problem.reason
    if isinstance(found, ExchangeError):
        return found.reason
    return found if isinstance(found, Answer) else PASSES
