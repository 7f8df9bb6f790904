"""States: the closed lists that the header, the log and the statements of recipients share (SPEC section States)."""

from __future__ import annotations

import enum


class OpStatus(enum.IntEnum):
    """Whether a message is about the real world; a reader never takes one kind for another."""

    ACTUAL = 1
    EXERCISE = 2
    TEST = 3
    SYSTEM = 4


class Precedence(enum.IntEnum):
    """Order of queues at relays: a higher one overtakes a lower one."""

    ROUTINE = 1
    PRIORITY = 2
    IMMEDIATE = 3
    FLASH = 4


class Event(enum.IntEnum):
    """What a log entry records; 1 to 10 are also the state of a message at one recipient."""

    ACCEPTED = 1
    FORWARDED = 2
    QUEUED = 3
    DELIVERED = 4
    OPENED = 5
    REFUSED = 6
    RECALLED = 7
    EXPIRED = 8
    UNDELIVERABLE = 9
    DESTROYED = 10
    RECALL_ORDERED = 18
    RECALL_FORWARDED = 19
    RECALL_FAILED = 20
    LOG_GENESIS = 32
    LOG_CLOSE = 33
    RECOVERY = 34
    DIRECTORY_VERSION = 37
    KEY_BUNDLE = 38
    CONFIG_CHANGE = 42
    PEER_CHECKPOINT = 44
    RECORDS_PRUNED = 46
    AUDIT_DISCLOSURE = 47

    @property
    def of_message(self) -> bool:
        """Whether it happens to one message, and not to the log or to everybody."""
        return self < Event.LOG_GENESIS

    @property
    def final(self) -> bool:
        """Whether it says how the way to a recipient ended."""
        return self in _FINAL


# OPENED can still follow DELIVERED, so DELIVERED alone ends delivery but not the story. DESTROYED follows OPENED and
# changes nothing about how the message arrived.
_FINAL = frozenset({Event.OPENED, Event.REFUSED, Event.RECALLED, Event.EXPIRED, Event.UNDELIVERABLE})
