"""Ports: everything the rules need from the outside world, with the contract each implementation keeps.

Every port works on sequences, because one verification pool, one transaction, one checkpoint signature and one fsync
serve a whole batch; a single envelope is a batch of one. A *result* is a receipt or the error for that item, in item
order; a call raises only when it knows nothing about any item.
"""

from infoexchange.ports.relay import (
    BATCH_BYTES_MAX,
    BATCH_MAX,
    Bulletin,
    Clock,
    History,
    HomeRelay,
    Log,
    Notice,
    Relay,
    Result,
    concerns,
)
from infoexchange.ports.spool import Known, Notified, Seen, Sent, Spool, Standing
from infoexchange.ports.store import (
    Change,
    ClosedLog,
    Head,
    Latch,
    Parcel,
    Queue,
    Record,
    Store,
    Waiting,
    within_batch,
)

__all__ = [
    "BATCH_BYTES_MAX",
    "BATCH_MAX",
    "Bulletin",
    "Change",
    "Clock",
    "ClosedLog",
    "Head",
    "History",
    "HomeRelay",
    "Known",
    "Latch",
    "Log",
    "Notice",
    "Notified",
    "Parcel",
    "Queue",
    "Record",
    "Relay",
    "Result",
    "Seen",
    "Sent",
    "Spool",
    "Standing",
    "Store",
    "Waiting",
    "concerns",
    "within_batch",
]
