"""Onward: whether information may be passed on, by its marks and its originator's consent (SPEC section Origin).

The same rules hold before sealing and after opening. Relays are blind to marks: they check the grant of an envelope
that declares one, and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import Message

from infoexchange import catalogue
from infoexchange.attachment import AttachmentMeta
from infoexchange.catalogue import marks
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.grant import Grant
from infoexchange.origin import Origin
from infoexchange.transfer import Transfer

_EVERYBODY = "ALL_PARTIES"


@dataclass(frozen=True)
class PassedOn:
    """What a message that is passed on has besides one's own: exact payload, where it came from, and the consent."""

    payload: bytes = field(repr=False)
    origin: Origin
    grant: Grant | None = None

    def check_attachments(self, metas: Sequence[AttachmentMeta]) -> None:
        """Raise `RULE_BROKEN` unless every file is one that came with the message."""
        came = {meta.file for meta in Content.rebuild(self.origin.content, b"").attachments}
        for meta in metas:
            if meta.file not in came:
                step = "Pass on files as they came, under the same name; send others with a message of your own."
                detail = f"{meta.name} did not come with the message"
                raise error(Reason.RULE_BROKEN, field="attachments", detail=detail, next_step=step)

    def check(
        self, message: Message, holder: str, recipients: Sequence[str], directory: Directory, *, now: datetime
    ) -> None:
        """Raise unless `holder` may pass the message on to the recipients now.

        Raises:
            RefusedError: `NOT_PERMITTED`, `NOT_YET_VALID`, `EXPIRED`, `STALE_BUNDLE` or `SUITE_NOT_ACCEPTED`.
            UntrustedError: `BAD_SIGNATURE`, and whatever a bundle is refused for.
        """
        original = self.origin.original
        if self.grant is None:
            addressed = self.origin.before is None and set(recipients) <= set(self.origin.addressees)
            needed = "" if addressed else consent_needed(message, recipients, directory, at=now)
            if needed:
                raise missing_consent(needed, original, recipients)
            return
        consent_needed(message, recipients, directory, at=now)  # raises where a grant does not help
        if (self.grant.terms.origin, self.grant.terms.originator) != (original.digest, original.sender):
            detail = f"it is for another message than that of {original.sender}"
            raise error(Reason.NOT_PERMITTED, field="grant.origin", detail=detail)
        bundle = self.origin.every_bundle.get(self.grant.terms.originator_bundle)
        if bundle is None:
            raise error(Reason.STALE_BUNDLE, field="grant.originator_bundle", detail="its keys are missing")
        self.grant.verify(directory, bundle)
        if self.grant.terms.suite != original.header.suite:
            raise error(Reason.SUITE_NOT_ACCEPTED, field="grant.suite", detail="not the suite of the original envelope")
        self.grant.check_covers(holder, recipients, at=[now])


def check_way(
    message: Message, transfers: Sequence[Transfer], addressees: Collection[str], directory: Directory
) -> None:
    """Raise unless the marks of a message allow the way it has come.

    Args:
        message: What came.
        transfers: The way, the originator's transfer first, each verified.
        addressees: Agencies to which the originator itself asked the recipients of its own envelope to pass it on.
        directory: Who is who.

    Raises:
        RefusedError: `NOT_PERMITTED`.
    """
    # (7) a grant for every transfer that neither the originator asked for nor the marks leave free
    for place, transfer in enumerate(transfers[1:], 1):
        if place == 1 and set(transfer.recipients) <= set(addressees):
            continue
        needed = consent_needed(message, transfer.recipients, directory, at=transfer.header.created_at)
        if needed and transfer.grant is None:
            raise missing_consent(needed, transfers[0], transfer.recipients)


def consent_needed(message: Message, recipients: Collection[str], directory: Directory, *, at: datetime) -> str:
    """Return why the originator's consent is needed to pass a message on to the recipients; nothing where it is not.

    Raises:
        RefusedError: `NOT_PERMITTED` when no consent can allow it; `RULE_BROKEN` when there is no known TLP mark.
    """
    handling = catalogue.handling_of(message)
    kinds = {restriction.kind for restriction in handling.restrictions}
    if catalogue.RESTRICTION_KIND_NO_ONWARD in kinds:
        raise _never("handling.restrictions", "NO_ONWARD: it is not passed on")
    if handling.HasField("retention_until") and handling.retention_until.ToDatetime(UTC) < at:
        raise _never("handling.retention_until", "it was to be deleted by then")
    if handling.onward_transfer != catalogue.ONWARD_TRANSFER_FREE_WITHIN_MARKS:
        return "handling.onward_transfer: CONSENT_REQUIRED"
    tlp = marks.tlp_of(message)
    if tlp > catalogue.TLP_GREEN:  # from AMBER on it stays with the recipient's own organisation
        return f"handling.tlp: {marks.TLP_LABELS[tlp]}"
    outside = sorted(set(recipients) - _released_to(handling.releasable_to, recipients, directory, at))
    return f"handling.releasable_to: {', '.join(outside)} not named" if outside else ""


def _released_to(names: Collection[str], recipients: Collection[str], directory: Directory, at: datetime) -> set[str]:
    """Return which agencies a list of agencies and groups covers; an empty list leaves out nobody."""
    if not names or _EVERYBODY in names:
        return set(recipients)
    found = set(names)
    for name in names:
        try:
            found |= set(directory.members(name, at=at))
        except ExchangeError:
            continue  # an agency, or a body that is not in this exchange
    return found


def _never(where: str, detail: str) -> ExchangeError:
    step = "Ask the originator to send it to them itself."
    return error(Reason.NOT_PERMITTED, field=where, detail=detail, next_step=step)


def missing_consent(why: str, original: Transfer, recipients: Collection[str]) -> ExchangeError:
    """Return the refusal of what needs a grant and has none; `why` is the mark, after the field that holds it."""
    where, _, mark = why.partition(": ")
    names = " ".join(f"--to {name}" for name in sorted(recipients))
    step = f"Ask {original.sender}: `infoexchange consent request {original.digest.hex()} {names} --purpose TEXT`."
    detail = f"{mark}, and {original.sender} has given no grant"
    return error(Reason.NOT_PERMITTED, field=where, detail=detail, next_step=step)
