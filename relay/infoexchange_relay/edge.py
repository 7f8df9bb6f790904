"""Edge: from the connection's certificate to the party it acts for, before any rule runs.

TLS checks a certificate once, when the connection is made; connections live for half an hour, and a chain to any
nation's CA passes. So every call is checked again here, against the CAs of the nation the name belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime

from infoexchange import certificates
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.listing import Party
from infoexchange_relay.standing import Standing

# Implementation constants
_PROVEN_MAX = 4096  # (certificate, minute) pairs remembered; every party of a full directory

# A check costs a third of a millisecond; its result stands for the minute it was found in, so that an expired
# certificate is of no use for longer than that.
_proven: dict[tuple[bytes, bytes, datetime, int | None], str] = {}


def caller(
    auth_context: Mapping[str, Iterable[bytes]], directory: Directory, now: datetime, standing: Standing | None = None
) -> Party:
    """Return the party whose certificate the connection was made with.

    Args:
        auth_context: What gRPC says about the connection.
        directory: Who is who.
        now: The time the checks use.
        standing: What was revoked.

    Raises:
        UntrustedError: `BAD_CERTIFICATE` when there is no certificate, or it has not exactly one dNSName, or was not
            issued by a TLS CA of that party's nation, or is not valid now, or the connection is older than TLS 1.3;
            `UNKNOWN_PARTY` when the directory does not list the name; `REVOKED`.
    """
    # gRPC cannot be told to refuse TLS 1.2, so that nothing is answered over it; a grpcio older than 1.85 does not
    # say the version and cannot run a relay.
    version = _only(auth_context, "ssl_tls_version")
    if version != b"TLSv1.3":
        raise error(
            Reason.BAD_CERTIFICATE,
            field="tls",
            detail=f"TLS 1.3 is needed, not {version.decode(errors='replace')[:16] or 'an unknown version'}",
            next_step="Connect with TLS 1.3.",
        )
    pem = _only(auth_context, "x509_pem_cert")
    if not pem:
        raise error(Reason.BAD_CERTIFICATE, field="certificate", detail="the connection has none")
    edition = standing.edition if standing else None
    key = (hashlib.sha256(pem).digest(), directory.digest, now.replace(second=0, microsecond=0), edition)
    name = _proven.get(key)
    if name is None:
        name = _prove(pem, directory, now, standing)
        if len(_proven) >= _PROVEN_MAX:
            _proven.clear()
        _proven[key] = name
    return directory.party(name, at=now)


def _prove(pem: bytes, directory: Directory, now: datetime, standing: Standing | None) -> str:
    """Return the one name of a certificate that its nation vouches for."""
    (leaf, *_) = certificates.from_pem(pem) or [b""]
    party = directory.party(certificates.name_of(certificates.load(leaf)), at=now)
    proven = certificates.verify_leaf(leaf, directory.nation(party.nation).tls_cas, now)
    if standing:
        standing.check(proven, party.nation, directory)
    return proven.name


def _only(auth_context: Mapping[str, Iterable[bytes]], key: str) -> bytes:
    """Return the one value of a property; nothing when there is none, or more."""
    values = list(auth_context.get(key, ()))
    return values[0] if len(values) == 1 else b""
