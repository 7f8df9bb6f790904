"""Kinds: which records of which messages are entities of FollowTheMoney."""

from __future__ import annotations

import functools
from typing import Any

from infoexchange import catalogue
from infoexchange.bridges.ftm import holdings, parties

# Message types that are written; a type made to carry who a victim is never is.
TYPES = (
    "SanctionsUpdate",
    "PersonNotice",
    "FiuRequest",
    "FiuResponse",
    "FiuSpontaneousDisclosure",
    "TransactionSet",
    "SpontaneousInformation",
    "AssetTraceReply",
    "AssetRecord",
)
# By type of record: how it is written.
WRITERS: dict[str, Any] = {
    "Person": parties.from_person,
    "Organisation": parties.from_organisation,
    "Vessel": holdings.from_vessel,
    "FinancialAccount": holdings.from_account,
    "CryptoAddress": holdings.from_wallet,
    "TransactionRecord": holdings.from_transaction,
}
# By type of record: how it is read.
READERS: dict[str, Any] = {
    "Person": parties.to_person,
    "Organisation": parties.to_organisation,
    "Vessel": holdings.to_vessel,
    "FinancialAccount": holdings.to_account,
    "CryptoAddress": holdings.to_wallet,
    "TransactionRecord": holdings.to_transaction,
}
# By schema: the type of record it is read as.
SCHEMAS = {
    "Person": "Person",
    **dict.fromkeys(parties.ORGANISATIONS, "Organisation"),
    "Vessel": "Vessel",
    "BankAccount": "FinancialAccount",
    "CryptoWallet": "CryptoAddress",
    "Payment": "TransactionRecord",
}
# What nobody but the sender can say, so that it is never computed again from a file of ours.
STATED = ("role", "role_text", "is_minor", "local_id")


@functools.cache
def record_fields(name: str) -> dict[str, Any]:
    """Return the fields of a message type whose records are entities or links, by name, in the order of writing."""
    order = [*WRITERS, "Relationship"]
    fields: Any = catalogue.message_type(name).DESCRIPTOR.fields
    found = [field for field in fields if field.message_type and field.message_type.name in order]
    # Whoever holds an account is written before it, and an account before what was paid from it.
    return {field.name: field for field in sorted(found, key=lambda field: order.index(field.message_type.name))}
