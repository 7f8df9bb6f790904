"""Endings: what stops on a known day is said in time, and who must do what."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange.certificates import NationalCa
from infoexchange.endings import URGENT_BEFORE, WARN_BEFORE, Ending, of_directory, of_leaves, upcoming
from infoexchange.listing import Group, Listing
from infoexchange.testing import Community, FakeClock

DAY = timedelta(days=1)
NOW = FakeClock()()


@pytest.fixture(scope="module")
def listing() -> Listing:
    return Community.make(AGENCIES, now=NOW).directory.listing


def whats(listing: Listing, now: datetime, party: str = "") -> list[str]:
    return [ending.what for ending in upcoming(of_directory(listing, now, party=party), now)]


def test_the_limits_are_days_of_notice() -> None:
    ending = Ending("It", NOW, "Act.")
    assert upcoming([ending], NOW - WARN_BEFORE) == [ending]
    assert upcoming([ending], NOW - WARN_BEFORE - timedelta(milliseconds=1)) == []
    assert not ending.is_urgent(NOW - URGENT_BEFORE - timedelta(milliseconds=1))
    assert ending.is_urgent(NOW - URGENT_BEFORE)
    assert ending.is_urgent(NOW + DAY)
    assert [ending.days(NOW - timedelta(hours=h)) for h in (50, 48, 47, 1, 0)] == [2, 2, 1, 0, 0]
    assert ending.days(NOW + timedelta(seconds=1)) == -1


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (20 * DAY, "It ends in 20 days, on 2026-11-22 08:00Z. Act."),
        (DAY, "It ends within two days, on 2026-11-22 08:00Z. Act."),
        (timedelta(0), "It has ended on 2026-11-22 08:00Z. Act."),
    ],
)
def test_sentences(left: timedelta, words: str) -> None:
    assert Ending("It", NOW, "Act.").sentence(NOW - left) == words


def test_everything_with_an_end_is_listed(listing: Listing) -> None:
    soon = NOW + 5 * DAY
    ca = NationalCa.make("vn.example", now=NOW - 3650 * DAY + 9 * DAY).certificate
    th, vn = listing.nations
    changed = replace(
        listing,
        expires_at=NOW + 20 * DAY,
        nations=(replace(th, member_to=soon), replace(vn, tls_cas=(ca,))),
        parties=tuple(replace(p, member_to=soon) if p.name in (SENDER, RECIPIENT) else p for p in listing.parties),
        groups=(Group(name="watch", members=(SENDER,), valid_from=NOW, valid_to=soon),),
    )
    assert whats(listing, NOW) == []
    every = whats(changed, NOW)
    assert every == [
        f"Membership of {SENDER}",
        f"Membership of {RECIPIENT}",
        "Membership of nation th",
        "Working group watch",
        "CA of nation vn for TLS certificates (CN=National CA vn.example)",
        "Directory version 1",
    ]
    # One party sees what concerns it.
    assert whats(changed, NOW, SENDER) == [every[0], every[2], every[3], every[5]]
    assert whats(changed, NOW, RECIPIENT) == [every[1], every[4], every[5]]
    assert whats(changed, NOW, "nobody.example") == [every[5]]
    # A membership that has ended is history; an expired directory or CA is still in everybody's way.
    assert whats(changed, soon) == [every[4], every[5]]
    assert whats(changed, NOW + 400 * DAY) == [every[4], every[5]]


def test_own_certificates(listing: Listing) -> None:
    community = Community.make({"th": ["desk"]}, now=NOW)
    member = community.members["desk.th.example"]
    found = of_leaves(member.certificates, ("Ed25519", "ML-DSA-65", "TLS"), "Enroll again.")
    assert [(e.what, e.at) for e in found] == [(f"{k} certificate", NOW + 730 * DAY) for k in ("Ed25519", "ML-DSA-65")]
    assert [e.what for e in upcoming(found, NOW + 700 * DAY)] == ["Ed25519 certificate", "ML-DSA-65 certificate"]
    assert upcoming(found, NOW + 699 * DAY) == []
