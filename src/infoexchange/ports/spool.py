"""Spool: an agency's durable outbox and inbox."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from infoexchange.chunks import Stash
from infoexchange.envelope import Envelope
from infoexchange.flows import Step
from infoexchange.grant import Grant
from infoexchange.ports.relay import Notice, Result
from infoexchange.states import OpStatus

# Implementation constants
TIED_MAX = 4096  # nobody can have every message cost more than a moment by sending replies without end


@dataclass(frozen=True)
class Sent:
    """An envelope in the outbox, and the receipt once there is one."""

    digest: bytes
    raw: bytes = field(repr=False)
    receipt: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Standing:
    """Where an agency's outbox stands: the sequence number and digest of the newest envelope sealed."""

    sequence: int
    digest: bytes


@dataclass(frozen=True)
class Known:
    """What is remembered of every message that came: whose it is, and whether it is about the real world."""

    sender: str
    op_status: OpStatus


class Seen(enum.Enum):
    """What an inbox knows of a digest."""

    NEW = "new"
    BEGUN = "begun"
    DONE = "done"


@dataclass(frozen=True)
class Notified:
    """An envelope that brought an epoch KEK: what is kept of the KEK, since the KEK itself is secret.

    Attributes:
        name: 16 bytes, as headers name the KEK.
        peer: The other party: the recipient of a KEK given out, the sender of one received.
        given: Whether this agency gave it out.
        ready: Whether it may be used; a KEK given out only once its recipient has stated that it holds it.
        not_after: Last moment of sealing with it.
        raw: The envelope.
    """

    name: bytes
    peer: str
    given: bool
    ready: bool
    not_after: datetime
    raw: bytes = field(repr=False)


class Spool(Protocol):
    """An agency's durable outbox and inbox.

    `put` happens before any network use, so that a retry sends the same bytes. `begin` records a digest before its
    first hand-over to the application; after `finish` it is never handed over again, until expiry plus clock skew.
    What is known of a message that came is never forgotten, because a correction or recall may come years later; nor
    are grants, and the origins of what was passed on. Every call is one transaction and durable on return.
    """

    @property
    def stash(self) -> Stash:
        """Files too large for it, beside it."""

    def standing(self) -> Standing:
        """Return the newest sequence number used and its envelope digest; 0 and nothing before the first."""

    def put(self, envelopes: Sequence[Envelope], steps: Sequence[Step] = ()) -> None:
        """Keep sealed envelopes for sending, and in the same transaction what flows need to know of them."""

    def unsent(self, limit: int) -> Sequence[Sent]:
        """Return envelopes that have neither receipt nor refusal, oldest first."""

    def settle(self, results: Sequence[tuple[bytes, Result]]) -> None:
        """Keep the result for each digest; an `UnavailableError` leaves the envelope unsent."""

    def sent(self, digest: bytes) -> Sent | None:
        """Return one envelope of the outbox, whatever its result."""

    def begin(self, digest: bytes, claim: bytes, expires_at: datetime, known: Known | None = None) -> Seen:
        """Record that an envelope is about to be handed over, and what to remember; return what was seen before.

        Raises:
            RefusedError: `REPLAYED` when the claim belongs to another digest.
        """

    def known(self, digest: bytes) -> Known | None:
        """Return what is remembered of a message that came, however long ago."""

    def finish(self, notice: Notice, step: Step | None = None) -> None:
        """Record that the application has it, and keep what is to be said to the relay; a repeat changes nothing.

        In the same transaction its step is kept, if it is given. What is finished as REFUSED has not come: its step is
        forgotten.
        """

    def keep(self, notice: Notice) -> None:
        """Keep another signed statement until the relay has it: RECALLED or DESTROYED; a repeat changes nothing."""

    def said(self, notices: Sequence[Notice]) -> None:
        """Record that the relay has taken what was said."""

    def unsaid(self, limit: int) -> Sequence[Notice]:
        """Return notices the relay has not taken yet: RECALLED, those of `finish`, then DESTROYED, each in order."""

    def notice(self, digest: bytes) -> Notice | None:
        """Return the notice kept for a finished envelope."""

    def forget(self, now: datetime) -> int:
        """Drop inbox records whose expiry plus clock skew has passed; return how many. KEKs nobody can need go too."""

    def note_kek(self, notified: Notified) -> None:
        """Keep an envelope that brought an epoch KEK, or replace what was kept under that name."""

    def keks(self) -> Sequence[Notified]:
        """Return every epoch KEK kept, the first to end first."""

    def keep_grant(self, grant: Grant) -> None:
        """Keep a grant that was given or received; a repeat changes nothing."""

    def grants(self, origin: bytes) -> Sequence[Grant]:
        """Return the grants for what an originator's envelope held, the one kept last first."""

    def keep_origin(self, digest: bytes, origin: bytes) -> None:
        """Keep the Origin bytes sealed in an envelope of the outbox, which its sender cannot open; as `keep_grant`."""

    def origin(self, digest: bytes) -> bytes:
        """Return the Origin bytes kept for an envelope of the outbox; nothing for what was not passed on."""

    def note(self, step: Step) -> None:
        """Keep what flows need to know of a message that came; as `keep_grant`, and never forgotten either."""

    def steps(self, about: Sequence[bytes] = ()) -> Sequence[Step]:
        """Return what flows need to know of messages, in no order, but for those that the own relay has refused.

        Args:
            about: Digests; then only what refers to them, what they refer to, and so on, the nearest `TIED_MAX`. Else
                all messages that ask, are urgent, or refer to another or are referred to: other reports have no flow.
        """
