"""Forms: how batches, results and bundles stand in the messages of relay.proto."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import BATCH_BYTES_MAX, BATCH_MAX, Result
from infoexchange.receipt import Receipt
from infoexchange.transport.status import error_of, failure_of
from infoexchange.v1 import audit_pb2, bundle_pb2, relay_pb2


def frames(items: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield runs of at most 256 items and 4 MiB; a larger item stands alone."""
    frame: list[bytes] = []
    size = 0
    for item in items:
        if frame and (len(frame) == BATCH_MAX or size + len(item) > BATCH_BYTES_MAX):
            yield frame
            frame, size = [], 0
        frame.append(item)
        size += len(item)
    if frame:
        yield frame


def check_frame(items: Sequence[bytes]) -> int:
    """Return the bytes of a frame, or raise `TOO_LARGE`."""
    size = sum(len(item) for item in items)
    if len(items) > BATCH_MAX or size > BATCH_BYTES_MAX:
        detail = f"{len(items)} items, {size} bytes; at most {BATCH_MAX} and {BATCH_BYTES_MAX}"
        raise error(Reason.TOO_LARGE, field="frame", detail=detail)
    return size


def check_count(items: Sequence[object], *, field: str) -> None:
    """Return if one call may carry that many items, or raise `TOO_LARGE`."""
    if len(items) > BATCH_MAX:
        raise error(Reason.TOO_LARGE, field=field, detail=f"{len(items)}, at most {BATCH_MAX}")


def next_limit(taken: Sequence[bytes], size: int = BATCH_BYTES_MAX) -> int:
    """Return how many items to take next, so that a read of unknown sizes stays near one frame of `size` bytes."""
    if not taken:
        return BATCH_MAX // 8
    average = sum(len(item) for item in taken) // len(taken)
    return max(1, min(BATCH_MAX, size // max(1, average)))


def result_to_wire(result: Result) -> relay_pb2.Result:
    """Return the message for one result."""
    if isinstance(result, ExchangeError):
        return relay_pb2.Result(failure=failure_of(result))
    return relay_pb2.Result(receipt=receipt_to_wire(result))


def result_from_wire(message: relay_pb2.Result) -> Result:
    """Return one result.

    A receipt that cannot be read says nothing about the item, which may have been accepted: it becomes UNAVAILABLE, so
    that the same bytes are sent again.
    """
    if message.HasField("failure"):
        return error_of(message.failure)
    try:
        return receipt_from_wire(message.receipt)
    except ExchangeError as problem:
        return error(Reason.UNAVAILABLE, field="receipt", detail=f"the relay's receipt is {problem.reason.word}")


def receipt_to_wire(receipt: Receipt) -> audit_pb2.Receipt:
    """Return the message for a receipt."""
    return audit_pb2.Receipt.FromString(receipt.raw)


def receipt_from_wire(message: audit_pb2.Receipt) -> Receipt:
    """Return the receipt in a message; raises as `Receipt.parse`."""
    return Receipt.parse(wire.canonical(message))


def bundle_to_wire(bundle: KeyBundle) -> bundle_pb2.SignedBundle:
    """Return the message for a bundle with what proves it."""
    return bundle_pb2.SignedBundle(bundle=bundle.raw, certificates=bundle.certificates, crls=bundle.crls)


def bundle_from_wire(message: bundle_pb2.SignedBundle) -> KeyBundle:
    """Return the bundle in a message; raises as `KeyBundle.parse`."""
    return KeyBundle.parse(message.bundle, tuple(message.certificates), tuple(message.crls))
