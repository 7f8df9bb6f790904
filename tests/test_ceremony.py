"""The signing ceremony: three holders, each in a folder of its own with its own key, as on three machines."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from command_setup import AGENCIES, HOLDERS, draft, infoexchange, make_exchange
from infoexchange.cli.directory import showing
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.keys import SigningKey
from infoexchange.listing import Listing
from infoexchange.suites import HYBRID

NAMES = {"Thailand": "bangkok", "Singapore": "singapore", "Secretariat": "jakarta"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secretariat's files, and for each holder a folder with its key, the version in force and the anchor."""
    folder = tmp_path_factory.mktemp("ceremony")
    make_exchange(folder / "office")
    for holder, name in NAMES.items():
        (folder / name).mkdir()
        for file in (f"{holder}.key", "directory.pb", "roots.pb"):
            shutil.copy(folder / "office" / file, folder / name / file)
        (folder / name / f"{holder}.key").rename(folder / name / "root.key")
        (folder / "office" / f"{holder}.key").unlink()
    return folder


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "world"))


class Person:
    """Somebody at one machine: commands run in the folder and see nothing else."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *words: object, code: int = 0) -> tuple[str, str]:
        self._monkeypatch.chdir(self.folder)
        self._capsys.readouterr()
        assert infoexchange("directory", *words) == code, self._capsys.readouterr()
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.err
        return printed.out, printed.err

    def data(self, *words: object, code: int = 0) -> dict:
        return json.loads(self.run(*words, "--json", code=code)[0])

    def fails(self, code: int, *words: object) -> str:
        out, err = self.run(*words, code=code)
        assert (out, err.count("\n")) == ("", 1)
        return err

    def send(self, other: Person, *files: str) -> None:
        for file in files:
            shutil.copy(self.folder / file, other.folder / Path(file).name)


@pytest.fixture
def people(world: Path, monkeypatch, capsys) -> dict[str, Person]:
    return {name: Person(world / name, monkeypatch, capsys) for name in ("office", *NAMES.values())}


def proposed(people: dict[str, Person], change=None) -> None:
    """The office makes the next version from the one in force, and sends the content to every holder."""
    office = people["office"]
    (office.folder / "draft.json").unlink(missing_ok=True)
    office.run("edit", "directory.pb", "-o", "draft.json")
    if change:
        values = commentless(office.folder / "draft.json")
        change(values)
        (office.folder / "draft.json").write_text(json.dumps(values))
    office.run("propose", "draft.json", "--after", "directory.pb", "-o", "next.payload")
    for name in NAMES.values():
        office.send(people[name], "next.payload")


def commentless(file: Path) -> dict:
    lines = file.read_text().splitlines()
    return json.loads("\n".join(line for line in lines if not line.startswith("//")))


def signs(people: dict[str, Person], *names: str) -> list[str]:
    """Holders sign, each at home, and send what they signed to the office; returns the files there."""
    for name in names:
        words = ("next.payload", "--after", "directory.pb", "--key", "root.key", "--yes", "-o", f"{name}.signed")
        people[name].run("sign", *words)
        people[name].send(people["office"], f"{name}.signed")
    return [f"{name}.signed" for name in names]


def drugs_only(values: dict) -> None:
    next(a for a in values["agencies"] if a["name"] == AGENCIES["th"])["domains"] = ["drugs"]


# The way of a version


def test_three_holders_make_a_version(people):
    proposed(people, drugs_only)
    office, bangkok, singapore = (people[name] for name in ("office", "bangkok", "singapore"))
    reviews = [people[name].data("review", "next.payload", "--against", "directory.pb") for name in NAMES.values()]
    sentences = [change["sentence"] for change in reviews[0]["changes"]]
    assert f"Agency {AGENCIES['th']} may now exchange: drugs (before: drugs, piracy)." in sentences
    assert {c["path"].rpartition(".")[2] for c in reviews[0]["changes"]} == {
        "version", "issued_at", "expires_at", "previous", "domains",
    }  # fmt: skip
    # What they read out to one another over the telephone is the same for all.
    assert len({(review["digest"], review["words"]) for review in reviews}) == 1
    first, *_ = signs(people, "bangkok")
    check = ("verify", first, "--roots", "roots.pb", "--after", "directory.pb")
    out, err = office.run(*check, code=1)
    assert "1 of 2 needed signatures; 1 more of: Secretariat, Singapore." in " ".join(out.split())
    assert "may NOT take effect" in out
    assert "bad_signature in bangkok.signed: directory: 1 root signatures hold" in err
    assert err.count("\n") == 1
    sides = office.data(*check, code=1)["sides"]
    assert [(side["signed"], side["enough"]) for side in sides] == [(["Thailand"], False)]
    second, *_ = signs(people, "singapore")
    merged = office.data("merge", first, second, "--after", "directory.pb", "-o", "new.pb")
    assert (merged["signatures"], merged["needed"], merged["enough"], merged["left_out"]) == (2, 2, True, [])
    out, _ = office.run("verify", "new.pb", *check[2:])
    assert "OK: new.pb: version 2 of exchange.example may take effect" in out
    assert sorted(office.data("verify", "new.pb", *check[2:])["signers"]) == ["Singapore", "Thailand"]
    diff = office.data("diff", "directory.pb", "new.pb")["changes"]
    assert diff == reviews[0]["changes"]
    assert bangkok.folder != singapore.folder


def test_a_draft_that_is_not_changed_changes_nothing(people):
    proposed(people)
    changes = people["office"].data("diff", "directory.pb", "next.payload")["changes"]
    assert [change["path"] for change in changes] == ["version", "issued_at", "expires_at", "previous"]
    text = (people["office"].folder / "draft.json").read_text()
    assert "// identity CA of th: CN=National CA th.example, until 20" in text
    assert "never overwritten" not in text
    assert "not overwritten" in people["office"].fails(1, "edit", "directory.pb", "-o", "draft.json")


def test_a_draft_carries_every_field(people):
    """Also those that the other tests leave empty."""

    def everything(values):
        values["suites"] = ["HYBRID", "NIST-HIGH", "0x0101"]
        values["witness_policy"] = ["# nobody must witness", "quorum none"]
        values["nations"][0] |= {"member_to": "2030-01-01T12:00:00.250Z", "treaties": ["a", "b"]}
        values["agencies"][0] |= {"title": "Duty desk", "member_from": "2026-02-01", "member_to": "2031-01-01"}
        values["groups"][0]["valid_to"] = "2030-01-01"

    proposed(people, everything)
    signs(people, "bangkok", "jakarta")
    office = people["office"]
    office.run("merge", "bangkok.signed", "jakarta.signed", "--after", "directory.pb", "-o", "second.pb")
    shutil.copy(office.folder / "second.pb", office.folder / "directory.pb")
    proposed(people)
    changes = office.data("diff", "second.pb", "next.payload")["changes"]
    assert [change["path"] for change in changes] == ["version", "issued_at", "expires_at", "previous"]


def test_the_fingerprint_is_the_digest_in_digits_and_words():
    # The examples of the page that describes these words, arXiv 0901.4016.
    assert showing.words(bytes([127, 0, 0, 1, 63, 84, 220, 193])) == "lusab babad gutih tugad"
    lines = showing.spoken(bytes(range(32)))
    assert "".join(word for line in lines[1:] for word in line.split()[::2]) == bytes(range(32)).hex()


# Asking


def at_terminal(
    person: Person, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, *words: str
) -> tuple[str, str]:
    """Run a command with somebody at a terminal who gives an answer."""
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode() + b"\n")
    with os.fdopen(theirs) as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", terminal)
        found = person.run(*words, code=code)
    os.close(ours)
    return found


def test_a_holder_is_asked_after_reading(people, monkeypatch):
    proposed(people, drugs_only)
    bangkok = people["bangkok"]
    words = ("sign", "next.payload", "--after", "directory.pb", "--key", "root.key", "-o", "bangkok.signed")
    assert "--yes" in bangkok.fails(3, *words)  # no terminal
    assert "--yes" in bangkok.fails(3, *words, "--json")
    _, err = at_terminal(bangkok, monkeypatch, "no", 3, *words)
    assert "nothing was signed" in err
    assert not (bangkok.folder / "bangkok.signed").exists()
    out, err = at_terminal(bangkok, monkeypatch, "sign", 0, *words)
    assert out.index("may now exchange: drugs (before") < out.index("Fingerprint") < out.index("Signed version 2")
    assert "To sign version 2 of exchange.example as Thailand, type: sign" in err
    assert (bangkok.folder / "bangkok.signed").exists()


def test_nobody_signs_what_was_compared_with_nothing(people):
    proposed(people, drugs_only)
    bangkok = people["bangkok"]
    for words in (("review",), ("sign", "--key", "root.key", "--yes")):
        assert "--after" in bangkok.fails(3, words[0], "next.payload", *words[1:])
    assert "same version" in bangkok.fails(3, "review", "directory.pb", "--after", "directory.pb")
    # A content that follows another version 1 than the one held here.
    other = Path(shutil.copytree(people["office"].folder, bangkok.folder.parent / "other"))
    listing = Directory.held((other / "directory.pb").read_bytes()).listing
    stray = Dsse.make(TYPE_DIRECTORY, listing.payload.replace(b"desk.oncb", b"desk.oncc"), [])
    wrong = replace(Listing.parse(stray.payload), version=2, previous=stray.digest)
    (bangkok.folder / "wrong.payload").write_bytes(wrong.payload)
    line = bangkok.fails(1, "review", "wrong.payload", "--after", "directory.pb")
    assert "log_fork" in line
    assert "two versions 1" in line
    (bangkok.folder / "jump.payload").write_bytes(replace(wrong, version=3).payload)
    assert "directory_rollback" in bangkok.fails(1, "review", "jump.payload", "--after", "directory.pb")


# Joining


def test_one_holder_counts_once_and_strangers_are_named(people, world):
    proposed(people)
    office, bangkok = people["office"], people["bangkok"]
    signs(people, "bangkok", "singapore")
    bangkok.run("sign", "next.payload", "--after", "directory.pb", "--key", "root.key", "--yes", "-o", "again.signed")
    bangkok.send(office, "again.signed")
    twice = office.data("merge", "bangkok.signed", "again.signed", "--after", "directory.pb", "-o", "twice.pb")
    assert (twice["signatures"], twice["enough"]) == (1, False)
    assert (
        len(
            Dsse.parse(
                (office.folder / "twice.pb").read_bytes(), payload_type=TYPE_DIRECTORY, size_max=2**22
            ).signatures
        )
        == 1
    )
    # A stranger's key is refused when it signs here, and left out by name when it signed elsewhere.
    infoexchange("keygen", "root", "--holder", "Nobody", "--out", office.folder / "nobody.key")
    words = ("sign", "next.payload", "--after", "directory.pb", "--key", "nobody.key", "--yes")
    assert "no root key of version 2" in office.fails(1, *words)
    stranger = SigningKey.make(HYBRID)
    payload = (office.folder / "next.payload").read_bytes()
    (office.folder / "stranger.signed").write_bytes(Directory.sign(payload, [stranger]))
    assert "bad_signature" in office.fails(1, "merge", "stranger.signed", "--after", "directory.pb", "-o", "x.pb")
    files = ("stranger.signed", "bangkok.signed", "singapore.signed")
    out, _ = office.run("merge", *files, "--after", "directory.pb", "-o", "new.pb")
    assert f"{stranger.key_id} in stranger.signed" in out
    assert office.data("verify", "new.pb", "--roots", "roots.pb", "--after", "directory.pb")["unknown_signatures"] == []


def test_contents_that_differ_are_refused_by_field(people):
    proposed(people, drugs_only)
    signs(people, "bangkok")
    office, singapore = people["office"], people["singapore"]
    payload = (singapore.folder / "next.payload").read_bytes()
    for old, new, field in (
        (b"desk.cnb.sg", b"desk.cnc.sg", "agencies[desk.cnb.sg.example]"),
        (b"Secretariat", b"Secretariab", "roots.keys[Secretariab]"),
    ):
        (singapore.folder / "next.payload").write_bytes(payload.replace(old, new))
        signs(people, "singapore")
        line = office.fails(1, "merge", "bangkok.signed", "singapore.signed", "--after", "directory.pb", "-o", "new.pb")
        assert f"singapore.signed: {field}" in line
        assert "sign different contents" in line
    assert not (office.folder / "new.pb").exists()


# Root keys


def rotated(people: dict[str, Person]) -> None:
    """Thailand's key was stolen; Laos joins; three of four must sign."""
    office, bangkok = people["office"], people["bangkok"]
    for name, holder in (("bangkok", "Thailand"), ("office", "Laos")):
        infoexchange("keygen", "root", "--holder", holder, "--out", people[name].folder / "new.key")
    bangkok.send(office, "new.key.pub")
    (office.folder / "thailand.pub").write_bytes((office.folder / "new.key.pub").read_bytes())
    infoexchange("keygen", "root", "--holder", "Laos", "--out", office.folder / "laos.key")
    publics = ("thailand.pub", "Singapore.key.pub", "Secretariat.key.pub", "laos.key.pub")
    office.run("roots", *publics, "--threshold", "3", "-o", "roots2.pb")
    proposed(people, lambda values: values.update(roots="roots2.pb"))


def test_a_stolen_root_key_is_replaced(people):
    rotated(people)
    office, bangkok = people["office"], people["bangkok"]
    review = bangkok.data("review", "next.payload", "--after", "directory.pb")
    told = " ".join(change["sentence"] for change in review["changes"])
    assert "3 of 4 root signatures are needed from now on (before: 2 of 3)." in told
    assert "Root key of Thailand is replaced" in told
    assert "New root key, of Laos" in told
    words = ("next.payload", "--after", "directory.pb", "--yes", "--key")
    bangkok.run("sign", *words, "new.key", "-o", "thailand.signed")
    bangkok.send(office, "thailand.signed")
    files = ["thailand.signed", *signs(people, "singapore")]
    merge = lambda: office.data("merge", *files, "--after", "directory.pb", "-o", "second.pb")  # noqa: E731
    before, own = merge()["sides"]
    # The new key does not count before, and of its own three one is missing.
    assert before | {"needed": 2, "signed": ["Singapore"], "missing": ["Secretariat", "Thailand"]} == before
    assert own | {"needed": 3, "signed": ["Singapore", "Thailand"], "missing": ["Laos", "Secretariat"]} == own
    assert not before["enough"]
    assert not own["enough"]
    files += signs(people, "jakarta")
    assert [side["enough"] for side in merge()["sides"]] == [True, True]
    verify = ("--roots", "roots.pb", "--after", "directory.pb")
    assert office.data("verify", "second.pb", *verify)["verified"]
    # Whoever follows needs the new anchor from the third version on, or every version in between.
    shutil.copy(office.folder / "directory.pb", office.folder / "first.pb")
    for name in NAMES.values():
        shutil.copy(office.folder / "second.pb", people[name].folder / "directory.pb")
    shutil.copy(office.folder / "second.pb", office.folder / "directory.pb")
    proposed(people)
    words = ("next.payload", "--after", "directory.pb", "--yes", "--key")
    # The thief's key is no root key any more.
    assert "no root key" in bangkok.fails(1, "sign", *words, "root.key")
    bangkok.run("sign", *words, "new.key", "-o", "thailand.signed")
    bangkok.send(office, "thailand.signed")
    office.run("sign", *words, "laos.key", "-o", "laos.signed")
    files = ["thailand.signed", "laos.signed", *signs(people, "singapore")]
    office.run("merge", *files, "--after", "directory.pb", "-o", "third.pb")
    assert office.data("verify", "third.pb", "--roots", "roots2.pb")["follows"] is None
    assert "was not checked" in office.run("verify", "third.pb", "--roots", "roots2.pb")[0]
    assert office.data("verify", "third.pb", "--roots", "roots.pb", "--after", "first.pb", "second.pb")["verified"]
    out, err = office.run("verify", "third.pb", "--roots", "roots.pb", code=1)
    assert "may NOT take effect" in out
    assert "bad_signature" in err


# A first version


def test_a_first_version_is_told_in_full(people):
    office = people["office"]
    (office.folder / "draft.json").unlink(missing_ok=True)
    (office.folder / "draft.json").write_text(json.dumps(draft()))
    office.run("propose", "draft.json", "-o", "first.payload")
    out, _ = office.run("review", "first.payload")
    for words in (*AGENCIES.values(), *HOLDERS, "CN=National CA sg.example", "2 of 3 root signatures are needed"):
        assert words in out
    assert "not signed" in out
    assert "two versions 1" in office.fails(1, "review", "first.payload", "--after", "directory.pb")


DRAFTS = {
    "suites[0]: no suite 'two'": {"suites": ["two"]},
    "stands twice": None,
    "roots.keys[0].public: not base64": {"roots": {"threshold": 1, "keys": [{"holder": "x", "public": "!"}]}},
    "roots.holders: no such key": {"roots": {"threshold": 1, "keys": [], "holders": 1}},
    "witness_policy": {"witness_policy": [1]},
    "policy: ": {"witness_policy": ["quorum nobody"]},
    "nations[0].tls_cas[0]: not base64": {"nations": [{**draft()["nations"][0], "tls_cas": ["base64:!"]}]},
    "not an X.509 certificate": {"nations": [{**draft()["nations"][0], "tls_cas": ["base64:AAAA"]}]},
    "relays[0].colour: no such key": {"relays": [{"name": "a.th.example", "nation": "th", "address": "", "colour": 1}]},
}


@pytest.mark.parametrize("words", DRAFTS)
def test_mistakes_in_a_draft_are_named(people, words):
    office = people["office"]
    text = json.dumps(draft(**(DRAFTS[words] or {})))
    if DRAFTS[words] is None:
        text = text.replace('"valid_days": 90', '"valid_days": 9, "valid_days": 90')
    (office.folder / "draft.json").write_text(text)
    line = office.fails(1, "propose", "draft.json", "-o", "x")
    assert words.replace(": ", " ") in line.replace(": ", " ")
