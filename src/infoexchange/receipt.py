"""Receipt: proof that a relay logged an event (SPEC section Receipt)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from infoexchange import wire
from infoexchange.audit import (
    GROUPS,
    RECEIPT_SIZE_MAX,
    SALT_SIZE,
    Entry,
    EntryRef,
    Routing,
    Subject,
    commit,
    commitments,
)
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.log import log_keys
from infoexchange.tlog import Checkpoint, Proof, VerifierKey, merkle
from infoexchange.v1 import audit_pb2

# Implementation constants
_CHECKPOINTS_MAX = 64  # verified ones kept; a few are under way at any time


@dataclass(frozen=True)
class Receipt:
    """A leaf, what it commits to, and the proof that it stands in a signed log."""

    raw: bytes = field(repr=False)
    leaf: bytes = field(repr=False)
    routing: Routing
    subject: Subject
    proof: Proof = field(repr=False)

    @classmethod
    def make(cls, entry: Entry, proof: Proof) -> Receipt:
        """Return the receipt of an entry whose "operational" group stays undisclosed."""
        raw = wire.canonical(
            audit_pb2.Receipt(
                leaf=entry.leaf,
                routing=entry.routing,
                routing_salt=entry.salts[0],
                message=entry.message,
                message_salt=entry.salts[1],
                proof=proof.raw,
            )
        )
        return cls(raw, entry.leaf, Routing.parse(entry.routing), Subject.parse(entry.message), proof)

    @classmethod
    def parse(cls, raw: bytes) -> Receipt:
        """Return the receipt of canonical bytes whose groups fit the leaf's commitments; the log is not checked yet.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            UntrustedError: `BAD_COMMITMENT`.
        """
        # (1) canonical forms
        m = wire.parse(audit_pb2.Receipt, raw, size_max=RECEIPT_SIZE_MAX, field="receipt")
        committed = commitments(m.leaf, field="receipt.leaf")
        if m.earlier_checkpoint or m.consistency:
            raise error(Reason.BAD_FIELD, field="receipt.earlier_checkpoint", detail="not offered by this version")
        # (2) each disclosed group is the one that was logged
        shown_groups = (m.routing, m.message, m.operational)
        salts = (m.routing_salt, m.message_salt, m.operational_salt)
        for group, shown, salt, commitment in zip(GROUPS, shown_groups, salts, committed, strict=True):
            wire.check_size(salt, SALT_SIZE, field=f"receipt.{group}_salt", optional=not shown)
            if salt and commit(group, salt, shown) != commitment:
                raise error(Reason.BAD_COMMITMENT, field=f"receipt.{group}", detail="not the group that was logged")
        if not m.routing_salt or not m.message_salt:
            raise error(Reason.BAD_FIELD, field="receipt.routing", detail="routing and message must be disclosed")
        return cls(raw, m.leaf, Routing.parse(m.routing), Subject.parse(m.message), Proof.parse(m.proof))

    def verify(self, directory: Directory) -> Checkpoint:
        """Return the signed checkpoint that covers the leaf, once both log signatures and the path have been checked.

        Spec: section Receipt, steps 3 to 5.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_SIGNATURE` or `BAD_PROOF`.
        """
        # (3) the log of the relay that wrote the entry, as the directory names it
        keys = log_keys(directory, self.routing.this_relay, self.proof.checkpoint.origin)
        # (4) the checkpoint: a whole batch shares one, and verifying it costs more than everything else
        checkpoint = _signed(self.proof.checkpoint.raw, tuple(keys))
        # (5) the path to it
        merkle.verify_inclusion(
            merkle.leaf_hash(self.leaf), self.proof.index, checkpoint.size, self.proof.path, checkpoint.root
        )
        return checkpoint

    @functools.cached_property
    def index(self) -> int:
        """Place of the entry in its log."""
        return self.proof.index

    def is_before(self, other: Receipt) -> bool:
        """Whether its entry stands before another of the same relay: by place, or by time if they are in two logs."""
        if self.proof.checkpoint.origin == other.proof.checkpoint.origin:
            return self.index < other.index
        return self.routing.logged_at <= other.routing.logged_at

    @property
    def groups(self) -> dict[str, tuple[bytes, bytes]]:
        """Salt and exact bytes of each disclosed group by name; the leaf holds what `audit.commit` makes of them."""
        m = audit_pb2.Receipt.FromString(self.raw)
        shown = {
            "routing": (m.routing_salt, m.routing),
            "message": (m.message_salt, m.message),
            "operational": (m.operational_salt, m.operational),
        }
        return {group: parts for group, parts in shown.items() if parts[0]}

    def link(self, origin: str) -> EntryRef:
        """Return the reference that the next entry in the chain of custody carries."""
        return EntryRef(origin, self.index, merkle.leaf_hash(self.leaf))


@functools.lru_cache(maxsize=_CHECKPOINTS_MAX)
def _signed(raw: bytes, keys: tuple[VerifierKey, ...]) -> Checkpoint:
    """Return a checkpoint that all of a log's keys have signed."""
    checkpoint = Checkpoint.parse(raw)
    checkpoint.verify(keys)
    return checkpoint
