"""Enrolment: what is asked of certificates before an agency's folder takes them in."""

from __future__ import annotations

from datetime import datetime

from infoexchange import certificates
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.home.files import check_tls_pair
from infoexchange.home.folder import REQUEST, TLS_KEY, Folder
from infoexchange.keys import Identity
from infoexchange.listing import Role

_SIGNED_WITH = ("Ed25519", "ML-DSA-65")  # identity keys, in this order
_KINDS = (*_SIGNED_WITH, "ECDSA-P256")  # requests and certificates stand in this order; the last is for TLS


def checked_leaves(
    folder: Folder, pem: bytes, directory: Directory, identity: Identity, crl: bytes, now: datetime
) -> list[bytes]:
    """Return the three certificates as DER, once they are known to be this identity's and to hold at `now`."""
    party = directory.party(identity.name, at=now)
    if party.role is not Role.AGENCY:
        raise error(Reason.BAD_FIELD, field="directory", detail=f"{identity.name} is a relay there, not an agency")
    nation = directory.nation(party.nation)
    ders = certificates.from_pem(pem)
    if len(ders) != len(_KINDS):
        raise _refused(f"{len(ders)} certificates instead of {', '.join(_KINDS)}")
    issuers = (nation.identity_cas, nation.identity_cas, nation.tls_cas)
    for der, cas, kind in zip(ders, issuers, _KINDS, strict=True):
        # Asked first, because the reason is then plain: the chain of another party's certificate fails as well.
        name = certificates.name_of(certificates.load(der))
        if name != identity.name:
            raise _refused(f"a certificate for {name}, not for {identity.name}")
        leaf = certificates.verify_leaf(der, cas, now)
        if leaf.algorithm != kind:
            raise _refused(f"{leaf.algorithm} stands where {kind} is expected; the order is {', '.join(_KINDS)}")
        if kind in _SIGNED_WITH and leaf.public not in identity.key.publics:
            raise _refused(f"the {kind} certificate is for another key than that of this folder")
        certificates.check_not_revoked(leaf, (crl,) if crl else (), nation.identity_cas, now)
    certificates.newest_list((crl,) if crl else (), nation.identity_cas)  # another nation's list would prove nothing
    check_tls_pair(ders[-1], folder.tls_key(), folder.path / TLS_KEY)
    return ders


def _refused(detail: str) -> Exception:
    return error(
        Reason.BAD_CERTIFICATE,
        field="certificates",
        detail=detail,
        next_step=f"Have the national CA issue one certificate for each request in {REQUEST}, in that order.",
    )
