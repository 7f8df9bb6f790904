"""Revocation: lists in which a national CA withdraws certificates, judged at a given time (SPEC section Certificates).

A list is made by the CA and read by everybody else. What it names is withdrawn from a date on and for ever; only a list
that is current at the time asked about shows that a certificate was not.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa

from infoexchange.certificates.leaf import CLOCK_SKEW, UNREADABLE, Leaf, bad, load
from infoexchange.errors import Reason, error

# Specification constants
CRL_LIFETIME = timedelta(days=7)  # a list older than this proves nothing about the present

# Implementation constants
_CHECKED_MAX = 1024  # lists whose signature, a millisecond or two each, need not be checked again


class RevocationReason(enum.StrEnum):
    """Why a certificate was withdrawn, in the words of RFC 5280; none of them can be taken back."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"


class Revoked(NamedTuple):
    """One certificate on a list: its serial number, from when on, and why."""

    serial: int
    at: datetime
    reason: RevocationReason = RevocationReason.UNSPECIFIED


def check_not_revoked(leaf: Leaf, crls: Sequence[bytes], cas: Sequence[bytes], at: datetime) -> bool:
    """Return whether a list valid at `at` was there to consult; raise if it, or any other list, names the leaf.

    Spec: section Certificates, step 4.

    Raises:
        UntrustedError: `REVOKED`, or `BAD_CERTIFICATE` when a list is forged or not a list.
    """
    # (4) no list of the issuing CA names it
    consulted = False
    for raw in crls:
        crl = _load(raw, tuple(cas))
        if crl is None or crl.issuer.public_bytes() != leaf.issuer:
            continue  # another nation's list came along in the same file
        entry = crl.get_revoked_certificate_by_serial_number(leaf.serial)
        if entry is not None and entry.revocation_date_utc <= at:
            raise error(Reason.REVOKED, field="certificate", detail=f"{leaf.name}, by its national CA")
        until = crl.next_update_utc
        consulted = consulted or (until is not None and crl.last_update_utc - CLOCK_SKEW <= at <= until)
    return consulted


@functools.lru_cache(maxsize=_CHECKED_MAX)
def _load(raw: bytes, cas: tuple[bytes, ...]) -> x509.CertificateRevocationList | None:
    """Return a list signed by one of the CAs, nothing if it is of other CAs; a forged or partial one raises."""
    try:
        crl = x509.load_der_x509_crl(raw)
        issuer = crl.issuer
        anchors = [anchor for anchor in map(load, cas) if anchor.subject == issuer]
        partial = any(extension.critical for extension in crl.extensions)
        for anchor in anchors:
            key = anchor.public_key()
            if isinstance(key, ec.EllipticCurvePublicKey | mldsa.MLDSA65PublicKey) and crl.is_signature_valid(key):
                break
        else:
            if anchors:
                raise error(Reason.BAD_CERTIFICATE, field="crl", detail="not signed by the CA it names")
            return None
    except UNREADABLE:
        raise bad("not a revocation list") from None
    if partial:
        # Critical extensions say that a list is a part or a difference; it would prove less than it seems to.
        raise error(Reason.BAD_CERTIFICATE, field="crl", detail="a partial list, or one with unknown critical parts")
    return crl


def newest_list(crls: Sequence[bytes], cas: Sequence[bytes]) -> datetime | None:
    """Return when the newest of some revocation lists was made, nothing if there is none.

    Raises:
        UntrustedError: `BAD_CERTIFICATE` when one is not signed by one of the CAs: its date would be anybody's word.
    """
    made = [crl.last_update_utc for crl in _own(crls, cas)]
    return max(made, default=None)


def newest_of_each(crls: Iterable[bytes], cas: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the newest revocation list of each CA, the newest of all first; lists of other CAs are left out.

    Raises:
        UntrustedError: `BAD_CERTIFICATE` when one is forged or not a list.
    """
    newest: dict[bytes, tuple[datetime, bytes]] = {}
    for raw in crls:
        crl = _load(raw, tuple(cas))
        if crl is not None:
            issuer, found = crl.issuer.public_bytes(), (crl.last_update_utc, raw)
            newest[issuer] = max(newest.get(issuer, found), found)
    return tuple(raw for _, raw in sorted(newest.values(), reverse=True))


def list_until(crls: Sequence[bytes], cas: Sequence[bytes]) -> datetime | None:
    """Return until when the newest of some revocation lists proves anything; raises as `newest_list`."""
    ends = [crl.next_update_utc for crl in _own(crls, cas) if crl.next_update_utc]
    return max(ends, default=None)


def _own(crls: Sequence[bytes], cas: Sequence[bytes]) -> list[x509.CertificateRevocationList]:
    found = [_load(raw, tuple(cas)) for raw in crls]
    own = [crl for crl in found if crl is not None]
    if len(own) < len(found):
        raise bad("a revocation list of another nation's CA")
    return own


def sign_list(
    key: ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey,
    issuer: x509.Certificate,
    revoked: Sequence[Revoked],
    *,
    number: int,
    now: datetime,
) -> bytes:
    """Return a DER list by a CA, valid for a week.

    Args:
        key: The CA's key.
        issuer: The CA's certificate.
        revoked: What it withdraws.
        number: Higher than that of every list before.
        now: When it is made.
    """
    # The stubs allow fewer kinds of keys than a certificate may hold.
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now)
        .next_update(now + CRL_LIFETIME)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority, critical=False)
    )
    for serial, at, reason in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
        if reason is not RevocationReason.UNSPECIFIED:  # RFC 5280 wants that one left out
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags(reason.value)), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    algorithm = hashes.SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)
