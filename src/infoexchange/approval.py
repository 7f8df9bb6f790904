"""Approval: an agency's signed word that it shows records of a message, and to whom (SPEC section Approval).

It names the disclosure by digest, so that neither the relay that logs it nor anybody who sees it later learns what was
shown; it says for whom and why, so that a reader of the log can ask.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from infoexchange import suites, wire
from infoexchange.acknowledgement import STATEMENT_SIZE_MAX
from infoexchange.bundle import KeyBundle
from infoexchange.content import RECORDS_MAX
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DISCLOSURE, Dsse
from infoexchange.errors import Reason, error
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.listing import Party
from infoexchange.suites import Suite
from infoexchange.v1 import audit_pb2

# Specification constants
AUDIENCE_MAX = 253  # characters; as long as the longest name of a party
LEGAL_BASIS_MAX = 1000  # characters; an instrument and an article
_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)}  # they could steer the terminal of whoever reads a log


@dataclass(frozen=True, kw_only=True)
class Consent:
    """What an agency says: which disclosure of which message, for whom and on what basis."""

    envelope_digest: bytes
    disclosure_digest: bytes
    record_count: int
    issuer: str
    issuer_bundle: bytes
    audience: str
    legal_basis: str = ""
    at: datetime

    def same_as(self, other: Consent) -> bool:
        """Whether two say the same, whenever they were signed and with which of the issuer's keys."""
        return self._said == other._said

    @property
    def _said(self) -> tuple[bytes, bytes, str, str, str]:
        return self.envelope_digest, self.disclosure_digest, self.issuer, self.audience, self.legal_basis


@dataclass(frozen=True)
class Approval:
    """A signed consent; not verified until `verify` says so."""

    statement: Consent
    dsse: Dsse = field(repr=False)

    @classmethod
    def sign(cls, consent: Consent, suite: Suite, keys: EpochKeys) -> Approval:
        """Return the consent signed in the envelope's suite by the acknowledgement key of an epoch.

        Raises:
            MalformedError: `BAD_FIELD` when a text is empty, too long or not printable.
            RefusedError: `SUITE_NOT_ACCEPTED` when the keys do not sign in the suite.
        """
        payload = wire.canonical(
            audit_pb2.DisclosureApproval(
                envelope_digest=consent.envelope_digest,
                disclosure_digest=consent.disclosure_digest,
                record_count=consent.record_count,
                issuer=consent.issuer,
                issuer_bundle=consent.issuer_bundle,
                audience=consent.audience,
                legal_basis=consent.legal_basis,
                at_ms=wire.to_ms(consent.at),
            )
        )
        signer = keys.signer(suite, KeyUsage.ACKNOWLEDGEMENT)
        pair = (signer.sign(TYPE_DISCLOSURE, payload), signer.key_id)
        return cls.parse(Dsse.make(TYPE_DISCLOSURE, payload, [pair]).raw)

    @classmethod
    def parse(cls, raw: bytes) -> Approval:
        """Return the approval of canonical container bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) canonical forms, digests and texts
        dsse = Dsse.parse(raw, payload_type=TYPE_DISCLOSURE, size_max=STATEMENT_SIZE_MAX)
        m = wire.parse(audit_pb2.DisclosureApproval, dsse.payload, size_max=STATEMENT_SIZE_MAX, field="approval")
        if len(dsse.signatures) != 1:
            raise error(Reason.BAD_FIELD, field="approval.signatures", detail="exactly one signature")
        if not 1 <= m.record_count <= RECORDS_MAX:
            raise error(Reason.BAD_FIELD, field="approval.record_count", detail=f"{m.record_count} records")
        consent = Consent(
            envelope_digest=wire.check_size(m.envelope_digest, wire.DIGEST_SIZE, field="approval.envelope_digest"),
            disclosure_digest=wire.check_size(
                m.disclosure_digest, wire.DIGEST_SIZE, field="approval.disclosure_digest"
            ),
            record_count=m.record_count,
            issuer=wire.check_name(m.issuer, field="approval.issuer"),
            issuer_bundle=wire.check_size(m.issuer_bundle, wire.DIGEST_SIZE, field="approval.issuer_bundle"),
            audience=check_text(m.audience, AUDIENCE_MAX, field="approval.audience"),
            legal_basis=check_text(m.legal_basis, LEGAL_BASIS_MAX, field="approval.legal_basis", optional=True),
            at=wire.from_ms(m.at_ms, field="approval.at_ms"),
        )
        return cls(consent, dsse)

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self.dsse.raw

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: what a log entry names."""
        return self.dsse.digest

    def verify(self, directory: Directory, bundle: KeyBundle, suite: Suite) -> Party:
        """Return the agency that approved, once its bundle and signature have been checked.

        Spec: section Approval, steps 2 and 3.

        Args:
            directory: Who is who.
            bundle: The issuer's bundle, as the approval names it; verified here, at the time of the approval.
            suite: The suite of the envelope.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `STALE_BUNDLE` or `SUITE_NOT_ACCEPTED`.
        """
        # (2) the issuer's own bundle
        said = self.statement
        bundle.check_named(said.issuer_bundle, said.issuer, field="approval.issuer_bundle")
        party = bundle.verify(directory, now=said.at)
        # (3) the signature
        public = bundle.signing_public(suites.suite_of(suite.number), KeyUsage.ACKNOWLEDGEMENT)
        suite.verify(public, self.dsse.message, self.dsse.signatures[0])
        return party


def check_text(text: str, length_max: int, *, field: str, optional: bool = False) -> str:
    """Return a text for people that is not too long and has no control characters; else raise `BAD_FIELD`."""
    empty = not text.strip(" ") and not (optional and not text)
    if empty or len(text) > length_max or not _CONTROLS.isdisjoint(map(ord, text)):
        detail = f"{'at most' if optional else '1 to'} {length_max} characters, no control characters"
        raise error(Reason.BAD_FIELD, field=field, detail=detail)
    return text
