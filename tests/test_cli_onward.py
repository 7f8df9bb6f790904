"""The commands `pass-on` and `consent`, from one nation's agency to the next over three real relays."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import onward_case
from catalogue_messages import request
from command_setup import infoexchange
from infoexchange.catalogue import text
from infoexchange.errors import Reason, error
from infoexchange.testing.sites import Sites
from onward_case import Case
from patience import attempts

A, B, C = "desk.oncb.xa.example", "duty.cert.xb.example", "watch.navy.xc.example"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    made = Sites.make(
        tmp_path_factory.mktemp("onward") / "x",
        {"xa": ["desk.oncb"], "xb": ["duty.cert"], "xc": ["watch.navy"]},
        now=datetime.now(UTC),
    )
    (made.folder / "message.json").write_text(text.to_json(request()))
    with made.running():
        for name in (A, B, C):
            assert infoexchange("receive", "--home", made.home(name)) == 0  # publishes its keys
        yield made


class Agencies:
    """Runs commands in the folders of the agencies."""

    def __init__(self, sites: Sites, capsys: pytest.CaptureFixture[str]) -> None:
        self._sites, self._capsys = sites, capsys

    def run(self, name: str, *words: object) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = infoexchange(*words, "--home", self._sites.home(name))
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    def done(self, name: str, *words: object) -> dict[str, object]:
        code, out, err = self.run(name, *words, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    def arrived(self, name: str) -> dict[str, object]:
        """Receive until one message has come."""
        for _ in attempts():
            if messages := self.done(name, "receive")["messages"]:
                [message] = messages
                return message
        raise AssertionError("nothing came")


@pytest.fixture
def agencies(sites: Sites, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Agencies:
    monkeypatch.chdir(sites.folder)
    return Agencies(sites, capsys)


def test_from_consent_to_proof(agencies: Agencies, sites: Sites) -> None:
    [sent] = agencies.done(A, "send", "message.json", "--to", B, "--type", "RequestForInformation")["messages"]
    assert agencies.arrived(B)["id"] == sent["id"]
    # Without consent nothing leaves, and the next step can be copied.
    code, out, err = agencies.run(B, "pass-on", sent["id"], "--to", C)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"`infoexchange consent request {sent['id']} --to {C} --purpose TEXT`" in err
    # Asked and denied, asked and granted.
    for answer in (("deny", "--explanation", "not yet"), ("grant", "--days", 3, "--conditions", "intelligence only")):
        asked = agencies.done(B, "consent", "request", sent["id"], "--to", C, "--purpose", "it sails there")
        assert asked["originator"] == A
        assert agencies.arrived(A)["type"] == "OnwardConsentRequest"
        told = agencies.done(A, "consent", answer[0], asked["id"], *answer[1:])
        assert (told["holder"], agencies.arrived(B)["type"]) == (B, "OnwardConsentDecision")
    passed = agencies.done(B, "pass-on", sent["id"], "--to", C)
    assert (passed["originator"], passed["chain"]) == (A, [A])
    came = agencies.arrived(C)
    assert (came["id"], came["from"], came["originator"]) == (passed["id"], B, A)
    folders = [sites.home(name) / "inbox" / one for name, one in ((B, sent["id"]), (C, passed["id"]))]
    assert len({(folder / "message.json").read_bytes() for folder in folders}) == 1
    # Whoever has the roots can see that it was granted.
    for name in (B, C):
        file = sites.folder / f"{name}.ixev"
        agencies.done(name, "evidence", "make", passed["id"], "--out", file)
        assert infoexchange("evidence", "verify", file, "--roots", "roots.pb") in (0, 2)  # 2: not witnessed yet
        assert infoexchange("evidence", "show", file) == 0
    shown = agencies._capsys.readouterr().out
    assert re.search(rf"^ok +passed on with consent +{A} to {B} to {C}, consented to by {A}$", shown, re.MULTILINE)
    assert re.search(rf"^passed on +{A} to {B}$", shown, re.MULTILINE)


def test_a_file_is_as_good_as_an_id_and_people_read_sentences(agencies: Agencies, sites: Sites) -> None:
    [sent] = agencies.done(A, "send", "message.json", "--to", B, "--type", "RequestForInformation")["messages"]
    agencies.arrived(B)
    file = sites.home(B) / "inbox" / str(sent["id"]) / "envelope.bin"
    code, out, _ = agencies.run(B, "consent", "request", file, "--to", C, "--purpose", "it sails there")
    assert (code, f"Asked {A}." in out) == (0, True)
    asked = agencies.arrived(A)
    code, out, _ = agencies.run(A, "consent", "grant", asked["id"])
    assert (code, f"Granted to {B} for 14 days." in out) == (0, True)
    agencies.arrived(B)
    code, out, _ = agencies.run(B, "pass-on", file, "--to", C)
    assert (code, f"Passed on what {A} signed, unchanged." in out) == (0, True)
    for _ in attempts():
        code, out, _ = agencies.run(C, "receive")
        if "1 messages received" in out:
            break
    assert f"is {A}'s; passed on, in this order, by: {A}, {B}" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pass-on", "ab" * 32, "--to", C), "Check the ID"),
        (("pass-on", "no-such-file", "--to", C), "Check the path"),
        (("consent", "request", "message.json", "--to", C, "--purpose", "x"), "malformed"),
        (("consent", "grant", "message.json"), "malformed"),
        (("consent", "deny", "message.json"), "malformed"),
    ],
)
def test_what_is_not_there_or_no_message(agencies: Agencies, words: tuple[str, ...], said: str) -> None:
    code, out, err = agencies.run(B, *words)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err


@pytest.mark.parametrize(
    "words",
    [
        ("pass-on", "ab" * 32),
        ("pass-on", "ab" * 32, "--to", C, "--lifetime", "91"),
        ("consent", "request", "ab" * 32, "--to", C),
        ("consent", "request", "ab" * 32, "--to", C, "--purpose", " "),
        ("consent", "grant", "ab" * 32, "--days", "0"),
        ("consent", "grant", "ab" * 32, "--days", "91"),
        ("consent",),
    ],
)
def test_usage(agencies: Agencies, words: tuple[str, ...]) -> None:
    assert agencies.run(B, *words)[0] == 3


def test_what_the_relay_did_not_take_is_said_to_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case()
    box = case.boxes[onward_case.C]

    def submit(envelopes: object) -> object:
        raise error(Reason.UNAVAILABLE, field="relay", detail="the line is cut")

    box.relay.submit = submit  # type: ignore[method-assign]
    monkeypatch.setattr("infoexchange.home.Home.open", lambda path: path)
    monkeypatch.setattr("infoexchange.transport.connect", lambda home: contextlib.nullcontext(box))
    file = tmp_path / "envelope.bin"
    file.write_bytes(case.second.envelope.raw)
    assert infoexchange("pass-on", file, "--to", onward_case.D, "--home", tmp_path) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "the line is cut; the message is kept in the outbox" in line
    assert "do not send it again" in line
    # What fails before anything is sealed is not said to be kept.
    box.relay.events = submit  # type: ignore[method-assign]
    assert infoexchange("pass-on", file, "--to", onward_case.D, "--home", tmp_path) == 1
    assert "kept" not in capsys.readouterr().err
