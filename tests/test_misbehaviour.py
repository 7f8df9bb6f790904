"""Proofs of misbehaviour: what holds, every refusal, what is no proof, and flipped bits."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

import forked
from forked import HOUR, LEAVES, LOG, WITNESS, cosigned, other, path, signed
from infoexchange.errors import ExchangeError, Reason
from infoexchange.log import LogKeys
from infoexchange.misbehaviour import MISBEHAVIOUR_SIZE_MAX, Kind, Misbehaviour
from infoexchange.testing.clock import START
from infoexchange.tlog import Checkpoint, Cosignature, VerifierKey, merkle
from infoexchange.tlog.text import write_base64
from infoexchange.witness import WitnessKeys

KEYS = LOG.verifier_keys
STRANGER = LogKeys(LOG.name, b"\x05" * 32, b"\x06" * 32)
MADE: dict[str, Callable[[], Misbehaviour]] = {
    "same-size": forked.same_size,
    "prefix": forked.prefix,
    "complete": lambda: forked.prefix(8),
    "one": lambda: forked.prefix(1, 2),
    "order": forked.order,
    "witness": forked.of_witness,
}


def refused(reason: Reason, call: Callable[..., object], *args: object) -> str:
    with pytest.raises(ExchangeError) as caught:
        call(*args)
    assert caught.value.reason is reason, caught.value
    return caught.value.detail


def keys_of(name: str) -> Sequence[VerifierKey]:
    return WITNESS.verifier_keys if name == "witness" else KEYS


@pytest.mark.parametrize("name", MADE)
def test_a_proof_holds_for_whoever_has_the_keys(name: str) -> None:
    made, keys = MADE[name](), keys_of(name)
    again = Misbehaviour.parse(made.raw)
    assert again == made
    assert set(again.verify(keys)) == set(keys)
    assert (again.origin, again.accused) == (LOG.origin, keys[0].name)
    assert again.is_of_log == (name != "witness")
    assert len(made.raw) < 16 * 1024
    # Both ways round, and from notes with lines of others, it is the same file.
    others = (WITNESS if again.is_of_log else WitnessKeys("relay.la.example/witness", b"\x08" * 32, b"\x09" * 32),)
    notes = [cosigned(note, more) for note in (again.second, again.first) for more in others]
    assert Misbehaviour.make(*notes, keys, again.hashes).raw == made.raw


def test_form_of_the_file() -> None:
    made = forked.prefix()
    head, *_ = made.raw.split(b"\n\n")
    assert head == b"\n".join(
        [
            b"infoexchange-misbehaviour@v1",
            b"against relay.th.example/audit/2026h2",
            b"kind prefix",
            *map(write_base64, path(6, 13, other(5))),
        ]
    )
    assert made.raw == head + b"\n\n" + made.first.raw + b"\n" + made.second.raw
    assert [forked.same_size().kind, forked.order().kind] == [Kind.SAME_SIZE, Kind.ORDER]


@pytest.mark.parametrize(("size1", "size2"), [(a, b) for b in range(2, 19) for a in range(1, b)])
def test_another_leaf_anywhere_below_the_first_size_is_a_proof(size1: int, size2: int) -> None:
    roots = {merkle.root(LEAVES[:size1])}
    for place in {0, size1 // 2, size1 - 1}:
        leaves = other(place)
        old, new = merkle.prefix_roots(size1, size2, path(size1, size2, leaves))
        assert (old, new) == (merkle.root(leaves[:size1]), merkle.root(leaves[:size2]))
        assert old not in roots
    # What is honest, or differs only behind, gives the old root.
    for leaves in (LEAVES, other(size1)):
        assert merkle.prefix_roots(size1, size2, path(size1, size2, leaves))[0] in roots


def test_honest_checkpoints_make_no_proof() -> None:
    for one, two, hashes in (
        (signed(6), signed(13), path(6, 13, LEAVES)),
        (signed(8), signed(13), path(8, 13, LEAVES)),
        (signed(6), signed(13), ()),
        (signed(6), signed(6), ()),
        (signed(6), signed(6, now=START + HOUR), ()),
        (signed(6, now=START + timedelta(minutes=5)), signed(13), ()),  # as much as clocks may differ
        (signed(0, now=START + timedelta(minutes=5)), signed(1), ()),
    ):
        refused(Reason.BAD_PROOF, Misbehaviour.make, one, two, KEYS, hashes)
        refused(Reason.BAD_PROOF, Misbehaviour.make, two, one, KEYS, hashes)
    late = timedelta(minutes=5, seconds=1)
    assert Misbehaviour.make(signed(6, now=START + late), signed(13), KEYS).kind is Kind.ORDER
    assert Misbehaviour.make(signed(0, now=START + late), signed(13), KEYS).kind is Kind.ORDER


def test_hashes_that_prove_nothing_are_refused() -> None:
    leaves = other(2)
    one, two, good = signed(6), signed(13, leaves), path(6, 13, leaves)
    for bad in (good[:-1], [*good, bytes(32)], good[::-1], [bytes(32), *good[1:]], path(6, 13, LEAVES), good[:1]):
        refused(Reason.BAD_PROOF, Misbehaviour.make, one, two, KEYS, bad)
    # Of a tree of one size there is no path; neither is there one from an empty tree.
    refused(Reason.BAD_FIELD, Misbehaviour.make, signed(6), signed(6, leaves), KEYS, good)
    refused(Reason.BAD_FIELD, Misbehaviour.make, signed(0), signed(13, leaves), KEYS, good)
    refused(Reason.BAD_FIELD, Misbehaviour.make, one, two, KEYS, [b"short"])
    refused(Reason.TOO_LARGE, Misbehaviour.make, one, two, KEYS, [bytes(32)] * 65)


def test_other_keys_prove_nothing() -> None:
    for made, keys in ((made(), keys_of(name)) for name, made in MADE.items()):
        refused(Reason.UNKNOWN_PARTY, made.verify, ())
        refused(Reason.UNKNOWN_PARTY, made.verify, [VerifierKey.make("x", keys[0].type, keys[0].public)])
        stranger = replace(keys[0], public=STRANGER.verifier_keys[0].public)
        refused(Reason.BAD_SIGNATURE, made.verify, [stranger])
        # For a log all keys given count, for a witness any; but every line counts.
        if made.is_of_log:
            refused(Reason.BAD_SIGNATURE, made.verify, [*keys, stranger])
        else:
            assert set(made.verify([*keys, stranger])) == set(keys)
        for key in keys:
            refused(Reason.BAD_SIGNATURE, made.verify, [key])
    refused(Reason.BAD_SIGNATURE, Misbehaviour.make, signed(9), signed(9, other(4)), STRANGER.verifier_keys)


def test_a_log_may_have_one_key_alone() -> None:
    one, two, later = signed(9), signed(9, other(4)), signed(7, now=START + HOUR)
    for key in KEYS:
        assert Misbehaviour.make(one, two, [key]).verify([key]) == (key,)
    assert Misbehaviour.make(later, one, KEYS[1:]).kind is Kind.ORDER
    refused(Reason.UNKNOWN_PARTY, Misbehaviour.make, later, one, KEYS[:1])  # an Ed25519 line states no time


def test_keys_of_another_kind_are_refused() -> None:
    ed25519, mldsa44 = WITNESS.verifier_keys
    as_log = VerifierKey.make(LOG.name, ed25519.type, ed25519.public)
    refused(Reason.BAD_FIELD, forked.same_size().verify, [*KEYS, as_log])
    as_plain = VerifierKey.make(WITNESS.name, 1, ed25519.public)
    refused(Reason.BAD_FIELD, forked.of_witness().verify, [as_plain, ed25519, mldsa44])


def test_a_witness_that_signs_each_tree_with_another_key_is_proven_wrong() -> None:
    one, two = signed(9), signed(9, other(4))
    lines = [Cosignature.sign(c, s, now=START).signature for c, s in zip((one, two), WITNESS.signers, strict=True)]
    made = Misbehaviour.make(one.with_signatures(lines[:1]), two.with_signatures(lines[1:]), WITNESS.verifier_keys)
    assert set(made.verify(WITNESS.verifier_keys)) == set(WITNESS.verifier_keys)
    for key in WITNESS.verifier_keys:
        refused(Reason.BAD_SIGNATURE, made.verify, [key])


def test_a_witness_over_a_log_that_rewrote_itself() -> None:
    leaves = other(3)
    one, two = cosigned(signed(8)), cosigned(signed(13, leaves))
    made = Misbehaviour.make(one, two, WITNESS.verifier_keys, path(8, 13, leaves))
    assert (made.kind, made.is_of_log) == (Kind.PREFIX, False)
    # A witness may see a log late: times say nothing against it.
    late = cosigned(signed(6), now=START + HOUR)
    refused(Reason.BAD_FIELD, Misbehaviour.make, late, cosigned(signed(13)), WITNESS.verifier_keys)


def test_checkpoints_of_two_logs_prove_nothing() -> None:
    shard = LogKeys("relay.th.example/audit/2027h1", LOG.ed25519, LOG.mldsa44)
    witnessed = [cosigned(signed(9)), cosigned(signed(9, other(4), keys=shard))]
    refused(Reason.BAD_FIELD, Misbehaviour.make, *witnessed, WITNESS.verifier_keys)
    refused(Reason.BAD_SIGNATURE, Misbehaviour.make, signed(9), signed(9, other(4), keys=shard), KEYS)


def rebuilt(made: Misbehaviour, *, first: Checkpoint | None = None, second: Checkpoint | None = None) -> bytes:
    head = made.raw.split(b"\n\n")[0]
    return head + b"\n\n" + (first or made.first).raw + b"\n" + (second or made.second).raw


def test_every_other_form_is_refused() -> None:
    made = forked.prefix()
    raw = made.raw
    head, _, rest = raw.partition(b"\n\n")
    parse = Misbehaviour.parse
    refused(Reason.UNKNOWN_VERSION, parse, b"")
    refused(Reason.UNKNOWN_VERSION, parse, raw.replace(b"@v1", b"@v2"))
    refused(Reason.UNKNOWN_VERSION, parse, raw.replace(b"@v1\n", b"@v1\r\n"))
    refused(Reason.UNKNOWN_VERSION, parse, b"\n" + raw)
    assert MISBEHAVIOUR_SIZE_MAX == 65536
    refused(Reason.TOO_LARGE, parse, raw + b"x" * (65536 - len(raw) + 1))
    refused(Reason.MALFORMED, parse, raw + b"x" * (65536 - len(raw)))
    zeros = write_base64(bytes(32)) + b"\n"
    many = b"\n".join(head.split(b"\n")[:3]) + b"\n" + 64 * zeros
    assert len(parse(many + b"\n" + rest).hashes) == 64
    refused(Reason.TOO_LARGE, parse, many + zeros + b"\n" + rest)
    refused(Reason.MALFORMED, parse, forked.same_size().raw.replace(b"kind same-size\n", b""))
    refused(Reason.MALFORMED, parse, forked.same_size().raw.replace(b"\nkind same-size", b""))
    for bad in (
        raw[:-1],
        raw + b"\n",
        raw + b"x\n",
        raw.replace(b"against ", b"Against "),
        raw.replace(b"kind prefix", b"kind  prefix"),
        raw.replace(b"kind prefix", b"kind fork"),
        raw.replace(b"kind prefix\n", b""),
        raw.replace(b"against relay", b"against \xff"),
        head + b"\n" + rest,
        head + b"\n\n\n" + rest,
        head.replace(b"=\n", b"\n", 1) + b"\n\n" + rest,
        head + b"\n\n" + made.first.raw,
        head + b"\n\n" + made.first.raw + b"\n" + made.second.raw + b"\n" + made.second.raw,
        head + b"\n\n" + made.first.raw + made.second.raw,
        head.split(b"\n")[0] + b"\n\n" + rest,
    ):
        refused(Reason.MALFORMED, parse, bad)
    hashes = b"\n".join(head.split(b"\n")[3:])
    without = head.removesuffix(b"\n" + hashes)
    refused(Reason.BAD_FIELD, parse, without + b"\n\n" + rest)
    refused(Reason.BAD_FIELD, parse, raw.replace(b"kind prefix", b"kind order"))
    refused(Reason.BAD_FIELD, parse, raw.replace(b"kind prefix", b"kind same-size"))
    refused(Reason.BAD_FIELD, parse, raw.replace(b"against relay.th", b"against relay.vn"))
    refused(Reason.BAD_FIELD, parse, rebuilt(made, first=made.second, second=made.first))
    refused(Reason.BAD_FIELD, parse, rebuilt(made, first=made.second))
    equal = forked.same_size()
    refused(Reason.BAD_FIELD, parse, rebuilt(equal, first=equal.second, second=equal.first))
    refused(Reason.BAD_FIELD, parse, rebuilt(equal, second=equal.first))
    refused(Reason.BAD_FIELD, parse, rebuilt(made, second=cosigned(made.second)))
    refused(Reason.NOT_CANONICAL, parse, head.replace(b"\n\n", b"\n") + b"\n" + b"B" * 43 + b"=\n\n" + rest)


def test_roots_of_two_sizes_are_not_of_one() -> None:
    late = {size: signed(size, now=START + HOUR) for size in range(1, 19)}
    pairs = [(a, b) for a in late for b in late if a < b and late[a].root < late[b].root]
    assert pairs
    for one, two in pairs[:3]:
        made = Misbehaviour.make(late[one], signed(two), KEYS)
        as_equal = made.raw.replace(b"kind order", b"kind same-size")
        refused(Reason.BAD_FIELD, Misbehaviour.parse, as_equal)


def test_lines_in_another_order_or_twice_are_refused() -> None:
    made = forked.same_size()
    lines = made.first.note.signatures
    turned = made.first.only_signatures(lines[::-1])
    refused(Reason.NOT_CANONICAL, Misbehaviour.parse, rebuilt(made, first=turned))
    again = made.first.with_signatures(signed(9, other(4), now=START + HOUR).note.signatures)
    refused(Reason.NOT_CANONICAL, Misbehaviour.parse, rebuilt(made, first=again))


def test_a_line_by_a_key_nobody_asked_about_is_no_proof_of_time() -> None:
    """What a log's other, unverified key says about the time must not count."""
    made = forked.order()
    forged = replace(STRANGER, ed25519=LOG.ed25519)
    lines = [*signed(7, keys=forged, now=START + HOUR).note.signatures, *signed(7).note.signatures]
    kept = {line.key_id: line for line in lines}
    first = made.first.only_signatures(kept[name] for name in sorted(kept))
    refused(Reason.BAD_SIGNATURE, Misbehaviour.parse(rebuilt(made, first=first)).verify, KEYS)


@pytest.mark.parametrize("name", MADE)
def test_a_flipped_bit_is_noticed(name: str) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng, made, keys = random.Random(seed), MADE[name](), keys_of(name)
    for place in [*rng.sample(range(8 * len(made.raw)), 250), *range(8 * 60)]:
        raw = bytearray(made.raw)
        raw[place // 8] ^= 1 << place % 8
        with pytest.raises(ExchangeError) as caught:
            Misbehaviour.parse(bytes(raw)).verify(keys)
        assert caught.value.reason < Reason.UNAVAILABLE
