"""Desk: what sending and receiving share: who the agency is, its keys, its directory and its ports."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infoexchange import chain
from infoexchange.bundle import KeyBundle
from infoexchange.delivery import Refusal
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.header import MESSAGE_ID_SIZE, Header
from infoexchange.keyring import Keyring
from infoexchange.keys import EpochKeys, Identity
from infoexchange.ports import Clock, HomeRelay, Spool, Standing
from infoexchange.states import OpStatus, Precedence
from infoexchange.suites import Entropy, Suite


def _unheard(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass
class Desk:
    """An agency's side of every rule.

    Attributes:
        identity: The agency's private half.
        bundles: Its own bundles, newest epoch first; the newest that has begun is signed with.
        directory: Who is who; replaced when a newer version is fetched.
        relay: The agency's own relay, bound to the agency.
        spool: Outbox and inbox.
        clock: Gives the time now.
        entropy: Source of random bytes.
        keyring: Bundles of others, as far as they are known.
        refused: What could not be handed over.
        newest: The bundle that is signed with.
        tell: Is told, of everything that takes long, what it is, bytes done and bytes in all.
    """

    identity: Identity
    bundles: Sequence[KeyBundle]
    directory: Directory
    relay: HomeRelay
    spool: Spool
    clock: Clock
    entropy: Entropy = secrets.token_bytes
    keyring: Keyring = field(default_factory=Keyring)
    refused: list[Refusal] = field(default_factory=list)
    tell: Callable[[str, int, int], None] = _unheard
    newest: KeyBundle = field(init=False)

    def __post_init__(self) -> None:
        """Choose what is signed with first."""
        self.turn()

    def turn(self) -> None:
        """Sign from now on with the newest own bundle that has begun; not while something is half made."""
        self.newest = chain.in_use(self.bundles, self.clock())

    @property
    def own(self) -> dict[bytes, KeyBundle]:
        """The agency's bundles by digest."""
        return {bundle.digest: bundle for bundle in self.bundles}

    @property
    def published(self) -> list[KeyBundle]:
        """The bundles that others are to have: those that are not over, oldest first, as they follow each other."""
        now = self.clock()
        return [b for b in reversed(self.bundles) if b.is_provable and now <= b.not_after] or [self.bundles[0]]

    def publish(self) -> None:
        """Hand those to the relay; raises what it says of one of them."""
        for result in self.relay.publish(self.published):
            if isinstance(result, ExchangeError):
                raise _forked(result) if result.reason is Reason.LOG_FORK else result

    @property
    def keys(self) -> EpochKeys:
        """The private halves of the bundle that is signed with, or `STALE_BUNDLE` when they are destroyed."""
        keys = self.newest.keys_in(self.identity)
        if not keys.signing:
            raise error(
                Reason.STALE_BUNDLE,
                field="bundle",
                detail=f"epoch {keys.epoch} is over and its signing keys are destroyed",
                next_step="Issue new keys with: infoexchange bundle rotate",
            )
        return keys

    def header(self, after: Standing, suite: Suite, now: datetime, lifetime: timedelta) -> Header:
        """Return the header of this agency's next envelope: routine traffic of the system, until more is said."""
        return Header(
            suite=suite.number,
            message_id=self.entropy(MESSAGE_ID_SIZE),
            sender=self.identity.name,
            sender_bundle=self.newest.digest,
            recipients=(),
            op_status=OpStatus.SYSTEM,
            precedence=Precedence.ROUTINE,
            created_at=now,
            expires_at=now + lifetime,
            sequence=after.sequence + 1,
            previous=after.digest,
            content_commitment=b"",
        )


def _forked(problem: ExchangeError) -> ExchangeError:
    """Return what the relay said of two histories, with what their owner can do about it."""
    next_step = (
        "If an older copy of the keys was put back: infoexchange bundle rotate --recover. If not, somebody else has the"
        " identity key: have the national CA revoke it."
    )
    return error(problem.reason, field=problem.field, detail=problem.detail, next_step=next_step)
