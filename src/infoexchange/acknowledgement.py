"""Acknowledgement: a recipient's own signed statement about an envelope (SPEC section Acknowledgement)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from infoexchange import suites, wire
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_ACKNOWLEDGEMENT, Dsse
from infoexchange.errors import Reason, error
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.listing import Party
from infoexchange.states import Event
from infoexchange.suites import Suite
from infoexchange.v1 import audit_pb2, envelope_pb2

# Specification constants
STATEMENT_SIZE_MAX = 16 * 1024  # a statement with the longest signature is below 6 KiB
_STATES = (Event.OPENED, Event.REFUSED, Event.DESTROYED)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a recipient says of one envelope: opened or destroyed, with the commitment it recomputed, or refused."""

    envelope_digest: bytes
    issuer: str
    issuer_bundle: bytes
    state: Event
    at: datetime
    reason: int = 0
    content_commitment: bytes = b""


@dataclass(frozen=True)
class Acknowledgement:
    """A signed statement; not verified until `verify` says so."""

    statement: Statement
    dsse: Dsse = field(repr=False)

    @classmethod
    def sign(cls, statement: Statement, suite: Suite, keys: EpochKeys) -> Acknowledgement:
        """Return the statement signed in the envelope's suite by the acknowledgement key of an epoch.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED` when that epoch has no key for the suite.
        """
        payload = wire.canonical(
            audit_pb2.RecipientAcknowledgement(
                envelope_digest=statement.envelope_digest,
                issuer=statement.issuer,
                issuer_bundle=statement.issuer_bundle,
                state=envelope_pb2.State.ValueType(statement.state),
                reason=statement.reason,
                at_ms=wire.to_ms(statement.at),
                content_commitment=statement.content_commitment,
            )
        )
        signer = keys.signer(suite, KeyUsage.ACKNOWLEDGEMENT)
        pair = (signer.sign(TYPE_ACKNOWLEDGEMENT, payload), signer.key_id)
        return cls.parse(Dsse.make(TYPE_ACKNOWLEDGEMENT, payload, [pair]).raw)

    @classmethod
    def parse(cls, raw: bytes) -> Acknowledgement:
        """Return the acknowledgement of canonical container bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
        """
        # (1) canonical forms, and a state with exactly the fields that belong to it
        dsse = Dsse.parse(raw, payload_type=TYPE_ACKNOWLEDGEMENT, size_max=STATEMENT_SIZE_MAX)
        m = wire.parse(
            audit_pb2.RecipientAcknowledgement, dsse.payload, size_max=STATEMENT_SIZE_MAX, field="acknowledgement"
        )
        state = int(m.state)
        if state not in _STATES or len(dsse.signatures) != 1:
            raise error(
                Reason.BAD_FIELD, field="acknowledgement.state", detail="no recipient's state, or not signed once"
            )
        if m.previous:
            raise error(Reason.BAD_FIELD, field="acknowledgement.previous", detail="not offered by this version")
        refused = state == Event.REFUSED
        if refused != bool(m.reason) or refused == bool(m.content_commitment):
            detail = "REFUSED has a reason, the others have the commitment"
            raise error(Reason.BAD_FIELD, field="acknowledgement.reason", detail=detail)
        statement = Statement(
            envelope_digest=wire.check_size(
                m.envelope_digest, wire.DIGEST_SIZE, field="acknowledgement.envelope_digest"
            ),
            issuer=wire.check_name(m.issuer, field="acknowledgement.issuer"),
            issuer_bundle=wire.check_size(m.issuer_bundle, wire.DIGEST_SIZE, field="acknowledgement.issuer_bundle"),
            state=Event(state),
            at=wire.from_ms(m.at_ms, field="acknowledgement.at_ms"),
            reason=m.reason,
            content_commitment=wire.check_size(
                m.content_commitment, wire.DIGEST_SIZE, field="acknowledgement.content_commitment", optional=True
            ),
        )
        return cls(statement, dsse)

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self.dsse.raw

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes."""
        return self.dsse.digest

    def verify(self, directory: Directory, bundle: KeyBundle, suite: Suite) -> Party:
        """Return the recipient, once its bundle and signature have been checked.

        Spec: section Acknowledgement, steps 2 and 3.

        Args:
            directory: Who is who.
            bundle: The issuer's bundle, as the statement names it; verified here, at the time of the statement.
            suite: The suite of the envelope acknowledged.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `STALE_BUNDLE` or `SUITE_NOT_ACCEPTED`.
        """
        # (2) the issuer's own bundle
        said = self.statement
        bundle.check_named(said.issuer_bundle, said.issuer, field="acknowledgement.issuer_bundle")
        party = bundle.verify(directory, now=said.at)
        # (3) the signature
        public = bundle.signing_public(suites.suite_of(suite.number), KeyUsage.ACKNOWLEDGEMENT)
        suite.verify(public, self.dsse.message, self.dsse.signatures[0])
        return party
