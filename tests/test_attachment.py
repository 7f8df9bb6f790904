"""Attachments: sealed as a stream, opened in any order, and refused with the right reason after every change."""

from __future__ import annotations

import contextlib
import hashlib
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoexchange import attachment, suites
from infoexchange.attachment import (
    ATTACHMENT_SIZE_MAX,
    ATTACHMENTS_MAX,
    BLOCK_SIZE,
    AttachmentMeta,
    AttachmentRef,
    Block,
    Frontier,
    Opening,
    Sealing,
    form,
    sealed_length,
    stream,
)
from infoexchange.errors import ExchangeError, MalformedError, Reason
from infoexchange.padding import padme
from infoexchange.tlog import merkle
from infoexchange.v1 import content_pb2, envelope_pb2

CHUNK = suites.CHUNK_SIZE
KEY = attachment.attachment_key(bytes(32), bytes(32), bytes(16))
# Around every border: of chunks, of blocks, of Padme steps, and nothing at all.
LENGTHS = [0, 1, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1, BLOCK_SIZE - 72, BLOCK_SIZE, 2 * BLOCK_SIZE + 5, 3_000_000]


def pseudo(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def described(plain: bytes, name: str = "plan.pdf", attachment_id: bytes = bytes(16)) -> AttachmentMeta:
    return stream.describe(attachment_id, name, "application/pdf", cut(plain, 70_000))


def sealed(plain: bytes, meta: AttachmentMeta | None = None) -> tuple[AttachmentRef, AttachmentMeta, bytes]:
    meta = meta or described(plain)
    sealing = Sealing(meta, KEY)
    ciphertext = b"".join(sealing.pieces(cut(plain, 100_003)))
    return sealing.ref, meta, ciphertext


class Shelf:
    """A holder of ciphertext that may lie."""

    def __init__(self, ciphertext: bytes) -> None:
        self.blocks = cut(ciphertext, BLOCK_SIZE)
        self.hashes = [merkle.leaf_hash(block) for block in self.blocks]
        self.asked: list[int] = []

    def fetch(self, ref: AttachmentRef, offset: int, size: int):
        for index in attachment.blocks_for(ref, offset, size):
            if index < len(self.blocks):
                self.asked.append(index)
                yield Block(index, self.blocks[index], tuple(merkle.inclusion_proof(index, self.hashes)))


def opening(ref: AttachmentRef, meta: AttachmentMeta, ciphertext: bytes) -> Opening:
    return Opening(ref, meta, KEY, Shelf(ciphertext).fetch)


def refusal(call) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason


def whole(of: Opening, *held: bytes) -> bytes:
    return b"".join(of.pieces(held))


# Sealing and opening


@pytest.mark.parametrize("length", LENGTHS)
def test_what_was_sealed_is_opened(length: int) -> None:
    plain = pseudo(length)
    ref, meta, ciphertext = sealed(plain)
    assert len(ciphertext) == ref.ct_length == sealed_length(length)
    assert ref.ct_root == merkle.root([merkle.leaf_hash(block) for block in cut(ciphertext, BLOCK_SIZE)])
    assert (meta.length, meta.sha256) == (length, hashlib.sha256(plain).digest())
    assert whole(opening(ref, meta, ciphertext)) == plain
    form.check_sealed(ref.ct_length)


def test_the_ciphertext_is_cobblestone_of_the_padded_plaintext() -> None:
    """Any implementation of C2SP chunked-encryption opens it."""
    plain = pseudo(100_000)
    _, _, ciphertext = sealed(plain)
    padded = suites.decrypt_body(KEY.key, KEY.context, ciphertext)
    assert padded == plain + bytes(padme(len(plain)) - len(plain))


def test_each_attachment_has_a_key_of_its_own() -> None:
    keys = {attachment.attachment_key(bytes(32), bytes([i]) * 32, bytes([j]) * 16) for i in range(2) for j in range(2)}
    assert len({key.key for key in keys}) == len({key.context for key in keys}) == 4
    assert "key" not in repr(KEY)


@pytest.mark.parametrize("held", [0, 1, CHUNK, BLOCK_SIZE + 77, 2 * BLOCK_SIZE + 5])
def test_opening_goes_on_where_it_stopped(held: int) -> None:
    plain = pseudo(2 * BLOCK_SIZE + 5)
    ref, meta, ciphertext = sealed(plain)
    shelf = Shelf(ciphertext)
    of = Opening(ref, meta, KEY, shelf.fetch)
    assert b"".join(of.pieces(cut(plain[:held], 5000))) == plain[held:]
    first = (56 + held // CHUNK * (CHUNK + 16)) // BLOCK_SIZE
    assert set(shelf.asked) == {0, *range(first, len(shelf.blocks))}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2_200_000), st.integers(0, 200_000))
def test_any_range_is_read_alone(offset: int, size: int) -> None:
    assert RANGED.read(offset, size) == PLAIN[offset : offset + size]


PLAIN = pseudo(2 * BLOCK_SIZE + 5)
RANGED = opening(*sealed(PLAIN))


def test_a_range_costs_its_blocks_and_the_first_one() -> None:
    ref, meta, ciphertext = sealed(PLAIN)
    shelf = Shelf(ciphertext)
    of = Opening(ref, meta, KEY, shelf.fetch)
    of.read(2 * BLOCK_SIZE, 5)
    assert shelf.asked == [0, 2]
    of.read(2 * BLOCK_SIZE + 1, 3)  # the same block again: it is at hand
    of.read(0, 0)
    of.read(len(PLAIN), 10)
    of.read(BLOCK_SIZE, 5)
    assert shelf.asked == [0, 2, 1]
    for offset, size in ((-1, 5), (0, -1)):
        assert refusal(lambda o=offset, s=size: of.read(o, s)) is Reason.BAD_FIELD


def test_a_file_that_changes_while_it_is_sealed_is_refused() -> None:
    plain = pseudo(100_000)
    for other in (plain[:-1], plain + b"x", plain[:-1] + b"x", b""):
        sealing = Sealing(described(plain), KEY)
        assert refusal(lambda s=sealing, o=other: list(s.pieces([o]))) is Reason.BAD_FIELD
        with pytest.raises(ValueError, match="not sealed yet"):
            _ = sealing.ref


# What a holder of the bytes may do


def manipulations(ciphertext: bytes) -> dict[str, bytes]:
    first, second, *rest = cut(ciphertext, BLOCK_SIZE)
    end = b"".join(rest)
    return {
        "truncated": ciphertext[:-1],
        "truncated by a chunk": ciphertext[: -CHUNK - 16],
        "truncated by a block": first + second,
        "extended": ciphertext + b"\0",
        "blocks exchanged": second + first + end,
        "a block repeated": first + first + end,
        "a bit of the salt": bytes([ciphertext[0] ^ 1]) + ciphertext[1:],
        "a bit of the last tag": ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]),
        "nothing": b"",
    }


@pytest.mark.parametrize("kind", manipulations(bytes(2 * BLOCK_SIZE + 5)))
def test_changed_ciphertext_is_never_opened(kind: str) -> None:
    plain = pseudo(2 * BLOCK_SIZE + 5)
    ref, meta, ciphertext = sealed(plain)
    changed = manipulations(ciphertext)[kind]
    assert refusal(lambda: whole(opening(ref, meta, changed))) is Reason.BAD_SIGNATURE


def test_a_flipped_bit_anywhere_in_a_block_or_its_path_is_refused() -> None:
    ref, _, ciphertext = sealed(pseudo(3_000_000))
    good = list(Shelf(ciphertext).fetch(ref, 0, ref.ct_length))
    rng = random.Random(1)
    for index, block in enumerate(good):
        assert attachment.verify_block(ref, index, block) == block.data
        for _ in range(8):
            data = bytearray(block.data)
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            broken = [replace(block, data=bytes(data)), replace(block, index=index ^ 1)]
            at, bit = rng.randrange(len(block.path)), 1 << rng.randrange(8)
            path = [bytes([h[0] ^ bit]) + h[1:] if i == at else h for i, h in enumerate(block.path)]
            broken += [replace(block, path=tuple(path)), replace(block, path=block.path[1:])]
            broken.append(replace(block, path=(*block.path, bytes(32))))
            for one in broken:
                assert refusal(lambda b=one, i=index: attachment.verify_block(ref, i, b)) is Reason.BAD_SIGNATURE


def named_again(ciphertext: bytes, ref: AttachmentRef) -> AttachmentRef:
    """A reference that a lying sender signs for other bytes of the same length."""
    return replace(ref, ct_root=merkle.root([merkle.leaf_hash(block) for block in cut(ciphertext, BLOCK_SIZE)]))


def test_what_the_sender_signed_but_did_not_seal_does_not_open() -> None:
    plain = pseudo(100_000)
    ref, meta, ciphertext = sealed(plain)
    for position in (0, 30, 56, 56 + CHUNK + 16, len(ciphertext) - 1):
        changed = ciphertext[:position] + bytes([ciphertext[position] ^ 1]) + ciphertext[position + 1 :]
        lied = opening(named_again(changed, ref), meta, changed)
        assert refusal(lambda o=lied: whole(o)) is Reason.BAD_CIPHERTEXT
    swapped = ciphertext[:56] + ciphertext[56 + CHUNK + 16 : 56 + 2 * (CHUNK + 16)] + ciphertext[56:][: CHUNK + 16]
    swapped += ciphertext[len(swapped) :]
    lied = opening(named_again(swapped, ref), meta, swapped)
    assert refusal(lambda: whole(lied)) is Reason.BAD_CIPHERTEXT
    other = Opening(ref, meta, attachment.attachment_key(bytes(32), bytes(32), b"\1" * 16), Shelf(ciphertext).fetch)
    assert refusal(lambda: whole(other)) is Reason.BAD_CIPHERTEXT


def test_what_is_not_the_file_described_is_refused_at_the_end() -> None:
    plain = pseudo(100_000)
    ref, meta, ciphertext = sealed(plain)
    for lie in (replace(meta, sha256=bytes(32)), replace(meta, length=meta.length - 1)):
        assert refusal(lambda m=lie: whole(opening(ref, m, ciphertext))) is Reason.BAD_COMMITMENT
    # Something hidden where the padding belongs.
    longer = described(plain + b"\1")
    hidden_ref, _, hidden = sealed(plain + b"\1", longer)
    assert refusal(lambda: whole(opening(hidden_ref, meta, hidden))) is Reason.BAD_COMMITMENT
    for held in (plain[:-1] + b"x", plain + b"x", plain + bytes(padme(100_000))):
        assert refusal(lambda h=held: whole(opening(ref, meta, ciphertext), h)) is Reason.BAD_COMMITMENT


# What stands in manifest and content


def test_the_frontier_gives_the_root_of_every_tree() -> None:
    frontier, leaves = Frontier(), []
    assert frontier.root == merkle.EMPTY_ROOT
    for number in range(70):
        leaves.append(merkle.leaf_hash(bytes([number])))
        frontier.add(leaves[-1])
        assert frontier.root == merkle.root(leaves)


def test_only_lengths_that_sealing_gives_are_taken() -> None:
    taken = set()
    for length in range(6000):
        with contextlib.suppress(MalformedError):
            form.check_sealed(length)
            taken.add(length)
    assert taken == {sealed_length(n) for n in range(6000)} & set(range(6000))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, ATTACHMENT_SIZE_MAX), st.integers(-70_000, 70_000))
def test_lengths_far_out(length: int, off: int) -> None:
    ct_length = sealed_length(length)
    assert ct_length <= form.CIPHERTEXT_SIZE_MAX
    form.check_sealed(ct_length)
    assert AttachmentRef(bytes(16), ct_length, bytes(32)).blocks * BLOCK_SIZE >= ct_length
    try:
        form.check_sealed(ct_length + off)
    except ExchangeError:
        return
    assert sealed_length(length + off) == ct_length + off or off == 0 or length < 200_000


def test_the_largest_and_one_byte_more() -> None:
    assert sealed_length(ATTACHMENT_SIZE_MAX) == 2**40 + 2**30 + 72
    assert form.check_length(ATTACHMENT_SIZE_MAX) == ATTACHMENT_SIZE_MAX
    assert refusal(lambda: form.check_length(ATTACHMENT_SIZE_MAX + 1)) is Reason.TOO_LARGE
    assert refusal(lambda: form.check_sealed(sealed_length(ATTACHMENT_SIZE_MAX + 2**34))) is Reason.TOO_LARGE


GOOD_REF = {"attachment_id": bytes(16), "ct_length": sealed_length(0), "block_log2": 20, "ct_root": bytes(32)}
GOOD_META = {"attachment_id": bytes(16), "name": "a.pdf", "media_type": "a/b", "length": 1, "sha256": bytes(32)}


BAD_REFS = [{"attachment_id": bytes(15)}, {"ct_length": 0}, {"ct_length": 137}, {"ct_length": 71}, {"ct_root": b""}]
BAD_REFS += [{"block_log2": 19}, {"block_log2": 0}]


@pytest.mark.parametrize("wrong", BAD_REFS, ids=str)
def test_references_of_another_form(wrong: dict[str, object]) -> None:
    assert AttachmentRef.from_wire(envelope_pb2.AttachmentRef(**GOOD_REF)).to_wire().block_log2 == 20
    message = envelope_pb2.AttachmentRef(**{**GOOD_REF, **wrong})
    assert refusal(lambda: AttachmentRef.from_wire(message)) is Reason.BAD_FIELD


NAMES = ["", ".", "..", ".bashrc", "a/b", "a\\b", "/etc/passwd", "a\0b", "a\nb", " a", "a ", "x" * 256, "\u0e01" * 86]
NAMES += ["exe\u202egpj.", "a\u200bb", "a\x85b", "\ufeffa"]


TYPES = ["", "pdf", "a/b; c=d", "a/" + "b" * 128, ".a/b"]
BAD_METAS = [{"sha256": b""}, {"attachment_id": bytes(17)}, *({"media_type": kind} for kind in TYPES)]
BAD_METAS += [{"name": name} for name in NAMES]


@pytest.mark.parametrize("wrong", BAD_METAS, ids=ascii)
def test_descriptions_of_another_form(wrong: dict[str, object]) -> None:
    message = content_pb2.AttachmentMeta(**{**GOOD_META, **wrong})
    assert refusal(lambda: AttachmentMeta.from_wire(message)) is Reason.BAD_FIELD


@pytest.mark.parametrize("name", ["a", "x" * 255, "รายงาน 1.pdf", "Báo cáo.tar.gz", "報告.docx", "a..b", "-rf"])
def test_names_of_the_region_are_taken(name: str) -> None:
    message = content_pb2.AttachmentMeta(**{**GOOD_META, "name": name, "media_type": "application/vnd.ms-excel"})
    meta = AttachmentMeta.from_wire(message)
    assert (meta.name, meta.to_wire(), meta.raw) == (name, message, message.SerializeToString(deterministic=True))


def test_too_long_and_too_many() -> None:
    message = content_pb2.AttachmentMeta(**{**GOOD_META, "length": ATTACHMENT_SIZE_MAX + 1})
    assert refusal(lambda: AttachmentMeta.from_wire(message)) is Reason.TOO_LARGE
    ids = stream.new_ids(ATTACHMENTS_MAX)
    assert ids == sorted(set(ids))
    assert refusal(lambda: stream.new_ids(ATTACHMENTS_MAX + 1)) is Reason.TOO_LARGE
    refs = [AttachmentRef(i.to_bytes(16, "big"), 136, bytes(32)) for i in range(ATTACHMENTS_MAX + 1)]
    form.check_refs(refs[:ATTACHMENTS_MAX])
    assert refusal(lambda: form.check_refs(refs)) is Reason.TOO_LARGE
    for many in ([refs[1], refs[0]], [refs[0], refs[0]]):
        assert refusal(lambda m=many: form.check_refs(m)) is Reason.BAD_FIELD
    metas = [described(b"", f"{i}.txt", ref.attachment_id) for i, ref in enumerate(refs)]
    form.check_metas(metas[:ATTACHMENTS_MAX])
    assert refusal(lambda: form.check_metas(metas)) is Reason.TOO_LARGE
    assert refusal(lambda: form.check_metas([metas[0], replace(metas[1], name="0.txt")])) is Reason.BAD_FIELD


def test_content_and_manifest_list_the_same_attachments() -> None:
    pairs = [sealed(pseudo(n), described(pseudo(n), f"{n}.bin", bytes([n]) * 16))[:2] for n in (1, 100)]
    refs, metas = [ref for ref, _ in pairs], [meta for _, meta in pairs]
    form.check_match(refs, metas)
    form.check_match([], [])
    for other_refs, other_metas in (
        (refs[:1], metas),
        (refs, metas[:1]),
        (refs[::-1], metas),
        (refs, [metas[0], replace(metas[1], length=99_999)]),
        (refs, [metas[0], replace(metas[1], attachment_id=bytes(16))]),
    ):
        assert refusal(lambda r=other_refs, m=other_metas: form.check_match(r, m)) is Reason.BAD_COMMITMENT


def test_describing_stops_at_once_when_the_name_is_wrong_or_the_file_too_large(monkeypatch) -> None:
    def endless():
        while True:
            yield bytes(1000)

    assert refusal(lambda: stream.describe(bytes(16), "a/b", "a/b", endless())) is Reason.BAD_FIELD
    monkeypatch.setattr(form, "ATTACHMENT_SIZE_MAX", 5000)
    assert refusal(lambda: stream.describe(bytes(16), "a", "a/b", endless())) is Reason.TOO_LARGE


def test_memory_stays_small() -> None:
    """Two copies of a block or so, while 64 of them stream by."""
    import tracemalloc

    blocks = 64
    meta = stream.describe(bytes(16), "a", "a/b", (bytes(BLOCK_SIZE) for _ in range(blocks)))
    tracemalloc.start()
    sealing = Sealing(meta, KEY)
    for _ in sealing.pieces(bytes(BLOCK_SIZE) for _ in range(blocks)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * BLOCK_SIZE
