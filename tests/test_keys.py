"""Keys: files that come back, secrets that never show, one purpose each; and what is sealed to them, by the book."""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from conftest import EVERY_SUITE
from infoexchange import suites
from infoexchange.dsse import TYPE_KEYBUNDLE, TYPE_MANIFEST, pae
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import EpochKeys, Identity, IdentityKey, KeyUsage, OpeningKey, SigningKey, key_id
from infoexchange.log import LogKeys
from infoexchange.suites import CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH, OFFERED, Suite
from infoexchange.testing import FakeClock
from infoexchange.witness import WitnessKeys
from test_suites import P, refused, shared

NAME = "desk.oncb.th.example"
IDENTITY = Identity.make(NAME)
LOG = LogKeys.make("relay.th.example", now=FakeClock()())
WITNESS = WitnessKeys.make("relay.th.example")
FILES = {"identity": (Identity, IDENTITY), "log": (LogKeys, LOG), "witness": (WitnessKeys, WITNESS)}
SUITE_PARAMS = pytest.mark.parametrize("suite", EVERY_SUITE, ids=lambda s: s.name)


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
    found = [identity.key.ed25519, identity.key.mldsa65, identity.archive]
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
    assert asked == [32, 32, 64, 64, 64, 32, 32, 32, 32, 32, 32, 32]
    assert len(set(secrets_of(identity))) == len(asked)
    assert identity.epochs[0].epoch == 1
    assert {*identity.epochs[0].signing} == {(s.number, usage) for s in OFFERED for usage in KeyUsage}
    assert identity.epochs[0].offered == OFFERED == (HYBRID, HYBRID_KEM)
    log = LogKeys.make("relay.th.example", now=FakeClock()(), entropy=entropy)
    assert log.ed25519 != log.mldsa44


def test_an_agency_offers_what_it_chooses() -> None:
    for chosen in ((NIST_HIGH,), (CLASSICAL, HYBRID), EVERY_SUITE, (HYBRID, HYBRID)):
        identity = Identity.make(NAME, suites=chosen)
        [keys] = identity.epochs
        assert keys.offered == tuple(sorted({*chosen}, key=lambda s: s.number))
        assert Identity.parse(identity.raw) == identity
    assert reason_of(lambda: EpochKeys.make(1, suites=())) is Reason.SUITE_NOT_ACCEPTED


def test_a_suite_that_is_closed_is_only_acknowledged_in() -> None:
    keys = EpochKeys.make(2, suites=(HYBRID,), closing=(HYBRID, HYBRID_KEM, NIST_HIGH))
    assert keys.offered == (HYBRID,)
    assert keys.is_whole
    for suite in (HYBRID_KEM, NIST_HIGH):
        keys.signer(suite, KeyUsage.ACKNOWLEDGEMENT)
        assert reason_of(keys.signer, suite, KeyUsage.MANIFEST) is Reason.SUITE_NOT_ACCEPTED
        assert reason_of(keys.opener, suite) is Reason.SUITE_NOT_ACCEPTED
    assert reason_of(keys.signer, CLASSICAL, KeyUsage.ACKNOWLEDGEMENT) is Reason.SUITE_NOT_ACCEPTED
    identity = Identity(NAME, IDENTITY.key, (keys, *IDENTITY.epochs))
    assert Identity.parse(identity.raw) == identity


def test_a_key_file_without_a_whole_suite_is_damaged() -> None:
    value = json.loads(Identity.make(NAME, suites=(HYBRID_KEM, NIST_HIGH)).raw)
    for change in (
        lambda e: e["opening"].clear(),
        lambda e: e["signing"].clear(),
        lambda e: e["signing"].pop(0),
        lambda e: e["signing"].pop(-2),
        lambda e: e["opening"][0].update(suite=HYBRID.number),
        lambda e: e["signing"][3].update(suite=HYBRID_KEM.number),
        lambda e: e["opening"][1].update(secret=e["signing"][3]["secret"]),
    ):
        copy = json.loads(json.dumps(value))
        change(copy["epochs"][0])
        assert reason_of(Identity.parse, json.dumps(copy).encode()) is Reason.MALFORMED
    # One suite less, and it is whole again.
    for kind in ("signing", "opening"):
        value["epochs"][0][kind] = [k for k in value["epochs"][0][kind] if k["suite"] != HYBRID_KEM.number]
    assert Identity.parse(json.dumps(value).encode()).epochs[0].offered == (NIST_HIGH,)


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


def extract(salt: bytes, ikm: bytes, name: str = "sha256") -> bytes:
    return hmac.digest(salt or bytes(hashlib.new(name).digest_size), ikm, name)


def expand(prk: bytes, info: bytes, length: int, name: str = "sha256") -> bytes:
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([n]), name)
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


def decapsulate_x25519(seed: bytes, enc: bytes) -> bytes:
    """DHKEM(X25519, HKDF-SHA256) of RFC 9180, section 4.1."""
    private = x25519.X25519PrivateKey.from_private_bytes(seed)
    dh = private.exchange(x25519.X25519PublicKey.from_public_bytes(enc))
    context, kem = enc + private.public_key().public_bytes_raw(), b"KEM" + bytes.fromhex("0020")
    prk = extract(b"", b"HPKE-v1" + kem + b"eae_prk" + dh)
    return expand(prk, b"\x00\x20HPKE-v1" + kem + b"shared_secret" + context, 32)


def decapsulate_nist(seed: bytes, enc: bytes) -> bytes:
    """MLKEM1024-P384 as draft-irtf-cfrg-concrete-hybrid-kems writes it."""
    expanded = hashlib.shake_256(seed).digest(64 + 48)
    kem = mlkem.MLKEM1024PrivateKey.from_seed_bytes(expanded[:64])
    curve = ec.derive_private_key(int.from_bytes(expanded[64:], "big"), ec.SECP384R1())
    own = curve.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    ss_p = curve.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), enc[1568:]))
    parts = kem.decapsulate(enc[:1568]), ss_p, enc[1568:], own
    return hashlib.sha3_256(b"".join(parts) + b"MLKEM1024-P384").digest()


def schedule(
    shared_secret: bytes, info: bytes, aead_id: int, ids: str = "647a0001", name: str = "sha256"
) -> tuple[bytes, bytes]:
    """Key and base nonce of RFC 9180, base mode, for KEM and KDF `ids`, all with 32-byte AEAD keys."""
    suite_id = b"HPKE" + bytes.fromhex(ids) + aead_id.to_bytes(2, "big")
    labeled = lambda salt, label, ikm: extract(salt, b"HPKE-v1" + suite_id + label + ikm, name)  # noqa: E731
    context = b"\x00" + labeled(b"", b"psk_id_hash", b"") + labeled(b"", b"info_hash", info)
    secret = labeled(shared_secret, b"secret", b"")
    key, nonce = (
        expand(secret, size.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context, size, name)
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


# Size of `enc`, decapsulation, KEM and KDF, hash
BOOK = {
    CLASSICAL: (32, decapsulate_x25519, "00200001", "sha256"),
    HYBRID: (1120, decapsulate, "647a0001", "sha256"),
    HYBRID_KEM: (1120, decapsulate, "647a0001", "sha256"),
    NIST_HIGH: (1665, decapsulate_nist, "00510002", "sha384"),
}


@pytest.mark.parametrize("suite", BOOK, ids=lambda s: s.name)
def test_a_wrap_is_hpke_by_the_book(suite: Suite) -> None:
    seed, content_key, info = bytes(32), bytes(range(32)), b"info"
    wrapped = suite.wrap(suite.opening_public(seed), content_key, info)
    size, decapsulated, ids, name = BOOK[suite]
    assert len(wrapped) == suite.wrap_size == size + 32 + 16
    key, nonce = schedule(decapsulated(seed, wrapped[:size]), info, 2, ids, name)
    assert AESGCM(key).decrypt(nonce, wrapped[size:], b"") == content_key
    assert suite.opener(seed)(wrapped, info) == content_key
    assert suite.wrap(suite.opening_public(seed), content_key, info) != wrapped


@SUITE_PARAMS
def test_whoever_probes_a_wrap_learns_nothing(suite: Suite) -> None:
    seed, info = bytes(suite.opening_secret_size), b"info"
    public = suite.opening_public(seed)
    good = suite.wrap(public, bytes(32), info)
    enc = len(good) - 48
    halves = {0, 1088, 1568} & set(range(enc))  # where ML-KEM ends and the curve begins
    zeroed = [good[:n] + bytes(enc - n) + good[enc:] for n in halves]
    places = {n + side for n in (*halves, enc, len(good)) for side in (-1, 0)} & set(range(len(good)))
    flipped = [good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in sorted(places)]
    attempts = [
        *((seed, wrong, info) for wrong in (b"", good[:-1], good + b"\x00", good[1:], bytes(len(good)), *zeroed)),
        *((seed, wrong, info) for wrong in flipped),
        (seed, good, b""),
        (seed, good, b"info "),
        (seed[1:] + b"\x09", good, info),
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
    refused(Reason.BAD_CERTIFICATE, CLASSICAL.check_opening_key, u)
    refused(Reason.BAD_CERTIFICATE, CLASSICAL.wrap, u, bytes(32), b"info")


def test_wycheproof_x25519_low_order() -> None:
    file = shared("wycheproof/x25519_test.json")
    kem = HYBRID.opening_public(bytes(32))[:1184]
    zero = [c for g in file["testGroups"] for c in g["tests"] if c["shared"] == "00" * 32]
    assert zero
    for case in zero:
        refused(Reason.BAD_CERTIFICATE, HYBRID.check_opening_key, kem + bytes.fromhex(case["public"]))


@SUITE_PARAMS
def test_opening_keys_of_another_form_are_refused(suite: Suite) -> None:
    public = suite.opening_public(bytes(suite.opening_secret_size))
    suite.check_opening_key(public)
    attempts = [b"", public[:-1], public + b"\x00", bytes(len(public))]
    if len(public) > 1000:
        # A coefficient of 4095 is above q = 3329 (FIPS 203, the modulus check of an encapsulation key).
        attempts.append(b"\xff" * 3 + public[3:])
    if suite is NIST_HIGH:
        kem, point = public[:1568], public[1568:]
        attempts += [kem + bytes([2 + (point[-1] & 1)]) + point[1:49], kem + b"\x06" + point[1:]]
        attempts += [kem + point[:-1] + bytes([point[-1] ^ 1]), kem + bytes(97)]
    for wrong in attempts:
        refused(Reason.BAD_CERTIFICATE, suite.check_opening_key, wrong)
