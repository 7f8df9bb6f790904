"""Published vectors: what others computed, run through our own code where it has the suite, else through its library.

Each loop states how many cases it ran. Files that are no Python package are read from a shared folder, never committed.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings as sodium
from nacl import exceptions as sodium_exceptions

from infoexchange import dsse, suites
from infoexchange.errors import ExchangeError, Reason
from infoexchange.suites import HYBRID, SUITES, Suite
from test_suites import shared

KDFS = {
    1: hpke.KDF.HKDF_SHA256,
    2: hpke.KDF.HKDF_SHA384,
    3: hpke.KDF.HKDF_SHA512,
    0x10: hpke.KDF.SHAKE128,
    0x11: hpke.KDF.SHAKE256,
}
HASHES = {1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512}
AEADS = {1: hpke.AEAD.AES_128_GCM, 2: hpke.AEAD.AES_256_GCM, 3: hpke.AEAD.CHACHA20_POLY1305}
# HPKE identifiers of our suites, from SPEC section Suites; what is not registered yet is not asked for.
OUR_HPKE = {1: (0x20, 1, 2), 2: (0x647A, 1, 2), 3: (0x647A, 1, 2), 4: (0x51, 2, 2)}
P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
CONTENT_KEY = bytes(range(32))


def unhex(case: dict[str, Any]) -> dict[str, Any]:
    """The case with its hexadecimal texts as bytes."""
    return {key: bytes.fromhex(value) if isinstance(value, str) else value for key, value in case.items()}


# HPKE


def expanded(size: int, seed: bytes) -> tuple[mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey, bytes]:
    """The ML-KEM half and the seed of the curve half, as the hybrid KEMs make both from 32 bytes."""
    halves = hashlib.shake_256(seed).digest(64 + size)
    kind = mlkem.MLKEM768PrivateKey if size == 32 else mlkem.MLKEM1024PrivateKey
    return kind.from_seed_bytes(halves[:64]), halves[64:]


def xwing_private(seed: bytes) -> hpke.MLKEM768X25519PrivateKey:
    kem, curve = expanded(32, seed)
    return hpke.MLKEM768X25519PrivateKey(kem, x25519.X25519PrivateKey.from_private_bytes(curve))


def nist_high_private(seed: bytes) -> hpke.MLKEM1024P384PrivateKey:
    kem, scalar = expanded(48, seed)
    number = int.from_bytes(scalar, "big")
    assert 0 < number < P384_ORDER  # else the KEM takes the next bytes; one seed in 2^190
    return hpke.MLKEM1024P384PrivateKey(kem, ec.derive_private_key(number, ec.SECP384R1()))


def on_curve(curve: ec.EllipticCurve) -> Callable[[bytes], ec.EllipticCurvePrivateKey]:
    return lambda scalar: ec.derive_private_key(int.from_bytes(scalar, "big"), curve)


# The KEMs that the library has, each with the reader of its private keys.
KEMS: dict[int, tuple[Any, Callable[[bytes], Any]]] = {
    0x10: (hpke.KEM.P256, on_curve(ec.SECP256R1())),
    0x11: (hpke.KEM.P384, on_curve(ec.SECP384R1())),
    0x12: (hpke.KEM.P521, on_curve(ec.SECP521R1())),
    0x20: (hpke.KEM.X25519, x25519.X25519PrivateKey.from_private_bytes),
    0x41: (hpke.KEM.MLKEM768, mlkem.MLKEM768PrivateKey.from_seed_bytes),
    0x42: (hpke.KEM.MLKEM1024, mlkem.MLKEM1024PrivateKey.from_seed_bytes),
    0x51: (hpke.KEM.MLKEM1024_P384, nist_high_private),
    0x647A: (hpke.KEM.MLKEM768_X25519, xwing_private),
}


def sealed_by(aead: int, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    kind = ChaCha20Poly1305 if aead == 3 else AESGCM
    return kind(key).encrypt(nonce, plaintext, aad)


def key_schedule(
    ids: tuple[int, int, int], shared_secret: bytes, info: bytes, key_size: int = 32
) -> tuple[bytes, bytes]:
    """Key and base nonce of RFC 9180 section 5.1, base mode, for the KDFs of two stages; from the RFC's text."""
    digest = HASHES[ids[1]]
    suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in ids)

    def extract(salt: bytes, label: bytes, material: bytes) -> bytes:
        return hmac.digest(salt or bytes(digest().digest_size), b"HPKE-v1" + suite_id + label + material, digest)

    def expand(prk: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context
        assert length <= digest().digest_size  # one block is enough
        return hmac.digest(prk, labelled + b"\x01", digest)[:length]

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    return expand(secret, b"key", context, key_size), expand(secret, b"base_nonce", context, 12)


@functools.cache
def hpke_sets(name: str) -> list[dict[str, Any]]:
    raw = (Path(cryptography_vectors.__file__).parent / "HPKE" / name).read_bytes()
    return [unhex(case) for case in json.loads(raw)]


def base_mode(name: str) -> Iterator[dict[str, Any]]:
    """The sets of a file in the one mode we use and with algorithms the library has."""
    for case in hpke_sets(name):
        known = case["kem_id"] in KEMS and case["kdf_id"] in KDFS and case["aead_id"] in AEADS
        if case["mode"] == 0 and known:
            yield case


@pytest.mark.parametrize(("name", "count"), [("test-vectors.json", 18), ("hpke-pq-test-vectors.json", 7)])
def test_hpke_sets_open(name: str, count: int) -> None:
    """Public HPKE calls take no AAD, which every published ciphertext has: key and nonce are what is published then."""
    ran = 0
    for case in base_mode(name):
        kem, private_of = KEMS[case["kem_id"]]
        suite = hpke.Suite(kem, KDFS[case["kdf_id"]], AEADS[case["aead_id"]])
        private = private_of(case["skRm"])
        first = unhex(case["encryptions"][0])
        assert sealed_by(case["aead_id"], case["key"], case["base_nonce"], first["pt"], first["aad"]) == first["ct"]
        sealed = case["enc"] + sealed_by(case["aead_id"], case["key"], case["base_nonce"], first["pt"])
        assert suite.decrypt(sealed, private, case["info"]) == first["pt"]
        for wrong, info in (
            (sealed[:-1] + bytes([sealed[-1] ^ 1]), case["info"]),
            (case["enc"] + first["ct"], case["info"]),
            (sealed, case["info"] + b"."),
        ):
            with pytest.raises(InvalidTag):
                suite.decrypt(wrong, private, info)
        ran += 1
    assert ran == count


def test_our_second_key_schedule_is_that_of_the_vectors() -> None:
    """What the next tests compare our suites with is itself checked, against every set with a KDF of two stages."""
    ran = 0
    for name in ("test-vectors.json", "hpke-pq-test-vectors.json"):
        for case in hpke_sets(name):
            if case["mode"] == 0 and case["kdf_id"] in HASHES and case["aead_id"] in AEADS:
                ids = (case["kem_id"], case["kdf_id"], case["aead_id"])
                made = key_schedule(ids, case["shared_secret"], case["info"], len(case["key"]))
                assert made == (case["key"], case["base_nonce"])
                ran += 1
    assert ran == 24 + 6


def opens(suite: Suite, case: dict[str, bytes], info: bytes) -> None:
    """Our opener, given a published private key and encapsulation, opens what was sealed under the published secret."""
    ids = OUR_HPKE[suite.number]
    key, nonce = key_schedule(ids, case["shared_secret"], info)
    wrapped = case["enc"] + sealed_by(ids[2], key, nonce, CONTENT_KEY)
    assert suite.opening_public(case["skRm"]) == case["pkRm"]
    suite.check_opening_key(case["pkRm"])
    unwrap = suite.opener(case["skRm"])
    assert unwrap(wrapped, info) == CONTENT_KEY
    for place in (0, len(case["enc"]) - 1, len(case["enc"]), len(wrapped) - 1):
        changed = wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :]
        with pytest.raises(ExchangeError) as caught:
            unwrap(changed, info)
        assert caught.value.reason is Reason.BAD_CIPHERTEXT


def published_for(suite: Suite) -> list[dict[str, Any]]:
    """Every published set of a suite's KEM, whatever its KDF and AEAD: the shared secret does not depend on them."""
    kem = OUR_HPKE[suite.number][0]
    sets = [*hpke_sets("test-vectors.json"), *hpke_sets("hpke-pq-test-vectors.json")]
    return [case for case in sets if case["mode"] == 0 and case["kem_id"] == kem]


PUBLISHED_SETS = {1: 9, 2: 2, 3: 2, 4: 1}


@pytest.mark.parametrize("suite", list(SUITES.values()), ids=lambda suite: suite.name)
def test_our_suites_open_under_published_keys(suite: Suite) -> None:
    cases = published_for(suite)
    assert len(cases) == PUBLISHED_SETS[suite.number]
    for case in cases:
        opens(suite, case, case["info"])


# X-Wing


def combined(by_kem: bytes, by_curve: bytes, theirs: bytes, ours: bytes) -> bytes:
    """The combiner of draft-connolly-cfrg-xwing-kem, section 5.3."""
    return hashlib.sha3_256(by_kem + by_curve + theirs + ours + rb"\.//^" + b"\\").digest()


def xwing_secret(seed: bytes, encapsulation: bytes) -> bytes:
    """Decapsulation from the text of the same draft, section 5.4."""
    kem, curve_seed = expanded(32, seed)
    curve = x25519.X25519PrivateKey.from_private_bytes(curve_seed)
    ours, theirs = curve.public_key().public_bytes_raw(), encapsulation[1088:]
    by_curve = curve.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
    return combined(kem.decapsulate(encapsulation[:1088]), by_curve, theirs, ours)


def xwing_cases() -> list[dict[str, bytes]]:
    return [unhex(case) for case in shared("xwing/test-vectors.json")]


def test_xwing_seeds_expand_and_encapsulations_open() -> None:
    cases = xwing_cases()
    assert len(cases) == 3
    for case in cases:
        assert case["seed"] == case["sk"]
        assert xwing_secret(case["sk"], case["ct"]) == case["ss"]
        named = {"skRm": case["sk"], "pkRm": case["pk"], "enc": case["ct"], "shared_secret": case["ss"]}
        opens(HYBRID, named, b"any info")


def test_our_wraps_open_by_the_drafts_text() -> None:
    """The other direction: encapsulation takes no randomness from us, so what it makes is opened by a second hand."""
    for suite in (suite for suite in SUITES.values() if OUR_HPKE[suite.number][0] == 0x647A):
        for seed in (bytes(32), bytes(range(32)), b"\xff" * 32):
            wrapped = suite.wrap(suite.opening_public(seed), CONTENT_KEY, b"info")
            key, nonce = key_schedule(OUR_HPKE[suite.number], xwing_secret(seed, wrapped[:1120]), b"info")
            assert AESGCM(key).decrypt(nonce, wrapped[1120:], b"") == CONTENT_KEY


# DSSE


def test_dsse_signature() -> None:
    """The encoding, and with it the published ECDSA signature: what was signed is what we would have signed."""
    cases = shared("dsse/vectors.json")["vectors"]
    assert len(cases) == 1
    for case in cases:
        container = case["envelope"]
        message = dsse.pae(container["payloadType"], base64.b64decode(container["payload"]))
        assert message == case["pae_utf8"].encode()
        assert container["payloadType"] == case["payloadType"]
        numbers = case["ecdsa_p256"]
        key = ec.EllipticCurvePublicNumbers(numbers["X"], numbers["Y"], ec.SECP256R1()).public_key()
        (signature,) = (base64.b64decode(one["sig"]) for one in container["signatures"])
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


# Wycheproof


def wycheproof(name: str, count: int) -> list[dict[str, Any]]:
    """All cases of a file, each with what its group states."""
    file = shared(f"wycheproof/{name}_test.json")
    cases = [{**group, **case} for group in file["testGroups"] for case in group["tests"]]
    assert len(cases) == file["numberOfTests"] == count
    return cases


def by_openssl(private: bytes, public: bytes) -> bytes | None:
    try:
        key = x25519.X25519PrivateKey.from_private_bytes(private)
        return key.exchange(x25519.X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return None


def by_sodium(private: bytes, public: bytes) -> bytes | None:
    try:
        return sodium.crypto_scalarmult(private, public)
    except sodium_exceptions.RuntimeError:
        return None


def test_x25519() -> None:
    """Both libraries refuse exactly the low-order points, and so does our check of a key to seal to."""
    kem_half = HYBRID.opening_public(bytes(32))[:1184]
    refused = 0
    for case in wycheproof("x25519", 518):
        public, private = bytes.fromhex(case["public"]), bytes.fromhex(case["private"])
        low_order = "ZeroSharedSecret" in case["flags"]
        expected = None if low_order else bytes.fromhex(case["shared"])
        assert by_openssl(private, public) == by_sodium(private, public) == expected, case["tcId"]
        if low_order:
            refused += 1
            with pytest.raises(ExchangeError) as caught:
                HYBRID.check_opening_key(kem_half + public)
            assert caught.value.reason is Reason.BAD_CERTIFICATE, case["tcId"]
        else:
            HYBRID.check_opening_key(kem_half + public)
    assert refused == 31


def test_a_low_order_encapsulation_opens_nothing() -> None:
    """The curve half of the secret would be zero: what follows would open, if a point of low order were let through."""
    public, unwrap = HYBRID.opening_public(bytes(32)), HYBRID.opener(bytes(32))
    points = {c["public"] for c in wycheproof("x25519", 518) if "ZeroSharedSecret" in c["flags"]}
    assert len(points) == 14
    for point in map(bytes.fromhex, sorted(points)):
        by_kem, encapsulated = mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
        secret = combined(by_kem, bytes(32), point, public[1184:])
        key, nonce = key_schedule(OUR_HPKE[HYBRID.number], secret, b"")
        with pytest.raises(ExchangeError) as caught:
            unwrap(encapsulated + point + AESGCM(key).encrypt(nonce, CONTENT_KEY, b""), b"")
        assert caught.value.reason is Reason.BAD_CIPHERTEXT


def test_chacha20_poly1305() -> None:
    """No suite uses it directly; HPKE and libsodium's sealing of key files rest on both libraries having it right."""
    opened = 0
    for raw in wycheproof("chacha20_poly1305", 325):
        case = {k: bytes.fromhex(raw[k]) for k in ("key", "iv", "aad", "msg", "ct", "tag")}
        sealed = case["ct"] + case["tag"]
        verdicts = []
        for decrypt in (
            lambda c, sealed: ChaCha20Poly1305(c["key"]).decrypt(c["iv"], sealed, c["aad"]),
            lambda c, sealed: sodium.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, c["aad"], c["iv"], c["key"]),
        ):
            try:
                verdicts.append(decrypt(case, sealed))
            except (InvalidTag, ValueError, sodium_exceptions.CryptoError):
                verdicts.append(None)
        valid = raw["result"] == "valid"
        assert verdicts == [case["msg"] if valid else None] * 2, raw["tcId"]
        if valid:
            assert ChaCha20Poly1305(case["key"]).encrypt(case["iv"], case["msg"], case["aad"]) == sealed
            opened += 1
    assert opened == 256


@pytest.mark.parametrize(("name", "count", "valid"), [("hkdf_sha256", 86, 83), ("hkdf_sha512", 83, 80)])
def test_hkdf(name: str, count: int, valid: int) -> None:
    """In full through the library; the SHA-256 ones through our `derive` too, which gives the first 32 bytes."""
    algorithm = hashes.SHA256() if name == "hkdf_sha256" else hashes.SHA512()
    ran = 0
    for case in wycheproof(name, count):
        ikm, salt, info, okm = (bytes.fromhex(case[key]) for key in ("ikm", "salt", "info", "okm"))
        if case["result"] == "invalid":
            with pytest.raises(ValueError, match="Cannot derive keys larger"):
                HKDF(algorithm, case["size"], salt, info)
            continue
        assert HKDF(algorithm, case["size"], salt, info).derive(ikm) == okm, case["tcId"]
        if name == "hkdf_sha256":
            prk = hmac.digest(salt or bytes(32), ikm, "sha256")
            half = len(info) // 2
            ours = suites.derive(prk, info[:half], info[half:])
            assert ours[: case["size"]] == okm[:32], case["tcId"]
        ran += 1
    assert ran == valid


def test_every_kem_of_the_library_is_asked() -> None:
    """The counts above are of the KEMs it has today: one that joins them must be added here, not be overlooked."""
    offered = {name for name in dir(hpke.KEM) if not name.startswith("_")} - {"enc_length"}
    used = {str(kem).rpartition(".")[2].rstrip(">") for kem, _ in KEMS.values()}
    assert used == offered
