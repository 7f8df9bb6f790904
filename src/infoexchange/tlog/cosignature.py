"""Cosignature: a witness's statement that a checkpoint extends all that it saw of a log (C2SP tlog-cosignature).

Cosignatures make a split view visible: an auditor believes a checkpoint when enough witnesses, none of them the log
itself, have signed it. A witness has keys of its own, Ed25519 (type 04) and ML-DSA-44 (type 06), never those of a log,
because an Ed25519 cosignature does not say who made it. What is signed stands in `checkpoint.signed_message`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from infoexchange.errors import Reason, error
from infoexchange.tlog.checkpoint import Checkpoint, check_time, timestamp
from infoexchange.tlog.note import KeyType, NoteSigner, Signature, VerifierKey, index_keys
from infoexchange.tlog.text import parse_lines

# Specification constants
WITNESS_TYPES = (KeyType.ED25519_COSIGNER, KeyType.MLDSA44)
COSIGNATURE_SIZES = (72, 2428)  # SPEC section Audit log: eight bytes of time, then either signature


@dataclass(frozen=True)
class Cosignature:
    """A parsed cosignature line; it says nothing until `verify` has returned.

    Attributes:
        signature: The line in its parts.
        time: Seconds since 1970 at which the witness says it signed.
    """

    signature: Signature
    time: int

    @classmethod
    def parse(cls, raw: bytes) -> Cosignature:
        """Return the cosignature in one line, with its newline.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, or `BAD_FIELD` for a wrong length or time.
        """
        return cls.of(Signature.parse(raw))

    @classmethod
    def parse_all(cls, raw: bytes) -> tuple[Cosignature, ...]:
        """Return the cosignatures in a witness's answer, one or more lines; raises as `parse`."""
        return tuple(cls.parse(line + b"\n") for line in parse_lines(raw, field="cosignature"))

    @classmethod
    def of(cls, signature: Signature) -> Cosignature:
        """Return a signature line of a note as a cosignature; raises as `parse`."""
        if len(signature.blob) not in COSIGNATURE_SIZES:
            raise error(Reason.BAD_FIELD, field="cosignature", detail=f"{len(signature.blob)} bytes")
        return cls(signature, timestamp(signature))

    @classmethod
    def sign(cls, checkpoint: Checkpoint, signer: NoteSigner, *, now: datetime) -> Cosignature:
        """Return the witness's cosignature; whether the log may be believed was decided before.

        Raises:
            MalformedError: `BAD_FIELD` when the key is not a witness's.
        """
        _check_witness_key(signer.key, checkpoint)
        return cls.of(checkpoint.signed_by(signer, now=now))

    @property
    def raw(self) -> bytes:
        """The line, with its newline."""
        return self.signature.raw

    def verify(self, checkpoint: Checkpoint, key: VerifierKey, *, now: datetime) -> VerifierKey:
        """Return `key` if it made this cosignature of `checkpoint` and not in the future, or raise.

        Raises:
            UntrustedError: `BAD_SIGNATURE`.
            RefusedError: `NOT_YET_VALID` when the time is more than 5 minutes after `now`.
            MalformedError: `BAD_FIELD` when the key is not a witness's.
        """
        _check_witness_key(key, checkpoint)
        self.signature.verify(key, checkpoint.statement)
        check_time(self.time, now)
        return key


def verify_cosignatures(
    checkpoint: Checkpoint, keys: Iterable[VerifierKey], *, now: datetime
) -> dict[VerifierKey, Cosignature]:
    """Return the cosignatures on a checkpoint's note by the witnesses with these keys, each key once.

    Unknown lines are ignored and no cosignature at all is an empty answer; a bad one by a known key spoils the note.
    Of two by one key the earlier counts, because a cosignature proves that the checkpoint existed by then.

    Raises:
        UntrustedError: `BAD_SIGNATURE` for a bad cosignature by a known key.
        RefusedError: `NOT_YET_VALID`.
        MalformedError: `BAD_FIELD` when a key is not a witness's or a known key's line has time 0 or above 2^63-1.
    """
    known = index_keys(keys)
    for key in known.values():
        _check_witness_key(key, checkpoint)
    found: dict[VerifierKey, Cosignature] = {}
    for signature in checkpoint.note.signatures:
        witness = known.get((signature.name, signature.key_id))
        if witness is not None:
            signature.verify(witness, checkpoint.statement)
            cosignature = Cosignature.of(signature)
            check_time(cosignature.time, now)
            found[witness] = min(cosignature, found.get(witness, cosignature), key=lambda one: one.time)
    return found


def _check_witness_key(key: VerifierKey, checkpoint: Checkpoint) -> None:
    if key.type not in WITNESS_TYPES or key.name == checkpoint.origin:
        raise error(Reason.BAD_FIELD, field="key", detail=f"{key.label} is not a witness key for this log")
