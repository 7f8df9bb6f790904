"""Watch: what an auditor who trusts nobody finds when it asks a relay, again and again, what its log says now.

Three things are compared: what the relay shows now with what it showed before, with what it showed to others, and with
what witnesses of other nations cosigned of late. Two signed checkpoints that contradict each other become a proof of
misbehaviour; what cannot be explained and cannot be proven either is a finding all the same.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.log import log_keys
from infoexchange.misbehaviour import Kind, Misbehaviour
from infoexchange.ports import Clock, Log
from infoexchange.quorum import policy_for
from infoexchange.tlog import Checkpoint, VerifierKey, merkle
from infoexchange.tlog.checkpoint import SKEW_MAX
from infoexchange.tlog.cosignature import verify_cosignatures
from infoexchange.tlog.note import Signature
from infoexchange.verdict import Examination, OpenQuestionError, Report, Verdict

T = TypeVar("T")

# Specification constants
COSIGNATURE_AGE_MAX = timedelta(minutes=15)  # SPEC section Witnesses: a relay has its log cosigned every minute

# Implementation constants
_KEPT_MAX = 64  # checkpoints kept of each log: two auditors with days behind them share a size more often

_key = functools.lru_cache(maxsize=256)(VerifierKey.parse)  # a point check each

Ask = Callable[[int, int], Sequence[bytes]]
"""`(size, larger size) -> hashes`, as `Log.consistency`."""


@dataclass(frozen=True)
class Known:
    """What an auditor keeps of one log.

    Attributes:
        notes: Checkpoints that were found to fit together, ascending by size.
        looked_at: When the last of them was the newest that the relay showed.
        waiting_size: The smallest size shown that enough witnesses had not cosigned yet; 0 if there is none.
        waiting_since: When that was shown.
    """

    notes: tuple[Checkpoint, ...] = field(default=(), repr=False)
    looked_at: datetime | None = None
    waiting_size: int = 0
    waiting_since: datetime | None = None

    @property
    def newest(self) -> Checkpoint | None:
        """The largest tree seen."""
        return self.notes[-1] if self.notes else None

    def of_size(self, size: int) -> Checkpoint | None:
        """Return the checkpoint kept of that size."""
        return next((note for note in self.notes if note.size == size), None)

    def plus(self, checkpoints: Iterable[Checkpoint]) -> tuple[Checkpoint, ...]:
        """Return the notes with more of them; of two for one size the one with more signatures."""
        kept = {note.size: note for note in self.notes}
        for note in checkpoints:
            kept[note.size] = max(note, kept.get(note.size, note), key=lambda found: len(found.note.signatures))
        return tuple(kept[size] for size in sorted(kept)[-_KEPT_MAX:])


@dataclass(frozen=True)
class Sight:
    """What one look at a relay's log gave.

    Attributes:
        log: Its origin.
        report: The findings: failed is what nobody honest does, indeterminate what may have an innocent reason.
        known: What to keep; as it was before if the log did not prove that it only grew.
        proofs: Against the log, and against witnesses that cosigned both sides.
        refused: Checkpoints that the log has signed and that were not taken into `known`: to be handed to other
            auditors, who may have been shown what they contradict.
    """

    relay: str
    log: str
    report: Report
    known: Known
    proofs: tuple[Misbehaviour, ...]
    refused: tuple[Checkpoint, ...] = ()


class Watch:
    """An auditor's view on the logs of one directory."""

    def __init__(self, directory: Directory, *, clock: Clock, age_max: timedelta = COSIGNATURE_AGE_MAX) -> None:
        """Hold the trust anchor for keys and quorums.

        Args:
            directory: Verified.
            clock: Gives the time now.
            age_max: How old cosignatures may be before the log counts as standing still.
        """
        self.directory = directory
        self.clock = clock
        self.age_max = age_max
        listed = {key: None for party in directory.relays() for key in map(_key, party.witness_keys)}
        asked = {witness.key: None for p in directory.relays() for witness in policy_for(directory, p.name).witnesses}
        self._witnesses = tuple(listed | asked)

    def look(self, relay: str, log: Log, known: Known, others: Mapping[str, bytes] | None = None) -> Sight:
        """Return what a relay shows now of the log that it writes, compared with all that is known.

        Args:
            relay: Whose log it is.
            log: The relay; nothing it says is trusted, and it may not answer.
            known: What was kept after the last look; empty at first.
            others: Checkpoints that others were shown before this call, by the names of those who say so.
        """
        keys = log_keys(self.directory, relay)
        if known.newest and known.newest.origin != keys[0].name:
            known = Known()  # the relay has begun another log; `look_back` says how the one before ended
        return _Look(self, relay, keys, log, known).all(others or {})

    def look_back(self, relay: str, log: Log, known: Known, others: Mapping[str, bytes] | None = None) -> Sight:
        """Return how a log ended that the relay has closed: what was seen of it must be in it, and be witnessed.

        Args:
            relay: Whose log it is.
            log: The relay.
            known: What was kept of that log; not empty.
            others: As for `look`.
        """
        assert known.newest
        keys = log_keys(self.directory, relay, known.newest.origin)
        return _Look(self, relay, keys, _Closed(log, known.newest.origin), known, is_closed=True).all(others or {})

    def clean(self, keys: Sequence[VerifierKey], raw: bytes) -> Checkpoint:
        """Return a checkpoint of the log with these keys, without any line that was not verified.

        Raises:
            ExchangeError: `Checkpoint.parse` and `Checkpoint.verify` say why it is none.
        """
        checkpoint = Checkpoint.parse(raw)
        checkpoint.verify(keys, now=self.clock())
        return _only(checkpoint, [*keys, *self._cosigners(checkpoint)])

    def _cosigners(self, checkpoint: Checkpoint) -> list[VerifierKey]:
        """Return listed witnesses whose lines all hold; whoever handed them over may have spoilt the others."""
        found: list[VerifierKey] = []
        for key in self._witnesses:
            if any((line.name, line.key_id) == (key.name, key.id) for line in checkpoint.note.signatures):
                with contextlib.suppress(ExchangeError):
                    found += verify_cosignatures(checkpoint, [key], now=self.clock())
        return found

    def against(self, proof: Misbehaviour, one: Checkpoint, other: Checkpoint) -> list[Misbehaviour]:
        """Return a proof together with those against witnesses that signed both of its checkpoints."""
        proofs = [proof]
        if proof.kind is not Kind.ORDER:
            for name in dict.fromkeys(key.name for key in self._witnesses):
                keys = [key for key in self._witnesses if key.name == name]
                with contextlib.suppress(ExchangeError):  # it did not sign both
                    proofs.append(Misbehaviour.make(one, other, keys, proof.hashes))
        return proofs


def contradiction(one: Checkpoint, other: Checkpoint, keys: Sequence[VerifierKey], ask: Ask) -> Misbehaviour | None:
    """Return the proof that two checkpoints of one log contradict each other, or nothing if they fit together.

    Args:
        one: Verified with `keys`, and without other lines in the log's name.
        other: The same.
        keys: The log's.
        ask: Gives hashes from one size to another; asked only where sizes differ.

    Raises:
        UntrustedError: `BAD_PROOF` when the hashes given are not those of the larger tree, so that nothing is shown.
        ExchangeError: Whatever `ask` raises.
    """
    first, second = sorted((one, other), key=lambda found: found.size)
    if first.size == second.size:
        return None if first.root == second.root else Misbehaviour.make(first, second, keys)
    if first.signed_at - second.signed_at > SKEW_MAX.total_seconds():
        return Misbehaviour.make(first, second, keys)
    if not first.size:
        return None
    hashes = ask(first.size, second.size)
    old, new = merkle.prefix_roots(first.size, second.size, hashes)
    if new != second.root:
        raise error(Reason.BAD_PROOF, field="consistency", detail="the relay's hashes are not those of its own tree")
    return None if old == first.root else Misbehaviour.make(first, second, keys, hashes)


class _Answers(Protocol):
    """What a relay is asked of one of its logs."""

    def checkpoint(self) -> bytes: ...

    def cosigned(self) -> bytes: ...

    def consistency(self, old_size: int, size: int) -> Sequence[bytes]: ...


class _Closed:
    """A closed log, asked as one that grows."""

    def __init__(self, log: Log, origin: str) -> None:
        self._log, self._origin = log, origin

    def checkpoint(self) -> bytes:
        return self._log.checkpoint(self._origin)

    def cosigned(self) -> bytes:
        return self._log.checkpoint(self._origin)  # the last one is kept with the cosignatures that came

    def consistency(self, old_size: int, size: int) -> Sequence[bytes]:
        return self._log.consistency(old_size, size, self._origin)


class _Look:
    """One look at one log."""

    def __init__(
        self,
        watch: Watch,
        relay: str,
        keys: Sequence[VerifierKey],
        log: _Answers,
        known: Known,
        *,
        is_closed: bool = False,
    ) -> None:
        self._watch = watch
        self._relay = relay
        self._keys = keys
        self._log = log
        self._known = known
        self._is_closed = is_closed
        self._now = watch.clock()
        self._exam = Examination()
        self._proofs: dict[bytes, Misbehaviour] = {}
        self._newest: Checkpoint | None = None
        self._cosigned: Checkpoint | None = None
        self._alike: set[bytes] = set()

    def all(self, others: Mapping[str, bytes]) -> Sight:
        """Make every check there is anything for."""
        known, check = self._known, self._exam.check
        grew = check("checkpoint signed", self._signed)
        if self._newest:
            check("witnessed" if self._is_closed else "witnessed lately", self._witnessed)
            grew &= check("log only grew", self._grew)
            if known.looked_at:
                grew &= check("clock only advanced", self._advanced)
        for name, raw in others.items():
            check(f"same as {name}", functools.partial(self._same, raw))
        report = self._exam.report()
        shown = tuple(dict.fromkeys(note for note in (self._newest, self._cosigned) if note))
        # What somebody else spoilt must not keep this log from being followed; what is wrong must.
        if grew and self._newest and report.verdict is not Verdict.TOTAL_FAILED:
            known, shown = self._remembered(self._newest), ()
        return Sight(self._relay, self._keys[0].name, report, known, tuple(self._proofs.values()), shown)

    def _signed(self) -> str:
        """The newest checkpoint is one of this log, and not of the future."""
        raw = _answered(self._log.checkpoint)
        origin = Checkpoint.parse(raw).origin
        if origin != self._keys[0].name:
            raise OpenQuestionError("unknown_party", f"the directory does not list the log {origin[:253]!r}")
        self._newest = self._watch.clean(self._keys, raw)
        return f"{self._newest.size} entries"

    def _witnessed(self) -> str:
        """Enough other nations have cosigned of late."""
        policy = policy_for(self._watch.directory, self._relay)
        if not policy.has_quorum_rule:
            raise OpenQuestionError("no_quorum_rule", "no witness of another nation is asked for")
        raw = _answered(self._log.cosigned)
        if not raw:
            raise OpenQuestionError("too_few_witnesses", "no checkpoint has been cosigned by enough nations")
        cosigned = Checkpoint.parse(raw)
        cosigned.verify(self._keys, now=self._now)
        latest = (self._now + SKEW_MAX).timestamp()
        # A witness whose clock runs ahead does not count; the relay, whose own clock may differ, is not to blame.
        cosigned = cosigned.only_signatures(s for s in cosigned.note.signatures if _time(s, cosigned) <= latest)
        try:
            found = policy.verify(cosigned, now=self._now)
        except ExchangeError as problem:
            if problem.field != "policy.quorum":
                raise
            raise OpenQuestionError("too_few_witnesses", f"{cosigned.size} entries: {problem.detail}") from None
        self._cosigned = cosigned = _only(cosigned, [*self._keys, *(witness.key for witness in found)])
        if self._newest and cosigned.size > self._newest.size:
            self._newest = cosigned  # it grew between the two questions
        if self._is_closed:
            return f"{cosigned.size} entries, the last"
        oldest = (self._now - self._watch.age_max).timestamp()
        ids = {(line.name, line.key_id) for line in cosigned.note.signatures if _time(line, cosigned) >= oldest}
        if not policy.is_met(witness for witness in found if (witness.key.name, witness.key.id) in ids):
            raise OpenQuestionError("stale", f"the cosignatures of {cosigned.size} entries are too old")
        since = self._known.waiting_since
        if since and cosigned.size < self._known.waiting_size and self._now - since > self._watch.age_max:
            detail = (
                f"{self._known.waiting_size} entries were shown at {since:%Y-%m-%d %H:%M}Z, {cosigned.size} cosigned"
            )
            raise OpenQuestionError("stale", detail)
        return f"{cosigned.size} entries"

    def _remembered(self, newest: Checkpoint) -> Known:
        """What is known after a look that found nothing wrong, and what has still to be cosigned since when."""
        known, done = self._known, self._cosigned.size if self._cosigned else 0
        waiting, since = known.waiting_size, known.waiting_since
        if since is None or done >= waiting:
            waiting, since = (newest.size, self._now) if newest.size > done else (0, None)
        found = [note for note in (newest, self._cosigned) if note]
        return Known(known.plus(found), self._now, waiting, since)

    def _grew(self) -> str:
        """What was there before is there now."""
        newest, before = self._newest, self._known.newest
        assert newest
        if before:
            self._compare(newest, before)
        if self._cosigned:
            self._compare(newest, self._cosigned)
        return f"{newest.size - before.size} entries more" if before else "first look"

    def _advanced(self) -> str:
        """The log does not say that it signed before it could have."""
        newest, before, looked = self._newest, self._known.newest, self._known.looked_at
        assert newest
        assert before
        assert looked
        if newest.size > before.size and newest.signed_at < (looked - SKEW_MAX).timestamp():
            detail = f"{newest.size} entries signed before {looked:%Y-%m-%d %H:%M}Z, when it showed {before.size}"
            raise error(Reason.BAD_FIELD, field="checkpoint.time", detail=detail)
        return ""

    def _same(self, raw: bytes) -> str:
        """What somebody else was shown is the same log."""
        mine = [note for note in (self._newest, *self._known.notes) if note]
        if raw in self._alike or any(raw.startswith(note.note.text + b"\n") for note in mine):
            return ""  # most have seen the same, and this auditor has verified that
        try:
            other = self._watch.clean(self._keys, raw)
        except ExchangeError as problem:  # no word of the log's: whoever handed it over may have spoilt it
            raise OpenQuestionError(problem.reason.word, problem.detail) from None
        for note in (*(n for n in mine if n.size == other.size), *mine[:1]):  # of one size, no answer is needed
            self._compare(note, other)
        self._alike.add(raw)
        return ""

    def _compare(self, mine: Checkpoint, other: Checkpoint) -> None:
        """Raise unless two checkpoints fit together and what the relay shows now is not less than it has signed."""
        if mine.note.text == other.note.text:
            return
        hidden = mine is self._newest and other.size > mine.size
        try:
            proof = contradiction(mine, other, self._keys, lambda a, b: _answered(lambda: self._log.consistency(a, b)))
        except (ExchangeError, OpenQuestionError):
            if not hidden:
                raise
            proof = None
        if proof:
            self._proofs |= {made.raw: made for made in self._watch.against(proof, mine, other)}
            detail = f"{proof.kind.value}: {proof.first.size} and {proof.second.size} entries contradict each other"
            raise error(Reason.LOG_FORK, field="checkpoint", detail=detail)
        if hidden:
            detail = f"it shows {mine.size} entries, and has signed {other.size} before"
            raise error(Reason.LOG_FORK, field="checkpoint", detail=detail)


def _answered(call: Callable[[], T]) -> T:
    """Return what a relay answers; that it does not answer proves nothing."""
    try:
        return call()
    except ExchangeError as problem:
        raise OpenQuestionError(problem.reason.word, f"no answer: {problem.detail}") from None


def _only(checkpoint: Checkpoint, keys: Iterable[VerifierKey]) -> Checkpoint:
    """Return a checkpoint with the lines by these keys alone."""
    names = {(key.name, key.id) for key in keys}
    return checkpoint.only_signatures(s for s in checkpoint.note.signatures if (s.name, s.key_id) in names)


def _time(line: Signature, checkpoint: Checkpoint) -> int:
    """Return when a witness says it signed a line, 0 for the log's own lines."""
    return 0 if line.name == checkpoint.origin else int.from_bytes(line.blob[:8], "big")
