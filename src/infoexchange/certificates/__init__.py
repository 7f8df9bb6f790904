"""Certificates: national CA to party, exactly one dNSName, judged at a given time (SPEC section Certificates).

X.509 leaves room that an identity cannot afford: common names, several names, other name types, no revocation. This
package accepts one narrow shape and issues nothing else.
"""

from infoexchange.certificates.authority import CA_LIFETIME, CaKey, NationalCa
from infoexchange.certificates.leaf import (
    CERTIFICATE_SIZE_MAX,
    CLOCK_SKEW,
    LEAF_LIFETIME,
    Leaf,
    check_ca,
    from_pem,
    load,
    name_of,
    to_pem,
    verify_leaf,
)
from infoexchange.certificates.revocation import (
    CRL_LIFETIME,
    RevocationReason,
    Revoked,
    check_not_revoked,
    list_until,
    newest_list,
    newest_of_each,
)
from infoexchange.certificates.signing_request import (
    belong_together,
    identity_requests,
    request,
    tls_key,
    tls_request,
)

__all__ = [
    "CA_LIFETIME",
    "CERTIFICATE_SIZE_MAX",
    "CLOCK_SKEW",
    "CRL_LIFETIME",
    "LEAF_LIFETIME",
    "CaKey",
    "Leaf",
    "NationalCa",
    "RevocationReason",
    "Revoked",
    "belong_together",
    "check_ca",
    "check_not_revoked",
    "from_pem",
    "identity_requests",
    "list_until",
    "load",
    "name_of",
    "newest_list",
    "newest_of_each",
    "request",
    "tls_key",
    "tls_request",
    "to_pem",
    "verify_leaf",
]
