"""Stream: the body cipher piece by piece, and one chunk alone, each under its own number."""

from __future__ import annotations

import random

import pytest

from infoexchange import suites
from infoexchange.errors import Reason
from infoexchange.suites import stream
from infoexchange.suites.stream import ChunkOpener, encrypting
from test_suites import refused

KEY, CONTEXT = bytes(range(32)), b"context"
PLAIN = random.Random(7).randbytes(2 * 16_384 + 100)
BODY = suites.encrypt_body(KEY, CONTEXT, PLAIN)
HEAD, CHUNKS = BODY[:56], [BODY[56 + n * 16_400 : 56 + (n + 1) * 16_400] for n in range(3)]


def test_the_sizes_of_the_specification() -> None:
    assert (stream.BODY_OVERHEAD, stream.CHUNK_SIZE, stream.CHUNK_OVERHEAD) == (56, 16_384, 16)
    assert len(BODY) == 56 + len(PLAIN) + 3 * 16


@pytest.mark.parametrize("step", [1000, 16_384, 16_385, len(PLAIN)])
def test_a_stream_gives_one_body(step: int) -> None:
    made = encrypting(KEY, CONTEXT)
    pieces = [made.update(PLAIN[at : at + step]) for at in range(0, len(PLAIN), step)]
    body = b"".join([*pieces, made.finalize()])
    assert suites.decrypt_body(KEY, CONTEXT, body) == PLAIN
    assert body[:24] != BODY[:24]  # a fresh salt


def test_any_chunk_opens_alone() -> None:
    opener = ChunkOpener(KEY, CONTEXT, HEAD)
    for index in (2, 0, 1):
        plain = PLAIN[index * 16_384 : (index + 1) * 16_384]
        assert opener.open(index, CHUNKS[index]) == opener.open(index, memoryview(CHUNKS[index])) == plain


def test_the_head_shows_that_the_key_is_the_right_one() -> None:
    for size in (0, 24, 55):
        refused(Reason.BAD_CIPHERTEXT, ChunkOpener, KEY, CONTEXT, HEAD[:size])
    refused(Reason.BAD_CIPHERTEXT, ChunkOpener, KEY, CONTEXT, BODY[:57])
    for place in (0, 23, 24, 55):
        flipped = HEAD[:place] + bytes([HEAD[place] ^ 1]) + HEAD[place + 1 :]
        refused(Reason.BAD_CIPHERTEXT, ChunkOpener, KEY, CONTEXT, flipped)
    refused(Reason.BAD_CIPHERTEXT, ChunkOpener, bytes(32), CONTEXT, HEAD)
    refused(Reason.BAD_CIPHERTEXT, ChunkOpener, KEY, b"contexT", HEAD)


def test_a_chunk_opens_in_its_place_and_whole() -> None:
    opener = ChunkOpener(KEY, CONTEXT, HEAD)
    for index, chunk in ((1, CHUNKS[0]), (0, CHUNKS[1]), (3, CHUNKS[2]), (256, CHUNKS[0])):
        refused(Reason.BAD_CIPHERTEXT, opener.open, index, chunk)
    for chunk in (b"", CHUNKS[0][:15], CHUNKS[0][:-1], CHUNKS[0] + b"\x00", b"\x00" + CHUNKS[0][1:]):
        if chunk != CHUNKS[0]:
            refused(Reason.BAD_CIPHERTEXT, opener.open, 0, chunk)
