"""Tracing: what became of a message, from the relays' logs and the parties' signatures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infoexchange import chain, suites
from infoexchange.approval import Approval
from infoexchange.bundle import KeyBundle
from infoexchange.disclosure import Disclosure
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.evidence import Evidence, Outcome, outcome
from infoexchange.mailbox import disclosing
from infoexchange.mailbox.desk import Desk
from infoexchange.mailbox.inbox import Inbox
from infoexchange.manifest import Manifest
from infoexchange.origin import Origin
from infoexchange.ports import History
from infoexchange.recall import RecallOrder
from infoexchange.statement import SignedStatement, parse_statement
from infoexchange.states import Event


class Tracing:
    """What an agency asks, and shows to others, about messages that it sent or received: a part of `Mailbox`."""

    def __init__(self, desk: Desk, inbox: Inbox) -> None:
        """Hold what all parts of the mailbox share."""
        self._desk = desk
        self._inbox = inbox

    def history(self, digest: bytes) -> History:
        """Return what both relays logged of a message, every receipt verified.

        Raises:
            RefusedError: `NOT_PERMITTED` when this agency takes no part in it.
            UntrustedError: `BAD_PROOF`, `BAD_SIGNATURE` or `UNKNOWN_PARTY`.
        """
        history = self._desk.relay.events(digest)
        for receipt in history.events:
            receipt.verify(self._desk.directory)
        return history.of(digest)

    def outcomes(self, digest: bytes) -> list[Outcome]:
        """Return for each recipient how far a message came, or how it ended, by what is logged and signed.

        Raises:
            ExchangeError: As `history`.
        """
        history = self.history(digest)
        signed = self._verified(history)
        sent = self._desk.spool.sent(digest)
        names = dict.fromkeys(addressees(Envelope.parse(sent.raw))) if sent else {}
        names |= dict.fromkeys(name for receipt in history.events for name in receipt.routing.recipients)
        directory = self._desk.directory
        parties = {name: directory.listed(name) for name in names}
        return [outcome(name, p.relay if p else "", history.events, signed) for name, p in parties.items()]

    def evidence(self, digest: bytes, envelope: Envelope | Manifest | None = None) -> Evidence:
        """Return the evidence file of a message: everything an auditor needs, and no key.

        Args:
            digest: The envelope's name.
            envelope: The envelope, if it is not in the outbox; or its manifest, where the ciphertext is gone.

        Raises:
            RefusedError: `NOT_ADDRESSED` when the envelope is neither given nor in the outbox.
        """
        return self._evidence(digest, envelope)

    def disclose(
        self,
        disclosure: Disclosure,
        *,
        audience: str,
        legal_basis: str = "",
        envelope: Envelope | Manifest | None = None,
    ) -> Evidence:
        """Approve a disclosure by signature, have it logged, and return the evidence to hand out.

        Nothing may be shown before this returns. Repeating it with the same arguments logs nothing new. The evidence
        holds the signed manifest and no ciphertext.

        Args:
            disclosure: Chosen records of a message that this agency sent or received.
            audience: For whom, at most 253 characters. The relays and the other parties of the message can read it.
            legal_basis: On what basis, at most 1000 characters; as readable.
            envelope: The envelope, if it is not in the outbox: the evidence then shows which way it was passed on.

        Raises:
            MalformedError: `BAD_FIELD` when a text is not acceptable.
            RefusedError: `NOT_PERMITTED` when this agency takes no part in the message, `TOO_LARGE` when eight
                disclosures of it are logged already.
            UnavailableError: The relay cannot be reached.
        """
        digest = disclosure.manifest.digest
        disclosing.approve(self._desk, disclosure, self.history(digest), audience=audience, legal_basis=legal_basis)
        about = envelope or (None if self._desk.spool.sent(digest) else disclosure.manifest)
        return self._evidence(digest, about, [disclosure]).sealed()

    def _verified(self, history: History) -> list[SignedStatement]:
        """Return the statements whose signatures hold; a relay may have kept anything."""
        statements = [parse_statement(raw) for raw in history.statements]
        accepted = [receipt for receipt in history.events if receipt.routing.event is Event.ACCEPTED]
        senders = {receipt.routing.sender for receipt in accepted} or {self._desk.identity.name}
        numbers = {receipt.subject.suite for receipt in accepted}
        bundles, _ = self._bundles(statements, ())
        held: list[SignedStatement] = []
        for statement in statements:
            bundle = bundles.get(statement.statement.issuer_bundle)
            try:
                if bundle is None or isinstance(statement, Approval):  # which says nothing of how it ended
                    continue
                if isinstance(statement, RecallOrder):
                    statement.verify(self._desk.directory, bundle)
                    own = statement.statement.issuer in senders
                else:
                    [number] = numbers
                    statement.verify(self._desk.directory, bundle, suites.suite_of(number))
                    own = True
            except (ExchangeError, ValueError):
                continue
            if own:
                held.append(statement)
        return held

    def _bundles(
        self, statements: Iterable[SignedStatement], others: Sequence[tuple[str, bytes]]
    ) -> tuple[dict[bytes, KeyBundle], list[KeyBundle]]:
        """Return by digest the bundles that statements and others, by owner and digest, are signed with; then all."""
        wanted = {(s.statement.issuer, s.statement.issuer_bundle) for s in statements} | set(others)
        found = [*self._desk.own.values(), *self._desk.relay.bundles(sorted({name for name, _ in wanted}))]
        digests = {digest for _, digest in wanted}
        return {bundle.digest: bundle for bundle in found if bundle.digest in digests}, found

    def _evidence(
        self, digest: bytes, envelope: Envelope | Manifest | None, disclosures: Sequence[Disclosure] = ()
    ) -> Evidence:
        sent = self._desk.spool.sent(digest)
        if envelope is None and sent is None:
            next_step = "Check the ID, or give the envelope that was received."
            detail = f"{digest.hex()[:16]} is not in the outbox"
            raise error(Reason.NOT_ADDRESSED, field="envelope", detail=detail, next_step=next_step)
        # What was sent cannot be opened here, what came can: the way was kept with the one, and is sealed in the other.
        origin = self._origin(Envelope.parse(sent.raw) if sent else None, envelope)
        envelope = envelope or Envelope.parse(sent.raw if sent else b"")
        history = self.history(digest)
        statements = [parse_statement(raw) for raw in history.statements]
        header = envelope.header
        signers = [(a.signer, a.signer_bundle) for disclosure in disclosures for a in disclosure.attestations]
        bundles, found = self._bundles(statements, [(header.sender, header.sender_bundle), *signers])
        # Keys that were withdrawn since, with the entry that says when; a hostile relay may name any others besides.
        later = {b.digest: b for used in bundles.values() for b in chain.withdrawing(used, found)}
        bundles |= {digest: later[digest] for digest in history.published & later.keys()}
        history = history.with_keys(bundles)
        if origin:
            bundles = {**origin.every_bundle, **bundles}
        transfers = origin.transfers if origin else ()
        return Evidence.make(envelope, self._desk.directory, list(bundles.values()), history, transfers, disclosures)

    def _origin(self, sent: Envelope | None, received: Envelope | Manifest | None) -> Origin | None:
        """Return the way that an envelope's content had come, where its header names a grant."""
        if sent and sent.header.grant:
            return Origin.parse(self._desk.spool.origin(sent.digest))
        if isinstance(received, Envelope) and received.header.grant:
            return self._inbox.reopen(received.raw).origin
        return None


def addressees(envelope: Envelope) -> list[str]:
    """Return everybody a whole envelope is for: of a blind one only the wraps tell."""
    listed = [recipient.name for recipient in envelope.header.recipients]
    return listed or [wrap.recipient for wrap in envelope.wraps]
