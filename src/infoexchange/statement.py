"""Statement: what parties sign about an envelope: recipients acknowledge, senders recall, both disclose.

Log entries name statements by digest, histories and evidence files carry them.
"""

from __future__ import annotations

from infoexchange.acknowledgement import Acknowledgement
from infoexchange.approval import Approval
from infoexchange.dsse import TYPE_DISCLOSURE, TYPE_RECALL, Dsse
from infoexchange.errors import ExchangeError
from infoexchange.recall import ORDER_SIZE_MAX, RecallOrder

SignedStatement = Acknowledgement | RecallOrder | Approval


def parse_statement(raw: bytes) -> SignedStatement:
    """Return the statement of canonical container bytes, which its type tells; nothing is verified yet.

    Raises:
        MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
        RefusedError: `TOO_LARGE`.
    """
    kind = Dsse.type_of(raw, size_max=ORDER_SIZE_MAX)  # the longest of them
    if kind == TYPE_RECALL:
        return RecallOrder.parse(raw)
    return Approval.parse(raw) if kind == TYPE_DISCLOSURE else Acknowledgement.parse(raw)


def statement_digest(raw: bytes) -> bytes:
    """Return the digest by which a log entry names a statement; nothing for bytes that are none."""
    try:
        return parse_statement(raw).digest
    except ExchangeError:
        return b""
