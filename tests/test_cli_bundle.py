"""The commands that look after keys: rotating, destroying, sealing, and asking for what opens them."""

from __future__ import annotations

import getpass
import io
import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import infoexchange.cli.passphrase as passphrase_module
from command_setup import AGENCIES, enroll, infoexchange, infoexchange_relay, make_exchange
from infoexchange.home import Folder, Home, Keychain
from infoexchange.keys import sealed
from infoexchange.keys.sealed import Cost, SealedFile
from infoexchange.transport import session

NAME = AGENCIES["th"]
WORDS, OTHER = "four words nobody said", "quite another one"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_exchange(tmp_path_factory.mktemp("exchange"))


@pytest.fixture
def exchange(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exchange, as the working folder, with two passphrase files and passphrases that cost next to nothing."""
    folder = Path(shutil.copytree(made, tmp_path / "exchange"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sealed, "COST", Cost(memory=64 * 1024, passes=1, lanes=1))
    for name, text in (("words", WORDS), ("other", OTHER)):
        Path(name).write_text(text + "\n")
        Path(name).chmod(0o600)
    return folder


def failing(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    """The one line that a command leaves when it fails."""
    capsys.readouterr()
    assert infoexchange(*words) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert WORDS not in printed.err
    return printed.err


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    capsys.readouterr()
    assert infoexchange(*words, "--json") == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person types at a terminal; each prompt takes the next line."""
    lines: list[str] = []
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(getpass, "getpass", lambda _: lines.pop(0))
    return lines


# bundle


def test_rotate_issues_ahead_and_show_tells(exchange, capsys):
    data = shown(capsys, "bundle", "rotate", "--home", "home-th")
    assert (data["epoch"], data["issued"], data["begun"]) == (2, True, False)
    data = shown(capsys, "bundle", "show", "--home", "home-th")
    assert [(b["epoch"], b["state"]) for b in data["bundles"]] == [(2, "to come"), (1, "in use")]
    assert data["reminders"] == []
    assert infoexchange("bundle", "rotate", "--home", "home-th", "--now") == 0
    assert "at once" in capsys.readouterr().out
    data = shown(capsys, "bundle", "show", "--home", "home-th")
    assert [b["state"] for b in data["bundles"]] == ["in use", "to come", "in use, followed"]


def test_rotate_if_needed_is_for_cron(exchange, capsys, monkeypatch):
    assert infoexchange("bundle", "rotate", "--home", "home-th", "--if-needed") == 0
    assert "Nothing to do: epoch 1" in capsys.readouterr().out
    end = Home.open("home-th").bundle.not_after

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return end - timedelta(days=6)

    import infoexchange.cli.bundle as module

    monkeypatch.setattr(module, "datetime", Later)
    assert "The key bundle ends" in shown(capsys, "bundle", "show", "--home", "home-th")["reminders"][0]
    assert shown(capsys, "bundle", "rotate", "--home", "home-th", "--if-needed")["epoch"] == 2
    assert shown(capsys, "bundle", "show", "--home", "home-th")["reminders"] == []


def test_withdrawing_says_what_it_does_not_do(exchange, capsys):
    assert infoexchange("bundle", "rotate", "--home", "home-th", "--withdraw") == 0
    text = capsys.readouterr().out
    assert "All older bundles are withdrawn" in text
    assert "national CA revoke" in text
    assert Home.open("home-th").bundle.withdraws_older
    states = [b["state"] for b in shown(capsys, "bundle", "show", "--home", "home-th")["bundles"]]
    assert states == ["in use", "withdrawn, still opens"]


def test_a_lost_copy_goes_on_after_what_the_relay_has(exchange, capsys, monkeypatch):
    shutil.copytree("home-th", "lost")
    published = [Home.open("lost").issue_next(now=datetime.now(UTC)), Home.open("lost").bundles[-1]]
    monkeypatch.setattr(session, "published", lambda _: published)
    data = shown(capsys, "bundle", "rotate", "--home", "home-th", "--recover")
    assert (data["epoch"], data["issued"]) == (3, True)
    data = shown(capsys, "bundle", "rotate", "--home", "home-th", "--if-needed")
    assert data["issued"] is False


def test_destroying_names_the_epochs(exchange, capsys, monkeypatch):
    assert infoexchange("bundle", "destroy-old", "--home", "home-th") == 0
    assert "no secret was destroyed" in capsys.readouterr().out
    end = Home.open("home-th").bundle.not_after

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return end + timedelta(hours=1)

    import infoexchange.cli.bundle as module

    monkeypatch.setattr(module, "datetime", Later)
    assert shown(capsys, "bundle", "destroy-old", "--home", "home-th")["epochs"] == [1]
    assert shown(capsys, "bundle", "destroy-old", "--home", "home-th")["epochs"] == []
    assert shown(capsys, "bundle", "show", "--home", "home-th")["bundles"][0]["state"] == "over, still opens"


@pytest.mark.parametrize("words", [("--if-needed", "--now"), ("--recover", "--withdraw"), ("--if-needed", "--recover")])
def test_what_does_not_go_together(exchange, capsys, words):
    assert "exclude" in failing(capsys, 3, "bundle", "rotate", "--home", "home-th", *words)


# Passphrases


def test_keys_are_sealed_from_the_first_moment(exchange, capsys):
    words = ("keygen", NAME, "--home", "new", "--passphrase-file", "words")
    assert shown(capsys, *words)["sealed"] is True
    for name in ("identity.key", "tls.key"):
        raw = Path("new", name).read_bytes()
        assert SealedFile.is_one(raw)
        assert (b"PRIVATE" in raw, b"epochs" in raw) == (False, False)
    assert "not_permitted" in failing(capsys, 1, "enroll", "--home", "new", *_enrolment())
    assert "bad_ciphertext" in failing(
        capsys, 1, "enroll", "--home", "new", *_enrolment(), "--passphrase-file", "other"
    )


def test_what_an_unfinished_call_left_in_the_clear_is_sealed_too(exchange, capsys):
    assert infoexchange("keygen", NAME, "--home", "new") == 0
    Path("new/request.pem").unlink()
    assert infoexchange("keygen", NAME, "--home", "new", "--passphrase-file", "words") == 0
    assert all(SealedFile.is_one(Path("new", name).read_bytes()) for name in ("identity.key", "tls.key"))


def _enrolment() -> tuple[str, ...]:
    return ("--certificates", "th.pem", "--directory", "directory.pb", "--roots", "roots.pb")


def test_a_person_types_a_new_passphrase_twice(exchange, capsys, typed):
    typed += [WORDS, WORDS]
    assert infoexchange("keygen", NAME, "--home", "new", "--passphrase") == 0
    assert SealedFile.is_one(Path("new/identity.key").read_bytes())
    typed += [WORDS, OTHER]
    assert "not the same" in failing(capsys, 1, "keygen", NAME, "--home", "newer", "--passphrase")
    typed += ["short", "short"]
    assert "shorter than 12" in failing(capsys, 1, "keygen", NAME, "--home", "newer", "--passphrase")
    assert not Path("newer").exists()
    assert typed == []


def test_the_passphrase_is_asked_for_once_by_each_command(exchange, capsys, typed):
    assert infoexchange("key", "passwd", "home-th", "--new-passphrase-file", "words") == 0
    typed.append(WORDS)
    assert infoexchange("bundle", "show", "--home", "home-th") == 0
    assert typed == []
    typed.append(OTHER)
    assert "bad_ciphertext" in failing(capsys, 1, "bundle", "show", "--home", "home-th")


def test_without_a_terminal_nobody_is_asked(exchange, capsys, monkeypatch):
    monkeypatch.setattr(passphrase_module, "prompted", lambda _: pytest.fail("asked"))
    assert infoexchange("key", "passwd", "home-th", "--new-passphrase-file", "words") == 0
    assert "--passphrase-file" in failing(capsys, 1, "bundle", "show", "--home", "home-th")
    assert "no terminal" in failing(capsys, 1, "keygen", NAME, "--home", "new", "--passphrase")
    assert infoexchange("bundle", "show", "--home", "home-th", "--passphrase-file", "words") == 0
    Path("words").chmod(0o644)
    assert "chmod 600 words" in failing(capsys, 1, "bundle", "show", "--home", "home-th", "--passphrase-file", "words")


def test_a_passphrase_is_changed_everywhere_at_once(exchange, capsys):
    files = ["home-th", "ca-th", "relay-th", "Thailand.key"]
    data = shown(capsys, "key", "passwd", *files, "--new-passphrase-file", "words")
    names = ["ca-th/ca.key", "home-th/identity.key", "home-th/tls.key", "Thailand.key"]
    names += [f"relay-th/{name}.key" for name in ("log", "tls", "witness")]
    assert sorted(data["files"]) == sorted(names)
    for name in names:
        assert SealedFile.is_one(Path(name).read_bytes())
        assert Path(name).stat().st_mode & 0o777 == 0o600
    give = ("--passphrase-file", "words")
    # Each kind of file is opened by the command that needs it.
    assert infoexchange("ca", "crl", "--ca", "ca-th", "--out", "th.crl", *give) == 0
    assert (
        infoexchange("directory", "sign", "directory.payload", "--key", "Thailand.key", "--yes", "--out", "s", *give)
        == 0
    )
    assert enroll(exchange, "th", crl="th.crl", **{"passphrase-file": "words"}) == 0
    # Another passphrase does not open them, and changes nothing.
    line = failing(capsys, 1, "key", "passwd", *files, "--passphrase-file", "other", "--remove")
    assert "bad_ciphertext" in line
    assert infoexchange("key", "passwd", *files, *give, "--new-passphrase-file", "other") == 0
    assert infoexchange("key", "passwd", *files, "--passphrase-file", "other", "--remove") == 0
    assert Home.open("home-th").name == NAME
    assert "no such file" in failing(capsys, 1, "key", "passwd", "nowhere.key", "--remove")
    Path("empty").mkdir()
    assert "*.key" in failing(capsys, 1, "key", "passwd", "empty", "--remove")


def test_a_root_key_and_a_ca_can_be_sealed_when_they_are_made(exchange, capsys):
    give = ("--passphrase-file", "words")
    assert infoexchange("keygen", "root", "--holder", "Fourth", "--out", "fourth.key", *give) == 0
    assert infoexchange("ca", "init", "my.example", "--out", "ca-my", *give) == 0
    for name in ("fourth.key", "ca-my/ca.key"):
        assert SealedFile.is_one(Path(name).read_bytes())
    assert "not_permitted" in failing(capsys, 1, "ca", "crl", "--ca", "ca-my", "--out", "x")
    assert infoexchange("ca", "crl", "--ca", "ca-my", "--out", "x", *give) == 0
    assert "--hsm" in failing(capsys, 3, "keygen", "root", "--holder", "x", "--out", "y", "--hsm", "pkcs11:")


def test_systemd_can_hand_over_the_passphrase(exchange, monkeypatch):
    assert infoexchange("key", "passwd", "home-th", "--new-passphrase-file", "words") == 0
    Path("credentials").mkdir()
    shutil.copy("words", "credentials/infoexchange-passphrase")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(exchange / "credentials"))
    assert infoexchange("bundle", "rotate", "--home", "home-th") == 0
    assert SealedFile.is_one(Path("home-th/identity.key").read_bytes())
    assert Home.open("home-th").bundle.epoch == 2


def test_a_relay_opens_sealed_keys(exchange, capsys, monkeypatch):
    """With the passphrase file of its settings, or systemd's credential; `check` says where neither is there."""
    give = ("--passphrase-file", "words")
    assert infoexchange_relay("init", "relay.my.example", "--folder", "relay-my", *give) == 0
    for name in ("log", "witness", "tls"):
        assert SealedFile.is_one(Path(f"relay-my/{name}.key").read_bytes())
    assert infoexchange("key", "passwd", "relay-th", "--new-passphrase-file", "words") == 0
    capsys.readouterr()
    check = ("check", "--config", "relay-th/relay.toml", "--json")

    def findings() -> dict[str, tuple[bool, str]]:
        infoexchange_relay(*check)
        return {c["check"]: (c["passed"], c["next_step"]) for c in json.loads(capsys.readouterr().out)["checks"]}

    keys = ("log keys", "witness keys", "TLS certificate")
    without = findings()
    assert not any(without[name][0] for name in keys)
    assert "systemd credential" in without["log keys"][1]
    settings = Path("relay-th/relay.toml")
    text = settings.read_text()
    settings.write_text(text.replace('passphrase_file = ""', 'passphrase_file = "../words"'))
    assert all(findings()[name][0] for name in keys)
    settings.write_text(text)
    Path("credentials").mkdir()
    shutil.copy("words", "credentials/infoexchange-passphrase")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(exchange / "credentials"))
    assert all(findings()[name][0] for name in keys)


def test_the_pin_is_asked_for_like_a_passphrase(typed):
    typed.append("4321")
    assert Keychain(ask_pin=passphrase_module.asking(None, "PIN of token")).pin("agency") == "4321"
    assert isinstance(Folder("home-th").keychain, Keychain)
