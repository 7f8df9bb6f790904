"""Agencies and auditors at their commands: records of a received message disclosed, logged, verified and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mailing
from catalogue_messages import person, request
from infoexchange.catalogue import text
from infoexchange.evidence import Evidence
from infoexchange.v1 import disclosure_pb2, evidence_pb2
from mailing import CERT, PEER, SENDER, WATCH, receive

# Fixtures.
sites, here, run, failing = mailing.sites, mailing.here, mailing.run, mailing.failing

COURT = "Port State Control court"
HIDDEN = ("Seen at anchor", "Who owns it", "9074729")


@pytest.fixture
def held(run, sites) -> str:
    """The ID of a message that a recipient holds, sent once for all tests."""
    kept = sites.folder / "held"
    if not kept.exists():
        made = request()
        person(made)
        Path("person.json").write_text(text.to_json(made))
        words = ("--to", CERT, "--type", "RequestForInformation", "--attest", "supervisor", "--json")
        code, out, _ = run("send", "person.json", "--home", SENDER, *words)
        assert code == 0
        [sent] = json.loads(out)["messages"]
        came = []
        while not came:
            came = receive(run, CERT)["messages"]
        assert [m["attested"] for m in came] == [[f"supervisor {SENDER}"]]
        kept.write_text(sent["id"])
    return kept.read_text()


def command(held: str, *fields: str, out: str = "", home: str = CERT, **options: str) -> list[object]:
    words: list[object] = ["evidence", "disclose", held, "--home", home]
    words += [word for field in fields for word in ("--field", field)]
    words += ["--for", COURT] if out else []
    words += ["--out", out] if out else []
    return [*words, *(word for name, value in options.items() for word in (f"--{name}", value))]


def test_list_names_the_records_and_tells_nothing_of_them(run, held):
    code, out, err = run(*command(held), "--list")
    assert (code, err) == (0, "")
    assert "vessels[0]" in out
    assert "contact, free_text, identifier, sensitive" in out
    assert not any(secret in out for secret in (*HIDDEN, "Alpha", "intelligence only"))
    data = json.loads(run(*command(held), "--list", "--json")[1])
    assert [r["name"] for r in data["records"] if r["always goes"]] == ["content.schema", "handling", "subject"]
    assert [r["record"] for r in data["records"]] == list(range(len(data["records"])))


def test_disclosed_verified_and_shown(run, held):
    """From the inbox to the auditor's table, by commands alone."""
    words = command(held, "persons", out="court.ixev", basis="Maritime Code, article 12")
    code, out, err = run(*words, "--attestations", "--yes")
    assert (code, err) == (0, "")
    assert "4 of 9 records" in out
    assert f'disclosed for "{COURT}"' in out
    assert Path("court.ixev").stat().st_mode & 0o777 == 0o600
    raw = Path("court.ixev").read_bytes()
    assert not any(secret.encode() in raw for secret in HIDDEN)

    assert "May hold personal data: subject (free_text); persons[0] (contact, free_text, identifier, sensitive)." in out
    assert "originator's consent" in out

    code, out, err = run("evidence", "verify", "court.ixev", "--roots", "roots.pb")
    assert (code, err) == (0, ""), out
    assert "TOTAL-PASSED" in out
    assert f"by {CERT} for '{COURT}'" in out
    assert "Alpha" not in out

    code, out, err = run("evidence", "show", "court.ixev")
    assert (code, err) == (0, "")
    frame = f'Disclosed by {CERT} for "{COURT}", on the basis "Maritime Code, article 12" on '
    assert frame in out
    assert "; 4 of 9 records:" in out
    assert "persons.pseudonym" in out
    assert "Alpha" in out
    assert f"Attested: supervisor, {SENDER}" in out
    assert "Not verified here" in out
    assert not any(secret in out for secret in HIDDEN)

    shown = json.loads(run("evidence", "show", "court.ixev", "--json")[1])
    [told] = shown["disclosures"]
    assert (told["records"], told["of"], told["handling_marks"], told["problem"]) == (4, 9, True, "")
    assert {"record": 6, "field": "persons.pseudonym", "value": "Alpha"} in told["fields"]
    assert [a["by"] for a in told["approvals"]] == [CERT]
    # Sender and recipient see in the log that something was shown, and to whom.
    for home in (SENDER, CERT):
        assert "records of it are shown to somebody" in run("receipts", held, "--home", home)[1]


def test_the_same_again_logs_nothing_new(run, held):
    entries = []
    for name in ("one.ixev", "two.ixev"):
        code, out, _ = run(*command(held, "background", out=name, wait="0"), "--yes", "--json")
        assert code == 0
        entries.append(json.loads(out)["entry"])
    assert entries[0] == entries[1]
    first, second = (Evidence.parse(Path(name).read_bytes()) for name in ("one.ixev", "two.ixev"))
    assert first.disclosures == second.disclosures
    assert first.approvals == second.approvals


def test_an_envelope_file_serves_in_the_place_of_an_id(run, held):
    file = Path(CERT) / "inbox" / held / "envelope.bin"
    code, out, _ = run(*command(str(file), "content.thread", out="thread.ixev", wait="0"), "--yes", "--json")
    assert code == 0
    assert json.loads(out)["records"] == 4


def test_a_person_is_shown_what_others_will_read_and_asked(run, held, monkeypatch):
    asked: list[str] = []

    def answer(words: str):
        def given(prompt: str) -> str:
            asked.append(prompt)
            if words == "end":
                raise EOFError
            return words

        return given

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for words in ("", "no", "y", "end"):
        monkeypatch.setattr("builtins.input", answer(words))
        code, out, _ = run(*command(held, "questions", out="asked.ixev", wait="0"))
        assert code == 1
        assert "Nothing was disclosed" in out
        assert "Who owns it?" in out
        assert "Seen at anchor" not in out
        assert COURT in out
        assert not Path("asked.ixev").exists()
    monkeypatch.setattr("builtins.input", answer(" Yes "))
    assert run(*command(held, "questions", out="asked.ixev", wait="0"))[0] == 0
    assert len(asked) == 5
    events = json.loads(run("receipts", held, "--home", CERT, "--json")[1])["events"]
    assert any("shown to somebody" in e["what"] for e in events)


USAGE = {
    "nothing chosen": (("--for", COURT, "--out", "new.ixev", "--yes"), "--field"),
    "for nobody": (("--field", "subject", "--out", "new.ixev", "--yes"), "--for"),
    "into nothing": (("--field", "subject", "--for", COURT, "--yes"), "--out"),
    "unasked": (("--field", "subject", "--for", COURT, "--out", "new.ixev"), "--yes"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_command_line_that_lacks_something(failing, held, case):
    words, named = USAGE[case]
    assert named in failing(3, "evidence", "disclose", held, "--home", CERT, *words)
    assert not Path("new.ixev").exists()


def test_what_cannot_be_disclosed_is_one_line_and_logs_nothing(failing, run, held):
    before = run("receipts", held, "--home", CERT, "--json")[1]
    Path("old.ixev").write_bytes(b"older evidence")
    assert "--list" in failing(1, *command(held, "nothing", out="n.ixev"), "--yes")
    assert "not overwritten" in failing(1, *command(held, "subject", out="old.ixev"), "--yes")
    assert "received here" in failing(1, *command("00" * 32, "subject", out="n.ixev"), "--yes")
    assert "received here" in failing(1, *command("nowhere.bin", "subject", out="n.ixev"), "--yes")
    assert "malformed" in failing(1, *command("old.ixev", "subject", out="n.ixev"), "--yes")
    file = str(Path(CERT) / "inbox" / held / "envelope.bin")
    assert "not_addressed" in failing(1, *command(file, "subject", out="n.ixev", home=WATCH), "--yes")
    long = command(held, "subject", out="n.ixev")
    long[long.index(COURT)] = "x" * 254
    assert "253 characters" in failing(1, *long, "--yes")
    assert Path("old.ixev").read_bytes() == b"older evidence"
    assert not Path("n.ixev").exists()
    assert run("receipts", held, "--home", CERT, "--json")[1] == before


def test_a_relay_that_is_away_means_nothing_is_shown(failing, run, held, sites):
    sites.kill(PEER)
    try:
        assert "unavailable" in failing(1, *command(held, "subject", out="away.ixev"), "--yes")
        assert not Path("away.ixev").exists()
    finally:
        sites.start(PEER)


def test_show_repeats_nothing_that_is_not_part_of_the_message(run, held):
    """A file whose records were changed: shown are the facts of the log, and that these are not the message's."""
    run(*command(held, "persons", out="honest.ixev", wait="0"), "--yes")
    message = evidence_pb2.Evidence.FromString(Path("honest.ixev").read_bytes())
    opened = disclosure_pb2.Disclosure.FromString(message.disclosures[0])
    opened.leaves[3].record = opened.leaves[3].record.replace(b"Alpha", b"Bravo")
    message.disclosures[0] = opened.SerializeToString(deterministic=True)
    Path("changed.ixev").write_bytes(message.SerializeToString(deterministic=True))
    code, out, _ = run("evidence", "show", "changed.ixev")
    assert code == 0
    assert "Bravo" not in out
    assert "not part of the message" in out
    assert "Disclosed without an approval in this file" in out
    assert "the records are not in this file" in out
    assert run("evidence", "verify", "changed.ixev", "--roots", "roots.pb")[0] == 1
