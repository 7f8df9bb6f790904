"""Keys: the private half of a party, and the two ports behind which it may live (SPEC section Keys).

One key has one purpose. Identity keys sign key bundles only; the keys of one epoch sign manifests, sign
acknowledgements or open envelopes, and are destroyed after their epoch. Secrets are seeds and never appear in `repr`,
errors or logs.
"""

from __future__ import annotations

import base64
import enum
import functools
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from infoexchange import suites, wire
from infoexchange.dsse import pae
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.suites import CONTENT_KEY_SIZE, OFFERED, Entropy, Sign, Suite, Unwrap

_FORM = "infoexchange identity keys 1"


class KeyUsage(enum.IntEnum):
    """The one purpose of a signing key."""

    MANIFEST = 1
    ACKNOWLEDGEMENT = 2


class Signer(Protocol):
    """Signs for one purpose. A key in a hardware token implements this too."""

    @property
    def public(self) -> bytes:
        """Raw public key."""

    @property
    def key_id(self) -> str:
        """Hint that helps a reader find the key; never decides anything."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the signature over the pre-authentication encoding, which separates domains by type."""


class Decrypter(Protocol):
    """Unwraps content keys."""

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Return the 32-byte content key, or raise the one generic `BAD_CIPHERTEXT`."""


def key_id(public: bytes) -> str:
    """Return 16 hexadecimal digits that hint at a public key."""
    return hashlib.sha256(public).hexdigest()[:16]


@dataclass(frozen=True)
class SigningKey:
    """A software signing key of one suite."""

    suite: Suite
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls, suite: Suite, *, entropy: Entropy = secrets.token_bytes) -> SigningKey:
        """Return a new key, or raise `SUITE_NOT_ACCEPTED` when this machine cannot do the suite."""
        return cls(suites.suite_of(suite.number), entropy(suite.signing_secret_size))

    @functools.cached_property
    def public(self) -> bytes:
        """Raw public key."""
        return self.suite.signing_public(self.secret)

    @functools.cached_property
    def key_id(self) -> str:
        """Hint derived from the public key."""
        return key_id(self.public)

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the suite's signature over the pre-authentication encoding."""
        return self._signer(pae(payload_type, payload))

    @functools.cached_property
    def _signer(self) -> Sign:
        return self.suite.signer(self.secret)


@dataclass(frozen=True)
class OpeningKey:
    """A software key that unwraps content keys sealed in one suite."""

    suite: Suite
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls, suite: Suite, *, entropy: Entropy = secrets.token_bytes) -> OpeningKey:
        """Return a new key, or raise `SUITE_NOT_ACCEPTED` when this machine cannot do the suite."""
        return cls(suites.suite_of(suite.number), entropy(suite.opening_secret_size))

    @functools.cached_property
    def public(self) -> bytes:
        """Raw public key to seal to."""
        return self.suite.opening_public(self.secret)

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Return the content key, or raise `BAD_CIPHERTEXT`."""
        return self._opener(wrapped, info)

    @functools.cached_property
    def _opener(self) -> Unwrap:
        return self.suite.opener(self.secret)


@dataclass(frozen=True)
class IdentityKey:
    """The long-lived pair that signs key bundles: Ed25519 and ML-DSA-65, both always."""

    ed25519: bytes = field(repr=False)
    mldsa65: bytes = field(repr=False)

    @classmethod
    def make(cls, *, entropy: Entropy = secrets.token_bytes) -> IdentityKey:
        """Return a new pair from two 32-byte seeds."""
        return cls(entropy(32), entropy(32))

    @functools.cached_property
    def publics(self) -> tuple[bytes, bytes]:
        """Raw public keys, Ed25519 first."""
        return suites.public_ed25519(self.ed25519), suites.public_mldsa65(self.mldsa65)

    def sign(self, payload_type: str, payload: bytes) -> tuple[tuple[bytes, str], tuple[bytes, str]]:
        """Return both `(signature, key id)` pairs over the pre-authentication encoding."""
        message = pae(payload_type, payload)
        classical, post_quantum = self.publics
        return (
            (suites.sign_ed25519(self.ed25519, message), key_id(classical)),
            (suites.sign_mldsa65(self.mldsa65, message), key_id(post_quantum)),
        )


@dataclass(frozen=True)
class EpochKeys:
    """The private halves of one key bundle."""

    epoch: int
    signing: Mapping[tuple[int, KeyUsage], SigningKey]
    opening: Mapping[int, OpeningKey]
    wrapping: bytes = field(repr=False)  # 32 bytes, from which the epoch KEKs that this party gives out are made

    @property
    def is_whole(self) -> bool:
        """Whether every secret has the length of its kind, and every suite that is opened all its keys."""
        if len(self.wrapping) != CONTENT_KEY_SIZE:
            return False
        sizes = all(len(key.secret) == key.suite.signing_secret_size for key in self.signing.values())
        sizes &= all(len(key.secret) == key.suite.opening_secret_size for key in self.opening.values())
        return sizes and bool(self.opening) and {(n, u) for n in self.opening for u in KeyUsage} <= self.signing.keys()

    @property
    def offered(self) -> tuple[Suite, ...]:
        """The suites in which others may seal to these keys."""
        return tuple(self.opening[number].suite for number in sorted(self.opening))

    @classmethod
    def make(
        cls,
        epoch: int,
        *,
        suites: Sequence[Suite] = OFFERED,
        closing: Sequence[Suite] = (),
        entropy: Entropy = secrets.token_bytes,
    ) -> EpochKeys:
        """Return new keys of an epoch.

        Args:
            epoch: Its number.
            suites: What is offered to others, each whole: a key to open with and one for each purpose of signing.
            closing: What is offered no more, but was: what was sealed before is still acknowledged in it.
            entropy: Source of the seeds.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED` when this machine cannot do one of them, or none is named.
        """
        whole = {suite.number: suite for suite in suites}
        if not whole:
            raise error(Reason.SUITE_NOT_ACCEPTED, field="suites", detail="an agency offers at least one suite")
        wanted = [(suite, usage) for suite in whole.values() for usage in KeyUsage]
        wanted += [(suite, KeyUsage.ACKNOWLEDGEMENT) for suite in closing if suite.number not in whole]
        return cls(
            epoch,
            {(s.number, usage): SigningKey.make(s, entropy=entropy) for s, usage in wanted},
            {s.number: OpeningKey.make(s, entropy=entropy) for s in whole.values()},
            entropy(CONTENT_KEY_SIZE),
        )

    def signer(self, suite: Suite, usage: KeyUsage) -> Signer:
        """Return the key that signs in a suite for a purpose, or raise `SUITE_NOT_ACCEPTED`."""
        key = self.signing.get((suite.number, usage))
        if key is None:
            raise self._without(suite, "signed in")
        return key

    def opener(self, suite: Suite) -> Decrypter:
        """Return the key that opens what was sealed in a suite, or raise `SUITE_NOT_ACCEPTED`."""
        key = self.opening.get(suite.number)
        if key is None:
            raise self._without(suite, "opened")
        return key

    def _without(self, suite: Suite, what: str) -> ExchangeError:
        names = ", ".join(s.name for s in self.offered)
        return error(
            Reason.SUITE_NOT_ACCEPTED,
            field="suite",
            detail=f"{suite.name} is not {what} with the keys of epoch {self.epoch}",
            next_step=f"Use one of {names}, or have keys for {suite.name} made for the next epoch.",
        )


@dataclass(frozen=True)
class Identity:
    """A party's private half: name, identity key, the keys of its epochs, newest first, and archive key."""

    name: str
    key: IdentityKey
    epochs: tuple[EpochKeys, ...]
    archive: bytes = field(default=b"", repr=False)  # 32 bytes; content keys of what was received are sealed under it

    @classmethod
    def make(cls, name: str, *, suites: Sequence[Suite] = OFFERED, entropy: Entropy = secrets.token_bytes) -> Identity:
        """Return a new identity with the keys of epoch 1, which offer `suites`.

        Raises:
            MalformedError: `BAD_FIELD` when the name is not a dNSName.
            RefusedError: `SUITE_NOT_ACCEPTED` when this machine cannot do a suite.
        """
        wire.check_name(name, field="name")
        epochs = (EpochKeys.make(1, suites=suites, entropy=entropy),)
        return cls(name, IdentityKey.make(entropy=entropy), epochs, entropy(CONTENT_KEY_SIZE))

    def keys_of(self, epoch: int) -> EpochKeys:
        """Return the keys of one epoch, or raise `STALE_BUNDLE` once they are destroyed."""
        for keys in self.epochs:
            if keys.epoch == epoch:
                return keys
        raise error(Reason.STALE_BUNDLE, field="epoch", detail=f"the keys of epoch {epoch} are not held any more")

    @classmethod
    def parse(cls, raw: bytes) -> Identity:
        """Return the identity of a key file, or raise `MALFORMED` without repeating a byte of it."""
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
            key = IdentityKey(*(base64.b64decode(value[half], validate=True) for half in ("ed25519", "mldsa65")))
            if (len(key.ed25519), len(key.mldsa65)) != (32, 32):
                raise ValueError
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
                "ed25519": text(self.key.ed25519),
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
