"""Identities: a key in a token beside those in memory, and every form of a key file that is none."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from infoexchange import suites
from infoexchange.dsse import TYPE_KEYBUNDLE, pae
from infoexchange.errors import Reason
from infoexchange.keys import EpochKeys, Identity, IdentityKey, KeyUsage, key_id
from infoexchange.suites import CLASSICAL, HYBRID_KEM, NIST_HIGH
from test_suites import refused

NAME = "desk.oncb.th.example"
FORM = "infoexchange identity keys 1"
URI = "pkcs11:token=agency;object=identity"


@dataclass(frozen=True)
class Token:
    """A token that signs with a seed, and may be known by the key of another."""

    seed: bytes
    uri: str = URI
    known_by: bytes = b""

    @property
    def public(self) -> bytes:
        return self.known_by or suites.public_ed25519(self.seed)

    def sign(self, message: bytes) -> bytes:
        return suites.sign_ed25519(self.seed, message)


TOKEN = Token(bytes(32))
IDENTITY = Identity.make(NAME, suites=(HYBRID_KEM,))
HELD = Identity.make(NAME, token=TOKEN, suites=(HYBRID_KEM,))


def parsed(value: object) -> Identity:
    return Identity.parse(json.dumps(value).encode())


def changed(identity: Identity, change: Callable[[Any], object]) -> object:
    value = copy.deepcopy(json.loads(identity.raw))
    change(value)
    return value


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# A key in a token


def test_beside_a_token_one_seed_is_drawn() -> None:
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    key = IdentityKey.make(token=TOKEN, entropy=entropy)
    assert (key.ed25519, key.mldsa65, asked) == (TOKEN, bytes([1]) * 32, [32])
    assert key.publics == (TOKEN.public, suites.public_mldsa65(key.mldsa65))


def test_a_token_signs_as_it_is_known() -> None:
    key = IdentityKey.make(token=TOKEN)
    (classical, one), (post_quantum, two) = key.sign(TYPE_KEYBUNDLE, b"payload")
    suites.verify_ed25519(TOKEN.public, pae(TYPE_KEYBUNDLE, b"payload"), classical)
    suites.verify_mldsa65(key.publics[1], pae(TYPE_KEYBUNDLE, b"payload"), post_quantum)
    assert (one, two) == tuple(map(key_id, key.publics))
    other = IdentityKey.make(token=Token(bytes([1]) * 32, known_by=TOKEN.public))
    refused(Reason.BAD_SIGNATURE, other.sign, TYPE_KEYBUNDLE, b"payload")


def test_of_a_token_the_file_holds_only_where_it_is() -> None:
    value = json.loads(HELD.raw)
    assert value["token"] == {"uri": URI, "public": encoded(TOKEN.public)}
    assert "ed25519" not in value
    given: list[tuple[str, bytes]] = []

    def find(uri: str, public: bytes) -> Token:
        given.append((uri, public))
        return TOKEN

    assert Identity.parse(HELD.raw, token=find) == HELD
    assert given == [(URI, TOKEN.public)]


def test_without_its_token_an_identity_signs_no_bundle() -> None:
    identity = Identity.parse(HELD.raw)
    assert identity.key.publics == HELD.key.publics
    assert (identity.name, identity.epochs, identity.archive) == (HELD.name, HELD.epochs, HELD.archive)
    assert identity.raw == HELD.raw
    refused(Reason.UNAVAILABLE, identity.key.sign, TYPE_KEYBUNDLE, b"payload")


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(ed25519=encoded(bytes(32))),
        lambda v: v.pop("token"),
        lambda v: v.pop("mldsa65"),
        lambda v: v.update(token=URI),
        lambda v: v["token"].pop("uri"),
        lambda v: v["token"].pop("public"),
        lambda v: v["token"].update(uri=7),
        lambda v: v["token"].update(uri=None),
        lambda v: v["token"].update(public=encoded(bytes(31))),
        lambda v: v["token"].update(public=encoded(bytes(33))),
        lambda v: v["token"].update(public=v["token"]["public"] + "\n"),
    ],
)
def test_a_token_has_a_place_and_a_key(change: Callable[[Any], object]) -> None:
    refused(Reason.MALFORMED, parsed, changed(HELD, change))


# The file


def test_the_file_says_what_it_is() -> None:
    assert json.loads(IDENTITY.raw)["form"] == FORM
    for form in ("infoexchange identity keys 2", "", None, 1, FORM.upper()):
        refused(Reason.MALFORMED, parsed, changed(IDENTITY, lambda v, form=form: v.update(form=form)))


SECRETS: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "ed25519": lambda v: (v, "ed25519"),
    "mldsa65": lambda v: (v, "mldsa65"),
    "archive": lambda v: (v, "archive"),
    "wrapping": lambda v: (v["epochs"][0], "wrapping"),
    "signing": lambda v: (v["epochs"][0]["signing"][1], "secret"),
    "opening": lambda v: (v["epochs"][0]["opening"][0], "secret"),
}


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_strict_base64_of_its_length(secret: str) -> None:
    value = json.loads(IDENTITY.raw)
    place, name = SECRETS[secret](value)
    good = place[name]
    raw = base64.b64decode(good)
    assert len(raw) == 32
    assert parsed(value) == IDENTITY
    wrong: list[object] = [
        f"{good}\n",
        f" {good}",
        f"{good[:5]}!{good[5:]}",
        good[:-1],
        f"{good[:-1]}é",
        7,
        None,
        [good],
    ]
    for spoilt in (*wrong, encoded(raw[:-1]), encoded(raw + b"\x00"), encoded(raw[:1])):
        place[name] = spoilt
        refused(Reason.MALFORMED, parsed, value)


def test_an_archive_key_may_be_absent() -> None:
    without = replace(IDENTITY, archive=b"")
    assert Identity(NAME, IDENTITY.key, IDENTITY.epochs) == without
    assert Identity.parse(without.raw) == without


@pytest.mark.parametrize("numbers", [[1], [7], [2, 1], [9, 4, 1]])
def test_epochs_fall_to_at_least_one(numbers: list[int]) -> None:
    [keys] = IDENTITY.epochs
    identity = replace(IDENTITY, epochs=tuple(replace(keys, epoch=number) for number in numbers))
    assert Identity.parse(identity.raw) == identity


@pytest.mark.parametrize("numbers", [[], [0], [-1], [1, 2], [1, 1], [2, 1, 1], [1, 0], [2, 0], [3, 1, -1], [2, 3, 1]])
def test_other_epochs_are_no_key_file(numbers: list[int]) -> None:
    [keys] = IDENTITY.epochs
    identity = replace(IDENTITY, epochs=tuple(replace(keys, epoch=number) for number in numbers))
    refused(Reason.MALFORMED, Identity.parse, identity.raw)


@pytest.mark.parametrize("name", [7, None, [NAME], {}])
def test_a_name_is_text(name: object) -> None:
    refused(Reason.MALFORMED, parsed, changed(IDENTITY, lambda v: v.update(name=name)))


def test_destroyed_keys_are_not_given() -> None:
    [keys] = IDENTITY.epochs
    gone = EpochKeys(2, {}, {}, b"")
    identity = replace(IDENTITY, epochs=(gone, keys))
    assert identity.keys_of(1) is keys
    for epoch in (0, 2, 3):
        refused(Reason.STALE_BUNDLE, identity.keys_of, epoch)


# The keys of an epoch


def test_keys_are_whole_or_none_that_sign_are_left() -> None:
    [keys] = IDENTITY.epochs
    assert keys.is_whole
    required = {at: key for at, key in keys.signing.items() if at[1] != 3}  # who attests nothing needs no key for it
    assert len(required) == 2
    assert replace(keys, signing=required).is_whole
    for at in required:
        assert not replace(keys, signing={other: key for other, key in required.items() if other != at}).is_whole
    assert replace(keys, signing={}, wrapping=b"").is_whole
    assert replace(keys, signing={}, opening={}, wrapping=b"").is_whole
    assert not replace(keys, opening={}).is_whole
    assert not replace(keys, signing={}).is_whole
    assert not replace(keys, wrapping=b"").is_whole
    for size in (31, 33):
        assert not replace(keys, wrapping=bytes(size)).is_whole
        for kind in ("signing", "opening"):
            spoilt = {at: replace(key, secret=bytes(size)) for at, key in getattr(keys, kind).items()}
            assert not replace(keys, **{kind: spoilt}).is_whole


def test_what_is_there_is_named_where_a_key_is_missing() -> None:
    keys = EpochKeys.make(7, suites=(HYBRID_KEM, CLASSICAL))
    for call in (lambda: keys.signer(NIST_HIGH, KeyUsage.MANIFEST), lambda: keys.opener(NIST_HIGH)):
        problem = refused(Reason.SUITE_NOT_ACCEPTED, call)
        assert "NIST-HIGH is not" in problem.detail
        assert "epoch 7" in problem.detail
        step = "Use one of CLASSICAL, HYBRID-KEM, or have keys for NIST-HIGH made for the next epoch."
        assert problem.next_step == step
    assert keys.signer(CLASSICAL, KeyUsage.ATTESTATION) is keys.signing[1, KeyUsage.ATTESTATION]
    assert keys.opener(HYBRID_KEM) is keys.opening[3]
    assert [int(usage) for usage in KeyUsage] == [1, 2, 3]
    assert key_id(b"abc") == "ba7816bf8f01cfea"


def test_a_key_is_drawn_once_though_its_suite_is_offered_and_closing() -> None:
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    keys = EpochKeys.make(2, suites=(HYBRID_KEM,), closing=(HYBRID_KEM, CLASSICAL), entropy=entropy)
    assert asked == [32] * 6  # three to sign, one only to acknowledge, one to open, one for epoch KEKs
    assert {*keys.signing} == {(3, 1), (3, 2), (3, 3), (1, 2)}
    assert keys.wrapping == bytes([6]) * 32
