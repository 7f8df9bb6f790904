"""Every reader of outside bytes has a fuzzing target; each gets a moment here, and minutes by `make fuzz`."""

from __future__ import annotations

import base64
import importlib
import inspect
import pkgutil
import random
import time
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import infoexchange
import infoexchange_relay
from fuzz.judge import FindingError, SlowError, judge
from fuzz.target import SIZE_MAX, Target
from fuzz.targets import all_targets
from fuzz.world import World
from infoexchange import certificates
from infoexchange.certificates import NationalCa
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.testing.clock import START

SECONDS = 0.03  # for each target: all of them together stay below five seconds
INPUTS_MIN = 3
# Readers that are not called `parse`, of bytes that others made.
OTHERS = (
    "infoexchange.bridges.asam.read",
    "infoexchange.bridges.cap.read",
    "infoexchange.bridges.ftm.reading.read",
    "infoexchange.bridges.goaml.reading.read",
    "infoexchange.bridges.misp.reading.read",
    "infoexchange.bridges.geographic.arcgis.read",
    "infoexchange.bridges.geographic.geojson.read",
    "infoexchange.bridges.geographic.imsma.read",
    "infoexchange.bridges.htcds.read",
    "infoexchange.bridges.iso20022.read",
    "infoexchange.bridges.stix.reading.read",
    "infoexchange.bridges.tables.table.File.read",
    "infoexchange.bridges.unlist.reading.read",
    "infoexchange.catalogue.lines.from_lines",
    "infoexchange.catalogue.text.from_json",
    "infoexchange.catalogue.yaml_text.from_yaml",
    "infoexchange.certificates.authority.NationalCa.issue",
    "infoexchange.certificates.leaf.from_pem",
    "infoexchange.certificates.leaf.load",
    "infoexchange.certificates.revocation.newest_list",
    "infoexchange.certificates.leaf.verify_leaf",
    "infoexchange.certificates.signing_request.tls_request",
    "infoexchange.delivery.read",
    "infoexchange.wire.top_level_records",
    "infoexchange_relay.config.reading.load",
)
# Called so, and reading no bytes: the words of a command line.
NOT_A_READER = {"infoexchange.cli.parser.parsed"}


def modules() -> Iterator[ModuleType]:
    for package in (infoexchange, infoexchange_relay):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".v1" not in found.name and not found.name.endswith("__main__") and ".testing" not in found.name:
                yield importlib.import_module(found.name)


def functions(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """The public functions and methods that a module defines."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if inspect.isclass(value):
            yield from (getattr(value, part) for part in vars(value) if not part.startswith("_") and _is_reader(part))
        elif callable(value):
            yield value


def _is_reader(name: str) -> bool:
    return name.startswith("parse")


def test_every_parse_has_a_target(targets: dict[str, Target]) -> None:
    found = {
        f"{function.__module__}.{function.__qualname__}"
        for module in modules()
        for function in functions(module)
        if _is_reader(function.__name__)
    }
    assert len(found) > 35
    covered = {name for target in targets.values() for name in target.covers}
    assert found - covered - NOT_A_READER == set()
    assert set(OTHERS) - covered == set()
    assert covered <= found | set(OTHERS)  # nothing is called covered that is not there any more


@pytest.fixture(scope="session")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return all_targets(World.make(), tmp_path_factory.mktemp("fuzz"))


# Their names, without making the world while tests are collected; the test after this one compares.
NAMES = (
    "Envelope", "Manifest", "Dsse", "Header", "Wrap", "Content", "KeyBundle", "Listing", "Roots", "Directory",
    "Acknowledgement", "Routing", "Subject", "Receipt", "Evidence", "canonical form", "records", "Envelope, opened",
    "Evidence, verified", "KeyBundle, verified", "message, received", "Grant", "Origin", "Transfer",
    "RecallOrder", "statement", "Note", "Checkpoint", "Proof", "Policy", "Misbehaviour",
    "VerifierKey", "Signature", "Cosignature", "cosignature lines", "Tile", "tile path", "tile", "entries", "decimal",
    "base64", "hash", "lines", "Identity", "sealed file", "token URI", "CA register",
    "LogKeys", "WitnessKeys", "root key", "root public key", "draft", "Operation",
    "relay registration", "address of a bucket", "relay configuration",
    "relay address", "certificate", "leaf certificate", "revocation list",
    "backup manifest",
    "PEM certificates", "TimeStamp", "TimeStamp, verified", "Authorities", "CA certificate file", "CA key file",
    "TLS key file",
    "signing request", "XML",
    "FollowTheMoney entities",
    "goAML report",
    "MISP event",
    "STIX bundle",
    "table of attacks", "table of seizures",
    "table of risk education", "spreadsheet", "sheet of a spreadsheet", "lines of messages", "anti-shipping activity",
    "message as JSON", "code list", "Attestation", "Approval", "statement, of an approval", "Disclosure",
    "message as YAML", "plain YAML",
    "Disclosure, verified", "LogRecord", "RecordsPruned", "bundle of records", "Submission", "HTTP request head",
    "HTTP reply", "GeoJSON", "feature JSON of ArcGIS", "table of IMSMA", "table of HTCDS", "form",
    "UN list", "camt", "CAP", "Seal", "Item", "Part", "Told", "Refusal", "Pouch", "Pouch, resealed",
)  # fmt: skip


def test_every_target_gets_its_moment(targets: dict[str, Target]) -> None:
    assert set(targets) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_spoilt_objects(targets: dict[str, Target], name: str) -> None:
    target, seed = targets[name], random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    assert target.seeds
    for raw in target.seeds:
        assert judge(target, raw).read, "a real object is refused"
    end, ran = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end or ran < INPUTS_MIN:
        # A busy machine is no finding: time is measured by `make fuzz`.
        judge(target, target.changed(rng.choice(target.seeds), rng), seconds_max=30)
        ran += 1


# What fuzzing found, where the reader's own tests have no room for it


def test_a_ca_certificate_whose_key_is_no_point() -> None:
    """It loads, and only asking for its key fails."""
    ca = NationalCa.make("th.example", now=START)
    key = x509.load_der_x509_certificate(ca.certificate).public_key()
    form = serialization.PublicFormat.UncompressedPoint
    point = key.public_bytes(serialization.Encoding.X962, form)
    spoilt = ca.certificate.replace(point, point[:1] + bytes(96))
    assert spoilt != ca.certificate
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(spoilt) + b"-----END CERTIFICATE-----\n"
    with pytest.raises(ExchangeError) as caught:
        NationalCa.parse(ca.key_pem, pem)
    assert caught.value.reason is Reason.BAD_CERTIFICATE


def test_a_serial_number_that_is_not_positive() -> None:
    """Today's reader takes it with a warning, a later one will not: one verdict, whatever the version."""
    ca = NationalCa.make("th.example", now=START)
    number = x509.load_der_x509_certificate(ca.certificate).serial_number
    size = number.bit_length() // 8 + 1
    whole = bytes([2, size]) + number.to_bytes(size, "big")
    assert whole in ca.certificate
    for other in (bytes(size), b"\xff" + whole[3:]):
        spoilt = ca.certificate.replace(whole, whole[:2] + other)
        for action in ("error", "ignore"):
            with warnings.catch_warnings():
                warnings.simplefilter(action)
                with pytest.raises(ExchangeError) as caught:
                    certificates.load(spoilt)
            assert caught.value.reason is Reason.BAD_CERTIFICATE


# The judge itself


def judged(read: Callable[[bytes], Any], **how: Any) -> Any:
    return judge(Target("made up", (), read, (b"x",), **how), b"x")


def test_what_is_no_finding() -> None:
    def refuse(_: bytes) -> None:
        raise error(Reason.MALFORMED)

    assert judged(len).read
    assert not judged(refuse).read
    assert not judged(int, allowed=(ValueError,)).read


def test_what_is_a_finding() -> None:
    with pytest.raises(FindingError, match="ValueError"):
        judged(int)
    with pytest.raises(FindingError, match="other bytes"):
        judged(lambda raw: raw, raw=lambda found: found + b".")
    with pytest.raises(SlowError):
        judge(Target("made up", (), lambda _: sum(range(10**5)), (b"",)), b"", seconds_max=0)
    with pytest.raises(FindingError, match="MiB"):
        judge(Target("made up", (), len, (b"",)), b"", memory_max=-1)


def test_no_input_is_larger_than_the_limit(targets: dict[str, Target]) -> None:
    rng = random.Random(1)
    target = targets["Note"]
    assert all(len(target.changed(target.seeds[0] * 100, rng)) <= SIZE_MAX for _ in range(20))
