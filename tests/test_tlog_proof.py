"""Proof files: complete and offline, every refused form, and flipped bits."""

import base64
import hashlib
import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from infoexchange.errors import ExchangeError, Reason
from infoexchange.tlog import merkle
from infoexchange.tlog.checkpoint import Checkpoint
from infoexchange.tlog.note import KeyType, NoteSigner, VerifierKey
from infoexchange.tlog.proof import Proof

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORIGIN = "relay.th.example/audit/2026h2"
ENTRIES = [b"entry %d" % i for i in range(11)]
HASHES = [merkle.leaf_hash(entry) for entry in ENTRIES]


def signers(origin, seed):
    secret = hashlib.sha256(seed.encode()).digest()
    privates = {1: Ed25519PrivateKey.from_private_bytes(secret), 6: MLDSA44PrivateKey.from_seed_bytes(secret)}
    return [
        NoteSigner(VerifierKey.make(origin, key_type, private.public_key().public_bytes_raw()), private.sign)
        for key_type, private in privates.items()
    ]


LOG = signers(ORIGIN, "log")
KEYS = [one.key for one in LOG]
CHECKPOINT = Checkpoint.sign(ORIGIN, 11, merkle.root(HASHES), LOG, now=NOW)
SMALL = Checkpoint.sign(ORIGIN, 11, merkle.root(HASHES), LOG[:1], now=NOW)
PATH = merkle.inclusion_proof(5, HASHES)
PROOF = Proof.make(5, PATH, CHECKPOINT.raw)


def refused(reason, call, *args, **named):
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    assert caught.value.reason is reason, caught.value


def test_every_entry_has_a_proof():
    for index, entry in enumerate(ENTRIES):
        proof = Proof.make(index, merkle.inclusion_proof(index, HASHES), CHECKPOINT.raw)
        again = Proof.parse(proof.raw)
        assert again == proof
        assert again.verify(entry, ORIGIN, KEYS, now=NOW) == CHECKPOINT
        refused(Reason.BAD_PROOF, again.verify, entry + b"!", ORIGIN, KEYS)


def test_form_of_the_file():
    assert PROOF.raw == b"".join(
        [
            b"c2sp.org/tlog-proof@v1\nindex 5\n",
            *(base64.b64encode(entry) + b"\n" for entry in PATH),
            b"\n" + CHECKPOINT.raw,
        ]
    )
    assert KeyType(LOG[1].key.type) is KeyType.MLDSA44
    made = Proof.of(5, PATH, CHECKPOINT)
    assert (made, made.raw) == (PROOF, PROOF.raw)


def test_a_log_of_one_entry_needs_no_path():
    checkpoint = Checkpoint.sign(ORIGIN, 1, HASHES[0], LOG, now=NOW)
    assert Proof.make(0, [], checkpoint.raw).verify(ENTRIES[0], ORIGIN, KEYS) == checkpoint


def test_the_log_and_both_keys_are_checked():
    refused(Reason.UNKNOWN_PARTY, PROOF.verify, ENTRIES[5], "relay.la.example/audit", KEYS)
    refused(Reason.UNKNOWN_PARTY, PROOF.verify, ENTRIES[5], ORIGIN, [])
    others = [one.key for one in signers(ORIGIN, "other")]
    refused(Reason.BAD_SIGNATURE, PROOF.verify, ENTRIES[5], ORIGIN, others)
    single = Proof.make(5, PATH, SMALL.raw)
    refused(Reason.BAD_SIGNATURE, single.verify, ENTRIES[5], ORIGIN, KEYS)
    assert single.verify(ENTRIES[5], ORIGIN, KEYS[:1]) == SMALL
    refused(Reason.NOT_YET_VALID, PROOF.verify, ENTRIES[5], ORIGIN, KEYS, now=NOW - timedelta(minutes=6))


@pytest.mark.parametrize(
    ("index", "path"),
    [(4, PATH), (6, PATH), (5, PATH[:-1]), (5, []), (5, [*PATH, PATH[0]]), (5, PATH[::-1]), (5, [PATH[0]] * 63)],
)
def test_proofs_that_prove_nothing(index, path):
    refused(Reason.BAD_PROOF, Proof.make(index, path, CHECKPOINT.raw).verify, ENTRIES[5], ORIGIN, KEYS)


HEAD = b"c2sp.org/tlog-proof@v1\n"
INDEX = b"index 5\n"
LINES = b"".join(base64.b64encode(entry) + b"\n" for entry in PATH)
FIRST = base64.b64encode(PATH[0])
TAIL = b"\n" + SMALL.raw


def indexed(number):
    return HEAD + b"index " + number + b"\n" + LINES + TAIL


def hashed(line):
    return HEAD + INDEX + line + b"\n" + LINES.split(b"\n", 1)[1] + TAIL


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.UNKNOWN_VERSION),
        (b"c2sp.org/tlog-proof@v1", Reason.UNKNOWN_VERSION),
        (b"c2sp.org/tlog-proof@v2\n" + INDEX + LINES + TAIL, Reason.UNKNOWN_VERSION),
        (b" " + HEAD + INDEX + LINES + TAIL, Reason.UNKNOWN_VERSION),
        (b"\xef\xbb\xbf" + HEAD + INDEX + LINES + TAIL, Reason.UNKNOWN_VERSION),
        (b"c2sp.org/tlog-proof@v1\r\n" + INDEX + LINES + TAIL, Reason.UNKNOWN_VERSION),
        (b"c2sp.org/tlog-proof@v1 \n" + INDEX + LINES + TAIL, Reason.UNKNOWN_VERSION),
        (HEAD, Reason.MALFORMED),
        (HEAD + b"extra AAAA\n" + INDEX + LINES + TAIL, Reason.MALFORMED),
        (HEAD + b"extra \n" + INDEX + LINES + TAIL, Reason.MALFORMED),
        (HEAD + INDEX + b"extra AAAA\n" + LINES + TAIL, Reason.MALFORMED),
        (HEAD + LINES + TAIL, Reason.MALFORMED),
        (HEAD + TAIL, Reason.MALFORMED),
        (HEAD + INDEX + INDEX + LINES + TAIL, Reason.MALFORMED),
        (HEAD + INDEX + b"index 4\n" + LINES + TAIL, Reason.MALFORMED),
        (HEAD + b"Index 5\n" + LINES + TAIL, Reason.MALFORMED),
        (HEAD + b"index\n" + LINES + TAIL, Reason.MALFORMED),
        (HEAD + b"index5\n" + LINES + TAIL, Reason.MALFORMED),
        (indexed(b""), Reason.MALFORMED),
        (indexed(b" 5"), Reason.MALFORMED),
        (indexed(b"5 "), Reason.MALFORMED),
        (indexed(b"+5"), Reason.MALFORMED),
        (indexed(b"-5"), Reason.MALFORMED),
        (indexed(b"0_5"), Reason.MALFORMED),
        (indexed(b"5e0"), Reason.MALFORMED),
        (indexed(b"0x5"), Reason.MALFORMED),
        (indexed("٥".encode()), Reason.MALFORMED),
        (indexed(b"05"), Reason.NOT_CANONICAL),
        (indexed(b"00"), Reason.NOT_CANONICAL),
        (indexed(b"9223372036854775808"), Reason.BAD_FIELD),
        (indexed(b"11"), Reason.BAD_PROOF),
        (indexed(b"9223372036854775807"), Reason.BAD_PROOF),
        (hashed(FIRST[:-1]), Reason.MALFORMED),
        (hashed(FIRST + b"="), Reason.MALFORMED),
        (hashed(FIRST + b" "), Reason.MALFORMED),
        (hashed(b" " + FIRST), Reason.MALFORMED),
        (hashed(b"\xc3\xa9" + FIRST[2:]), Reason.MALFORMED),
        (hashed(FIRST[:-2] + bytes([FIRST[-2] + 1]) + b"="), Reason.NOT_CANONICAL),
        (hashed(base64.b64encode(b"x" * 31)), Reason.BAD_FIELD),
        (hashed(base64.b64encode(b"x" * 33)), Reason.BAD_FIELD),
        (hashed(b""), Reason.MALFORMED),
        (HEAD + INDEX + LINES + b"\n" + TAIL, Reason.MALFORMED),
        (HEAD + INDEX + LINES + SMALL.raw, Reason.MALFORMED),
        (HEAD + INDEX + LINES, Reason.MALFORMED),
        (HEAD + INDEX + LINES + b"\n", Reason.MALFORMED),
        (HEAD + INDEX + (FIRST + b"\n") * 63 + TAIL, None),
        (HEAD + INDEX + (FIRST + b"\n") * 64 + TAIL, Reason.BAD_PROOF),
        (HEAD + INDEX + LINES + TAIL[:-1], Reason.MALFORMED),
        (HEAD + INDEX + LINES + TAIL + b"\n", Reason.MALFORMED),
        (HEAD + INDEX + LINES + TAIL, None),
    ],
)
def test_forms_of_proofs(raw, reason):
    if reason is None:
        assert Proof.parse(raw).raw == raw
    else:
        refused(reason, Proof.parse, raw)


def test_what_makes_no_proof_is_not_made():
    refused(Reason.MALFORMED, Proof.make, -1, PATH, CHECKPOINT.raw)
    refused(Reason.BAD_FIELD, Proof.make, 5, [b"x" * 31], CHECKPOINT.raw)
    refused(Reason.BAD_PROOF, Proof.make, 11, PATH, CHECKPOINT.raw)


def answer(raw, keys):
    """Return what a proof file says to somebody who trusts `keys`, or None."""
    try:
        proof = Proof.parse(raw)
        checkpoint = proof.verify(ENTRIES[5], ORIGIN, keys)
    except ExchangeError:
        return None
    return proof.index, checkpoint.origin, checkpoint.size, checkpoint.root


@pytest.mark.parametrize(
    ("raw", "keys", "step"), [(Proof.make(5, PATH, SMALL.raw).raw, KEYS[:1], 1), (PROOF.raw, KEYS, 37)]
)
def test_a_flipped_bit_never_changes_the_answer(raw, keys, step):
    seed = random.randrange(step)
    print("first bit", seed)
    true = answer(raw, keys)
    assert true
    for place in range(seed, len(raw) * 8, step):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        assert answer(bytes(changed), keys) in (None, true)
