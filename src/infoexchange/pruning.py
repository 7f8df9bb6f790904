"""Pruning: what a log says when old records are erased, whose leaves stay for ever (SPEC section Pruning).

A leaf without its groups and salts tells nothing and proves all it proved: the tree, every receipt that was handed out
and every evidence file stay valid. The entry that orders the erasure stands in the log before anything is erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from infoexchange import wire
from infoexchange.errors import Reason, error
from infoexchange.header import LIFETIME_MAX
from infoexchange.v1 import audit_pb2

# Specification constants
KEPT_MIN = 2 * LIFETIME_MAX  # a message may wait for one lifetime, and what recipients say of it may take another
POLICY_SIZE_MAX = 1024  # a sentence that names the rule
ORIGIN_MAX = 255  # C2SP counts it in one byte
PRUNED_SIZE_MAX = POLICY_SIZE_MAX + 2 * ORIGIN_MAX


@dataclass(frozen=True)
class RecordsPruned:
    """Which records are erased, and why.

    Attributes:
        log: Origin of the log in which `end` is a place.
        end: They are those of every message all of whose entries stand before this place, or in earlier logs.
        policy: The rule under which that is done, in the operator's words.
    """

    log: str
    end: int
    policy: str

    @classmethod
    def parse(cls, raw: bytes) -> RecordsPruned:
        """Return the order of canonical bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        m = wire.parse(audit_pb2.RecordsPruned, raw, size_max=PRUNED_SIZE_MAX, field="pruned")
        order = cls(m.log, m.end, m.policy)
        order.check()
        return order

    def check(self) -> None:
        """Raise `BAD_FIELD` unless something is erased, and a rule is named in one line of text."""
        if self.end < 1:
            raise error(Reason.BAD_FIELD, field="pruned.end", detail="nothing stands before the first entry")
        if not self.log or not self.log.isprintable() or len(self.log) > ORIGIN_MAX:
            raise error(Reason.BAD_FIELD, field="pruned.log", detail="the origin of a log")
        if not self.policy.strip() or not self.policy.isprintable():
            raise error(Reason.BAD_FIELD, field="pruned.policy", detail="one line that names the rule")
        if len(self.policy.encode()) > POLICY_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="pruned.policy", detail=f"at most {POLICY_SIZE_MAX} bytes")

    @property
    def raw(self) -> bytes:
        """Canonical bytes."""
        return wire.canonical(audit_pb2.RecordsPruned(log=self.log, end=self.end, policy=self.policy))


def check_kept(age: timedelta) -> None:
    """Raise `NOT_PERMITTED` if records of that age have to be kept."""
    if age < KEPT_MIN:
        raise error(
            Reason.NOT_PERMITTED,
            field="before",
            detail=f"records are kept for {KEPT_MIN.days} days at least",
            next_step="Name an earlier day.",
        )
