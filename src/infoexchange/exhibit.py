"""Exhibit: whether a document that stands beside a log entry is the one that the entry names (SPEC section Log folder).

A leaf commits to digests, not to documents; a record with a wrong document would otherwise pass for whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from infoexchange.audit import Subject
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.manifest import Manifest
from infoexchange.pruning import RecordsPruned
from infoexchange.receipt import Receipt
from infoexchange.statement import parse_statement
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint
from infoexchange.verdict import OpenQuestionError

_RECEIPTS = (Event.FORWARDED, Event.RECALL_FORWARDED)
_DOCUMENTED = (Event.LOG_GENESIS, Event.RECOVERY, Event.RECORDS_PRUNED)  # by SHA-256 of the document


def check_exhibit(event: Event, subject: Subject, document: bytes, directories: Sequence[Directory]) -> None:
    """Return if a document is the one that its entry names.

    Args:
        event: Of the entry.
        subject: Of the entry.
        document: What stands beside it.
        directories: Verified versions, ascending; a peer's receipt is judged under the one in force, if it is there.

    Raises:
        OpenQuestionError: None of the directories lists the log that a receipt is of.
        ExchangeError: The document is not of the form its entry needs; `BAD_PROOF` when it is another one.
    """
    # (9) the digest that the entry has, or the place in the peer's log
    if event in _RECEIPTS:
        _check_receipt(subject, Receipt.parse(document), directories)
        return
    if event is Event.ACCEPTED:
        named, found = subject.envelope_digest, Manifest.parse(document).digest
    elif event is Event.KEY_BUNDLE:
        named, found = subject.sender_bundle, KeyBundle.parse(document, (), ()).digest
    elif event in _DOCUMENTED and subject.statement_digest:
        (RecordsPruned if event is Event.RECORDS_PRUNED else Checkpoint).parse(document)
        named, found = subject.statement_digest, sha256(document).digest()
    elif subject.statement_digest:
        named, found = subject.statement_digest, parse_statement(document).digest
    else:
        raise error(Reason.BAD_PROOF, field="document", detail=f"an entry of {event.name} names none")
    if named != found:
        raise error(Reason.BAD_PROOF, field="document", detail=f"not the one that the entry of {event.name} names")


def _check_receipt(subject: Subject, receipt: Receipt, directories: Sequence[Directory]) -> None:
    if subject.previous_entry != receipt.link(receipt.proof.checkpoint.origin):
        raise error(Reason.BAD_PROOF, field="document", detail="the receipt of another entry")
    in_force = [directory for directory in directories if directory.digest == subject.directory_digest]
    try:
        receipt.verify((in_force or list(directories))[-1])
    except ExchangeError as problem:
        if problem.reason is not Reason.UNKNOWN_PARTY:
            raise
        raise OpenQuestionError(
            "another directory", f"the receipt is of a log unknown here: {problem.detail}"
        ) from None
