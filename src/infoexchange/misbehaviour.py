"""Misbehaviour: a small file which proves that a log or a witness contradicted itself (SPEC section Misbehaviour).

Two signed checkpoints of one log say everything: whoever has the public keys can judge them, offline, without the log
and without trusting whoever made the file. What cannot be shown in this way is no proof and is refused: an old
checkpoint handed out again, a witness that is missing, an answer that was withheld.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from infoexchange.errors import Reason, error
from infoexchange.tlog import Checkpoint, VerifierKey, merkle
from infoexchange.tlog.checkpoint import SKEW_MAX
from infoexchange.tlog.cosignature import WITNESS_TYPES
from infoexchange.tlog.text import parse_hash, write_base64

# Specification constants
MISBEHAVIOUR_SIZE_MAX = 64 * 1024  # SPEC section Limits
_HEADING = b"infoexchange-misbehaviour@v1"
_HASHES_MAX = merkle.PATH_MAX + 1  # SPEC section Misbehaviour: the first hash is always named


class Kind(enum.Enum):
    """How two checkpoints contradict each other; the value is the word in the file."""

    SAME_SIZE = "same-size"
    PREFIX = "prefix"
    ORDER = "order"


@dataclass(frozen=True)
class Misbehaviour:
    """A parsed proof; it proves nothing until `verify` has returned.

    Attributes:
        raw: The exact bytes.
        kind: How the checkpoints contradict each other.
        accused: Name of the key that signed both: the log's origin, or a witness's name.
        first: The smaller tree, or of two of one size the one with the lesser root.
        second: The other one.
        hashes: For `PREFIX`: what stands below the second root in the place of the first tree.
    """

    raw: bytes = field(repr=False)
    kind: Kind
    accused: str
    first: Checkpoint
    second: Checkpoint
    hashes: tuple[bytes, ...] = field(repr=False)

    @property
    def origin(self) -> str:
        """The log that both checkpoints are of."""
        return self.first.origin

    @property
    def is_of_log(self) -> bool:
        """Whether the log itself is proven wrong, not a witness."""
        return self.accused == self.origin

    @classmethod
    def parse(cls, raw: bytes) -> Misbehaviour:
        """Return the proof in `raw`, which has exactly one form.

        Spec: section Misbehaviour, steps 1 and 2.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or, for another version, `UNKNOWN_VERSION`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) three lines and the hashes, then two checkpoints, with a blank line before each
        if len(raw) > MISBEHAVIOUR_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="misbehaviour", detail=f"{len(raw)} bytes")
        parts = raw.split(b"\n\n")
        heading, *lines = parts[0].split(b"\n")
        if heading != _HEADING:
            raise error(Reason.UNKNOWN_VERSION, field="misbehaviour", detail="not a file of version 1")
        if len(lines) < 2:
            raise _malformed("not a head and two checkpoints")
        accused = _value(lines[0], b"against ")
        word = _value(lines[1], b"kind ")
        kind = next((kind for kind in Kind if kind.value == word), None)
        if kind is None:
            raise _malformed("no such kind")
        if len(lines) - 2 > _HASHES_MAX:
            raise error(Reason.TOO_LARGE, field="misbehaviour.hashes", detail=f"{len(lines) - 2} hashes")
        hashes = tuple(parse_hash(line, field="misbehaviour.hashes") for line in lines[2:])
        first = Checkpoint.parse(b"\n\n".join(parts[1:3]) + b"\n")
        second = Checkpoint.parse(b"\n\n".join(parts[3:]))  # one part more is no checkpoint
        found = cls(raw, kind, accused, first, second, hashes)
        found._check()
        return found

    def _check(self) -> None:
        """Refuse parts that do not belong together, or stand in another order than the one there is."""
        # (2) one log, lines of the accused alone, and what the kind needs
        if self.first.origin != self.second.origin:
            raise _bad_field("checkpoint.origin", "checkpoints of two logs")
        for checkpoint in (self.first, self.second):
            signatures = checkpoint.note.signatures
            if any(line.name != self.accused for line in signatures):
                raise _bad_field("checkpoint", "a signature that is not the accused's")
            ids = [line.key_id for line in signatures]
            if ids != sorted(set(ids)):
                raise error(Reason.NOT_CANONICAL, field="checkpoint", detail="signatures in another order, or twice")
        sizes = (self.first.size, self.second.size)
        if self.kind is Kind.SAME_SIZE:
            fits = sizes[0] == sizes[1] and self.first.root < self.second.root
        else:
            fits = (0 if self.kind is Kind.ORDER else 1) <= sizes[0] < sizes[1]
        if not fits or bool(self.hashes) != (self.kind is Kind.PREFIX):
            raise _bad_field("misbehaviour.kind", f"the parts are not those of {self.kind.value}")
        if self.kind is Kind.ORDER and not self.is_of_log:
            raise _bad_field("misbehaviour.kind", "only a log is bound to one order")

    @classmethod
    def make(
        cls, one: Checkpoint, other: Checkpoint, keys: Iterable[VerifierKey], hashes: Sequence[bytes] = ()
    ) -> Misbehaviour:
        """Return the proof that two checkpoints contradict each other, once it holds.

        Args:
            one: A signed checkpoint.
            other: Another of the same log; which of the two comes first does not matter.
            keys: All keys of whoever signed both: a log's pair, or a witness's. They have one name.
            hashes: From the tree of the larger one, as `merkle.prefix_path` gives them; none if the sizes are equal or
                the times tell enough.

        Raises:
            UntrustedError: `BAD_PROOF` when they do not contradict each other, `BAD_SIGNATURE`, `UNKNOWN_PARTY`.
            MalformedError: `BAD_FIELD` when they cannot be compared.
        """
        keys = tuple(keys)
        first, second = sorted((_kept(one, keys), _kept(other, keys)), key=lambda found: (found.size, found.root))
        if first.note.text == second.note.text:
            raise _bad_proof("both say the same")
        accused = keys[0].name
        kind = Kind.PREFIX if hashes else Kind.SAME_SIZE if first.size == second.size else Kind.ORDER
        head = [_HEADING, b"against " + accused.encode(), b"kind " + kind.value.encode()]
        lines = [*head, *map(write_base64, hashes), b"", first.raw, second.raw]
        made = cls.parse(b"\n".join(lines))
        made.verify(keys)
        return made

    def verify(self, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
        """Return the keys that signed, once it is certain that whoever holds them contradicted itself.

        Nothing but the keys is needed: no network, no directory, no clock.

        Args:
            keys: A log's own keys, each of which must have signed both checkpoints; or those of a witness, any of which
                is enough for each, as it is for a quorum. Every line must be by one of them.

        Spec: section Misbehaviour, steps 3 to 6.

        Raises:
            UntrustedError: `UNKNOWN_PARTY` when the keys are not the accused's, `BAD_SIGNATURE`, `BAD_PROOF`.
            MalformedError: `BAD_FIELD` for keys that are not fit for it.
        """
        # (3) the accused has signed both
        keys = tuple(dict.fromkeys(keys))
        if not keys or any(key.name != self.accused for key in keys):
            raise error(Reason.UNKNOWN_PARTY, field="misbehaviour.against", detail="the keys are not the accused's")
        signed = [_signed(checkpoint, keys, of_log=self.is_of_log) for checkpoint in (self.first, self.second)]
        # (4) two roots for one size: nothing more is needed
        # (5) the tree of the second root holds other leaves where the first one's were
        if self.kind is Kind.PREFIX:
            old, new = merkle.prefix_roots(self.first.size, self.second.size, self.hashes)
            if new != self.second.root:
                raise _bad_proof("the hashes are not those of the second tree")
            if old == self.first.root:
                raise _bad_proof("the second tree begins with the first")
        # (6) the smaller tree was signed later, by more than clocks may differ
        elif self.kind is Kind.ORDER:
            _check_order(self.first.signed_at, self.second.signed_at)
        return tuple(dict.fromkeys(key for found in signed for key in found))


def _signed(checkpoint: Checkpoint, keys: Sequence[VerifierKey], *, of_log: bool) -> tuple[VerifierKey, ...]:
    """Return the keys that signed; nothing in a file stands unproven beside what is proven."""
    if not {line.key_id for line in checkpoint.note.signatures} <= {key.id for key in keys}:
        raise error(Reason.BAD_SIGNATURE, field="checkpoint", detail="a signature by none of the keys given")
    if of_log:
        return checkpoint.verify(keys)
    if any(key.type not in WITNESS_TYPES for key in keys):
        raise _bad_field("key", "not a witness key")
    return checkpoint.note.verify(keys, checkpoint.statement)


def _check_order(first: int, second: int) -> None:
    """Raise unless the times at which the smaller and the larger tree were signed contradict the sizes."""
    if not first:  # every key has signed both, so neither states one
        raise error(Reason.UNKNOWN_PARTY, field="misbehaviour.against", detail="none of the keys states a time")
    if first - second <= SKEW_MAX.total_seconds():
        raise _bad_proof("the smaller tree was not signed later")


def _kept(checkpoint: Checkpoint, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Return a checkpoint with one line by each of the keys, in ascending order of their names."""
    names = {(key.name, key.id) for key in keys}
    lines = {line.key_id: line for line in reversed(checkpoint.note.signatures) if (line.name, line.key_id) in names}
    if not lines:
        raise error(Reason.BAD_SIGNATURE, field="checkpoint", detail="no signature by any of the keys")
    return checkpoint.only_signatures(lines[key_id] for key_id in sorted(lines))


def _value(line: bytes, keyword: bytes) -> str:
    if not line.startswith(keyword):
        raise _malformed(f"no line that begins with {keyword.decode()!r}")
    try:
        return line.removeprefix(keyword).decode()
    except UnicodeDecodeError:
        raise _malformed("not UTF-8") from None


def _malformed(detail: str) -> Exception:
    return error(Reason.MALFORMED, field="misbehaviour", detail=detail)


def _bad_field(where: str, detail: str) -> Exception:
    return error(Reason.BAD_FIELD, field=where, detail=detail)


def _bad_proof(detail: str) -> Exception:
    return error(Reason.BAD_PROOF, field="misbehaviour", detail=detail)
