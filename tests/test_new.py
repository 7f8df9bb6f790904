"""The command `new`: forms that fit their type, and questions whose answers the rules check."""

from __future__ import annotations

import json
import os
import pty
import re
import sys

import pytest

from command_setup import infoexchange
from infoexchange import catalogue
from infoexchange.catalogue import examples, rules, template, text, yaml_text
from infoexchange.cli.form import Form

NAMES = [cls.DESCRIPTOR.name for cls in catalogue.schemas().values()]
FILLED = {
    "op_status": "EXERCISE", "precedence": "ROUTINE", "domain": "MINE_ACTION", "tlp": "GREEN",
    "onward_transfer": "FREE_WITHIN_MARKS", "purpose": "exercise", "subject_id": "EX-1", "new_state": "RELEASED",
    "utc": "2026-02-01T08:00:00+07:00",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_form_fits_its_type(name):
    form = template.template(name)
    assert yaml_text.draft_from_yaml(name, form) == template.started(name)
    opened = re.sub(r"(?m)^( *)#(?! |$)", r"\1", form)
    assert yaml_text.draft_from_yaml(name, opened) == template.started(name)
    assert len(opened.splitlines()) == len(form.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_a_form_keeps_what_is_filled_in(name):
    message = examples.message(name)
    assert yaml_text.from_yaml(name, template.template(name, message)) == message


def test_a_form_says_what_a_field_means_and_takes():
    form = template.template("MaritimeIncidentReport")
    assert "# Degrees north; south is negative. [required] number; at least -90.0; at most 90.0." in form
    assert "domain: DOMAIN_PIRACY" in form
    assert "\ntlp:" not in form  # no default, and in its place
    assert "\n  # How far it may travel. There is no default. [required] one of CLEAR, GREEN" in form
    said = " ".join(template.template("NpsAlert").replace("#", "").split())
    assert "List nps-effect-group, version" in said
    assert "Rule: a date other than UNKNOWN needs a year." in said
    assert "Exactly one of point, geometry" in template.template("DrugSeizureReport")
    assert len(template.template("Alert", short=True)) < len(template.template("Alert")) / 2


def filled(form: str) -> str:
    """The form with values behind the names that stand open."""
    for name, value in FILLED.items():
        form = re.sub(rf"(?m)^( *){name}:$", rf"\1{name}: {value}", form)
    return form


@pytest.mark.parametrize("short", [False, True])
def test_a_form_that_is_filled_in_holds(short):
    message = yaml_text.from_yaml("StatusUpdate", filled(template.template("StatusUpdate", short=short)))
    assert message.since.utc.ToJsonString() == "2026-02-01T01:00:00Z"
    with pytest.raises(Exception, match=r"handling\.tlp"):
        yaml_text.from_yaml("StatusUpdate", filled(template.template("StatusUpdate")).replace("tlp: GREEN", "tlp:"))


# The command


def test_a_form_goes_into_a_file_and_is_not_overwritten(tmp_path, capsys):
    file = tmp_path / "alert.yaml"
    assert infoexchange("new", "Alert", "--out", file) == 0
    assert "infoexchange send" in capsys.readouterr().out
    assert file.stat().st_mode & 0o777 == 0o600
    assert infoexchange("new", "Alert", "--out", file) == 1
    assert "not overwritten" in capsys.readouterr().err
    assert infoexchange("new", "Alert", "--example", "--out", tmp_path / "alert.json") == 0
    assert text.from_json("Alert", (tmp_path / "alert.json").read_text()) == examples.message("Alert")
    capsys.readouterr()
    assert infoexchange("new", "Alert", "--short", "--json") == 0
    assert json.loads(capsys.readouterr().out)["form"] == template.template("Alert", short=True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("Nothing",), 1, "infoexchange types"),
        (("Alert", "--ask"), 3, "--out"),
        (("Alert", "--ask", "--out", "x.yaml"), 3, "terminal"),
        (("Alert", "--yaml", "--out", "x.json"), 3, ".json"),
        (("Alert", "--bare", "--out", "x.yaml"), 3, ".json"),
    ],
)
def test_what_new_refuses(words, code, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert infoexchange("new", *words) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# Questions


class Person:
    """Somebody at a terminal: answers by the field asked for, else with nothing."""

    def __init__(self, answers: dict[str, list[str]]):
        self.answers, self.told, self.asked = answers, [], []
        self.saved = 0

    def ask(self, question: str) -> str:
        self.asked.append(question)
        assert len(self.asked) < 200, "it asks without end"
        waiting = self.answers.get(re.split(r"[ :]", question)[0], [])
        return waiting.pop(0) if waiting else ""

    def save(self) -> None:
        self.saved += 1


def fill(message, answers):
    person = Person({name: list(values) for name, values in answers.items()})
    Form(message, person.ask, person.told.append, person.save).fill()
    assert rules.violations(message) == []
    assert not any(person.answers.values()), "something was never asked"
    return person


MARKS = {
    f"handling.{name}": [FILLED[name]] for name in ("op_status", "precedence", "tlp", "onward_transfer", "purpose")
}


def test_questions_lead_to_a_message_that_holds():
    message = template.started("StatusUpdate")
    person = fill(message, MARKS | {
        "handling.domain": ["?", "WEATHER", "MINE_ACTION"], "subject_id": ["", "EX-1"], "new_state": ["RELEASED"],
        "since.utc": ["noon", "2026-02-01T08:00:00+07:00"],
        "information_ref": ["ab", "ab" * 32], "Anything": ["information_ref", "?"],
    })  # fmt: skip
    assert message.information_ref == b"\xab" * 32
    assert (message.subject_id, message.handling.domain) == ("EX-1", catalogue.DOMAIN_MINE_ACTION)
    told = "\n".join(person.told)
    for said in (
        "Humanitarian mine action",
        "It is required.",
        "there is no such value",
        "Fields: handling, subject_id",
    ):
        assert said in told
    assert person.saved == 10


def test_an_answer_that_a_rule_refuses_is_asked_again():
    message = template.started("MaritimeIncidentReport")
    person = fill(message, MARKS | {
        "incident_id": ["E-1"], "report_no": ["1"], "stage": ["INITIAL"], "More?": ["imo"],
        "vessel.imo": ["9074728", "9074729"], "occurred_at.utc": ["2026-02-01T08:00:00Z"],
        "position.latitude": ["95", "1.25"], "position.longitude": ["104.5"], "legal_class": ["UNDETERMINED"],
        "outcome": ["OTHER"], "ship_status": ["ANCHORED"], "report_time.utc": ["2026-02-01T09:00:00Z"],
        "Anything": ["outcome_text"], "outcome_text": ["drifted"],
    })  # fmt: skip
    told = "\n".join(person.told)
    assert "vessel.imo: the last digit does not fit the other six." in told
    assert "position.latitude: " in told
    assert "outcome_text: " in told  # the rule over two fields, at the end
    assert (message.vessel.imo, message.position.latitude) == ("9074729", 1.25)


def test_lists_parts_choices_and_codes():
    message = template.started("DrugSeizureReport")
    person = fill(message, MARKS | {
        "seizure_id": ["E-1"], "seized_at.kind": ["EXACT"], "agency": ["EXERCISE Customs"],
        "seized_at.year": ["2026"], "More?": ["year"],
        "place.place": ["nowhere", "un_locode"], "place.un_locode": ["SGSIN"],
        "items[0].substance.name": ["heroin"], "items[0].quantity.amount": ["12.50"],
        "items[0].quantity.unit.system": ["drug-unit"], "items[0].quantity.unit.version": ["2026-11"],
        "items[0].quantity.unit.value": ["GRAM"], "items[0].lab_confirmed": ["yes", "true"],
        "Another": ["no"],
    })  # fmt: skip
    [item] = message.items
    assert item.quantity.amount == catalogue.Decimal(unscaled=1250, scale=2)
    assert item.local_id == "items-0"
    assert item.lab_confirmed
    assert "Write true or false" in "\n".join(person.told)


def test_at_a_terminal_it_saves_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """Half of the answers, then no more; the other half in a second run."""
    file = tmp_path / "update.yaml"
    first = [FILLED[name] for name in ("op_status", "precedence", "domain", "tlp")]
    rest = [FILLED[name] for name in ("onward_transfer", "purpose", "subject_id", "new_state", "utc")]
    assert at_terminal(monkeypatch, file, [*first, END]) == 130
    kept = yaml_text.draft_from_yaml("StatusUpdate", file.read_text())
    assert (kept.handling.tlp, kept.subject_id) == (catalogue.TLP_GREEN, "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert at_terminal(monkeypatch, file, [*rest, "", "", END]) == 0
    assert yaml_text.from_yaml("StatusUpdate", file.read_text()).new_state == "RELEASED"


END = "\x04"  # what Ctrl-D sends


def at_terminal(monkeypatch, file, answers):
    """Run the command with somebody at a terminal who answers."""
    ours, theirs = pty.openpty()
    os.write(ours, "".join(answer if answer == END else f"{answer}\n" for answer in answers).encode())
    with os.fdopen(theirs) as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", terminal)
        code = infoexchange("new", "StatusUpdate", "--ask", "--out", file)
    os.close(ours)
    return code
