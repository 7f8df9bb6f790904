"""The commands of an agency on real relays: send, receive, prove; and one line for every kind of bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import mailing
from catalogue_messages import request, response
from flowing import request as asked_long_ago
from infoexchange.catalogue import examples, marks, text, yaml_text
from infoexchange.cli.receive import inbox_of
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.evidence import Evidence
from infoexchange.home import Home
from mailing import (
    CERT,
    CSV,
    CUT,
    JSON,
    MARKS,
    PEER,
    RELAY,
    SECRET,
    SENDER,
    SOUR,
    WATCH,
    arrived,
    outbox,
    receive,
    send,
)
from patience import attempts

# Fixtures.
sites, here, run, failing = mailing.sites, mailing.here, mailing.run, mailing.failing


# What is promised


def test_a_message_goes_all_the_way(run, sites, tmp_path):
    digest = send(run, CERT, WATCH)
    for name in (CERT, WATCH):
        assert arrived(run, name, digest) == [digest]
        folder = inbox_of(Path(name), bytes.fromhex(digest))
        modes = {p.relative_to(name).name: p.stat().st_mode & 0o777 for p in (folder.parent, folder, *folder.iterdir())}
        assert modes == {"inbox": 0o700, digest: 0o700, "envelope.bin": 0o600, "message.json": 0o600}
        assert text.from_json("RequestForInformation", (folder / "message.json").read_text()) == request()
        assert Envelope.parse((folder / "envelope.bin").read_bytes()).digest.hex() == digest
        assert receive(run, name) == NOTHING
    code, out, _ = run("receipts", digest.upper(), "--home", SENDER, "--json")
    events = json.loads(out)["events"]
    assert (code, json.loads(out)["id"]) == (0, digest)
    assert f"{RELAY} accepted it from {SENDER}" in [event["what"] for event in events]
    for name in (CERT, WATCH):
        assert f"{name} stated, signed, that it was opened" in [event["what"] for event in events]
    code, out, _ = run("receipts", digest, "--home", CERT)
    assert (code, out.splitlines()[0].split()) == (0, ["logged", "what", "entry"])


def test_a_form_in_yaml_is_filled_in_sent_and_written_out_again(run, tmp_path):
    form = tmp_path / "form.yaml"
    assert run("new", "RequestForInformation", "--short", "--out", form)[0] == 0
    form.write_text(form.read_text().partition("\nhandling:")[0] + "\n" + yaml_text.to_yaml(request()))
    digest = send(run, CERT, file=form)
    assert digest in arrived(run, CERT, digest)
    assert run("archive", "open", digest, "--home", CERT, "--out", tmp_path / "came.yaml")[0] == 0
    assert yaml_text.from_yaml("RequestForInformation", (tmp_path / "came.yaml").read_text()) == request()


def test_a_mistake_in_yaml_is_named_by_file_field_and_line(failing, tmp_path):
    (tmp_path / "form.yaml").write_text("handling:\n  tlp: PINK\n")
    line = failing(1, "send", tmp_path / "form.yaml", *JSON, "--home", SENDER, "--to", CERT)
    assert "form.yaml: handling.tlp: there is no such value (line 2)." in line
    assert "AMBER_STRICT" in line


def test_both_sides_make_evidence_that_holds(run, failing, tmp_path):
    digest = send(run, CERT)
    assert digest in arrived(run, CERT, digest)
    for home, *sealed in ((SENDER,), (CERT,), (SENDER, "--sealed")):
        for attempt in attempts():  # witnesses come round every second
            file = tmp_path / f"{home}{len(sealed)}-{attempt}.ixev"
            code, out, err = run("evidence", "make", digest, "--home", home, "--out", file, *sealed)
            assert (code, err) == (0, "")
            code, found, _ = run("evidence", "verify", file, "--roots", "roots.pb", "--json")
            checks = json.loads(found)["checks"]
            still_open = {check["name"] for check in checks if check["verdict"] == "INDETERMINATE"}
            if code != 2:
                break
        assert (code, still_open) == (0, set())
        assert f"infoexchange evidence verify {file} --roots" in out
        assert (Evidence.parse(file.read_bytes()).envelope is None) == bool(sealed)
        kept = file.read_bytes()
        assert "not overwritten" in failing(1, "evidence", "make", digest, "--home", home, "--out", file)
        assert file.read_bytes() == kept
    key = Path(SENDER) / "identity.key"
    before = key.read_bytes()
    assert "not overwritten" in failing(1, "evidence", "make", digest, "--home", SENDER, "--out", key)
    assert key.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "file", "count"), [("stix", "stix.json", 1), ("misp", "misp.json", 1), ("piracy", "piracy.csv", 8)]
)
def test_files_of_other_formats_are_sent_under_marks(run, name, file, count):
    words = ("send", file, "--home", SENDER, "--to", WATCH, "--format", name, *MARKS, "--suite", "HYBRID-KEM")
    code, out, err = run(*words, "--json")
    sent = json.loads(out)
    assert (code, err, sent["sent"], sent["waiting"], sent["earlier"]) == (0, "", count, 0, [])
    assert {message["problem"] for message in sent["messages"]} == {""}
    ids = [message["id"] for message in sent["messages"]]
    came = arrived(run, WATCH, *ids)
    assert [digest for digest in came if digest in ids] == ids  # in the order of the file
    for digest in ids:
        kept = json.loads((inbox_of(Path(WATCH), bytes.fromhex(digest)) / "message.json").read_text())
        assert kept["handling"]["op_status"] == "OP_STATUS_EXERCISE"
    code, out, _ = run(*words)
    assert (code, out.splitlines()[-1]) == (0, f"{count} of {count} messages are durable at the relay and logged.")
    assert "note:" in out or not sent["notes"]


def test_show_hides_personal_data(run):
    words = ("send", "four.csv", "--home", SENDER, "--to", CERT, *CSV, *MARKS, "--suite", "HYBRID-KEM")
    for as_json in ((), ("--json",)):
        arrived(run, CERT)
        assert run(*words)[0] == 0
        out = ""
        while "MaritimeIncidentReport" not in out:
            code, out, _ = run("receive", "--home", CERT, "--show", *as_json)
            assert code == 0
        assert SECRET not in out
        assert marks.REDACTED in out
        assert "MV Exercise" in out
    kept = [file.read_text() for file in Path(CERT, "inbox").rglob("message.json")]
    assert any(SECRET in one for one in kept)  # hidden on the screen, not from the agency


def test_a_group_and_a_second_recipient_do_not_double(run):
    digest = send(run, "everyone", CUT)
    assert arrived(run, CUT, digest).count(digest) == 1


def test_a_shared_key_serves_by_itself(run):
    code, out, err = run("share", CUT, "--home", SENDER, "--json")
    assert (code, err, json.loads(out)["sent"]) == (0, "", 1)
    [shared] = json.loads(out)["agencies"]
    for _ in attempts():
        assert receive(run, CUT) == NOTHING  # nothing is shown to the agency
        with Home.open(Path(CUT)).spool() as spool:
            if spool.keks():
                break
    digest = send(run, CUT)
    assert digest in arrived(run, CUT, digest)
    raw = (inbox_of(Path(CUT), bytes.fromhex(digest)) / "envelope.bin").read_bytes()
    assert len(Envelope.parse(raw).manifest.epoch_wraps) == 1
    assert shared["message"] != digest


def test_blind_recipients_are_not_shown_to_one_another(run):
    digest = send(run, CERT, WATCH, options=["--blind"])
    for name, other in ((CERT, WATCH), (WATCH, CERT)):
        assert digest in arrived(run, name, digest)
        assert other.encode() not in (inbox_of(Path(name), bytes.fromhex(digest)) / "envelope.bin").read_bytes()


# Bad input

NOTHING = {"messages": [], "refused": [], "unsaved": [], "waiting": 0, "overdue": 0}
EMPTY_BUNDLE = '{"type": "bundle", "id": "bundle--36d5bf34-c578-5682-b282-634719c6887b", "objects": []}'
BROKEN = {
    "missing": None,
    "rule": text.to_json(request()).replace('"Who owns it?"', '""'),
    "unknown-field": text.to_json(request()).replace('"background"', '"bakground"'),
    "not-json": '{"handling": ',
    "not-utf8": text.to_json(request()).encode().replace(b"Seen", b"S\xff\xfen"),
    "empty": "",
    "empty-bundle": EMPTY_BUNDLE,
    "only-heading": examples.read("piracy.csv").partition(b"\n")[0],
    "alert.xml": examples.read("alert.cap.xml"),
}
# File, options, exit code, words of the one line.
BAD = {
    "missing file": ("missing", JSON, 1, "no such file"),
    "folder": (SENDER, JSON, 1, "Name a file"),
    "broken rule": ("rule", JSON, 1, "rule: questions[0].text"),
    "unknown field": ("unknown-field", JSON, 1, "unknown-field: bakground"),
    "not JSON": ("not-json", JSON, 1, "not-json: line 1"),
    "not UTF-8": ("not-utf8", JSON, 1, "UTF-8"),
    "empty file": ("empty", JSON, 1, "empty"),
    "unknown type": ("message.json", ("--type", "RequestForMoney"), 1, "infoexchange types"),
    "other type": ("message.json", ("--type", "MaritimeIncidentReport"), 1, "message.json"),
    "no type": ("message.json", (), 3, "--type"),
    "type and format": ("piracy.csv", (*JSON, *CSV, *MARKS), 3, "--format"),
    "unknown format": ("piracy.csv", ("--format", "pdf", *MARKS), 3, "stix"),
    "no op-status": ("piracy.csv", (*CSV, *MARKS[2:]), 3, "--op-status"),
    "no marks": ("piracy.csv", CSV, 3, "--op-status and --tlp and --purpose"),
    "marks beside JSON": ("message.json", (*JSON, "--op-status", "TEST"), 3, "--op-status"),
    "validity of no days": ("piracy.csv", (*CSV, *MARKS, "--valid-days", "0"), 3, "1 to 3650"),
    "validity beyond time": ("piracy.csv", (*CSV, *MARKS, "--valid-days", "9" * 30), 3, "1 to 3650"),
    "lifetime too long": ("message.json", (*JSON, "--lifetime", "91"), 3, "1 to 90"),
    "lifetime no number": ("message.json", (*JSON, "--lifetime", "²"), 3, "1 to 90"),
    "purpose no text": ("piracy.csv", (*CSV, *MARKS[:-1], "\udcff"), 3, "UTF-8"),
    "weaker marks": ("stix.json", ("--format", "stix", "--tlp", "CLEAR", *MARKS[:2], *MARKS[4:]), 1, "stix.json"),
    "as ACTUAL": ("stix.json", ("--format", "stix", "--op-status", "ACTUAL", *MARKS[2:]), 1, "EXERCISE"),
    "other format": ("piracy.csv", ("--format", "stix", *MARKS), 1, "piracy.csv"),
    "nothing in it": ("only-heading", (*CSV, *MARKS), 1, "no message"),
    "alert of no domain": ("alert.xml", ("--format", "cap", *MARKS), 1, "handling.domain"),
    "empty bundle": ("empty-bundle", ("--format", "stix", *MARKS), 1, "indicators"),
    "unknown recipient": ("message.json", (*JSON, "--to", "desk.nobody.xb.example"), 1, "desk.nobody.xb.example"),
    "unknown recipient of many": ("piracy.csv", (*CSV, *MARKS, "--to", "desk.nobody.xb.example"), 1, "8 messages not"),
    "unknown group": ("message.json", (*JSON, "--to", "nobody"), 1, "nobody"),
    "nobody": ("message.json", (*JSON, "--to", ""), 1, "directory"),
    "a relay": ("message.json", (*JSON, "--to", PEER), 1, PEER),
    "home that is not there": ("message.json", (*JSON, "--home", "nowhere"), 1, "keygen"),
    "home that is a file": ("message.json", (*JSON, "--home", "piracy.csv"), 1, "piracy.csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_sends_nothing(failing, monkeypatch, tmp_path, case):
    file, options, code, words = BAD[case]
    if file in BROKEN:
        content = BROKEN[file]
        file = str(tmp_path / file)
        if content is not None:
            Path(file).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = outbox()
    line = failing(code, "send", file, "--home", SENDER, "--to", CERT, *options)
    assert words in line
    assert outbox() == before


MORE = {
    "short id": (1, "64 hexadecimal", ("receipts", "abc", "--home", SENDER)),
    "id of nothing": (1, "Check the ID", ("receipts", "00" * 32, "--home", SENDER)),
    "evidence of nothing": (1, "Check the ID", ("evidence", "make", "00" * 32, "--home", SENDER, "--out", "e")),
    "receive into nowhere": (1, "keygen", ("receive", "--home", "nowhere")),
    "receive without home": (3, "--home", ("receive",)),
    "receipts without id": (3, "ID", ("receipts", "--home", SENDER)),
}


@pytest.mark.parametrize("case", MORE)
def test_other_bad_input_gives_one_line_too(failing, case):
    code, word, words = MORE[case]
    assert word in failing(code, *words)
    assert not Path("e").exists()


def test_problems_can_be_read_by_programs(failing):
    line = failing(1, "send", "message.json", "--home", SENDER, "--to", "x.y", *JSON, "--json")
    assert list(json.loads(line)) == ["reason", "field", "detail", "next_step"]


def test_what_some_of_a_file_breaks_does_not_hold_up_the_rest(run, monkeypatch):
    from infoexchange.catalogue import rules

    check = rules.check

    def picky(message):
        if "Heron" in message.vessel.name:
            raise error(Reason.RULE_BROKEN, field="vessel.name", detail="spoilt")
        check(message)

    monkeypatch.setattr(rules, "check", picky)
    words = ("send", "four.csv", "--home", SENDER, "--to", SOUR, *CSV, *MARKS)
    code, out, err = run(*words, "--json")
    assert (code, err, json.loads(out)["sent"]) == (1, "", 3)
    assert [m["problem"] for m in json.loads(out)["messages"] if not m["id"]] == [
        "rule_broken in vessel.name: spoilt. Correct the field named and send again."
    ]
    code, out, _ = run(*words)
    assert (code, out.splitlines()[-1]) == (1, "3 of 4 messages are durable at the relay and logged.")


# Asked and answered


def threads(run, home: str, digest: str) -> list[tuple[str, str]]:
    """Return with whom and how a message of ours, or to us, stands."""
    code, out, err = run("threads", "--home", home, "--all", "--json")
    assert (code, err) == (0, "")
    return [(t["with"], t["state"]) for t in json.loads(out)["threads"] if t["id"] == digest]


def answer_of(digest: str, status: int, field: str = "request_ref") -> str:
    """Write an answer and return the name of its file."""
    made = response()
    made.status = status
    setattr(made, field, bytes.fromhex(digest))
    Path("answer.json").write_text(text.to_json(made))
    return "answer.json"


def test_a_request_is_answered_once(run, failing, sites):
    digest = send(run, CERT)
    arrived(run, CERT, digest)
    assert threads(run, SENDER, digest) == [(CERT, "ASKED")]
    assert threads(run, CERT, digest) == [(SENDER, "ASKED")]
    command = ("send", answer_of(digest, 5), "--home", CERT, "--to", SENDER, "--type", "InformationResponse")
    code, out, err = run(*command, "--in-reply-to", digest, "--json")
    assert (code, err) == (0, "")
    [sent] = json.loads(out)["messages"]
    line = failing(1, *command)
    assert "rule_broken in status: FINAL after the request was answered finally" in line
    assert "Correct the answer" in line
    line = failing(1, *command[:1], answer_of("00" * 32, 5), *command[2:])
    assert "rule_broken in request_ref: no request of this name is known here" in line
    arrived(run, SENDER, sent["id"])
    assert threads(run, SENDER, digest) == [(CERT, "FINAL")]
    assert threads(run, CERT, digest) == [(SENDER, "FINAL")]


def test_what_comes_unexpected_is_handed_over_and_named(run, sites, monkeypatch):
    digest = send(run, WATCH)
    arrived(run, WATCH, digest)
    monkeypatch.setattr("infoexchange.mailbox.threads.check_fits", lambda *_: None)
    sent = []
    for _ in range(2):
        command = ("send", answer_of(digest, 5), "--home", WATCH, "--to", SENDER, "--type", "InformationResponse")
        code, out, _ = run(*command, "--json")
        assert code == 0
        sent.append(json.loads(out)["messages"][0]["id"])
    with Home.open(SENDER).spool() as spool:
        late = asked_long_ago("late", to=WATCH)
        spool.note(replace(late, sender=SENDER))
    found = {}
    for _ in attempts():
        code, out, _ = run("receive", "--home", SENDER)
        found |= {digest: out for digest in sent if digest in out}
        if len(found) == 2:
            break
    said = " ".join(found[sent[1]].split())
    assert f"{sent[1][:16]} is unexpected: FINAL after the request was answered finally" in said
    assert f"ask {WATCH} what is meant" in said
    assert f"Overdue: 1. See: infoexchange threads --overdue --home {SENDER}" in said
    assert inbox_of(Path(SENDER), bytes.fromhex(sent[1])).is_dir()
