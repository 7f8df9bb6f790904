"""Submission: what a log posts to a witness over HTTP, and what comes back (SPEC section Submission).

The same question and the same answers as over gRPC, in the form of C2SP tlog-witness, so that logs and witnesses of
others can take part. Nothing here knows a socket: the request body and the replies are bytes and a status number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from infoexchange.errors import ExchangeError, Reason, UnavailableError, UntrustedError, error
from infoexchange.tlog import Checkpoint, VerifierKey
from infoexchange.tlog.cosignature import verify_cosignatures
from infoexchange.tlog.merkle import PATH_MAX
from infoexchange.tlog.note import Signature
from infoexchange.tlog.text import parse_decimal, parse_hash, parse_lines, write_base64
from infoexchange.witness import Answer

# Specification constants
SUBMISSION_SIZE_MAX = 260 * 1024  # SPEC section Limits: the largest note, 63 lines of a proof and what surrounds them
ADD_PATH = "/add-checkpoint"
TEXT_TYPE = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"  # C2SP tlog-witness: the body is the size that the witness cosigned last
_OK, _CONFLICT = 200, 409
# SPEC section Submission: what each reason becomes; where none stands here, its class decides.
_STATUS_OF = {Reason.UNKNOWN_PARTY: 404, Reason.BAD_PROOF: 422, Reason.LOG_FORK: 422}
_REASON_OF = {400: Reason.BAD_FIELD, 403: Reason.BAD_SIGNATURE, 404: Reason.UNKNOWN_PARTY, 422: Reason.BAD_PROOF}


@dataclass(frozen=True)
class Submission:
    """A parsed request body; nothing in it is true before a witness has looked at it.

    Attributes:
        raw: The exact bytes.
        old_size: Size from which the proof leads, which the log takes for the one cosigned last.
        proof: Consistency proof from there to the checkpoint.
        checkpoint: What is to be cosigned.
    """

    raw: bytes = field(repr=False)
    old_size: int
    proof: tuple[bytes, ...] = field(repr=False)
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, raw: bytes) -> Submission:
        """Return the submission in `raw`.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, or `BAD_FIELD`, also for more than 63 hashes.
            RefusedError: `TOO_LARGE`.
        """
        # (1) size
        if len(raw) > SUBMISSION_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="submission", detail=f"{len(raw)} bytes")
        # (2) lines before the first blank one: the old size, then hashes
        head, blank, note = raw.partition(b"\n\n")
        old_line, *hash_lines = head.split(b"\n", PATH_MAX + 1)
        keyword, space, number = old_line.partition(b" ")
        if not blank or keyword != b"old" or not space:
            raise error(Reason.MALFORMED, field="submission", detail="not an old size, hashes and a blank line")
        old_size = parse_decimal(number, field="submission.old_size")
        if len(hash_lines) > PATH_MAX:
            raise error(Reason.BAD_FIELD, field="submission.proof", detail=f"more than {PATH_MAX} hashes")
        proof = tuple(parse_hash(line, field="submission.proof") for line in hash_lines)
        # (3) a checkpoint behind it
        return cls(raw, old_size, proof, Checkpoint.parse(note))

    @classmethod
    def make(cls, old_size: int, proof: Sequence[bytes], checkpoint_raw: bytes) -> Submission:
        """Return the submission of these parts; raises as `parse`."""
        lines = [b"old %d" % old_size, *(write_base64(entry) for entry in proof), b"", checkpoint_raw]
        return cls.parse(b"\n".join(lines))


@dataclass(frozen=True)
class Reply:
    """What a witness says over HTTP: a status number, a body, and what kind of text that is."""

    status: int
    body: bytes = b""
    kind: str = TEXT_TYPE

    @classmethod
    def of(cls, answer: Answer) -> Reply:
        """Return the reply of a witness that found nothing wrong: cosignatures, or the size to prove from."""
        if answer.lines:
            return cls(_OK, answer.lines)
        return cls(_CONFLICT, b"%d\n" % answer.size, SIZE_TYPE)

    @classmethod
    def refusing(cls, problem: ExchangeError) -> Reply:
        """Return the reply of a refusal: the reason's word alone, since details may name files of this machine."""
        return cls(_status_of(problem), problem.reason.word.encode() + b"\n")

    def answer(self, submission: Submission) -> Answer:
        """Return what a witness has answered to a submission; its cosignatures are still unverified.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD` for a body that has not the form, `BAD_FIELD`
                also for status 400.
            UntrustedError: `BAD_SIGNATURE` (403), `UNKNOWN_PARTY` (404), `BAD_PROOF` (422), or `LOG_FORK` for a
                conflict without a size: another root of the same size, as earlier versions of C2SP say it.
            UnavailableError: `UNAVAILABLE` for any other status.
        """
        if self.status == _OK:
            for line in parse_lines(self.body, field="reply"):
                Signature.parse(line + b"\n")
            return Answer(submission.checkpoint.size, self.body)
        if self.status == _CONFLICT and self.kind.partition(";")[0].strip().lower() == SIZE_TYPE:
            number, *rest = parse_lines(self.body, field="reply")
            if rest:
                raise error(Reason.MALFORMED, field="reply", detail="more than one line")
            return Answer(parse_decimal(number, field="reply"))
        reason = Reason.LOG_FORK if self.status == _CONFLICT else _REASON_OF.get(self.status, Reason.UNAVAILABLE)
        raise error(reason, field="reply", detail=f"the witness answered with status {self.status}")


def believed(checkpoint: Checkpoint, lines: bytes, keys: Iterable[VerifierKey], *, now: datetime) -> list[Signature]:
    """Return those lines of a witness's answer that its known keys made, one for each key; others are skipped.

    Raises:
        UntrustedError: `BAD_SIGNATURE` for a bad line by a known key, or none by any.
        RefusedError: `NOT_YET_VALID`, or `TOO_LARGE` for more lines than a note has.
        MalformedError: As `Signature.parse` and `verify_cosignatures`.
    """
    given = [Signature.parse(line + b"\n") for line in parse_lines(lines, field="reply")]
    found = verify_cosignatures(checkpoint.only_signatures(given), keys, now=now)
    if not found:
        raise error(Reason.BAD_SIGNATURE, field="reply", detail="no line by a known key of this witness")
    return [cosignature.signature for cosignature in found.values()]


def name_of(origin: str) -> str:
    """Return the name under which a witness shows the last checkpoint of a log: SHA-256 in lower-case hexadecimal."""
    return sha256(origin.encode()).hexdigest()


def _status_of(problem: ExchangeError) -> int:
    if problem.reason in _STATUS_OF:
        return _STATUS_OF[problem.reason]
    if problem.reason is Reason.BAD_FIELD and problem.field == "checkpoint.root":
        return 422  # a root that no tree of that size has
    if isinstance(problem, UntrustedError):
        return 403
    return 503 if isinstance(problem, UnavailableError) else 400
