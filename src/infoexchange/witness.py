"""Witness: what one relay checks of another's log before it cosigns (C2SP tlog-witness; SPEC section Witnesses)."""

from __future__ import annotations

import base64
import functools
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infoexchange import suites
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.log import log_keys
from infoexchange.ports import Clock, Latch
from infoexchange.suites import Entropy
from infoexchange.tlog import Checkpoint, Cosignature, NoteSigner, VerifierKey, merkle
from infoexchange.tlog.merkle import PATH_MAX
from infoexchange.tlog.note import KeyType

_FORM = "infoexchange witness keys 1"


@dataclass(frozen=True)
class WitnessKeys:
    """The private half of a witness: Ed25519 and ML-DSA-44, never those of a log."""

    relay: str
    ed25519: bytes = field(repr=False)
    mldsa44: bytes = field(repr=False)

    @classmethod
    def make(cls, relay: str, *, entropy: Entropy = secrets.token_bytes) -> WitnessKeys:
        """Return new keys."""
        return cls(relay, entropy(32), entropy(32))

    @functools.cached_property
    def verifier_keys(self) -> tuple[VerifierKey, VerifierKey]:
        """Both public keys, as the directory lists them."""
        name = f"{self.relay}/witness"
        return (
            VerifierKey.make(name, KeyType.ED25519_COSIGNER, suites.public_ed25519(self.ed25519)),
            VerifierKey.make(name, KeyType.MLDSA44, suites.public_mldsa44(self.mldsa44)),
        )

    def signers(self) -> tuple[NoteSigner, NoteSigner]:
        """Return both signers."""
        classical, post_quantum = self.verifier_keys
        return (
            NoteSigner(classical, functools.partial(suites.sign_ed25519, self.ed25519)),
            NoteSigner(post_quantum, functools.partial(suites.sign_mldsa44, self.mldsa44)),
        )

    @classmethod
    def parse(cls, raw: bytes) -> WitnessKeys:
        """Return the keys of a key file, or raise `MALFORMED` without repeating a byte of it."""
        try:
            value = json.loads(raw)
            if value["form"] != _FORM:
                raise KeyError
            halves = [base64.b64decode(value[half], validate=True) for half in ("ed25519", "mldsa44")]
            if [len(half) for half in halves] != [32, 32]:
                raise ValueError
            return cls(str(value["relay"]), *halves)
        except (ValueError, KeyError, TypeError):
            raise error(
                Reason.MALFORMED,
                field="witness key file",
                detail="not the key file of a witness",
                next_step="Restore the key file from its backup, or register a new witness key in the directory.",
            ) from None

    @property
    def raw(self) -> bytes:
        """The bytes of the key file. Secret: write it for its owner's eyes only."""
        halves = {half: base64.b64encode(getattr(self, half)).decode() for half in ("ed25519", "mldsa44")}
        return json.dumps({"form": _FORM, "relay": self.relay, **halves}, indent=1).encode()


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
        checkpoint.verify(log_keys(self._directory(), relay), now=self._clock())
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
        lines = [Cosignature.sign(checkpoint, signer, now=now).raw for signer in self._keys.signers()]
        return Answer(checkpoint.size, b"".join(lines))
