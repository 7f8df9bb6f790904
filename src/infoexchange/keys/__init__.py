"""Keys: the private half of a party, and the ports behind which it may live (SPEC section Keys).

One key has one purpose. Identity keys sign key bundles only; the keys of one epoch sign manifests, acknowledgements or
attestations, or open envelopes, and are destroyed after their epoch. Secrets are seeds and never appear in `repr`,
errors or logs.
"""

from infoexchange.keys.epoch import REQUIRED, Decrypter, EpochKeys, KeyUsage, OpeningKey, Signer, SigningKey, key_id
from infoexchange.keys.identity import Identity, IdentityKey, TokenKey

__all__ = [
    "REQUIRED",
    "Decrypter",
    "EpochKeys",
    "Identity",
    "IdentityKey",
    "KeyUsage",
    "OpeningKey",
    "Signer",
    "SigningKey",
    "TokenKey",
    "key_id",
]
