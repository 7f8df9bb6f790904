"""Showing: what stands in a version, and what differs, for a person and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from infoexchange.cli.output import Table

if TYPE_CHECKING:
    from infoexchange.differences import Difference
    from infoexchange.listing import Listing

_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"  # proquints, arXiv 0901.4016: 16 bits make a word one can say


def spoken(digest: bytes) -> list[str]:
    """Return a digest as lines to be read out over the telephone: groups of four digits, and a word for each."""
    groups = [digest[i : i + 2] for i in range(0, len(digest), 2)]
    pairs = [f"{group.hex()} {_word(group)}" for group in groups]
    lines = ["   ".join(pairs[i : i + 4]) for i in range(0, len(pairs), 4)]
    return ["Fingerprint, to be compared aloud by digits or by words:", *(f"  {line}" for line in lines)]


def words(digest: bytes) -> str:
    """Return a digest as words."""
    return " ".join(_word(digest[i : i + 2]) for i in range(0, len(digest), 2))


def _word(pair: bytes) -> str:
    bits = int.from_bytes(pair, "big")
    letters = ((12, _CONSONANTS), (10, _VOWELS), (6, _CONSONANTS), (4, _VOWELS), (0, _CONSONANTS))
    return "".join(alphabet[bits >> shift & len(alphabet) - 1] for shift, alphabet in letters)


def changes_data(changes: Sequence[Difference]) -> list[dict[str, Any]]:
    """Return differences as JSON shows them."""
    return [{"path": c.path, "sentence": c.sentence, "before": c.before, "after": c.after} for c in changes]


def changes_parts(changes: Sequence[Difference]) -> list[str]:
    """Return differences for a person."""
    return [f"* {change.sentence}" for change in changes] or ["Nothing differs."]


def listing_data(listing: Listing) -> dict[str, Any]:
    """Return a content as JSON shows it."""
    from infoexchange.differences import domain_word, fingerprint
    from infoexchange.listing import Role

    def when(at: datetime | None) -> str | None:
        return at.isoformat() if at else None

    return {
        "community": listing.community,
        "version": listing.version,
        "issued": listing.issued_at.isoformat(),
        "expires": listing.expires_at.isoformat(),
        "previous": listing.previous.hex(),
        "threshold": listing.roots.threshold,
        "roots": [key.holder for key in listing.roots.keys],
        "root_keys": [
            {"holder": key.holder, "suite": key.suite, "fingerprint": fingerprint(key.public)}
            for key in listing.roots.keys
        ],
        "nations": [
            {"code": n.code, "suffix": n.suffix, "treaties": list(n.treaties)}
            | {"member_from": when(n.member_from), "member_to": when(n.member_to)}
            | {"identity_cas": [fingerprint(ca) for ca in n.identity_cas]}
            | {"tls_cas": [fingerprint(ca) for ca in n.tls_cas]}
            for n in listing.nations
        ],
        "relays": [
            {"name": p.name, "nation": p.nation, "address": p.address}
            | {"log_keys": list(p.log_keys), "witness_keys": list(p.witness_keys)}
            for p in listing.parties
            if p.role is Role.RELAY
        ],
        "agencies": [
            {"name": p.name, "nation": p.nation, "relay": p.relay, "title": p.title}
            | {"domains": [domain_word(d) for d in p.domains]}
            | {"member_from": when(p.member_from), "member_to": when(p.member_to)}
            for p in listing.parties
            if p.role is Role.AGENCY
        ],
        "groups": [
            {"name": g.name, "members": list(g.members)}
            | {"valid_from": when(g.valid_from), "valid_to": when(g.valid_to)}
            for g in listing.groups
        ],
        "suites": list(listing.suites),
        "witness_policy": listing.witness_policy,
    }


def listing_parts(listing: Listing) -> list[str | Table]:
    """Return a content as a person reads it."""
    from infoexchange.suites import SUITES

    data = listing_data(listing)
    parts: list[str | Table] = [
        f"Directory of {listing.community}, version {listing.version},"
        f" issued {listing.issued_at:%Y-%m-%d %H:%M}Z, valid until {listing.expires_at:%Y-%m-%d %H:%M}Z.",
        f"{listing.roots.threshold} of {len(listing.roots.keys)} root keys must sign: {', '.join(data['roots'])}.",
        f"Suites accepted: {', '.join(SUITES[n].name if n in SUITES else f'0x{n:04x}' for n in listing.suites)}.",
        Table(
            ("nation", "suffix", "member", "identity CAs", "TLS CAs"),
            [
                (n.code, n.suffix, _span(n.member_from, n.member_to), len(n.identity_cas), len(n.tls_cas))
                for n in listing.nations
            ],
        ),
        Table(("relay", "nation", "address"), [(r["name"], r["nation"], r["address"]) for r in data["relays"]]),
        Table(
            ("agency", "nation", "relay", "domains"),
            [(a["name"], a["nation"], a["relay"], " ".join(a["domains"])) for a in data["agencies"]],
        ),
    ]
    if listing.groups:
        rows = [(g.name, _span(g.valid_from, g.valid_to), " ".join(g.members)) for g in listing.groups]
        parts.append(Table(("group", "valid", "members"), rows))
    return [item for part in parts for item in (part, "")]


def _span(start: datetime, end: datetime | None) -> str:
    return f"{start:%Y-%m-%d} to {end:%Y-%m-%d}" if end else f"from {start:%Y-%m-%d}"
