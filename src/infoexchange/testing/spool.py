"""MemorySpool: an agency's outbox and inbox that last as long as their process."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from infoexchange.certificates import CLOCK_SKEW
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.flows import Step
from infoexchange.grant import Grant
from infoexchange.header import LIFETIME_MAX
from infoexchange.ports import (
    Known,
    Notice,
    Notified,
    Result,
    Seen,
    Sent,
    Standing,
)
from infoexchange.ports.spool import TIED_MAX
from infoexchange.receipt import Receipt
from infoexchange.states import Event, Precedence
from infoexchange.testing.depot import MemoryStash


class MemorySpool:
    """A `Spool` that lasts as long as its process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._outbox: dict[bytes, Sent] = {}
        self._sequences: dict[int, bytes] = {}
        self._refusals: dict[bytes, ExchangeError] = {}
        self._inbox: dict[bytes, tuple[bytes, datetime]] = {}
        self._known: dict[bytes, Known] = {}
        self._notices: dict[bytes, Notice] = {}
        self._said: set[bytes] = set()
        self._keks: dict[bytes, Notified] = {}
        self._statements: dict[Notice, None] = {}
        self._grants: dict[bytes, Grant] = {}
        self._origins: dict[bytes, bytes] = {}
        self._steps: dict[bytes, Step] = {}
        self.stash = MemoryStash()

    def standing(self) -> Standing:
        """Return the newest sequence number used and its envelope digest; 0 and nothing before the first."""
        with self._lock:
            newest = max(self._sequences, default=0)
            return Standing(newest, self._sequences.get(newest, b""))

    def put(self, envelopes: Sequence[Envelope], steps: Sequence[Step] = ()) -> None:
        """Keep sealed envelopes for sending, and what flows need to know of them."""
        with self._lock:
            sequences = dict(self._sequences)
            for envelope in envelopes:
                sequence = envelope.header.sequence
                if sequences.setdefault(sequence, envelope.digest) != envelope.digest:
                    raise error(
                        Reason.RULE_BROKEN,
                        field="header.sequence",
                        detail=f"{sequence} is another envelope's number",
                        next_step="Seal the message again with the next sequence number.",
                    )
            self._sequences = sequences
            for envelope in envelopes:
                self._outbox.setdefault(envelope.digest, Sent(envelope.digest, envelope.raw))
            for step in steps:
                self.note(step)

    def unsent(self, limit: int) -> Sequence[Sent]:
        """Return envelopes that have neither receipt nor refusal, oldest first."""
        with self._lock:
            ordered = (self._outbox[digest] for _, digest in sorted(self._sequences.items()))
            waiting = (sent for sent in ordered if not sent.receipt and sent.digest not in self._refusals)
            return list(itertools.islice(waiting, limit))

    def settle(self, results: Sequence[tuple[bytes, Result]]) -> None:
        """Keep the result for each digest; an `UnavailableError` leaves the envelope unsent."""
        with self._lock:
            for digest, result in results:
                sent = self._outbox.get(digest)
                if sent is None or sent.receipt or isinstance(result, UnavailableError):
                    continue
                if isinstance(result, Receipt):
                    self._outbox[digest] = replace(sent, receipt=result.raw)
                else:
                    self._refusals[digest] = result

    def sent(self, digest: bytes) -> Sent | None:
        """Return one envelope of the outbox, whatever its result."""
        return self._outbox.get(digest)

    def begin(self, digest: bytes, claim: bytes, expires_at: datetime, known: Known | None = None) -> Seen:
        """Record that an envelope is about to be handed over, and what to remember; return what was seen before."""
        with self._lock:
            if digest in self._notices:
                return Seen.DONE
            if digest in self._inbox:
                return Seen.BEGUN
            if any(claim == other for other, _ in self._inbox.values()):
                raise error(Reason.REPLAYED, field="header.message_id", detail="another envelope came under this id")
            self._inbox[digest] = (claim, expires_at)
            if known is not None:
                self._known.setdefault(digest, known)
            return Seen.NEW

    def known(self, digest: bytes) -> Known | None:
        """Return what is remembered of a message that came, however long ago."""
        return self._known.get(digest)

    def finish(self, notice: Notice, step: Step | None = None) -> None:
        """Record that the application has it, and keep what is to be said to the relay; a repeat changes nothing."""
        with self._lock:
            if self._notices.setdefault(notice.digest, notice) is not notice:
                return
            if notice.state is Event.REFUSED:
                self._steps.pop(step.digest if step else notice.digest, None)
            elif step:
                self.note(step)

    def keep(self, notice: Notice) -> None:
        """Keep another signed statement until the relay has it: RECALLED or DESTROYED; a repeat changes nothing."""
        with self._lock:
            self._statements.setdefault(notice)

    def said(self, notices: Sequence[Notice]) -> None:
        """Record that the relay has taken what was said."""
        with self._lock:
            self._said.update(notice.digest for notice in notices if self._notices.get(notice.digest) == notice)
            for notice in notices:
                self._statements.pop(notice, None)

    def unsaid(self, limit: int) -> Sequence[Notice]:
        """Return notices the relay has not taken yet: RECALLED, those of `finish`, then DESTROYED, each in order."""
        with self._lock:
            finished = [notice for digest, notice in self._notices.items() if digest not in self._said]
            orders = [notice for notice in self._statements if notice.state is Event.RECALLED]
            others = [notice for notice in self._statements if notice.state is not Event.RECALLED]
            return [*orders, *finished, *others][:limit]

    def notice(self, digest: bytes) -> Notice | None:
        """Return the notice kept for a finished envelope."""
        return self._notices.get(digest)

    def forget(self, now: datetime) -> int:
        """Drop inbox records whose expiry plus clock skew has passed; what is still unsaid is kept until it is said."""
        with self._lock:
            ended = {digest for digest, (_, expires_at) in self._inbox.items() if expires_at + CLOCK_SKEW < now}
            ended -= self._notices.keys() - self._said
            self._inbox = {digest: seen for digest, seen in self._inbox.items() if digest not in ended}
            for digest in self._said - self._inbox.keys():
                del self._notices[digest]
            self._said &= self._notices.keys()
            needed = now - LIFETIME_MAX - CLOCK_SKEW
            self._keks = {name: kek for name, kek in self._keks.items() if kek.not_after >= needed}
            return len(ended)

    def note_kek(self, notified: Notified) -> None:
        """Keep an envelope that brought an epoch KEK, or replace what was kept under that name."""
        with self._lock:
            self._keks[notified.name] = notified

    def keks(self) -> Sequence[Notified]:
        """Return every epoch KEK kept, the first to end first."""
        with self._lock:
            return sorted(self._keks.values(), key=lambda kek: (kek.not_after, kek.name))

    def keep_grant(self, grant: Grant) -> None:
        """Keep a grant that was given or received; a repeat changes nothing."""
        with self._lock:
            self._grants.setdefault(grant.digest, grant)

    def grants(self, origin: bytes) -> Sequence[Grant]:
        """Return the grants for what an originator's envelope held, the one kept last first."""
        with self._lock:
            return [grant for grant in reversed(self._grants.values()) if grant.terms.origin == origin]

    def keep_origin(self, digest: bytes, origin: bytes) -> None:
        """Keep the Origin bytes sealed in an envelope of the outbox; a repeat changes nothing."""
        with self._lock:
            self._origins.setdefault(digest, origin)

    def origin(self, digest: bytes) -> bytes:
        """Return the Origin bytes kept for an envelope of the outbox; nothing for what was not passed on."""
        return self._origins.get(digest, b"")

    def note(self, step: Step) -> None:
        """Keep what flows need to know of a message that came; a repeat changes nothing."""
        with self._lock:
            self._steps.setdefault(step.digest, step)

    def steps(self, about: Sequence[bytes] = ()) -> Sequence[Step]:
        """Return what flows need to know: of everything, or of what is tied to these digests."""
        with self._lock:
            gone = {digest for digest in self._refusals if not self._outbox[digest].receipt}
            ties: dict[bytes, set[bytes]] = defaultdict(set)
            for step in self._steps.values():
                for digest in step.refers_to:
                    ties[step.digest].add(digest)
                    ties[digest].add(step.digest)
            found, more = set[bytes](), set(about)
            while more and len(found) < TIED_MAX:
                found |= set(itertools.islice(more, TIED_MAX - len(found)))
                more = {other for digest in more for other in ties[digest]} - found
            steps = [step for step in self._steps.values() if step.digest not in gone]
            if about:
                return [step for step in steps if step.digest in found]
            return [s for s in steps if s.said.asks or s.said.precedence > Precedence.ROUTINE or ties[s.digest]]
