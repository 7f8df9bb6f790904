"""An agency that goes from one epoch to the next, and the thief of its keys, for tests of chains of bundles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from conftest import RECIPIENT, SENDER
from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.draft import Draft
from infoexchange.dsse import TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.keys import EpochKeys, Identity, IdentityKey
from infoexchange.mailbox import Mailbox
from infoexchange.ports import Result
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.testing.exchange import DirectRelay
from infoexchange.testing.spool import MemorySpool
from infoexchange.v1 import bundle_pb2
from messages import officer_acknowledgement

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND_OF_TIME = timedelta(seconds=1)


class Agency:
    """A member of an exchange that goes from one epoch to the next."""

    def __init__(self, exchange: Exchange, name: str = SENDER) -> None:
        member = exchange.community.members[name]
        self.exchange, self.name, self.member = exchange, name, member
        self.identity: Identity = member.identity
        self.bundles: list[KeyBundle] = [member.bundle]
        self.spool = MemorySpool()

    def next(
        self, start: datetime, *, withdraw: bool = False, after: KeyBundle | None = None, epoch: int = 0
    ) -> KeyBundle:
        """The bundle of the next epoch, or another one of an epoch that there is."""
        previous = after or self.bundles[0]
        keys = EpochKeys.make(epoch or previous.epoch + 1)
        identity = replace(self.identity, epochs=(keys, *(e for e in self.identity.epochs if e.epoch != keys.epoch)))
        bundle = KeyBundle.issue(
            identity, self.member.certificates, (self.member.crl,), now=start, previous=previous, withdraw=withdraw
        )
        self.made = identity
        return bundle

    def turn(self, start: datetime, *, withdraw: bool = False) -> KeyBundle:
        """Issue the next bundle and keep it."""
        bundle = self.next(start, withdraw=withdraw)
        self.identity, self.bundles = self.made, [bundle, *self.bundles]
        return bundle

    @property
    def relay(self) -> DirectRelay:
        party = self.exchange.directory.party(self.name, at=self.exchange.clock())
        return DirectRelay(self.exchange, self.exchange.node_of(self.name), party)

    def publish(self, *bundles: KeyBundle) -> Result:
        return self.relay.publish(bundles)[-1]

    def mailbox(self) -> Mailbox:
        mailbox = Mailbox(
            self.identity, self.bundles, self.exchange.directory, self.relay, self.spool, clock=self.exchange.clock
        )
        mailbox.refresh()
        return mailbox


def reason_of(call: Callable[..., object], *args: object, **named: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    return caught.value.reason


def taken(result: Result) -> bool:
    if isinstance(result, ExchangeError):
        raise result
    assert isinstance(result, Receipt)
    return result.routing.event is Event.KEY_BUNDLE


def resigned(agency: Agency, bundle: KeyBundle, key: IdentityKey | None = None, **values: object) -> bytes:
    """The bytes of a bundle with other values, signed by its owner or by somebody else."""
    message = bundle_pb2.KeyBundle.FromString(bundle.dsse.payload)
    for name, value in values.items():
        message.ClearField(name)  # type: ignore[arg-type]
        if value != []:
            setattr(message, name, value)
    payload = wire.canonical(message)
    return Dsse.make(TYPE_KEYBUNDLE, payload, (key or agency.identity.key).sign(TYPE_KEYBUNDLE, payload)).raw


def forged_like(agency: Agency, bundle: KeyBundle) -> KeyBundle:
    """The same bundle, with its owner's certificates, signed by somebody else."""
    raw = resigned(agency, bundle, IdentityKey.make())
    return KeyBundle.parse(raw, agency.member.certificates, (agency.member.crl,))


def sealed_by(agency: Agency, *, to: str = RECIPIENT) -> bytes:
    """An envelope that an agency, or who stole its keys, has sealed and not handed over yet."""
    spool = MemorySpool()
    mailbox = Mailbox(
        agency.identity, agency.bundles, agency.exchange.directory, Deaf(agency), spool, clock=agency.exchange.clock
    )
    mailbox.send_all([_draft(to)])
    [sent] = spool.unsent(1)
    return sent.raw


class Deaf(DirectRelay):
    """A relay that takes nothing, so that what is sealed stays in the outbox."""

    def __init__(self, agency: Agency) -> None:
        inner = agency.relay
        super().__init__(inner._exchange, inner._node, inner._party)

    def submit(self, envelopes: Sequence[bytes]) -> Sequence[Result]:
        return [error(Reason.UNAVAILABLE, detail="deaf")] * len(envelopes)


def _draft(to: str):
    return Draft(officer_acknowledgement(), [to])
