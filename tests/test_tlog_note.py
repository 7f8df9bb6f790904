"""Notes and verifier keys: published examples, every refused form, and flipped bits."""

import base64
import hashlib
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from infoexchange.errors import ExchangeError, Reason
from infoexchange.tlog.note import KeyType, Note, NoteSigner, Signature, VerifierKey


def signer(name, seed, key_type=KeyType.ED25519):
    secret = hashlib.sha256(seed.encode()).digest()
    if key_type == KeyType.MLDSA44:
        private = MLDSA44PrivateKey.from_seed_bytes(secret)
    else:
        private = Ed25519PrivateKey.from_private_bytes(secret)
    return NoteSigner(VerifierKey.make(name, key_type, private.public_key().public_bytes_raw()), private.sign)


ALICE, BOB = signer("alice.example/1", "alice"), signer("bob.example", "bob")
TEXT = "Sawasdee, สวัสดี.\n\nThe second part.\n".encode()
NOTE = Note.sign(TEXT, [ALICE, BOB])
ALICE_LINE, BOB_LINE = (signature.raw for signature in NOTE.signatures)


def refused(reason, call, *args):
    with pytest.raises(ExchangeError) as caught:
        call(*args)
    assert caught.value.reason is reason, caught.value


def test_example_of_the_go_package():
    # The example in the documentation of golang.org/x/mod/sumdb/note.
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    raw = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n\n"
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    ).encode()
    assert Note.parse(raw).verify([key]) == (key,)
    refused(Reason.BAD_SIGNATURE, Note.parse(raw.replace(b"answer", b"Answer")).verify, [key])


def test_example_of_the_specification():
    # C2SP signed-note v1.0.0.
    key = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    line = (
        "— example.com/foo "
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    assert Note.parse(b"This is an example message.\n\n" + line.encode()).verify([key]) == (key,)


@pytest.mark.parametrize(
    "text",
    [
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop",
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
    ],
)
def test_published_keys(text):
    key = VerifierKey.parse(text)
    assert str(key) == text
    assert VerifierKey.make(key.name, key.type, key.public) == key


def test_key_id_is_that_of_the_specification():
    for key_type in KeyType:
        key = signer("a.example/log", "x", key_type).key
        assert key.id == hashlib.sha256(b"a.example/log\n" + bytes([key_type]) + key.public).digest()[:4]
        assert VerifierKey.parse(str(key)) == key


def test_the_numbers_of_the_types_are_those_of_the_specification():
    for number, seed, public_size in ((1, "x", 32), (4, "x", 32), (6, "x", 1312)):
        key = signer("a.example/log", seed, KeyType(number)).key
        assert (key.type, len(key.public)) == (number, public_size)
        data = bytes([number]) + key.public
        assert str(key) == f"a.example/log+{key.id.hex()}+{base64.b64encode(data).decode()}"
        assert VerifierKey.make("a.example/log", number, key.public) == key
    assert [*KeyType] == [1, 4, 6]


@pytest.mark.parametrize("char", ["!", "\x7f", "\u00a1", "\ud7ff", "\ue000", "\U0010ffff"])
def test_a_name_may_have_any_other_character(char):
    for name in (char, f"a{char}", f"{char}a"):
        key = VerifierKey(name, KeyType.ED25519, ALICE.key.public)
        assert VerifierKey.parse(str(key)) == key
        line = Signature(name, key.id, b"x")
        assert Signature.parse(line.raw) == line


@pytest.mark.parametrize("number", [0x2B, 0x20, 0, 0x1F, 0x0A, 0xA0, 0x2029, 0xD800, 0xDBFF, 0xDFFF], ids=hex)
def test_no_name_has_these_characters(number):
    for name in (chr(number), f"a{chr(number)}", f"{chr(number)}a"):
        refused(Reason.MALFORMED, VerifierKey, name, KeyType.ED25519, ALICE.key.public)
    refused(Reason.MALFORMED, VerifierKey, "", KeyType.ED25519, ALICE.key.public)


def vkey(name="alice.example/1", key_type=1, public=ALICE.key.public, key_id=None):
    data = bytes([key_type]) + public
    key_id = key_id or hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(data).decode()}"


GOOD_KEY = vkey()
ENCODED = GOOD_KEY.split("+", 2)[2]
NEUTRAL_POINT = (1).to_bytes(32, "little")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.MALFORMED),
        ("alice.example/1", Reason.MALFORMED),
        ("alice.example/1+" + ALICE.key.id.hex(), Reason.MALFORMED),
        ("+" + GOOD_KEY.split("+", 1)[1], Reason.MALFORMED),
        (vkey(name="al ice"), Reason.MALFORMED),
        (vkey(name="al\u2003ice"), Reason.MALFORMED),
        (vkey(name="al\u0085ice"), Reason.MALFORMED),
        (vkey(name="al\nice"), Reason.MALFORMED),
        (vkey(name="al\x1bice"), Reason.MALFORMED),
        ("al\ud800ice+" + GOOD_KEY.split("+", 1)[1], Reason.MALFORMED),
        (vkey(key_id=ALICE.key.id.hex().upper()), Reason.MALFORMED),
        (vkey(key_id=ALICE.key.id.hex()[:7]), Reason.MALFORMED),
        (vkey(key_id="0" + ALICE.key.id.hex()), Reason.MALFORMED),
        (vkey(key_id=ALICE.key.id.hex() + "\n"), Reason.MALFORMED),
        (vkey(key_id="\u0660" * 8), Reason.MALFORMED),
        (vkey(key_id="00000000"), Reason.BAD_FIELD),
        (vkey(key_id=BOB.key.id.hex()), Reason.BAD_FIELD),
        (vkey(key_type=0), Reason.BAD_FIELD),
        (vkey(key_type=2), Reason.BAD_FIELD),
        (vkey(key_type=5), Reason.BAD_FIELD),
        (vkey(key_type=0xFF), Reason.BAD_FIELD),
        (vkey(public=ALICE.key.public[:31]), Reason.BAD_FIELD),
        (vkey(public=ALICE.key.public + b"\0"), Reason.BAD_FIELD),
        (vkey(key_type=4, public=b""), Reason.BAD_FIELD),
        (vkey(key_type=6), Reason.BAD_FIELD),
        (vkey(key_type=6, public=b"x" * 1311), Reason.BAD_FIELD),
        (vkey(public=NEUTRAL_POINT), Reason.BAD_CERTIFICATE),
        (vkey(key_type=4, public=b"\xff" * 32), Reason.BAD_CERTIFICATE),
        (GOOD_KEY + " ", Reason.MALFORMED),
        (GOOD_KEY + "\n", Reason.MALFORMED),
        (GOOD_KEY + "=", Reason.MALFORMED),
        (GOOD_KEY[:-1] + "\u0131", Reason.MALFORMED),
        (GOOD_KEY + "\ud800", Reason.MALFORMED),
        ("alice.example/1+" + ALICE.key.id.hex() + "+", Reason.MALFORMED),
        (GOOD_KEY.replace(ENCODED, ""), Reason.MALFORMED),
        (GOOD_KEY.replace(ENCODED, ENCODED.replace("+", "-").replace("/", "_") + "-A=="), Reason.MALFORMED),
    ],
)
def test_refused_keys(text, reason):
    VerifierKey.parse(GOOD_KEY)
    refused(reason, VerifierKey.parse, text)


def test_both_signers_are_found_and_unknown_ones_ignored():
    assert NOTE.verify([BOB.key, ALICE.key]) == (ALICE.key, BOB.key)
    assert NOTE.verify([BOB.key]) == (BOB.key,)
    assert Note.parse(NOTE.raw) == NOTE
    assert NOTE.text == TEXT
    carol = signer("carol.example", "carol")
    assert NOTE.verify([BOB.key, carol.key]) == (BOB.key,)
    refused(Reason.BAD_SIGNATURE, NOTE.verify, [carol.key])
    refused(Reason.BAD_SIGNATURE, NOTE.verify, [])


def test_a_key_that_shares_only_its_name_or_only_its_id_is_unknown():
    same_name = signer(ALICE.key.name, "another")
    refused(Reason.BAD_SIGNATURE, NOTE.verify, [same_name.key])
    renamed = Signature("mallory.example", ALICE.key.id, NOTE.signatures[0].blob)
    mixed = Note.assemble(TEXT, [renamed, NOTE.signatures[1]])
    assert mixed.verify([ALICE.key, BOB.key]) == (BOB.key,)


def bad(signature, **change):
    parts = {"name": signature.name, "key_id": signature.key_id, "blob": signature.blob, **change}
    return Signature(**parts)


@pytest.mark.parametrize("blob", [b"\0" * 64, NOTE.signatures[1].blob, NOTE.signatures[0].blob[:63], b"x" * 65, b"x"])
def test_a_bad_signature_by_a_known_key_spoils_the_note(blob):
    good, other = NOTE.signatures
    for lines in ([bad(good, blob=blob), other], [other, bad(good, blob=blob)], [good, bad(good, blob=blob)]):
        note = Note.assemble(TEXT, lines)
        refused(Reason.BAD_SIGNATURE, note.verify, [ALICE.key, BOB.key])
    assert Note.assemble(TEXT, [bad(good, blob=blob), other]).verify([BOB.key]) == (BOB.key,)


def test_the_same_key_twice_counts_once():
    raw = NOTE.raw + ALICE_LINE
    assert Note.parse(raw).verify([ALICE.key, ALICE.key]) == (ALICE.key,)
    assert Note.assemble(TEXT, NOTE.signatures * 2).raw == NOTE.raw


def test_two_keys_with_one_name_and_id_are_refused(monkeypatch):
    twin = signer(ALICE.key.name, "another").key
    object.__setattr__(twin, "id", ALICE.key.id)
    refused(Reason.BAD_FIELD, NOTE.verify, [ALICE.key, twin])


def test_cosigner_keys_sign_no_plain_notes():
    for key_type in (KeyType.ED25519_COSIGNER, KeyType.MLDSA44):
        other = signer("w.example", "w", key_type)
        refused(Reason.BAD_FIELD, Note.sign, TEXT, [other])
        blob = b"x" * (72 if key_type == KeyType.ED25519_COSIGNER else 2428)
        note = Note.assemble(TEXT, [Signature("w.example", other.key.id, blob)])
        refused(Reason.BAD_FIELD, note.verify, [other.key])


@pytest.mark.parametrize(("key_type", "size"), [(1, 64), (4, 64), (6, 2420)])
def test_a_line_is_made_of_a_whole_signature_and_a_whole_time(key_type, size):
    key = signer("a.example", "a", KeyType(key_type)).key
    room = 0 if key_type == 1 else 8
    line = Signature.make(NoteSigner(key, lambda message: b"s" * size), b"m", b"t" * room)
    assert (line.name, line.key_id, line.blob) == ("a.example", key.id, b"t" * room + b"s" * size)
    for made, prefix in ((size - 1, room), (size + 1, room), (size, room + 1), (size, room - 1 if room else 8)):
        with pytest.raises(ValueError, match="does not fit"):
            Signature.make(NoteSigner(key, lambda message, made=made: b"s" * made), b"m", b"t" * prefix)
    with pytest.raises(ExchangeError) as caught:
        line.verify(key, lambda key, line: b"m")
    assert caught.value.reason is Reason.BAD_SIGNATURE
    for length in (room + size - 1, room + size + 1):
        with pytest.raises(ExchangeError) as caught:
            Signature(key.name, key.id, b"x" * length).verify(key, lambda key, line: b"m")
        assert (caught.value.reason, caught.value.field) == (Reason.BAD_SIGNATURE, "note")
        assert "length" in caught.value.detail
    other = signer("b.example", "a", KeyType(key_type)).key
    with pytest.raises(ExchangeError) as caught:
        line.verify(other, lambda key, line: b"m")
    assert caught.value.reason is Reason.BAD_SIGNATURE
    assert caught.value.detail == f"not a signature line of {other.label}"


@pytest.mark.parametrize("key_type", [4, 6])
def test_what_a_cosigner_signs_is_said_by_the_checkpoint(key_type):
    one = signer("w.example", "w", KeyType(key_type))
    line = Signature.make(one, b"statement", b"t" * 8)
    line.verify(one.key, lambda key, line: b"statement")
    note = Note.assemble(TEXT, [line])
    assert note.verify([one.key], lambda key, line: b"statement") == (one.key,)
    with pytest.raises(ExchangeError) as caught:
        note.verify([one.key])
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, "key.type")


def test_a_signer_that_gives_something_else_is_a_programming_error():
    with pytest.raises(ValueError, match="does not fit"):
        Note.sign(TEXT, [NoteSigner(ALICE.key, lambda message: b"x" * 63)])


def lines(count):
    """Return that many distinct signature lines of unknown keys."""
    return b"".join(b"\xe2\x80\x94 u%d.example AAAAAAA=\n" % i for i in range(count))


BASE = TEXT + b"\n"
JOINED = base64.b64encode(NOTE.signatures[0].key_id + NOTE.signatures[0].blob)


DASH = "\u2014".encode()


def line(base=JOINED, name=b"alice.example/1", dash=DASH, end=b"\n"):
    return BASE + dash + b" " + name + b" " + base + end


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"\n", Reason.MALFORMED),
        (b"\n\n", Reason.MALFORMED),
        (TEXT, Reason.MALFORMED),
        (TEXT + b"\xff\n" + ALICE_LINE, Reason.MALFORMED),
        (b"\xed\xa0\x80\n\n" + ALICE_LINE, Reason.MALFORMED),
        (NOTE.raw.replace(b"\n", b"\r\n"), Reason.MALFORMED),
        (b"a\tb\n\n" + ALICE_LINE, Reason.MALFORMED),
        (b"a\0b\n\n" + ALICE_LINE, Reason.MALFORMED),
        (b"a\x1fb\n\n" + ALICE_LINE, Reason.MALFORMED),
        (b"a\x0bb\n\n" + ALICE_LINE, Reason.MALFORMED),
        (b"text\n" + ALICE_LINE, Reason.MALFORMED),
        (b"\n" + ALICE_LINE, Reason.MALFORMED),
        (b"\n\n" + ALICE_LINE, Reason.MALFORMED),
        (ALICE_LINE, Reason.MALFORMED),
        (b"text\n\n", Reason.MALFORMED),
        (NOTE.raw[:-1], Reason.MALFORMED),
        (NOTE.raw + b"\n", Reason.MALFORMED),
        (NOTE.raw + b"more\n", Reason.MALFORMED),
        (NOTE.raw + b" ", Reason.MALFORMED),
        (BASE + ALICE_LINE + b"\n" + BOB_LINE + b"\n", Reason.MALFORMED),
        (line(dash=b"-"), Reason.MALFORMED),
        (line(dash="\u2013".encode()), Reason.MALFORMED),
        (line(dash=b" \xe2\x80\x94"), Reason.MALFORMED),
        (line(dash=b""), Reason.MALFORMED),
        (line(name=b""), Reason.MALFORMED),
        (line(name=b"ali+ce"), Reason.MALFORMED),
        (line(name="ali\u00a0ce".encode()), Reason.MALFORMED),
        (line(name="ali\u2028ce".encode()), Reason.MALFORMED),
        (line(name="ali\u3000ce".encode()), Reason.MALFORMED),
        (line(name=b"ali ce"), Reason.MALFORMED),
        (line(name=b" alice.example/1"), Reason.MALFORMED),
        (line(name=b"alice.example/1 "), Reason.MALFORMED),
        (line(end=b" \n"), Reason.MALFORMED),
        (line(base=b""), Reason.MALFORMED),
        (line(base=JOINED + b"!"), Reason.MALFORMED),
        (line(base=b"!" + JOINED), Reason.MALFORMED),
        (line(base=JOINED[:8] + b"\xc2\xa0" + JOINED[8:]), Reason.MALFORMED),
        (line(base=JOINED[:-1]), Reason.MALFORMED),
        (line(base=JOINED[:-4]), None),
        (line(base=JOINED + b"="), Reason.MALFORMED),
        (line(base=JOINED + b"===="), Reason.MALFORMED),
        (line(base=JOINED + JOINED), Reason.MALFORMED),
        (line(base=b"AAAAAAA"), Reason.MALFORMED),
        (line(base=b"AAAAAAA=="), Reason.MALFORMED),
        (line(base=b"AAAAAAB="), Reason.NOT_CANONICAL),
        (line(base=b"-_AAAAA="), Reason.MALFORMED),
        (line(base=b"AAAAAA=="), Reason.MALFORMED),
        (b"X\n\n" + ALICE_LINE, None),
        (b" \n\n" + ALICE_LINE, None),
        (b"\n\n\n\n" + ALICE_LINE, Reason.MALFORMED),
        (b"a b\x20\x7f\n\n" + ALICE_LINE, None),
        (BASE + lines(64), None),
        (BASE + lines(65), Reason.TOO_LARGE),
        (b"x" * (256 * 1024 - 26) + b"\n\n" + lines(1), None),
        (b"x" * (256 * 1024 - 25) + b"\n\n" + lines(1), Reason.TOO_LARGE),
    ],
)
def test_forms_of_notes(raw, reason):
    if reason is None:
        assert Note.parse(raw).raw == raw
    else:
        refused(reason, Note.parse, raw)


def test_sixteen_post_quantum_signatures_fit():
    line_of_mldsa = Signature("w.example", b"1234", b"x" * 2428).raw
    assert 64 * len(line_of_mldsa) < 256 * 1024


@pytest.mark.parametrize("raw", [ALICE_LINE + BOB_LINE, ALICE_LINE[:-1], b"\n", b""])
def test_one_line_is_one_line(raw):
    assert Signature.parse(ALICE_LINE) == NOTE.signatures[0]
    refused(Reason.MALFORMED, Signature.parse, raw)


def answer(raw, keys):
    """Return what a note says to somebody who trusts `keys`, or None."""
    try:
        note = Note.parse(raw)
        return note.text, note.verify(keys)
    except ExchangeError:
        return None


def test_a_flipped_bit_never_changes_the_answer():
    keys = [ALICE.key]
    true = answer(NOTE.raw, keys)
    for place in range(len(NOTE.raw) * 8):
        changed = bytearray(NOTE.raw)
        changed[place // 8] ^= 1 << place % 8
        assert answer(bytes(changed), keys) in (None, true)


def test_random_bytes_are_refused_with_an_exchange_error():
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(1500):
        raw = bytearray(NOTE.raw)
        for _ in range(chance.randrange(1, 4)):
            start = chance.randrange(len(raw))
            raw[start : start + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
        assert answer(bytes(raw), [ALICE.key]) in (None, answer(NOTE.raw, [ALICE.key]))
        assert answer(chance.randbytes(chance.randrange(60)), [ALICE.key]) is None
