"""Desk: what every rule of a node works with: its ledger, the directory in force, and the making of entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from infoexchange import chain
from infoexchange.audit import Entry, Operation, Routing, Subject
from infoexchange.bundle import KeyBundle
from infoexchange.chunks import Depot
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.ledger import Ledger
from infoexchange.listing import Role
from infoexchange.manifest import Manifest
from infoexchange.ports import Change, Clock, Record
from infoexchange.states import Event
from infoexchange.suites import Entropy

# The way to one recipient, or to one peer, ends in one of these.
_ENDS = (
    Event.FORWARDED,
    Event.DELIVERED,
    Event.OPENED,
    Event.REFUSED,
    Event.RECALLED,
    Event.EXPIRED,
    Event.UNDELIVERABLE,
)


@dataclass(frozen=True)
class Job:
    """Changes that stand or fall together; the receipt of `changes[answer]` is the caller's result.

    Attributes:
        changes: What is logged.
        answer: Place of the change whose receipt is the result.
        late: Decides again where the job is written, when nothing can come in between; it may raise as deciding may.
        last: Whether that has to wait until everything else of the batch is written.
    """

    changes: tuple[Change, ...]
    answer: int = 0
    late: Callable[[], Job] | None = None
    last: bool = False


class Desk:
    """What one relay knows, and how it writes it down."""

    def __init__(
        self, ledger: Ledger, directory: Directory, depot: Depot | None, *, clock: Clock, entropy: Entropy
    ) -> None:
        """Hold the ledger, the directory in force, and the place for attachments."""
        self.name = ledger.relay
        self.ledger = ledger
        self.store = ledger.store
        self.directory = directory
        self.depot = depot
        self.clock = clock
        self.max_uncosigned: timedelta | None = None  # how long entries may be without a quorum before intake stops
        self.oldest_uncosigned: tuple[int, datetime] | None = None  # index and time of an entry that was asked for
        self.recalls_taken = 0  # recall orders taken since the start: whoever decided before one of them looks again
        self.directory_place = -1  # of the entry of the directory in force
        self._entropy = entropy
        self._chains: dict[str, tuple[datetime, Sequence[KeyBundle]]] = {}

    def accepted(self, digest: bytes) -> Manifest | None:
        """Return the manifest kept with the acceptance of an envelope."""
        record = self._acceptance(digest)
        return Manifest.parse(record.exhibit) if record else None

    def came_from(self, digest: bytes) -> str:
        """Return who handed over an envelope that was accepted here before; nothing if none was."""
        record = self._acceptance(digest)
        if record is None:
            return ""
        routing = Routing.parse(record.entry.routing)
        return routing.previous_relay or routing.sender

    def _acceptance(self, digest: bytes) -> Record | None:
        # Not always the first: a recall order may have come before the envelope.
        return next((record for record in self.records(digest) if record.event is Event.ACCEPTED), None)

    def records(self, digest: bytes) -> Sequence[Record]:
        """Return every entry about an envelope or document, in log order; nothing of what was erased."""
        return [record for record in self.store.records(self.store.history(digest)) if not record.erased]

    def bundle(self, digest: bytes, where: str) -> KeyBundle:
        """Return a bundle published here, or raise `STALE_BUNDLE` for the field that names it."""
        bundle = self.store.bundle(digest)
        if bundle is None:
            raise error(Reason.STALE_BUNDLE, field=where, detail=f"bundle {digest.hex()[:16]} was not published here")
        return bundle

    def check_not_withdrawn(self, bundle: KeyBundle, *, at: datetime) -> None:
        """Raise `REVOKED` if the owner of a bundle had withdrawn it by the time `at`, with a newer one known here."""
        chain.check_not_withdrawn(bundle, self.chain_of(bundle.owner), self.directory, at=at)

    def chain_of(self, owner: str) -> Sequence[KeyBundle]:
        """Return all bundles of a party that are known here, as they stood within this second.

        Every envelope asks, and another node may publish into the same store.
        """
        second = self.clock().replace(microsecond=0)
        read, found = self._chains.get(owner, (None, ()))
        if read != second:
            found = self.store.bundles([owner])
            self._chains[owner] = (second, found)
        return found

    def forget_chain(self, owner: str) -> None:
        """Read the bundles of a party anew when they are asked for next: one is being published."""
        self._chains.pop(owner, None)

    def relay_of(self, agency: str) -> str:
        """Return the relay of an agency, nothing for one that is not listed any more."""
        party = self.directory.listed(agency)
        return party.relay if party else ""

    def change(
        self, routing: Routing, subject: Subject, digest: bytes, party: str = "", *, operation: Operation | None = None
    ) -> Change:
        """Return the change that logs one event, with fresh salts."""
        entry = Entry.make(routing, subject, operation, entropy=self._entropy)
        return Change(entry=entry, digest=digest, party=party, event=routing.event)

    def event(
        self,
        event: Event,
        manifest: Manifest,
        party: str = "",
        *,
        reason: int = 0,
        came_from: str = "",
        subject: Subject | None = None,
    ) -> Change:
        """Return the change of one event of an envelope; `party` is the recipient or the peer relay concerned."""
        header, now = manifest.header, self.clock()
        recipients, peer = tuple(r.name for r in header.recipients), ""
        peer_concerned = bool(party) and party not in recipients and (not header.blind or self._is_relay(party))
        # Sender and recipients may have left since; what they sent or were sent must still come to an end.
        sender = self.directory.listed(header.sender)
        if peer_concerned:
            peer, recipients = party, tuple(n for n in recipients if self.relay_of(n) == party)
        elif party:
            recipients = (party,)
        routing = Routing(
            event=event,
            logged_at=now,
            this_relay=self.name,
            sender=header.sender,
            sender_nation=sender.nation if sender else "",
            recipients=recipients,
            previous_relay=came_from,
            next_relay=peer,
            op_status=header.op_status,
            precedence=header.precedence,
            expires_at=header.expires_at,
            reason=reason,
        )
        about = replace(
            subject or Subject(),
            envelope_digest=manifest.digest,
            message_id=header.message_id,
            envelope_size=manifest.body_length,
            sender_bundle=header.sender_bundle,
            recipient_bundles=tuple(r.bundle for r in header.recipients),
            suite=header.suite,
            directory_digest=self.directory.digest,
        )
        return self.change(routing, about, manifest.digest, party)

    def _is_relay(self, name: str) -> bool:
        party = self.directory.listed(name)
        return party is not None and party.role is Role.RELAY


def other_ends(event: Event) -> tuple[Event, ...]:
    """Return the ends of a way that exclude this one."""
    return tuple(end for end in _ENDS if end is not event)
