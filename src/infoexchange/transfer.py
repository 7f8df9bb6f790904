"""Transfer: one step of the way that information has come, and the way as a whole (SPEC section Origin).

Recipients replay the way before they show a message, auditors long afterwards, both with the same steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.grant import Grant
from infoexchange.header import Header
from infoexchange.manifest import Manifest
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.v1 import evidence_pb2
from infoexchange.wrap import Wrap

# Specification constants
TRANSFERS_MAX = 8  # before the envelope at hand: what has been through more hands is asked for at its source


@dataclass(frozen=True)
class Transfer:
    """An envelope without its content.

    Attributes:
        manifest: Who sealed it, and for whom.
        grant: Under which consent, if the header names one.
        accepted: Proof of when its sender's relay logged it, if it is at hand.
        wraps: Of an envelope that hides its recipients, those wraps that show some of them.
    """

    manifest: Manifest
    grant: Grant | None = None
    accepted: Receipt | None = field(default=None, repr=False)
    wraps: tuple[Wrap, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, envelope: Envelope) -> Transfer:
        """Return the transfer of an envelope at hand."""
        return cls(envelope.manifest, envelope.grant, wraps=envelope.wraps if envelope.header.blind else ())

    @classmethod
    def parse(cls, manifest: bytes, grant: bytes, accepted: bytes, wrap: bytes) -> Transfer:
        """Return the transfer of the exact bytes of its parts, of which all but the first may be empty.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or `UNKNOWN_VERSION`.
            UntrustedError: `BAD_COMMITMENT` when grant or wrap is not one that was signed, or the receipt not of what
                its leaf commits to.
            RefusedError: `TOO_LARGE`.
        """
        parsed = Manifest.parse(manifest)
        held = Grant.parse(grant) if grant else None
        if (held.digest if held else b"") != parsed.header.grant:
            raise error(Reason.BAD_COMMITMENT, field="transfer.grant", detail="not the grant that the header names")
        if bool(wrap) != parsed.header.blind:
            raise error(Reason.BAD_FIELD, field="transfer.wrap", detail="it stands in for hidden recipients, only")
        wraps = (Wrap.parse(wrap),) if wrap else ()
        if any(one.digest not in parsed.wrap_digests for one in wraps):
            raise error(Reason.BAD_COMMITMENT, field="transfer.wrap", detail="not a wrap that was signed")
        return cls(parsed, held, Receipt.parse(accepted) if accepted else None, wraps)

    def to_wire(self) -> evidence_pb2.Transfer:
        """Return the protobuf form, for placing inside an evidence file."""
        return evidence_pb2.Transfer(
            manifest=self.manifest.raw,
            grant=self.grant.raw if self.grant else b"",
            accepted=self.accepted.raw if self.accepted else b"",
            wrap=self.wraps[0].raw if self.wraps else b"",
        )

    @property
    def digest(self) -> bytes:
        """The envelope's name."""
        return self.manifest.digest

    @property
    def header(self) -> Header:
        """What stood in the clear."""
        return self.manifest.header

    @property
    def sender(self) -> str:
        """Who sealed it."""
        return self.header.sender

    @property
    def recipients(self) -> tuple[str, ...]:
        """For whom it was sealed, as far as that is shown."""
        listed = tuple(recipient.name for recipient in self.header.recipients)
        return listed or tuple(wrap.recipient for wrap in self.wraps)

    def check_accepted(self, directory: Directory) -> datetime | None:
        """Return when the sender's relay logged it, once the receipt has been checked; nothing where none is at hand.

        Raises:
            UntrustedError: `BAD_PROOF` when the receipt is of something else, and whatever it is refused for.
        """
        if self.accepted is None:
            return None
        self.accepted.verify(directory)
        said = self.accepted.routing
        home = directory.party(self.sender, at=self.header.created_at).relay
        about = (said.event, said.this_relay, said.sender, self.accepted.subject.envelope_digest)
        if about != (Event.ACCEPTED, home, self.sender, self.digest):
            raise error(Reason.BAD_PROOF, field="transfer.accepted", detail="not the acceptance of this envelope")
        return said.logged_at


def replay(
    transfers: Sequence[Transfer],
    directory: Directory,
    bundles: Mapping[bytes, KeyBundle],
    logged: Mapping[bytes, datetime] | None = None,
) -> None:
    """Raise unless each transfer was signed by a recipient of the one before, under a grant that holds if it names one.

    Spec: section Origin, steps 3 to 6. Whether a grant is needed is a question of marks, which only recipients see.

    Args:
        transfers: The originator's envelope first, the envelope at hand last; of that one the signature is not checked.
        directory: Who is who.
        bundles: Key bundles by digest.
        logged: Times of log entries by envelope digest; grants must cover these too, besides each sender's own time.

    Raises:
        UntrustedError: `BAD_SIGNATURE`, `BAD_COMMITMENT`, and whatever a bundle is refused for.
        RefusedError: `NOT_PERMITTED`, `NOT_YET_VALID`, `EXPIRED`, `STALE_BUNDLE` or `SUITE_NOT_ACCEPTED`.
    """
    # (3) signed by who sent it
    for transfer in transfers[:-1]:
        transfer.manifest.verify(directory, _bundle(bundles, transfer.header.sender_bundle))
    # (4) received by who passed it on
    for before, after in itertools.pairwise(transfers):
        if after.sender not in before.recipients:
            detail = f"{after.sender} passed on what {before.sender} had not sent to it"
            raise error(Reason.NOT_PERMITTED, field="transfer", detail=detail)
    original = transfers[0]
    if original.header.grant:
        raise error(Reason.BAD_COMMITMENT, field="header.grant", detail="the originator's own envelope names a grant")
    declared = [(transfer, transfer.grant) for transfer in transfers[1:] if transfer.grant]
    for _, grant in declared:
        _check_grant(grant, original, directory, bundles)
    # (6) covering who passed on, to whom, and when
    for transfer, grant in declared:
        times = [transfer.header.created_at]
        if logged and transfer.digest in logged:
            times.append(logged[transfer.digest])
        grant.check_covers(transfer.sender, transfer.recipients, at=times)


def _check_grant(grant: Grant, original: Transfer, directory: Directory, bundles: Mapping[bytes, KeyBundle]) -> None:
    # (5) a grant for this content, signed by its originator in its suite
    if grant.terms.origin != original.digest:
        raise error(Reason.BAD_COMMITMENT, field="grant.origin", detail="a grant for another message")
    if grant.terms.originator != original.sender:
        raise error(Reason.NOT_PERMITTED, field="grant.originator", detail=f"{original.sender} is the originator")
    if grant.terms.suite != original.header.suite:
        raise error(Reason.SUITE_NOT_ACCEPTED, field="grant.suite", detail="not the suite of the originator's envelope")
    grant.verify(directory, _bundle(bundles, grant.terms.originator_bundle))


def _bundle(bundles: Mapping[bytes, KeyBundle], digest: bytes) -> KeyBundle:
    if digest not in bundles:
        raise error(Reason.STALE_BUNDLE, field="bundles", detail=f"bundle {digest.hex()[:16]} did not come along")
    return bundles[digest]
