"""Differences: nothing in a directory version changes without a sentence that says so."""

from __future__ import annotations

import dataclasses
import json
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange.certificates import NationalCa
from infoexchange.differences import compare, moment
from infoexchange.errors import ExchangeError
from infoexchange.keys import SigningKey
from infoexchange.listing import Group, Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.log import LogKeys
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.testing import Community, FakeClock
from infoexchange.v1 import directory_pb2
from infoexchange.witness import WitnessKeys
from test_properties import set_a_field

DAY = timedelta(days=1)
NOW = FakeClock()()
RELAY = "relay.th.example"


@pytest.fixture(scope="module")
def listing() -> Listing:
    made = Community.make(AGENCIES, now=NOW).directory.listing
    group = Group(name="watch", members=(SENDER,), valid_from=NOW, valid_to=NOW + DAY)
    keys = tuple(sorted(made.roots.keys, key=lambda key: key.holder))
    return replace(made, groups=(*made.groups, group), roots=replace(made.roots, keys=keys))


def with_party(listing: Listing, name: str, /, **fields: Any) -> Listing:
    return replace(listing, parties=tuple(replace(p, **fields) if p.name == name else p for p in listing.parties))


def with_nation(listing: Listing, **fields: Any) -> Listing:
    return replace(listing, nations=tuple(replace(n, **fields) if n.code == "th" else n for n in listing.nations))


def with_group(listing: Listing, **fields: Any) -> Listing:
    return replace(listing, groups=tuple(replace(g, **fields) if g.name == "watch" else g for g in listing.groups))


def with_root(listing: Listing, **fields: Any) -> Listing:
    """With another key of party 1."""
    first, *others = listing.roots.keys
    return replace(listing, roots=replace(listing.roots, keys=(replace(first, **fields), *others)))


def sentences(old: Listing | None, new: Listing) -> list[str]:
    return [change.sentence for change in compare(old, new)]


CA = NationalCa.make("th.example", now=NOW).certificate
KEY = str(LogKeys.make(RELAY, now=NOW).verifier_keys[0])
WITNESS = str(WitnessKeys.make(RELAY).verifier_keys[0])

# For every field of every part another value; the sentence must hold these words.
CHANGES: dict[tuple[type, str], tuple[Any, str]] = {
    (Listing, "community"): (lambda m: replace(m, community="b.example"), "community b.example (before: exchange"),
    (Listing, "version"): (lambda m: replace(m, version=2), "becomes version 2 (before: 1)"),
    (Listing, "issued_at"): (lambda m: replace(m, issued_at=NOW + DAY), "issued at 2026-11-23 08:00:00Z (before"),
    (Listing, "expires_at"): (lambda m: replace(m, expires_at=NOW + DAY), "valid until 2026-11-23 08:00:00Z (before"),
    (Listing, "roots"): (lambda m: replace(m, roots=replace(m.roots, keys=m.roots.keys[:2])), "party 3 is removed"),
    (Listing, "nations"): (lambda m: replace(m, nations=m.nations[:1]), "Nation vn is removed."),
    (Listing, "parties"): (lambda m: replace(m, parties=m.parties[1:]), "Relay relay.th.example is removed."),
    (Listing, "groups"): (lambda m: replace(m, groups=m.groups[:1]), "Working group watch is removed."),
    (Listing, "suites"): (lambda m: replace(m, suites=(2,)), "accepts suite 0x0003 (HYBRID-KEM) no longer"),
    (Listing, "witness_policy"): (
        lambda m: replace(m, witness_policy="# none\nquorum none\n"),
        "who must witness the logs: # none / quorum none",
    ),
    (Listing, "previous"): (lambda m: replace(m, previous=bytes(32)), f"version with digest {'00' * 32}"),
    (Roots, "threshold"): (
        lambda m: replace(m, roots=replace(m.roots, threshold=3)),
        "3 of 3 root signatures are needed from now on (before: 2 of 3)",
    ),
    (Roots, "keys"): (
        lambda m: replace(m, roots=replace(m.roots, keys=(*m.roots.keys, RootKey(b"x" * 32, "Laos", 3)))),
        "New root key, of Laos: SHA-256 ",
    ),
    (RootKey, "public"): (lambda m: with_root(m, public=SigningKey.make(HYBRID).public), "party 1 is replaced: now"),
    (RootKey, "holder"): (lambda m: with_root(m, holder="Laos"), "New root key, of Laos"),
    (RootKey, "suite"): (lambda m: with_root(m, suite=3), "suite 0x0003 (HYBRID-KEM) (before: SHA-256"),
    (Nation, "code"): (lambda m: with_nation(m, code="la"), "New nation: la."),
    (Nation, "suffix"): (lambda m: with_nation(m, suffix="t.example"), "below t.example (before: th.example)"),
    (Nation, "member_from"): (lambda m: with_nation(m, member_from=NOW + DAY), "takes part from 2026-11-23"),
    (Nation, "member_to"): (lambda m: with_nation(m, member_to=NOW + DAY), "Nation th takes part until 2026-11-23"),
    (Nation, "identity_cas"): (
        lambda m: with_nation(m, identity_cas=(CA,)),
        "new CA for identity certificates: CN=National CA th.example, until 2036-11-19, SHA-256",
    ),
    (Nation, "tls_cas"): (lambda m: with_nation(m, tls_cas=()), "Nation th loses a CA for TLS certificates: CN="),
    (Nation, "treaties"): (lambda m: with_nation(m, treaties=("2002",)), "Nation th is party to 2002."),
    (Party, "name"): (lambda m: with_party(m, SENDER, name="x.th.example"), "New agency: x.th.example."),
    (Party, "nation"): (lambda m: with_party(m, SENDER, nation="vn"), "belongs to nation vn (before: th)"),
    (Party, "role"): (lambda m: with_party(m, SENDER, role=Role.RELAY), f"New relay: {SENDER}."),
    (Party, "relay"): (lambda m: with_party(m, SENDER, relay="r.th.example"), "has its mailbox at r.th.example"),
    (Party, "title"): (lambda m: with_party(m, SENDER, title="Duty desk"), f"Agency {SENDER} is called Duty desk."),
    (Party, "domains"): (
        lambda m: with_party(m, SENDER, domains=(1, 3)),
        f"Agency {SENDER} may now exchange: drugs, piracy (before: drugs, persons, piracy, ",
    ),
    (Party, "member_from"): (lambda m: with_party(m, SENDER, member_from=NOW), "takes part from 2026-11-22 08:00:00Z."),
    (Party, "member_to"): (lambda m: with_party(m, SENDER, member_to=NOW), "takes part until 2026-11-22 08:00:00Z."),
    (Party, "address"): (lambda m: with_party(m, RELAY, address="a:1"), f"Relay {RELAY} is reached at a:1."),
    (Party, "log_keys"): (lambda m: with_party(m, RELAY, log_keys=(KEY,)), "new key of its audit log: relay.th"),
    (Party, "witness_keys"): (lambda m: with_party(m, RELAY, witness_keys=(WITNESS,)), "new witness key: relay.th"),
    (Group, "name"): (lambda m: with_group(m, name="guard"), "New working group: guard."),
    (Group, "members"): (lambda m: with_group(m, members=(RECIPIENT,)), f"watch has a new member: {RECIPIENT}."),
    (Group, "valid_from"): (lambda m: with_group(m, valid_from=NOW - DAY), "exists from 2026-11-21 08:00:00Z (before"),
    (Group, "valid_to"): (lambda m: with_group(m, valid_to=None), "watch exists without an end (before: 2026-11-23"),
}


def test_every_field_is_in_the_table() -> None:
    parts = (Listing, Roots, RootKey, Nation, Party, Group)
    assert set(CHANGES) == {(part, field.name) for part in parts for field in dataclasses.fields(part)}


@pytest.mark.parametrize("place", CHANGES, ids=lambda place: f"{place[0].__name__}.{place[1]}")
def test_every_field_gives_a_sentence_both_ways(listing: Listing, place: tuple[type, str]) -> None:
    change, words = CHANGES[place]
    new = change(listing)
    assert any(words in sentence for sentence in sentences(listing, new)), sentences(listing, new)
    assert compare(new, listing)
    assert all(found.before != found.after for found in compare(listing, new))


def test_the_wire_has_no_field_that_the_parts_have_not() -> None:
    """A field added to the format later must come into a listing, and so into the table above."""
    same = {"issued_ms": "issued_at", "expires_ms": "expires_at", "public_key": "public"}
    other = {"format", "relays", "agencies"}  # the first is always 1, the two others are parties
    parts = {"Roots": Roots, "RootKey": RootKey, "Nation": Nation, "Relay": Party, "Agency": Party, "Group": Group}
    for name, part in {"Directory": Listing, **parts}.items():
        wire = {field.name for field in directory_pb2.DESCRIPTOR.message_types_by_name[name].fields} - other
        held = {field.name for field in dataclasses.fields(part)}
        assert {same.get(field, field).removesuffix("_ms") for field in wire} <= held, name


def test_nothing_differs_if_and_only_if_the_bytes_are_the_same(listing: Listing) -> None:
    assert compare(listing, listing) == ()
    assert compare(listing, replace(listing, parties=listing.parties[::-1], nations=listing.nations[::-1])) == ()
    rng = random.Random(20261122)
    seen = 0
    for _ in range(400):
        message = directory_pb2.Directory.FromString(listing.payload)
        set_a_field(message, rng)
        payload = message.SerializeToString(deterministic=True)
        try:
            changed = Listing.parse(payload)
        except ExchangeError:
            continue
        seen += 1
        assert bool(compare(listing, changed)) is (payload != listing.payload)
    assert seen > 20


@pytest.mark.parametrize("key", ["log_keys", "witness_keys", "identity_cas"])
def test_another_order_is_a_difference(listing: Listing, key: str) -> None:
    if key == "identity_cas":
        old = with_nation(listing, identity_cas=(CA, listing.nations[0].identity_cas[0]))
        new = with_nation(old, identity_cas=old.nations[0].identity_cas[::-1])
    else:
        relay = next(p for p in listing.parties if p.name == RELAY)
        old, new = listing, with_party(listing, RELAY, **{key: getattr(relay, key)[::-1]})
    assert old.payload != new.payload
    assert "another order" in sentences(old, new)[0]


def test_all_of_something_new_is_told(listing: Listing) -> None:
    """Of a new agency, and of a first version, every value: nothing may come in unseen behind a name."""
    agency = Party(
        name="z.vn.example", nation="vn", role=Role.AGENCY, relay="relay.vn.example", domains=(1,), title="Z"
    )
    told = sentences(listing, replace(listing, parties=(*listing.parties, agency)))
    assert told == [
        "New agency: z.vn.example.",
        "Agency z.vn.example belongs to nation vn.",
        "Agency z.vn.example has its mailbox at relay.vn.example.",
        "Agency z.vn.example is called Z.",
        "Agency z.vn.example may now exchange: drugs (before: nothing).",
    ]
    first = " ".join(sentences(None, listing))
    for party in listing.parties:
        assert party.name in first
        assert all(key.rpartition("+")[0].partition("+")[0] in first for key in (*party.log_keys, *party.witness_keys))
    assert "2 of 3 root signatures are needed" in first
    assert first.count("SHA-256") == 3 + 4 + 8  # root keys, CAs in two uses, keys of logs and witnesses


def test_the_same_as_data_is_json_without_any_certificate(listing: Listing) -> None:
    other = with_nation(with_root(listing, public=SigningKey.make(HYBRID_KEM).public), identity_cas=(CA,))
    for new in (other, replace(listing, nations=(), parties=(), groups=())):
        for change in compare(listing, new):
            text = json.dumps([change.path, change.before, change.after])
            assert CA.hex() not in text
            assert len(text) < 4000


def test_a_replaced_key_is_said_to_be_one(listing: Listing) -> None:
    told = sentences(listing, with_root(listing, public=SigningKey.make(HYBRID).public))
    assert [sentence.split(":")[0] for sentence in told] == ["Root key of party 1 is replaced"]


def test_times_that_differ_look_different() -> None:
    day = NOW.replace(hour=0)
    shown = [moment(at) for at in (day, day + timedelta(milliseconds=1), day + timedelta(seconds=1))]
    assert shown == ["2026-11-22", "2026-11-22 00:00:00.001Z", "2026-11-22 00:00:01Z"]
