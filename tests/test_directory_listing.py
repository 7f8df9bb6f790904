"""What stands in a directory: how large it may be, which field is named when it is refused, and whose roots sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from infoexchange import listing as listings
from infoexchange import wire
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import SigningKey
from infoexchange.listing import Group, Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.suites import CLASSICAL, HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.v1 import directory_pb2

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
# Ed25519 alone signs in this suite: the quickest.
KEYS = sorted((SigningKey.make(HYBRID_KEM) for _ in range(3)), key=lambda key: key.public)
ROOT_KEYS = tuple(RootKey(key.public, f"holder {place}", HYBRID_KEM.number) for place, key in enumerate(KEYS))

Change = Callable[[directory_pb2.Directory], object]


def small(**fields: object) -> Listing:
    """A directory of one nation with one relay and one agency."""
    relay = Party(name="relay.th.example", nation="th", role=Role.RELAY, relay="relay.th.example")
    agency = Party(name="desk.th.example", nation="th", role=Role.AGENCY, relay=relay.name)
    whole = Listing(
        community="community.example",
        version=1,
        issued_at=START,
        expires_at=END,
        roots=Roots(2, ROOT_KEYS),
        nations=(Nation(code="th", suffix="th.example", member_from=START),),
        parties=(relay, agency),
    )
    return replace(whole, **fields)


def changed(change: Change, listing: Listing | None = None) -> bytes:
    message = directory_pb2.Directory.FromString((listing or small()).payload)
    change(message)
    return wire.canonical(message)


def reason_of(call: Callable[..., object], *args: object) -> tuple[Reason, str]:
    with pytest.raises(ExchangeError) as caught:
        call(*args)
    return caught.value.reason, caught.value.field


def test_every_field_comes_back() -> None:
    soon = START + timedelta(days=1)
    relay = Party(
        name="relay.th.example", nation="th", role=Role.RELAY, relay="relay.th.example", address="relay.th.example:443"
    )
    agency = Party(
        name="desk.th.example",
        nation="th",
        role=Role.AGENCY,
        relay=relay.name,
        title="Desk",
        domains=(1, 3),
        member_from=soon,
        member_to=END,
    )
    whole = small(
        previous=bytes(32),
        version=2,
        suites=(2, 3),
        nations=(Nation(code="th", suffix="th.example", member_from=START, member_to=END, treaties=("a", "b")),),
        parties=(relay, agency),
        groups=(Group(name="watch", members=(agency.name,), valid_from=soon, valid_to=END),),
    )
    for listing in (whole, small()):
        assert Listing.parse(listing.payload) == listing
        assert Listing.parse(listing.payload).payload == listing.payload


def test_what_is_left_out_is_empty() -> None:
    listing = small()
    assert (listing.witness_policy, listing.previous, listing.groups) == ("", b"", ())
    for party in listing.parties:
        assert (party.title, party.address, party.domains, party.member_from, party.member_to) == (
            "",
            "",
            (),
            None,
            None,
        )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda m: m.nations.append(m.nations[0]), "nations"),
        (lambda m: m.relays.append(m.relays[0]), "relays"),
        (lambda m: m.agencies.append(m.agencies[0]), "agencies"),
        (lambda m: [m.groups.add(name="watch", valid_from_ms=1) for _ in range(2)], "groups"),
        (lambda m: m.suites.append(1), "suites"),
        (lambda m: m.roots.keys.append(m.roots.keys[0]), "roots.keys"),
        (lambda m: setattr(m.roots, "threshold", 0), "roots.threshold"),
        (lambda m: setattr(m.roots, "threshold", 4), "roots.threshold"),
        (lambda m: setattr(m.roots.keys[0], "holder", ""), "roots.holder"),
        (lambda m: setattr(m.roots.keys[0], "holder", "holder 1"), "roots.holder"),
        (lambda m: setattr(m, "version", 0), "version"),
        (lambda m: setattr(m, "expires_ms", m.issued_ms), "version"),
        (lambda m: setattr(m.relays[0], "name", "desk.th.example"), "agencies"),
        (lambda m: setattr(m.nations[0], "code", "t"), "nations.code"),
        (lambda m: setattr(m.nations[0], "code", "t" * 17), "nations.code"),
        (lambda m: setattr(m.nations[0], "code", "1t"), "nations.code"),
        (lambda m: setattr(m.agencies[0], "nation", "vn"), "desk.th.example"),
        (lambda m: setattr(m.agencies[0], "name", "desk.vn.example"), "desk.vn.example"),
        (lambda m: setattr(m.agencies[0], "relay", "desk.th.example"), "desk.th.example"),
        (lambda m: m.agencies[0].domains.extend([2, 2]), "agencies.domains"),
        (lambda m: m.groups.add(name="watch", valid_from_ms=1, members=["relay.th.example"]), "watch"),
        (lambda m: m.groups.add(name="watch", valid_from_ms=1, members=["b.th.example"] * 2), "groups.members"),
    ],
)
def test_what_does_not_fit_is_refused(change: Change, field: str) -> None:
    assert reason_of(Listing.parse, changed(change)) == (Reason.BAD_FIELD, field)


@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_as_many_sign_as_there_are_keys(threshold: int) -> None:
    roots = Roots(threshold, ROOT_KEYS)
    assert Roots.parse(roots.raw) == roots


@pytest.mark.parametrize("code", ["th", "unmas", "a1", "a" * 16])
def test_codes_of_nations(code: str) -> None:
    nation = Nation(code=code, suffix="th.example", member_from=START)
    parties = tuple(replace(party, nation=code) for party in small().parties)
    listing = small(nations=(nation,), parties=parties)
    assert Listing.parse(listing.payload) == listing


def test_a_directory_has_4_mib_at_most() -> None:
    for parse, field in ((Listing.parse, "directory"), (Roots.parse, "roots")):
        assert reason_of(parse, bytes(4 * 1024 * 1024)) == (Reason.MALFORMED, field)
        assert reason_of(parse, bytes(4 * 1024 * 1024 + 1)) == (Reason.TOO_LARGE, field)


@pytest.mark.parametrize(
    ("agencies", "relays", "reason", "field"),
    [
        (4096, 0, Reason.BAD_FIELD, "agencies"),  # their number is looked at first, and then their order
        (4097, 0, Reason.TOO_LARGE, "agencies"),
        (4094, 2, Reason.BAD_FIELD, "relays"),
        (4095, 2, Reason.TOO_LARGE, "agencies"),
    ],
)
def test_a_directory_has_4096_parties_at_most(agencies: int, relays: int, reason: Reason, field: str) -> None:
    raw = wire.canonical(
        directory_pb2.Directory(
            format=1,
            agencies=[directory_pb2.Agency(name="a")] * agencies,
            relays=[directory_pb2.Relay(name="r")] * relays,
        )
    )
    assert reason_of(Listing.parse, raw) == (reason, field)


def test_a_name_has_200_letters_at_most() -> None:
    [relay, agency] = small().parties
    for length, allowed in ((200, True), (201, False)):
        name = ".".join(["a" * 60, "b" * 60, "c" * 60]) + "." + "d" * (length - 194) + ".th.example"
        assert len(name) == length
        listing = small(parties=(relay, replace(agency, name=name)))
        if allowed:
            assert Listing.parse(listing.payload) == listing
        else:
            assert reason_of(Listing.parse, listing.payload) == (Reason.BAD_FIELD, "name")


@pytest.mark.parametrize("form", [0, 2])
def test_there_is_one_form(form: int) -> None:
    assert reason_of(Listing.parse, changed(lambda m: setattr(m, "format", form))) == (Reason.UNKNOWN_VERSION, "format")


def test_what_a_party_is_has_a_word() -> None:
    assert [role.value for role in Role] == ["agency", "relay"]  # by which differences between versions are told


def test_a_suite_is_accepted_or_not() -> None:
    listing = small(suites=(3,))
    listing.check_suite(HYBRID_KEM, field="suite")
    assert reason_of(lambda: listing.check_suite(CLASSICAL, field="suite")) == (Reason.SUITE_NOT_ACCEPTED, "suite")


def test_keys_authorities_and_policy_can_be_read(shared_exchange: Exchange) -> None:
    listing = shared_exchange.directory.listing
    assert all(party.log_keys for party in listing.parties if party.role is Role.RELAY)
    for change, reason in (
        (lambda m: m.relays[0].witness_keys.append(m.relays[0].log_keys[0]), Reason.BAD_FIELD),
        (lambda m: m.nations[0].identity_cas.append(b"no certificate"), Reason.BAD_CERTIFICATE),
        (lambda m: setattr(m, "witness_policy", "quorum nobody\n"), Reason.MALFORMED),
        (lambda m: setattr(m.roots.keys[0], "public_key", b"\x00"), Reason.BAD_CERTIFICATE),
    ):
        assert reason_of(Listing.parse, changed(change, listing))[0] is reason
    policy = "quorum none\n"
    assert Listing.parse(changed(lambda m: setattr(m, "witness_policy", policy), listing)).witness_policy == policy


# Who signed


def container(*pairs: tuple[bytes, str]) -> Dsse:
    return Dsse.make(TYPE_DIRECTORY, b"payload", pairs)


def signature(place: int) -> bytes:
    return KEYS[place].sign(TYPE_DIRECTORY, b"payload")


def test_a_threshold_of_holders_signs() -> None:
    roots, stranger = Roots(2, ROOT_KEYS), SigningKey.make(HYBRID_KEM).sign(TYPE_DIRECTORY, b"payload")
    dsse = container((stranger, ""), (signature(2), ""), (signature(0), ""), (signature(2), ""))
    assert roots.signed_by(dsse) == {ROOT_KEYS[2]: 1, ROOT_KEYS[0]: 2}
    assert roots.check_signed(dsse) == ("holder 2", "holder 0")
    for few, step in (
        (container((signature(1), ""), (signature(1), ""), (stranger, "")), "Have another root key sign it"),
        (container((stranger, "")), "Check that these root keys"),
    ):
        with pytest.raises(ExchangeError) as caught:
            roots.check_signed(few)
        assert caught.value.reason is Reason.BAD_SIGNATURE
        assert caught.value.next_step.startswith(step)


@pytest.mark.parametrize("place", range(3))
def test_a_hint_says_which_key_is_tried_first(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    tried: list[RootKey] = []
    holds = listings._holds
    monkeypatch.setattr(listings, "_holds", lambda key, *rest: (tried.append(key), holds(key, *rest))[1])
    assert Roots(2, ROOT_KEYS).signer_of(container((signature(place), KEYS[place].key_id)), 0) == ROOT_KEYS[place]
    assert tried == [ROOT_KEYS[place]]
    # A wrong hint costs time and nothing else.
    wrong = container((signature(place), KEYS[place - 1].key_id))
    assert Roots(2, ROOT_KEYS).signer_of(wrong, 0) == ROOT_KEYS[place]


def test_what_a_party_says_nothing_of_is_not_there() -> None:
    assert [Role("agency"), Role("relay")] == [Role.AGENCY, Role.RELAY]  # as tables and commands name them
    plain = Party(name="a.th.example", nation="th", role=Role.AGENCY, relay="relay.th.example")
    assert (plain.title, plain.address, plain.domains, plain.log_keys, plain.witness_keys) == ("", "", (), (), ())
    assert (plain.member_from, plain.member_to) == (None, None)
