"""Withdrawal: from when on an auditor counts the withdrawal of keys: from the entry that published it (SPEC Evidence).

The dates in a bundle are its owner's word. A party could disown what it signed by dating a withdrawal back, and a thief
could sign on by dating messages back; the order in which a relay logged the two is nobody's to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from infoexchange import chain
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.directory import Directory
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.verdict import OpenQuestionError


def publishes(receipt: Receipt, bundle: KeyBundle, relay: str) -> bool:
    """Whether an entry, not verified, says that a bundle was published at its owner's relay."""
    said = receipt.routing
    about = (said.event, said.this_relay, said.sender, receipt.subject.sender_bundle)
    return about == (Event.KEY_BUNDLE, relay, bundle.owner, bundle.digest)


def entries(receipts: Iterable[Receipt], relay: str) -> list[Receipt]:
    """Return those of some receipts that are about keys published at a relay."""
    return [r for r in receipts if (r.routing.event, r.routing.this_relay) == (Event.KEY_BUNDLE, relay)]


def check(
    bundle: KeyBundle,
    others: Sequence[KeyBundle],
    published: Sequence[Receipt],
    directory: Directory,
    *,
    at: datetime,
) -> None:
    """Raise if the owner of a bundle had withdrawn it when something signed with it was logged.

    Args:
        bundle: What signed.
        others: Bundles that may withdraw it, not verified.
        published: Entries of the owner's relay about the publication of keys, not verified.
        directory: Who is who.
        at: When it was logged.

    Raises:
        UntrustedError: `REVOKED`, or whatever an entry is refused for.
        OpenQuestionError: It was withdrawn, and no entry shows from when on.
    """
    for other in chain.withdrawing(bundle, others):
        if not chain.is_proven(other, directory, at):
            continue  # anybody could have put it there
        found = [receipt for receipt in published if publishes(receipt, other, receipt.routing.this_relay)]
        for receipt in found:
            receipt.verify(directory)
            if at > max(receipt.routing.logged_at, other.not_before + CLOCK_SKEW):
                raise chain.withdrawn(bundle, other)
        if not found and at > other.not_before:
            why = f"epoch {other.epoch} withdraws these keys, and no entry shows from when on"
            raise OpenQuestionError("keys withdrawn", why)
