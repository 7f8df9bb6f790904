"""Submission: the body that a log posts, and every answer of C2SP tlog-witness, there and back."""

from __future__ import annotations

import random
import re
from datetime import timedelta
from pathlib import Path

import pytest

from conftest import AGENCIES
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.log import LogKeys
from infoexchange.submission import SIZE_TYPE, SUBMISSION_SIZE_MAX, TEXT_TYPE, Reply, Submission, believed, name_of
from infoexchange.testing import Community, FakeClock, MemoryLatch
from infoexchange.tlog import Checkpoint, Cosignature, merkle
from infoexchange.tlog.note import Signature
from infoexchange.tlog.text import write_base64
from infoexchange.witness import Answer, Cosigner, WitnessKeys

CLOCK = FakeClock()
COMMUNITY = Community.make(AGENCIES, now=CLOCK())
LOG = COMMUNITY.log_keys["relay.th.example"]
KEYS = COMMUNITY.witness_keys["relay.vn.example"]
HASHES = [merkle.leaf_hash(bytes([n])) for n in range(20)]
HASH = write_base64(bytes(32)) + b"\n"


def checkpoint(size: int, keys: LogKeys = LOG) -> Checkpoint:
    return keys.sign(size, merkle.root(HASHES[:size]), now=CLOCK())


NOTE = checkpoint(13).raw
GOOD = Submission.make(7, merkle.consistency_proof(7, HASHES[:13]), NOTE)


def lines(size: int = 13, keys: WitnessKeys = KEYS) -> bytes:
    return b"".join(Cosignature.sign(checkpoint(size), signer, now=CLOCK()).raw for signer in keys.signers)


def refused(raw: bytes) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        Submission.parse(raw)
    return caught.value.reason


def test_it_is_what_c2sp_shows() -> None:
    proof = merkle.consistency_proof(7, HASHES[:13])
    assert GOOD.raw == b"old 7\n" + b"".join(write_base64(entry) + b"\n" for entry in proof) + b"\n" + NOTE
    assert Submission.parse(GOOD.raw) == GOOD
    assert (GOOD.old_size, list(GOOD.proof), GOOD.checkpoint.raw) == (7, proof, NOTE)
    assert Submission.make(0, [], NOTE).raw == b"old 0\n\n" + NOTE


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (b"", Reason.MALFORMED), (b"-1", Reason.MALFORMED), (b"+1", Reason.MALFORMED), (b" 1", Reason.MALFORMED),
        (b"1 ", Reason.MALFORMED), (b"1_0", Reason.MALFORMED), (b"1e1", Reason.MALFORMED), (b"0x1", Reason.MALFORMED),
        ("١".encode(), Reason.MALFORMED), (b"1\r", Reason.MALFORMED), (b"010", Reason.NOT_CANONICAL),
        (b"00", Reason.NOT_CANONICAL), (b"9223372036854775808", Reason.BAD_FIELD), (b"9" * 4000, Reason.BAD_FIELD),
    ],
)  # fmt: skip
def test_an_old_size_in_another_form(number: bytes, reason: Reason) -> None:
    assert refused(b"old " + number + b"\n\n" + NOTE) is reason


@pytest.mark.parametrize(
    "head",
    [b"", b"\n", b"old\n", b"old  7\n", b"Old 7\n", b"old\t7\n", b"size 7\n", b"\nold 7\n", b"7\n", HASH + b"old 7\n"],
)
def test_a_first_line_that_is_none(head: bytes) -> None:
    assert refused(head + b"\n" + NOTE) is Reason.MALFORMED


def test_no_blank_line() -> None:
    # The note has one of its own, and what stands before it is no hash.
    for raw in (b"", b"old 7", b"old 7\n", b"old 7\n" + HASH, b"old 7\n" + NOTE, b"old 7\r\n\r\n" + NOTE):
        assert refused(raw) is Reason.MALFORMED
    assert refused(b"old 7\n\n") is Reason.MALFORMED
    assert refused(b"old 7\n\n\n" + NOTE) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"junk", Reason.BAD_FIELD), (b"AAA", Reason.MALFORMED), (HASH.strip() + b" ", Reason.MALFORMED),
        (b"-_" + HASH[2:-1], Reason.MALFORMED), (HASH[:-3] + b"B=", Reason.NOT_CANONICAL),
        (write_base64(bytes(31)), Reason.BAD_FIELD), (write_base64(bytes(33)), Reason.BAD_FIELD),
    ],
)  # fmt: skip
def test_a_proof_line_that_is_no_hash(line: bytes, reason: Reason) -> None:
    assert refused(b"old 7\n" + HASH + line + b"\n\n" + NOTE) is reason


def test_63_hashes_and_no_more() -> None:
    assert len(Submission.parse(b"old 7\n" + 63 * HASH + b"\n" + NOTE).proof) == 63
    for count in (64, 65, 5000):
        assert refused(b"old 7\n" + count * HASH + b"\n" + NOTE) is Reason.BAD_FIELD


def test_the_largest_and_one_more() -> None:
    # Strangers' lines make a note as long as a note may be.
    line = Signature("a" * 4000, b"abcd", bytes(24)).raw
    text, _ = NOTE.split(b"\n\n")
    left = 256 * 1024 - len(text) - 2
    many = left // len(line)
    last = Signature("a" * (4000 + left - many * len(line)), b"abcd", bytes(24)).raw
    note = text + b"\n\n" + (many - 1) * line + last
    assert len(note) == 256 * 1024
    largest = b"old %d\n" % (2**63 - 1) + 63 * HASH + b"\n" + note
    assert Submission.parse(largest).raw == largest
    assert len(largest) < SUBMISSION_SIZE_MAX
    assert refused(largest + b"\xe2\x80\x94 x AAAAAAAA\n") is Reason.TOO_LARGE  # the note's
    assert refused(b"old 7\n\n" + bytes(SUBMISSION_SIZE_MAX - 6)) is Reason.TOO_LARGE


def test_the_note_is_as_strict_as_everywhere() -> None:
    for note in (b"junk", NOTE[:-1], NOTE + b"\n", NOTE.replace(b"\n13\n", b"\n013\n"), NOTE.replace(b"\n", b"\r\n")):
        with pytest.raises(ExchangeError) as caught:
            Checkpoint.parse(note)
        assert refused(b"old 7\n\n" + note) is caught.value.reason


def test_a_flipped_bit_is_never_cosigned_as_if_nothing_were() -> None:
    """Only what is not the log's word may change: the old size, which must be the witness's, and strangers' lines."""
    latch = MemoryLatch()
    cosigner = Cosigner(KEYS, lambda: COMMUNITY.directory, lambda _: latch, clock=CLOCK)
    cosigner.add_checkpoint(0, [], checkpoint(7).raw)
    seen, seed = latch.read(), random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    places = {*range(8 * 8), *rng.sample(range(8 * len(GOOD.raw)), 100)}
    for place in sorted(places):
        raw = bytearray(GOOD.raw)
        raw[place // 8] ^= 1 << place % 8
        try:
            asked = Submission.parse(bytes(raw))
            reply = Reply.of(cosigner.add_checkpoint(asked.old_size, asked.proof, asked.checkpoint.raw))
        except ExchangeError as problem:
            reply = Reply.refusing(problem)
        assert reply.status in (400, 403, 404, 422) or reply == Reply(409, b"7\n", SIZE_TYPE), place
        assert latch.read() == seen
    assert cosigner.add_checkpoint(GOOD.old_size, GOOD.proof, NOTE).size == 13


# Answers


def status_table() -> dict[int, str]:
    text = (Path(__file__).resolve().parent.parent / "proto" / "SPEC.md").read_text(encoding="utf-8")
    section = text[text.index("\n## Submission\n") : text.index("\n## Misbehaviour\n")]
    return {int(number): when for number, when in re.findall(r"^\| (\d{3}) \| (.*?) \|", section, re.MULTILINE)}


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.word)
def test_every_reason_has_the_status_that_the_table_says(reason: Reason) -> None:
    reply = Reply.refusing(error(reason, field="/a/file/of/this/machine", detail="a detail"))
    assert (reply.body, reply.kind) == (reason.word.encode() + b"\n", TEXT_TYPE)
    table = status_table()
    assert set(table) == {200, 400, 403, 404, 409, 422, 503}
    named = {status for status, when in table.items() if f"`{reason.word}`" in when.partition(";")[0]}
    # What a witness never raises is not in the table; its class decides.
    assert named <= {reply.status}
    assert reply.status in (400, 403, 404, 422, 503)


def test_a_root_that_no_tree_has_is_422() -> None:
    empty = LOG.sign(0, merkle.EMPTY_ROOT, now=CLOCK()).raw
    wrong = empty.replace(write_base64(merkle.EMPTY_ROOT), write_base64(bytes(32)))
    with pytest.raises(ExchangeError) as caught:
        Submission.make(0, [], wrong)
    assert (caught.value.reason, Reply.refusing(caught.value).status) == (Reason.BAD_FIELD, 422)
    assert Submission.make(0, [], empty).checkpoint.size == 0


def test_answers_come_back_as_they_were() -> None:
    for answer in (Answer(13, lines()), Answer(0), Answer(7), Answer(2**63 - 1)):
        assert Reply.of(answer).answer(GOOD) == answer
    assert Reply.of(Answer(7)) == Reply(409, b"7\n", "text/x.tlog.size")
    assert Reply(409, b"7\n", "Text/X.tlog.size; charset=utf-8").answer(GOOD) == Answer(7)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.BAD_FIELD), (403, Reason.BAD_SIGNATURE), (404, Reason.UNKNOWN_PARTY), (409, Reason.LOG_FORK),
        (422, Reason.BAD_PROOF), (429, Reason.UNAVAILABLE), (500, Reason.UNAVAILABLE), (503, Reason.UNAVAILABLE),
        (204, Reason.UNAVAILABLE), (301, Reason.UNAVAILABLE), (408, Reason.UNAVAILABLE),
    ],
)  # fmt: skip
def test_what_a_refusal_means_to_the_log(status: int, reason: Reason) -> None:
    with pytest.raises(ExchangeError) as caught:
        Reply(status, b"7\n").answer(GOOD)
    assert caught.value.reason is reason


@pytest.mark.parametrize("reply", [
    Reply(200), Reply(200, b"\n"), Reply(200, b"junk\n"), Reply(200, lines()[:-1]), Reply(200, lines() + b"\n"),
    Reply(409, b"", SIZE_TYPE), Reply(409, b"7", SIZE_TYPE), Reply(409, b"7\n7\n", SIZE_TYPE),
    Reply(409, b"-7\n", SIZE_TYPE), Reply(409, b"7\r\n", SIZE_TYPE),
])  # fmt: skip
def test_an_answer_in_another_form(reply: Reply) -> None:
    with pytest.raises(ExchangeError) as caught:
        reply.answer(GOOD)
    assert caught.value.reason is Reason.MALFORMED


def test_only_lines_of_known_keys_are_believed() -> None:
    stranger = WitnessKeys.make("other.example")
    both = lines() + lines(keys=stranger)
    found = believed(checkpoint(13), both, KEYS.verifier_keys, now=CLOCK())
    assert all(line.raw in both for line in found)
    assert {(line.name, line.key_id) for line in found} == {(key.name, key.id) for key in KEYS.verifier_keys}
    assert len(believed(checkpoint(13), lines() + lines(), KEYS.verifier_keys[:1], now=CLOCK())) == 1
    ahead = CLOCK() - timedelta(minutes=6)
    cases = [
        (lines(keys=stranger), CLOCK(), Reason.BAD_SIGNATURE),  # nobody known
        (lines(12), CLOCK(), Reason.BAD_SIGNATURE),  # of another tree
        (lines() + lines(12), CLOCK(), Reason.BAD_SIGNATURE),  # a bad one beside a good one
        (lines(), ahead, Reason.NOT_YET_VALID),
        (b"junk\n", CLOCK(), Reason.MALFORMED),
        (b"".join(Signature(f"n{n}", b"abcd", b"x").raw for n in range(65)), CLOCK(), Reason.TOO_LARGE),
    ]
    for raw, now, reason in cases:
        with pytest.raises(ExchangeError) as caught:
            believed(checkpoint(13), raw, KEYS.verifier_keys, now=now)
        assert caught.value.reason is reason


def test_the_name_of_a_log_in_addresses() -> None:
    assert name_of("example.com/log") == "4d3203c8f35cdf600e475f55fede6081a703d3d322f208865fca2ec4f0e030f8"
