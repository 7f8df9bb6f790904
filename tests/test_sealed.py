"""Sealed files: they open with their passphrase and with nothing else, and cost no reader more than it will spend."""

from __future__ import annotations

import base64
import contextlib
import json
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from infoexchange import suites
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import sealed
from infoexchange.keys.sealed import COST, FORM, LANES_MAX, MEMORY_MAX, PASSES_MAX, WORK_MAX, Cost, Seal, SealedFile

CHEAP = Cost(memory=64 * 1024, passes=1, lanes=1)
PASSPHRASE = "four words nobody said"
SECRET = b'{"form": "infoexchange identity keys 1"}'
SEAL = Seal.make(PASSPHRASE, cost=CHEAP)
RAW = SEAL.seal(SECRET)


def reason_of(call: Callable[..., object], *args: object, **named: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    return caught.value.reason


def changed(**values: object) -> bytes:
    return json.dumps(json.loads(RAW) | values).encode()


def test_what_was_sealed_comes_back() -> None:
    file = SealedFile.parse(RAW)
    assert SealedFile.is_one(RAW)
    assert not SealedFile.is_one(SECRET)
    assert (file.raw, file.cost) == (RAW, CHEAP)
    assert file.open_with(SEAL) == file.open_with(file.seal_of(PASSPHRASE)) == SECRET
    assert SealedFile.parse(json.dumps(json.loads(RAW)).encode()).open_with(SEAL) == SECRET  # laid out anew by a person
    turned = json.dumps(dict(reversed(json.loads(RAW).items()))).encode()
    assert SealedFile.is_one(turned)
    assert SealedFile.parse(turned).open_with(SEAL) == SECRET
    again = SEAL.seal(SECRET)
    assert again != RAW  # a fresh salt inside, though the stretched key is the same
    assert SealedFile.parse(again).open_with(SEAL) == SECRET
    for large in (b"", bytes(100_000)):
        assert SealedFile.parse(SEAL.seal(large)).open_with(SEAL) == large


def test_it_is_what_the_specification_says() -> None:
    """Key and plaintext computed a second time, from the text of the specification."""
    value = json.loads(SEAL.seal(SECRET))
    stretch = Argon2id(
        salt=base64.b64decode(value["salt"]),
        length=32,
        iterations=value["passes"],
        lanes=value["lanes"],
        memory_cost=value["memory_kib"],
    )
    key = stretch.derive(PASSPHRASE.encode())
    assert suites.decrypt_body(key, b"infoexchange/v1/sealed-file\x00", base64.b64decode(value["sealed"])) == SECRET
    assert value["form"] == FORM == "infoexchange sealed file 1"


def test_accents_may_be_typed_either_way() -> None:
    composed, decomposed = "caf\u00e9 caf\u00e9 caf\u00e9", "cafe\u0301 cafe\u0301 cafe\u0301"
    assert composed != decomposed
    seal = Seal.make(composed, cost=CHEAP)
    file = SealedFile.parse(seal.seal(SECRET))
    assert file.open_with(file.seal_of(decomposed)) == SECRET


def test_another_passphrase_opens_nothing() -> None:
    file = SealedFile.parse(RAW)
    texts = set()
    others = [file.seal_of(p) for p in ("", PASSPHRASE + " ", PASSPHRASE[:-1])]
    for seal in (*others, Seal.make(PASSPHRASE, cost=CHEAP)):  # the same words under another salt
        with pytest.raises(ExchangeError) as caught:
            file.open_with(seal)
        assert caught.value.reason is Reason.BAD_CIPHERTEXT
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_a_new_passphrase_has_a_length() -> None:
    assert reason_of(Seal.make, "x" * 11, cost=CHEAP) is Reason.BAD_FIELD
    Seal.make("x" * 12, cost=CHEAP)
    Seal.make("x" * 1024, cost=CHEAP)
    assert reason_of(Seal.make, "x" * 1025, cost=CHEAP) is Reason.TOO_LARGE
    assert reason_of(Seal.make, "x" * 12 + "\ud800", cost=CHEAP) is Reason.BAD_FIELD


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        RAW[:-3],
        SECRET,
        changed(form="infoexchange sealed file 2"),
        changed(more=1),
        json.dumps({k: v for k, v in json.loads(RAW).items() if k != "salt"}).encode(),
        changed(salt="AAAA"),
        changed(salt=7),
        changed(sealed="not base64!"),
        changed(passes="1"),
        changed(passes=True),
        changed(memory_kib=64.0),
        changed(lanes=None),
    ],
)
def test_what_is_no_sealed_file(raw: bytes) -> None:
    assert reason_of(SealedFile.parse, raw) is Reason.MALFORMED


def test_a_hostile_file_cannot_exhaust_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are judged before anything is computed: Argon2 is not even made."""
    monkeypatch.setattr(sealed, "Argon2id", lambda **_: pytest.fail("computed"))
    kib = MEMORY_MAX // 1024
    for values in (
        {"memory_kib": kib + 1},
        {"memory_kib": 2**62},
        {"passes": PASSES_MAX + 1},
        {"lanes": LANES_MAX + 1, "memory_kib": 8 * (LANES_MAX + 1)},
        {"memory_kib": kib, "passes": WORK_MAX // MEMORY_MAX + 1},
    ):
        assert reason_of(SealedFile.parse, changed(**values)) is Reason.TOO_LARGE
    for values in ({"memory_kib": 0}, {"passes": 0}, {"lanes": -1}, {"memory_kib": 7}, {"memory_kib": 15, "lanes": 2}):
        assert reason_of(SealedFile.parse, changed(**values)) is Reason.BAD_FIELD
    whole = {"memory_kib": kib, "passes": WORK_MAX // MEMORY_MAX, "lanes": LANES_MAX}
    assert SealedFile.parse(changed(**whole)).cost == Cost(MEMORY_MAX, WORK_MAX // MEMORY_MAX, LANES_MAX)
    COST.check("cost")


GIB = 2**20  # in KiB


@pytest.mark.parametrize(
    "values",
    [
        {"memory_kib": 8},
        {"memory_kib": 16, "lanes": 2},
        {"memory_kib": 128, "lanes": 16},
        {"memory_kib": GIB, "passes": 4, "lanes": 16},
        {"memory_kib": GIB // 4, "passes": 16},
    ],
)
def test_costs_at_the_limits_of_the_specification(values: dict[str, int]) -> None:
    file = SealedFile.parse(changed(**values))
    named = {"memory_kib": 64, "passes": 1, "lanes": 1} | values
    assert file.cost == Cost(named["memory_kib"] * 1024, named["passes"], named["lanes"])
    assert json.loads(Seal(file.salt, file.cost, bytes(32)).seal(SECRET)).items() >= named.items()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"memory_kib": 7}, Reason.BAD_FIELD),
        ({"memory_kib": 15, "lanes": 2}, Reason.BAD_FIELD),
        ({"memory_kib": 127, "lanes": 16}, Reason.BAD_FIELD),
        ({"memory_kib": 0, "lanes": 0}, Reason.BAD_FIELD),
        ({"lanes": 0}, Reason.BAD_FIELD),
        ({"passes": 0}, Reason.BAD_FIELD),
        ({"memory_kib": -64}, Reason.BAD_FIELD),
        ({"memory_kib": GIB + 1}, Reason.TOO_LARGE),
        ({"passes": 17}, Reason.TOO_LARGE),
        ({"memory_kib": 1024, "lanes": 17}, Reason.TOO_LARGE),
        ({"memory_kib": GIB, "passes": 5}, Reason.TOO_LARGE),
        ({"memory_kib": GIB // 4 + 1, "passes": 16}, Reason.TOO_LARGE),
    ],
)
def test_costs_beyond_the_limits_of_the_specification(values: dict[str, int], reason: Reason) -> None:
    with pytest.raises(ExchangeError) as caught:
        SealedFile.parse(changed(**values))
    assert (caught.value.reason, caught.value.field) == (reason, "key file")


def test_memory_is_whole_kibibytes() -> None:
    Cost(memory=9 * 1024, passes=1, lanes=1).check("cost")
    for odd in (1, 512, 1023):
        assert reason_of(Cost(memory=8 * 1024 + odd, passes=1, lanes=1).check, "cost") is Reason.BAD_FIELD


def test_a_new_seal_costs_what_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    class Quick:
        def __init__(self, **named: object) -> None:
            asked.update(named)

        def derive(self, text: bytes) -> bytes:
            asked["text"] = text
            return bytes(32)

    monkeypatch.setattr(sealed, "Argon2id", Quick)
    seal = Seal.make(PASSPHRASE, entropy=bytes)
    assert (seal.salt, seal.cost) == (bytes(16), Cost(256 * 1024 * 1024, 3, 4))
    costs = {"iterations": 3, "lanes": 4, "memory_cost": 256 * 1024}
    assert asked == {"salt": bytes(16), "length": 32, "text": PASSPHRASE.encode(), **costs}
    with pytest.raises(ExchangeError) as caught:
        Seal.make(PASSPHRASE, cost=Cost(memory=1024, passes=1, lanes=1))
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, "cost")


def test_a_salt_has_sixteen_bytes() -> None:
    for size in (0, 15, 17, 32):
        salt = base64.b64encode(bytes(size)).decode()
        assert reason_of(SealedFile.parse, changed(salt=salt)) is Reason.MALFORMED
    value = json.loads(RAW)
    for name in ("salt", "sealed"):
        assert len(base64.b64decode(value[name])) > 15
        for spoilt in (f"{value[name]}\n", f" {value[name]}", f"!{value[name]}", value[name][:-1]):
            assert reason_of(SealedFile.parse, changed(**{name: spoilt})) is Reason.MALFORMED


@pytest.mark.parametrize("name", ["form", "salt", "memory_kib", "passes", "lanes", "sealed"])
def test_a_sealed_file_has_all_its_parts_and_no_other(name: str) -> None:
    value = json.loads(RAW)
    assert reason_of(SealedFile.parse, json.dumps({k: v for k, v in value.items() if k != name}).encode()) is (
        Reason.MALFORMED
    )
    renamed = {k if k != name else f"{name}s": v for k, v in value.items()}
    assert reason_of(SealedFile.parse, json.dumps(renamed).encode()) is Reason.MALFORMED


@pytest.mark.parametrize("raw", [b"null", b"7", b"[]", b'"form"', b"true", b"\xff", json.dumps([FORM]).encode()])
def test_other_json_is_no_sealed_file(raw: bytes) -> None:
    assert reason_of(SealedFile.parse, raw) is Reason.MALFORMED


def test_a_seal_of_another_salt_or_cost_opens_nothing() -> None:
    file = SealedFile.parse(RAW)
    key = SEAL._key
    for seal in (Seal(bytes(16), CHEAP, key), Seal(SEAL.salt, Cost(CHEAP.memory, 2, 1), key)):
        assert reason_of(file.open_with, seal) is Reason.BAD_CIPHERTEXT
    assert file.open_with(Seal(SEAL.salt, CHEAP, key)) == SECRET


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(sealed, "Argon2id", refuse)
    assert reason_of(SealedFile.parse(RAW).seal_of, PASSPHRASE) is Reason.OVERLOADED


def test_a_flipped_bit_never_gives_another_secret() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for place in rng.sample(range(len(RAW)), 150):
        raw = bytearray(RAW)
        raw[place] ^= 1 << rng.randrange(8)
        with contextlib.suppress(ExchangeError):
            file = SealedFile.parse(bytes(raw))
            if file.cost.memory * file.cost.passes <= 2**24:  # not a digit of the cost: that would take its time
                assert file.open_with(file.seal_of(PASSPHRASE)) == SECRET


def test_no_secret_shows() -> None:
    assert repr(SEAL._key)[2:-1] not in repr(SEAL)
    assert "sealed" not in repr(SealedFile.parse(RAW)).split("SealedFile")[1]
