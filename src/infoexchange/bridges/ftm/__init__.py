"""FollowTheMoney: people, companies, ships, accounts, wallets, payments, links and sanctions, one entity per line.

Files of others become a SanctionsUpdate for each listing with a reference of the UN list, and for the rest a
TransactionSet where there are payments, a FiuSpontaneousDisclosure where there are accounts or wallets, a
SpontaneousInformation otherwise. What FollowTheMoney has no property for travels in a key of our own, `infoexchange`,
which its tools keep; the marks stand there on every entity, and again among its keywords for tools that do not.
"""

from __future__ import annotations

from infoexchange.bridges.ftm.reading import read
from infoexchange.bridges.ftm.writing import write

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the file.",
    "Written: fields that are newer than this software.",
    "Read: beliefs, political views, origin and trade-union membership of people are never read.",
    "Read: values that are not of the form our field has, properties and entities of other kinds (each is noted).",
    "Read: keys of an entity other than id, schema and properties, such as datasets, captions and dates of change.",
    "Read, of others: whether somebody is a minor is computed from the date of birth; not known where there is none.",
    "Read, of others: a file says what is listed, not what changed; a listing is an ADD, a DELIST where it has ended.",
    "Read, of others: what is longer or more than our fields take.",
    "Read, of others: links between entities that do not fit into one message (each is noted).",
)

__all__ = ["LOSSES", "read", "write"]
