"""Note: text signed by one or more keys, and the verifier keys that name its signers (C2SP signed-note).

Checkpoints are notes, and what a note's keys sign depends on their type: a plain Ed25519 key signs the text, a cosigner
key signs a statement about the checkpoint in it. This module therefore knows lines, names and lengths; what was signed
comes as the argument `statement`, a function from a key and its signature line to the signed bytes. `checkpoint` gives
the one for its format; without it only plain keys can sign or verify.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from infoexchange import suites
from infoexchange.errors import Reason, error
from infoexchange.tlog.text import parse_base64, parse_lines, write_base64

# Specification constants
NOTE_SIZE_MAX = 256 * 1024  # SPEC section Audit log: room for 64 ML-DSA-44 lines
SIGNATURES_MAX = 64  # SPEC section Audit log
_DASH = "\u2014".encode()
_KEY_ID = re.compile(r"[0-9a-f]{8}")


class KeyType(enum.IntEnum):
    """What a key is for; the number is the signature type of signed-note, which every key ID contains."""

    ED25519 = 0x01
    ED25519_COSIGNER = 0x04
    MLDSA44 = 0x06


PUBLIC_SIZES = {KeyType.ED25519: 32, KeyType.ED25519_COSIGNER: 32, KeyType.MLDSA44: 1312}
SIGNATURE_SIZES = {KeyType.ED25519: 64, KeyType.ED25519_COSIGNER: 64, KeyType.MLDSA44: 2420}
PREFIX_SIZES = {KeyType.ED25519: 0, KeyType.ED25519_COSIGNER: 8, KeyType.MLDSA44: 8}  # u64 time before the signature


@dataclass(frozen=True)
class VerifierKey:
    """A public key under a name, fit for one purpose; every instance has passed the checks of a key."""

    name: str
    type: KeyType
    public: bytes = field(repr=False)
    id: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the parts and compute the key ID, whoever makes the key."""
        _check_name(self.name, "key.name")
        if len(self.public) != PUBLIC_SIZES[self.type]:
            raise error(Reason.BAD_FIELD, field="key", detail=f"{len(self.public)} bytes for type {self.type:02x}")
        if self.type != KeyType.MLDSA44:
            suites.check_ed25519_key(self.public)
        hashed = hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public)
        object.__setattr__(self, "id", hashed.digest()[:4])

    @classmethod
    def make(cls, name: str, key_type: int, public: bytes) -> VerifierKey:
        """Return the verifier key of a raw public key.

        Raises:
            MalformedError: `MALFORMED` or `BAD_FIELD` for a name, type or length that no key has.
            UntrustedError: `BAD_CERTIFICATE` for an Ed25519 key outside the acceptance rule.
        """
        if key_type not in PUBLIC_SIZES:
            raise error(Reason.BAD_FIELD, field="key.type", detail=f"unknown key type {key_type}")
        return cls(name, KeyType(key_type), public)

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Return the key written as `name+id+base64`, whose ID must be the computed one.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            UntrustedError: `BAD_CERTIFICATE` for an Ed25519 key outside the acceptance rule.
        """
        name, _, rest = text.partition("+")
        key_id, plus, encoded = rest.partition("+")
        if not plus or not _KEY_ID.fullmatch(key_id) or not encoded.isascii():
            raise error(Reason.MALFORMED, field="key", detail="not of the form name+id+base64")
        data = parse_base64(encoded.encode(), field="key")
        if not data:
            raise error(Reason.MALFORMED, field="key", detail="empty")
        key = cls.make(name, data[0], data[1:])
        if key.id.hex() != key_id:
            raise error(Reason.BAD_FIELD, field="key.id", detail="the key ID belongs to another key")
        return key

    def __str__(self) -> str:
        """The text form that `parse` reads."""
        return f"{self.label}+{write_base64(bytes([self.type]) + self.public).decode()}"

    @property
    def label(self) -> str:
        """Name and key ID, short enough for a message to a person."""
        return f"{self.name}+{self.id.hex()}"


@dataclass(frozen=True)
class NoteSigner:
    """A verifier key and the callable that signs bytes with its private half, wherever that is kept."""

    key: VerifierKey
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Signature:
    """One signature line: an unverified claim that the key with this name and ID signed.

    Attributes:
        name: Key name.
        key_id: Four bytes that, with the name, say which key.
        blob: What follows them: for cosigner keys eight bytes of time, then the signature.
    """

    name: str
    key_id: bytes
    blob: bytes = field(repr=False)

    @property
    def raw(self) -> bytes:
        """The line, with its newline."""
        return b"%s %s %s\n" % (_DASH, self.name.encode(), write_base64(self.key_id + self.blob))

    @classmethod
    def parse(cls, raw: bytes) -> Signature:
        """Return the signature in one line with its newline.

        Raises:
            MalformedError: `MALFORMED` or `NOT_CANONICAL`.
        """
        lines = parse_lines(raw, field="signature")
        parts = lines[0].split(b" ")
        if len(lines) != 1 or len(parts) != 3 or parts[0] != _DASH:
            raise error(Reason.MALFORMED, field="signature", detail="not a dash, a name and base64")
        name = _decode(parts[1], "signature")
        _check_name(name, "signature")
        data = parse_base64(parts[2], field="signature")
        if len(data) < 5:
            raise error(Reason.MALFORMED, field="signature", detail="no signature after the key ID")
        return cls(name, data[:4], data[4:])

    @classmethod
    def make(cls, signer: NoteSigner, message: bytes, prefix: bytes = b"") -> Signature:
        """Return the line in which `signer` signs `message`; `prefix` is the time that cosigner keys put first."""
        key, made = signer.key, signer.sign(message)
        if len(made) != SIGNATURE_SIZES[key.type] or len(prefix) != PREFIX_SIZES[key.type]:
            raise ValueError(f"a signature of {len(made)} bytes does not fit the key {key.label}")
        return cls(key.name, key.id, prefix + made)

    def verify(self, key: VerifierKey, statement: Statement) -> None:
        """Return if `key` made this signature over its `statement`, or raise.

        Raises:
            UntrustedError: `BAD_SIGNATURE`.
        """
        if (self.name, self.key_id) != (key.name, key.id):
            raise error(Reason.BAD_SIGNATURE, field="note", detail=f"not a signature line of {key.label}")
        prefix = PREFIX_SIZES[key.type]
        if len(self.blob) != prefix + SIGNATURE_SIZES[key.type]:
            raise error(Reason.BAD_SIGNATURE, field="note", detail=f"wrong length of the signature by {key.label}")
        check = suites.verify_mldsa44 if key.type == KeyType.MLDSA44 else suites.verify_ed25519
        check(key.public, statement(key, self), self.blob[prefix:])


Statement = Callable[[VerifierKey, Signature], bytes]
"""What a key signs; the signature line is given because it carries the time."""


@dataclass(frozen=True)
class Note:
    """A parsed note: the text is worth nothing until `verify` has returned.

    Attributes:
        raw: The exact bytes.
        text: What the signatures are about, with its final newline.
        signatures: The lines in order, verified or not.
    """

    raw: bytes = field(repr=False)
    text: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Note:
        """Return the note in `raw`, which must have exactly the form of signed-note.

        Raises:
            MalformedError: `MALFORMED` or `NOT_CANONICAL`.
            RefusedError: `TOO_LARGE` above 64 signatures or 256 KiB.
        """
        if len(raw) > NOTE_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="note", detail=f"{len(raw)} bytes")
        _decode(raw, "note")
        if any(byte < 0x20 and byte != 0x0A for byte in set(raw)):
            raise error(Reason.MALFORMED, field="note", detail="a control character other than newline")
        text, _, rest = raw.rpartition(b"\n\n")  # without a blank line all of it is the rest
        if not text.strip(b"\n"):
            raise error(Reason.MALFORMED, field="note", detail="no text or no blank line after it")
        lines = parse_lines(rest, field="note")
        if len(lines) > SIGNATURES_MAX:
            raise error(Reason.TOO_LARGE, field="note", detail=f"{len(lines)} signatures")
        return cls(raw, text + b"\n", tuple(Signature.parse(line + b"\n") for line in lines))

    @classmethod
    def assemble(cls, text: bytes, signatures: Iterable[Signature]) -> Note:
        """Return the note of a text and signatures that exist already; the same line twice is kept once."""
        lines = dict.fromkeys(signature.raw for signature in signatures)
        return cls.parse(text + b"\n" + b"".join(lines))

    @classmethod
    def sign(cls, text: bytes, signers: Iterable[NoteSigner]) -> Note:
        """Return `text` signed by plain Ed25519 keys; checkpoints have their own `sign`."""
        signers = tuple(signers)
        for signer in signers:
            _check_plain(signer.key)
        return cls.assemble(text, [Signature.make(signer, text) for signer in signers])

    def verify(self, keys: Iterable[VerifierKey], statement: Statement | None = None) -> tuple[VerifierKey, ...]:
        """Return those of `keys` that signed, each once, in the order of the lines.

        Lines by unknown keys are ignored, as the specification demands; one bad line by a known key spoils the note,
        even beside a good one.

        Args:
            keys: The keys that are trusted for this text.
            statement: What a key of each type signs; without it, plain keys sign the text.

        Raises:
            UntrustedError: `BAD_SIGNATURE` for a bad signature by a known key, or none by any.
            MalformedError: `BAD_FIELD` for two keys with one name and ID, or a key type that cannot sign this.
        """
        known = index_keys(keys)
        verified: dict[VerifierKey, None] = {}
        for signature in self.signatures:
            key = known.get((signature.name, signature.key_id))
            if key is not None:
                signature.verify(key, statement or self._plain)
                verified[key] = None
        if not verified:
            raise error(Reason.BAD_SIGNATURE, field="note", detail="no signature by a known key")
        return tuple(verified)

    def _plain(self, key: VerifierKey, _: Signature) -> bytes:
        _check_plain(key)
        return self.text


def index_keys(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    """Return the keys by name and ID, by which signature lines call them.

    Raises:
        MalformedError: `BAD_FIELD` when two different keys would be called the same.
    """
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise error(Reason.BAD_FIELD, field="key", detail=f"two keys are called {key.label}")
    return known


def _check_plain(key: VerifierKey) -> None:
    """Refuse a key that does not sign the text itself but a statement about a checkpoint."""
    if key.type != KeyType.ED25519:
        raise error(Reason.BAD_FIELD, field="key.type", detail=f"{key.label} signs checkpoints only")


@functools.lru_cache(maxsize=1024)  # the same few names stand in every note
def _check_name(name: str, where: str) -> None:
    """Refuse a key name that is empty or has a plus, a Unicode space or a control character."""
    if not name or any(char == "+" or char.isspace() or char < " " for char in name) or not _encodes(name):
        raise error(Reason.MALFORMED, field=where, detail="not a key name")


def _encodes(name: str) -> bool:
    """Whether `name` is Unicode text, without the lone surrogates that only Python strings can hold."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def _decode(raw: bytes, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise error(Reason.MALFORMED, field=where, detail="not UTF-8") from None
