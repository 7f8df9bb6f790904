"""Inspection: all that an auditor asks of a relay's log, finding by finding (SPEC section Log folder, steps 3 to 9).

Comparing roots is not enough: a log that answers with the right root can still hand out a changed record. So every leaf
and every record at hand is hashed again, in one pass over the log and in constant memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from infoexchange.audit import Routing, Subject, are_leaves, commitments
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.exhibit import check_exhibit
from infoexchange.listing import Roots
from infoexchange.log import log_keys
from infoexchange.pruning import RecordsPruned
from infoexchange.quorum import policy_for
from infoexchange.record import Glance, LogRecord, check_record
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint, Policy, VerifierKey
from infoexchange.tlog.rehash import Rehash
from infoexchange.tlog.tiles import Tile
from infoexchange.verdict import Examination, OpenQuestionError, Report

# Implementation constants
_LEAVES_PER_CALL = 1024  # four whole bundles, and as many leaves as a relay gives in one answer

Progress = Callable[[int, int], None]
"""Called with entries hashed and entries in all."""


class Source(Protocol):
    """Where a log comes from: a relay, or a folder. Nothing of it is trusted."""

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order, fewer where they end."""


class Files(Protocol):
    """What stands in a folder besides."""

    def tile(self, level: int, n: int) -> bytes | None:
        """Return the hashes of a tile; nothing where there is none."""

    def raw_records(self, start: int, count: int) -> Sequence[bytes]:
        """Return records in order, empty where nothing is shown; nothing at all where none of them is there."""


@dataclass(frozen=True, kw_only=True)
class Standard:
    """What a log is measured against.

    Attributes:
        directories: Verified versions, ascending; at least one.
        relay: Whose log it must be; empty for the one that the checkpoint names.
        policy: The auditor's own rule of who must have cosigned; without it that of the newest directory.
    """

    directories: Sequence[Directory]
    relay: str = ""
    policy: Policy | None = None


class Inspection:
    """The findings on one log."""

    def __init__(self, log: Source, standard: Standard, *, now: datetime, files: Files | None = None) -> None:
        """Hold the log, what it is measured against, the auditor's clock, and what a folder has besides leaves."""
        self._log = log
        self._standard = standard
        self._now = now
        self._files = files

    def report(self, progress: Progress | None = None) -> Report:
        """Return every finding; tells `progress` how far the work is.

        Raises:
            UnavailableError: The relay cannot be reached, or there is no log: nothing is found out about it.
        """
        exam = Examination()
        raw, parsed = self._log.checkpoint(), []

        def check() -> str:
            parsed.append(Checkpoint.parse(raw))
            return self._check_signed(parsed[0])

        exam.check("checkpoint", check)
        if not parsed:
            return exam.report()  # nothing says how many entries there should be
        signed = parsed[0]
        exam.check("witnesses", lambda: self._check_witnesses(signed))
        walk = _Walk(self._log, self._files, self._standard.directories, signed.size)
        walk.run(progress or (lambda done, total: None))
        exam.check("entries", walk.entries)
        if self._files:
            exam.check("tiles", walk.tiles)
        exam.check("root", lambda: walk.root(signed))
        if self._files:
            exam.check("records", walk.records)
            exam.check("documents", walk.documents)
        return exam.report()

    def _check_signed(self, signed: Checkpoint) -> str:
        # (3) of the log of a relay of the directory, signed by both of its keys
        signed.verify(keys_of(signed, self._standard), now=self._now)
        return f"{signed.size} entries of {signed.origin}, signed by the log"

    def _check_witnesses(self, signed: Checkpoint) -> str:
        # (4) seen by other nations, as the auditor's own rule or the directory's demands
        policy = self._standard.policy or policy_for(self._standard.directories[-1], _relay_of(signed))
        if not policy.has_quorum_rule:
            raise OpenQuestionError("no quorum rule", "no rule says who must witness this log")
        try:
            found = policy.verify(signed, now=self._now)
        except ExchangeError as problem:
            if problem.field != "policy.quorum":
                raise
            raise OpenQuestionError("too few witnesses", problem.detail) from None
        return f"cosigned by {', '.join(sorted({witness.key.name for witness in found}))}"


class _Faults:
    """What is wrong with one kind of thing: the first fault, and how many there are."""

    def __init__(self) -> None:
        self._first: ExchangeError | OpenQuestionError | None = None
        self._count = 0

    def note(self, problem: ExchangeError | OpenQuestionError) -> None:
        """Take one in; a failure counts before an open question."""
        if isinstance(problem, UnavailableError):
            raise problem
        self._count += 1
        if self._first is None or (isinstance(self._first, OpenQuestionError) and isinstance(problem, ExchangeError)):
            self._first = problem

    def settle(self, detail: str) -> str:
        """Return the detail of a finding that is good, or raise what it is not."""
        first = self._first
        if first is None:
            return detail
        more = f", and {self._count - 1} more" if self._count > 1 else ""
        if isinstance(first, OpenQuestionError):
            raise OpenQuestionError(first.reason, first.detail + more)
        raise error(first.reason, field=first.field, detail=first.detail + more)


class _Walk:
    """One pass over all entries."""

    def __init__(self, log: Source, files: Files | None, directories: Sequence[Directory], size: int) -> None:
        self._log = log
        self._files = files
        self._directories = directories
        self._size = size
        self._tree = Rehash()
        self._glance = Glance()
        self._entries, self._tiles, self._records, self._documents = _Faults(), _Faults(), _Faults(), _Faults()
        self._tile_count, self._record_count, self._document_count = 0, 0, 0
        self._pruned: list[tuple[int, RecordsPruned]] = []

    def run(self, progress: Progress) -> None:
        """Hash everything; faults are kept for the findings."""
        tree, files = self._tree, self._files
        while tree.size < self._size:
            start = tree.size
            try:
                leaves = self._log.leaves(start, min(_LEAVES_PER_CALL, self._size - start))[: self._size - start]
            except ExchangeError as problem:
                self._entries.note(problem)
                break
            if not leaves:
                missing = f"entry {start} of {self._size} is missing"
                self._entries.note(error(Reason.BAD_PROOF, field="log", detail=missing))
                break
            plain = are_leaves(leaves)
            if not plain:
                self._check_leaves(start, leaves)
            for tile, hashes in tree.extend(leaves):
                self._check_tile(tile, hashes)
            if files:
                self._check_records(start, leaves, files, plain=plain)
            progress(tree.size, self._size)
        for tile, hashes in tree.partial() if tree.size == self._size else ():
            self._check_tile(tile, hashes)

    def entries(self) -> str:
        """Return the finding on the leaves."""
        return self._entries.settle(f"{self._tree.size} entries hashed again")

    def tiles(self) -> str:
        """Return the finding on the tiles."""
        return self._tiles.settle(f"{self._tile_count} tiles hold what the entries give")

    def records(self) -> str:
        """Return the finding on the records; none at all is no fault, as the operator chooses what to show."""
        erased = "".join(
            f"; what messages before entry {order.end} of {order.log} left was erased by entry {index},"
            f" under: {order.policy}"
            for index, order in self._pruned
        )
        shown = f"{self._record_count} of {self._size} shown, each what its entry commits to"
        return self._records.settle(shown + erased)

    def documents(self) -> str:
        """Return the finding on the documents."""
        return self._documents.settle(f"{self._document_count} shown, each the one that its entry names")

    def root(self, signed: Checkpoint) -> str:
        """Return the finding on the tree."""
        # (7) the signed root
        if self._tree.size != signed.size:
            raise error(
                Reason.BAD_PROOF, field="log", detail=f"only {self._tree.size} of {signed.size} entries are there"
            )
        if self._tree.root != signed.root:
            raise error(Reason.BAD_PROOF, field="log", detail="the entries do not give the signed root")
        return f"the signed one, {signed.root.hex()[:16]}"

    def _check_leaves(self, start: int, leaves: Sequence[bytes]) -> None:
        # (5) each one a leaf of this format
        for index, leaf in enumerate(leaves, start):
            try:
                commitments(leaf, field=f"entry {index}")
            except ExchangeError as problem:
                self._entries.note(problem)

    def _check_tile(self, tile: Tile, hashes: bytes) -> None:
        if self._files is None:
            return
        # (6) what is stored is what the entries give
        try:
            stored = self._files.tile(tile.level, tile.n)
        except ExchangeError as problem:
            self._tiles.note(problem)
            return
        self._tile_count += 1
        if stored != hashes:
            why = "is missing" if stored is None else "does not hold what the entries give"
            self._tiles.note(error(Reason.BAD_PROOF, field=tile.path, detail=why))

    def _check_records(self, start: int, leaves: Sequence[bytes], files: Files, *, plain: bool) -> None:
        # (8) each group shown is the one that was logged
        try:
            raws = files.raw_records(start, len(leaves))
        except ExchangeError as problem:
            self._records.note(problem)
            return
        check = self._glance.check if plain else _check
        for index, (raw, leaf) in enumerate(zip(raws, leaves, strict=False), start):
            if not raw:
                continue
            self._record_count += 1
            try:
                documented = check(raw, leaf)
            except ExchangeError as problem:
                self._records.note(_at(index, problem))
                continue
            if documented:
                self._check_document(index, LogRecord.parse(raw))

    def _check_document(self, index: int, record: LogRecord) -> None:
        self._document_count += 1
        try:
            said, about = Routing.parse(record.groups[0]), Subject.parse(record.groups[1])
            check_exhibit(said.event, about, record.document, self._directories)
            if said.event is Event.RECORDS_PRUNED:
                self._pruned.append((index, RecordsPruned.parse(record.document)))
        except ExchangeError as problem:
            self._documents.note(_at(index, problem))
        except OpenQuestionError as question:
            self._documents.note(OpenQuestionError(question.reason, f"entry {index}: {question.detail}"))


def keys_of(signed: Checkpoint, standard: Standard) -> Sequence[VerifierKey]:
    """Return the keys of a log in the newest directory that lists it under this origin, or else in the newest.

    Raises:
        UntrustedError: As `log_keys`.
    """
    relay = standard.relay or _relay_of(signed)
    for directory in reversed(standard.directories):
        if any(key.partition("+")[0] == signed.origin for p in directory.relays() for key in p.log_keys):
            return log_keys(directory, relay, signed.origin)
    return log_keys(standard.directories[-1], relay)


def history(raws: Sequence[bytes], roots: Roots) -> list[Directory]:
    """Return directory versions from the first on that these roots have signed, each following the one before.

    Raises:
        UntrustedError: As `Directory.succeed`: one does not follow.
    """
    found: list[Directory] = []
    for raw in raws:
        try:
            found.append(found[-1].succeed(raw) if found else Directory.parse(raw, roots=roots))
        except ExchangeError:
            if found:
                raise  # before the first, versions are signed by roots of earlier times
    return found


def _check(raw: bytes, leaf: bytes) -> bool:
    return check_record(raw, commitments(leaf))


def _at(index: int, problem: ExchangeError) -> ExchangeError:
    return error(problem.reason, field=f"entry {index}: {problem.field}", detail=problem.detail)


def _relay_of(signed: Checkpoint) -> str:
    return signed.origin.partition("/")[0]
