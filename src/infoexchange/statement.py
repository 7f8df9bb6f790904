"""Statement: what parties sign about an envelope: recipients acknowledge, senders recall.

Log entries name statements by digest, histories and evidence files carry them.
"""

from __future__ import annotations

from infoexchange.acknowledgement import Acknowledgement
from infoexchange.errors import ExchangeError
from infoexchange.recall import RecallOrder

SignedStatement = Acknowledgement | RecallOrder


def parse_statement(raw: bytes) -> SignedStatement:
    """Return the acknowledgement or the recall order of canonical container bytes.

    Raises:
        MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
        RefusedError: `TOO_LARGE`.
    """
    try:
        return RecallOrder.parse(raw)
    except ExchangeError:
        return Acknowledgement.parse(raw)


def statement_digest(raw: bytes) -> bytes:
    """Return the digest by which a log entry names a statement; nothing for bytes that are none."""
    try:
        return parse_statement(raw).digest
    except ExchangeError:
        return b""
