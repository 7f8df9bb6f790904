"""The command of an auditor who comes back: real relays, kept checkpoints, swapped files, and proofs that hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import forked
from command_setup import infoexchange
from infoexchange.cli.audit import watching
from infoexchange.cli.audit.sightings import Sightings
from infoexchange.errors import ExchangeError, Reason
from infoexchange.home.files import exclusive
from infoexchange.misbehaviour import Kind, Misbehaviour
from infoexchange.testing.sites import Sites
from infoexchange.tlog import Checkpoint
from infoexchange.watch import Known
from patience import attempts
from test_cli_evidence import WITHOUT_SOCKETS

NAME, HOME = "relay.th.example", "desk.oncb.th.example"
AGENCIES = {"th": ["desk.oncb"], "vn": ["intel.c04"], "sg": ["desk.cnb"]}


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    made = Sites.make(tmp_path_factory.mktemp("sites"), AGENCIES, now=datetime.now(UTC) - timedelta(minutes=1))
    with made.running():
        yield made


@pytest.fixture
def watch(sites, capsys, tmp_path):
    """Run `audit watch --json` in a folder of this test; give exit code and data."""

    def run(*words: object, folder: Path = tmp_path / "kept") -> tuple[int, dict]:
        code = infoexchange("audit", "watch", "--home", sites.home(HOME), "--folder", folder, "--json", *words)
        out = capsys.readouterr().out
        return code, json.loads(out) if out else {}

    return run


def settled(watch, *words: object) -> dict:
    """The first look after the witnesses have come round."""
    for _ in attempts():
        code, data = watch(*words)
        if code != 2:
            break
    assert code == 0, data
    return data


def findings(data: dict, relay: str = NAME) -> dict[str, str]:
    (found,) = [log for log in data["relays"] if log["relay"] == relay]
    return {check["name"]: check["reason"] for check in found["checks"] if check["verdict"] != "TOTAL-PASSED"}


def test_logs_that_grow_pass_again_and_again(sites, watch, tmp_path, capsys) -> None:
    settled(watch)
    code, data = watch()
    assert (code, data["verdict"], data["proofs"]) == (0, "TOTAL-PASSED", [])
    assert {log["relay"] for log in data["relays"]} == set(sites.community.log_keys)
    names = {check["name"] for check in data["relays"][0]["checks"]}
    assert {"checkpoint signed", "witnessed lately", "log only grew", "clock only advanced"} <= names
    assert len({name for name in names if name.startswith("same as relay.")}) == 2  # the other nations' witnesses
    # What is kept is a plain note, which another auditor takes.
    kept = Path(data["relays"][0]["kept"])
    Checkpoint.parse(kept.read_bytes())
    code, data = watch(data["relays"][0]["relay"], "--compare", kept, folder=tmp_path / "other")
    assert (code, len(data["relays"])) == (0, 1)
    assert f"same as {kept}" in {check["name"] for check in data["relays"][0]["checks"]}
    # The same in words.
    code = infoexchange("audit", "watch", "--home", sites.home(HOME), "--folder", tmp_path / "kept", NAME)
    out = capsys.readouterr().out
    assert code == 0
    assert f"TOTAL-PASSED  {NAME}" in out
    assert "1 logs" in out


def forged(sites, data: dict, root: bytes = bytes(32)) -> bytes:
    """What the relay's own keys sign of another tree of the same size."""
    kept = Checkpoint.parse(Path(next(r["kept"] for r in data["relays"] if r["relay"] == NAME)).read_bytes())
    return sites.community.log_keys[NAME].sign(kept.size, root, now=datetime.now(UTC)).raw


def test_a_file_of_another_auditor_that_contradicts_becomes_a_proof(sites, watch, tmp_path, capsys) -> None:
    data = settled(watch)
    file = tmp_path / "from another auditor"
    file.write_bytes(forged(sites, data))
    code, data = watch("--compare", file)
    assert (code, data["verdict"]) == (1, "TOTAL-FAILED")
    assert findings(data) == {f"same as {file}": "log_fork"}
    assert not findings(data, "relay.vn.example")
    (path,) = data["proofs"]
    proof = Misbehaviour.parse(Path(path).read_bytes())
    proof.verify(sites.community.log_keys[NAME].verifier_keys)
    assert proof.kind is Kind.SAME_SIZE
    # What the relay showed was not taken for good, and is there for others to be compared with.
    refused = next(log["refused"] for log in data["relays"] if log["relay"] == NAME)
    assert refused
    assert all(Path(name).name.startswith("refused-") for name in refused)
    assert findings(watch("--compare", *refused, folder=tmp_path / "third")[1]) == {}
    # The same again: the proof that is there stays.
    before = Path(path).read_bytes()
    file.write_bytes(forged(sites, data, bytes(31) + b"\x01"))
    assert watch("--compare", file)[1]["proofs"] == [path]
    assert Path(path).read_bytes() == before
    # Offline, by keys or by the directory, without any socket.
    keys = [str(key) for key in sites.community.log_keys[NAME].verifier_keys]
    public = ["--directory", sites.folder / "directory.pb", "--roots", sites.folder / "roots.pb"]
    for known in (["--key", *keys], public):
        words = [str(word) for word in ("audit", "misbehaviour", "verify", path, "--json", *known)]
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_SOCKETS, *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["verdict"], told["against"], told["kind"]) == ("TOTAL-PASSED", proof.accused, "same-size")
    # And after all this the relay's log goes on being followed.
    assert watch()[0] == 0


def test_files_that_are_no_word_of_the_log_are_left_open(sites, watch, tmp_path) -> None:
    data = settled(watch)
    stranger, elsewhere = tmp_path / "stranger", tmp_path / "elsewhere"
    checkpoint = Checkpoint.parse(forged(sites, data))
    stranger.write_bytes(checkpoint.only_signatures(checkpoint.note.signatures[:1]).raw)
    elsewhere.write_bytes(forked.signed(3, keys=forked.LogKeys("x.example/audit", bytes(32), bytes(32))).raw)
    code, data = watch("--compare", stranger, elsewhere)
    assert code == 2
    assert findings(data) == {f"same as {stranger}": "bad_signature"}
    stranger.write_bytes(b"junk")
    assert watch("--compare", stranger)[0] == 1


def test_a_relay_that_is_down_is_an_open_question(sites, watch, tmp_path, capsys) -> None:
    settled(watch)
    other = "relay.sg.example"
    sites.kill(other)
    try:
        code, data = watch()
        assert code == 2
        assert findings(data, other) == {"checkpoint signed": "unavailable"}
        assert not findings(data)
        code = infoexchange("audit", "watch", "--home", sites.home(HOME), "--folder", tmp_path / "kept", NAME)
        assert code == 0
        assert f"the witness of {other} could not be asked" in capsys.readouterr().err
    finally:
        sites.start(other)


def test_it_looks_again_until_it_is_interrupted(sites, watch, monkeypatch) -> None:
    rounds: list[int] = []

    def sleep(seconds: int) -> None:
        rounds.append(seconds)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", sleep)
    code = infoexchange("audit", "watch", NAME, "--home", sites.home(HOME), "--every", 30)
    assert (code, rounds) == (130, [30, 30])
    assert (sites.home(HOME) / "watch").is_dir()


def test_one_at_a_time_works_in_a_folder(sites, watch, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("infoexchange.home.files._ATTEMPTS", 1)
    (tmp_path / "kept").mkdir()
    with exclusive(tmp_path / "kept"):
        code = infoexchange("audit", "watch", "--home", sites.home(HOME), "--folder", tmp_path / "kept")
    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (1, "", 1)
    assert "another program" in printed.err


def test_wrong_words_are_one_line(sites, watch, capsys) -> None:
    home = sites.home(HOME)
    for words in (
        ("relay.xx.example",),
        (HOME,),
        ("--every", "0"),
        ("--max-age", "ten"),
        ("--max-age", "-1"),
    ):
        assert infoexchange("audit", "watch", "--home", home, *words) == 3
        assert capsys.readouterr().err.count("\n") == 1
    assert infoexchange("audit", "watch", "--home", home, "--compare", home / "absent") == 1
    assert capsys.readouterr().err.count("\n") == 1


# Proofs, without relays


@pytest.fixture
def proof(tmp_path) -> Path:
    file = tmp_path / "x.misbehaviour"
    file.write_bytes(forked.prefix().raw)
    return file


def verify(*words: object) -> int:
    return infoexchange("audit", "misbehaviour", "verify", *words)


def test_a_proof_is_told_in_words(proof, capsys) -> None:
    keys = [str(key) for key in forked.LOG.verifier_keys]
    assert verify(proof, "--key", *keys) == 0
    out = capsys.readouterr().out
    assert "signed a log of 6 entries, and one of 13 entries that does not begin with them" in out
    assert f"TOTAL-PASSED  {proof}" in out
    proof.write_bytes(forked.order().raw)
    assert verify(proof, "--key", *keys) == 0
    assert "it was rolled back, or its clock was" in capsys.readouterr().out
    proof.write_bytes(forked.of_witness().raw)
    assert verify(proof, "--key", *map(str, forked.WITNESS.verifier_keys)) == 0
    assert "The witness relay.vn.example/witness, of the log relay.th.example/audit/2026h2," in capsys.readouterr().out


def test_a_proof_that_does_not_hold_fails_and_unknown_keys_leave_it_open(proof, capsys) -> None:
    keys = [str(key) for key in forked.LOG.verifier_keys]
    others = [str(key) for key in forked.WITNESS.verifier_keys]
    assert verify(proof, "--key", *others) == 2
    assert verify(proof, "--key", keys[0]) == 1
    spoilt = proof.with_name("spoilt")
    spoilt.write_bytes(proof.read_bytes().replace(b"\n13\n", b"\n14\n"))
    assert verify(spoilt, "--key", *keys) == 1
    assert verify(spoilt, proof, "--key", *keys) == 1
    capsys.readouterr()
    assert verify(proof.with_name("absent"), proof, "--key", *keys) == 1
    told = capsys.readouterr()
    assert f"TOTAL-PASSED  {proof}" in told.out
    assert told.err.count("\n") == 1
    for words in ((), ("--directory", proof), ("--roots", proof), ("--key", "x", "--directory", proof)):
        assert verify(proof, *words) == 3
    assert verify(proof, "--key", "nonsense") == 1


# The folder


def test_what_is_kept_is_what_was_known(tmp_path) -> None:
    keys = list(forked.LOG.verifier_keys)
    sightings = Sightings(tmp_path / "kept")
    assert sightings.read(keys) == Known()
    sightings.write(Known())
    notes = tuple(forked.cosigned(forked.signed(size)) for size in (2, 9, 10, 20))
    now = datetime.now(UTC)
    for known in (Known(notes[:1]), Known(notes, now, 20, now - timedelta(hours=1)), Known(notes[1:], now)):
        sightings.write(known)
        assert sightings.read(keys) == known
    newest = sightings.newest(forked.LOG.name)
    assert newest is not None
    assert (newest.name, newest.read_bytes()) == ("20.checkpoint", notes[-1].raw)
    assert newest.parent.name.startswith("relay.th.example-")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("20.checkpoint", b"junk", Reason.MALFORMED),
        ("21.checkpoint", forked.signed(3, keys=forked.LogKeys(forked.LOG.name, bytes(32), bytes(32))).raw,
         Reason.BAD_SIGNATURE),
        ("state.json", b"{}", Reason.MALFORMED),
        ("state.json", b"[", Reason.MALFORMED),
        ("state.json", b'{"looked_at": "2026-11-22", "waiting_size": 0, "waiting_since": ""}', Reason.MALFORMED),
        ("state.json", b'{"looked_at": "", "waiting_size": -1, "waiting_since": ""}', Reason.MALFORMED),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, name: str, content: bytes, reason: Reason) -> None:
    sightings = Sightings(tmp_path)
    sightings.write(Known((forked.signed(20),)))
    newest = sightings.newest(forked.LOG.name)
    assert newest is not None
    (newest.parent / name).write_bytes(content)
    with pytest.raises(ExchangeError) as caught:
        sightings.read(list(forked.LOG.verifier_keys))
    assert caught.value.reason is reason
    assert name in caught.value.field


def test_what_was_refused_is_kept_and_is_not_known(tmp_path) -> None:
    sightings, checkpoints = Sightings(tmp_path), [forked.signed(size) for size in range(1, 67)]
    files = [sightings.refuse(checkpoint) for checkpoint in checkpoints]
    assert files[64:] == [None, None]
    assert [file.read_bytes() for file in files[:64]] == [checkpoint.raw for checkpoint in checkpoints[:64]]
    assert sightings.refuse(checkpoints[0]) == files[0]
    assert sightings.read(list(forked.LOG.verifier_keys)) == Known()


def test_one_proof_of_each_kind_is_kept_for_each_party(tmp_path) -> None:
    sightings = Sightings(tmp_path)
    made = (forked.same_size(), forked.prefix(), forked.prefix(8), forked.order(), forked.of_witness())
    files = [sightings.prove(proof) for proof in made]
    assert len(set(files)) == 4
    assert files[1] == files[2]
    assert files[1].read_bytes() == made[1].raw
    assert {file.name.rsplit("-", 1)[0] for file in files} == {
        "relay.th.example-audit-same-size",
        "relay.th.example-audit-prefix",
        "relay.th.example-audit-order",
        "relay.vn.example-witness-same-size",
    }
