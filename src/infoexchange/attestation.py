"""Attestation: the signature of an author or a supervisor inside sealed content (SPEC section Attestation).

The manifest says which agency sent a message. An attestation says in addition that somebody with a key kept for this
wrote it, or answers for it, before it was sealed; it covers the commitment and therefore every word.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.content import ATTESTATION_SIZE_MAX
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_ATTESTATION, Dsse
from infoexchange.errors import Reason, error
from infoexchange.header import Header
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.listing import Party
from infoexchange.suites import Suite, suite_of
from infoexchange.v1 import content_pb2


class AttestationRole(enum.IntEnum):
    """In what capacity somebody signs: a closed list."""

    AUTHOR = 1
    SUPERVISOR = 2


@dataclass(frozen=True)
class Attestation:
    """A signed statement about content; not verified until `verify` says so."""

    content_commitment: bytes = field(repr=False)
    role: AttestationRole
    signer: str
    signer_bundle: bytes = field(repr=False)
    signed_at: datetime
    dsse: Dsse = field(repr=False)

    @classmethod
    def sign(
        cls,
        content_commitment: bytes,
        role: AttestationRole,
        suite: Suite,
        bundle: KeyBundle,
        keys: EpochKeys,
        *,
        now: datetime,
    ) -> Attestation:
        """Return an attestation signed in the envelope's suite.

        Args:
            content_commitment: What is attested, as `Content.commitment` gives it before sealing.
            role: In what capacity.
            suite: Suite of the envelope to come.
            bundle: The signer's bundle, which publishes the attestation key.
            keys: The private halves of that bundle.
            now: Time of signing.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED` when there is no attestation key for the suite.
        """
        signer = keys.signing.get((suite.number, KeyUsage.ATTESTATION))
        if signer is None:
            detail = f"{bundle.owner} has no attestation key for {suite.name}"
            step = "Make the keys of a new epoch; those of older versions have none for attestations."
            raise error(Reason.SUITE_NOT_ACCEPTED, field="attestation", detail=detail, next_step=step)
        payload = wire.canonical(
            content_pb2.Attestation(
                content_commitment=content_commitment,
                role=content_pb2.AttestationRole.ValueType(role),
                signer=bundle.owner,
                signer_bundle=bundle.digest,
                signed_ms=wire.to_ms(now),
            )
        )
        pair = (signer.sign(TYPE_ATTESTATION, payload), signer.key_id)
        return cls.parse(Dsse.make(TYPE_ATTESTATION, payload, [pair]).raw)

    @classmethod
    def parse(cls, raw: bytes) -> Attestation:
        """Return the attestation of canonical container bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) canonical forms and fields
        dsse = Dsse.parse(raw, payload_type=TYPE_ATTESTATION, size_max=ATTESTATION_SIZE_MAX)
        m = wire.parse(content_pb2.Attestation, dsse.payload, size_max=ATTESTATION_SIZE_MAX, field="attestation")
        if len(dsse.signatures) != 1:
            raise error(Reason.BAD_FIELD, field="attestation.signatures", detail="exactly one signature")
        if int(m.role) not in set(AttestationRole):
            raise error(Reason.BAD_FIELD, field="attestation.role", detail=f"{int(m.role)} is not in the closed list")
        return cls(
            wire.check_size(m.content_commitment, wire.DIGEST_SIZE, field="attestation.content_commitment"),
            AttestationRole(int(m.role)),
            wire.check_name(m.signer, field="attestation.signer"),
            wire.check_size(m.signer_bundle, wire.DIGEST_SIZE, field="attestation.signer_bundle"),
            wire.from_ms(m.signed_ms, field="attestation.signed_ms"),
            dsse,
        )

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self.dsse.raw

    def verify(self, directory: Directory, bundle: KeyBundle, header: Header) -> Party:
        """Return the signer, once bundle, signature and content have been checked.

        Spec: section Attestation, steps 2 to 4.

        Args:
            directory: Who is who.
            bundle: The signer's bundle, as the attestation names it; verified here.
            header: Verified header of the envelope in which the attestation was sealed.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `STALE_BUNDLE`, `SUITE_NOT_ACCEPTED` or `NOT_YET_VALID`.
        """
        # (2) the signer's own bundle, at both times, so that a thief who dates back gains nothing
        bundle.check_named(self.signer_bundle, self.signer, field="attestation.signer_bundle")
        if self.signed_at > header.created_at + CLOCK_SKEW:
            raise error(Reason.NOT_YET_VALID, field="attestation.signed_ms", detail="signed after the message was made")
        bundle.verify(directory, now=self.signed_at)
        party = bundle.verify(directory, now=header.created_at)
        # (3) the signature
        suite = suite_of(header.suite)
        suite.verify(bundle.signing_public(suite, KeyUsage.ATTESTATION), self.dsse.message, self.dsse.signatures[0])
        # (4) the content it stands in
        if self.content_commitment != header.content_commitment:
            raise error(Reason.BAD_SIGNATURE, field="attestation", detail="other content was attested")
        return party


Attester = Callable[[bytes, Suite], Attestation]
"""Shown the commitment of content and the suite before sealing, gives the attestation: a person, or a key elsewhere."""
