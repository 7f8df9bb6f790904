"""Sealed: a key file under a passphrase, so that a copied disk or backup is not a copied key (SPEC section Key files).

The passphrase is stretched with Argon2id, whose costs stand in the file and are bounded before anything is computed, so
that a file somebody else made cannot take this machine's memory or hours. What is sealed is the key file as it would
stand in the clear.
"""

from __future__ import annotations

import base64
import json
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from infoexchange import suites
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.suites import Entropy

FORM = "infoexchange sealed file 1"

# Specification constants
SALT_SIZE = 16  # RFC 9106, section 3.1
KEY_SIZE = 32  # of Cobblestone-256
MEMORY_MAX = 1024 * 1024 * 1024  # what the smallest machine that runs a relay has to spare
PASSES_MAX = 16
LANES_MAX = 16
WORK_MAX = 4 * 1024 * 1024 * 1024  # memory times passes: a few seconds on an ordinary core
PASSPHRASE_SIZE_MAX = 1024
PASSPHRASE_LENGTH_MIN = 12  # characters of a new one; two common words are longer

_KIB = 1024  # Argon2 counts memory in this
_LABEL = b"infoexchange/v1/sealed-file\x00"


@dataclass(frozen=True)
class Cost:
    """What one guess at the passphrase costs: memory in bytes, passes over it, lanes side by side."""

    memory: int
    passes: int
    lanes: int

    def check(self, field: str) -> None:
        """Raise `BAD_FIELD` for what Argon2id does not take, and `TOO_LARGE` for more than a reader will spend."""
        if min(self.memory, self.passes, self.lanes) < 1 or self.memory % _KIB or self.memory < 8 * _KIB * self.lanes:
            raise error(Reason.BAD_FIELD, field=field, detail="costs that Argon2id does not take")
        work = self.memory * self.passes
        if self.memory > MEMORY_MAX or self.passes > PASSES_MAX or self.lanes > LANES_MAX or work > WORK_MAX:
            raise error(
                Reason.TOO_LARGE,
                field=field,
                detail=f"it asks for {self.memory // _KIB} KiB and {self.passes} passes to be opened",
                next_step="Do not open it: no program of this project wrote it.",
            )


# Implementation constants
COST = Cost(memory=256 * 1024 * 1024, passes=3, lanes=4)  # 0.8 s on one 2025 core; RFC 9106 gives 64 MiB as the least


@dataclass(frozen=True)
class Seal:
    """A passphrase stretched once: seals any number of files, and opens those that it sealed."""

    salt: bytes
    cost: Cost
    _key: bytes = field(repr=False)

    @classmethod
    def make(cls, passphrase: str, *, cost: Cost | None = None, entropy: Entropy = secrets.token_bytes) -> Seal:
        """Return the seal of a new passphrase, at the usual cost if none is given.

        Raises:
            MalformedError: `BAD_FIELD` when the passphrase is shorter than 12 characters.
            RefusedError: `TOO_LARGE` when it is longer than 1024 bytes, or the cost is over the limits.
        """
        if len(passphrase) < PASSPHRASE_LENGTH_MIN:
            raise error(
                Reason.BAD_FIELD,
                field="passphrase",
                detail=f"shorter than {PASSPHRASE_LENGTH_MIN} characters",
                next_step="Take a longer one: five or six words that nobody said before.",
            )
        cost = cost or COST
        cost.check("cost")
        salt = entropy(SALT_SIZE)
        return cls(salt, cost, _stretch(passphrase, salt, cost))

    def seal(self, raw: bytes) -> bytes:
        """Return the bytes of a sealed file that holds `raw`."""
        value = {
            "form": FORM,
            "salt": base64.b64encode(self.salt).decode(),
            "memory_kib": self.cost.memory // _KIB,
            "passes": self.cost.passes,
            "lanes": self.cost.lanes,
            "sealed": base64.b64encode(suites.encrypt_body(self._key, _LABEL, raw)).decode(),
        }
        return json.dumps(value, indent=1).encode() + b"\n"


@dataclass(frozen=True)
class SealedFile:
    """A parsed sealed file: what opening it costs, and what is in it, unread."""

    raw: bytes = field(repr=False)
    salt: bytes
    cost: Cost
    ciphertext: bytes = field(repr=False)

    @staticmethod
    def is_one(raw: bytes) -> bool:
        """Whether bytes claim to be a sealed file rather than a key in the clear."""
        return FORM.encode() in raw

    @classmethod
    def parse(cls, raw: bytes) -> SealedFile:
        """Return the sealed file of some bytes, its costs within the limits.

        Spec: section Key files, steps 1 and 2.

        Raises:
            MalformedError: `MALFORMED` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE` when it asks for more memory or time than a reader will spend.
        """
        # (1) the form, each part of its kind
        try:
            value = json.loads(raw)
            if value["form"] != FORM or set(value) != {"form", "salt", "memory_kib", "passes", "lanes", "sealed"}:
                raise ValueError
            numbers = [_whole(value, name) for name in ("memory_kib", "passes", "lanes")]
            salt, ciphertext = (base64.b64decode(value[name], validate=True) for name in ("salt", "sealed"))
            if len(salt) != SALT_SIZE:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise error(
                Reason.MALFORMED,
                field="key file",
                detail="not a sealed file, or a damaged one",
                next_step="Restore the key file from its backup.",
            ) from None
        # (2) costs that this machine will bear, before anything is computed
        cost = Cost(numbers[0] * _KIB, numbers[1], numbers[2])
        cost.check("key file")
        return cls(raw, salt, cost, ciphertext)

    def seal_of(self, passphrase: str) -> Seal:
        """Return the seal that a passphrase gives with this file's salt and costs; `open_with` tells if it fits."""
        return Seal(self.salt, self.cost, _stretch(passphrase, self.salt, self.cost))

    def open_with(self, seal: Seal) -> bytes:
        """Return the key file inside.

        Spec: section Key files, step 3.

        Raises:
            UntrustedError: `BAD_CIPHERTEXT` when the passphrase is another one, or the file was changed.
        """
        # (3) one answer, whatever is wrong
        try:
            if (seal.salt, seal.cost) != (self.salt, self.cost):
                raise error(Reason.BAD_CIPHERTEXT)
            return suites.decrypt_body(seal._key, _LABEL, self.ciphertext)
        except ExchangeError:
            raise error(
                Reason.BAD_CIPHERTEXT,
                field="key file",
                detail="another passphrase, or a damaged file",
                next_step="Try again with the passphrase of this file, or restore the file from its backup.",
            ) from None


def _whole(value: Mapping[str, object], name: str) -> int:
    number = value[name]
    if type(number) is not int:
        raise ValueError
    return number


def _stretch(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    """Return the key of a passphrase: the same whichever keyboard wrote its accents."""
    try:
        text = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise error(Reason.BAD_FIELD, field="passphrase", detail="not text") from None
    if len(text) > PASSPHRASE_SIZE_MAX:
        raise error(Reason.TOO_LARGE, field="passphrase", detail=f"at most {PASSPHRASE_SIZE_MAX} bytes")
    try:
        stretch = Argon2id(
            salt=salt, length=KEY_SIZE, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory // _KIB
        )
        return stretch.derive(text)
    except MemoryError:
        raise error(
            Reason.OVERLOADED,
            field="passphrase",
            detail=f"there are no {cost.memory // _KIB} KiB of memory free to stretch it",
            next_step="Stop other programs and try again; nothing was changed.",
        ) from None
