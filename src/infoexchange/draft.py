"""Draft: a message before it is sealed, and whether it may go to whom it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.message import Message

from infoexchange import catalogue, suites
from infoexchange.attachment import AttachmentMeta
from infoexchange.attestation import AttestationRole, Attester
from infoexchange.catalogue import rules
from infoexchange.chunks import Source
from infoexchange.content import THREAD_ID_SIZE, Content
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.header import LIFETIME_DEFAULT
from infoexchange.listing import Party
from infoexchange.onward import PassedOn
from infoexchange.suites import Entropy, Suite


@dataclass(frozen=True)
class Draft:
    """A message to be sent: what, to whom, and in which thread.

    Attributes:
        message: A catalogue message with its Handling block.
        to: Agency names, or names of working groups of the directory.
        thread_id: 16 bytes that join the messages of one case; sealed. If not given, the thread of the message that
            this one answers or changes is continued, else a new one begun.
        in_reply_to: Digest of the envelope answered; sealed.
        lifetime: How long delivery is tried, at most 90 days.
        suite: Algorithms; the default is post-quantum hybrid for secrecy and for signatures.
        blind: Whether recipients and foreign relays are kept from learning who else is addressed.
        addressees: Agencies behind the national gateways named in `to`, which may pass this on to them; sealed.
        passed_on: Set where the message is another agency's: `Mailbox.pass_on` makes such drafts.
        attachments: Files that go with it, at most 64, such as `infoexchange.Attachment(path)`.
        attest: Who signs the content inside the envelope: a role that the agency's own attestation key signs in, or
            somebody who is shown the commitment and signs elsewhere.
    """

    message: Message
    to: Sequence[str]
    thread_id: bytes = b""
    in_reply_to: bytes = b""
    lifetime: timedelta = LIFETIME_DEFAULT
    suite: Suite = suites.DEFAULT_SUITE
    blind: bool = False
    addressees: Sequence[str] = ()
    passed_on: PassedOn | None = None
    attachments: Sequence[Source] = ()
    attest: Sequence[AttestationRole | Attester] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The working groups among the names in `to`."""
        return tuple(name for name in self.to if "." not in name)

    def recipients(self, directory: Directory, sender: str, *, now: datetime) -> list[Party]:
        """Return the agencies to seal to, once message, domain and names have been checked.

        Raises:
            RefusedError: `RULE_BROKEN`, or `NOT_PERMITTED` when the directory does not permit the domain to the sender
                or to a recipient; for what is passed on also as `PassedOn.check`.
            UntrustedError: `UNKNOWN_PARTY`.
        """
        # What is passed on cannot be changed any more; a newer sender's values travel through.
        (rules.check_received if self.passed_on else rules.check)(self.message)
        domain = catalogue.domain_of(self.message)
        names = self.names(directory, sender, now=now)
        if self.passed_on:
            self.passed_on.check(self.message, sender, [*names, *self.addressees], directory, now=now)
        parties = [directory.party(name, at=now) for name in names]
        behind = [directory.party(name, at=now) for name in self.addressees]
        for party in (directory.party(sender, at=now), *parties, *behind):
            if not directory.permits(party, int(domain)):
                label = catalogue.Domain.Name(domain)
                raise error(Reason.NOT_PERMITTED, field="to", detail=f"{label} is not permitted to {party.name}")
        return parties

    def names(self, directory: Directory, sender: str, *, now: datetime) -> list[str]:
        """Return the names of the agencies to seal to, each once, groups replaced by their members.

        Raises:
            MalformedError: `BAD_FIELD` when nobody but the sender is left.
            UntrustedError: `UNKNOWN_PARTY` when there is no such group.
        """
        names: dict[str, None] = {}
        for name in self.to:
            members = (name,) if "." in name else directory.members(name, at=now)
            names.update(dict.fromkeys(member for member in members if member != sender))
        if not names:
            raise error(Reason.BAD_FIELD, field="to", detail="no recipient is named")
        return list(names)

    def content(self, attachments: Sequence[AttachmentMeta] = (), *, entropy: Entropy) -> Content:
        """Return what is to be sealed, with fresh salts.

        Args:
            attachments: What was found of the files, in their order.
            entropy: Source of salts and thread.

        Raises:
            RefusedError: `TOO_LARGE`.
        """
        passed_on = self.passed_on
        return Content.make(
            catalogue.schema_of(self.message),
            passed_on.payload if passed_on else self.message.SerializeToString(deterministic=True),
            entropy=entropy,
            thread_id=self.thread_id or entropy(THREAD_ID_SIZE),
            in_reply_to=self.in_reply_to,
            groups=self.groups,
            addressees=tuple(sorted(set(self.addressees))),
            origin=passed_on.origin.raw if passed_on else b"",
            attachments=tuple(attachments),
        )
