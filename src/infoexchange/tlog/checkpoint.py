"""Checkpoint: what a log says of its tree - origin, size, root - signed as a note (C2SP tlog-checkpoint).

Our logs sign each checkpoint with two keys under the origin's name, Ed25519 and ML-DSA-44, so that it stands while
either algorithm does. The two sign different bytes, and a witness's keys sign the same kinds of bytes as the ML-DSA
key does, so `signed_message` here is the only place that says what any key signs; `cosignature` uses it for witnesses.
A log's own ML-DSA line and a witness's are told apart by name: the log's name is the origin, a witness's never is.
`Checkpoint.verify` demands a good signature by every key it is given: pass both and both must have signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from infoexchange.errors import Reason, error
from infoexchange.tlog.merkle import EMPTY_ROOT, HASH_SIZE, SIZE_MAX
from infoexchange.tlog.note import PREFIX_SIZES, SIGNATURE_SIZES, KeyType, Note, NoteSigner, Signature, VerifierKey
from infoexchange.tlog.text import parse_decimal, parse_hash, parse_lines, write_base64

# Specification constants
SKEW_MAX = timedelta(minutes=5)  # SPEC section Audit log: further in the future is refused
TIME_MAX = 2**63 - 1  # C2SP tlog-cosignature, timestamp
MLDSA_NAME_MAX = 255  # C2SP tlog-cosignature: a u8 holds the length of name and origin
LOG_TYPES = (KeyType.ED25519, KeyType.MLDSA44)
_ED25519_SIZE = SIGNATURE_SIZES[KeyType.ED25519]  # of a log's lines, what is longer states a time


@dataclass(frozen=True)
class Checkpoint:
    """A parsed checkpoint: nothing in it may be believed before `verify` has returned."""

    note: Note
    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Checkpoint:
        """Return the checkpoint in `raw`: a note of exactly three lines, no extensions.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`, as `Note.parse`.
        """
        return cls._of_note(Note.parse(raw))

    @classmethod
    def sign(cls, origin: str, size: int, root: bytes, signers: Sequence[NoteSigner], *, now: datetime) -> Checkpoint:
        """Return a checkpoint signed by the log's own keys.

        Args:
            origin: The log's name, which is also the name of its keys.
            size: Leaves in the tree.
            root: Root of that tree.
            signers: The log's signers; our logs have one of each of `LOG_TYPES`.
            now: The time that the ML-DSA signature states.

        Raises:
            MalformedError: `BAD_FIELD` when a key is not one of this log's, or the parts make no checkpoint.
        """
        text = checkpoint_text(origin, size, root)
        signatures = []
        for signer in signers:
            _check_log_key(signer.key, origin)
            signatures.append(_sign(signer, origin, size, root, now))
        return cls._of_note(Note.assemble(text, signatures))

    @classmethod
    def _of_note(cls, note: Note) -> Checkpoint:
        lines = parse_lines(note.text, field="checkpoint")
        if len(lines) != 3:
            raise error(Reason.MALFORMED, field="checkpoint", detail=f"{len(lines)} lines instead of 3")
        if not lines[0]:
            raise error(Reason.MALFORMED, field="checkpoint.origin", detail="empty")
        size = parse_decimal(lines[1], field="checkpoint.size")
        root = parse_hash(lines[2], field="checkpoint.root")
        _check_head(size, root)
        return cls(note, lines[0].decode(), size, root)

    @property
    def raw(self) -> bytes:
        """The exact bytes of the note."""
        return self.note.raw

    @property
    def signed_at(self) -> int:
        """Seconds since 1970 at which the log says it signed: the latest of its own timed lines, 0 without one."""
        own = [line for line in self.note.signatures if line.name == self.origin and len(line.blob) > _ED25519_SIZE]
        return max((int.from_bytes(line.blob[:8], "big") for line in own), default=0)

    def verify(self, keys: Iterable[VerifierKey], *, now: datetime | None = None) -> tuple[VerifierKey, ...]:
        """Return the log's keys, each of which has signed this checkpoint.

        Every key given must have signed, so the Ed25519 and the ML-DSA key of a log together demand both signatures.
        Signatures by others, such as witnesses, are ignored here.

        Args:
            keys: The log's own keys, named like the expected origin; at least one.
            now: If given, a signature from more than 5 minutes later is refused.

        Raises:
            UntrustedError: `UNKNOWN_PARTY` for another origin than the keys' or no key, `BAD_SIGNATURE`.
            RefusedError: `NOT_YET_VALID`.
            MalformedError: `BAD_FIELD` for a key that is no log key.
        """
        wanted = tuple(dict.fromkeys(keys))
        if not wanted or any(key.name != self.origin for key in wanted):
            raise error(Reason.UNKNOWN_PARTY, field="checkpoint.origin", detail="not the log that the keys belong to")
        for key in wanted:
            _check_log_key(key, self.origin)
        verified = self.note.verify(wanted, self.statement)
        for key in wanted:
            if key not in verified:
                raise error(Reason.BAD_SIGNATURE, field="checkpoint", detail=f"no signature by {key.label}")
        if now is not None:
            for signature in self.note.signatures:
                if any((signature.name, signature.key_id) == (key.name, key.id) for key in wanted if _timed(key)):
                    check_time(timestamp(signature), now)
        return verified

    def statement(self, key: VerifierKey, signature: Signature) -> bytes:
        """Return what `key` must have signed, given the line with its signature and perhaps a time."""
        time = timestamp(signature) if _timed(key) else 0
        return signed_message(key, time, self.origin, self.size, self.root)

    def with_signatures(self, signatures: Iterable[Signature]) -> Checkpoint:
        """Return the same checkpoint with more lines, for example a witness's; a line it has already is kept once."""
        return Checkpoint._of_note(Note.assemble(self.note.text, [*self.note.signatures, *signatures]))

    def only_signatures(self, kept: Iterable[Signature]) -> Checkpoint:
        """Return the same checkpoint with these lines alone; at least one."""
        return Checkpoint._of_note(Note.assemble(self.note.text, kept))

    def signed_by(self, signer: NoteSigner, *, now: datetime) -> Signature:
        """Return the line in which `signer`, of any key type, signs this checkpoint at `now`."""
        return _sign(signer, self.origin, self.size, self.root, now)


def checkpoint_text(origin: str, size: int, root: bytes) -> bytes:
    """Return the text of a checkpoint, the only form that `Checkpoint.parse` accepts.

    Raises:
        MalformedError: `BAD_FIELD` for an origin, size or root that no checkpoint has.
    """
    if not origin or "\n" in origin:
        raise error(Reason.BAD_FIELD, field="checkpoint.origin", detail="empty or more than a line")
    if not 0 <= size <= SIZE_MAX or len(root) != HASH_SIZE:
        raise error(Reason.BAD_FIELD, field="checkpoint", detail=f"size {size}, root of {len(root)} bytes")
    _check_head(size, root)
    return b"%s\n%d\n%s\n" % (origin.encode(), size, write_base64(root))


def signed_message(key: VerifierKey, time: int, origin: str, size: int, root: bytes) -> bytes:
    """Return the bytes that a key of each type signs for a checkpoint; plain keys state no time.

    Raises:
        MalformedError: `BAD_FIELD` when name or origin are too long for an ML-DSA cosignature.
    """
    if key.type == KeyType.ED25519:
        return checkpoint_text(origin, size, root)
    if key.type == KeyType.ED25519_COSIGNER:  # C2SP tlog-cosignature, Ed25519 signed message
        return b"cosignature/v1\ntime %d\n" % time + checkpoint_text(origin, size, root)
    parts = [b"subtree/v1\n\x00"]  # C2SP tlog-cosignature, ML-DSA-44 signed message; start is 0 for a whole tree
    for name, number in ((key.name, time), (origin, 0)):
        encoded = name.encode()
        if not 0 < len(encoded) <= MLDSA_NAME_MAX:
            raise error(Reason.BAD_FIELD, field="checkpoint.origin", detail=f"a name of {len(encoded)} bytes")
        parts += [bytes([len(encoded)]), encoded, number.to_bytes(8, "big")]
    return b"".join([*parts, size.to_bytes(8, "big"), root])


def timestamp(signature: Signature) -> int:
    """Return the seconds since 1970 in a timed signature.

    Raises:
        MalformedError: `BAD_FIELD` for time 0 or above 2^63-1, `MALFORMED` when there is no time.
    """
    if len(signature.blob) <= 8:
        raise error(Reason.MALFORMED, field="signature", detail="too short for a time")
    time = int.from_bytes(signature.blob[:8], "big")
    if not 0 < time <= TIME_MAX:
        raise error(Reason.BAD_FIELD, field="signature.time", detail="zero or above 2^63-1")
    return time


def check_time(time: int, now: datetime) -> None:
    """Refuse, with `NOT_YET_VALID`, seconds that lie more than 5 minutes after `now`."""
    if time > _seconds(now + SKEW_MAX):
        raise error(Reason.NOT_YET_VALID, field="signature.time", detail="more than 5 minutes in the future")


def _sign(signer: NoteSigner, origin: str, size: int, root: bytes, now: datetime) -> Signature:
    key = signer.key
    time = _seconds(now) if _timed(key) else 0
    prefix = time.to_bytes(8, "big") if _timed(key) else b""
    return Signature.make(signer, signed_message(key, time, origin, size, root), prefix)


def _timed(key: VerifierKey) -> bool:
    return PREFIX_SIZES[key.type] > 0


def _seconds(now: datetime) -> int:
    """Return whole seconds since 1970; a naive time would silently depend on the machine's zone."""
    if now.tzinfo is None:
        raise ValueError("a time needs a time zone")
    seconds = int(now.timestamp())
    if seconds < 1:
        raise ValueError("a time after 1970 is needed")
    return seconds


def _check_head(size: int, root: bytes) -> None:
    if size == 0 and root != EMPTY_ROOT:
        raise error(Reason.BAD_FIELD, field="checkpoint.root", detail="size 0 without the empty root")


def _check_log_key(key: VerifierKey, origin: str) -> None:
    if key.type not in LOG_TYPES or key.name != origin:
        raise error(Reason.BAD_FIELD, field="key", detail=f"{key.label} is not a key of this log")
