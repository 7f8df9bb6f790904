"""An identity key in a hardware token: SoftHSM2 plays the token; its secret is never in this process's hands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from command_setup import AGENCIES, enroll, infoexchange, make_exchange
from infoexchange import certificates, hsm, suites
from infoexchange.bundle import KeyBundle
from infoexchange.dsse import TYPE_KEYBUNDLE, pae
from infoexchange.errors import ExchangeError, Reason
from infoexchange.home import Folder, Home, Keychain
from infoexchange.hsm import HeldKey, Place
from infoexchange.keys import Identity, IdentityKey

NAME = AGENCIES["th"]
DRIVERS = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
PIN = "43214321"
DAY = timedelta(days=1)


def reason_of(call: Callable[..., object], *args: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args)
    assert PIN not in str(caught.value)
    return caught.value.reason


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The driver, with a token named `agency`; once for this process, because drivers read their settings once."""
    found = next((path for path in DRIVERS if Path(path).exists()), None)
    if not found or not shutil.which("softhsm2-util"):
        pytest.skip("SoftHSM2 is not installed (apt install softhsm2)")
    pytest.importorskip("pkcs11", reason="the extra hsm is not installed")
    place = tmp_path_factory.mktemp("softhsm")
    (place / "tokens").mkdir()
    (place / "softhsm2.conf").write_text(f"directories.tokendir = {place}/tokens\nlog.level = ERROR\n")
    patched = pytest.MonkeyPatch()
    patched.setenv("SOFTHSM2_CONF", str(place / "softhsm2.conf"))
    command = ["softhsm2-util", "--init-token", "--free", "--label", "agency", "--so-pin", "87654321", "--pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    yield found
    patched.undo()


def place(driver: str, label: str, token: str = "agency") -> str:
    return Place(driver, token, label).uri


def pin(_: str) -> str:
    return PIN


@pytest.fixture(scope="module")
def key(driver: str) -> HeldKey:
    return hsm.find_or_make(place(driver, "identity"), pin)


# Where a key is

GOOD = "pkcs11:token=my%20agency;object=identity?module-path=/usr/lib/softhsm/libsofthsm2.so"


def test_a_place_is_a_pkcs11_uri() -> None:
    parsed = Place.parse(GOOD)
    assert parsed == Place("/usr/lib/softhsm/libsofthsm2.so", "my agency", "identity")
    assert parsed.uri == GOOD
    strange = Place("/opt/a driver;v2?.so", "tok=en;&", "ключ")
    assert Place.parse(strange.uri) == strange


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "pkcs11:",
        "file:/etc/passwd",
        GOOD.replace("pkcs11:", "pkcs12:"),
        GOOD.replace("token=my%20agency;", ""),
        GOOD.replace("identity", ""),
        GOOD + "&pin-value=1234",
        GOOD + "&pin-source=file:/pin",
        GOOD.replace("object=", "token=again;object="),
        GOOD.replace("object=", "serial=1;object="),
        GOOD.replace("identity", "two%0Alines"),
    ],
)
def test_what_is_no_place(uri: str) -> None:
    assert reason_of(Place.parse, uri) is Reason.BAD_FIELD


def test_a_pin_is_never_a_part_of_it() -> None:
    with pytest.raises(ExchangeError, match="--pin-file") as caught:
        Place.parse(GOOD + "&pin-value=1234")
    assert "1234" not in str(caught.value)


# What it signs


def test_it_signs_and_keeps_its_secret(driver: str, key: HeldKey) -> None:
    suites.verify_ed25519(key.public, b"message", key.sign(b"message"))
    assert hsm.find_or_make(key.uri, pin) == key  # found again, not made anew
    other = hsm.find_or_make(place(driver, "other"), pin)
    assert other.public != key.public
    assert PIN not in repr(key)
    from pkcs11 import Attribute, KeyType, ObjectClass

    with hsm._session(Place.parse(key.uri), pin) as session:
        held = session.get_key(ObjectClass.PRIVATE_KEY, KeyType.EC_EDWARDS, label="identity")
        assert (held[Attribute.SENSITIVE], held[Attribute.EXTRACTABLE]) == (True, False)
        with pytest.raises(Exception):  # noqa: B017  each driver has its own word for no
            held[Attribute.VALUE]


def test_it_signs_bundles_with_the_other_half_in_software(key: HeldKey) -> None:
    pair = IdentityKey.make(token=key)
    (classical, _), (post_quantum, _) = pair.sign(TYPE_KEYBUNDLE, b"payload")
    message = pae(TYPE_KEYBUNDLE, b"payload")
    suites.verify_ed25519(pair.publics[0], message, classical)
    suites.verify_mldsa65(pair.publics[1], message, post_quantum)
    assert pair.publics[0] == key.public


def test_another_key_under_its_label_signs_nothing(driver: str, key: HeldKey) -> None:
    other = hsm.find_or_make(place(driver, "other"), pin)
    pair = IdentityKey.make(token=HeldKey(other.uri, key.public, pin))
    assert reason_of(pair.sign, TYPE_KEYBUNDLE, b"payload") is Reason.BAD_SIGNATURE


def test_it_signs_requests(key: HeldKey) -> None:
    first, _ = certificates.identity_requests(NAME, IdentityKey.make(token=key))
    request = x509.load_pem_x509_csr(first)
    assert request.is_signature_valid
    assert request.public_key().public_bytes_raw() == key.public  # type: ignore[union-attr]
    if openssl := shutil.which("openssl"):
        done = subprocess.run([openssl, "req", "-verify", "-noout"], input=first, capture_output=True, check=False)
        assert (done.returncode, b"OK" in done.stderr) == (0, True)


def test_an_identity_file_names_the_place_and_holds_no_secret_of_it(key: HeldKey) -> None:
    identity = Identity.make(NAME, token=key)
    again = Identity.parse(identity.raw, token=lambda uri, public: HeldKey(uri, public, pin))
    assert again == identity
    assert again.raw == identity.raw
    assert PIN.encode() not in identity.raw
    assert b'"ed25519"' not in identity.raw
    # Without a token everything works but signing bundles.
    apart = Identity.parse(identity.raw)
    assert apart.key.publics == identity.key.publics
    assert reason_of(apart.key.sign, TYPE_KEYBUNDLE, b"") is Reason.UNAVAILABLE
    for old, new in (('"public"', '"pub"'), (key.uri, ""), ('"token"', '"ed25519"')):
        raw = identity.raw.replace(old.encode(), new.encode())
        assert raw != identity.raw
        if new:
            assert reason_of(Identity.parse, raw) is Reason.MALFORMED


# What can be wrong


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    for call in (lambda: hsm.find_or_make(GOOD, pin), lambda: HeldKey(GOOD, bytes(32), pin).sign(b"message")):
        with pytest.raises(ExchangeError, match=r"unavailable.*pip install 'infoexchange\[hsm\]'"):
            call()


def test_each_fault_is_named(driver: str, key: HeldKey) -> None:
    sign = b"message"
    for uri, reason in (
        (place(driver, "nobody's"), Reason.UNAVAILABLE),
        (place(driver, "identity", "no such token"), Reason.UNAVAILABLE),
        (place("/nonexistent/driver.so", "identity"), Reason.UNAVAILABLE),
    ):
        assert reason_of(HeldKey(uri, key.public, pin).sign, sign) is reason
    assert reason_of(hsm.find_or_make, place(driver, "x", "no such token"), pin) is Reason.UNAVAILABLE
    assert reason_of(HeldKey(key.uri, key.public, lambda _: "99999999").sign, sign) is Reason.NOT_PERMITTED
    assert reason_of(HeldKey(key.uri, key.public, Keychain().pin).sign, sign) is Reason.NOT_PERMITTED
    suites.verify_ed25519(key.public, sign, key.sign(sign))


VANISHING = """
import sys
from pathlib import Path
from infoexchange.errors import ExchangeError
from infoexchange.hsm import HeldKey
uri, public, tokens = sys.argv[1], bytes.fromhex(sys.argv[2]), Path(sys.argv[3])
key = HeldKey(uri, public, lambda _: "%s")
assert len(key.sign(b"message")) == 64
tokens.rename(tokens.with_name("away"))
try:
    key.sign(b"message")
except ExchangeError as problem:
    print(problem.reason.word)
finally:
    tokens.with_name("away").rename(tokens)
"""


def test_a_token_that_vanishes_is_a_typed_error_and_comes_back(driver: str, key: HeldKey) -> None:
    """In a process of its own: this driver believes for good what it saw last."""
    tokens = Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"
    command = [sys.executable, "-c", VANISHING % PIN, key.uri, key.public.hex(), str(tokens)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr) == ("unavailable\n", "")
    suites.verify_ed25519(key.public, b"message", key.sign(b"message"))


# A whole agency


@pytest.fixture(scope="module")
def exchange(driver: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exchange whose Thai agency has its identity key in the token, made with the commands."""
    folder = make_exchange(tmp_path_factory.mktemp("exchange"))
    shutil.rmtree(folder / "home-th")
    (folder / "pin").write_text(PIN + "\n")
    (folder / "pin").chmod(0o600)
    patched = pytest.MonkeyPatch()
    patched.chdir(folder)
    token = ("--hsm", place(driver, "desk"), "--pin-file", "pin")
    assert infoexchange("keygen", NAME, "--home", "home-th", *token) == 0
    assert infoexchange("ca", "issue", "--ca", "ca-th", "home-th/request.pem", "--out", "th.pem") == 0
    assert enroll(folder, "th") == 1  # no PIN: no bundle
    assert not list((folder / "home-th").glob("bundle-*.pb"))
    assert enroll(folder, "th", **{"pin-file": "pin"}) == 0
    patched.undo()
    return folder


def test_an_agency_works_without_the_token_until_its_keys_end(exchange: Path) -> None:
    home = Home.open(exchange / "home-th")
    assert home.bundle.verify(home.directory, now=datetime.now(UTC)).name == NAME
    assert not isinstance(home.identity.key.ed25519, bytes)
    soon = home.bundle.not_after - DAY
    assert not home.rotate(now=soon)
    [line] = [line for line in home.reminders(now=soon) if "key bundle" in line]
    assert "PIN" in line
    assert [b.epoch for b in Home.open(exchange / "home-th").bundles] == [1]
    with pytest.raises(ExchangeError, match="not_permitted"):
        home.rotate(now=home.bundle.not_after + DAY)


def test_an_agency_rotates_with_the_token(exchange: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exchange / "home-th", tmp_path / "home"))
    home = Home.open(Folder(copy, Keychain(ask_pin=pin)))
    first = home.bundle
    assert home.rotate(now=first.not_after - DAY)
    assert (home.bundle.epoch, home.bundle.previous) == (2, first.digest)
    found = KeyBundle.parse(home.bundle.raw, home.folder.leaves()[:2], home.folder.crls())
    found.verify(home.directory, now=home.bundle.not_before)
