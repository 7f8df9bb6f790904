"""The FollowTheMoney bridge and files that somebody damaged or made up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling
from infoexchange.bridges.ftm import entities
from infoexchange.catalogue import (
    examples,
    strict_json,
)
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from test_bridges import NOW
from test_ftm import EXAMPLE, FTM, entity, lines, read

# Hostile files

OWN = {"marks": ["TLP:AMBER"], "message": "m"}
HEAD = entity("h", "Note", name="x") | {"infoexchange": OWN | {"type": "TransactionSet"}}


@pytest.mark.parametrize(
    ("data", "reason", "field"),
    [
        (b"", Reason.MALFORMED, "line 1"),
        (b"[]", Reason.MALFORMED, "line 1"),
        (b"{}\n", Reason.MALFORMED, "line 1"),
        (lines(entity("a", "Person")) + b"\xff", Reason.MALFORMED, "line 2"),
        (lines(entity("a", "Person")) + b'{"id"', Reason.MALFORMED, "line 2"),
        (b'[{"id":\n"a"', Reason.MALFORMED, "line 2"),
        (b'{"id": "a", "id": "b", "schema": "Person", "properties": {}}', Reason.MALFORMED, "line 1"),
        (b"[" * 100_000, Reason.MALFORMED, "line 1"),
        (b'{"id": NaN}', Reason.MALFORMED, "line 1"),
        (b'{"id": ' + b"9" * 5000 + b"}", Reason.MALFORMED, "line 1"),
        (lines({"id": 7, "schema": "Person", "properties": {}}), Reason.BAD_FIELD, "line 1: id"),
        (lines(entity("a", "Person", name=7)), Reason.BAD_FIELD, "line 1: name"),
        (lines(entity("a", "Person", name="\ud800")), Reason.BAD_FIELD, "line 1: name"),
        (lines({"id": "a", "schema": "Person", "properties": []}), Reason.BAD_FIELD, "line 1"),
        (lines(entity("a", "Person"), entity("a", "Vessel")), Reason.BAD_FIELD, "line 2: id"),
        (lines(HEAD | {"infoexchange": {"message": "m"}}), Reason.BAD_FIELD, "line 1: infoexchange"),
        (lines(HEAD | {"infoexchange": OWN | {"type": 7}}), Reason.BAD_FIELD, "line 1: infoexchange"),
        (lines(HEAD | {"infoexchange": OWN | {"new": "x"}}), Reason.BAD_FIELD, "line 1: infoexchange"),
        (lines(HEAD | {"infoexchange": OWN | {"type": "SealedIdentity"}}), Reason.BAD_FIELD, "line 1: infoexchange"),
        (lines(HEAD, HEAD | {"id": "i"}), Reason.BAD_FIELD, "line 2: infoexchange"),
        (lines(HEAD, entity("i", "Person") | {"infoexchange": OWN}), Reason.BAD_FIELD, "line 2: infoexchange"),
        (lines(HEAD, entity("i", "Vessel") | {"infoexchange": OWN | {"field": "persons"}}), Reason.BAD_FIELD,
         "line 2: infoexchange"),
    ],
)  # fmt: skip
def test_a_damaged_file_names_the_line(data, reason, field):
    with pytest.raises(MalformedError) as refused:
        read(data)
    assert (refused.value.reason, refused.value.field) == (reason, field)


@pytest.mark.parametrize(
    "rest",
    [
        {"handling": {"tlp": 1}},
        {"persons": []},
        {"nothing": 1},
        {"subject": 7},
        {"reason": {"a": 1}},
        {"\ud800": 1},
        {"subject": "\ud800"},
    ],
)
def test_our_key_cannot_say_what_is_not_its_own(rest):
    head = HEAD | {"infoexchange": OWN | {"type": "TransactionSet", "rest": rest}}
    with pytest.raises(MalformedError) as refused:
        read(lines(head))
    assert refused.value.reason is Reason.BAD_FIELD


def test_nesting_and_numbers_are_bounded(monkeypatch):
    deep = entity("x0", "Person", name="Example")
    for number in range(1, 12):
        deep = entity(f"x{number}", "Person", name=deep)
    with pytest.raises(MalformedError):
        read(lines(deep))
    monkeypatch.setattr(entities, "_ENTITIES_MAX", 2)
    with pytest.raises(RefusedError) as refused:
        read(lines(*EXAMPLE[:3]))
    assert refused.value.reason is Reason.TOO_LARGE
    monkeypatch.setattr(strict_json, "SIZE_MAX", 10)
    with pytest.raises(RefusedError) as refused:
        read(lines(*EXAMPLE[:1]))
    assert refused.value.reason is Reason.TOO_LARGE


def test_a_flipped_or_cut_file_gives_messages_or_a_typed_error():
    data = FTM.write([examples.message("PersonNotice")], now=NOW)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, len(data) - 1), st.integers(0, 7), st.booleans())
    def holds(place, bit, cut):
        spoilt = data[:place] if cut else data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        try:
            for message in FTM.read(spoilt, handling(domain=0, tlp=5, pap=4), now=NOW):
                message.SerializeToString()
        except ExchangeError:
            pass

    holds()


@pytest.mark.parametrize("keyword", ["TLP:AMBER_STRICT", "tlp:amber strict", "TLP: RED", "TLP:ROT", "op_status:actual"])
def test_a_mark_among_keywords_counts_however_it_is_written(keyword):
    with pytest.raises(RefusedError) as refused:
        read(lines(entity("a", "Person", name="Exercise Person", keywords=keyword)), handling(domain=0, tlp=3))
    assert refused.value.reason is Reason.MARK_LOST


def test_many_things_tied_to_one_another_take_no_hours():
    count = 3000
    fleet = [entity(f"v{index}", "Vessel", name=f"MV {index}", owner="a") for index in range(count)]
    accounts = [entity(f"k{index}", "BankAccount", accountNumber=str(index)) for index in range(count)]
    owned = [entity(f"o{index}", "Ownership", owner="a", asset=f"k{index}") for index in range(count)]
    read(lines(entity("a", "Person", name="Exercise Owner"), *fleet, *accounts, *owned))


def test_a_person_of_many_addresses_keeps_as_many_as_a_message_takes():
    places = [entity(f"p{index}", "Address", city=f"Town {index}") for index in range(60)]
    person = entity("a", "Person", name="Exercise Person", addressEntity=[place["id"] for place in places])
    found, notes = read(lines(person, *places))
    assert len(found[0].persons[0].addresses) == 50
    assert ("addressEntity", "more than 50: the others are left out") in [note[1:] for note in notes]
