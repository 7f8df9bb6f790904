"""Grant: an originator's signed consent that its information is passed on (SPEC section Grant).

It names what may be passed on, by whom, to whom and until when, and travels with every onward copy, so that relay,
recipient and auditor each check it without asking the originator.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from infoexchange import suites, wire
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_GRANT, Dsse
from infoexchange.errors import Reason, error
from infoexchange.header import RECIPIENTS_MAX
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.listing import Party
from infoexchange.v1 import grant_pb2

# Specification constants
GRANT_SIZE_MAX = 24 * 1024  # 64 names of 200 letters, and the largest signature of the registry
GRANT_LIFETIME_MAX = timedelta(days=90)  # a case has moved on by then: the originator is asked again
GRANT_LIFETIME_DEFAULT = timedelta(days=14)  # as long as delivery is tried


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What an originator consents to: that `holder` passes the content of its envelope `origin` on to `recipients`."""

    origin: bytes
    originator: str
    originator_bundle: bytes
    holder: str
    recipients: tuple[str, ...]
    granted_at: datetime
    expires_at: datetime
    suite: int


@dataclass(frozen=True)
class Grant:
    """A signed consent; not verified until `verify` says so."""

    terms: Terms
    dsse: Dsse = field(repr=False)

    @classmethod
    def sign(cls, terms: Terms, keys: EpochKeys) -> Grant:
        """Return the consent signed by the originator's manifest key of the epoch that `originator_bundle` publishes.

        Raises:
            MalformedError: `BAD_FIELD` when the terms do not fit together.
            RefusedError: `SUITE_NOT_ACCEPTED` when the suite is not offered, or that epoch has no key for it.
        """
        payload = wire.canonical(
            grant_pb2.Grant(
                origin=terms.origin,
                originator=terms.originator,
                originator_bundle=terms.originator_bundle,
                holder=terms.holder,
                recipients=sorted(set(terms.recipients)),
                granted_ms=wire.to_ms(terms.granted_at),
                expires_ms=wire.to_ms(terms.expires_at),
                suite=terms.suite,
            )
        )
        signer = keys.signer(suites.suite_of(terms.suite), KeyUsage.MANIFEST)
        pair = (signer.sign(TYPE_GRANT, payload), signer.key_id)
        return cls.parse(Dsse.make(TYPE_GRANT, payload, [pair]).raw)

    @classmethod
    def parse(cls, raw: bytes) -> Grant:
        """Return the grant of canonical container bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) canonical forms, names that rise, a time of use
        dsse = Dsse.parse(raw, payload_type=TYPE_GRANT, size_max=GRANT_SIZE_MAX)
        m = wire.parse(grant_pb2.Grant, dsse.payload, size_max=GRANT_SIZE_MAX, field="grant")
        if len(dsse.signatures) != 1:
            raise error(Reason.BAD_FIELD, field="grant.signatures", detail="exactly one signature")
        names = [wire.check_name(name, field="grant.recipients") for name in m.recipients]
        wire.check_ascending(names, field="grant.recipients")
        if not 1 <= len(names) <= RECIPIENTS_MAX:
            raise error(Reason.BAD_FIELD, field="grant.recipients", detail=f"{len(names)}, 1 to {RECIPIENTS_MAX}")
        terms = Terms(
            origin=wire.check_size(m.origin, wire.DIGEST_SIZE, field="grant.origin"),
            originator=wire.check_name(m.originator, field="grant.originator"),
            originator_bundle=wire.check_size(m.originator_bundle, wire.DIGEST_SIZE, field="grant.originator_bundle"),
            holder=wire.check_name(m.holder, field="grant.holder"),
            recipients=tuple(names),
            granted_at=wire.from_ms(m.granted_ms, field="grant.granted_ms"),
            expires_at=wire.from_ms(m.expires_ms, field="grant.expires_ms"),
            suite=m.suite,
        )
        if not timedelta(0) < terms.expires_at - terms.granted_at <= GRANT_LIFETIME_MAX:
            days = GRANT_LIFETIME_MAX.days
            raise error(Reason.BAD_FIELD, field="grant.expires_ms", detail=f"at most {days} days after granted_ms")
        return cls(terms, dsse)

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self.dsse.raw

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of the exact container bytes: how a header names the grant.

        Other signed objects are named by what is signed. A grant travels beside the manifest, so its own signature is
        covered too: nobody on the way can spoil it and have the holder blamed.
        """
        return sha256(self.raw).digest()

    def verify(self, directory: Directory, bundle: KeyBundle) -> Party:
        """Return the originator, once its bundle and signature have been checked.

        Spec: section Grant, steps 2 and 3.

        Args:
            directory: Who is who.
            bundle: The originator's bundle, as the grant names it; verified here, at the time of granting.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `SUITE_NOT_ACCEPTED` or `STALE_BUNDLE`.
        """
        terms = self.terms
        # (2) the originator's own bundle, in use when the consent was given, and a suite the community accepts
        suite = suites.suite_of(terms.suite)
        directory.listing.check_suite(suite, field="grant.suite")
        if bundle.digest != terms.originator_bundle or bundle.owner != terms.originator:
            raise error(Reason.STALE_BUNDLE, field="grant.originator_bundle", detail="not the bundle the grant names")
        party = bundle.verify(directory, now=terms.granted_at)
        # (3) the signature
        suite.verify(bundle.signing_public(suite, KeyUsage.MANIFEST), self.dsse.message, self.dsse.signatures[0])
        return party

    def check_covers(self, holder: str, recipients: Collection[str], *, at: Sequence[datetime]) -> None:
        """Raise unless the grant lets `holder` pass on to all of `recipients` at every time given.

        Spec: section Grant, steps 4 and 5.

        Raises:
            RefusedError: `NOT_PERMITTED`, `NOT_YET_VALID` or `EXPIRED`.
        """
        terms = self.terms
        step = f"Ask {terms.originator} for a grant that covers it: `infoexchange consent request`."
        # (4) by whom and to whom
        if holder != terms.holder:
            detail = f"it lets {terms.holder} pass on, not {holder}"
            raise error(Reason.NOT_PERMITTED, field="grant.holder", detail=detail, next_step=step)
        others = sorted(set(recipients) - set(terms.recipients))
        if others:
            detail = f"it does not name {', '.join(others)}"
            raise error(Reason.NOT_PERMITTED, field="grant.recipients", detail=detail, next_step=step)
        # (5) when
        for moment in at:
            if moment < terms.granted_at - CLOCK_SKEW:
                detail = f"it was given later, at {terms.granted_at:%Y-%m-%d %H:%M}Z"
                raise error(Reason.NOT_YET_VALID, field="grant.granted_ms", detail=detail)
            if moment > terms.expires_at + CLOCK_SKEW:
                detail = f"it ended at {terms.expires_at:%Y-%m-%d %H:%M}Z"
                raise error(Reason.EXPIRED, field="grant.expires_ms", detail=detail, next_step=step)
