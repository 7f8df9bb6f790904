"""YAML: the same messages and refusals as JSON, and nothing guessed from how a value looks."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import report
from infoexchange import catalogue
from infoexchange.catalogue import examples, plain_yaml, text, yaml_text
from infoexchange.errors import ExchangeError, Reason

NAMES = [cls.DESCRIPTOR.name for cls in catalogue.schemas().values()]


@pytest.mark.parametrize("name", NAMES)
def test_every_example_comes_back(name):
    message = examples.message(name)
    assert yaml_text.from_yaml(name, yaml_text.to_yaml(message)) == message


@pytest.mark.parametrize("name", ["DrugSeizureReport", "MaritimeIncidentReport", "HazardReport", "TransactionSet"])
def test_other_readers_see_the_same_texts(name):
    """What another program reads with a YAML reader of its own is what JSON says, but for decimals."""
    written = yaml.safe_load(yaml_text.to_yaml(examples.message(name)))

    def kinds(value):
        if isinstance(value, dict):
            return set().union(*map(kinds, value.values())) if value else set()
        return set().union(*map(kinds, value)) if isinstance(value, list) else {type(value)}

    assert not kinds(written) - {str, int, float, bool}


SAME = [
    "NO",
    "no",
    "yes",
    "on",
    "True",
    "1:30",
    "012",
    "0x1F",
    "1_000",
    "2026-01-31",
    "1e3",
    "=",
    "12.50",
    ".5",
    "-",
    "a: b",
    "# not a comment",
    "- x",
    "a\nb",
    " a",
    "a ",
    "",
    "\u2028",
    "\x85",
    "\x00",
    "'",
    '"',
    "é\nè",
    "null",
    "~",
]


@pytest.mark.parametrize("value", SAME)
def test_a_text_stays_what_it_is(value):
    message = report()
    message.vessel.name = value
    written = yaml_text.to_yaml(message)
    assert yaml_text.draft_from_yaml("MaritimeIncidentReport", written).vessel.name == value
    assert yaml.safe_load(written).get("vessel", {}).get("name", "") == value


@pytest.mark.parametrize(
    "value", ["NO", "no", "yes", "1:30", "012", "0x1F", "1_000", "2026-01-31", "1e3", "12.50", "true"]
)
def test_a_text_needs_no_quotes(value):
    found = yaml_text.draft_from_yaml("MaritimeIncidentReport", f"vessel:\n  name: {value}\n")
    assert found.vessel.name == value


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_comes_back(value):
    message = catalogue.StatusUpdate(note=value)
    assert yaml_text.draft_from_yaml("StatusUpdate", yaml_text.to_yaml(message)) == message


@settings(max_examples=40, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-1, 30))
def test_any_decimal_comes_back(unscaled, scale):
    message = catalogue.DrugSeizureReport()
    message.estimated_value.amount.unscaled, message.estimated_value.amount.scale = unscaled, scale
    assert yaml_text.draft_from_yaml("DrugSeizureReport", yaml_text.to_yaml(message)) == message


@pytest.mark.parametrize("written", ["12.50", '"12.50"', "{unscaled: 1250, scale: 2}", '{unscaled: "1250", scale: 2}'])
def test_a_decimal_keeps_what_is_stated(written):
    found = yaml_text.draft_from_yaml("DrugSeizureReport", f"estimated_value:\n  amount: {written}\n")
    assert found.estimated_value.amount == catalogue.Decimal(unscaled=1250, scale=2)


def test_choices_by_either_name_and_newer_ones_by_number():
    for written in ("TLP_AMBER", "AMBER", '"AMBER"', "3"):
        assert yaml_text.draft_from_yaml("StatusUpdate", f"handling:\n  tlp: {written}\n").handling.tlp == 3
    message = report()
    message.outcome = 4_000
    written = yaml_text.to_yaml(message)
    assert "outcome: 4000" in written
    assert yaml_text.draft_from_yaml("MaritimeIncidentReport", written) == message


def test_what_is_left_empty_is_not_said():
    message = yaml_text.draft_from_yaml("StatusUpdate", "# a form\nhandling:\n  tlp:\nnote:  # nothing\n")
    assert message == catalogue.StatusUpdate()
    form = "vessel:\n  name:\n  imo:\narea_names:\n  - text:\n    lang:\n"
    assert yaml_text.draft_from_yaml("MaritimeIncidentReport", form) == catalogue.MaritimeIncidentReport()
    with pytest.raises(ExchangeError) as refused:
        yaml_text.draft_from_yaml("MaritimeIncidentReport", f"{form}  - text: there\n")
    assert refused.value.field == "area_names[0]"
    assert yaml_text.draft_from_yaml("StatusUpdate", "{}\n") == catalogue.StatusUpdate()


@pytest.mark.parametrize(
    ("wrong", "reason", "field"),
    [
        ("", Reason.MALFORMED, "line 1"),
        ("# nothing\n", Reason.MALFORMED, "line 1"),
        ("text\n", Reason.MALFORMED, "line 1"),
        ("- a\n", Reason.MALFORMED, "line 1"),
        ("a: &x b\n", Reason.MALFORMED, "line 1"),
        ("a: &x {b: c}\nd: *x\n", Reason.MALFORMED, "line 1"),
        ("a: *x\n", Reason.MALFORMED, "line 1"),
        ("<<: {a: b}\n", Reason.MALFORMED, "line 1"),
        ("note: a\nnote: b\n", Reason.MALFORMED, "line 2"),
        ("handling:\n  tlp: RED\n  tlp: CLEAR\n", Reason.MALFORMED, "line 3"),
        ("1: a\n", Reason.MALFORMED, "line 1"),
        ("? [a]\n: b\n", Reason.MALFORMED, "line 1"),
        ("note: !!python/object/apply:os.system [id]\n", Reason.MALFORMED, "line 1"),
        ("note: !!str a\n", Reason.MALFORMED, "line 1"),
        ("note: ! a\n", Reason.MALFORMED, "line 1"),
        ("%YAML 1.1\n---\nnote: a\n", Reason.MALFORMED, "line 1"),
        ("note: a\n---\nnote: b\n", Reason.MALFORMED, "line 2"),
        ("note: a\n...\n- b\n", Reason.MALFORMED, "line 3"),
        ("note: [a\n", Reason.MALFORMED, None),  # the two readers count otherwise
        ("note: a\n\tx: b\n", Reason.MALFORMED, None),
        ("note: \x00\n", Reason.MALFORMED, "line 1"),
        ("a: " + "[" * 40 + "]" * 40, Reason.MALFORMED, "line 1"),
        ("a: " + "[" * 100_000, Reason.MALFORMED, "line 1"),
        ("foo: 1\n", Reason.BAD_FIELD, "foo"),
        ("handling:\n  foo: 1\n", Reason.BAD_FIELD, "handling.foo"),
        ("handling: a\n", Reason.BAD_FIELD, "handling"),
        ("handling:\n  tlp: NO\n", Reason.BAD_FIELD, "handling.tlp"),
        ("handling:\n  revision: 1:30\n", Reason.BAD_FIELD, "handling.revision"),
        ("handling:\n  revision: 012\n", Reason.BAD_FIELD, "handling.revision"),
        ("handling:\n  revision: 1_000\n", Reason.BAD_FIELD, "handling.revision"),
        ("handling:\n  revision: 1.0\n", Reason.BAD_FIELD, "handling.revision"),
        ("handling:\n  revision: -1\n", Reason.BAD_FIELD, "handling.revision"),
        ("handling:\n  revision: true\n", Reason.BAD_FIELD, "handling.revision"),
        ("handling:\n  valid_until: 2026-01-31\n", Reason.BAD_FIELD, "handling.valid_until"),
        ("handling:\n  valid_until: {seconds: 1}\n", Reason.BAD_FIELD, "handling.valid_until"),
        ("handling:\n  releasable_to: SG\n", Reason.BAD_FIELD, "handling.releasable_to"),
        ("handling:\n  releasable_to:\n    -\n", Reason.BAD_FIELD, "handling.releasable_to[0]"),
        ("handling:\n  purpose: null\n", Reason.BAD_FIELD, "handling.purpose"),
        ("handling:\n  purpose: [a]\n", Reason.BAD_FIELD, "handling.purpose"),
        ("handling:\n  restrictions:\n  - kind: 1\n  - kind: X\n", Reason.BAD_FIELD, "handling.restrictions[1].kind"),
        ("handling:\n  supersedes: [not base64]\n", Reason.BAD_FIELD, "handling.supersedes"),
        ("note: a\n", Reason.RULE_BROKEN, "handling"),
    ],
)  # fmt: skip
def test_wrong_yaml_names_the_place(wrong, reason, field):
    with pytest.raises(ExchangeError) as refused:
        yaml_text.from_yaml("StatusUpdate", wrong)
    assert refused.value.reason is reason
    assert refused.value.field == field or field is None
    assert refused.value.next_step


@pytest.mark.parametrize("wrong", ["NO", "yes", "on", "True", '"true"', "1"])
def test_yes_and_no_are_true_and_false(wrong):
    written = "attachments:\n  - attachment_id: a\n    is_evidence: {}\n"
    assert yaml_text.draft_from_yaml("DrugSeizureReport", written.format("true")).attachments[0].is_evidence
    with pytest.raises(ExchangeError) as refused:
        yaml_text.draft_from_yaml("DrugSeizureReport", written.format(wrong))
    assert refused.value.field == "attachments[0].is_evidence"
    assert "line 3" in refused.value.detail


@pytest.mark.parametrize("wrong", ["1e3", "1,5", "0x1", "1:30", ".5", "1.", "1.0000000000000000001", "1" * 20, "[1]"])
def test_what_is_no_decimal(wrong):
    with pytest.raises(ExchangeError) as refused:
        yaml_text.draft_from_yaml("DrugSeizureReport", f"estimated_value:\n  amount: {wrong}\n")
    assert refused.value.field.startswith("estimated_value.amount")


def test_the_line_of_a_wrong_value_is_named():
    with pytest.raises(ExchangeError) as refused:
        yaml_text.from_yaml("StatusUpdate", "# a form\nhandling:\n  tlp: RED\n  valid_until: noon\n")
    assert (refused.value.field, refused.value.detail) == (
        "handling.valid_until",
        "the field cannot hold this value (line 4)",
    )


def test_no_content_in_errors():
    for wrong in ("note: [SECRET", "note: !SECRET a", "SECRET-: a", "handling: {tlp: SECRET}", "note: &SECRET a"):
        with pytest.raises(ExchangeError) as refused:
            yaml_text.from_yaml("StatusUpdate", wrong)
        assert "SECRET" not in str(refused.value)


def test_a_text_has_a_largest_size():
    with pytest.raises(ExchangeError) as refused:
        plain_yaml.parse("#" * (plain_yaml.LENGTH_MAX + 1))
    assert refused.value.reason is Reason.TOO_LARGE
    with pytest.raises(ExchangeError) as refused:
        plain_yaml.parse("a: [" + ",".join("b" * plain_yaml.NODES_MAX) + "]")
    assert refused.value.reason is Reason.TOO_LARGE


def test_the_slower_reader_gives_the_same(monkeypatch):
    """Where libyaml is missing, PyYAML's own reader is taken."""
    written = yaml_text.to_yaml(examples.message("DrugSeizureReport"))
    quick = plain_yaml.parse(written)
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert plain_yaml.parse(written) == quick


def test_json_and_yaml_say_the_same():
    for name in NAMES[::7]:
        message = examples.message(name)
        assert text.from_json(name, text.to_json(message)) == yaml_text.from_yaml(name, yaml_text.to_yaml(message))
