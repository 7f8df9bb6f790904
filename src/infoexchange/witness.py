"""Witness: what one relay checks of another's log before it cosigns (C2SP tlog-witness; SPEC section Witnesses)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.log import NoteKeys, log_keys
from infoexchange.ports import Clock, Latch
from infoexchange.suites import Entropy
from infoexchange.tlog import Checkpoint, Cosignature, merkle
from infoexchange.tlog.merkle import PATH_MAX
from infoexchange.tlog.note import KeyType


class WitnessKeys(NoteKeys):
    """The private half of a witness, never that of a log."""

    FORM = "infoexchange witness keys 1"
    ED25519_TYPE = KeyType.ED25519_COSIGNER

    @classmethod
    def make(cls, relay: str, *, entropy: Entropy = secrets.token_bytes) -> WitnessKeys:
        """Return new keys."""
        return cls(f"{relay}/witness", entropy(32), entropy(32))


@dataclass(frozen=True)
class Answer:
    """What a witness says: cosignature lines, or only the size it cosigned last, for the log to prove from."""

    size: int
    lines: bytes = b""


class Cosigner:
    """One relay's witness: for each log it remembers the last checkpoint, and cosigns only what extends that."""

    def __init__(
        self, keys: WitnessKeys, directory: Callable[[], Directory], latch_for: Callable[[str], Latch], *, clock: Clock
    ) -> None:
        """Hold keys and the place where the last checkpoint of each origin is kept."""
        self._keys = keys
        self._directory = directory
        self._latch_for = latch_for
        self._clock = clock

    def remembered(self, origin: str) -> bytes:
        """Return the checkpoint last cosigned for a log, as that log signed it; nothing if there was none.

        Any auditor may see it: it is what that log showed to others.

        Raises:
            UntrustedError: `UNKNOWN_PARTY` for a log that is not in the directory.
        """
        keys = log_keys(self._directory(), origin.partition("/")[0], origin)
        if origin != keys[0].name:
            raise error(Reason.UNKNOWN_PARTY, field="origin", detail="not a log of the directory")
        return self._latch_for(origin).read()

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], raw: bytes) -> Answer:
        """Return cosignatures of a checkpoint, which is durably remembered before they are.

        Spec: section Witnesses, steps 1 to 5. One call at a time for each origin.

        Raises:
            MalformedError: `BAD_FIELD` when the old size is larger than the new one (400).
            UntrustedError: `UNKNOWN_PARTY` for an origin not in the directory (404), `BAD_SIGNATURE` (403), `BAD_PROOF`
                or `LOG_FORK` (422).
        """
        # (1) a log of the directory, both of whose keys have signed
        checkpoint = Checkpoint.parse(raw)
        relay = checkpoint.origin.partition("/")[0]
        checkpoint.verify(log_keys(self._directory(), relay, checkpoint.origin), now=self._clock())
        if old_size > checkpoint.size or len(proof) > PATH_MAX:
            raise error(Reason.BAD_FIELD, field="old_size", detail=f"{old_size} is larger than {checkpoint.size}")
        # (2) the log and this witness speak of the same last checkpoint
        latch = self._latch_for(checkpoint.origin)
        last = latch.read()
        size, root = 0, merkle.EMPTY_ROOT
        if last:
            known = Checkpoint.parse(last)
            size, root = known.size, known.root
        if old_size != size:
            return Answer(size)
        # (3) nothing that was seen before has changed
        if checkpoint.size == size and checkpoint.root != root:
            raise error(
                Reason.LOG_FORK, field="checkpoint", detail=f"another root for size {size} of {checkpoint.origin}"
            )
        if 0 < size < checkpoint.size:
            merkle.verify_consistency(size, root, checkpoint.size, checkpoint.root, proof)
        elif proof:
            raise error(Reason.BAD_PROOF, field="proof", detail="a proof where there is nothing to prove")
        # (4) remembered before anything is said
        if checkpoint.size > size:
            latch.replace(last, raw)
        # (5) both cosignatures
        now = self._clock()
        lines = [Cosignature.sign(checkpoint, signer, now=now).raw for signer in self._keys.signers]
        return Answer(checkpoint.size, b"".join(lines))
