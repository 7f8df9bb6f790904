"""Suites: every cryptographic algorithm in use, chosen whole by one number (SPEC section Suites).

A suite is all or nothing, so that no mixture of strong and weak parts can be negotiated. Primitives are called here,
in `certificates` and behind the ports of keys only; everything else names a suite and passes bytes. Secrets are seeds;
keys and signatures are raw.
"""

from infoexchange.suites.cipher import (
    CONTENT_KEY_SIZE,
    decrypt_body,
    derive,
    encrypt_body,
    unwrap_key,
    wrap_key,
)
from infoexchange.suites.ed25519 import (
    check_ed25519_key,
    ed25519_signer,
    public_ed25519,
    sign_ed25519,
    verify_ed25519,
)
from infoexchange.suites.mldsa import (
    CONTEXT,
    mldsa44_signer,
    public_mldsa44,
    public_mldsa65,
    sign_mldsa44,
    sign_mldsa65,
    verify_mldsa44,
    verify_mldsa65,
)
from infoexchange.suites.refusals import bad_ciphertext
from infoexchange.suites.registry import (
    CLASSICAL,
    DEFAULT_SUITE,
    HYBRID,
    HYBRID_KEM,
    NATIONAL,
    NIST_HIGH,
    OFFERED,
    SUITES,
    Registry,
    knows,
    probe,
    register,
    suite_named,
    suite_of,
    usable,
)
from infoexchange.suites.scheme import Entropy, SealingScheme, Sign, SigningScheme, Unwrap
from infoexchange.suites.stream import BODY_OVERHEAD, CHUNK_OVERHEAD, CHUNK_SIZE, ChunkOpener, Encrypting, encrypting
from infoexchange.suites.suite import Suite

__all__ = [
    "BODY_OVERHEAD",
    "CHUNK_OVERHEAD",
    "CHUNK_SIZE",
    "CLASSICAL",
    "CONTENT_KEY_SIZE",
    "CONTEXT",
    "DEFAULT_SUITE",
    "HYBRID",
    "HYBRID_KEM",
    "NATIONAL",
    "NIST_HIGH",
    "OFFERED",
    "SUITES",
    "ChunkOpener",
    "Encrypting",
    "Entropy",
    "Registry",
    "SealingScheme",
    "Sign",
    "SigningScheme",
    "Suite",
    "Unwrap",
    "bad_ciphertext",
    "check_ed25519_key",
    "decrypt_body",
    "derive",
    "ed25519_signer",
    "encrypt_body",
    "encrypting",
    "knows",
    "mldsa44_signer",
    "probe",
    "public_ed25519",
    "public_mldsa44",
    "public_mldsa65",
    "register",
    "sign_ed25519",
    "sign_mldsa44",
    "sign_mldsa65",
    "suite_named",
    "suite_of",
    "unwrap_key",
    "usable",
    "verify_ed25519",
    "verify_mldsa44",
    "verify_mldsa65",
    "wrap_key",
]
