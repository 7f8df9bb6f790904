"""Endings: what stops working on a known day unless somebody acts: directory, certificates, memberships.

Other systems of this kind have stood still for days because something expired unseen. So there is one list, and every
command and the relay's log show it from thirty days before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from infoexchange import certificates
from infoexchange.listing import Listing, Nation

# Implementation constants
WARN_BEFORE = timedelta(days=30)  # a directory goes round all capitals for signatures in that time
URGENT_BEFORE = timedelta(days=7)  # from here on somebody must act today


@dataclass(frozen=True)
class Ending:
    """Something with a last day.

    Attributes:
        what: What ends.
        at: When.
        next_step: What to do about it, and who.
    """

    what: str
    at: datetime
    next_step: str

    def days(self, now: datetime) -> int:
        """Return the whole days left; below 0 once it has ended."""
        return (self.at - now) // timedelta(days=1)

    def is_urgent(self, now: datetime) -> bool:
        """Whether it has ended, or ends within a week."""
        return self.at - now <= URGENT_BEFORE

    def sentence(self, now: datetime) -> str:
        """Return when it ends and what to do, for a person."""
        days = self.days(now)
        left = "has ended" if self.at <= now else f"ends in {days} days," if days > 1 else "ends within two days,"
        return f"{self.what} {left} on {self.at:%Y-%m-%d %H:%M}Z. {self.next_step}"


def upcoming(endings: Iterable[Ending], now: datetime) -> list[Ending]:
    """Return what ends within thirty days or has ended, soonest first."""
    return sorted((e for e in endings if e.at - now <= WARN_BEFORE), key=lambda e: (e.at, e.what))


def of_directory(listing: Listing, now: datetime, *, party: str = "") -> list[Ending]:
    """Return the endings of everything that a directory version lists.

    A membership or working group that has ended is history, and no ending any more.

    Args:
        listing: The content.
        now: What counts as past.
        party: If set, only what concerns this party: the version, its nation, itself and its groups.
    """
    own = next((p for p in listing.parties if p.name == party), None)
    found = [
        Ending(
            f"Directory version {listing.version}",
            listing.expires_at,
            "Have the next version signed and published before: `infoexchange directory edit`.",
        )
    ]
    for nation in listing.nations:
        if not party or (own and own.nation == nation.code):
            found += _of_nation(nation, now)
    step = "If it is to go on, have a later end put into the next version of the directory."
    ends = [(f"Membership of {p.name}", p.member_to) for p in listing.parties if party in ("", p.name)]
    ends += [(f"Working group {g.name}", g.valid_to) for g in listing.groups if not party or party in g.members]
    return [*found, *(Ending(what, at, step) for what, at in ends if at is not None and at > now)]


def _of_nation(nation: Nation, now: datetime) -> Iterator[Ending]:
    for cas, use in ((nation.identity_cas, "identity"), (nation.tls_cas, "TLS")):
        step = "Have its successor listed in the next version of the directory, and certificates issued by that one."
        for ca in cas:
            subject = certificates.load(ca).subject.rfc4514_string()
            yield of_certificate(f"CA of nation {nation.code} for {use} certificates ({subject})", ca, step)
    if nation.member_to is not None and nation.member_to > now:
        step = "If it is to go on, have a later end put into the next version of the directory."
        yield Ending(f"Membership of nation {nation.code}", nation.member_to, step)


def of_certificate(what: str, der: bytes, next_step: str) -> Ending:
    """Return the ending of a certificate, or raise `BAD_CERTIFICATE`."""
    return Ending(what, certificates.load(der).not_valid_after_utc, next_step)


def of_leaves(ders: Sequence[bytes], kinds: Sequence[str], next_step: str) -> list[Ending]:
    """Return the endings of a party's own certificates, in the order of `kinds`."""
    return [of_certificate(f"{kind} certificate", der, next_step) for kind, der in zip(kinds, ders, strict=False)]
