"""Directory: nobody changes it alone, nobody goes back, and every reference in it holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange import wire
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DIRECTORY, TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import SigningKey
from infoexchange.listing import DIRECTORY_SIZE_MAX, PARTIES_MAX, Group, Listing, Party, Role, RootKey, Roots
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.testing import Community, FakeClock
from infoexchange.v1 import directory_pb2

DAY = timedelta(days=1)
NOW = FakeClock()()


@pytest.fixture(scope="module")
def community() -> Community:
    return Community.make(AGENCIES, now=NOW)


def reason_of(call: Callable[..., object], *args: object, **named: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    assert caught.value.detail
    return caught.value.reason


def keys(count: int) -> tuple[SigningKey, ...]:
    return tuple(SigningKey.make(HYBRID_KEM) for _ in range(count))


def roots_of(threshold: int, *signers: SigningKey) -> Roots:
    return Roots(threshold, tuple(RootKey(k.public, f"holder {i}", k.suite.number) for i, k in enumerate(signers)))


def signed(payload: bytes, *signers: SigningKey, hints: bool = True) -> bytes:
    pairs = [(k.sign(TYPE_DIRECTORY, payload), k.key_id if hints else "") for k in signers]
    return Dsse.make(TYPE_DIRECTORY, payload, pairs).raw


# Signatures


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (2, 3), (3, 3), (4, 7), (7, 7)])
def test_a_threshold_of_different_keys_signs(community: Community, threshold: int, count: int) -> None:
    signers = keys(count)
    roots = roots_of(threshold, *signers)
    payload = replace(community.directory.listing, roots=roots).payload
    for size in range(count + 1):
        chosen = random.sample(signers, size)
        raw = signed(payload, *chosen, hints=size % 2 == 0)
        if size >= threshold:
            assert len(Directory.parse(raw, roots=roots).signers) == size
        else:
            # A container without any signature is none.
            reason = Reason.BAD_SIGNATURE if size else Reason.BAD_FIELD
            assert reason_of(Directory.parse, raw, roots=roots) is reason


def test_one_signer_counts_once(community: Community) -> None:
    first, second = keys(2)
    roots = roots_of(2, first, second)
    payload = replace(community.directory.listing, roots=roots).payload
    for raw in (
        signed(payload, first, first),
        signed(payload, first, first, first, hints=False),
        Dsse.make(TYPE_DIRECTORY, payload, [(first.sign(TYPE_DIRECTORY, payload), h) for h in ("", "x")]).raw,
        Dsse.make(
            TYPE_DIRECTORY, payload, [(first.sign(TYPE_DIRECTORY, payload), k.key_id) for k in (first, second)]
        ).raw,
    ):
        assert reason_of(Directory.parse, raw, roots=roots) is Reason.BAD_SIGNATURE
    assert Directory.parse(signed(payload, first, first, second), roots=roots).signers == ("holder 0", "holder 1")
    # A hybrid key is hedged: two signatures of one key look different and still count once.
    hybrid = SigningKey.make(HYBRID)
    roots = roots_of(2, hybrid, first)
    payload = replace(community.directory.listing, roots=roots).payload
    assert reason_of(Directory.parse, signed(payload, hybrid, hybrid), roots=roots) is Reason.BAD_SIGNATURE


def test_strangers_and_other_types_do_not_count(community: Community) -> None:
    first, second, stranger = keys(3)
    roots = roots_of(2, first, second)
    payload = replace(community.directory.listing, roots=roots).payload
    assert reason_of(Directory.parse, signed(payload, first, stranger), roots=roots) is Reason.BAD_SIGNATURE
    Directory.parse(signed(payload, stranger, first, second), roots=roots)
    pairs = [(k.sign(TYPE_KEYBUNDLE, payload), k.key_id) for k in (first, second)]
    wrong = Dsse.make(TYPE_DIRECTORY, payload, pairs).raw
    assert reason_of(Directory.parse, wrong, roots=roots) is Reason.BAD_SIGNATURE
    other = Dsse.make(TYPE_KEYBUNDLE, payload, pairs).raw
    assert reason_of(Directory.parse, other, roots=roots) is Reason.BAD_FIELD


def test_signatures_come_before_the_payload(community: Community) -> None:
    """Junk that nobody signed is a matter of signatures; junk that enough have signed is a matter of form."""
    signer, stranger = keys(2)
    roots = roots_of(1, signer)
    assert reason_of(Directory.parse, signed(b"junk", stranger), roots=roots) is Reason.BAD_SIGNATURE
    assert reason_of(Directory.parse, signed(b"junk", signer), roots=roots) is Reason.MALFORMED
    assert reason_of(Directory.parse, bytes(DIRECTORY_SIZE_MAX + 1), roots=roots) is Reason.TOO_LARGE
    assert reason_of(Directory.parse, community.directory.raw + b"\x7a\x00", roots=roots) is Reason.NOT_CANONICAL
    assert reason_of(Directory.sign, b"junk", [signer]) is Reason.MALFORMED


def test_a_directory_that_could_have_no_successor_is_refused(community: Community) -> None:
    anchor, own = keys(2)
    payload = replace(community.directory.listing, roots=roots_of(1, own)).payload
    assert reason_of(Directory.parse, signed(payload, anchor), roots=roots_of(1, anchor)) is Reason.BAD_SIGNATURE
    Directory.parse(signed(payload, anchor, own), roots=roots_of(1, anchor))


def test_signatures_of_several_machines_become_one_file(community: Community) -> None:
    one, two, three = community.root_keys
    payload = community.directory.listing.payload
    parts = [Directory.sign(payload, [key]) for key in (one, two, three)]
    assert len(Directory.parse(Directory.merge(parts), roots=community.roots).signers) == 3
    assert Directory.parse(Directory.merge([parts[0], parts[1], parts[0]]), roots=community.roots).version == 1
    assert reason_of(Directory.parse, parts[0], roots=community.roots) is Reason.BAD_SIGNATURE
    changed = Directory.sign(replace(community.directory.listing, version=2).payload, [two])
    assert reason_of(Directory.merge, [parts[0], changed]) is Reason.BAD_FIELD
    assert reason_of(Directory.merge, []) is Reason.BAD_FIELD
    assert Directory.merge(parts[:1]) == parts[0]


def test_signatures_with_the_same_hint_are_all_kept(community: Community) -> None:
    payload = community.directory.listing.payload
    parts = [signed(payload, key, hints=False) for key in community.root_keys[:2]]
    assert len(Directory.parse(Directory.merge(parts), roots=community.roots).signers) == 2


# Succession


def next_listing(directory: Directory, **fields: Any) -> Listing:
    return replace(directory.listing, version=directory.version + 1, previous=directory.digest, **fields)


def test_versions_follow_one_another(community: Community) -> None:
    one, signers = community.directory, community.root_keys
    raw = Directory.sign(next_listing(one).payload, signers)
    two = one.succeed(raw)
    assert (two.version, two.listing.previous) == (2, one.digest)
    assert two.succeed(raw).digest == two.digest  # the same again changes nothing
    three = two.succeed(Directory.sign(next_listing(two).payload, signers))
    sign = lambda listing: Directory.sign(listing.payload, signers)  # noqa: E731
    for held, newer in (
        (two, one.raw),
        (three, raw),
        (one, three.raw),
        (one, sign(replace(one.listing, version=3, previous=one.digest))),
        (one, sign(next_listing(one, community="another.example"))),
        (one, sign(replace(one.listing, community="another.example"))),
    ):
        assert reason_of(held.succeed, newer) is Reason.DIRECTORY_ROLLBACK
    for held, newer in (
        (one, sign(replace(one.listing, version=2))),
        (one, sign(replace(one.listing, version=2, previous=bytes(32)))),
        (two, sign(next_listing(one, expires_at=one.listing.expires_at + DAY))),
        (one, sign(replace(one.listing, expires_at=one.listing.expires_at + DAY))),
        (one, sign(replace(one.listing, previous=one.digest))),
    ):
        assert reason_of(held.succeed, newer) is Reason.LOG_FORK


def test_root_keys_change_when_old_and_new_have_signed(community: Community) -> None:
    one, old = community.directory, community.root_keys
    new = keys(3)
    listing = next_listing(one, roots=roots_of(2, *new))
    for signers in ((*new,), (*old,), (old[0], *new), (*old, new[0])):
        raw = signed(listing.payload, *signers)
        assert reason_of(one.succeed, raw) is Reason.BAD_SIGNATURE
    two = one.succeed(signed(listing.payload, old[0], old[2], new[0], new[1]))
    three = next_listing(two)
    assert reason_of(two.succeed, signed(three.payload, *old)) is Reason.BAD_SIGNATURE
    assert two.succeed(signed(three.payload, *new[:2])).version == 3
    # The trust anchor of the first days does not reach the third version.
    third = signed(three.payload, *new[:2])
    assert reason_of(Directory.parse, third, roots=community.roots) is Reason.BAD_SIGNATURE


def test_currency(community: Community) -> None:
    directory = community.directory
    end = directory.listing.expires_at
    directory.check_current(end - timedelta(milliseconds=1))
    for at in (end, end + 999 * DAY):
        assert reason_of(directory.check_current, at) is Reason.DIRECTORY_EXPIRED


# Members


def changed_party(listing: Listing, name: str, **fields: Any) -> Listing:
    return replace(listing, parties=tuple(replace(p, **fields) if p.name == name else p for p in listing.parties))


def resigned(community: Community, listing: Listing) -> Directory:
    return Directory.parse(Directory.sign(listing.payload, community.root_keys), roots=community.roots)


def test_the_same_version_signed_by_others_changes_nothing(community: Community) -> None:
    directory = community.directory
    again = Directory.sign(directory.listing.payload, community.root_keys[1:3])
    assert again != directory.raw
    assert directory.succeed(again) is directory
    assert directory.succeed(directory.raw) is directory


def test_membership_has_a_beginning_and_an_end(community: Community) -> None:
    start, end = NOW + DAY, NOW + 2 * DAY
    listing = changed_party(community.directory.listing, SENDER, member_from=start, member_to=end)
    directory = resigned(community, listing)
    for at in (start, start + DAY / 2, end):
        assert directory.party(SENDER, at=at).name == SENDER
    for at in (start - timedelta(milliseconds=1), end + timedelta(milliseconds=1)):
        assert reason_of(directory.party, SENDER, at=at) is Reason.UNKNOWN_PARTY
    assert directory.party(RECIPIENT, at=NOW).nation == "vn"
    for name in ("", "nobody.th.example", "th.example", SENDER.upper(), "x" * 1000):
        assert reason_of(directory.party, name, at=NOW) is Reason.UNKNOWN_PARTY


def test_a_party_takes_part_while_both_it_and_its_nation_do(community: Community) -> None:
    """The contents alone, without signatures."""
    at = NOW + 2 * DAY
    for nation_to, party_to, takes_part in (
        (None, None, True),
        (at, at, True),
        (at - DAY, None, False),
        (None, at - DAY, False),
        (at - DAY, at - DAY, False),
    ):
        listing = changed_party(community.directory.listing, SENDER, member_to=party_to)
        nations = tuple(replace(n, member_to=nation_to) if n.code == "th" else n for n in listing.nations)
        directory = Directory(replace(listing, nations=nations), community.directory._dsse, ())
        if takes_part:
            assert directory.party(SENDER, at=at).name == SENDER
        else:
            assert reason_of(directory.party, SENDER, at=at) is Reason.UNKNOWN_PARTY
        assert directory.party(RECIPIENT, at=at).name == RECIPIENT


def test_a_nation_that_leaves_takes_its_parties_along(community: Community) -> None:
    listing = community.directory.listing
    nations = tuple(replace(n, member_to=NOW + DAY) if n.code == "th" else n for n in listing.nations)
    directory = resigned(community, replace(listing, nations=nations))
    directory.party(SENDER, at=NOW + DAY)
    for name in (SENDER, "relay.th.example"):
        assert reason_of(directory.party, name, at=NOW + DAY + timedelta(seconds=1)) is Reason.UNKNOWN_PARTY
    assert reason_of(directory.party, SENDER, at=NOW - timedelta(seconds=1)) is Reason.UNKNOWN_PARTY
    directory.party(RECIPIENT, at=NOW + 2 * DAY)


def test_domains_relays_and_groups(community: Community) -> None:
    group = Group(name="watch", members=(RECIPIENT, SENDER), valid_from=NOW + DAY, valid_to=NOW + 2 * DAY)
    listing = changed_party(community.directory.listing, SENDER, domains=(3, 7))
    directory = resigned(community, replace(listing, groups=(*listing.groups, group)))
    party = directory.party(SENDER, at=NOW)
    assert [d for d in range(12) if directory.permits(party, d)] == [3, 7]
    assert not directory.permits(directory.party("relay.th.example", at=NOW), 3)
    assert directory.relay_of(party).name == "relay.th.example"
    assert directory.members("watch", at=NOW + DAY) == tuple(sorted((RECIPIENT, SENDER)))
    for name, at in (("watch", NOW), ("watch", NOW + 3 * DAY), ("nobody", NOW + DAY)):
        assert reason_of(directory.members, name, at=at) is Reason.UNKNOWN_PARTY
    listing = changed_party(directory.listing, SENDER, member_to=NOW + DAY)
    gone = Directory(listing, community.directory._dsse, ())
    assert gone.members("watch", at=NOW + 2 * DAY) == (RECIPIENT,)


def test_relays_are_parties_of_that_role(community: Community) -> None:
    assert [r.name for r in community.directory.relays()] == ["relay.th.example", "relay.vn.example"]


# What stands in it


def _message(community: Community, change: Callable[[directory_pb2.Directory], object]) -> bytes:
    message = directory_pb2.Directory.FromString(community.directory.listing.payload)
    change(message)
    return wire.canonical(message)


def _swap(field: str) -> Callable[[directory_pb2.Directory], object]:
    def change(message: directory_pb2.Directory) -> None:
        getattr(message, field).reverse()

    return change


BAD_FIELD: dict[str, Callable[[directory_pb2.Directory], object]] = {
    "no name for the community": lambda m: setattr(m, "community", ""),
    "version 0": lambda m: setattr(m, "version", 0),
    "expires before it is issued": lambda m: setattr(m, "expires_ms", m.issued_ms),
    "issued before 1970": lambda m: setattr(m, "issued_ms", -1),
    "a short digest before": lambda m: setattr(m, "previous", bytes(31)),
    "nations fall": _swap("nations"),
    "relays fall": _swap("relays"),
    "agencies fall": _swap("agencies"),
    "suites fall": _swap("suites"),
    "a suite twice": lambda m: m.suites.append(m.suites[-1]),
    "groups fall": lambda m: m.groups.add(name="a", valid_from_ms=1),
    "members fall": lambda m: m.groups[0].members.reverse(),
    "domains fall": lambda m: m.agencies[0].domains.reverse(),
    "root keys fall": lambda m: m.roots.keys.reverse(),
    "a root key twice": lambda m: m.roots.keys.append(m.roots.keys[-1]),
    "threshold 0": lambda m: setattr(m.roots, "threshold", 0),
    "threshold above the keys": lambda m: setattr(m.roots, "threshold", 4),
    "no root key": lambda m: m.roots.ClearField("keys"),
    "a nation code in capitals": lambda m: setattr(m.nations[0], "code", "TH"),
    "a suffix that is no name": lambda m: setattr(m.nations[0], "suffix", "th"),
    "a nation since ever": lambda m: setattr(m.nations[0], "member_from_ms", -5),
    "an agency of no nation": lambda m: setattr(m.agencies[0], "nation", "xx"),
    "an agency of another nation": lambda m: setattr(m.agencies[0], "nation", "vn"),
    "an agency behind no relay": lambda m: setattr(m.agencies[0], "relay", "relay.xx.example"),
    "an agency behind an agency": lambda m: setattr(m.agencies[0], "relay", m.agencies[1].name),
    "an agency with a capital": lambda m: setattr(m.agencies[0], "name", "Desk.th.example"),
    "an agency below another suffix": lambda m: setattr(m.agencies[0], "name", "a.xx.example"),
    "an agency named as its nation": lambda m: setattr(m.agencies[0], "name", "athth.example"),
    "a very long name": lambda m: setattr(m.agencies[0], "name", ".".join(["a" * 60] * 4) + ".th.example"),
    "a relay of no nation": lambda m: setattr(m.relays[0], "nation", ""),
    "a name for relay and agency": lambda m: setattr(m.relays[0], "name", m.agencies[0].name),
    "a relay in a group": lambda m: m.groups[0].members.append(m.relays[1].name),
    "a stranger in a group": lambda m: m.groups[0].members.append("zz.vn.example"),
    "one log key for two relays": lambda m: m.relays[1].log_keys.append(m.relays[0].log_keys[0]),
    "one key as log and witness": lambda m: m.relays[0].witness_keys.append(m.relays[0].log_keys[0]),
    "one witness key twice": lambda m: m.relays[0].witness_keys.append(m.relays[0].witness_keys[0]),
}


@pytest.mark.parametrize("name", BAD_FIELD)
def test_references_and_order(community: Community, name: str) -> None:
    raw = _message(community, BAD_FIELD[name])
    assert reason_of(Listing.parse, raw) is Reason.BAD_FIELD


def test_the_same_public_key_under_two_names_is_one_key(community: Community) -> None:
    """A log's Ed25519 key given again as a witness key, with the other type byte."""
    first, _ = community.log_keys["relay.th.example"].verifier_keys
    again = type(first).make("relay.vn.example/witness", 4, first.public)
    raw = _message(community, lambda m: m.relays[1].witness_keys.append(str(again)))
    assert reason_of(Listing.parse, raw) is Reason.BAD_FIELD


def test_other_reasons(community: Community) -> None:
    for change, reason in (
        (lambda m: setattr(m, "format", 2), Reason.UNKNOWN_VERSION),
        (lambda m: m.relays[0].log_keys.append("no key"), Reason.MALFORMED),
        (lambda m: setattr(m.roots.keys[0], "suite", 9), Reason.SUITE_NOT_ACCEPTED),
        (lambda m: setattr(m.roots.keys[0], "public_key", b"\x00"), Reason.BAD_CERTIFICATE),
        (lambda m: m.nations[0].identity_cas.append(b"no certificate"), Reason.BAD_CERTIFICATE),
        (lambda m: m.nations[1].tls_cas.append(community.members[SENDER].certificates[0]), Reason.BAD_CERTIFICATE),
        (lambda m: setattr(m, "witness_policy", "quorum nobody\n"), Reason.MALFORMED),
    ):
        assert reason_of(Listing.parse, _message(community, change)) is reason
    many = _message(community, lambda m: [m.agencies.add(name=f"a{i:05}.th.example") for i in range(PARTIES_MAX)])
    assert reason_of(Listing.parse, many) is Reason.TOO_LARGE


def test_what_is_written_is_what_is_read(community: Community) -> None:
    listing = community.directory.listing
    assert Listing.parse(listing.payload) == listing
    assert Listing.parse(listing.payload).payload == listing.payload
    # Whoever writes it may hold things in any order.
    shuffled = replace(
        listing,
        parties=tuple(random.sample(listing.parties, len(listing.parties))),
        nations=listing.nations[::-1],
        suites=listing.suites[::-1],
    )
    assert shuffled.payload == listing.payload
    assert Roots.parse(community.roots.raw).raw == community.roots.raw
    assert {k.public for k in Roots.parse(community.roots.raw).keys} == {k.public for k in community.root_keys}
    twice = replace(listing, parties=(*listing.parties, listing.parties[0]))
    assert reason_of(twice.check) is Reason.BAD_FIELD


def test_a_name_is_found_in_the_right_role(community: Community) -> None:
    roles = {p.name: p.role for p in community.directory.listing.parties}
    assert roles[SENDER] is Role.AGENCY
    assert roles["relay.th.example"] is Role.RELAY
    assert isinstance(community.directory.party(SENDER, at=NOW), Party)
    assert community.directory.nation("th").suffix == "th.example"
