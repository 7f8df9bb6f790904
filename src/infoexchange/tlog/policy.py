"""Policy: which logs are known, and whose cosignatures make a checkpoint believable (C2SP tlog-policy).

A policy is the reader's own choice, written down: nothing that arrives with a checkpoint can weaken it. Names in it are
octets without meaning outside the file. Our logs sign with two keys of one name, so all `log` lines of one name stand
for one log, and each of those keys must have signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from infoexchange.errors import Reason, error
from infoexchange.tlog.checkpoint import LOG_TYPES, Checkpoint
from infoexchange.tlog.cosignature import WITNESS_TYPES, verify_cosignatures
from infoexchange.tlog.note import VerifierKey
from infoexchange.tlog.text import parse_decimal, parse_lines

# Specification constants (C2SP tlog-policy)
NO_QUORUM = b"none"
_FORBIDDEN = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_BLANKS = re.compile(rb"[ \t]+")


@dataclass(frozen=True)
class Witness:
    """A witness under the name by which the policy's groups call it."""

    name: bytes
    key: VerifierKey


@dataclass(frozen=True)
class Group:
    """A name for `threshold` of these members, each a witness or an earlier group."""

    name: bytes
    threshold: int
    members: tuple[bytes, ...]


@dataclass(frozen=True)
class Policy:
    """A parsed policy, to be asked about checkpoints.

    Attributes:
        raw: The exact bytes.
        logs: Keys of the logs it knows; empty if the log is known from elsewhere.
        witnesses: In the order of the file.
        groups: In the order of the file, which is the order of definition.
        quorum: Name of the witness or group that must have cosigned, or `NO_QUORUM`.
    """

    raw: bytes = field(repr=False)
    logs: tuple[VerifierKey, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Policy:
        """Return the policy in `raw`; comments and addresses are skipped.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            UntrustedError: `BAD_CERTIFICATE` for an Ed25519 key outside the acceptance rule.
        """
        if _FORBIDDEN.search(raw):
            raise error(Reason.MALFORMED, field="policy", detail="a control character other than tab and newline")
        reader = _Reader()
        for line in parse_lines(raw, field="policy"):
            words = [word for word in _BLANKS.split(line) if word]
            if words and not words[0].startswith(b"#"):
                reader.take(words)
        return reader.policy(raw)

    @classmethod
    def make(
        cls, logs: Iterable[VerifierKey], witnesses: Iterable[Witness], groups: Iterable[Group], quorum: bytes
    ) -> Policy:
        """Return the policy of these parts; raises as `parse`."""
        lines = [b"log %s\n" % str(key).encode() for key in logs]
        lines += [b"witness %s %s\n" % (witness.name, str(witness.key).encode()) for witness in witnesses]
        lines += [b"group %s %d %s\n" % (group.name, group.threshold, b" ".join(group.members)) for group in groups]
        return cls.parse(b"".join([*lines, b"quorum %s\n" % quorum]))

    @property
    def has_quorum_rule(self) -> bool:
        """Whether any witness is asked for; without one, no verdict can be TOTAL-PASSED."""
        return self.quorum != NO_QUORUM

    def cosigners(self, checkpoint: Checkpoint, *, now: datetime) -> tuple[Witness, ...]:
        """Return the witnesses of this policy that cosigned, quorum or not; raises as `verify_cosignatures`."""
        found = verify_cosignatures(checkpoint, [witness.key for witness in self.witnesses], now=now)
        return tuple(witness for witness in self.witnesses if witness.key in found)

    def verify(self, checkpoint: Checkpoint, *, now: datetime) -> tuple[Witness, ...]:
        """Return the witnesses counted, once the log has signed and the quorum is met.

        A policy without `log` lines leaves the log to the caller, who verifies its signatures first; the policy then
        needs a quorum rule, or nothing would have been checked.

        Raises:
            UntrustedError: `UNKNOWN_PARTY` for a log that is not listed, `BAD_SIGNATURE`, or `BAD_PROOF` with field
                `policy.quorum` when too few witnesses cosigned.
            RefusedError: `NOT_YET_VALID`.
            MalformedError: `BAD_FIELD`, as `verify_cosignatures`.
        """
        # (1) the log is listed and has signed with every key of its name
        if self.logs or not self.has_quorum_rule:
            checkpoint.verify([key for key in self.logs if key.name == checkpoint.origin], now=now)
        # (2) the cosignatures of known witnesses hold
        witnesses = self.cosigners(checkpoint, now=now)
        # (3) they satisfy the rule
        if not self.is_met(witnesses):
            detail = f"{len(witnesses)} of {len(self.witnesses)} witnesses are not enough"
            raise error(Reason.BAD_PROOF, field="policy.quorum", detail=detail)
        return witnesses

    def is_met(self, witnesses: Iterable[Witness]) -> bool:
        """Whether these witnesses are enough, taken that their cosignatures hold."""
        met = {NO_QUORUM, *(witness.name for witness in witnesses)}
        for group in self.groups:  # they name earlier ones only, so one pass in order decides them all
            if len(met.intersection(group.members)) >= group.threshold:
                met.add(group.name)
        return self.quorum in met


class _Reader:
    """What the lines read so far have defined."""

    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorums: list[bytes] = []
        self.names: set[bytes] = set()
        self.publics: set[bytes] = set()

    def take(self, words: Sequence[bytes]) -> None:
        """Read one line that is neither blank nor a comment."""
        match words:
            case [b"log", key, *url] if len(url) <= 1:
                self.logs.append(self._key(key, LOG_TYPES))
            case [b"witness", name, key, *url] if len(url) <= 1:
                self._define(name)
                self.witnesses.append(Witness(name, self._key(key, WITNESS_TYPES)))
            case [b"group", name, threshold, *members] if members:
                self.groups.append(self._group(name, threshold, members))
                self._define(name)
            case [b"quorum", name]:
                if name != NO_QUORUM and name not in self.names:
                    raise _malformed("the quorum names something not defined before")
                self.quorums.append(name)
            case _:
                raise _malformed("a line that is no log, witness, group or quorum line")

    def policy(self, raw: bytes) -> Policy:
        """Return the whole policy after the last line."""
        if len(self.quorums) != 1:
            raise _malformed(f"{len(self.quorums)} quorum lines instead of 1")
        origins = {key.name for key in self.logs}
        if any(witness.key.name in origins for witness in self.witnesses):
            raise error(Reason.BAD_FIELD, field="policy", detail="a log's own key as a witness")
        return Policy(raw, tuple(self.logs), tuple(self.witnesses), tuple(self.groups), self.quorums[0])

    def _define(self, name: bytes) -> None:
        if name in self.names or name == NO_QUORUM:
            raise _malformed("a name is defined twice")
        self.names.add(name)

    def _key(self, word: bytes, types: Sequence[int]) -> VerifierKey:
        try:
            key = VerifierKey.parse(word.decode())
        except UnicodeDecodeError:
            raise _malformed("a key that is not UTF-8") from None
        if key.type not in types:
            raise error(Reason.BAD_FIELD, field="policy", detail=f"a key of type {key.type:02x} in another's role")
        if key.public in self.publics:
            raise error(Reason.BAD_FIELD, field="policy", detail="one public key twice")
        self.publics.add(key.public)
        return key

    def _group(self, name: bytes, threshold: bytes, members: list[bytes]) -> Group:
        if len(set(members)) != len(members):
            raise _malformed("a member is listed twice")
        if not self.names.issuperset(members):
            raise _malformed("a member is not defined before its group")
        if threshold in (b"any", b"all"):
            return Group(name, 1 if threshold == b"any" else len(members), tuple(members))
        count = parse_decimal(threshold, field="policy")
        if not 1 <= count <= len(members):
            raise error(Reason.BAD_FIELD, field="policy", detail=f"{count} of {len(members)} members")
        return Group(name, count, tuple(members))


def _malformed(detail: str) -> Exception:
    return error(Reason.MALFORMED, field="policy", detail=detail)
