"""An agency's keys in turn: issued ahead, destroyed when they are over, and never used twice, whatever crashes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command_setup import AGENCIES, make_directory, make_exchange
from infoexchange import rotation
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW, NationalCa, to_pem
from infoexchange.errors import ExchangeError
from infoexchange.home import Folder, Home, Keychain
from infoexchange.keys import EpochKeys, Identity
from infoexchange.keys.sealed import Cost, Seal, SealedFile
from infoexchange.rotation import OPENING_KEPT, PUBLISHED_BEFORE, ROTATE_BEFORE

NAME = AGENCIES["th"]
HOUR, DAY, MOMENT = timedelta(hours=1), timedelta(days=1), timedelta(milliseconds=1)
CHEAP = Cost(memory=64 * 1024, passes=1, lanes=1)
WORDS = "four words nobody said"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exchange whose directory holds for years, so that keys can grow old in it."""
    folder = make_exchange(tmp_path_factory.mktemp("exchange"))
    long = make_directory(folder, "long", "--after", folder / "directory.pb", valid_days=999)
    parts = [(folder / name).read_bytes() for name in ("th.pem", long.name, "roots.pb")]
    Home.enroll(folder / "home-th", *parts, now=datetime.now(UTC))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "home-th", tmp_path / "home"))


@pytest.fixture
def home(folder: Path) -> Home:
    return Home.open(folder)


def held(folder: Path) -> dict[int, tuple[bool, bool]]:
    """For each epoch in the key file whether there are keys that sign, and keys that open."""
    identity = Identity.parse((folder / "identity.key").read_bytes())
    for keys in identity.epochs:
        assert bool(keys.signing) == bool(keys.wrapping)
    return {keys.epoch: (bool(keys.signing), bool(keys.opening)) for keys in identity.epochs}


def secrets_of(keys: EpochKeys) -> list[str]:
    """The secrets of an epoch as the key file writes them."""
    raw = json.loads(replace(FRESH, epochs=(keys,)).raw)
    [epoch] = raw["epochs"]
    return [key["secret"] for key in (*epoch["signing"], *epoch["opening"])] + [epoch["wrapping"]]


FRESH = Identity.make(NAME)


# When


def test_the_next_begins_two_days_ahead_and_never_leaves_a_gap(home: Home) -> None:
    end = home.bundle.not_after
    for now, due in ((end - ROTATE_BEFORE - MOMENT, False), (end - ROTATE_BEFORE, True), (end + DAY, True)):
        assert rotation.is_due(home.bundle, now) is due
    start = rotation.start_of_next
    assert start(home.bundle, end - 10 * DAY) == end - 10 * DAY + PUBLISHED_BEFORE
    assert start(home.bundle, end - DAY) == end
    assert start(home.bundle, end + DAY) == end + DAY


def test_rotation_overlaps_with_the_one_before(home: Home) -> None:
    first, now = home.bundle, home.bundle.not_after - 10 * DAY
    assert home.rotate(now=now)
    second = home.bundle
    assert (second.epoch, second.previous) == (2, first.digest)
    assert second.not_before == now + 48 * HOUR < first.not_after
    assert second.not_after - second.not_before == 30 * DAY
    assert not home.rotate(now=now + DAY)
    second.prove(home.directory, now=now)
    with pytest.raises(ExchangeError, match="stale_bundle"):
        second.verify(home.directory, now=now)


def test_enrolling_again_does_not_disturb_a_bundle_to_come(made: Path, folder: Path, home: Home) -> None:
    issued = home.issue_next(now=datetime.now(UTC))
    assert issued.not_before > datetime.now(UTC) + DAY
    parts = [(made / name).read_bytes() for name in ("th.pem", "long.pb", "roots.pb")]
    again = Home.enroll(folder, *parts, now=datetime.now(UTC))
    assert [b.digest for b in again.bundles] == [b.digest for b in home.bundles]


def test_a_person_may_issue_at_any_time(home: Home) -> None:
    now = datetime.now(UTC)
    assert home.issue_next(now=now).not_before - now > 47 * HOUR
    assert home.issue_next(now=now, at_once=True).not_before <= now
    last = home.issue_next(now=now, withdraw=True)
    assert (last.epoch, last.withdraws_older, last.not_before <= now) == (4, True, True)
    assert [b.epoch for b in home.bundles] == [4, 3, 2, 1]
    for newer, older in zip(home.bundles, home.bundles[1:], strict=False):
        assert newer.previous == older.digest
    with pytest.raises(ExchangeError, match="directory_expired"):
        home.issue_next(now=home.directory.listing.expires_at)


def test_after_a_theft_no_key_is_used_that_lay_there_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not one that a crash had left for the next bundle."""
    home, now = Home.open(folder), datetime.now(UTC)
    with monkeypatch.context() as patched:
        patched.setattr(KeyBundle, "issue", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            home.issue_next(now=now)
    left = Home.open(folder).identity.epochs[0]
    assert left.epoch == 2
    stolen = set(secrets_of(left))
    home.issue_next(now=now, withdraw=True)
    assert home.bundle.epoch == 2
    assert not stolen & set(secrets_of(Home.open(folder).identity.keys_of(2)))


# Destroying


def test_secrets_are_destroyed_when_nobody_may_use_them(home: Home) -> None:
    first = home.bundle
    home.rotate(now=first.not_after - DAY)
    identity, bundles = home.identity, home.bundles
    keys = identity.keys_of(1)

    def left(now: datetime) -> EpochKeys | None:
        found = rotation.remaining(identity, bundles, now)
        assert found.epochs[0].epoch == 2
        return next((k for k in found.epochs if k.epoch == 1), None)

    assert left(first.not_after + CLOCK_SKEW) == keys
    opening_only = replace(keys, signing={}, wrapping=b"")
    assert left(first.not_after + CLOCK_SKEW + MOMENT) == opening_only
    assert left(first.not_after + OPENING_KEPT) == opening_only
    assert left(first.not_after + OPENING_KEPT + MOMENT) is None
    assert OPENING_KEPT == 90 * DAY + 2 * CLOCK_SKEW


def test_the_newest_place_in_the_numbering_is_kept(home: Home) -> None:
    """An agency that slept for a year goes on with the next number, and holds no secret until then."""
    asleep = home.bundle.not_after + OPENING_KEPT + MOMENT
    [husk] = rotation.remaining(home.identity, home.bundles, asleep).epochs
    assert (husk.epoch, husk.signing, husk.opening, husk.wrapping) == (1, {}, {}, b"")
    again = Identity.parse(replace(home.identity, epochs=(husk,)).raw)
    with pytest.raises(ExchangeError, match="stale_bundle"):
        again.keys_of(1)
    assert home.rotate(now=asleep)
    assert [b.epoch for b in home.bundles] == [2]
    assert held(home.path) == {2: (True, True)}
    assert home.bundle.previous


def test_keys_without_their_bundle_follow_the_next_one(home: Home) -> None:
    home.rotate(now=home.bundle.not_after - DAY)
    (home.path / "bundle-1.pb").unlink()
    bundles = Home.open(home.path).bundles
    assert [b.epoch for b in bundles] == [2]
    kept = rotation.remaining(home.identity, bundles, bundles[0].not_after)
    assert kept == home.identity
    assert [k.epoch for k in rotation.remaining(home.identity, bundles, bundles[0].not_after + 91 * DAY).epochs] == [2]


def test_destroying_is_done_at_rotation_and_by_itself_and_twice_is_once(home: Home) -> None:
    end = home.bundle.not_after
    home.rotate(now=end - DAY)
    gone = secrets_of(home.identity.keys_of(1))
    file = home.path / "identity.key"
    assert all(secret in file.read_text() for secret in gone)
    assert home.destroy_old(now=end) == []
    assert home.destroy_old(now=end + HOUR) == [1]
    assert held(home.path) == {2: (True, True), 1: (False, True)}
    before = file.stat().st_mtime_ns
    assert home.destroy_old(now=end + HOUR) == []
    assert file.stat().st_mtime_ns == before
    # Every connection asks, also when no new bundle is due.
    later = Home.open(home.path)
    assert not later.rotate(now=later.bundle.not_after - 11 * DAY)
    assert later.rotate(now=end + OPENING_KEPT + MOMENT)
    assert held(home.path) == {3: (True, True), 2: (False, True)}
    assert not any(secret in file.read_text() for secret in gone)
    assert sorted(p.name for p in home.path.glob("bundle-*")) == ["bundle-2.pb", "bundle-3.pb"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_by_a_clock_that_is_far_ahead_nothing_is_destroyed(home: Home) -> None:
    before = (home.path / "identity.key").read_bytes()
    far = home.directory.listing.expires_at
    assert not home.rotate(now=far)
    with pytest.raises(ExchangeError, match="directory_expired"):
        home.destroy_old(now=far)
    assert (home.path / "identity.key").read_bytes() == before


# Crashes


@contextlib.contextmanager
def failing(owner: object, name: str, nth: int) -> Iterator[list[int]]:
    """Let one call of a function fail as a broken disk does; the list given is empty if it never came to that call."""
    real, count = getattr(owner, name), itertools.count()
    hit: list[int] = []

    def fail(*args: object, **named: object) -> object:
        if next(count) == nth:
            hit.append(nth)
            raise OSError(5, "Input/output error", "disk")
        return real(*args, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, name, fail)
        yield hit


@pytest.mark.parametrize(("owner", "name"), [(os, "open"), (os, "fsync"), (Path, "replace"), (Path, "unlink")])
@pytest.mark.parametrize("step", ["rotate", "destroy"])
def test_a_fault_at_any_step_is_finished_by_the_next_call(
    home: Home, tmp_path: Path, step: str, owner: object, name: str
) -> None:
    """The n-th use of each call that changes a disk fails, for n = 0, 1, 2 ... until a run goes through."""
    now, after = home.bundle.not_after - DAY, {2: (True, True), 1: (True, True)}
    if step == "destroy":
        home.rotate(now=now)
        now, after = now + DAY + HOUR, {2: (True, True), 1: (False, True)}
    for nth in itertools.count():
        copy = Path(shutil.copytree(home.path, tmp_path / str(nth)))
        opened = Home.open(copy)
        with failing(owner, name, nth) as hit, contextlib.suppress(OSError):
            opened.rotate(now=now)
        again = Home.open(copy)  # whole, whatever happened
        for bundle in again.bundles:
            again.identity.keys_of(bundle.epoch)
        again.rotate(now=now)
        assert held(copy) == after
        assert [b.epoch for b in again.bundles] == [2, 1]
        assert again.bundle.previous == again.bundles[1].digest
        if not hit:
            break
    assert nth >= 1


KILLED = """
import os, signal, sys
from datetime import datetime
from infoexchange.home import Home, files
real, name, nth = getattr(os, sys.argv[2]), sys.argv[2], int(sys.argv[3])
count = iter(range(99))
def killing(*args, **named):
    if next(count) == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **named)
home = Home.open(sys.argv[1])
setattr(os, name, killing)
home.rotate(now=datetime.fromisoformat(sys.argv[4]))
"""


@pytest.mark.parametrize("nth", range(3))
def test_a_kill_leaves_the_old_file_or_the_new_and_no_secret_beside(home: Home, nth: int) -> None:
    now = home.bundle.not_after - DAY
    command = [sys.executable, "-c", KILLED, str(home.path), "fsync", str(nth), now.isoformat()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=False, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")
    again = Home.open(home.path)
    assert again.bundle.keys_in(again.identity)
    again.rotate(now=now)
    assert held(home.path) == {2: (True, True), 1: (True, True)}
    assert not [p.name for p in home.path.iterdir() if p.name.startswith(".identity")]


# Sealed folders


def test_a_sealed_folder_rotates_and_stays_sealed(tmp_path: Path, made: Path) -> None:
    keychain = Keychain(seal=Seal.make(WORDS, cost=CHEAP))
    place = Folder(tmp_path / "sealed", keychain)
    request = Home.create(place, NAME)
    ca = NationalCa.parse(*((made / "ca-th" / name).read_bytes() for name in ("ca.key", "ca.pem")))
    parts = [b"-----BEGIN" + part for part in request.read_bytes().split(b"-----BEGIN")[1:]]
    pem = b"".join(to_pem(ca.issue(part, now=datetime.now(UTC))) for part in parts)
    files = [(made / name).read_bytes() for name in ("long.pb", "roots.pb")]
    Home.enroll(place, pem, *files, now=datetime.now(UTC))
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        return WORDS

    home = Home.open(Folder(place.path, Keychain(ask)))
    assert home.rotate(now=home.bundle.not_after - DAY)
    assert home.tls.key.startswith(b"-----BEGIN PRIVATE KEY")
    assert len(asked) == 1
    for name in ("identity.key", "tls.key"):
        assert SealedFile.is_one((place.path / name).read_bytes())
    with pytest.raises(ExchangeError, match=r"not_permitted.*passphrase"):
        Home.open(place.path)
    with pytest.raises(ExchangeError, match=r"bad_ciphertext.*identity\.key"):
        Home.open(Folder(place.path, Keychain(lambda _: "another passphrase")))


def test_an_identity_handed_over_by_systemd_opens_and_does_not_rotate(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (home.path / "identity.key").rename(credentials / "identity.key")
    (credentials / "identity.key").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    opened = Home.open(home.path)
    soon = opened.bundle.not_after - DAY
    assert not opened.rotate(now=soon)
    assert any("handed over" in line for line in opened.reminders(now=soon))
    assert not (home.path / "identity.key").exists()
    assert [b.epoch for b in Home.open(home.path).bundles] == [1]


# Going on after a lost copy


def test_an_older_copy_goes_on_after_what_was_published(home: Home, folder: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "backup"))
    now = datetime.now(UTC)
    first, second = home.bundle, home.issue_next(now=now)
    published = [second, first]
    restored = Home.open(old)
    twin = restored.issue_next(now=now)  # not known to be a twin: the relay will say so
    assert (twin.epoch, twin.digest != second.digest) == (2, True)
    fresh = restored.go_on_after(published, now=now)
    assert fresh
    assert (fresh.epoch, fresh.previous) == (3, second.digest)
    assert [b.epoch for b in Home.open(old).bundles] == [3, 1]
    assert held(old) == {3: (True, True), 1: (True, True)}
    # With nothing missing there is nothing to do.
    assert restored.go_on_after([fresh, *published], now=now) is None
    assert home.go_on_after(published, now=now) is None
    assert home.go_on_after([], now=now) is None


def test_what_somebody_else_signed_is_not_gone_on_after(home: Home) -> None:
    now = datetime.now(UTC)
    other = Identity.make(NAME)
    strange = replace(other, epochs=(EpochKeys.make(2), *other.epochs))
    forged = KeyBundle.issue(strange, home.folder.leaves()[:2], (), now=now, previous=home.bundle)
    assert home.go_on_after([forged, home.bundle], now=now) is None
    assert [b.epoch for b in Home.open(home.path).bundles] == [1]


# Reminders


def test_reminders_say_what_to_do(home: Home) -> None:
    end = home.bundle.not_after
    assert home.reminders(now=datetime.now(UTC)) == []
    assert home.reminders(now=end - 7 * DAY) == []
    [line] = home.reminders(now=end - 7 * DAY + MOMENT)
    assert f"{end:%Y-%m-%d}" in line
    assert f"infoexchange bundle rotate --home {home.path}" in line
    home.rotate(now=end - 7 * DAY + MOMENT)
    assert home.reminders(now=end - 7 * DAY + MOMENT) == []


def test_a_list_that_ends_is_named(made: Path, folder: Path) -> None:
    ca = NationalCa.parse(*((made / "ca-th" / name).read_bytes() for name in ("ca.key", "ca.pem")))
    (folder / "crl.der").write_bytes(ca.crl(now=datetime.now(UTC)))
    home = Home.open(folder)
    assert home.reminders(now=datetime.now(UTC) + 5 * DAY) == []
    [line] = home.reminders(now=datetime.now(UTC) + 6 * DAY + HOUR)
    assert "revocation list" in line
