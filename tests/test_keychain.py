"""The keychain: where passphrases come from, and which secret files are not used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infoexchange.errors import ExchangeError, Reason
from infoexchange.home import Keychain
from infoexchange.home.files import read_credential, read_key, remove_leftovers
from infoexchange.home.keychain import PASSPHRASE, PIN, text_of
from infoexchange.keys.sealed import Cost, Seal, SealedFile

CHEAP = Cost(memory=64 * 1024, passes=1, lanes=1)
WORDS = "four words nobody said"
SEAL = Seal.make(WORDS, cost=CHEAP)
STEP = "Check the path."


def reason_of(call, *args, **named) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    assert WORDS not in str(caught.value)
    return caught.value.reason


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (("clear.key", b"one"), ("sealed.key", SEAL.seal(b"two")), ("other.key", SEAL.seal(b"three"))):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    place = tmp_path / "credentials"
    place.mkdir(mode=0o700)
    return place


def put(place: Path, name: str, content: bytes, mode: int = 0o400) -> None:
    (place / name).write_bytes(content)
    (place / name).chmod(mode)


def test_the_passphrase_is_asked_for_once(folder):
    asked = []
    keychain = Keychain(lambda name: asked.append(name) or WORDS)
    assert keychain.read(folder / "clear.key", next_step=STEP) == b"one"
    assert asked == []
    assert keychain.read(folder / "sealed.key", next_step=STEP) == b"two"
    assert keychain.read(folder / "other.key", next_step=STEP) == b"three"
    assert asked == [str(folder / "sealed.key")]


def test_a_passphrase_serves_for_files_of_another_salt_too(folder):
    asked = []
    (folder / "other.key").write_bytes(Seal.make(WORDS, cost=CHEAP).seal(b"three"))
    keychain = Keychain(lambda name: asked.append(name) or WORDS)
    for name in ("sealed.key", "other.key", "sealed.key"):
        assert keychain.read(folder / name, next_step=STEP)
    assert len(asked) == 1


def test_without_the_passphrase_nothing_is_opened(folder):
    assert reason_of(Keychain().read, folder / "sealed.key", next_step=STEP) is Reason.NOT_PERMITTED
    wrong = Keychain(lambda _: "another passphrase")
    assert reason_of(wrong.read, folder / "sealed.key", next_step=STEP) is Reason.BAD_CIPHERTEXT
    assert reason_of(Keychain().read, folder / "none.key", next_step=STEP) is Reason.UNAVAILABLE


def test_systemd_hands_over_the_passphrase(folder, credentials):
    put(credentials, PASSPHRASE, WORDS.encode() + b"\n")
    for keychain in (Keychain(credentials=credentials), Keychain(pytest.fail, credentials=credentials)):
        assert keychain.read(folder / "sealed.key", next_step=STEP) == b"two"
    put(credentials, "wrong", b"")
    (credentials / PASSPHRASE).unlink()
    put(credentials, PASSPHRASE, b"another passphrase")
    keychain = Keychain(lambda _: WORDS, credentials=credentials)
    assert keychain.read(folder / "sealed.key", next_step=STEP) == b"two"  # a person may know better


def test_the_environment_names_the_place_of_credentials(folder, credentials, monkeypatch):
    put(credentials, PASSPHRASE, WORDS.encode())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert Keychain().read(folder / "sealed.key", next_step=STEP) == b"two"


def test_systemd_hands_over_a_key_file(folder, credentials):
    put(credentials, "tls.key", b"handed over")
    put(credentials, "clear.key", b"a stale copy")
    keychain = Keychain(credentials=credentials)
    assert keychain.read(folder / "tls.key", next_step=STEP) == b"handed over"
    assert keychain.read(folder / "clear.key", next_step=STEP) == b"one"  # the file in its place comes first
    assert reason_of(keychain.write, folder / "tls.key", b"new") is Reason.NOT_PERMITTED
    assert not (folder / "tls.key").exists()
    put(credentials, "identity.key", SEAL.seal(b"sealed as well"))
    put(credentials, PASSPHRASE, WORDS.encode())
    assert keychain.read(folder / "identity.key", next_step=STEP) == b"sealed as well"


def test_credentials_that_everybody_can_read_are_none(credentials):
    put(credentials, "tls.key", b"x", mode=0o440)  # the group's bits stand for an access list
    assert read_credential(credentials / "tls.key") == b"x"
    (credentials / "tls.key").chmod(0o444)
    assert reason_of(read_credential, credentials / "tls.key") is Reason.NOT_PERMITTED


def test_a_file_is_written_back_as_it_was(folder):
    keychain = Keychain(lambda _: WORDS)
    for name in ("clear.key", "sealed.key"):
        keychain.read(folder / name, next_step=STEP)
        keychain.write(folder / name, b"new")
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert (folder / "clear.key").read_bytes() == b"new"
    assert SealedFile.parse((folder / "sealed.key").read_bytes()).open_with(SEAL) == b"new"
    assert b"new" not in (folder / "sealed.key").read_bytes()


def test_new_files_are_sealed_where_that_was_asked_for(folder):
    keychain = Keychain(seal=SEAL)
    keychain.write_new(folder / "new.key", b"secret")
    assert b"secret" not in (folder / "new.key").read_bytes()
    assert keychain.read(folder / "new.key", next_step=STEP) == b"secret"
    Keychain().write_new(folder / "plain.key", b"secret")
    assert (folder / "plain.key").read_bytes() == b"secret"
    assert reason_of(keychain.write_new, folder / "new.key", b"again") is Reason.NOT_PERMITTED


def test_a_passphrase_can_be_changed_and_removed(folder):
    keychain, other = Keychain(lambda _: WORDS), Seal.make("quite another one", cost=CHEAP)
    keychain.reseal(folder / "sealed.key", other)
    assert SealedFile.parse((folder / "sealed.key").read_bytes()).open_with(other) == b"two"
    keychain.reseal(folder / "sealed.key", None)
    assert (folder / "sealed.key").read_bytes() == b"two"
    keychain.reseal(folder / "clear.key", other)
    assert Keychain(lambda _: "quite another one").read(folder / "clear.key", next_step=STEP) == b"one"


def test_the_pin_of_a_token(credentials):
    assert Keychain(ask_pin=lambda token: f"{token}-1").pin("agency") == "agency-1"
    assert reason_of(Keychain().pin, "agency") is Reason.NOT_PERMITTED
    put(credentials, PIN, b"4321\n")
    assert Keychain(ask_pin=pytest.fail, credentials=credentials).pin("agency") == "4321"


@pytest.mark.parametrize("raw", [b"", b"\n", b"\xff", b"two\nlines"])
def test_a_passphrase_is_one_line(raw):
    assert reason_of(text_of, raw, "file") is Reason.BAD_FIELD
    assert text_of(b" spaces count \r\n", "file") == " spaces count "


# Whose files


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o622])
def test_what_others_can_reach_is_refused_with_the_command_to_run(folder, mode):
    (folder / "sealed.key").chmod(mode)
    with pytest.raises(ExchangeError, match=r"not_permitted.*chmod 600 .*sealed\.key"):
        Keychain(lambda _: WORDS).read(folder / "sealed.key", next_step=STEP)


def test_the_file_of_another_user_is_refused(tmp_path, monkeypatch):
    """Also behind a symbolic link, whose own owner says nothing."""
    key, link = tmp_path / "key", tmp_path / "link"
    key.write_bytes(b"secret")
    key.chmod(0o600)
    link.symlink_to(key)
    if os.geteuid() == 0:
        os.chown(key, 12345, 12345)
        assert read_key(link, next_step=STEP) == b"secret"  # the administrator looks after the files of others
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    for path in (key, link):
        with pytest.raises(ExchangeError, match=r"not_permitted.*another user.*chown 54321"):
            read_key(path, next_step=STEP)
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid)
    assert read_key(link, next_step=STEP) == b"secret"


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".identity.key.0a1b2c3d").write_bytes(b"half a secret")
    (tmp_path / ".identity.key.longer-name").write_bytes(b"")
    (tmp_path / "identity.key").write_bytes(b"whole")
    remove_leftovers(tmp_path / "identity.key")
    assert {file.name for file in tmp_path.iterdir()} == {"identity.key", ".identity.key.longer-name"}
