"""Logs: JSON lines for operators, with an allow-list of keys, so that no content can ever slip into them.

These lines are for running the relay. What happened to messages stands in the audit log, which does not pass here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

# Whatever else is passed is dropped: a key forgotten here costs a detail, one let through could cost a secret.
ALLOWED = frozenset(
    {"event", "level", "timestamp", "peer", "party", "count", "reason", "digest", "address", "size", "refused"}
    | {"version", "origin", "source", "what", "until", "days", "seconds", "minutes"}
)
DROPPED = "dropped"  # how many keys of a line were; a test finds such calls in our own code
TEXT_MAX = 512  # longer than any name, address or next step; shorter than anything worth stealing


def keep_allowed(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep allowed keys whose values are numbers or short texts; what else there is, bytes too, is counted."""
    kept = {key: _short(value) for key, value in event.items() if key in ALLOWED and _is_plain(value)}
    return {**kept, DROPPED: len(event) - len(kept)} if len(kept) < len(event) else kept


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _short(value: Any) -> Any:
    return value[:TEXT_MAX] if isinstance(value, str) else value


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Log from now on: JSON, one line per event, to standard error or `stream`.

    Args:
        level: Least severe level that is written, one of `config.LOG_LEVELS`.
        stream: Where to write.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            keep_allowed,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
