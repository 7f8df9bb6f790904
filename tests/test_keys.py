"""Keys: files that come back, secrets that never show, one purpose each; and what is sealed to them, by the book."""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from infoexchange import suites
from infoexchange.dsse import TYPE_KEYBUNDLE, TYPE_MANIFEST, pae
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import EpochKeys, Identity, IdentityKey, KeyUsage, OpeningKey, SigningKey, key_id
from infoexchange.log import LogKeys
from infoexchange.suites import HYBRID, SUITES, Suite
from infoexchange.testing import FakeClock
from infoexchange.witness import WitnessKeys
from test_suites import P, refused, shared

NAME = "desk.oncb.th.example"
IDENTITY = Identity.make(NAME)
LOG = LogKeys.make("relay.th.example", now=FakeClock()())
WITNESS = WitnessKeys.make("relay.th.example")
FILES = {"identity": (Identity, IDENTITY), "log": (LogKeys, LOG), "witness": (WitnessKeys, WITNESS)}
SUITE_PARAMS = pytest.mark.parametrize("suite", list(SUITES.values()), ids=lambda s: s.name)


def reason_of(call: Callable[..., object], *args: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args)
    return caught.value.reason


@pytest.mark.parametrize("kind", FILES)
def test_a_key_file_comes_back(kind: str) -> None:
    reader, keys = FILES[kind]
    assert reader.parse(keys.raw) == keys
    assert reader.parse(keys.raw).raw == keys.raw
    assert reader.parse(json.dumps(json.loads(keys.raw)).encode()) == keys  # a person may have laid it out anew


@pytest.mark.parametrize("kind", FILES)
def test_a_key_file_of_another_kind_is_none(kind: str) -> None:
    reader, keys = FILES[kind]
    for other, (_, file) in FILES.items():
        if other != kind:
            assert reason_of(reader.parse, file.raw) is Reason.MALFORMED
    value = json.loads(keys.raw)
    for raw in (b"", b"{}", b"[]", b"null", b"\xff", keys.raw[:-2], json.dumps([value]).encode()):
        assert reason_of(reader.parse, raw) is Reason.MALFORMED
    for field in value:
        without = {name: v for name, v in value.items() if name != field}
        assert reason_of(reader.parse, json.dumps(without).encode()) is Reason.MALFORMED
    halves = [name for name in ("ed25519", "mldsa65", "mldsa44") if name in value]
    assert len(halves) == 2
    for half in halves:
        for wrong in ("", "AAAA", value[half][:-1], value[half] + "AAAA", "é" * 44, 7, None, [value[half]]):
            assert reason_of(reader.parse, json.dumps(value | {half: wrong}).encode()) is Reason.MALFORMED


def test_an_identity_file_is_whole() -> None:
    value = json.loads(IDENTITY.raw)
    for change in (
        lambda v: v["epochs"][0]["signing"][0].update(secret="AAAA"),
        lambda v: v["epochs"][0]["signing"][0].update(usage=9),
        lambda v: v["epochs"][0]["opening"][0].update(secret=v["epochs"][0]["signing"][0]["secret"]),
        lambda v: v["epochs"][0].pop("opening"),
        lambda v: v["epochs"][0].update(epoch="first"),
        lambda v: v.update(epochs=7),
        lambda v: v.update(epochs=[7]),
    ):
        copy = json.loads(json.dumps(value))
        change(copy)
        assert reason_of(Identity.parse, json.dumps(copy).encode()) is Reason.MALFORMED
    copy = json.loads(json.dumps(value))
    copy["epochs"][0]["signing"][0]["suite"] = 9
    assert reason_of(Identity.parse, json.dumps(copy).encode()) is Reason.SUITE_NOT_ACCEPTED
    assert reason_of(Identity.parse, json.dumps(value | {"name": "A"}).encode()) is Reason.BAD_FIELD
    assert reason_of(Identity.make, "A") is Reason.BAD_FIELD


DEEP = b"[" * 200_000
ENDLESS = IDENTITY.raw.replace(b'"epoch": 1', b'"epoch": 1e999')


@pytest.mark.parametrize(
    ("reader", "raw"),
    [(Identity, DEEP), (LogKeys, DEEP), (WitnessKeys, DEEP), (Identity, ENDLESS)],
    ids=["identity deep", "log deep", "witness deep", "epoch without end"],
)
def test_hostile_json_is_a_typed_error(reader: type[Identity | LogKeys | WitnessKeys], raw: bytes) -> None:
    assert reason_of(reader.parse, raw) is Reason.MALFORMED


def secrets_of(identity: Identity) -> list[bytes]:
    found = [identity.key.ed25519, identity.key.mldsa65]
    for epoch in identity.epochs:
        found += [*(key.secret for key in (*epoch.signing.values(), *epoch.opening.values())), epoch.wrapping]
    return found


def test_no_secret_shows() -> None:
    secrets = [*secrets_of(IDENTITY), LOG.ed25519, LOG.mldsa44, WITNESS.ed25519, WITNESS.mldsa44]
    for shown in (repr(IDENTITY), repr(LOG), repr(WITNESS), repr(IDENTITY.epochs), repr(IDENTITY.key)):
        for secret in secrets:
            assert repr(secret)[2:-1] not in shown
            assert secret.hex() not in shown
    assert pickle.loads(pickle.dumps(IDENTITY)) == IDENTITY


def test_every_secret_is_drawn_on_its_own() -> None:
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    identity = Identity.make(NAME, entropy=entropy)
    assert asked == [32, 32, 64, 64, 32, 32, 32, 32, 32]
    assert len(set(secrets_of(identity))) == len(asked)
    assert identity.epochs[0].epoch == 1
    assert {*identity.epochs[0].signing} == {(n, usage) for n in SUITES for usage in KeyUsage}
    assert {*identity.epochs[0].opening} == {*SUITES}
    log = LogKeys.make("relay.th.example", now=FakeClock()(), entropy=entropy)
    assert log.ed25519 != log.mldsa44


def test_keys_of_an_epoch_are_found_until_they_are_destroyed() -> None:
    second = EpochKeys.make(2)
    identity = Identity(NAME, IDENTITY.key, (second, *IDENTITY.epochs))
    assert identity.keys_of(2) is second
    assert identity.keys_of(1) is IDENTITY.epochs[0]
    assert Identity.parse(identity.raw) == identity
    gone = Identity(NAME, IDENTITY.key, (second,))
    assert reason_of(gone.keys_of, 1) is Reason.STALE_BUNDLE


@SUITE_PARAMS
def test_a_signature_is_of_one_type_of_object(suite: Suite) -> None:
    key = SigningKey.make(suite)
    signature = key.sign(TYPE_MANIFEST, b"payload")
    suite.verify(key.public, pae(TYPE_MANIFEST, b"payload"), signature)
    for message in (pae(TYPE_KEYBUNDLE, b"payload"), pae(TYPE_MANIFEST, b"payloaD"), b"payload"):
        assert reason_of(suite.verify, key.public, message, signature) is Reason.BAD_SIGNATURE
    assert key.key_id == key_id(key.public)
    assert len(key.key_id) == 16


def test_identity_keys_sign_twice() -> None:
    key = IdentityKey.make()
    (classical, one), (post_quantum, two) = key.sign(TYPE_KEYBUNDLE, b"payload")
    message = pae(TYPE_KEYBUNDLE, b"payload")
    suites.verify_ed25519(key.publics[0], message, classical)
    suites.verify_mldsa65(key.publics[1], message, post_quantum)
    assert (one, two) == tuple(map(key_id, key.publics))


@SUITE_PARAMS
def test_an_opening_key_opens_what_was_sealed_to_it(suite: Suite) -> None:
    key, other = OpeningKey.make(suite), OpeningKey.make(suite)
    wrapped = suite.wrap(key.public, bytes(range(32)), b"info")
    assert key.unwrap(wrapped, b"info") == bytes(range(32))
    assert reason_of(other.unwrap, wrapped, b"info") is Reason.BAD_CIPHERTEXT
    assert reason_of(key.unwrap, wrapped, b"other") is Reason.BAD_CIPHERTEXT


# X-Wing and HPKE


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([n]), "sha256")
        out, n = out + block, n + 1
    return out[:length]


def decapsulate(seed: bytes, enc: bytes) -> bytes:
    """X-Wing as its draft writes it."""
    expanded = hashlib.shake_256(seed).digest(96)
    kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    curve = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
    ss_x = curve.exchange(x25519.X25519PublicKey.from_public_bytes(enc[1088:]))
    parts = kem.decapsulate(enc[:1088]), ss_x, enc[1088:], curve.public_key().public_bytes_raw()
    return hashlib.sha3_256(b"".join(parts) + rb"\.//^" + b"\\").digest()


def schedule(shared_secret: bytes, info: bytes, aead_id: int) -> tuple[bytes, bytes]:
    """Key and base nonce of RFC 9180, base mode, KEM 0x647a and HKDF-SHA256, both 32-byte AEAD keys."""
    suite_id = b"HPKE" + bytes.fromhex("647a0001") + aead_id.to_bytes(2, "big")
    labeled = lambda salt, label, ikm: extract(salt, b"HPKE-v1" + suite_id + label + ikm)  # noqa: E731
    context = b"\x00" + labeled(b"", b"psk_id_hash", b"") + labeled(b"", b"info_hash", info)
    secret = labeled(shared_secret, b"secret", b"")
    key, nonce = (
        expand(secret, size.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context, size)
        for label, size in ((b"key", 32), (b"base_nonce", 12))
    )
    return key, nonce


def test_xwing_vectors() -> None:
    cases = shared("xwing/test-vectors.json")
    for case in cases:
        seed, enc = bytes.fromhex(case["sk"]), bytes.fromhex(case["ct"])
        assert HYBRID.opening_public(seed).hex() == case["pk"]
        assert decapsulate(seed, enc).hex() == case["ss"]
        HYBRID.check_opening_key(bytes.fromhex(case["pk"]))
    assert cases


def test_hpke_vectors() -> None:
    """The package has no vector with our AEAD, so the key schedule is checked on its own, then run with ours below."""
    path = Path(cryptography_vectors.__file__).parent / "HPKE" / "hpke-pq-test-vectors.json"
    cases = [c for c in json.loads(path.read_bytes()) if (c["kem_id"], c["kdf_id"], c["mode"]) == (0x647A, 1, 0)]
    assert cases
    for case in cases:
        seed, info = bytes.fromhex(case["skRm"]), bytes.fromhex(case["info"])
        assert HYBRID.opening_public(seed).hex() == case["pkRm"]
        secret = decapsulate(seed, bytes.fromhex(case["enc"]))
        assert secret.hex() == case["shared_secret"]
        key, nonce = schedule(secret, info, case["aead_id"])
        assert (key.hex(), nonce.hex()) == (case["key"], case["base_nonce"])
        first = case["encryptions"][0]
        cipher = ChaCha20Poly1305 if case["aead_id"] == 3 else AESGCM
        cipher(key).decrypt(nonce, bytes.fromhex(first["ct"]), bytes.fromhex(first["aad"]))


@SUITE_PARAMS
def test_a_wrap_is_hpke_by_the_book(suite: Suite) -> None:
    seed, content_key, info = bytes(32), bytes(range(32)), b"info"
    wrapped = suite.wrap(suite.opening_public(seed), content_key, info)
    assert len(wrapped) == suite.wrap_size == 1168
    key, nonce = schedule(decapsulate(seed, wrapped[:1120]), info, 2)
    assert AESGCM(key).decrypt(nonce, wrapped[1120:], b"") == content_key
    assert suite.opener(seed)(wrapped, info) == content_key
    assert suite.wrap(suite.opening_public(seed), content_key, info) != wrapped


@SUITE_PARAMS
def test_whoever_probes_a_wrap_learns_nothing(suite: Suite) -> None:
    seed, info = bytes(32), b"info"
    public = suite.opening_public(seed)
    good = suite.wrap(public, bytes(32), info)
    low_order = good[:1088] + bytes(32) + good[1120:]
    flipped = [good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in (0, 500, 1087, 1088, 1119, 1120, 1167)]
    attempts = [
        *((seed, wrong, info) for wrong in (b"", good[:-1], good + b"\x00", good[1:], bytes(1168), low_order)),
        *((seed, wrong, info) for wrong in flipped),
        (seed, good, b""),
        (seed, good, b"info "),
        (bytes(31) + b"\x01", good, info),
        (seed, suite.wrap(public, bytes(31), info), info),
        (seed, suite.wrap(public, bytes(31), info) + b"\x00", info),
        (seed, suite.wrap(public, b"", info), info),
    ]
    texts = {str(refused(Reason.BAD_CIPHERTEXT, suite.opener(key), wrapped, about)) for key, wrapped, about in attempts}
    # The body says the very same.
    texts.add(str(refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, bytes(32), b"", bytes(100))))
    assert len(texts) == 1


LOW_ORDER_X25519 = [
    (u | top << 255).to_bytes(32, "little")
    for u in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        P - 1,
        P,
        P + 1,
    )
    for top in (0, 1)
]


@pytest.mark.parametrize("u", LOW_ORDER_X25519, ids=bytes.hex)
def test_low_order_keys_are_never_sealed_to(u: bytes) -> None:
    public = HYBRID.opening_public(bytes(32))
    refused(Reason.BAD_CERTIFICATE, HYBRID.check_opening_key, public[:1184] + u)


def test_wycheproof_x25519_low_order() -> None:
    file = shared("wycheproof/x25519_test.json")
    kem = HYBRID.opening_public(bytes(32))[:1184]
    zero = [c for g in file["testGroups"] for c in g["tests"] if c["shared"] == "00" * 32]
    assert zero
    for case in zero:
        refused(Reason.BAD_CERTIFICATE, HYBRID.check_opening_key, kem + bytes.fromhex(case["public"]))


def test_opening_keys_of_another_form_are_refused() -> None:
    public = HYBRID.opening_public(bytes(32))
    HYBRID.check_opening_key(public)
    # A coefficient of 4095 is above q = 3329 (FIPS 203, the modulus check of an encapsulation key).
    for wrong in (b"", public[:-1], public + b"\x00", b"\xff" * 3 + public[3:]):
        refused(Reason.BAD_CERTIFICATE, HYBRID.check_opening_key, wrong)


# Body


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 32768, 100_000])
def test_a_body_comes_back_whole_or_not_at_all(size: int) -> None:
    key, plain = bytes(range(32)), random.Random(size).randbytes(size)
    body = suites.encrypt_body(key, b"context", plain)
    assert len(body) == suites.BODY_OVERHEAD + size + 16 * (size // 16384 + 1)
    assert suites.decrypt_body(key, b"context", body) == plain
    chunks = [suites.BODY_OVERHEAD + n * (16384 + 16) for n in range(size // 16384 + 1)]
    wrong = [body[:n] for n in {0, 1, 24, 55, len(body) - 1, *chunks}] + [body + b"\x00", body[1:]]
    for place in {0, 23, 24, 55, 56, len(body) - 1}:
        wrong.append(body[:place] + bytes([body[place] ^ 0x80]) + body[place + 1 :])
    for attempt in wrong:
        refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, key, b"context", attempt)
    refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, key, b"contexT", body)
    refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, bytes(32), b"context", body)


def test_chunks_do_not_change_places() -> None:
    key = bytes(32)
    body = suites.encrypt_body(key, b"", bytes(3 * 16384))
    start, chunk = suites.BODY_OVERHEAD, 16384 + 16
    first, second = body[start : start + chunk], body[start + chunk : start + 2 * chunk]
    for wrong in (first + first, second + first, second):
        attempt = body[:start] + wrong + body[start + 2 * chunk :]
        refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, key, b"", attempt)


def test_the_body_cipher_is_the_specifications() -> None:
    """Key, nonce and commitment derived a second time, with hmac alone."""
    key, context, plain = bytes(range(32)), b"context", b"x" * 20_000
    body = suites.encrypt_body(key, context, plain)
    salt, commit = body[:24], body[24:56]
    label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
    out, block = b"", b""
    for n in (1, 2):
        block = hmac.digest(key, block + label + salt + context + bytes([n]), "sha512")
        out += block
    assert out[44:76] == commit
    nonces = [(int.from_bytes(out[32:44], "big") ^ n).to_bytes(12, "big") for n in (0, 1)]
    chunks = body[56 : 56 + 16400], body[56 + 16400 :]
    opened = [AESGCM(out[:32]).decrypt(nonce, c, b"") for nonce, c in zip(nonces, chunks, strict=True)]
    assert b"".join(opened) == plain


def test_derived_keys_are_hkdf() -> None:
    assert suites.derive(bytes(32), b"label", b"context") == expand(bytes(32), b"labelcontext", 32)
