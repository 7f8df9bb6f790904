"""Recalls: how a sender stops what it has sent and what is not delivered yet."""

from __future__ import annotations

from collections.abc import Sequence

from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.mailbox.desk import Desk
from infoexchange.mailbox.notices import Notices
from infoexchange.mailbox.tracing import addressees
from infoexchange.ports import BATCH_MAX, Notice, Result
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.states import Event


class Recalls:
    """The orders of a mailbox."""

    def __init__(self, desk: Desk, notices: Notices) -> None:
        """Hold what the mailbox shares."""
        self._desk = desk
        self._notices = notices

    def order(self, digest: bytes, recipients: Sequence[str]) -> list[Result]:
        """Return what the relay says to the order; what `Mailbox.recall` promises."""
        desk = self._desk
        sent = desk.spool.sent(digest)
        if sent is None:
            next_step = "Check the ID: it is the one that `send` gave, in the folder that sent it."
            detail = f"{digest.hex()[:16]} is not in the outbox"
            raise error(Reason.NOT_ADDRESSED, field="envelope_digest", detail=detail, next_step=next_step)
        envelope = Envelope.parse(sent.raw)
        addressed = addressees(envelope)
        names = sorted(set(recipients or addressed))
        for name in names:
            if name not in addressed:
                next_step = f"The recipients are: {', '.join(sorted(addressed))}."
                detail = f"it was not sent to {name}"
                raise error(Reason.NOT_ADDRESSED, field="recipients", detail=detail, next_step=next_step)
        desk.turn()
        # An order names those it is for, and recipients of a blind message learn of no other.
        groups = [(name,) for name in names] if envelope.header.blind else [tuple(names)]
        notices = [self._waiting(digest, group) or self._signed(envelope, group) for group in groups]
        for notice in notices:
            desk.spool.keep(notice)  # before any network use, so that the order outlives a crash
        try:
            return list(self._notices.say(notices))
        except UnavailableError as problem:
            return [problem] * len(notices)

    def _waiting(self, digest: bytes, names: tuple[str, ...]) -> Notice | None:
        """Return the order for the same recipients that the relay has not taken yet: one is enough."""
        for notice in self._desk.spool.unsaid(BATCH_MAX):
            if (notice.digest, notice.state) != (digest, Event.RECALLED):
                continue
            if RecallOrder.parse(notice.statement).statement.recipients == names:
                return notice
        return None

    def _signed(self, envelope: Envelope, names: tuple[str, ...]) -> Notice:
        said = Recalled(
            envelope_digest=envelope.digest,
            issuer=self._desk.identity.name,
            issuer_bundle=self._desk.newest.digest,
            suite=envelope.header.suite,
            recipients=names,
            at=self._desk.clock(),
        )
        return Notice(envelope.digest, Event.RECALLED, RecallOrder.sign(said, self._desk.keys).raw)
