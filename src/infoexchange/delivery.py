"""Delivery: a message that arrived, and what must hold before an application sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import DecodeError, Message

from infoexchange import catalogue, onward
from infoexchange.attestation import Attestation
from infoexchange.catalogue import rules
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.enclosure import Enclosure
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.header import Header
from infoexchange.origin import Origin
from infoexchange.states import OpStatus
from infoexchange.transfer import Transfer


@dataclass(frozen=True)
class Delivery:
    """A message that arrived: verified, opened and allowed.

    Attributes:
        message: The catalogue message.
        sender: Agency that signed it.
        envelope: As it travelled, for evidence.
        content: As it was sealed: schema, exact payload, thread.
        received_at: When it was opened, by this machine's clock.
        attachments: Files that came with it; they can be fetched until it is acknowledged.
        attestations: Verified signatures of authors and supervisors over the content.
        repeated: Whether it may have been handed over before without being acknowledged, for example before a crash.
        origin: Where it was taken from, if the sender passed on what another agency had sent.
        unexpected: Why it does not fit what was asked and answered before, in words; nothing where it does.
    """

    message: Message
    sender: str
    envelope: Envelope = field(repr=False)
    content: Content = field(repr=False)
    received_at: datetime
    attachments: tuple[Enclosure, ...] = ()
    attestations: tuple[Attestation, ...] = ()
    repeated: bool = False
    origin: Origin | None = field(default=None, repr=False)
    unexpected: str = ""

    @property
    def digest(self) -> bytes:
        """The envelope's name."""
        return self.envelope.digest

    @property
    def op_status(self) -> OpStatus:
        """Whether it is about the real world: look before acting."""
        return self.envelope.header.op_status

    @property
    def valid_until(self) -> datetime | None:
        """After this nobody is to act on it any more, as its sender says; nothing where it says nothing."""
        return _moment(self.message, "valid_until")

    @property
    def outdated(self) -> bool:
        """Whether it came after `valid_until`: do not act on it."""
        return self.valid_until is not None and self.received_at > self.valid_until

    @property
    def retention_until(self) -> datetime | None:
        """After this every copy is to be destroyed, as its sender says; nothing where it says nothing."""
        return _moment(self.message, "retention_until")

    @property
    def corrects(self) -> bytes:
        """Digest of the earlier message of the same sender that this one corrects, if it is a `Correction`."""
        return _named(self.message, "Correction", "corrects")

    @property
    def recalls(self) -> bytes:
        """Digest of the earlier message of the same sender that this one recalls, if it is a `Recall`."""
        return _named(self.message, "Recall", "recalls")

    @property
    def chain(self) -> tuple[Transfer, ...]:
        """Every transfer of the content, each verified: the originator's first, the one that brought it here last."""
        earlier = self.origin.transfers if self.origin else ()
        return (*earlier, Transfer.of(self.envelope))

    @property
    def originator(self) -> str:
        """Agency whose information it is: it sealed and signed these very bytes first, and its marks bind."""
        return self.chain[0].sender


def _moment(message: Message, name: str) -> datetime | None:
    """Return a time that the marks state."""
    handling: Any = catalogue.handling_of(message)  # its stubs know the names of fields as literals only
    return getattr(handling, name).ToDatetime(tzinfo=UTC) if handling.HasField(name) else None


def _named(message: Message, kind: str, name: str) -> bytes:
    return bytes(getattr(message, name)) if catalogue.schema_of(message) == f"{catalogue.PACKAGE}.{kind}" else b""


@dataclass(frozen=True)
class Refusal:
    """An envelope that was fetched and not handed over, and whether the sender is told so by a signed statement."""

    digest: bytes
    sender: str
    problem: ExchangeError
    signed: bool


def read(header: Header, content: Content, directory: Directory, recipient: str, *, now: datetime) -> Message:
    """Return the message of opened content, once its type is known and marks, domain and rules have been checked.

    Raises:
        MalformedError: `UNKNOWN_VERSION` when the type is not known here, `MALFORMED`.
        UntrustedError: `BAD_COMMITMENT` when header and message disagree about op_status or precedence.
        RefusedError: `NOT_PERMITTED` or `RULE_BROKEN`.
    """
    message = catalogue.message_type(content.schema)()
    try:
        message.ParseFromString(content.payload)
    except DecodeError:
        raise error(Reason.MALFORMED, field="payload", detail=f"not a {content.schema}") from None
    handling = catalogue.handling_of(message)
    # (9) what relays queued it by is what the sender meant
    if (int(handling.op_status), int(handling.precedence)) != (header.op_status, header.precedence):
        raise error(Reason.BAD_COMMITMENT, field="handling.op_status", detail="header and message disagree")
    domain = int(catalogue.domain_of(message))
    for name in (header.sender, recipient):
        if not directory.permits(directory.party(name, at=now), domain):
            raise error(Reason.NOT_PERMITTED, field="handling.domain", detail=f"domain {domain} and {name}")
    rules.check_received(message)
    return message


def trace(envelope: Envelope, content: Content, message: Message, directory: Directory) -> Origin | None:
    """Return where passed-on content comes from, once its whole way has been checked; nothing for the sender's own.

    Spec: section Origin, steps 1 to 7.

    Raises:
        MalformedError: As `Origin.parse`.
        UntrustedError: As `Origin.verify`; `BAD_COMMITMENT` when the header names a grant and nothing is passed on.
        RefusedError: As `Origin.verify`, and `NOT_PERMITTED` when the marks ask for a grant that is not there.
    """
    if not content.origin:
        if envelope.header.grant:
            raise error(Reason.BAD_COMMITMENT, field="header.grant", detail="a grant for what is not passed on")
        return None
    origin = Origin.parse(content.origin)
    onward.check_way(message, origin.verify(envelope, content, directory), origin.addressees, directory)
    return origin
