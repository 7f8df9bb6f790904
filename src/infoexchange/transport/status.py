"""Status: an error on the wire and back, the same class and reason on both sides (SPEC section Services).

For one item of a batch a `Failure` says it. For a whole call it is a gRPC status chosen by the error's class, with the
standard google.rpc details, so that any gRPC tool shows the reason. Whatever else gRPC reports means that nothing is
known about what was sent, which is what UNAVAILABLE says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from infoexchange.errors import (
    ExchangeError,
    MalformedError,
    Reason,
    RefusedError,
    UnavailableError,
    UntrustedError,
    error,
    error_from_parts,
)
from infoexchange.v1 import relay_pb2

# Specification constants
DOMAIN = "infoexchange"
RETRY_DELAY = timedelta(seconds=1)  # a full backlog is worked off in less
DETAILS_KEY = "grpc-status-details-bin"
_TYPE_URL = "type.googleapis.com/"
_CODES: dict[type[ExchangeError], grpc.StatusCode] = {
    MalformedError: grpc.StatusCode.INVALID_ARGUMENT,
    UntrustedError: grpc.StatusCode.PERMISSION_DENIED,
    RefusedError: grpc.StatusCode.FAILED_PRECONDITION,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
}

# Implementation constants
_TEXT_MAX = 1000  # a status travels in headers, which HARDENED limits

# google.rpc.Status, ErrorInfo and RetryInfo, same numbers and types, in a pool of their own: the library does without
# googleapis-common-protos, and an embedder that has it keeps its own classes.
_DESCRIPTORS = """
name: "infoexchange/transport/status.proto" package: "google.rpc" syntax: "proto3"
message_type { name: "Status"
  field { name: "code" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
  field { name: "message" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "details" number: 3 type: TYPE_MESSAGE type_name: ".google.rpc.Detail" label: LABEL_REPEATED } }
message_type { name: "Detail"
  field { name: "type_url" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "value" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL } }
message_type { name: "ErrorInfo"
  field { name: "reason" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "domain" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "metadata" number: 3 type: TYPE_MESSAGE type_name: ".google.rpc.Pair" label: LABEL_REPEATED } }
message_type { name: "Pair"
  field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "value" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type { name: "RetryInfo"
  field { name: "retry_delay" number: 1 type: TYPE_MESSAGE type_name: ".google.rpc.Delay" label: LABEL_OPTIONAL } }
message_type { name: "Delay"
  field { name: "seconds" number: 1 type: TYPE_INT64 label: LABEL_OPTIONAL }
  field { name: "nanos" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL } }
"""


def _classes() -> dict[str, Any]:
    """Return the message classes by name."""
    file = text_format.Parse(_DESCRIPTORS, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    kinds = {kind.name: pool.FindMessageTypeByName(f"{file.package}.{kind.name}") for kind in file.message_type}
    return {name: message_factory.GetMessageClass(kind) for name, kind in kinds.items()}


_MESSAGES = _classes()


# One item of a batch


def failure_of(problem: ExchangeError) -> relay_pb2.Failure:
    """Return what is said of one item."""
    return relay_pb2.Failure(
        reason=int(problem.reason), field=problem.field[:_TEXT_MAX], detail=problem.detail[:_TEXT_MAX]
    )


def error_of(failure: relay_pb2.Failure) -> ExchangeError:
    """Return the error that a peer described; an unknown reason number is a newer peer's."""
    return error_from_parts(failure.reason, failure.field[:_TEXT_MAX], failure.detail[:_TEXT_MAX])


# A whole call, the relay's side


def code_of(problem: ExchangeError) -> grpc.StatusCode:
    """Return the status code of an error's class."""
    if problem.reason is Reason.OVERLOADED:
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    return _CODES[type(problem)]


def details_of(problem: ExchangeError) -> bytes:
    """Return the bytes of google.rpc.Status for an error."""
    code: int = code_of(problem).value[0]
    info = _MESSAGES["ErrorInfo"](reason=problem.reason.name, domain=DOMAIN)
    info.metadata.add(key="field", value=problem.field[:_TEXT_MAX])
    status = _MESSAGES["Status"](code=code, message=problem.detail[:_TEXT_MAX])
    details = {"google.rpc.ErrorInfo": info}
    if problem.reason is Reason.OVERLOADED:
        delay = _MESSAGES["Delay"](seconds=int(RETRY_DELAY.total_seconds()))
        details["google.rpc.RetryInfo"] = _MESSAGES["RetryInfo"](retry_delay=delay)
    for name, detail in details.items():
        status.details.add(type_url=_TYPE_URL + name, value=detail.SerializeToString())
    raw: bytes = status.SerializeToString()
    return raw


class Answering:
    """Turns what is raised inside `async with` into the status of the call; the mirror of `calling`."""

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any], on_bug: Callable[[Exception], None]) -> None:
        """Take the call, and whom to tell of anything but an `ExchangeError`, of which the caller learns nothing."""
        self._context = context
        self._on_bug = on_bug

    async def __aenter__(self) -> None:
        """Begin."""

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the call with the status that belongs to `problem`."""
        if isinstance(problem, ExchangeError):
            details = ((DETAILS_KEY, details_of(problem)),)
            await self._context.abort(code_of(problem), problem.detail[:_TEXT_MAX], details)
        elif isinstance(problem, Exception) and not isinstance(problem, grpc.aio.BaseError):
            # An exception's text may hold message bytes, and left alone gRPC would send it.
            self._on_bug(problem)
            fault = error(Reason.UNAVAILABLE, field="relay", detail="an error inside the relay")
            await self._context.abort(grpc.StatusCode.INTERNAL, fault.detail, ((DETAILS_KEY, details_of(fault)),))


# A whole call, the caller's side


@contextlib.contextmanager
def calling(address: str) -> Iterator[None]:
    """Turn a failed call inside into the error that the relay raised, or UNAVAILABLE; the mirror of `Answering`."""
    try:
        yield
    except grpc.RpcError as problem:
        if not isinstance(problem, grpc.Call):
            raise error(Reason.UNAVAILABLE, field=address, detail="the call failed") from None
        raise _raised(problem, address) from None


def is_away(problem: grpc.RpcError) -> bool:
    """Whether a call failed because nobody could be reached, and not because somebody said so."""
    if not isinstance(problem, grpc.Call) or problem.code() is not grpc.StatusCode.UNAVAILABLE:
        return False
    return all(key != DETAILS_KEY for key, _ in problem.trailing_metadata() or ())


def _raised(call: grpc.Call, address: str) -> ExchangeError:
    """Return the error of a call that has failed."""
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            found = _described(value)
            if found is not None:
                return found
    code, words = call.code(), call.details() or ""
    detail, next_step = _plain(code, words)
    return error(Reason.UNAVAILABLE, field=address, detail=detail, next_step=next_step)


def _described(raw: bytes) -> ExchangeError | None:
    """Return the error in google.rpc.Status bytes; nothing when it is not one of ours."""
    info, next_step = None, ""
    try:
        status = _MESSAGES["Status"].FromString(raw)
        for detail in status.details:
            if detail.type_url == _TYPE_URL + "google.rpc.ErrorInfo":
                info = _MESSAGES["ErrorInfo"].FromString(detail.value)
            elif detail.type_url == _TYPE_URL + "google.rpc.RetryInfo":
                delay = _MESSAGES["RetryInfo"].FromString(detail.value).retry_delay
                next_step = f"Try again in {delay.seconds + delay.nanos / 1e9:g} s; nothing was lost."
    except DecodeError:
        return None
    if info is None or info.domain != DOMAIN:
        return None
    if info.reason not in Reason.__members__:
        detail = f"the relay gave reason {info.reason[:80]!r}"
        return error(Reason.UNKNOWN_VERSION, field="reason", detail=detail)
    field = next((pair.value for pair in info.metadata if pair.key == "field"), "")
    return error(Reason[info.reason], field=field[:_TEXT_MAX], detail=status.message[:_TEXT_MAX], next_step=next_step)


_TRY_LATER = "Try again later; nothing was lost."
_CHECK_ADDRESS = "Check the address and that the relay is running, then try again; nothing was lost."
_CHECK_TLS = "Check both certificates, their dates and the name the directory gives the relay, then try again."
# Words of the core that tell causes apart, which its status codes do not.
_CAUSES = (
    (("onnection refused",), "nothing listens there", _CHECK_ADDRESS),
    (("DNS", "resolution"), "the host name is not known", _CHECK_ADDRESS),
    (("SSL", "TLS", "andshake", "CERTIFICATE", "ertificate", "Peer name"), "no TLS connection came about", _CHECK_TLS),
    # With TLS 1.3 a refused client certificate shows as a connection that the relay closes at once.
    (("ocket closed", "roken pipe", "eset by peer"), "the relay closed the connection", _CHECK_TLS),
)


def _plain(code: grpc.StatusCode, words: str) -> tuple[str, str]:
    """Return what happened and what to do about it, for a failure that gRPC itself reports."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "no answer in time", _TRY_LATER
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return "it does not offer this call", "Check that a relay of this version listens there."
    if code is grpc.StatusCode.UNAVAILABLE:
        for signs, detail, next_step in _CAUSES:
            if any(sign in words for sign in signs):
                return detail, next_step
        return "it cannot be reached", _TRY_LATER
    return f"the call failed with {code.name}", _TRY_LATER
