"""Recall: a sender's signed order to stop an envelope that is not delivered yet (SPEC section Recall).

It names for whom, so that a relay can obey it before the envelope itself has come, and so that nobody needs the message
to read who was meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from infoexchange import suites, wire
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_RECALL, Dsse
from infoexchange.errors import Reason, error
from infoexchange.header import LIFETIME_MAX, RECIPIENTS_MAX
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.listing import Party
from infoexchange.states import Precedence
from infoexchange.v1 import audit_pb2

# Specification constants
ORDER_SIZE_MAX = 32 * 1024  # 64 names of 200 bytes and the longest signature take 20 KiB


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What an order says: which envelope is to be stopped, for whom, and since when."""

    envelope_digest: bytes
    issuer: str
    issuer_bundle: bytes
    suite: int
    recipients: tuple[str, ...]
    at: datetime


@dataclass(frozen=True)
class RecallOrder:
    """A signed order; not verified until `verify` says so."""

    statement: Recalled
    dsse: Dsse = field(repr=False)

    @classmethod
    def sign(cls, statement: Recalled, keys: EpochKeys) -> RecallOrder:
        """Return the order signed in the envelope's suite by the sender's manifest key of an epoch.

        Raises:
            MalformedError: `BAD_FIELD` when it names nobody, or more than an envelope has recipients.
        """
        payload = wire.canonical(
            audit_pb2.RecallOrder(
                envelope_digest=statement.envelope_digest,
                issuer=statement.issuer,
                issuer_bundle=statement.issuer_bundle,
                suite=statement.suite,
                recipients=sorted(statement.recipients),
                at_ms=wire.to_ms(statement.at),
            )
        )
        signer = keys.signer(suites.suite_of(statement.suite), KeyUsage.MANIFEST)
        pair = (signer.sign(TYPE_RECALL, payload), signer.key_id)
        return cls.parse(Dsse.make(TYPE_RECALL, payload, [pair]).raw)

    @classmethod
    def parse(cls, raw: bytes) -> RecallOrder:
        """Return the order of canonical container bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) canonical forms, one signature, names that rise
        dsse = Dsse.parse(raw, payload_type=TYPE_RECALL, size_max=ORDER_SIZE_MAX)
        m = wire.parse(audit_pb2.RecallOrder, dsse.payload, size_max=ORDER_SIZE_MAX, field="recall")
        if len(dsse.signatures) != 1:
            raise error(Reason.BAD_FIELD, field="recall.signatures", detail="exactly one signature")
        names = [wire.check_name(name, field="recall.recipients") for name in m.recipients]
        if not 1 <= len(names) <= RECIPIENTS_MAX:
            raise error(Reason.BAD_FIELD, field="recall.recipients", detail=f"1 to {RECIPIENTS_MAX} names")
        wire.check_ascending(names, field="recall.recipients")
        said = Recalled(
            envelope_digest=wire.check_size(m.envelope_digest, wire.DIGEST_SIZE, field="recall.envelope_digest"),
            issuer=wire.check_name(m.issuer, field="recall.issuer"),
            issuer_bundle=wire.check_size(m.issuer_bundle, wire.DIGEST_SIZE, field="recall.issuer_bundle"),
            suite=m.suite,
            recipients=tuple(names),
            at=wire.from_ms(m.at_ms, field="recall.at_ms"),
        )
        return cls(said, dsse)

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self.dsse.raw

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes."""
        return self.dsse.digest

    @property
    def precedence(self) -> Precedence:
        """Place in a relay's queue: what is to stop a message overtakes it."""
        return Precedence.FLASH

    @property
    def expires_at(self) -> datetime:
        """When no envelope can be on its way any more that this order could stop."""
        return self.statement.at + LIFETIME_MAX

    def verify(self, directory: Directory, bundle: KeyBundle) -> Party:
        """Return the issuer, once its bundle and signature have been checked; whether it sent the envelope is not.

        Spec: section Recall, steps 2 and 3.

        Args:
            directory: Who is who.
            bundle: The issuer's bundle, as the order names it; verified here, at the time of the order.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `STALE_BUNDLE` or `SUITE_NOT_ACCEPTED`.
        """
        # (2) the issuer's own bundle
        said = self.statement
        suite = suites.suite_of(said.suite)
        bundle.check_named(said.issuer_bundle, said.issuer, field="recall.issuer_bundle")
        party = bundle.verify(directory, now=said.at)
        # (3) the signature
        suite.verify(bundle.signing_public(suite, KeyUsage.MANIFEST), self.dsse.message, self.dsse.signatures[0])
        return party
