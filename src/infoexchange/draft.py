"""Draft: a message before it is sealed, and whether it may go to whom it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.message import Message

from infoexchange import catalogue, suites
from infoexchange.catalogue import rules
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.header import LIFETIME_DEFAULT
from infoexchange.listing import Party
from infoexchange.suites import Suite


@dataclass(frozen=True)
class Draft:
    """A message to be sent: what, to whom, and in which thread.

    Attributes:
        message: A catalogue message with its Handling block.
        to: Agency names, or names of working groups of the directory.
        thread_id: 16 bytes that join the messages of one case; sealed.
        in_reply_to: Digest of the envelope answered; sealed.
        lifetime: How long delivery is tried, at most 90 days.
        suite: Algorithms; the default is post-quantum hybrid for secrecy and for signatures.
        blind: Whether recipients and foreign relays are kept from learning who else is addressed.
        addressees: Agencies behind the national gateways named in `to`, which may pass this on to them; sealed.
    """

    message: Message
    to: Sequence[str]
    thread_id: bytes = b""
    in_reply_to: bytes = b""
    lifetime: timedelta = LIFETIME_DEFAULT
    suite: Suite = suites.DEFAULT_SUITE
    blind: bool = False
    addressees: Sequence[str] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The working groups among the names in `to`."""
        return tuple(name for name in self.to if "." not in name)

    def recipients(self, directory: Directory, sender: str, *, now: datetime) -> list[Party]:
        """Return the agencies to seal to, once message, domain and names have been checked.

        Raises:
            RefusedError: `RULE_BROKEN`, or `NOT_PERMITTED` when the directory does not permit the domain to the sender
                or to a recipient.
            UntrustedError: `UNKNOWN_PARTY`.
        """
        rules.check(self.message)
        domain = catalogue.domain_of(self.message)
        names: dict[str, None] = {}
        for name in self.to:
            members = (name,) if "." in name else directory.members(name, at=now)
            names.update(dict.fromkeys(member for member in members if member != sender))
        if not names:
            raise error(Reason.BAD_FIELD, field="to", detail="no recipient is named")
        parties = [directory.party(name, at=now) for name in names]
        behind = [directory.party(name, at=now) for name in self.addressees]
        for party in (directory.party(sender, at=now), *parties, *behind):
            if not directory.permits(party, int(domain)):
                label = catalogue.Domain.Name(domain)
                raise error(Reason.NOT_PERMITTED, field="to", detail=f"{label} is not permitted to {party.name}")
        return parties
