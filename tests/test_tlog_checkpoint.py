"""Checkpoints and cosignatures: both of the log's keys, witnesses told apart, every refused form, flipped bits."""

import base64
import hashlib
import random
import struct
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from infoexchange.errors import ExchangeError, MalformedError, Reason
from infoexchange.tlog.checkpoint import Checkpoint, checkpoint_text, signed_message, timestamp
from infoexchange.tlog.cosignature import Cosignature, verify_cosignatures
from infoexchange.tlog.merkle import EMPTY_ROOT
from infoexchange.tlog.note import KeyType, Note, NoteSigner, Signature, VerifierKey

ED, COSIGNER, MLDSA = KeyType
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
ORIGIN = "relay.th.example/audit/2026h2"
ROOT = hashlib.sha256(b"root").digest()


def signer(name, seed, key_type):
    secret = hashlib.sha256(seed.encode()).digest()
    if key_type == MLDSA:
        private = MLDSA44PrivateKey.from_seed_bytes(secret)
    else:
        private = Ed25519PrivateKey.from_private_bytes(secret)
    return NoteSigner(VerifierKey.make(name, key_type, private.public_key().public_bytes_raw()), private.sign)


LOG = [signer(ORIGIN, "log ed", ED), signer(ORIGIN, "log ml", MLDSA)]
KEYS = [one.key for one in LOG]
WITNESS = [signer("relay.vn.example/witness", "w ed", COSIGNER), signer("relay.vn.example/witness", "w ml", MLDSA)]
WITNESS_KEYS = [one.key for one in WITNESS]
CHECKPOINT = Checkpoint.sign(ORIGIN, 300, ROOT, LOG, now=NOW)
COSIGNED = CHECKPOINT.with_signatures(Cosignature.sign(CHECKPOINT, one, now=NOW).signature for one in WITNESS)


def refused(reason, call, *args, **named):
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    assert caught.value.reason is reason, caught.value


def test_both_keys_of_the_log_are_demanded():
    assert CHECKPOINT.verify(KEYS) == tuple(KEYS)
    assert CHECKPOINT.verify(reversed(KEYS), now=NOW) == tuple(KEYS)
    for one in LOG:
        single = Checkpoint.sign(ORIGIN, 300, ROOT, [one], now=NOW)
        assert single.verify([one.key]) == (one.key,)
        refused(Reason.BAD_SIGNATURE, single.verify, KEYS)
    assert CHECKPOINT.verify(KEYS[:1]) == (KEYS[0],)


def test_parts_and_round_trip():
    again = Checkpoint.parse(CHECKPOINT.raw)
    assert again == CHECKPOINT
    assert (again.origin, again.size, again.root) == (ORIGIN, 300, ROOT)
    assert again.note.text == checkpoint_text(ORIGIN, 300, ROOT)
    assert Checkpoint.sign(ORIGIN, 0, EMPTY_ROOT, LOG, now=NOW).verify(KEYS)
    assert Checkpoint.sign(ORIGIN, 2**63 - 1, ROOT, LOG, now=NOW).verify(KEYS)


def test_messages_are_those_of_the_specification():
    text = b"%s\n300\n%s\n" % (ORIGIN.encode(), base64.b64encode(ROOT))
    head = (7, ORIGIN, 300, ROOT)
    assert signed_message(KEYS[0], *head) == text
    assert signed_message(WITNESS_KEYS[0], *head) == b"cosignature/v1\ntime 7\n" + text
    name = b"relay.vn.example/witness"
    expected = b"subtree/v1\n\0" + bytes([len(name)]) + name + struct.pack(">Q", 7)
    expected += bytes([len(ORIGIN)]) + ORIGIN.encode() + struct.pack(">QQ", 0, 300) + ROOT
    assert signed_message(WITNESS_KEYS[1], *head) == expected


def test_public_checkpoint_of_a_foreign_log():
    # Published by a certificate log of transparency.dev in 2026: an RFC 6962 line that nobody here knows,
    # the log's Ed25519 line and a cosignature.
    raw = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
"""  # noqa: E501
    checkpoint = Checkpoint.parse(raw.encode())
    log = VerifierKey.parse(
        "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
    )
    witness = VerifierKey.parse("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2")
    assert checkpoint.verify([log]) == (log,)
    found = verify_cosignatures(checkpoint, [witness], now=NOW)
    assert found[witness].time == 0x6A122120
    other = Checkpoint.parse(raw.replace("1432088532", "1432088531").encode())
    refused(Reason.BAD_SIGNATURE, other.verify, [log])
    refused(Reason.BAD_SIGNATURE, verify_cosignatures, other, [witness], now=NOW)


def with_text(text):
    """Return a note of this text, signed by the log's plain key."""
    return Note.sign(text, LOG[:1]).raw


B64 = base64.b64encode(ROOT)
NAME = ORIGIN.encode()


def test_a_checkpoint_of_no_log_is_no_checkpoint():
    with pytest.raises(ExchangeError) as caught:
        Checkpoint.parse(with_text(b"\n300\n" + B64 + b"\n"))
    assert (caught.value.reason, caught.value.field) == (Reason.MALFORMED, "checkpoint.origin")


@pytest.mark.parametrize(
    ("origin", "size", "root", "field"),
    [
        ("", 300, ROOT, "checkpoint.origin"),
        ("a\nb", 300, ROOT, "checkpoint.origin"),
        (ORIGIN, -1, ROOT, "checkpoint"),
        (ORIGIN, 2**63, ROOT, "checkpoint"),
        (ORIGIN, 300, ROOT[:31], "checkpoint"),
        (ORIGIN, 300, ROOT + b"x", "checkpoint"),
        (ORIGIN, 0, ROOT, "checkpoint.root"),
    ],
)
def test_no_text_is_made_of_what_no_checkpoint_has(origin, size, root, field):
    with pytest.raises(ExchangeError) as caught:
        checkpoint_text(origin, size, root)
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, field)


@pytest.mark.parametrize(
    "size",
    [
        *("", "010", "00", "+10", "-1", "-0", "1_0", " 10", "10 ", "1e1", "0xa", "a", "1.0", "1,0", "١٠", "１０", "²"),
        *("9223372036854775808", "18446744073709551616", "9" * 5000),
    ],
)
def test_refused_sizes(size):
    with pytest.raises(MalformedError) as caught:
        Checkpoint.parse(with_text(b"%s\n%s\n%s\n" % (NAME, size.encode(), B64)))
    assert caught.value.field == "checkpoint.size"


@pytest.mark.parametrize(
    "root",
    [
        b"",
        B64[:-1],
        B64 + b"=",
        B64[:-1] + b"\xc2\xa0",
        B64 + b" ",
        b" " + B64,
        B64[:-2] + bytes([B64[-2] + 1]) + b"=",
        B64.replace(b"+", b"-").replace(b"/", b"_")[:-2] + b"-=",
        base64.b64encode(ROOT[:16]),
        base64.b64encode(ROOT + b"\0"),
        base64.b64encode(ROOT[:31]),
        ROOT.hex().encode(),
    ],
)
def test_refused_roots(root):
    with pytest.raises(MalformedError) as caught:
        Checkpoint.parse(with_text(b"%s\n300\n%s\n" % (NAME, root)))
    assert caught.value.field == "checkpoint.root"


@pytest.mark.parametrize(
    "text",
    [
        b"%s\n300\n" % NAME,
        b"%s\n" % NAME,
        b"%s\n300\n%s\n\n" % (NAME, B64),
        b"%s\n300\n%s\nextension\n" % (NAME, B64),
        b"\n%s\n300\n%s\n" % (NAME, B64),
        b"%s\n\n300\n%s\n" % (NAME, B64),
        b"\n300\n%s\n" % B64,
        b"%s\n0\n%s\n" % (NAME, B64),
        f"{ORIGIN}\u2028300\u2028{B64.decode()}\n".encode(),
        f"{ORIGIN}\u0085300\u0085{B64.decode()}\n".encode(),
        f"{ORIGIN}\n300\u2028\n{B64.decode()}\n".encode(),
    ],
)
def test_refused_texts(text):
    with pytest.raises(MalformedError) as caught:
        Checkpoint.parse(with_text(text))
    assert caught.value.field.startswith("checkpoint")


def test_lines_are_split_at_newline_only():
    text = f"log\u2028of\u0085x\n300\n{B64.decode()}\n".encode()
    assert Checkpoint.parse(with_text(text)).origin == "log\u2028of\u0085x"


def test_another_origin_is_another_log():
    elsewhere = "relay.la.example/audit/2026h2"
    keys = [signer(elsewhere, "log ed", ED).key, signer(elsewhere, "log ml", MLDSA).key]
    refused(Reason.UNKNOWN_PARTY, CHECKPOINT.verify, keys)
    refused(Reason.UNKNOWN_PARTY, CHECKPOINT.verify, [*KEYS, keys[0]])
    refused(Reason.UNKNOWN_PARTY, CHECKPOINT.verify, [])
    stolen = Checkpoint.parse(with_text(checkpoint_text(elsewhere, 300, ROOT)))
    refused(Reason.UNKNOWN_PARTY, stolen.verify, KEYS)
    refused(Reason.BAD_SIGNATURE, stolen.verify, keys)


def test_keys_stay_in_their_role():
    cosigner_as_log = signer(ORIGIN, "log ed", COSIGNER)
    refused(Reason.BAD_FIELD, CHECKPOINT.verify, [cosigner_as_log.key])
    refused(Reason.BAD_FIELD, Checkpoint.sign, ORIGIN, 300, ROOT, [cosigner_as_log], now=NOW)
    refused(Reason.BAD_FIELD, Checkpoint.sign, ORIGIN, 300, ROOT, WITNESS[1:], now=NOW)
    for log in LOG:
        refused(Reason.BAD_FIELD, Cosignature.sign, CHECKPOINT, log, now=NOW)
        refused(Reason.BAD_FIELD, verify_cosignatures, CHECKPOINT, [log.key], now=NOW)
    own = Cosignature.of(CHECKPOINT.note.signatures[1])
    refused(Reason.BAD_FIELD, own.verify, CHECKPOINT, KEYS[1], now=NOW)
    plain_witness = signer("relay.vn.example/witness", "w ed", ED)
    refused(Reason.BAD_FIELD, Cosignature.sign, CHECKPOINT, plain_witness, now=NOW)
    refused(Reason.BAD_FIELD, verify_cosignatures, CHECKPOINT, [plain_witness.key], now=NOW)


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 1, ROOT),
        ("a\nb", 1, ROOT),
        (ORIGIN, -1, ROOT),
        (ORIGIN, 2**63, ROOT),
        (ORIGIN, 1, ROOT[:31]),
        (ORIGIN, 0, ROOT),
        ("x" * 256, 1, ROOT),
    ],
)
def test_what_makes_no_checkpoint_is_not_signed(origin, size, root):
    own = signer(origin if len(origin) > 255 else ORIGIN, "s", MLDSA)
    refused(Reason.BAD_FIELD, Checkpoint.sign, origin, size, root, [own], now=NOW)


def test_times_need_a_zone():
    with pytest.raises(ValueError, match="time zone"):
        Checkpoint.sign(ORIGIN, 300, ROOT, LOG, now=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="1970"):
        Checkpoint.sign(ORIGIN, 300, ROOT, LOG, now=datetime(1969, 1, 1, tzinfo=UTC))


def test_witnesses_are_found_and_counted_once():
    found = verify_cosignatures(COSIGNED, WITNESS_KEYS, now=NOW)
    assert [found[key].time for key in WITNESS_KEYS] == [SECONDS, SECONDS]
    assert COSIGNED.verify(KEYS, now=NOW) == tuple(KEYS)
    assert verify_cosignatures(CHECKPOINT, WITNESS_KEYS, now=NOW) == {}
    late = NOW + timedelta(seconds=30)
    twice = COSIGNED.with_signatures([Cosignature.sign(COSIGNED, WITNESS[0], now=late).signature])
    assert verify_cosignatures(twice, WITNESS_KEYS, now=late)[WITNESS_KEYS[0]].time == SECONDS
    assert COSIGNED.with_signatures(COSIGNED.note.signatures) == COSIGNED


def test_answer_of_a_witness():
    made = [Cosignature.sign(CHECKPOINT, one, now=NOW) for one in WITNESS]
    parsed = Cosignature.parse_all(b"".join(one.raw for one in made))
    for one, key in zip(parsed, WITNESS_KEYS, strict=True):
        assert one.verify(CHECKPOINT, key, now=NOW) == key
        other = Checkpoint.sign(ORIGIN, 301, ROOT, LOG, now=NOW)
        refused(Reason.BAD_SIGNATURE, one.verify, other, key, now=NOW)
    refused(Reason.BAD_SIGNATURE, parsed[0].verify, CHECKPOINT, WITNESS_KEYS[1], now=NOW)
    assert Cosignature.parse(made[0].raw) == made[0]


def test_a_cosignature_names_its_time():
    for one in WITNESS:
        good = Cosignature.sign(CHECKPOINT, one, now=NOW)
        blob = struct.pack(">Q", SECONDS - 1) + good.signature.blob[8:]
        moved = Cosignature.of(Signature(good.signature.name, good.signature.key_id, blob))
        refused(Reason.BAD_SIGNATURE, moved.verify, CHECKPOINT, one.key, now=NOW)


@pytest.mark.parametrize("one", WITNESS, ids=["04", "06"])
def test_a_cosignature_from_the_future_waits(one):
    early = Cosignature.sign(CHECKPOINT, one, now=NOW + timedelta(minutes=5))
    assert early.verify(CHECKPOINT, one.key, now=NOW)
    future = Cosignature.sign(CHECKPOINT, one, now=NOW + timedelta(minutes=5, seconds=1))
    refused(Reason.NOT_YET_VALID, future.verify, CHECKPOINT, one.key, now=NOW)
    noted = CHECKPOINT.with_signatures([future.signature])
    refused(Reason.NOT_YET_VALID, verify_cosignatures, noted, [one.key], now=NOW)


def test_the_log_itself_may_not_sign_in_the_future():
    late = Checkpoint.sign(ORIGIN, 300, ROOT, LOG, now=NOW + timedelta(minutes=6))
    refused(Reason.NOT_YET_VALID, late.verify, KEYS, now=NOW)
    assert late.verify(KEYS[:1], now=NOW)


@pytest.mark.parametrize("time", [0, 2**63, 2**64 - 1])
def test_impossible_times(time):
    for length in (64, 2420):
        line = Signature("w.example", b"1234", struct.pack(">Q", time) + b"x" * length)
        refused(Reason.BAD_FIELD, Cosignature.parse, line.raw)
    own = [Signature(ORIGIN, KEYS[1].id, struct.pack(">Q", time) + b"x" * 2420)]
    refused(Reason.BAD_FIELD, CHECKPOINT.with_signatures(own).verify, KEYS)
    assert CHECKPOINT.with_signatures(own).verify(KEYS[:1])


@pytest.mark.parametrize("length", [1, 8, 64, 71, 73, 2420, 2427, 2429])
def test_impossible_lengths(length):
    refused(Reason.BAD_FIELD, Cosignature.parse, Signature("w.example", b"1234", b"\1" * length).raw)
    for key in [*WITNESS_KEYS, KEYS[1]]:
        note = CHECKPOINT.with_signatures([Signature(key.name, key.id, b"\1" * length)])
        if key in KEYS:
            refused(Reason.BAD_SIGNATURE, note.verify, KEYS)
        else:
            refused(Reason.BAD_SIGNATURE, verify_cosignatures, note, WITNESS_KEYS, now=NOW)


def test_a_time_needs_room():
    for size in (0, 7, 8):
        refused(Reason.MALFORMED, timestamp, Signature("w.example", b"1234", b"x" * size))
    for time in (1, 2, 256, 2**63 - 1):
        assert timestamp(Signature("w.example", b"1234", struct.pack(">Q", time) + b"x")) == time
    for time in (0, 2**63, 2**64 - 1):
        refused(Reason.BAD_FIELD, timestamp, Signature("w.example", b"1234", struct.pack(">Q", time) + b"x"))


def test_times_begin_after_1970():
    first = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert Checkpoint.sign(ORIGIN, 300, ROOT, LOG[1:], now=first).signed_at == 1
    with pytest.raises(ValueError, match="1970"):
        Checkpoint.sign(ORIGIN, 300, ROOT, LOG[1:], now=first - timedelta(seconds=1))


def test_a_checkpoint_was_signed_when_its_log_says():
    plain = Checkpoint.sign(ORIGIN, 300, ROOT, LOG[:1], now=NOW)
    assert plain.signed_at == 0
    assert CHECKPOINT.signed_at == SECONDS
    later = [Cosignature.sign(CHECKPOINT, one, now=NOW + timedelta(minutes=1)).signature for one in WITNESS]
    assert CHECKPOINT.with_signatures(later).signed_at == SECONDS
    assert plain.with_signatures(later).signed_at == 0
    again = [CHECKPOINT.signed_by(LOG[1], now=NOW + timedelta(minutes=n)) for n in (-1, 2, 1)]
    assert CHECKPOINT.with_signatures(again).signed_at == SECONDS + 120
    for size, signed_at in ((64, 0), (65, 7)):  # whatever has room for a time
        line = Signature(ORIGIN, b"1234", struct.pack(">Q", 7) + b"x" * (size - 8))
        assert plain.with_signatures([line]).signed_at == signed_at


def test_names_of_255_bytes_are_the_longest_in_an_mldsa_cosignature():
    for name in ("n" * 255, "é" * 127 + "n"):
        key, said = VerifierKey(name, MLDSA, KEYS[1].public), b"\xff" + name.encode()
        head = b"subtree/v1\n\0" + said + struct.pack(">Q", 7) + said + bytes(8)
        assert signed_message(key, 7, name, 300, ROOT) == head + struct.pack(">Q", 300) + ROOT
        assert signed_message(KEYS[1], 7, name, 300, ROOT).endswith(struct.pack(">Q", 300) + ROOT)
    assert signed_message(VerifierKey("n", MLDSA, KEYS[1].public), 7, "o", 300, ROOT)[12:14] == b"\1n"
    for name in ("n" * 256, "é" * 128, "é" * 255):
        refused(Reason.BAD_FIELD, signed_message, KEYS[1], 7, name, 300, ROOT)
        refused(Reason.BAD_FIELD, signed_message, VerifierKey(name, MLDSA, KEYS[1].public), 7, ORIGIN, 300, ROOT)
        assert name.encode() in signed_message(WITNESS_KEYS[0], 7, name, 300, ROOT)
    refused(Reason.BAD_FIELD, signed_message, KEYS[1], 7, "", 300, ROOT)


@pytest.mark.parametrize("raw", [b"", b"\n", COSIGNED.raw])
def test_what_is_no_answer_of_a_witness(raw):
    with pytest.raises(ExchangeError):
        Cosignature.parse_all(raw)


def answer(raw, keys):
    """Return what a checkpoint says to somebody who trusts `keys`, or None."""
    try:
        checkpoint = Checkpoint.parse(raw)
        checkpoint.verify(keys)
    except ExchangeError:
        return None
    return checkpoint.origin, checkpoint.size, checkpoint.root


@pytest.mark.parametrize(("keys", "step"), [(KEYS[:1], 17), (KEYS, 83)], ids=["one", "both"])
def test_a_flipped_bit_never_changes_the_answer(keys, step):
    seed = random.randrange(step)
    print("first bit", seed)
    true = answer(COSIGNED.raw, keys)
    assert true == (ORIGIN, 300, ROOT)
    for place in range(seed, len(COSIGNED.raw) * 8, step):
        changed = bytearray(COSIGNED.raw)
        changed[place // 8] ^= 1 << place % 8
        assert answer(bytes(changed), keys) in (None, true)


def test_a_flipped_bit_in_a_cosignature_is_refused_or_no_cosignature():
    seed = random.randrange(61)
    print("first bit", seed)
    for place in range(seed, len(COSIGNED.raw) * 8, 61):
        changed = bytearray(COSIGNED.raw)
        changed[place // 8] ^= 1 << place % 8
        try:
            checkpoint = Checkpoint.parse(bytes(changed))
            found = verify_cosignatures(checkpoint, WITNESS_KEYS, now=NOW)
        except ExchangeError:
            continue
        assert not found or (checkpoint.origin, checkpoint.size, checkpoint.root) == (ORIGIN, 300, ROOT)
        assert {one.time for one in found.values()} <= {SECONDS}
