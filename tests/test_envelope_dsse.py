"""Containers by themselves: what is signed, byte for byte, and how much goes into one."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from infoexchange import dsse, wire
from infoexchange.dsse import TYPE_BATCH, TYPE_GRANT, TYPE_MANIFEST, BatchProof, Dsse, batch_payload, pae
from infoexchange.errors import ExchangeError, Reason
from infoexchange.v1 import envelope_pb2

KINDS = (
    "manifest",
    "batch",
    "keybundle",
    "directory",
    "acknowledgement",
    "recall",
    "grant",
    "attestation",
    "disclosure",
    "pouch",
)

Change = Callable[[envelope_pb2.Dsse], object]


def raw_of(change: Change = lambda _: None) -> bytes:
    message = envelope_pb2.Dsse(payload=b"payload", payload_type=TYPE_MANIFEST)
    message.signatures.add(sig=b"signature", keyid="key")
    change(message)
    return wire.canonical(message)


def parsed(raw: bytes, payload_type: str = TYPE_MANIFEST, size_max: int = 1 << 20) -> Dsse:
    return Dsse.parse(raw, payload_type=payload_type, size_max=size_max)


def signed(count: int) -> Change:
    """As many signatures as that."""

    def change(message: envelope_pb2.Dsse) -> None:
        message.ClearField("signatures")
        for place in range(count):
            message.signatures.add(sig=b"%d" % place)

    return change


def batched(count: int, index: int, *path: bytes) -> Change:
    proof = envelope_pb2.BatchProof(count=count, index=index, path=path)
    return lambda message: message.batch.CopyFrom(proof)


def hashes(count: int) -> list[bytes]:
    return [bytes([n]) * 32 for n in range(count)]


@pytest.mark.parametrize(
    "change",
    [
        signed(1),
        signed(2),
        signed(64),
        lambda m: setattr(m.signatures[0], "sig", bytes(8192)),
        lambda m: setattr(m.signatures[0], "keyid", "k" * 64),
        batched(2, 0, *hashes(1)),
        batched(2, 1, *hashes(1)),
        batched(256, 255, *hashes(8)),
    ],
)
def test_what_is_allowed_is_written_as_it_was_read(change: Change) -> None:
    raw = raw_of(change)
    assert parsed(raw).raw == raw


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (signed(0), "signatures"),
        (signed(65), "signatures"),
        (lambda m: setattr(m.signatures[0], "sig", bytes(8193)), "signatures"),
        (lambda m: setattr(m.signatures[0], "keyid", "k" * 65), "signatures"),
        (lambda m: setattr(m, "payload_type", TYPE_GRANT), "payload_type"),
        (batched(1, 0), "batch.count"),
        (batched(0, 0), "batch.count"),
        (batched(257, 0, *hashes(9)), "batch.count"),
        (batched(2, 2, *hashes(1)), "batch.path"),
        (batched(2, 0), "batch.path"),
    ],
)
def test_what_does_not_fit_is_refused(change: Change, field: str) -> None:
    with pytest.raises(ExchangeError) as caught:
        parsed(raw_of(change))
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, field)


def test_only_manifests_come_in_batches() -> None:
    raw = raw_of(lambda m: (batched(2, 0, *hashes(1))(m), setattr(m, "payload_type", TYPE_GRANT)))
    with pytest.raises(ExchangeError) as caught:
        parsed(raw, TYPE_GRANT)
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, "batch")
    assert parsed(raw_of(lambda m: setattr(m, "payload_type", TYPE_GRANT)), TYPE_GRANT).batch is None


def test_the_type_is_read_without_the_rest() -> None:
    raw = raw_of(signed(0))
    assert Dsse.type_of(raw, size_max=len(raw)) == TYPE_MANIFEST
    with pytest.raises(ExchangeError) as caught:
        Dsse.type_of(raw, size_max=len(raw) - 1)
    assert caught.value.reason is Reason.TOO_LARGE


def test_the_types_are_fixed() -> None:
    """Signatures made long ago cover them."""
    for kind in KINDS:
        assert getattr(dsse, f"TYPE_{kind.upper()}") == f"application/vnd.infoexchange.{kind}.v1+protobuf"


def test_no_signature_is_left_out_for_want_of_a_key_id() -> None:
    assert parsed(raw_of()).key_ids == ("key",)
    with pytest.raises(ValueError, match="zip"):
        _ = Dsse(TYPE_MANIFEST, b"payload", (b"one", b"two"), ("key",)).raw


def test_what_a_signature_covers() -> None:
    own = b"DSSEv1 49 application/vnd.infoexchange.manifest.v1+protobuf 7 payload"
    container = Dsse.make(TYPE_MANIFEST, b"payload", [(b"signature", "key")])
    assert container.message == pae(TYPE_MANIFEST, b"payload") == own
    assert container.digest == sha256(own).digest()
    # In a batch: the number of objects in four bytes, and the root of the tree of their encodings.
    leaves = [sha256(b"\x00" + one).digest() for one in (own, b"another")]
    root = sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    covered = b"\x00\x00\x00\x02" + root
    first, second = BatchProof(2, 0, (leaves[1],)), BatchProof(2, 1, (leaves[0],))
    assert batch_payload([own, b"another"]) == (covered, [first, second])
    together = Dsse.make(TYPE_MANIFEST, b"payload", [(b"signature", "key")], first)
    assert together.message == b"DSSEv1 46 application/vnd.infoexchange.batch.v1+protobuf 36 " + covered
    assert together.message == pae(TYPE_BATCH, covered)
    assert together.digest == container.digest
