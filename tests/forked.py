"""Checkpoints that contradict each other, and the proofs made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from infoexchange.log import LogKeys
from infoexchange.misbehaviour import Misbehaviour
from infoexchange.testing.clock import START
from infoexchange.tlog import Checkpoint, Cosignature, merkle
from infoexchange.witness import WitnessKeys

LOG = LogKeys("relay.th.example/audit/2026h2", b"\x01" * 32, b"\x02" * 32)
WITNESS = WitnessKeys("relay.vn.example/witness", b"\x03" * 32, b"\x04" * 32)
LEAVES = [merkle.leaf_hash(bytes([n])) for n in range(20)]
HOUR = timedelta(hours=1)


def other(place: int, leaves: Sequence[bytes] = LEAVES) -> list[bytes]:
    """The same leaves with another one in one place."""
    return [*leaves[:place], merkle.leaf_hash(b"other"), *leaves[place + 1 :]]


def signed(size: int, leaves: Sequence[bytes] = LEAVES, *, now: datetime = START, keys: LogKeys = LOG) -> Checkpoint:
    return keys.sign(size, merkle.root(leaves[:size]), now=now)


def cosigned(checkpoint: Checkpoint, keys: WitnessKeys = WITNESS, *, now: datetime = START) -> Checkpoint:
    lines = [Cosignature.sign(checkpoint, signer, now=now).signature for signer in keys.signers]
    return checkpoint.with_signatures(lines)


def path(size1: int, size2: int, leaves: Sequence[bytes]) -> list[bytes]:
    return merkle.prefix_path(size1, size2, merkle.subtree_of(leaves[:size2]))


def same_size() -> Misbehaviour:
    return Misbehaviour.make(signed(9), signed(9, other(4)), LOG.verifier_keys)


def prefix(size1: int = 6, size2: int = 13) -> Misbehaviour:
    leaves = other(size1 - 1)
    return Misbehaviour.make(signed(size1), signed(size2, leaves), LOG.verifier_keys, path(size1, size2, leaves))


def order() -> Misbehaviour:
    return Misbehaviour.make(signed(7, now=START + HOUR), signed(8), LOG.verifier_keys)


def of_witness() -> Misbehaviour:
    one, two = (cosigned(signed(9, leaves)) for leaves in (LEAVES, other(4)))
    return Misbehaviour.make(one, two, WITNESS.verifier_keys)


def samples() -> tuple[bytes, ...]:
    """One proof of each kind, and two more."""
    return tuple(made.raw for made in (same_size(), prefix(), prefix(8), order(), of_witness()))
