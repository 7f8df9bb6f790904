"""An agency's folder: made once, read with care, changed without ever losing what it held."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command_setup import AGENCIES, make_directory, make_exchange
from infoexchange import certificates, suites
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import NationalCa
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason
from infoexchange.home import Home, held
from infoexchange.home.files import read_file, write_file, write_new
from infoexchange.keys import Identity, SigningKey
from infoexchange.listing import Listing, RootKey, Roots
from infoexchange.ports import Standing
from infoexchange.suites import HYBRID, NIST_HIGH

NAME = AGENCIES["th"]
DAY = timedelta(days=1)
PARTS = ("identity.key", "tls.key", "roots.pb", "directory.pb", "certificates.pem", "bundle-1.pb")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_exchange(tmp_path_factory.mktemp("exchange"))


@pytest.fixture
def exchange(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "exchange"))


@pytest.fixture
def folder(exchange: Path) -> Path:
    return exchange / "home-th"


def state(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}


def enroll(exchange: Path, now: datetime | None = None, **others: bytes) -> Home:
    files = {"certificates": "th.pem", "directory": "directory.pb", "roots": "roots.pb"}
    parts = {name: (exchange / file).read_bytes() for name, file in files.items()} | others
    raws = (parts["certificates"], parts["directory"], parts["roots"])
    return Home.enroll(exchange / "home-th", *raws, crl=parts.get("crl", b""), now=now or datetime.now(UTC))


def refused(reason: Reason, *words: str):
    return pytest.raises(ExchangeError, match="".join(f"(?=.*{word})" for word in (reason.word, *words)))


# Making and opening


def test_create_makes_private_keys_and_three_requests(tmp_path):
    request = Home.create(tmp_path / "new" / "home", NAME)
    assert request.read_bytes().count(b"BEGIN CERTIFICATE REQUEST") == 3
    modes = {file.name: file.stat().st_mode & 0o777 for file in request.parent.iterdir()}
    assert (modes["identity.key"], modes["tls.key"]) == (0o600, 0o600)
    assert request.parent.stat().st_mode & 0o777 == 0o700


def test_an_identity_is_never_overwritten(tmp_path):
    Home.create(tmp_path, NAME)
    before = state(tmp_path)
    for name in (NAME, AGENCIES["sg"]):
        with refused(Reason.NOT_PERMITTED, "identity.key", "another folder"):
            Home.create(tmp_path, name)
    assert state(tmp_path) == before


@pytest.mark.parametrize("missing", [("request.pem",), ("request.pem", "tls.key")])
def test_create_finishes_what_a_crash_left(tmp_path, missing):
    Home.create(tmp_path, NAME)
    identity = (tmp_path / "identity.key").read_bytes()
    for name in missing:
        (tmp_path / name).unlink()
    with refused(Reason.NOT_PERMITTED):
        Home.create(tmp_path, AGENCIES["sg"])
    assert Home.create(tmp_path, NAME).exists()
    assert (tmp_path / "identity.key").read_bytes() == identity


def test_open_gives_what_a_connection_needs(folder):
    home = Home.open(folder)
    assert home.name == NAME
    home.directory.check_current(datetime.now(UTC))
    assert home.bundle.verify(home.directory, now=datetime.now(UTC)).name == NAME
    assert home.bundle.keys_in(home.identity).epoch == 1
    assert [part.count(b"BEGIN") for part in (home.tls.chain, home.tls.key, home.tls.roots)] == [1, 1, 1]
    assert b"PRIVATE" not in repr(home.tls).encode()
    spool = home.spool()
    assert spool.standing() == Standing(0, b"")
    spool.close()


@pytest.mark.parametrize("name", PARTS)
def test_a_missing_file_is_named_with_the_command_that_makes_it(folder, name):
    (folder / name).unlink()
    with refused(Reason.UNAVAILABLE, name, "infoexchange (keygen|enroll)"):
        Home.open(folder)


@pytest.mark.parametrize("name", [part for part in PARTS if part != "tls.key"])
def test_a_damaged_file_is_named(folder, name):
    (folder / name).write_bytes(b"\x00" + (folder / name).read_bytes()[: 200 if name.endswith("pem") else None])
    with pytest.raises(ExchangeError, match=name):
        Home.open(folder)


@pytest.mark.parametrize("name", ["identity.key", "tls.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_key_that_others_can_read_is_refused(folder, name, mode):
    (folder / name).chmod(mode)
    with refused(Reason.NOT_PERMITTED, name, "chmod 600"):
        Home.open(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with refused(Reason.UNAVAILABLE, "keygen"):
        Home.open(tmp_path / "none")


# Enrolling


def test_enrolling_again_keeps_the_bundle(exchange, folder):
    before = state(folder)
    enroll(exchange)
    assert state(folder) == before


def test_renewed_certificates_give_the_next_epoch(exchange, folder):
    first = Home.open(folder).bundle
    ca = NationalCa.parse(*((exchange / "ca-th" / name).read_bytes() for name in ("ca.key", "ca.pem")))
    requests = (folder / "request.pem").read_bytes().split(b"-----BEGIN")[1:]
    ders = [ca.issue(b"-----BEGIN" + request, now=datetime.now(UTC)) for request in requests]
    home = enroll(exchange, certificates=b"".join(map(certificates.to_pem, ders)))
    assert (home.bundle.epoch, home.bundle.previous) == (2, first.digest)
    assert [bundle.epoch for bundle in Home.open(folder).bundles] == [2, 1]
    assert {keys.epoch for keys in Home.open(folder).identity.epochs} == {2, 1}


def swap(pem: bytes) -> bytes:
    first, second, third = pem.split(b"-----BEGIN")[1:]
    return b"".join(b"-----BEGIN" + part for part in (second, first, third))


def test_what_does_not_belong_is_refused_and_changes_nothing(exchange, folder):
    before, pem = state(folder), (exchange / "th.pem").read_bytes()
    Home.create(exchange / "other", NAME)
    ca = NationalCa.parse(*((exchange / "ca-th" / name).read_bytes() for name in ("ca.key", "ca.pem")))
    requests = (exchange / "other" / "request.pem").read_bytes().split(b"-----BEGIN")[1:]
    other = [ca.issue(b"-----BEGIN" + request, now=datetime.now(UTC)) for request in requests]
    own = certificates.from_pem(pem)
    mixed = b"".join(map(certificates.to_pem, [*own[:2], other[2]]))
    leaf = certificates.load(own[0])
    crl = ca.crl(now=datetime.now(UTC), revoked=[(leaf.serial_number, datetime.now(UTC) - DAY)])
    for reason, words, parts in (
        (Reason.BAD_CERTIFICATE, "Ed25519", {"certificates": swap(pem)}),
        (Reason.BAD_CERTIFICATE, "2 certificates", {"certificates": pem[: pem.rindex(b"-----BEGIN")]}),
        (Reason.BAD_CERTIFICATE, AGENCIES["sg"], {"certificates": (exchange / "sg.pem").read_bytes()}),
        (Reason.BAD_CERTIFICATE, "another key", {"certificates": b"".join(map(certificates.to_pem, other))}),
        (Reason.BAD_CERTIFICATE, "tls.key", {"certificates": mixed}),
        (Reason.BAD_CERTIFICATE, "PEM", {"certificates": b"nothing"}),
        (Reason.REVOKED, "CA", {"crl": crl}),
        (Reason.BAD_CERTIFICATE, "revocation list", {"crl": b"nothing"}),
        (Reason.BAD_SIGNATURE, "1 root", {"directory": (exchange / "directory.Thailand").read_bytes()}),
        (Reason.MALFORMED, "roots", {"roots": b"nothing"}),
    ):
        with refused(reason, words):
            enroll(exchange, **parts)
        assert state(folder) == before
    with refused(Reason.DIRECTORY_EXPIRED):
        enroll(exchange, now=datetime.now(UTC) + 91 * DAY)
    assert state(folder) == before


def test_an_older_directory_is_refused(exchange, folder):
    newer = make_directory(exchange, "second", "--after", exchange / "directory.pb")
    enroll(exchange, directory=newer.read_bytes())
    with refused(Reason.DIRECTORY_ROLLBACK, "2 is held"):
        enroll(exchange)
    assert Home.open(folder).directory.version == 2


def test_a_damaged_directory_can_be_put_in_again(exchange, folder):
    (folder / "directory.pb").write_bytes(b"nothing")
    enroll(exchange)
    assert Home.open(folder).directory.version == 1


# Rotating


def test_rotation_waits_until_ten_days_before_the_end(folder):
    home = Home.open(folder)
    assert not home.rotate(now=home.bundle.not_after - 11 * DAY)
    assert home.bundle.epoch == 1
    assert home.rotate(now=home.bundle.not_after - 9 * DAY)
    assert (home.bundle.epoch, home.bundles[1].epoch) == (2, 1)
    assert home.bundle.previous == home.bundles[1].digest
    again = Home.open(folder)
    assert [b.digest for b in again.bundles] == [b.digest for b in home.bundles]
    for bundle in again.bundles:
        assert bundle.keys_in(again.identity)
    again.bundle.verify(again.directory, now=again.bundle.not_before)


def test_two_processes_rotate_once(folder):
    one, two = Home.open(folder), Home.open(folder)
    now = one.bundle.not_after - DAY
    assert one.rotate(now=now)
    assert not two.rotate(now=now)
    assert two.bundle.digest == one.bundle.digest


def test_a_crash_between_keys_and_bundle_is_finished(folder, monkeypatch):
    home = Home.open(folder)
    now = home.bundle.not_after - DAY
    with monkeypatch.context() as patched:
        patched.setattr(KeyBundle, "issue", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            home.rotate(now=now)
    laid = Home.open(folder)
    assert (laid.bundle.epoch, laid.identity.epochs[0].epoch) == (1, 2)
    assert laid.rotate(now=now)
    assert laid.bundle.keys_in(laid.identity) == Home.open(folder).identity.epochs[0]
    assert laid.identity.epochs[0].signing.keys() == laid.identity.epochs[1].signing.keys()


def test_an_agency_offers_what_it_chose_until_it_chooses_again(exchange, folder, tmp_path):
    Home.create(tmp_path / "other", NAME, suites=(NIST_HIGH,))
    assert Identity.parse((tmp_path / "other" / "identity.key").read_bytes()).epochs[0].offered == (NIST_HIGH,)
    # What is given up can be acknowledged for as long as something sealed in it can be opened.
    long = make_directory(exchange, "long", "--after", exchange / "directory.pb", valid_days=999)
    home = enroll(exchange, directory=long.read_bytes())
    found, now = [], home.bundle.not_after - DAY
    for chosen in ((HYBRID, NIST_HIGH), (), (), (), (), ()):
        assert home.rotate(now=now, suites=chosen)
        home.bundle.verify(home.directory, now=home.bundle.not_before)
        closing = {n for n, _ in home.identity.epochs[0].signing} - {*home.bundle.accept_suites}
        found.append((home.bundle.accept_suites, closing))
        now = home.bundle.not_after - DAY
    assert found == [((2, 4), {3})] * 4 + [((2, 4), set())] * 2


def test_a_clock_far_ahead_destroys_no_keys(folder):
    home, before = Home.open(folder), state(folder)
    assert not home.rotate(now=home.directory.listing.expires_at)
    assert state(folder) == before


def test_old_keys_are_destroyed_after_the_last_message_to_them(exchange, folder):
    long = make_directory(exchange, "long", "--after", exchange / "directory.pb", valid_days=999)
    home = enroll(exchange, directory=long.read_bytes())
    home.rotate(now=home.bundle.not_after - DAY)
    last = home.bundles[-1].not_after + 90 * DAY
    home.rotate(now=last)
    assert [bundle.epoch for bundle in home.bundles] == [3, 2, 1]
    home.rotate(now=last + 29 * DAY)
    assert [bundle.epoch for bundle in Home.open(folder).bundles] == [4, 3, 2]
    assert {keys.epoch for keys in Home.open(folder).identity.epochs} == {4, 3, 2}


# The directory


def successor(held: Directory, old: SigningKey, new: SigningKey) -> Directory:
    """The next version, whose root key is a new one; both sign."""
    roots = Roots(1, (RootKey(new.public, "new"),))
    listing = held.listing
    values = {name: getattr(listing, name) for name in Listing.__dataclass_fields__}
    values |= {"version": held.version + 1, "previous": held.digest, "roots": roots}
    return held.succeed(Directory.sign(Listing(**values).payload, [old, new]))


@pytest.fixture
def chain(exchange: Path) -> list[Directory]:
    """Three versions whose root keys change each time, the first in the folder already."""
    keys = [SigningKey.make(suites.DEFAULT_SUITE) for _ in range(3)]
    first = Home.open(exchange / "home-th").directory.listing
    roots = Roots(1, (RootKey(keys[0].public, "new"),))
    values = {name: getattr(first, name) for name in Listing.__dataclass_fields__} | {"roots": roots, "version": 2}
    directory = Directory.parse(Directory.sign(Listing(**values).payload, [keys[0]]), roots=roots)
    enroll(exchange, directory=directory.raw, roots=roots.raw)
    second = successor(directory, keys[0], keys[1])
    return [directory, second, successor(second, keys[1], keys[2])]


def test_a_directory_with_new_roots_is_kept_even_when_versions_were_missed(folder, chain):
    home = Home.open(folder)
    home.save_directory(chain[2])
    assert Home.open(folder).directory.digest == chain[2].digest
    home.save_directory(chain[2])
    with refused(Reason.DIRECTORY_ROLLBACK):
        home.save_directory(chain[1])


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("then", [1, 2])
def test_a_crash_at_any_step_leaves_a_directory_that_opens(folder, chain, monkeypatch, step, then):
    """Also when the call after a crash is cut off at the same step."""
    for directory in (chain[1], chain[2])[:then]:
        count = iter(range(9))

        def die(*_: object, real=held.write_file, count=count):
            if next(count) == step:
                raise OSError(28, "full")
            return real(*_)

        with monkeypatch.context() as patched:
            patched.setattr(held, "write_file", die)
            if step == 3:
                patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
                patched.setattr(held, "write_file", lambda path, data: path.write_bytes(data))
            with pytest.raises(OSError, match="full"):
                Home.open(folder).save_directory(directory)
        assert Home.open(folder).directory.version in (2, 3, 4)
    Home.open(folder).save_directory(chain[2])
    assert Home.open(folder).directory.version == 4


# Files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_file(file, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="file"):
        write_file(file, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert file.read_bytes() == b"old"


def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path):
    with refused(Reason.NOT_PERMITTED):
        write_file(tmp_path, b"")
    with refused(Reason.TOO_LARGE):
        read_file(Path("/dev/zero"), next_step="Check the path.")
    write_new(tmp_path / "key", b"one")
    with refused(Reason.NOT_PERMITTED, "not overwritten"):
        write_new(tmp_path / "key", b"two")
    assert (tmp_path / "key").read_bytes() == b"one"
