"""Marks in MISP: as tags of the event they survive, or the event is refused."""

from __future__ import annotations

import json

import pytest

from catalogue_messages import indicators
from infoexchange.catalogue import Handling, Tlp
from infoexchange.errors import Reason, RefusedError
from test_misp import EXAMPLE, MISP, NOW, attribute, event, marked, named, number, read


def test_marks_are_tags_of_the_event():
    message = indicators()
    message.handling.tlp = Tlp.TLP_AMBER_STRICT
    message.handling.restrictions.add(kind=4, text='Not for "the press"')
    message.handling.source_reliability, message.handling.info_credibility = 2, 3
    out = MISP.write([message], now=NOW)
    tags = [tag["name"] for tag in json.loads(out)["Event"]["Tag"]]
    assert {
        "tlp:amber+strict",
        "PAP:AMBER",
        'infoexchange:mark="OP_STATUS:EXERCISE"',
        'infoexchange:mark="RESTRICTION:OTHER:Not for "the press""',
        'admiralty-scale:source-reliability="b"',
        'admiralty-scale:information-credibility="3"',
    } <= set(tags)
    (again,), notes = read(out, Handling(precedence=1, domain=8, purpose="exercise"))
    again.handling.valid_until.CopyFrom(message.handling.valid_until)
    assert (again, notes) == (message, [])


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda m: m.releasable_to.append("STATE:SG"), "handling.releasable_to"),
        (lambda m: m.restrictions.add(kind=4, text="x" * 256), "handling.restrictions"),
        (lambda m: m.restrictions.add(kind=4, text="two\nlines"), "handling.restrictions"),
        (lambda m: setattr(m, "tlp", 5), "handling.tlp"),
    ],
)
def test_a_mark_that_an_event_cannot_carry_is_refused(spoil, field):
    message = indicators()
    spoil(message.handling)
    with pytest.raises(RefusedError) as refused:
        MISP.write([message], now=NOW)
    assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, field)


def test_red_leaves_where_a_person_says_so():
    message = indicators()
    message.handling.tlp = Tlp.TLP_RED
    (again,), _ = read(MISP.write([message], now=NOW, allow_red=True), marked(tlp=0))
    assert again.handling.tlp == Tlp.TLP_RED


@pytest.mark.parametrize("weaker", [{"tlp": 2}, {"pap": 1}, {"op_status": 1}])
def test_weaker_marks_than_the_events_are_refused(weaker):
    with pytest.raises(RefusedError) as refused:
        read(EXAMPLE, marked(**weaker))
    assert refused.value.reason is Reason.MARK_LOST


@pytest.mark.parametrize(
    ("tag", "changed", "field"),
    [
        ("tlp:red", {}, "handling.tlp"),
        ("TLP:AMBER+STRICT", {}, "handling.tlp"),
        ("PAP:RED", {}, "handling.pap"),
        ('exercise:generic="comcheck"', {"op_status": 1}, "handling.op_status"),
    ],
)
def test_a_stricter_tag_of_one_attribute_counts_for_all(tag, changed, field):
    for found in (event(attribute(Tag=named(tag))), event(attribute(), Tag=named(tag))):
        with pytest.raises(RefusedError) as refused:
            read(found, marked(**changed))
        assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, field)


def test_a_refusal_says_which_of_several_events_is_meant():
    with pytest.raises(RefusedError) as refused:
        read([event(attribute()), event(attribute(), EventReport=[{"content": "", "Tag": named("tlp:red")}])])
    assert refused.value.field == "[1].Event: handling.tlp"


def test_more_marks_than_anybody_can_mean_are_refused():
    names = [f"retention:{index}" for index in range(1001)]
    with pytest.raises(RefusedError) as refused:
        read(event(attribute(), Tag=named(*names)))
    assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, "handling.restrictions")
    read(event(attribute(), Tag=named(*names[1:])))


def test_conditions_without_a_mark_of_ours_become_restrictions():
    names = ("tlp:ex:chr", 'retention:expired="1d"', "PAP:WHITE", "tlp:white")
    (found,), notes = read(event(attribute(), Tag=named(*names)))
    assert [one.text for one in found.handling.restrictions] == ["tlp:ex:chr", 'retention:expired="1d"']
    assert notes == []


def test_a_less_strict_attribute_keeps_its_mark():
    (found,), _ = read(event(attribute(Tag=named("tlp:green")), attribute(uuid=number(2)), Tag=named("tlp:amber")))
    assert [one.tlp for one in found.indicators] == [Tlp.TLP_GREEN, Tlp.TLP_UNSPECIFIED]


def test_gradings_of_the_caller_stand():
    tags = named('admiralty-scale:source-reliability="a"', 'admiralty-scale:information-credibility="9"')
    (found,), notes = read(event(attribute(), Tag=tags), marked(source_reliability=4))
    assert found.handling.source_reliability == 4
    assert [note.field for note in notes] == ["Tag", "Tag"]


def test_thousands_of_techniques_take_no_hours():
    names = [f'misp-galaxy:mitre-attack-pattern="x T{index % 10000:04}.{index // 10000:03}"' for index in range(30_000)]
    (found,), _ = read(event(attribute(), Tag=named('rsit:fraud="phishing"', *names, *names[:9])))
    assert len(found.attack_techniques) == 30_000
