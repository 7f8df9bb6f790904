"""The operator's commands: keys are never overwritten, checks name everything, and one line for what goes wrong."""

from __future__ import annotations

import io
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import infoexchange_relay.__main__ as program
from command_setup import infoexchange_relay, make_directory, make_exchange
from infoexchange.directory import Directory
from infoexchange.ledger import Ledger
from infoexchange.listing import Roots
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.testing.sites import environment
from infoexchange.tlog import VerifierKey
from infoexchange_relay.stores import FileLatch, open_store

NAME = "relay.th.example"


@pytest.fixture(scope="module")
def peer():
    """Somebody who listens where the other relay is to be."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, peer: str) -> Path:
    return make_exchange(tmp_path_factory.mktemp("exchange"), {"th": "127.0.0.1:0", "sg": peer})


@pytest.fixture
def relay(made: Path, tmp_path: Path) -> Path:
    """The folder of a relay, one exchange for each test."""
    return Path(shutil.copytree(made, tmp_path / "exchange")) / "relay-th"


def logged(relay: Path, count: int = 1) -> None:
    """Run the relay's rules without a port: each start logs what is new."""
    keys = LogKeys.parse((relay / "log.key").read_bytes())
    roots = Roots.parse((relay / "roots.pb").read_bytes())
    directory = Directory.parse((relay / "directory.pb").read_bytes(), roots=roots)

    def clock() -> datetime:
        return datetime.now(UTC)

    with open_store(relay / "data" / "relay.sqlite3") as store:
        Node(
            Ledger(keys, store, FileLatch(relay / "latch" / "checkpoint"), clock=clock), directory, clock=clock
        ).start()


def check(capsys: pytest.CaptureFixture[str], relay: Path) -> tuple[int, dict[str, str], list[str]]:
    """Exit code, what failed by check, and the lines on standard error."""
    capsys.readouterr()
    code = infoexchange_relay("check", "--config", relay / "relay.toml", "--json")
    printed = capsys.readouterr()
    checks = json.loads(printed.out)["checks"]
    failed = {c["check"]: f"{c['detail']}. {c['next_step']}" for c in checks if not c["passed"]}
    assert json.loads(printed.out)["passed"] is (code == 0)
    assert "Traceback" not in printed.err
    return code, failed, printed.err.splitlines()


def failing(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    """The one line that a command leaves when it fails."""
    capsys.readouterr()
    assert infoexchange_relay(*words) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    return printed.err


# init


def test_init_makes_what_the_directory_needs(relay):
    registration = json.loads((relay / "registration.json").read_text())
    assert (registration["name"], registration["nation"]) == (NAME, "th")
    keys = [VerifierKey.parse(text) for text in registration["log_keys"]]
    assert {key.name for key in keys} == {LogKeys.parse((relay / "log.key").read_bytes()).origin}
    assert {(relay / name).stat().st_mode & 0o777 for name in ("log.key", "tls.key")} == {0o600}
    assert {(relay / name).stat().st_mode & 0o777 for name in ("data", "latch")} == {0o700}


def test_others_are_told_a_name_where_the_relay_listens_everywhere(tmp_path):
    assert infoexchange_relay("init", NAME, "--folder", tmp_path / "new", "--nation", "xx") == 0
    registration = json.loads((tmp_path / "new" / "registration.json").read_text())
    assert (registration["address"], registration["nation"]) == (f"{NAME}:7443", "xx")


def test_keys_of_a_relay_are_never_overwritten(relay, capsys):
    before = (relay / "log.key").read_bytes()
    assert "never overwritten" in failing(capsys, 1, "init", NAME, "--folder", relay)
    (relay / "relay.toml").unlink()
    assert "are there already" in failing(capsys, 1, "init", "relay.sg.example", "--folder", relay)
    # A crash before the last file: the same call finishes with the same keys.
    assert infoexchange_relay("init", NAME, "--folder", relay) == 0
    assert (relay / "log.key").read_bytes() == before


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, ("init", NAME)),
        (3, ("init", NAME, "--folder", "new", "--listen", "7443")),
        (1, ("init", "relay", "--folder", "new")),
        (1, ("init", NAME, "--folder", "/dev/null/new")),
        (3, ("check",)),
        (3, ("check", "--config", "nowhere.toml")),
        (3, ("serve", "--config", "nowhere.toml")),
        (3, ("start",)),
        (3, ()),
    ],
)
def test_bad_input_gives_one_line(tmp_path, capsys, monkeypatch, code, words):
    monkeypatch.chdir(tmp_path)
    failing(capsys, code, *words)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr(program, "find_spec", lambda name: None if name == "structlog" else "found")
    assert program.main(["--help"]) == 3
    assert "structlog missing. Run: pip install 'infoexchange[relay]'" in capsys.readouterr().err


# check


def test_a_relay_that_is_ready(relay, capsys):
    assert check(capsys, relay) == (0, {}, [])
    assert not list((relay / "data").iterdir())
    assert infoexchange_relay("check", "--config", relay / "relay.toml") == 0
    assert "new, nothing logged yet" in capsys.readouterr().out


def test_the_whole_log_is_hashed_again(relay, capsys):
    logged(relay)
    assert check(capsys, relay) == (0, {}, [])
    capsys.readouterr()
    assert infoexchange_relay("check", "--config", relay / "relay.toml") == 0
    assert "2 entries, 2 of them signed" in capsys.readouterr().out


@pytest.fixture
def grown(relay: Path) -> Path:
    """A relay whose log has grown since a copy of its data was made."""
    logged(relay)
    shutil.copytree(relay / "data", relay / "old")
    newer = make_directory(relay.parent, "second", "--after", relay / "directory.pb")
    shutil.copy(newer, relay / "directory.pb")
    logged(relay)
    return relay


def test_an_old_copy_of_the_data_is_found(grown, capsys):
    assert check(capsys, grown)[0] == 0
    shutil.rmtree(grown / "data")
    (grown / "old").rename(grown / "data")
    code, failed, _ = check(capsys, grown)
    assert (code, list(failed)) == (1, ["audit log"])
    assert "entry 2 of 3 is missing" in failed["audit log"]


def test_lost_data_is_found(grown, capsys):
    shutil.rmtree(grown / "data")
    code, failed, _ = check(capsys, grown)
    assert (code, list(failed)) == (1, ["audit log"])
    assert "3 entries were signed" in failed["audit log"]


def test_a_lost_log_is_followed_by_a_new_one(grown, capsys):
    shutil.rmtree(grown / "data")
    config = ("--config", grown / "relay.toml")
    before = json.loads((grown / "registration.json").read_bytes())
    assert "add --yes" in failing(capsys, 3, "recover", *config)
    assert infoexchange_relay("recover", *config, "--yes", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["size"], said["origin"]) == (3, said["before"] + "-2")
    after = json.loads((grown / "registration.json").read_bytes())
    assert {key for key in after if after[key] != before[key]} == {"log_keys"}
    assert all(said["origin"] in key for key in after["log_keys"])
    assert "the directory lists other keys" in check(capsys, grown)[1]["log keys in the directory"]
    # Once is enough.
    assert "no log is lost" in failing(capsys, 1, "recover", *config, "--yes")


def test_whoever_is_asked_and_does_not_agree_changes_nothing(grown, capsys, monkeypatch):
    (grown / "log.key").unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert infoexchange_relay("recover", "--config", grown / "relay.toml") == 1
    assert "Nothing was changed." in capsys.readouterr().out
    assert not (grown / "log.key").exists()
    assert not list((grown / "data").glob("lost-*"))
    # Without what was registered the settings tell nation and address.
    (grown / "registration.json").unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert infoexchange_relay("recover", "--config", grown / "relay.toml") == 0
    assert json.loads((grown / "registration.json").read_bytes())["nation"] == "th"


def test_a_changed_leaf_is_found(grown, capsys):
    with sqlite3.connect(grown / "data" / "relay.sqlite3") as database:
        database.execute("UPDATE entry SET leaf = zeroblob(length(leaf)) WHERE idx = 1")
    database.close()
    code, failed, _ = check(capsys, grown)
    assert (code, list(failed)) == (1, ["audit log"])


def test_looking_changes_no_tables(grown, capsys):
    """Only `serve` brings data up to date: after that the version before cannot read it."""
    with sqlite3.connect(grown / "data" / "relay.sqlite3") as database:
        database.execute("PRAGMA user_version = 1")
    database.close()
    before = (grown / "data" / "relay.sqlite3").read_bytes()
    code, failed, _ = check(capsys, grown)
    assert (code, list(failed)) == (1, ["audit log"])
    assert "a store of schema 1" in failed["audit log"]
    assert (grown / "data" / "relay.sqlite3").read_bytes() == before


def test_a_latch_of_another_log_is_found(relay, capsys):
    logged(relay)
    shutil.copy(relay.parent / "relay-sg" / "log.key", relay / "other.key")
    note = (relay / "latch" / "checkpoint").read_text().replace(NAME, "relay.my.example")
    (relay / "latch" / "checkpoint").write_text(note)
    code, failed, _ = check(capsys, relay)
    assert (code, list(failed)) == (1, ["audit log"])


def test_everything_wrong_is_said_at_once(relay, capsys):
    (relay / "log.key").chmod(0o640)
    (relay / "tls.pem").unlink()
    (relay / "roots.pb").write_bytes(b"nothing")
    code, failed, lines = check(capsys, relay)
    assert (code, list(failed)) == (1, ["log keys", "directory", "TLS certificate"])
    assert len(lines) == 3
    assert "chmod 600" in failed["log keys"]
    assert "national CA" in failed["TLS certificate"]


# A program as on a machine whose OpenSSL cannot do P-384.
WITHOUT_P384 = """
import sys
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
real = ec.derive_private_key
def derive(value, curve):
    if curve.name == "secp384r1":
        raise UnsupportedAlgorithm("secp384r1")
    return real(value, curve)
ec.derive_private_key = derive
from infoexchange_relay.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_p384(*words: object) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-c", WITHOUT_P384, *map(str, words)]
    return subprocess.run(run, capture_output=True, text=True, env=environment(), timeout=60, check=False)


def test_a_suite_that_this_machine_cannot_do_is_found(relay, capsys):
    config = ("--config", relay / "relay.toml")
    suites = ["HYBRID", "NIST-HIGH", "0x0100"]
    newer = make_directory(relay.parent, "second", "--after", relay / "directory.pb", suites=suites)
    shutil.copy(newer, relay / "directory.pb")
    done = without_p384("check", *config, "--json")
    checks = {c["check"]: c for c in json.loads(done.stdout)["checks"]}
    assert (done.returncode, checks["cryptography"]["passed"], checks["suite 0x0002"]["passed"]) == (1, True, True)
    assert checks["suite 0x0004"]["detail"].startswith("NIST-HIGH needs id-MLDSA87-ECDSA-P384-SHA512, which fails")
    assert "pip install" in checks["suite 0x0004"]["next_step"]
    assert "national suite that this program does not have" in checks["suite 0x0100"]["detail"]
    done = without_p384("serve", *config)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "NIST-HIGH needs" in done.stderr
    assert "pip install" in done.stderr
    assert not list((relay / "data").iterdir())
    # Where OpenSSL can do it, only what nobody registered is missing; envelopes in it would be refused one by one.
    code, failed, _ = check(capsys, relay)
    assert (code, list(failed)) == (1, ["suite 0x0100"])


def test_keys_and_certificates_of_another_relay_are_found(relay, capsys):
    for name in ("log.key", "tls.pem"):
        shutil.copy(relay.parent / "relay-sg" / name, relay / name)
    code, failed, _ = check(capsys, relay)
    assert (code, list(failed)) == (1, ["log keys", "TLS certificate"])
    assert "the keys of relay.sg.example" in failed["log keys"]
    shutil.copy(relay.parent / "relay-sg" / "tls.key", relay / "tls.key")
    _, failed, _ = check(capsys, relay)
    assert "relay.sg.example" in failed["TLS certificate"]


def test_a_time_authority_nobody_could_verify_is_found(relay, capsys, monkeypatch):
    monkeypatch.setenv("INFOEXCHANGE_RELAY__TSA_URL", "http://127.0.0.1:9/tsr")
    monkeypatch.setenv("INFOEXCHANGE_RELAY__TSA_ROOTS", "tsa.pem")
    code, failed, _ = check(capsys, relay)
    assert (code, list(failed)) == (1, ["time authority"])
    assert "no such file" in failed["time authority"]
    shutil.copy(relay / "tls.pem", relay / "tsa.pem")
    assert check(capsys, relay)[0] == 0
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    assert "not installed" in check(capsys, relay)[1]["time authority"]


def test_keys_that_were_not_registered_are_found(relay, capsys):
    (relay / "log.key").write_bytes(LogKeys.make(NAME, now=datetime.now(UTC)).raw)
    code, failed, _ = check(capsys, relay)
    assert (code, list(failed)) == (1, ["log keys in the directory"])


def test_a_relay_that_is_not_in_the_directory(relay, capsys):
    settings = (relay / "relay.toml").read_text()
    (relay / "relay.toml").write_text(settings.replace(NAME, "relay.my.example"))
    code, failed, _ = check(capsys, relay)
    assert (code, list(failed)[:2]) == (1, ["log keys", "entry in the directory"])


def test_peers_that_cannot_be_reached(made, capsys):
    """The other relay's view: this relay listens nowhere."""
    code, failed, lines = check(capsys, made / "relay-sg")
    assert (code, list(failed), len(lines)) == (1, [f"peer {NAME}"], 1)
    assert "firewalls" in failed[f"peer {NAME}"]
