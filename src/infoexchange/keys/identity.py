"""Identity: the long-lived keys of a party, in memory or in a hardware token, and the file that holds all its keys."""

from __future__ import annotations

import base64
import functools
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from infoexchange import suites, wire
from infoexchange.dsse import pae
from infoexchange.errors import Reason, error
from infoexchange.keys.epoch import EpochKeys, KeyUsage, OpeningKey, SigningKey, key_id
from infoexchange.suites import CONTENT_KEY_SIZE, OFFERED, Entropy, Suite

_FORM = "infoexchange identity keys 1"


class TokenKey(Protocol):
    """An Ed25519 key that a hardware token holds: it signs there, and its secret never leaves."""

    @property
    def uri(self) -> str:
        """Where it is: a PKCS#11 URI (RFC 7512) without a PIN."""

    @property
    def public(self) -> bytes:
        """Raw public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature, or raise `UNAVAILABLE` while the token cannot be used."""


@dataclass(frozen=True)
class IdentityKey:
    """The long-lived pair that signs key bundles: Ed25519 and ML-DSA-65, both always.

    Attributes:
        ed25519: Its seed, or the token that holds it.
        mldsa65: Its seed; hardware tokens do not have this algorithm yet.
    """

    ed25519: bytes | TokenKey = field(repr=False)
    mldsa65: bytes = field(repr=False)

    @classmethod
    def make(cls, *, token: TokenKey | None = None, entropy: Entropy = secrets.token_bytes) -> IdentityKey:
        """Return a new pair from two 32-byte seeds, or from one seed and the key of a token."""
        return cls(token or entropy(32), entropy(32))

    @functools.cached_property
    def publics(self) -> tuple[bytes, bytes]:
        """Raw public keys, Ed25519 first."""
        first = suites.public_ed25519(self.ed25519) if isinstance(self.ed25519, bytes) else self.ed25519.public
        return first, suites.public_mldsa65(self.mldsa65)

    def sign(self, payload_type: str, payload: bytes) -> tuple[tuple[bytes, str], tuple[bytes, str]]:
        """Return both `(signature, key id)` pairs over the pre-authentication encoding.

        Raises:
            UnavailableError: The token that holds one of the keys cannot be used now.
            UntrustedError: `BAD_SIGNATURE` when the token signs with another key than the one it is known by.
        """
        message = pae(payload_type, payload)
        classical, post_quantum = self.publics
        if isinstance(self.ed25519, bytes):
            signature = suites.sign_ed25519(self.ed25519, message)
        else:
            signature = self.ed25519.sign(message)
            suites.verify_ed25519(classical, message, signature)  # another token may sit in its place
        return (
            (signature, key_id(classical)),
            (suites.sign_mldsa65(self.mldsa65, message), key_id(post_quantum)),
        )


@dataclass(frozen=True)
class Identity:
    """A party's private half: its name, its identity key, the keys of its epochs, newest first, and its archive key."""

    name: str
    key: IdentityKey
    epochs: tuple[EpochKeys, ...]
    archive: bytes = field(default=b"", repr=False)  # 32 bytes; content keys of what was received are sealed under it

    @classmethod
    def make(
        cls,
        name: str,
        *,
        token: TokenKey | None = None,
        suites: Sequence[Suite] = OFFERED,
        entropy: Entropy = secrets.token_bytes,
    ) -> Identity:
        """Return a new identity with the keys of epoch 1, which offer `suites`; a token may hold its Ed25519 half.

        Raises:
            MalformedError: `BAD_FIELD` when the name is not a dNSName.
            RefusedError: `SUITE_NOT_ACCEPTED` when this machine cannot do a suite.
        """
        wire.check_name(name, field="name")
        key = IdentityKey.make(token=token, entropy=entropy)
        epochs = (EpochKeys.make(1, suites=suites, entropy=entropy),)
        return cls(name, key, epochs, entropy(CONTENT_KEY_SIZE))

    def keys_of(self, epoch: int) -> EpochKeys:
        """Return the keys of one epoch, or raise `STALE_BUNDLE` once they are destroyed."""
        for keys in self.epochs:
            if keys.epoch == epoch and keys.opening:
                return keys
        raise error(Reason.STALE_BUNDLE, field="epoch", detail=f"the keys of epoch {epoch} are not held any more")

    @classmethod
    def parse(cls, raw: bytes, *, token: Callable[[str, bytes], TokenKey] | None = None) -> Identity:
        """Return the identity of a key file, or raise `MALFORMED` without repeating a byte of it.

        Args:
            raw: The key file, in the clear.
            token: Gives the key of a token by URI and public key; without it, such an identity can do everything but
                sign key bundles.
        """
        try:
            value = json.loads(raw)
            if value["form"] != _FORM:
                raise KeyError
            epochs = tuple(
                EpochKeys(
                    int(e["epoch"]),
                    {
                        (int(k["suite"]), KeyUsage(k["usage"])): SigningKey(
                            suites.suite_of(int(k["suite"])), base64.b64decode(k["secret"], validate=True)
                        )
                        for k in e["signing"]
                    },
                    {
                        int(k["suite"]): OpeningKey(
                            suites.suite_of(int(k["suite"])), base64.b64decode(k["secret"], validate=True)
                        )
                        for k in e["opening"]
                    },
                    base64.b64decode(e["wrapping"], validate=True),
                )
                for e in value["epochs"]
            )
            numbers = [e.epoch for e in epochs]
            # Newest first, at least one: the first is what is signed with.
            if (
                not all(e.is_whole for e in epochs)
                or numbers != sorted(set(numbers), reverse=True)
                or numbers[-1:] < [1]
            ):
                raise ValueError
            key = _identity_key(value, token or _Elsewhere)
            archive = base64.b64decode(value["archive"], validate=True)
            if len(archive) not in (0, CONTENT_KEY_SIZE):
                raise ValueError
            return cls(wire.check_name(value["name"], field="name"), key, epochs, archive)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            raise error(
                Reason.MALFORMED,
                field="key file",
                detail="not the key file of an identity",
                next_step="Restore the key file from its backup, or make a new identity with `infoexchange keygen`.",
            ) from None

    @property
    def raw(self) -> bytes:
        """The bytes of the key file. Secret: write it for its owner's eyes only."""

        def text(secret: bytes) -> str:
            return base64.b64encode(secret).decode()

        return json.dumps(
            {
                "form": _FORM,
                "name": self.name,
                **(
                    {"ed25519": text(self.key.ed25519)}
                    if isinstance(self.key.ed25519, bytes)
                    else {"token": {"uri": self.key.ed25519.uri, "public": text(self.key.ed25519.public)}}
                ),
                "mldsa65": text(self.key.mldsa65),
                "archive": text(self.archive),
                "epochs": [
                    {
                        "epoch": e.epoch,
                        "signing": [
                            {"suite": suite, "usage": int(usage), "secret": text(k.secret)}
                            for (suite, usage), k in e.signing.items()
                        ],
                        "opening": [{"suite": suite, "secret": text(k.secret)} for suite, k in e.opening.items()],
                        "wrapping": text(e.wrapping),
                    }
                    for e in self.epochs
                ],
            },
            indent=1,
        ).encode()


@dataclass(frozen=True)
class _Elsewhere:
    """A token's key where no token is at hand."""

    uri: str
    public: bytes

    def sign(self, message: bytes) -> bytes:
        raise error(
            Reason.UNAVAILABLE,
            field="identity key",
            detail="a hardware token holds it, and none is open here",
            next_step="Run this where the token is.",
        )


def _identity_key(value: Any, token: Callable[[str, bytes], TokenKey]) -> IdentityKey:
    """Return the identity key in the JSON of a key file; whatever `parse` catches means that there is none."""

    def of_32(text: Any) -> bytes:
        raw = base64.b64decode(text, validate=True)
        if len(raw) != 32:
            raise ValueError
        return raw

    if ("ed25519" in value) == ("token" in value):
        raise ValueError
    if "ed25519" in value:
        return IdentityKey(of_32(value["ed25519"]), of_32(value["mldsa65"]))
    place = value["token"]
    if not isinstance(place["uri"], str):
        raise TypeError
    return IdentityKey(token(place["uri"], of_32(place["public"])), of_32(value["mldsa65"]))
