"""The commands `import` and `export`: files of others become lines of messages with a report, and go back again."""

from __future__ import annotations

import csv
import json
import os
import pty

import pytest

from catalogue_messages import report
from command_setup import infoexchange
from infoexchange.catalogue import examples, lines, text
from infoexchange.errors import ExchangeError, Reason
from test_bridges import shared

MARKS = ("--op-status", "EXERCISE", "--tlp", "AMBER", "--pap", "AMBER", "--purpose", "joint exercise")
EXAMPLES = {
    "piracy": "piracy.csv", "seizures": "seizures.csv", "eore": "eore.csv", "asam": "asam.json",
    "stix": "indicators.stix.json",
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in EXAMPLES.values():
        (tmp_path / name).write_bytes(examples.read(name))
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command; return its exit code, standard output and standard error."""

    def done(*words):
        capsys.readouterr()
        code = infoexchange(*words)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return done


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_file_goes_in_and_out(run, here, name):
    code, out, err = run("import", name, EXAMPLES[name], *MARKS, "--out", "in.jsonl", "--json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert data["messages"] == data["written"] > 0
    assert data["broken"] == 0
    assert data["notes"] == sum(group["times"] for group in data["noted"])
    found = list(lines.from_lines((here / "in.jsonl").read_bytes()))
    assert len(found) == data["written"]
    assert {message.handling.purpose for message in found} == {"joint exercise"}
    code, out, err = run("export", name, "in.jsonl", "--out", "back", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["messages"] == len(found)
    code, _, _ = run("import", name, "back", *MARKS, "--out", "again.jsonl")
    again = list(lines.from_lines((here / "again.jsonl").read_bytes()))
    for one, other in zip(found, again, strict=True):
        for message in (one, other):  # what depends on the second of the run
            message.handling.ClearField("valid_until")
            if name in {"piracy", "asam"}:
                message.ClearField("report_time")
    assert again == found


def test_one_message_may_be_a_file_of_its_own(run, here):
    assert run("import", "stix", "indicators.stix.json", *MARKS, "--out", "in.yaml")[0] == 0
    assert run("export", "stix", "in.yaml", "--type", "IndicatorSet", "--out", "back.json")[0] == 0
    assert json.loads((here / "back.json").read_bytes())["type"] == "bundle"
    code, _, err = run("import", "piracy", "piracy.csv", *MARKS, "--out", "in.json")
    assert code == 3
    assert "8 messages" in err
    assert not (here / "in.json").exists()


def test_a_single_message_that_breaks_a_rule_is_told_so(run, here):
    head, first, *_ = (here / "eore.csv").read_text().splitlines(keepends=True)
    (here / "eore.csv").write_text(head + first.replace(",31,", ",some,"))
    code, out, _ = run("import", "eore", "eore.csv", *MARKS, "--out", "in.json", "--report", "report.csv")
    assert code == 1
    assert "0 where there were none" in out
    assert "1 messages read; 1 break a rule; 1 notes." in out
    assert "No message was written." in out
    assert (here / "report.csv").exists()


def test_a_report_of_hostile_names_is_run_by_no_spreadsheet(run, here):
    names = ["=1", "@1", "+1", "-1", "＝1", "＋1"]
    (here / "piracy.csv").write_text(f"date,longitude,latitude,attack_type,{','.join(names)}\n")
    run("import", "piracy", "piracy.csv", *MARKS, "--report", "report.csv")
    rows = csv.DictReader((here / "report.csv").read_text().splitlines())
    assert [row["field"] for row in rows] == [f"'{name}" for name in names]


def test_a_person_is_told_what_was_noted_and_left_out(run, here):
    head, first, *rest = (here / "eore.csv").read_text().splitlines(keepends=True)
    (here / "eore.csv").write_text("".join([head, first.replace(",31,", ",some,"), *rest, rest[0].replace("145", "x")]))
    code, out, _ = run("import", "eore", "eore.csv", *MARKS, "--out", "in.jsonl", "--report", "report.csv")
    assert code == 1
    assert "4 messages read; 1 break a rule; 3 notes." in out
    assert "3 messages are written to in.jsonl." in out
    rows = list(csv.DictReader((here / "report.csv").read_text().splitlines()))
    assert [(row["place"], row["field"]) for row in rows] == [
        ("line 2", "boys_5_12"), ("line 6", "first_time"), ("line 6", "report_id"),
        ("message 1", "beneficiaries.male_5_to_12"),
    ]  # fmt: skip
    assert "0 where there were none" in rows[-1]["detail"]
    code, out, _ = run("import", "eore", "eore.csv", *MARKS, "--out", "drafts.jsonl", "--drafts")
    assert code == 1
    assert len((here / "drafts.jsonl").read_text().splitlines()) == 4


def test_nothing_is_written_without_a_place_for_it(run, here):
    before = sorted(here.iterdir())
    code, out, _ = run("import", "piracy", "piracy.csv", *MARKS)
    assert code == 0
    assert "No message was written." in out
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(("words", "code", "said"), [
    (("import", "piracy", "piracy.csv"), 3, "--op-status and --tlp and --purpose"),
    (("import", "pdf", "piracy.csv", *MARKS), 3, "invalid choice"),
    (("import", "piracy", "absent.csv", *MARKS), 1, "absent.csv"),
    (("import", "piracy", "eore.csv", *MARKS), 1, "columns missing"),
    (("import", "piracy", "eore.csv", *MARKS), 1, "looks like the format eore;"),
    (("import", "misp", "indicators.stix.json", *MARKS), 1, "looks like the format stix;"),
    (("import", "piracy", "eore.jsonl", *MARKS), 1, "in the format piracy: table of attacks on ships"),
    (("import", "piracy", "piracy.csv", *MARKS, "--out", "in.txt"), 3, ".jsonl"),
    (("import", "piracy", "piracy.csv", *MARKS, "--out", "eore.jsonl"), 1, "is not overwritten"),
    (("import", "piracy", "piracy.csv", *MARKS, "--out", "eore.jsonl", "--report", "x"), 1, "is not overwritten"),
    (("export", "piracy", "piracy.csv", "--out", "x"), 3, "--type"),
    (("export", "piracy", "eore.jsonl", "--out", "x"), 1, "eore.jsonl: line 1"),
    (("export", "piracy", "eore.jsonl", "--type", "EoreReport", "--out", "x"), 3, "--type"),
    (("export", "eore", "one.json", "--type", "MaritimeIncidentReport", "--out", "x"), 1, "schema"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(run, here, words, code, said):
    (here / "eore.jsonl").write_text("{}\n")
    (here / "one.json").write_text(text.to_json(report()))
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (here / "x").exists()


def test_red_leaves_only_when_somebody_says_so(run, here):
    message = report()
    message.handling.tlp = 5
    (here / "red.json").write_text(text.to_json(message))
    words = ("export", "piracy", "red.json", "--type", "MaritimeIncidentReport", "--out", "x.csv")
    assert run(*words)[0] == 1
    assert run(*words, "--allow-red")[0] == 0
    assert "TLP:RED" in (here / "x.csv").read_text()


def test_the_shared_region_is_imported(run, here):
    (here / "region.csv").write_bytes(shared("piracy/pirate_attacks_region_60.csv"))
    code, out, _ = run("import", "piracy", "region.csv", *MARKS, "--out", "in.jsonl", "--json")
    assert code == 0
    assert json.loads(out)["written"] == 60
    code, _, _ = run("export", "piracy-xlsx", "in.jsonl", "--out", "region.xlsx")
    assert code == 0
    code, out, _ = run("import", "piracy", "region.xlsx", *MARKS, "--json")
    assert json.loads(out)["messages"] == 60


def test_progress_is_shown_on_a_terminal(run, here, monkeypatch):
    """A bar is drawn and taken away; what is printed for others stays the same."""
    head, *rows = (here / "piracy.csv").read_text().splitlines(keepends=True)
    (here / "many.csv").write_text(head + "".join(rows) * 20)
    above, below = pty.openpty()
    with os.fdopen(below, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        infoexchange("import", "piracy", "many.csv", *MARKS)
        terminal.flush()
        drawn = os.read(above, 100_000)
    os.close(above)
    assert b"reading and checking" in drawn


@pytest.mark.parametrize(("data", "field", "reason"), [
    (b"{", "line 1", Reason.MALFORMED), (b"\n[]\n", "line 2", Reason.MALFORMED), (b"\xff", "line 1", Reason.MALFORMED),
    (b'{"type": "EoreReport"}', "line 1", Reason.MALFORMED),
    (b'{"type": 7, "message": {}}', "line 1", Reason.MALFORMED),
    (b'{"type": "Nothing", "message": {}}', "line 1: schema", Reason.UNKNOWN_VERSION),
    (b'{"type": "EoreReport", "message": {"x": 1}}', "line 1: x", Reason.BAD_FIELD),
    (b'{"type": "EoreReport", "message": []}', "line 1", Reason.MALFORMED),
    (b'{"type": "EoreReport", "message": {}}', "line 1: handling", Reason.RULE_BROKEN),
    (b'{"type": "EoreReport", "message": {"org": "\\ud800"}}', "line 1: org", Reason.BAD_FIELD),
    (b'{"type": "EoreReport", "message": {}, "type": "EoreReport"}', "line 1", Reason.MALFORMED),
    (b'{"type": "EoreReport", "message": ' + b'{"a":' * 5000, "line 1", Reason.MALFORMED),
])  # fmt: skip
def test_lines_that_are_no_messages_name_their_place(data, field, reason):
    with pytest.raises(ExchangeError) as refused:
        list(lines.from_lines(data))
    assert (refused.value.field, refused.value.reason) == (field, reason)


def test_an_export_speaks_of_no_loss_of_reading(run, here):
    (here / "one.json").write_text(text.to_json(examples.message("PersonNotice")))
    _, out, _ = run("export", "ftm", "one.json", "--type", "PersonNotice", "--out", "x", "--allow-red")
    assert "Written:" in out
    assert "Read" not in out
