"""Witness over gRPC, both halves: one relay asks another to cosign its checkpoint; auditors ask what it has seen."""
# ruff: noqa: N802  methods are named as in relay.proto

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import grpc
import grpc.aio

from infoexchange.transport.servicers import Context, check_deadline
from infoexchange.transport.status import Answering, calling
from infoexchange.v1 import relay_pb2, relay_pb2_grpc
from infoexchange.witness import Answer


class RemoteWitness:
    """Another relay's witness."""

    def __init__(self, channel: grpc.Channel, *, timeout: timedelta, address: str) -> None:
        """Use an open channel; closing it stays the caller's business."""
        self._stub = relay_pb2_grpc.WitnessServiceStub(channel)
        self._seconds = timeout.total_seconds()
        self._address = address

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], raw: bytes) -> Answer:
        """Return the witness's answer; raises as `witness.Cosigner.add_checkpoint`, or `UNAVAILABLE`."""
        request = relay_pb2.AddCheckpointRequest(old_size=old_size, proof=proof, checkpoint=raw)
        with calling(self._address):
            answer = self._stub.AddCheckpoint(request, timeout=self._seconds)
        return Answer(answer.size, answer.cosignatures)

    def remembered(self, origin: str) -> bytes:
        """Return the checkpoint it remembers of a log, nothing if it knows none; the caller verifies it."""
        with calling(self._address):
            request = relay_pb2.GetRememberedRequest(origin=origin)
            return self._stub.GetRemembered(request, timeout=self._seconds).checkpoint


AddCheckpoint = Callable[[Context, int, Sequence[bytes], bytes], Awaitable[Answer]]
Remembered = Callable[[Context, str], Awaitable[bytes]]


class WitnessServicer(relay_pb2_grpc.WitnessServiceServicer):
    """Cosigns for other relays, and tells what it has seen; the embedding program says for whom."""

    def __init__(
        self, add_checkpoint: AddCheckpoint, remembered: Remembered, on_bug: Callable[[Exception], None]
    ) -> None:
        """Hold what answers, and whom to tell of exceptions that should not be."""
        self._add_checkpoint = add_checkpoint
        self._remembered = remembered
        self._on_bug = on_bug

    async def AddCheckpoint(
        self, request: relay_pb2.AddCheckpointRequest, context: Context
    ) -> relay_pb2.AddCheckpointResponse:
        """Decode, ask, encode."""
        async with Answering(context, self._on_bug):
            check_deadline(context)
            answer = await self._add_checkpoint(context, request.old_size, request.proof, request.checkpoint)
            return relay_pb2.AddCheckpointResponse(cosignatures=answer.lines, size=answer.size)

    async def GetRemembered(
        self, request: relay_pb2.GetRememberedRequest, context: Context
    ) -> relay_pb2.GetRememberedResponse:
        """Decode, ask, encode."""
        async with Answering(context, self._on_bug):
            check_deadline(context)
            return relay_pb2.GetRememberedResponse(checkpoint=await self._remembered(context, request.origin))


def add_witness(server: grpc.aio.Server, servicer: WitnessServicer) -> str:
    """Add the service to a server and return its full name."""
    relay_pb2_grpc.add_WitnessServiceServicer_to_server(servicer, server)
    return relay_pb2.DESCRIPTOR.services_by_name["WitnessService"].full_name
