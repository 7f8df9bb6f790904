"""Errors: what can go wrong, said once for code, wire, log and vectors.

Four classes tell a caller what it can do next; one closed list of reasons tells what happened. A reason is a word and
a number that never change meaning: the number stands in signed statements and log entries, the word everywhere else.
"""

from __future__ import annotations

import enum


class Reason(enum.IntEnum):
    """Why something was refused; the number is its form in signed statements (SPEC section Reasons)."""

    MALFORMED = 1
    NOT_CANONICAL = 2
    BAD_FIELD = 3
    UNKNOWN_VERSION = 4

    UNKNOWN_PARTY = 10
    BAD_CERTIFICATE = 11
    REVOKED = 12
    BAD_SIGNATURE = 13
    BAD_CIPHERTEXT = 14
    BAD_COMMITMENT = 15
    BAD_PROOF = 16
    LOG_FORK = 17
    DIRECTORY_EXPIRED = 18
    DIRECTORY_ROLLBACK = 19

    NOT_ADDRESSED = 30
    NOT_PERMITTED = 31
    SUITE_NOT_ACCEPTED = 32
    STALE_BUNDLE = 33
    NOT_YET_VALID = 34
    EXPIRED = 35
    REPLAYED = 36
    TOO_LARGE = 37
    RULE_BROKEN = 38
    MARK_LOST = 39

    UNAVAILABLE = 50
    OVERLOADED = 51
    LOG_STOPPED = 52

    @property
    def word(self) -> str:
        """The reason as vectors and reports write it, for example `bad_signature`."""
        return self.name.lower()


class ExchangeError(Exception):
    """Anything this library refuses, with a reason, the field it concerns and what to do next.

    Attributes:
        reason: Member of the closed list.
        field: Path of the field or the name of the file concerned; may be empty.
        detail: One clause for a person; sizes, names and digests only, never message bytes or keys.
        next_step: What the reader can do about it.
    """

    reason: Reason
    field: str
    detail: str
    next_step: str

    def __init__(self, reason: Reason, *, field: str = "", detail: str = "", next_step: str = "") -> None:
        """Keep the parts apart, so that wire, log and screen each show what they may."""
        if type(self) is not _CLASS[reason]:
            raise TypeError(f"{reason.name} belongs to {_CLASS[reason].__name__}; raise error(Reason.{reason.name})")
        self.reason = reason
        self.field = field
        self.detail = detail
        self.next_step = next_step or NEXT_STEPS[reason]
        super().__init__(reason, field, detail)

    def __str__(self) -> str:
        """One line: what, where, why and the next step."""
        where = f" in {self.field}" if self.field else ""
        why = f": {self.detail}" if self.detail else ""
        return f"{self.reason.word}{where}{why}. {self.next_step}"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way back from a worker process."""
        return (error_from_parts, (int(self.reason), self.field, self.detail, self.next_step))


class MalformedError(ExchangeError):
    """The bytes do not follow the format: drop them; sending them again cannot help."""


class UntrustedError(ExchangeError):
    """The bytes parse, but a signature, proof or certificate does not hold: tell a person."""


class RefusedError(ExchangeError):
    """A rule said no: correct what it names, then send again."""


class UnavailableError(ExchangeError):
    """Not now: the same bytes again, later."""


_CLASS: dict[Reason, type[ExchangeError]] = {
    reason: (
        MalformedError
        if reason < Reason.UNKNOWN_PARTY
        else UntrustedError
        if reason < Reason.NOT_ADDRESSED
        else RefusedError
        if reason < Reason.UNAVAILABLE
        else UnavailableError
    )
    for reason in Reason
}

NEXT_STEPS: dict[Reason, str] = {
    Reason.MALFORMED: "Drop these bytes and ask their source for a whole copy.",
    Reason.NOT_CANONICAL: "Drop these bytes; their writer must use the canonical form of the specification.",
    Reason.BAD_FIELD: "Correct the field named and make the message again.",
    Reason.UNKNOWN_VERSION: "Update this software; the bytes were made by a newer version.",
    Reason.UNKNOWN_PARTY: "Check the name, and fetch the newest directory.",
    Reason.BAD_CERTIFICATE: "Ask the national CA of the party for a valid certificate.",
    Reason.REVOKED: "Do not trust this key; ask the party for its new bundle.",
    Reason.BAD_SIGNATURE: "Do not use these bytes; report them to your security officer.",
    Reason.BAD_CIPHERTEXT: "Do not use these bytes; ask the sender to seal the message again.",
    Reason.BAD_COMMITMENT: "Do not use the content; tell the sender that what was sealed is not what was signed.",
    Reason.BAD_PROOF: "Do not rely on this proof; fetch it again and report it if it fails again.",
    Reason.LOG_FORK: "Keep both histories as evidence and tell every other nation's operator.",
    Reason.DIRECTORY_EXPIRED: "Fetch the newest directory and check this machine's clock.",
    Reason.DIRECTORY_ROLLBACK: "Keep the newer directory; report who handed out the old one.",
    Reason.NOT_ADDRESSED: "Nothing to do: this envelope is for somebody else.",
    Reason.NOT_PERMITTED: "Ask the directory's maintainers for the permission named, or leave the recipient out.",
    Reason.SUITE_NOT_ACCEPTED: "Seal again in a suite that every recipient and the directory accept.",
    Reason.STALE_BUNDLE: "Fetch the newest key bundles and seal again.",
    Reason.NOT_YET_VALID: "Check both clocks, then send again.",
    Reason.EXPIRED: "Send again as a new message if it is still needed.",
    Reason.REPLAYED: "Nothing to do: this message was already taken.",
    Reason.TOO_LARGE: "Make it smaller, or send the large part as an attachment.",
    Reason.RULE_BROKEN: "Correct the field named and send again.",
    Reason.MARK_LOST: "Choose a format that keeps the handling marks, or ask the originator for a release.",
    Reason.UNAVAILABLE: "Try again later; nothing was lost.",
    Reason.OVERLOADED: "Try again after the delay given; nothing was lost.",
    Reason.LOG_STOPPED: "Ask the relay's operator to look at the audit log; try again afterwards.",
}


def error(reason: Reason, *, field: str = "", detail: str = "", next_step: str = "") -> ExchangeError:
    """Return the error of the class that belongs to `reason`, ready to raise."""
    return _CLASS[reason](reason, field=field, detail=detail, next_step=next_step)


def error_from_parts(number: int, field: str, detail: str, next_step: str = "") -> ExchangeError:
    """Return the error that a peer or a worker process described; an unknown number is a newer peer's."""
    try:
        reason = Reason(number)
    except ValueError:
        return error(Reason.UNKNOWN_VERSION, field="reason", detail=f"the peer gave reason number {int(number)}")
    return error(reason, field=field, detail=detail, next_step=next_step)
